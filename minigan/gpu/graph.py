"""A step of Algorithm 1 in one launch: its kernels are captured once in a CUDA graph, which is then replayed.

A replay repeats the launches of the capture: the same kernels, numbers and memory. So what differs from step to step
lies in the GPU's memory, and the graph's first kernel, advance_, moves it on:

    elapsed    the steps since the capture; kernels add it to the step of their random numbers
    now        the settings of this step's updates, such as their learning rates, and sigma of the input noise
    rows       the rows of this step's k minibatches

The last two come from tables, which the host refills every LENGTH steps and every epoch: the settings of LENGTH steps,
the orders of two epochs.
"""

from contextlib import ExitStack, contextmanager, suppress
from itertools import repeat

import numpy as np

from minigan.backend import number, twin
from minigan.gpu.fusion import NoisyInput
from minigan.gpu.twins import adam_settings
from minigan.layers import Noise
from minigan.net import parts
from minigan.optim import Adam, SGDMomentum

WARM_UP = 2  # plain steps before the capture: a kernel is loaded when it is first launched, but not within a capture
LENGTH = 1024  # steps
SETTINGS = {  # optimiser -> what its kernel reads from `now` at step t = 0, 1, ...
    Adam: lambda t, **hyper: adam_settings(t=t + 1, **hyper),
    SGDMomentum: lambda t, *, learning_rate, momentum: (learning_rate, momentum),
}
WIDTH = 2  # numbers of an update


@twin
def advance_(elapsed, now, rows, settings, orders, *, m, per_epoch, first):
    """One more step has elapsed: t = first + elapsed (modulo 2^64).

        now = settings[t mod length]
        rows of minibatch j = orders[epoch mod 2][i m : (i + 1) m],   epoch, i = divmod(j, per_epoch)

    for the k minibatches j = k t, ..., k t + k - 1. elapsed: (1,) uint64, now: (width,), rows: (k m,), settings:
    (length, width), orders: (2, n) the rows of an even and of an odd epoch.
    """
    elapsed += np.uint64(1)
    t = (first + int(elapsed[0])) % 2**64
    now[...] = settings[t % len(settings)]
    j, i = np.divmod(np.arange(len(rows)), m)
    epoch, place = np.divmod(t * (len(rows) // m) + j, per_epoch)
    rows[...] = orders[epoch % 2, place * m + i]


class Captured:
    """A captured function. result: what it returned; each launch computes the arrays in it anew."""

    def __init__(self, graph, result, memory):
        self.result, self._graph, self._memory = result, graph, memory

    def launch(self):
        """Replay it on the current stream, after all that was launched there."""
        self._graph.launch()


def capture(xp, function):
    """Run function() without computing anything, and capture its launches. Returns a Captured. xp: cupy.

    Raises what CuPy raises where a capture is impossible: for products by cuBLAS, for copies from or to the host, for
    whatever waits for the GPU, and without memory.
    """
    memory = []  # all that the graph uses; a pool alone may free its unused blocks, which replays write into

    def allocate(size):
        memory.append(xp.cuda.MemoryPointer(xp.cuda.Memory(size), 0))
        return memory[-1]

    pool, stream = xp.cuda.MemoryPool(allocate), xp.cuda.Stream(non_blocking=True)
    with xp.cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        try:
            result = function()
        except BaseException:
            with suppress(Exception):  # the capture is invalid, which CuPy reports once more
                stream.end_capture()
            raise
        return Captured(stream.end_capture(), result, memory)


class StepGraph:
    """A game on a GPU whose steps are replayed.

    A replay repeats the capture. So the game must stay as it is, and its layers may depend on the step through random
    numbers and Noise alone; schedules of Adam and SGDMomentum are read anew.
    remark: one line that says why steps are launched kernel by kernel, or None; whoever shows it may set it to None.
    """

    def __init__(self, game):
        self.game, self.remark, self._captured, self._steps = game, None, None, 0

    def step(self, t):
        """What game.step(t) does and returns; the arrays that it returns are overwritten by the next step."""
        self._steps += 1
        if self._steps == WARM_UP + 1:
            self._capture(t)
        if self._captured is None:
            return self.game.step(t)
        self._clock.set(t)
        self._captured.launch()
        self._clock.count()
        return self._captured.result

    def _capture(self, t):
        game, steps = self.game, (self.game.optimizer_G.t, self.game.optimizer_D.t)
        try:
            self._clock = Clock(game, t)
            self._captured = capture(game.streams.xp, lambda: self._clock.step(t))
        except Exception as error:  # a driver, a library or an optimiser that cannot be captured
            said = ' '.join(f'{type(error).__name__}: {error}'.split())[:200]
            self.remark = f'no CUDA graph, so each step launches its kernels one by one ({said})'
            game.G.drop_cache()
            game.D.drop_cache()
        game.optimizer_G.t, game.optimizer_D.t = steps  # nothing has been computed yet


class Clock:
    """What differs from step to step, on the GPU. players: (optimiser, its updates in a step), in the order of updates.

    Raises ValueError for a game that is not replayable, an optimiser that is not in SETTINGS, minibatches without an
    order of rows, and Noise inside another layer.
    """

    def __init__(self, game, first):
        self.game, self.first, self.minibatch, self.kernels = game, first, game.minibatch, game.streams.kernels
        self.players = [(game.optimizer_D, game.k), (game.optimizer_G, 1)]
        if not game.replayable:
            raise ValueError(f'expected a game that is replayable, got {type(game).__name__}')
        for optimizer, _ in self.players:
            if type(optimizer) not in SETTINGS:
                raise ValueError(f'expected an optimizer of {", ".join(one.__name__ for one in SETTINGS)}, '
                                 f'got {type(optimizer).__name__}')
        if not hasattr(self.minibatch, 'order'):
            raise ValueError(f'expected minibatches with an order of rows, got {self.minibatch!r}')
        self.noises = [layer for net in (game.G, game.D) for layer in net.layers_in_training
                       if isinstance(layer, NoisyInput)]
        noises = [layer for net in (game.G, game.D) for _, layer in parts(net.layers) if isinstance(layer, Noise)]
        if [layer.noise for layer in self.noises] != noises:
            raise ValueError(f'expected Noise as a layer of the net itself, got {game.G} and {game.D}')
        xp, n = game.streams.xp, self.minibatch.n
        self.width = WIDTH * (game.k + 1) + len(self.noises)
        self.elapsed, self.now = xp.zeros(1, np.uint64), xp.zeros(self.width, np.float32)
        self.rows = xp.zeros(game.k * game.m, np.int64)
        self.settings, self.orders = xp.zeros((LENGTH, self.width), np.float32), xp.zeros((2, n), np.int64)
        self.epochs, self._block, self._next = [None, None], None, None
        self.set(first)
        self.advance()  # loads the kernel
        self._next = None

    def advance(self):
        """The first kernel of a step."""
        advance_(self.elapsed, self.now, self.rows, self.settings, self.orders, m=self.game.m,
                 per_epoch=self.minibatch.per_epoch, first=self.first)

    def set(self, t):
        """Prepare for step t what the GPU does not have yet. Most steps need nothing: each follows the one before."""
        state = t, *(optimizer.t for optimizer, _ in self.players)
        if state != self._next:
            self._fill(self.elapsed, [(t - self.first - 1) % 2**64])
        if state != self._next or t // LENGTH != self._block:
            self._block = t // LENGTH
            self._fill(self.settings[t % LENGTH:], [self.settings_after(t, i) for i in range(LENGTH - t % LENGTH)])
        for epoch in self.epochs_of(t):
            if self.epochs[epoch % 2] != epoch:
                self.orders[epoch % 2], self.epochs[epoch % 2] = self.minibatch.order(epoch), epoch
        self._next = t + 1, *(optimizer.t + updates for optimizer, updates in self.players)

    def epochs_of(self, t):
        """The epochs of step t's first and last minibatch: k minibatches lie in two epochs at most."""
        first = t * self.game.k
        return [j // self.minibatch.per_epoch for j in (first, first + self.game.k - 1)]

    def count(self):
        """Count a step's updates, as the optimisers do when they launch them."""
        for optimizer, updates in self.players:
            optimizer.t += updates
            optimizer.net.version += updates

    def _fill(self, array, numbers):
        array[...] = self.game.streams.xp.asarray(np.array(numbers, array.dtype))

    def settings_after(self, t, steps):
        """The row of settings for step t + steps, where step t is the next."""
        row = []
        for optimizer, updates in self.players:
            for i in range(updates):
                count = optimizer.t + steps * updates + i
                row += SETTINGS[type(optimizer)](count, **optimizer.settings(count))
        return row + [number(layer.noise.sigma(t + steps)) for layer in self.noises]

    def step(self, t):
        """game.step(t), to be captured: it reads elapsed, now and rows."""
        game, start = self.game, WIDTH * (self.game.k + 1)
        updates = [self.now[i:i + WIDTH] for i in range(0, start, WIDTH)]
        with ExitStack() as stack:
            stack.enter_context(_replaced(
                game, 'minibatch', lambda j: self.minibatch.at(self.rows[(j - t * game.k) * game.m:][:game.m])))
            stack.enter_context(_replaced(self.kernels, 'elapsed', self.elapsed))
            stack.enter_context(self._reading(game.optimizer_D, 'step', updates[:-1]))
            stack.enter_context(self._reading(game.optimizer_G, 'step', updates[-1:]))
            for i, layer in enumerate(self.noises, start):
                stack.enter_context(self._reading(layer, 'forward', repeat(self.now[i:i + 1])))
            self.advance()
            return game.step(t)

    def _reading(self, thing, method, slots):
        """A context in which each call of thing.method reads its settings from the next slot."""
        compute, slots = getattr(thing, method), iter(slots)

        def compute_from_memory(*arguments, **options):
            with _replaced(self.kernels, 'now', next(slots)):
                return compute(*arguments, **options)

        return _replaced(thing, method, compute_from_memory)


@contextmanager
def _replaced(thing, name, value):
    """A context in which an attribute has a different value."""
    own, before = name in vars(thing), getattr(thing, name)
    setattr(thing, name, value)
    try:
        yield
    finally:
        if own:
            setattr(thing, name, before)
        else:
            delattr(thing, name)  # the class has it
