"""The processes that mpiexec has started: how they find each other, divide cores and GPUs, and end together."""

import os
import signal
import sys
import time
import warnings
from contextlib import contextmanager, suppress

from minigan.gpu.device import NO_GPU
from minigan.parallel.ranks import ALONE, Ranks

# What mpiexec tells its processes: MPICH, Intel MPI, MS-MPI and Slurm's PMI-2; Open MPI; Slurm with PMIx.
# A Slurm job may have the last of SIZE where it is one process; it has no RANK there.
SIZE = 'PMI_SIZE', 'OMPI_COMM_WORLD_SIZE', 'SLURM_STEP_NUM_TASKS'
RANK = 'PMI_RANK', 'OMPI_COMM_WORLD_RANK', 'PMIX_RANK'
GPUS = 'CUDA_VISIBLE_DEVICES'
PATIENCE = 5  # seconds in which a failure that all ranks share reaches the last of them


@contextmanager
def together():
    """Within, the ranks of this run: the processes of mpiexec, or ALONE.

    If the block fails on all ranks, each keeps its exception; if only here, all are ended. Before it, a rank must not
    end on its own, or the others wait for it in MPI_Init: a signal has to kill it, for then mpiexec kills them.
    Raises ValueError without mpi4py or its library, or if mpiexec is not that library's.
    """
    if not launched() or told(SIZE) == 1:
        yield ALONE
        return
    MPI = _initialised()
    try:
        yield _ranks(MPI)
    except BaseException as error:
        all_fail = False
        try:
            all_fail = _all_fail(MPI)
        finally:  # also when a second signal ends the wait
            if not all_fail:
                _end_all(MPI, error)
        raise


def launched():
    """Whether mpiexec has started this process."""
    return told(RANK) is not None


def silence():
    """Close what a process of mpiexec prints to, unless it is the first."""
    if told(RANK):
        sys.stdout = sys.stderr = None


def told(names):
    """The number in the first of these variables that has one, or None."""
    return next((int(text) for name in names if (text := os.environ.get(name, '')).isdecimal()), None)


def _initialised():
    """mpi4py's MPI, ready for use. Raises what `together` raises."""
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
            warnings.simplefilter('ignore')  # mpi4py suspects what _ranks finds out
            MPI.Init_thread()
    return MPI


def _ranks(MPI):
    """The ranks of this run, each with its cores and its GPU. Raises ValueError if mpiexec is a different library's."""
    world, size = MPI.COMM_WORLD, told(SIZE)
    if size not in (None, world.size):
        raise ValueError(_foreign(MPI))
    if world.size == 1:
        return ALONE
    host = world.Split_type(MPI.COMM_TYPE_SHARED)
    _divide_cores(host)
    _divide_gpus(host)
    return Ranks(world.Dup())  # a communicator for the run; what ends all ranks takes the other


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


def _divide_gpus(host):
    """Let each rank see one GPU, and no two ranks the same, unless a launcher has done so."""
    seen = host.allgather(os.environ.get(GPUS))
    if len({*seen}) == 1 and seen[0] not in NO_GPU:
        every = [str(number) for number in range(host.size)] if seen[0] is None else seen[0].split(',')
        os.environ[GPUS] = every[host.rank] if host.rank < len(every) else ''


def _all_fail(MPI):
    """Whether all ranks get here within PATIENCE seconds."""
    everyone, last = MPI.COMM_WORLD.Ibarrier(), time.monotonic() + PATIENCE
    while not everyone.Test():
        if time.monotonic() > last:
            return False
        time.sleep(.01)
    return True


def _end_all(MPI, error):
    """Say in one line, below the bar of rank 0, which rank ends all of them and why, and do it."""
    stopped = isinstance(error, KeyboardInterrupt)
    why = str(error) or 'interrupted' if stopped else repr(error)
    with suppress(AttributeError, OSError, ValueError):  # None, closed, or nobody listens
        sys.__stderr__.write(f'\nminigan: rank {MPI.COMM_WORLD.rank} of {MPI.COMM_WORLD.size} ends all: {why}\n')
        sys.__stderr__.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stderr__.fileno())  # MPICH would add a line of its own
    MPI.COMM_WORLD.Abort(128 + getattr(error, 'signal', signal.SIGINT) if stopped else 1)
