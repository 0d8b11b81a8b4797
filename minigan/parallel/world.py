"""The processes that mpiexec has started: how they find each other, divide the cores, and end together."""

import os
import signal
import sys
import time
import warnings
from contextlib import contextmanager, suppress

from minigan.parallel.ranks import ALONE, Ranks

# What mpiexec tells its processes: MPICH, Intel MPI, MS-MPI and Slurm's PMI-2; Open MPI; Slurm with PMIx.
# A Slurm job may have the last of SIZE where it is one process; it has no RANK there.
SIZE = 'PMI_SIZE', 'OMPI_COMM_WORLD_SIZE', 'SLURM_STEP_NUM_TASKS'
RANK = 'PMI_RANK', 'OMPI_COMM_WORLD_RANK', 'PMIX_RANK'
PATIENCE = 2  # seconds in which a failure that all ranks share reaches the last of them


def join():
    """The ranks of this run: the processes of mpiexec, or ALONE. From then on, only the first of them prints anything.

    Raises ValueError without mpi4py or its library, or if mpiexec is not that library's.
    """
    size, rank = told(SIZE), told(RANK)
    if rank is None or size == 1:
        return ALONE
    silence()
    MPI = _initialised()
    world = MPI.COMM_WORLD
    if size not in (None, world.size):
        raise ValueError(_foreign(MPI))
    if world.size == 1:
        return ALONE
    _divide_cores(world.Split_type(MPI.COMM_TYPE_SHARED))
    return Ranks(world.Dup())  # a communicator for the run; `leaving` takes the other


def silence():
    """Close what a process of mpiexec prints to, unless it is the first."""
    if told(RANK):
        sys.stdout = sys.stderr = None


def told(names):
    """The number in the first of these variables that has one, or None."""
    return next((int(text) for name in names if (text := os.environ.get(name, '')).isdecimal()), None)


def _initialised():
    """mpi4py's MPI, ready for use. Raises what `join` raises."""
    try:
        import mpi4py
        mpi4py.rc.initialize, mpi4py.rc.finalize = False, True
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the latter: no library
        raise ValueError("mpiexec: expected mpi4py and an MPI library (pip install -e '.[mpi]'), "
                         f'got {str(error).splitlines()[0]}') from error
    if 'OMPI_COMM_WORLD_SIZE' in os.environ and 'Open MPI' not in MPI.Get_library_version():
        raise ValueError(_foreign(MPI))  # here, since MPICH would end the process in its own words
    if not MPI.Is_initialized():
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # mpi4py suspects what `join` finds out
            MPI.Init_thread()
    return MPI


def _foreign(MPI):
    library = ' '.join(MPI.Get_library_version().split()[:3]).rstrip(',')
    return f'mpiexec: expected that of the library of mpi4py, {library}, got that of a different MPI'


def _divide_cores(host):
    """Give the products and native kernels of this rank its cores, unless the environment fixes how many they take."""
    from threadpoolctl import threadpool_limits

    from minigan.native.twins import THREADS
    mine = os.sched_getaffinity(0) if hasattr(os, 'sched_getaffinity') else set(range(os.cpu_count() or 1))
    users = sum(not mine.isdisjoint(cores) for cores in host.allgather(mine))  # mpiexec may have bound ranks to cores
    if not any(os.environ.get(name) for name in (*THREADS, 'MKL_NUM_THREADS')):
        threads = max(1, len(mine) // users)
        os.environ[THREADS[0]] = str(threads)  # for the native kernels, and for libraries that load later
        threadpool_limits(threads, 'blas')


@contextmanager
def leaving(ranks):
    """Around what all ranks do: if it fails on all of them, each keeps its exception; if only here, all are ended."""
    together = False
    try:
        yield
    except BaseException as error:
        try:
            together = ranks is ALONE or _all_fail()
        finally:  # also when a second signal ends the wait
            if not together:
                _end_all(ranks, error)
        raise


def _all_fail():
    """Whether all ranks get here within PATIENCE seconds."""
    from mpi4py import MPI
    everyone, last = MPI.COMM_WORLD.Ibarrier(), time.monotonic() + PATIENCE
    while not everyone.Test():
        if time.monotonic() > last:
            return False
        time.sleep(.01)
    return True


def _end_all(ranks, error):
    """Say in one line which rank has failed and how, and end all of them."""
    from mpi4py import MPI
    with suppress(AttributeError, OSError, ValueError):  # None, closed, or nobody listens
        sys.__stderr__.write(f'minigan: rank {ranks.rank} of {ranks.size} has failed, and ends all: {error!r}\n')
        sys.__stderr__.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stderr__.fileno())  # MPICH would add a line of its own
    stopped = isinstance(error, KeyboardInterrupt)
    MPI.COMM_WORLD.Abort(128 + getattr(error, 'signal', signal.SIGINT) if stopped else 1)
