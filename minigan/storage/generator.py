"""A trained generator as a function: minigan.load(RUN).sample(n)."""

from math import prod

import numpy as np

from minigan.storage import archive, checkpoint, files
from minigan.streams import PATH, SAMPLES, Streams, draw_z
from minigan.variants.conditional import beside, fractions_of, one_hot

AT_ONCE = 1000  # images that are drawn and computed together; in training mode, the minibatch


def load(path):
    """The Generator in the last checkpoint of a run's folder, or in a checkpoint file such as RUN/best.npz.

    Raises ValueError for anything but a whole checkpoint whose arrays fit its network, OSError when there is none.
    """
    arrays, about = archive.load(path)
    with archive.errors_name(path):
        return Generator(arrays, about)


class Generator:
    """The generator in a checkpoint: it turns z into images.

    G: the net, in float32; the average of the generator if the run kept one.
    n_z: width of z. prior: of z (streams.py). fractions: of each class in the data, if G is conditional, else ().
    shape: of an image, (height, width) or (height, width, 3).
    step: the steps that trained it. about: everything else that the checkpoint says about the run.
    """

    def __init__(self, arrays, about):
        if checkpoint.translates(about):
            raise ValueError('expected a run that draws images from noise, got one that translates images: use minigan '
                             'translate')
        self.G = checkpoint.net(arrays, about, 'average' if 'average.theta' in arrays else 'G')
        recipe, self.n_z, self.shape = checkpoint.recipe_of(about)
        self.prior, self.fractions = recipe.prior, fractions_of(recipe)
        self.step, self.about = int(archive.require(arrays, 'G.t', (), np.int64)), about

    def __repr__(self):
        return f'Generator({self.n_z} -> {" x ".join(map(str, self.shape))}, step {self.step}, {self.G!r})'

    def __call__(self, z, *, training=False):
        """Images (m, *shape) in [0, 1] for z (m, n_z) float32; if G is conditional, for [z, e_y] (m, n_z + classes).

        In evaluation mode an image depends on its own z alone: batch norm uses the averages that training left. In
        training mode batch norm uses the mean and variance of the minibatch, as it did while G learned, so every image
        depends on the others.
        """
        state = self.G.state.copy()
        with np.errstate(over='ignore', invalid='ignore'):
            x = self.G.forward(z, training=training, keep_cache=False)
        self.G.state[...] = state  # training mode moves the averages, and drawing must not
        if not np.isfinite(x).all():
            raise ValueError('expected finite images, got numbers that overflow')
        return (x[:, :prod(self.shape)].reshape(-1, *self.shape) + 1) / 2

    def sample(self, n, *, label=None, seed=0, training=False):
        """n images (n, *shape) float32 in [0, 1]. The same seed gives the same images; a larger n appends more.

        label: the class that a conditional generator draws, or the n classes of the images; None: as in the data.
        training: see __call__; a minibatch has 1,000 images.
        Raises ValueError for n below 1, for more images than 4 GiB hold, and for a label that the data did not have.
        """
        if n < 1:
            raise ValueError(f'n: expected at least 1 image, got {n}')
        images, streams, labels = self._empty('n', n), Streams(seed), self._labels(label, n)
        for i in range(0, n, AT_ONCE):
            z = self._draw(streams.at('sample', SAMPLES, i // AT_ONCE), AT_ONCE)
            if labels is not None:
                given = np.resize(labels[i:i + AT_ONCE], AT_ONCE)  # the last minibatch is a whole one, too
                z[:, self.n_z:] = one_hot(given, len(self.fractions))
            images[i:i + AT_ONCE] = self(z, training=training)[:n - i]
        return images

    def _labels(self, label, n):
        """The class of each of n images, (n,), or None. Raises ValueError for one that the data did not have."""
        if label is None:
            return None
        if np.shape(label) not in ((), (n,)):
            raise ValueError(f'label: expected one class, or one for each of {n} images, got shape {np.shape(label)}')
        labels, known = np.broadcast_to(label, n), np.flatnonzero(self.fractions)
        if labels.dtype.kind not in 'iu' or not np.isin(labels, known).all():
            of = f'one of {", ".join(map(str, known))}' if len(known) else 'None, as this generator is not conditional'
            raise ValueError(f'label: expected {of}, got {label}')
        return labels

    def path(self, points, steps, *, label=None, seed=0):
        """Images along a closed path through random points: (points, steps, *shape), row i from point i to the next.

        label: as in sample, one for all images; None: each point has a label of its own, and one turns into the next.

        It follows the great circle from one point to the next, where all z are nearly as far from 0 as the points are;
        a straight line would cross a region where G was never trained. White 2016, Sampling generative networks.
        Raises ValueError for fewer than 2 points or steps, and for more images than 4 GiB hold.
        """
        for name, number in (('points', points), ('steps', steps)):
            if number < 2:
                raise ValueError(f'{name}: expected at least 2, got {number}')
        images = self._empty('points x steps', points * steps)
        corners = self._draw(Streams(seed).at('sample', PATH), points)
        if (labels := self._labels(label, points)) is not None:
            corners[:, self.n_z:] = one_hot(labels, len(self.fractions))
        for i in range(0, len(images), AT_ONCE):
            legs, t = np.divmod(np.arange(i, min(i + AT_ONCE, len(images))), steps)
            z = [self._leg(corners[leg], corners[(leg + 1) % points], t[legs == leg] / steps)
                 for leg in np.unique(legs)]
            images[i:i + AT_ONCE] = self(np.concatenate(z))
        return images.reshape(points, steps, *self.shape)

    def _leg(self, a, b, t):
        """The inputs of G between two of them: z on a great circle, labels on a straight line."""
        n = self.n_z
        labels = np.float32(np.outer(1 - t, a[n:]) + np.outer(t, b[n:]))
        return beside(great_circle(a[:n], b[:n], t), labels)

    def _draw(self, draws, m):
        return draw_z(draws, self.prior, (m, self.n_z))

    def _empty(self, name, n):
        """An empty array for n images. Raises ValueError when it, or z, would be larger than a file may be."""
        most = files.LIMIT // (4 * max(self.n_z + len(self.fractions), prod(self.shape)))
        if n > most:
            raise ValueError(f'{name}: expected at most {most} images ({files.LIMIT} bytes), got {n}')
        return np.empty((n, *self.shape), np.float32)


def great_circle(a, b, t):
    """The points between a (t = 0) and b (t = 1) for fractions t (n,) of the way: (n, len(a)).

        z(t) = (sin((1 - t) w) a + sin(t w) b) / sin w,   w the angle between a and b

    The path is a straight line when a, b and 0 lie on one line.
    """
    w = np.arccos(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1))
    t = np.asarray(t)[:, None]
    if np.sin(w) < 1e-3:
        return ((1 - t) * a + t * b).astype(np.float32)
    return ((np.sin((1 - t) * w) * a + np.sin(t * w) * b) / np.sin(w)).astype(np.float32)
