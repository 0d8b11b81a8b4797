"""Minibatches: the j-th one is a function of (seed, j)."""

import numpy as np

from minigan import ops
from minigan.data.dataset import DataError
from minigan.variants.conditional import beside, one_hot


class Order:
    """Which m of n rows the j-th minibatch has, as a function of (seed, j). Each epoch reads all rows in a new order.

    per_epoch: minibatches in an epoch. When m does not divide n, each epoch leaves out its last rows.
    part: which of the m rows are read here, a slice: all of them, unless several processes share a minibatch.
    Raises DataError when there are fewer than m rows.
    """

    def __init__(self, n, m, streams):
        if not 1 <= m <= n:
            raise DataError(f'batch: expected between 1 and {n}, the number of training images, got {m}')
        self.n, self.m, self.streams, self.per_epoch = n, m, streams, n // m
        self.part, self._epoch = slice(None), None

    def rows(self, j):
        """The rows of the j-th minibatch: (m,) indices, or those of a part."""
        epoch, i = divmod(j, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self.order(epoch)
        return self._order[i * self.m:(i + 1) * self.m][self.part]

    def order(self, epoch):
        """All rows in the order of an epoch: (n,) indices."""
        return self.streams.at('data', epoch).permutation(self.n)


class Examples:
    """What D reads of images (N, n) uint8: x in [-1, 1], and with labels (N,) of `classes` classes [x, e_y]."""

    def __init__(self, images, labels=None, classes=0, *, xp=np, dtype=np.float32):
        self.images, self.labels = xp.asarray(images), labels if labels is None else xp.asarray(labels)
        self.classes, self.dtype = classes, dtype

    def at(self, rows):
        """The examples in these rows: (m, n), or (m, n + classes)."""
        x = ops.gather_images(self.images, rows, self.dtype)
        return x if self.labels is None else beside(x, one_hot(self.labels[rows], self.classes, self.dtype))


class Minibatches(Order, Examples):
    """Examples in an Order: calling it with j gives the j-th minibatch of m, as Game expects."""

    def __init__(self, images, m, streams, labels=None, classes=0, *, dtype=np.float32):
        Order.__init__(self, len(images), m, streams)
        Examples.__init__(self, images, labels, classes, xp=streams.xp, dtype=dtype)

    def __call__(self, j):
        return self.at(self.rows(j))
