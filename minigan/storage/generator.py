"""A trained generator as a function: minigan.load(RUN).sample(n)."""

import numpy as np

from minigan.networks import RECIPES
from minigan.storage import checkpoint
from minigan.streams import PRIORS, Streams

ROWS = 1000  # drawn and computed at a time; in training mode, the minibatch


def load(path):
    """The Generator of a run's folder, as it was saved last, or of a checkpoint file (RUN/best.npz).

    Raises ValueError for anything but a whole checkpoint whose arrays fit its network, OSError when there is none.
    """
    arrays, about = checkpoint.load(path)
    try:
        return Generator(arrays, about)
    except ValueError as error:
        raise ValueError(f'{checkpoint.find(path)}: {error}') from error


class Generator:
    """G of a checkpoint, and what it draws.

    G: the net, in float32: the average of the generator, if the run kept one.
    n_z: width of z. prior: of z, a name in streams.PRIORS.
    shape: of an image, (height, width) or (height, width, 3).
    step: iterations of training behind it. about: all else that is known of the run.
    """

    def __init__(self, arrays, about):
        self.G = checkpoint.net(arrays, about, 'average' if 'average.theta' in arrays else 'G')
        network, self.n_z, self.shape = checkpoint.described(about)
        self.prior = RECIPES[network].prior
        self.step, self.about = int(checkpoint.part(arrays, 'G.t', (), np.int64)), about

    def __call__(self, z, *, training=False):
        """Images (m, *shape) in [0, 1] for z (m, n_z) float32.

        In evaluation mode an image depends on its own z alone: batch norm uses the averages that training left. In
        training mode it uses the minibatch's own mean and variance, as while G learned, and so every image depends
        on the others.
        """
        state = self.G.state.copy()
        with np.errstate(over='ignore', invalid='ignore'):
            x = self.G.forward(z, training=training, keep_cache=False)
        self.G.state[...] = state  # drawing must not teach it anything
        if not np.isfinite(x).all():
            raise ValueError('expected a generator that draws numbers, got one whose numbers overflow')
        return (x.reshape(-1, *self.shape) + 1) / 2

    def sample(self, n, *, seed=0, training=False):
        """n images (n, *shape) float32 in [0, 1]. The same seed gives the same, and n more begin with those of n.

        training: see __call__; the minibatches are of 1,000. Raises ValueError for n below 1.
        """
        if n < 1:
            raise ValueError(f'n: expected at least 1 image, got {n}')
        streams, images = Streams(seed), []
        for i in range(-(-n // ROWS)):
            z = PRIORS[self.prior](streams.at('sample', 2, i), (ROWS, self.n_z))  # training looks at steps 0 and 1
            images.append(self(z, training=training)[:n - i * ROWS])
        return np.concatenate(images)

    def path(self, points, steps, *, seed=0):
        """Images along a closed path through random points: (points, steps, *shape), row i from point i to the next.

        Along the great circle between two points, which is nearly as far from 0 as they are, like all z; the straight
        line would cross a region that G has never met. White 2016, Sampling generative networks.
        """
        for name, number in (('points', points), ('steps', steps)):
            if number < 2:
                raise ValueError(f'{name}: expected at least 2, got {number}')
        z = PRIORS[self.prior](Streams(seed).at('sample', 3), (points, self.n_z))
        legs = [great_circle(z[i], z[(i + 1) % points], steps) for i in range(points)]
        z = np.concatenate(legs)
        images = [self(z[i:i + ROWS]) for i in range(0, len(z), ROWS)]
        return np.concatenate(images).reshape(points, steps, *self.shape)


def great_circle(a, b, steps):
    """From a towards b, and not quite there, in as many equal steps.

        z(t) = (sin((1 - t) w) a + sin(t w) b) / sin w,   w the angle between a and b

    Straight on where both lie on one line through 0.
    """
    w = np.arccos(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1))
    t = np.arange(steps)[:, None] / steps
    if np.sin(w) < 1e-3:
        return ((1 - t) * a + t * b).astype(np.float32)
    return ((np.sin((1 - t) * w) * a + np.sin(t * w) * b) / np.sin(w)).astype(np.float32)
