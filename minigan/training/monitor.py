"""What a row of the log measures: V on both splits, D's answers, gradients, and how close samples are to the data."""

import time
from math import lcm

import numpy as np
from sklearn.decomposition import PCA

from minigan import losses, ops
from minigan.backend import to_host
from minigan.data import DataError, Examples
from minigan.evaluation.metrics import frechet_of_moments, moments
from minigan.net import parts
from minigan.streams import WATCH
from minigan.training.log import SPLIT
from minigan.training.overflow import NotFinite
from minigan.variants.convolution import ImageMap

COMPONENTS = 64  # principal components in which samples are compared with data
IMAGES = 2000  # the most that are measured of each split
AT_ONCE = 500  # of these, by a convolutional net, which holds each pixel many times


class Monitor:
    """Measures a game, and keeps the rows of its log.

    rows: one dict an epoch. looks, norms: how often the gradients of G and D were looked at in this epoch, and the
    sums of their norms. best_epoch: the epoch whose samples were closest to the data, 0 before the first.
    started: the clock's time at step 0, not counting the time between a stop and its resumption.
    """

    def __init__(self, game, dataset, classes=0):
        self.game, xp = game, game.streams.xp
        labels = dataset.labels if classes else (None, None)
        self.splits = {'train': Examples(dataset.train, labels[0], classes, xp=xp, dtype=game.D.dtype),
                       'validation': Examples(dataset.validation, labels[1], classes, xp=xp, dtype=game.D.dtype)}
        self.block, self.pixels = lcm(*(layer.block for layer in game.D.layers)), dataset.train.shape[1]
        self.n = min(IMAGES, len(dataset.validation), len(dataset.train)) // self.block * self.block
        if self.n == 0:
            raise DataError(f'{dataset.name}: expected at least {self.block} validation images, which D reads '
                            f'together, got {len(dataset.validation)}')
        reference = to_host(dataset.train[:max(64, self.n)]) / np.float32(255)
        self.statistics = PixelStatistics(ops.from_unit(reference))
        self.rows, self.best_epoch = [], 0
        self.looks, self.norms, self.started = 0, np.zeros(2), time.perf_counter()

    def look(self, logits):
        """Running losses by name, after a step that returned these logits. Raises NotFinite."""
        norms = float(self.game.G.dtheta_norm()), float(self.game.D.dtheta_norm())
        values = means(self.game, *logits)
        _require_finite([*norms, *values.values()], 'a loss or the norm of a gradient')
        self.looks, self.norms = self.looks + 1, self.norms + norms
        return values

    def end_epoch(self, t, generator):
        """Add a row to the log and return it. generator: the net that draws samples. Raises NotFinite."""
        norms = dict(zip(('gradient_norm_G', 'gradient_norm_D'), (self.norms / self.looks).tolist()))
        row = {'epoch': len(self.rows) + 1, 'step': t, **norms, **self._measure(generator), 'seconds': self.seconds()}
        _require_finite([*row.values()], 'a number of the log')
        self._append(row)
        self.looks, self.norms = 0, np.zeros(2)
        return row

    def seconds(self):
        """The seconds that the run has taken so far."""
        return time.perf_counter() - self.started

    def restore(self, rows, looks, norms, seconds):
        """Restore what a checkpoint holds."""
        for row in rows:
            self._append(row)
        self.looks, self.norms, self.started = looks, norms, time.perf_counter() - seconds

    def _append(self, row):
        self.rows.append(row)
        if self.best_epoch == 0 or row['distance'] < self.rows[self.best_epoch - 1]['distance']:
            self.best_epoch = len(self.rows)

    def _measure(self, generator):
        """The losses on both splits, in evaluation mode, and the distance and spread of the samples.

        Both splits are measured on the same number of images, so that they differ only by what D has memorised.
        """
        game, values = self.game, {}
        z = game.draw_z(game.streams.at('sample', WATCH), max(64 // self.block * self.block, self.n))
        samples = self._in_parts(game.G, z)
        fake, rows = self._in_parts(game.D, samples), game.streams.xp.arange(self.n)
        for split, examples in self.splits.items():
            found = means(game, self._in_parts(game.D, examples.at(rows)), fake, fake)
            values |= {f'{split}_{name}': value for name, value in found.items()}
        drawn = to_host(samples if generator is game.G else self._in_parts(generator, z))[:, :self.pixels]
        _require_finite(drawn, 'a sample')
        return {**values, 'distance': self.statistics.distance(drawn), 'spread': self.statistics.spread(drawn)}

    def _in_parts(self, net, x):
        """net(x), by a convolutional net for about AT_ONCE rows at a time."""
        if not any(isinstance(layer, ImageMap) for _, layer in parts(net.layers)):
            return net(x)
        step = max(AT_ONCE // self.block, 1) * self.block
        return self.game.streams.xp.concatenate([net(x[i:i + step]) for i in range(0, len(x), step)])


class PixelStatistics:
    """The mean and the spread of images, to compare samples with: cheap enough for every epoch.

    images: (N, n) float, N >= 2. scikit-learn computes their principal components, 64 at most.
    """

    def __init__(self, images):
        self.variance = max(float(images.var(axis=0).sum()), 1e-9)  # images may all be the same
        n = min(COMPONENTS, len(images) - 1, images.shape[1])
        with np.errstate(invalid='ignore'):
            self.components = PCA(n, svd_solver='randomized', random_state=0).fit(images)

    def distance(self, samples):
        """Frechet distance between images and samples (N, n) in the coordinates of the components.

        It notices blurred, missing or too frequent images only if they change the mean or covariance of the pixels.
        That is good enough to choose an epoch, but not to compare models.
        """
        variance = self.components.explained_variance_.astype(float)
        return frechet_of_moments(*moments(self.components.transform(samples)), 0, np.diag(variance))

    def spread(self, samples):
        """Total variance of the samples over that of the images: 1 if both vary as much, 0 if all samples are alike."""
        return float(samples.var(axis=0).sum() / self.variance)


def means(game, real, fake, fake_G):
    """V, L_D, L_G and D's mean answers, as floats: V is -L_D without smoothing, an answer D(x) or D's own output."""
    objective = losses.OBJECTIVES[game.objective]
    answer = ops.sigmoid if objective.probability else lambda output: output
    V = -objective.L_D(real, fake)
    L_D = objective.L_D(real, fake, smoothing=game.smoothing) if game.smoothing else -V
    return dict(zip(SPLIT, map(float, (V, L_D, objective.L_G(fake_G), answer(real).mean(), answer(fake).mean()))))


def _require_finite(numbers, what):
    if not np.isfinite(numbers).all():
        raise NotFinite(f'{what} is infinite or undefined')
