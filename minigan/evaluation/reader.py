"""A classifier that rarely misreads a digit: a wide dense network that sees each training image bent anew each time.

It is for measures that count classes, where each misread image may count as a new one.
"""

import numpy as np

from minigan.evaluation import classifier
from minigan.layers import Dense, LeakyReLU
from minigan.net import Net
from minigan.streams import Streams

EPOCHS, LEARNING_RATE, WIDTH = 24, 1e-3, 1024
DISTANCE, FREQUENCIES, FALL = 0.05, 5, 0.7  # of a Warp
VERSION = 1  # of everything that shapes a reader: raise it after a change, to train all of them anew


def load(dataset, *, quiet=False):
    """The Classifier of a labelled Dataset of grey images: from the cache folder, or trained now."""
    return classifier.Classifier(classifier.kept(f'reader-{VERSION}', untrained(dataset), dataset, train, quiet=quiet))


def untrained(dataset):
    """The reader's net before its first step."""
    n, classes = dataset.train.shape[1], int(max(map(np.max, dataset.labels))) + 1
    return Net([Dense(n, WIDTH), LeakyReLU(0), Dense(WIDTH, WIDTH), LeakyReLU(0), Dense(WIDTH, classes)],
               rng=Streams(0).at('init', 0), name='reader')


def train(net, dataset, *, quiet=False):
    """Train on the training images, each bent by a new Warp in every epoch."""
    classifier.fit(net, dataset, EPOCHS, LEARNING_RATE, change=Warp(dataset.shape), quiet=quiet)


class Warp:
    """Bends images (m, h * w) by random smooth displacements, which shift, turn, slant and stretch them too.

        y(p) = x(p + d(p))
        d(i, j) = c * sum over a, b of w_ab FALL^(a + b) cos(pi a (i + 1/2) / h) cos(pi b (j + 1/2) / w)

    a and b run from 0 to FREQUENCIES - 1, and w_ab ~ N(0, 1) for each image and each of d's two directions. c makes the
    root mean square of d DISTANCE times the height. Between pixels, x is interpolated linearly; beyond its edge it goes
    on as at the edge. In the spirit of Simard et al. 2003, section 2, who smooth a random field with a Gaussian.
    """

    def __init__(self, shape):
        self.h, self.w = shape
        wave_y, wave_x = (np.cos(np.pi * np.outer(np.arange(FREQUENCIES), np.arange(side) + 0.5) / side)
                          for side in shape)
        fall = FALL ** np.add.outer(np.arange(FREQUENCIES), np.arange(FREQUENCIES))
        waves = np.einsum('ab,ai,bj->abij', fall, wave_y, wave_x).reshape(-1, self.h * self.w)
        waves *= DISTANCE * self.h / np.sqrt((waves**2).sum(axis=0).mean())
        self.waves = waves.astype(np.float32)
        self.places = np.stack(np.divmod(np.arange(self.h * self.w), self.w)).astype(np.float32)

    def __call__(self, x, rng):
        """The bent images (m, h * w) of x; rng draws w."""
        m = len(x)
        y, z = (rng.normal((2 * m, len(self.waves))) @ self.waves).reshape(2, m, -1) + self.places[:, None]
        y, z = np.clip(y, 0, self.h - 1.001), np.clip(z, 0, self.w - 1.001)  # so that pixel (i + 1, j + 1) exists
        i, j = y.astype(int), z.astype(int)
        at, y, z, x = i * self.w + j + self.h * self.w * np.arange(m)[:, None], y - i, z - j, x.reshape(-1)
        upper, lower = (x[row] + z * (x[row + 1] - x[row]) for row in (at, at + self.w))
        return (upper + y * (lower - upper)).astype(x.dtype, copy=False)
