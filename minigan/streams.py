"""Random numbers as a function of (seed, stream, step): the same on a CPU and on a GPU."""

from numbers import Integral

import numpy as np

STREAMS = ('init', 'data', 'noise', 'dropout', 'sample', 'check')  # append only: the position is part of the key
PICTURES, WATCH, SAMPLES, PATH = range(4)  # steps of 'sample': a run's pictures, its log, generator.sample, its path


class Streams:
    """Random numbers as a function of (seed, stream, step, substep): there is no state to save or restore.

        streams.at('noise', 7).normal((m, n))    the same numbers whenever, and on whichever device, it is called

    Each draw sets the key and the counter of a Philox 4x64-10 generator. On a GPU a kernel computes the same Philox.

    seed: integer in [0, 2**64); xp: numpy or cupy; kernels: for cupy, the twins that draw (gpu/twins.py).
    Raises ValueError for any other seed, and for cupy without kernels.
    Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3.
    """

    def __init__(self, seed: int, *, xp=np, kernels=None):
        if not isinstance(seed, Integral) or not 0 <= seed < 2**64:
            raise ValueError(f'seed: expected an integer in [0, 2**64), got {seed}')
        if xp is not np and kernels is None:
            raise ValueError('Streams: expected kernels, which draw on a GPU, for an xp other than numpy, got None')
        self.seed, self.xp, self.kernels = seed, xp, kernels
        self._generator = np.random.Generator(np.random.Philox(0))
        self._state = self._generator.bit_generator.state  # in NumPy's own form, refilled for each draw

    def at(self, stream: str, step: int, substep: int = 0) -> 'Rng':
        """The stream's random numbers for one (sub)step. Raises ValueError for a name that is not in STREAMS."""
        if stream not in STREAMS:
            raise ValueError(f'stream: expected one of {", ".join(STREAMS)}, got {stream!r}')
        return Rng(self, STREAMS.index(stream), step, substep)

    def generator(self, draw, substep, step, seed, stream, skip=0):
        """NumPy's generator, set to draw the array of that key, after its first 4 skip words; see Rng.next_key."""
        self._state['state']['key'][:] = seed, stream
        self._state['state']['counter'][:] = skip, draw, substep, step
        self._generator.bit_generator.state = self._state  # takes 1.5 us; a new generator would take 33
        return self._generator

    def __deepcopy__(self, memo):  # nothing to copy, as there is no state
        return self

    def __repr__(self):
        return f'Streams({self.seed})'


class Rng:
    """The random numbers of one stream for one (sub)step: each call draws the next array."""

    def __init__(self, streams, stream, step, substep, *, draw=0):
        self.step, self._streams, self._stream, self._substep, self._draw = step, streams, stream, substep, draw

    def next_key(self):
        """(draw, substep, step, seed, stream), which determine the next array; for a kernel that draws it itself."""
        self._draw += 1
        return self._draw - 1, self._substep, self.step, self._streams.seed, self._stream

    def _on_gpu(self, name, shape, dtype):
        out = self._streams.xp.empty(shape, dtype)
        getattr(self._streams.kernels, name)(out, *self.next_key())
        return out

    def bits(self, shape):
        """Random integers in [0, 2**16), four from each 64-bit word, low bits first: for dropout, which needs many."""
        if self._streams.kernels:
            return self._on_gpu('bits', shape, np.uint16)
        n = int(np.prod(shape))
        words = self._streams.generator(*self.next_key()).bit_generator.random_raw((n + 3) // 4)
        return words.astype('<u8', copy=False).view('<u2')[:n].reshape(shape)

    def uniform(self, shape, dtype=np.float32):
        """u ~ U[0, 1): multiples of 2**-24, so float32 and float64 hold the same numbers."""
        if self._streams.kernels:
            return self._on_gpu('uniform', shape, np.float32).astype(dtype, copy=False)
        return self._streams.generator(*self.next_key()).random(shape, np.float32).astype(dtype, copy=False)

    def normal(self, shape, dtype=np.float32):
        """z ~ N(0, 1) from uniforms u, v:   z = sqrt(-2 log(1 - u)) * (cos(2 pi v), sin(2 pi v)).

        Box & Muller 1958. Faster methods exist, but every device can compute this one in the same way.
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

    def __repr__(self):
        return f'Rng({STREAMS[self._stream]!r}, step={self.step}, substep={self._substep}, draw={self._draw})'


PRIORS = {'normal': 'normal', 'uniform': 'uniform_noise'}  # of z -> the method of Rng that draws it


def draw_z(rng, prior, shape, dtype=np.float32):
    """z from a prior: a name in PRIORS, or a function of rng, shape and dtype."""
    return prior(rng, shape, dtype) if callable(prior) else getattr(rng, PRIORS[prior])(shape, dtype)
