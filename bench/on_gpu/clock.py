"""Time on a GPU: of a function by replaying a graph of it, and of the CPU that calls it.

Calling a kernel from Python takes longer than a small kernel runs. So a function is captured CALLS times in one CUDA
graph, and the replays are timed by the GPU's clock. What CuPy cannot capture (cuBLAS, copies to the GPU) is called
while the GPU is busy with copies, so that all calls wait in its queue before the clock starts.
Arrays are reused from call to call: those that fit in the L2 cache come from there.
"""

import time
from functools import cache, partial

import numpy as np
from harness import Entrant, quartiles, race

from minigan.gpu import graph

CALLS = 20  # of the function in a graph
QUEUED = 200  # calls in a queue, at most; a GPU takes about 1,000 launches before the CPU has to wait
LONG = 2**28  # bytes of a copy that no L2 cache holds
SHORT = 2**24  # bytes of a copy that L2 caches hold: about as much as a step of the default networks moves
BUSY = 256  # such copies, at most, in front of a queue
ONE = 'extern "C" __global__ void one(float* __restrict__ x /* 1 */)\n{\n    x[0] = 1;\n}\n'  # the least kernel


class Replayed:
    """A function in a CUDA graph; has the interface of harness.Worker."""

    rest, how = 0, 'graph'

    def __init__(self, xp, function, calls=None):
        self.xp, self.calls = xp, calls or CALLS
        repeat(function, 2)  # compiles, and plans the launches
        self.graph = graph.capture(xp, partial(repeat, function, self.calls))

    def call(self, method, steps):
        """Returns None and the seconds of `steps` calls, by the GPU's clock."""
        replays = -(-steps // self.calls)
        return None, self.replay(replays) * steps / (replays * self.calls)

    def replay(self, replays):
        """The seconds of some replays."""
        start, end = self.xp.cuda.Event(), self.xp.cuda.Event()
        start.record()
        repeat(self.graph.launch, replays)
        end.record()
        return between(self.xp, start, end)


class Queued:
    """A function that is called, again and again, while the GPU is busy; has the interface of harness.Worker."""

    rest, how = 0, 'queue'

    def __init__(self, xp, function):
        self.xp, self.function, self.busy, self.copies = xp, function, long_copy(xp), 2

    def call(self, method, steps):
        """Returns None and the seconds of `steps` calls, by the GPU's clock."""
        calls = min(steps, QUEUED)
        while True:
            start, end = self.xp.cuda.Event(), self.xp.cuda.Event()
            for _ in range(self.copies):
                self.busy()
            start.record()
            repeat(self.function, calls)
            caught_up = start.done  # the GPU has had to wait for the CPU
            end.record()
            seconds = between(self.xp, start, end)
            if not caught_up or self.copies >= BUSY:
                break
            self.copies *= 2
        self.how = 'queue, waiting for the CPU' if caught_up else 'queue'
        return None, seconds * steps / calls


class Called:
    """A function that is called one by one: the time from one call to the next, whoever takes it."""

    rest, how = 0, 'calls'

    def __init__(self, xp, function):
        self.xp, self.function = xp, function

    def call(self, method, steps):
        """Returns None and the seconds of `steps` calls, by the GPU's clock."""
        start, end = self.xp.cuda.Event(), self.xp.cuda.Event()
        start.record()
        repeat(self.function, steps)
        end.record()
        return None, between(self.xp, start, end)


def repeat(function, times):
    """Call the function; what it returns is dropped at once, so that the next call can have the memory."""
    for _ in range(times):
        function()


def between(xp, start, end):
    """The seconds between two events, once both have been reached."""
    end.synchronize()
    return max(1e-3 * xp.cuda.get_elapsed_time(start, end), 1e-9)


def timed(xp, function):
    """A Replayed function, or a Queued one where it cannot be captured."""
    try:
        return Replayed(xp, function)
    except Exception:  # whatever CuPy raises
        function()  # raises an error of its own again
        return Queued(xp, function)


def wait(xp):
    """Wait until the GPU has done all that it was asked for."""
    event = xp.cuda.Event()
    event.record()
    event.synchronize()


def host_seconds(xp, function, *, rounds, calls=20):
    """Quartiles of the seconds that the CPU is busy with a call, while the GPU's queue is short."""
    seconds = []
    for _ in range(rounds):
        wait(xp)
        begin = time.perf_counter()
        repeat(function, calls)
        seconds.append((time.perf_counter() - begin) / calls)
    wait(xp)
    return quartiles(seconds)


def copy(xp, size):
    """A function that moves `size` bytes: half are read, half are written."""
    source, target = xp.zeros((2, max(1, size // 8)), np.float32)
    return lambda: xp.copyto(target, source)


@cache
def long_copy(xp):
    """What keeps the GPU busy in front of a queue."""
    return copy(xp, LONG)


def race_of(timers, settings):
    """name -> Entrant, after a race between the timers, name -> Replayed or the like."""
    entrants = {name: Entrant(name, timer) for name, timer in timers.items()}
    race(list(entrants.values()), rounds=settings.rounds, seconds=settings.seconds)
    return entrants


def limits(xp, settings, *, n=4096, long=LONG, short=SHORT):
    """What the GPU reaches, each as quartiles.

    'bytes/s': in a copy from memory to memory; 'bytes/s, L2': in one that fits in the L2 cache; 'FLOP/s': in a product
    of n x n by cuBLAS, float32; 's/launch': from one launch of the least kernel to the next; 's/node': the same in a
    graph.
    """
    A, B = xp.ones((2, n, n), np.float32)
    one, x = xp.RawModule(code=ONE, options=('--std=c++17',)).get_function('one'), xp.zeros(1, np.float32)
    timers = {'bytes/s': timed(xp, copy(xp, long)), 'bytes/s, L2': timed(xp, copy(xp, short)),
              'FLOP/s': Queued(xp, lambda: A @ B), 's/launch': Called(xp, lambda: one((1,), (1,), (x,))),
              's/node': Replayed(xp, lambda: one((1,), (1,), (x,)), calls=200)}
    work = {'bytes/s': long, 'bytes/s, L2': short, 'FLOP/s': 2 * n**3}
    return {name: quartiles([work[name] / s if name in work else s for s in entrant.seconds])
            for name, entrant in race_of(timers, settings).items()}
