"""Minibatches: the j-th one is a function of (seed, j)."""

import numpy as np

from minigan import ops
from minigan.data.dataset import DataError


class Order:
    """Which m of n rows the j-th minibatch has, as a function of (seed, j). Each epoch reads all rows in a new order.

    per_epoch: minibatches in an epoch. When m does not divide n, each epoch leaves out its last rows.
    Raises DataError when there are fewer than m rows.
    """

    def __init__(self, n, m, streams):
        if not 1 <= m <= n:
            raise DataError(f'batch: expected between 1 and {n}, the number of training images, got {m}')
        self.n, self.m, self.streams, self.per_epoch = n, m, streams, n // m
        self._epoch = None

    def rows(self, j):
        """The rows of the j-th minibatch: (m,) indices."""
        epoch, i = divmod(j, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self.order(epoch)
        return self._order[i * self.m:(i + 1) * self.m]

    def order(self, epoch):
        """All rows in the order of an epoch: (n,) indices."""
        return self.streams.at('data', epoch).permutation(self.n)


class Minibatches(Order):
    """An Order of images (N, n) uint8: calling it with j gives x (m, n) in [-1, 1], as Game expects."""

    def __init__(self, images, m, streams, *, dtype=np.float32):
        super().__init__(len(images), m, streams)
        self.images, self.dtype = streams.xp.asarray(images), dtype

    def __call__(self, j):
        return ops.gather_images(self.images, self.rows(j), self.dtype)
