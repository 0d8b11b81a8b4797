"""Random numbers as a function of (seed, stream, step): the same on a CPU and on a GPU."""

import numpy as np

STREAMS = ('init', 'data', 'noise', 'dropout', 'sample', 'check')  # append only: the position is part of the key
PICTURES, WATCH, SAMPLES, PATH = range(4)  # steps of 'sample': a run's pictures, its log, generator.sample, its path


class Streams:
    """Random numbers as a function of (seed, stream, step, substep): there is no state to save or restore.

    Each draw sets the key and the counter of a Philox 4x64-10 generator, so that any step's numbers can be had
    at any time, in any order. On a GPU a kernel computes the same Philox: every device sees the same bits.

    seed: integer in [0, 2**64); xp: numpy or cupy; kernels: for cupy, the twins that draw (gpu/twins.py).
    Raises ValueError for a seed outside that range, and for cupy without kernels.
    Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3.
    """

    def __init__(self, seed, *, xp=np, kernels=None):
        if not 0 <= seed < 2**64:
            raise ValueError(f'seed: expected an integer in [0, 2**64), got {seed}')
        if xp is not np and kernels is None:
            raise ValueError('Streams: expected kernels, which draw on a GPU, for an xp other than numpy, got None')
        self.seed, self.xp, self.kernels = seed, xp, kernels
        self._philox = np.random.Philox(0)
        self._state = self._philox.state  # the generator's own form of state, refilled for each draw
        self._generator = np.random.Generator(self._philox)

    def at(self, stream, step, substep=0):
        """The stream's numbers for one (sub)step, to be drawn one array after the other."""
        return Draws(self, STREAMS.index(stream), step, substep)

    def _generator_at(self, key, counter):
        self._state['state']['key'][:] = key
        self._state['state']['counter'][:] = counter
        self._philox.state = self._state  # 1.5 us, where a new generator costs 33
        return self._generator


class Draws:
    """What one stream holds for one (sub)step; the next call draws the next array."""

    def __init__(self, streams, stream, step, substep):
        self._streams, self._place, self._draw = streams, (substep, step, streams.seed, stream), 0

    @property
    def step(self):
        """The step that these numbers are for."""
        return self._place[1]

    def next_place(self):
        """Where the next array is drawn, for a kernel that draws it itself: (draw, substep, step, seed, stream)."""
        self._draw += 1
        return self._draw - 1, *self._place

    def _next_generator(self):
        *counter, seed, stream = self.next_place()
        return self._streams._generator_at((seed, stream), (0, *counter))

    def _on_gpu(self, name, shape, dtype):
        out = self._streams.xp.empty(shape, dtype)
        getattr(self._streams.kernels, name)(out, *self.next_place())
        return out

    def bits(self, shape):
        """Random integers in [0, 2**16), four of each 64-bit word, low bits first: for dropout, which needs many."""
        if self._streams.kernels:
            return self._on_gpu('bits', shape, np.uint16)
        n = int(np.prod(shape))
        words = self._next_generator().bit_generator.random_raw((n + 3) // 4)
        return words.astype('<u8', copy=False).view('<u2')[:n].reshape(shape)

    def uniform(self, shape, dtype=np.float32):
        """u ~ U[0, 1): multiples of 2**-24, so float32 and float64 hold the same numbers."""
        if self._streams.kernels:
            return self._on_gpu('uniform', shape, np.float32).astype(dtype, copy=False)
        return self._next_generator().random(shape, np.float32).astype(dtype, copy=False)

    def normal(self, shape, dtype=np.float32):
        """z ~ N(0, 1) from uniforms u, v:   z = sqrt(-2 log(1 - u)) * (cos(2 pi v), sin(2 pi v)).

        Box & Muller 1958; chosen over faster methods since every device can compute it alike.
        """
        if self._streams.kernels and dtype == np.float32:
            return self._on_gpu('normal', shape, dtype)
        n, xp = int(np.prod(shape)), self._streams.xp
        u, v = self.uniform((2, (n + 1) // 2), dtype)
        radius, angle = xp.sqrt(-2 * xp.log1p(-u)), 2 * np.pi * v
        z = xp.concatenate([radius * xp.cos(angle), radius * xp.sin(angle)])
        return z[:n].reshape(shape)

    def uniform_noise(self, shape, dtype=np.float32):
        """z ~ U(-sqrt 3, sqrt 3): mean 0 and variance 1, like normal."""
        return 12**0.5 * (self.uniform(shape, dtype) - 0.5)

    def permutation(self, n):
        """A random order of 0 .. n-1: the order that sorts n uniforms."""
        return self._streams.xp.argsort(self.uniform(n), kind='stable')


PRIORS = {'normal': Draws.normal, 'uniform': Draws.uniform_noise}  # of z
