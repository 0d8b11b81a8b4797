"""NumPy or CuPy: the module that computes, and the random numbers that both draw alike."""

import numpy as np

STREAMS = ('init', 'data', 'noise', 'dropout', 'sample')  # append only: the position is part of the key


def array_module(x):
    """The module whose functions take the array x: numpy, or cupy for an array on a GPU."""
    if type(x).__module__.partition('.')[0] == 'cupy':
        import cupy
        return cupy
    return np


def to_host(x):
    """x as a NumPy array; copies from the GPU, which waits for it."""
    return x.get() if hasattr(x, 'get') else np.asarray(x)


def select_device(name):
    """The array module for device 'cpu', 'cuda' or 'auto', and one line that says what was chosen and why.

    'auto' takes the GPU when a kernel really runs there, else the CPU.
    Raises ValueError for another name, and for 'cuda' when no kernel runs.
    """
    if name not in ('cpu', 'cuda', 'auto'):
        raise ValueError(f"device: expected 'cpu', 'cuda' or 'auto', got {name!r}")
    if name == 'cpu':
        return np, 'NumPy on the CPU'
    try:
        import cupy
        if int(cupy.arange(4).sum()) != 6:  # allocates, compiles, launches, copies back
            raise RuntimeError('a sum of four numbers came out wrong')
    except Exception as error:  # no CuPy, no driver, no compiler, no device: each raises something else
        reason = ' '.join(str(error).split()) or type(error).__name__
        if name == 'cuda':
            raise ValueError(f"device 'cuda': CuPy cannot run a kernel here ({reason})") from error
        return np, f'NumPy on the CPU (CuPy cannot run a kernel here: {reason})'
    return cupy, f'CuPy {cupy.__version__} on the GPU'


def keep_freed_memory():
    """Ask the C library to keep what is freed, up to 64 MiB, for the next step instead of handing it back.

    glibc returns freed blocks above 128 KiB to the kernel, and the next step pays for them in page faults. It stops
    doing so for blocks up to the largest that was ever freed, 32 MiB at most: free one. Nothing is written to it.
    """
    np.empty(2**25 - 2**13, np.uint8)


class Streams:
    """Random numbers as a function of (seed, stream, step, substep): there is no state to save or restore.

    Each draw sets the key and the counter of a Philox 4x64-10 generator, so that any step's numbers can be had
    at any time, in any order. Drawn on the CPU and copied to xp: every device sees the same bits.

    seed: integer in [0, 2**64). Raises ValueError otherwise.
    Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3.
    """

    def __init__(self, seed, *, xp=np):
        if not 0 <= seed < 2**64:
            raise ValueError(f'seed: expected an integer in [0, 2**64), got {seed}')
        self.seed, self.xp = seed, xp
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
        self._streams, self._key, self._place = streams, (streams.seed, stream), (substep, step)
        self._draw = 0

    def _next_generator(self):
        generator = self._streams._generator_at(self._key, (0, self._draw, *self._place))
        self._draw += 1
        return generator

    def _uniform(self, n):
        return self._next_generator().random(n, dtype=np.float32)

    def bits(self, shape):
        """Random integers in [0, 2**16), four of each 64-bit word, low bits first: for dropout, which needs many."""
        n = int(np.prod(shape))
        words = self._next_generator().bit_generator.random_raw((n + 3) // 4)
        return self._streams.xp.asarray(words.astype('<u8', copy=False).view('<u2')[:n].reshape(shape))

    def uniform(self, shape, dtype=np.float32):
        """u ~ U[0, 1): multiples of 2**-24, so float32 and float64 hold the same numbers."""
        u = self._uniform(int(np.prod(shape))).reshape(shape)
        return self._streams.xp.asarray(u.astype(dtype, copy=False))

    def normal(self, shape, dtype=np.float32):
        """z ~ N(0, 1) from uniforms u, v:   z = sqrt(-2 log(1 - u)) * (cos(2 pi v), sin(2 pi v)).

        Box & Muller 1958; chosen over faster methods since every device can compute it alike.
        """
        n = int(np.prod(shape))
        u, v = self._uniform(2 * ((n + 1) // 2)).astype(dtype, copy=False).reshape(2, -1)
        radius, angle = np.sqrt(-2 * np.log1p(-u)), 2 * np.pi * v
        z = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
        return self._streams.xp.asarray(z[:n].reshape(shape))

    def permutation(self, n):
        """A random order of 0 .. n-1: the order that sorts n uniforms."""
        return self._streams.xp.asarray(np.argsort(self._uniform(n), kind='stable'))
