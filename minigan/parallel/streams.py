"""Random numbers of one rank: its rows of what a single process would draw, and no others.

Ranks that draw the same noise compute the same gradient R times. Here they cannot: a random number is a function of
(seed, stream, step, substep) and of its place in the array of the whole minibatch.
"""

from math import prod

import numpy as np

from minigan.streams import STREAMS, Rng, Streams

SHARED = ('noise', 'dropout')  # the streams whose arrays have a row for each row of the minibatch, or several
BITS, UNIFORMS = 16, 8  # how many of them one block of Philox has


class RankStreams(Streams):
    """Streams as seen by one of R ranks. streams: those of a single process."""

    def __init__(self, streams, ranks):
        super().__init__(streams.seed, xp=streams.xp, kernels=streams.kernels)
        self.ranks = ranks

    def at(self, stream, step, substep=0):
        """The stream's random numbers for one (sub)step: of this rank's rows, or those that all ranks have."""
        if stream not in SHARED:
            return super().at(stream, step, substep)
        return RankRng(self, STREAMS.index(stream), step, substep)


class RankRng(Rng):
    """Draws this rank's rows of arrays that are R times as long.

    blocks: how many minibatches follow each other in these arrays: D reads data and samples, 2 minibatches, as one.
    Each holds the rows of rank 0, then those of rank 1, ...
    """

    blocks = 1
    _skip, _places = 0, None

    def bits(self, shape):
        """As Rng.bits; see there."""
        return self._read(Rng.bits, shape, BITS)

    def uniform(self, shape, dtype=np.float32):
        """As Rng.uniform; see there."""
        return self._read(Rng.uniform, shape, UNIFORMS, dtype)

    def normal(self, shape, dtype=np.float32):
        """As Rng.normal, where the i-th pair of uniforms gives the i-th normal number of each half of the array."""
        if self._streams.kernels:
            return self._read(Rng.normal, shape, 1, dtype)
        half, draw, parts = (prod(shape) * self._streams.ranks.size + 1) // 2, self._draw, []
        for start, n in self._own(shape):
            end = start + n
            for second, first, last in ((0, start, min(end, half)), (1, max(start, half) - half, end - half)):
                if (k := last - first) > 0:
                    self._draw, self._places = draw, [(first, k), (half + first, k)]
                    parts.append(Rng.normal(self, (2 * k,), dtype)[second * k:][:k])
        self._places = None
        return np.concatenate(parts).reshape(shape)

    def next_key(self):
        """As Rng.next_key, and how many blocks of Philox to skip."""
        return (*super().next_key(), self._skip) if self._skip else super().next_key()

    def _own(self, shape):
        """(start, length) of this rank's numbers in the array of all ranks, flat, for each of the blocks."""
        ranks, n = self._streams.ranks, prod(shape) // self.blocks
        return [((block * ranks.size + ranks.rank) * n, n) for block in range(self.blocks)]

    def _read(self, draw, shape, per_block, *dtype):
        """The array of this shape from its places in the array of all ranks."""
        if self._streams.kernels:  # they draw whole arrays
            whole = draw(self, (self._streams.ranks.size * prod(shape),), *dtype)
            parts = [whole[start:start + n] for start, n in self._own(shape)]
            return self._streams.xp.concatenate(parts).reshape(shape)
        number, parts = self._draw, []
        for start, n in self._places or self._own(shape):
            self._draw, (self._skip, rest) = number, divmod(start, per_block)
            parts.append(draw(self, (rest + n,), *dtype)[rest:])
        self._skip = 0
        return np.concatenate(parts).reshape(shape)
