"""A run whose steps are timed: alone in a process, or on R ranks that mpiexec started. scaling_ranks.py asks for them.

The time that a rank spends in a collective call includes its wait for the others.
"""

import atexit
import sys
import time
import traceback

import numpy as np

from minigan.data import Dataset
from minigan.gpu.device import CPU
from minigan.native.twins import use
from minigan.parallel.ranks import One, Ranks
from minigan.training import Config
from minigan.training.state import Run

IMAGES, SHAPE = 2_000, (28, 28)
DERIVATIVES, BATCH_NORM, LOOP = 'derivatives', 'batch norm', 'loop'  # what ranks exchange


class Alone(One):
    """The communicator of a single process, with a barrier."""

    def Barrier(self):
        """There is nobody to wait for."""


class Timed:
    """A communicator that counts and times its calls. spent: (purpose, method, bytes) -> [calls, seconds].

    in_step: whether a step calls, rather than the loop around it. large: bytes from which arrays are derivatives.
    """

    def __init__(self, comm, large=2**17):
        self.comm, self.rank, self.size = comm, comm.rank, comm.size
        self.spent, self.in_step, self.large = {}, False, large

    def Allreduce(self, mine, total):
        """As mpi4py's."""
        self._time('Allreduce', mine.nbytes, self.comm.Allreduce, mine, total)

    def Allgather(self, mine, arrays):
        """As mpi4py's."""
        self._time('Allgather', mine.nbytes, self.comm.Allgather, mine, arrays)

    def bcast(self, value):
        """As mpi4py's; counted as 0 bytes."""
        return self._time('bcast', 0, self.comm.bcast, value)

    def _time(self, method, size, call, *arguments):
        begin = time.perf_counter()
        result = call(*arguments)
        purpose = LOOP if not self.in_step else DERIVATIVES if size >= self.large else BATCH_NORM
        entry = self.spent.setdefault((purpose, method, size), [0, 0.0])
        entry[0] += 1
        entry[1] += time.perf_counter() - begin
        return result


class Steps:
    """Steps of a network as minigan train takes them, by one of the ranks of a communicator.

    fused: whether groups of layers run as one native kernel, as they do in a run of one process. about: its bytes of
    derivatives, of G and of D.
    """

    def __init__(self, network, fused=True, comm=None):
        use(True)
        images = np.random.default_rng(0).integers(0, 256, (IMAGES, SHAPE[0] * SHAPE[1]), np.uint8)
        self.dataset = Dataset('noise', SHAPE, images, images[:100], images[:100])
        self.network, self.fused, self.comm, self.runs = network, fused, Timed(comm or Alone()), {}
        self.about = {'bytes': [net.theta.nbytes for _, net, _ in self._run_of(12).game.players()]}

    def _run_of(self, m):
        """The run with minibatches of m, of all ranks together."""
        if m not in self.runs:
            config = Config(network=self.network, batch=m, epochs=10_000)
            self.runs[m] = run = Run(config, self.dataset, (np, CPU), Ranks(self.comm))
            for _, net, _ in run.game.players():
                net.layers_in_training = net.layers_in_training if self.fused else net.layers
        return self.runs[m]

    def run(self, steps, m):
        """Take steps, each with the calls of training.run.play around it.

        Returns their seconds, those of the fastest, and spent: {purpose: [[method, bytes, calls, seconds], ...]}.
        """
        run, ends = self._run_of(m), []
        self.comm.comm.Barrier()
        self.comm.spent, begin = {}, time.perf_counter()
        for _ in range(steps):
            run.ranks.agreed([])
            self.comm.in_step = True
            logits = run.step()
            self.comm.in_step = False
            if run.look_is_due():
                run.look(logits)
            run.ranks.on_first(bool)  # is it time to save?
            ends.append(time.perf_counter())
        self.comm.comm.Barrier()
        seconds, spent = time.perf_counter() - begin, {DERIVATIVES: [], BATCH_NORM: [], LOOP: []}
        for (purpose, *call), entry in sorted(self.comm.spent.items()):
            spent[purpose].append([*call, *entry])
        return {'seconds': seconds, 'fastest': float(np.diff([begin, *ends]).min()), 'spent': spent}

    def allreduce(self, size, repeats):
        """Seconds of the fastest Allreduce of that many bytes."""
        mine, seconds = np.ones(size // 4, np.float32), []
        total = np.empty_like(mine)
        for _ in range(repeats):
            self.comm.comm.Barrier()
            begin = time.perf_counter()
            self.comm.comm.Allreduce(mine, total)
            seconds.append(time.perf_counter() - begin)
        return min(seconds)


class Leader:
    """Rank 0, whose calls all ranks follow. about: as of Steps, and the MPI."""

    def __init__(self, steps, MPI):
        self.steps, self.comm = steps, MPI.COMM_WORLD
        library = MPI.Get_library_version().split('\n')[0].replace('Version', '').replace(':', '')
        self.about = {**steps.about, 'mpi': ' '.join(library.split())}
        atexit.register(self._tell, None)

    def _tell(self, request):
        for other in range(1, self.comm.size):
            self.comm.send(request, other)

    def _all(self, method, *arguments):
        self._tell((method, arguments))
        return answer(self.steps, method, arguments, self.comm)

    def run(self, steps, m):
        """As Steps.run."""
        return self._all('run', steps, m)

    def allreduce(self, size, repeats):
        """As Steps.allreduce."""
        return self._all('allreduce', size, repeats)


def answer(steps, method, arguments, comm):
    """What the method returns. An exception ends all ranks, which would wait for this one."""
    try:
        return getattr(steps, method)(*arguments)
    except Exception:
        traceback.print_exc()
        comm.Abort(1)  # which may return before mpiexec ends this process
        sys.exit(1)


def follow(steps, comm):
    """Do what rank 0 asks for, to the end of the process. It sleeps between requests, while others are timed."""
    while True:
        while not comm.Iprobe(0):
            time.sleep(1e-3)
        request = comm.recv(source=0)
        if request is None:
            sys.exit()
        answer(steps, *request, comm)


def ranks(network):
    """The Leader on rank 0; the other ranks follow it and do not return."""
    from mpi4py import MPI
    steps = Steps(network, fused=False, comm=MPI.COMM_WORLD)
    return follow(steps, MPI.COMM_WORLD) if MPI.COMM_WORLD.rank else Leader(steps, MPI)
