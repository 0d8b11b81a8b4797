"""Gaussians in the plane: does G find every mode? The ring of 8 and the grid of 25.

Lin et al. 2018, PacGAN, section 4.1, and its authors' code; the measures are Srivastava et al.'s, 2017 (VEEGAN).
"""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import pairwise_distances_argmin_min

from minigan.data import Minibatches
from minigan.gan import Game
from minigan.layers import BatchNorm, Dense, LeakyReLU, Maxout, Noise
from minigan.net import Net
from minigan.optim import Adam, linear_decay
from minigan.streams import Streams

N = 2500  # samples, as published
POINTS, BATCH = 100_000, 100  # of PacGAN's data; so an epoch has 1,000 steps
EPOCH = POINTS // BATCH


@dataclass(frozen=True)
class Mixture:
    """Gaussians in the plane, all equally likely. centres: (k, 2); sigma: of each coordinate."""

    centres: np.ndarray
    sigma: float

    def sample(self, rng, m):
        """x (m, 2) float32; rng: Rng."""
        component = (rng.uniform(m) * len(self.centres)).astype(int)
        return (self.centres[component] + self.sigma * rng.normal((m, 2))).astype(np.float32)

    def measure(self, samples):
        """What samples (N, 2) have of it: a dict.

            high_quality    share of the samples within 3 sigma of a centre; 1 - exp(-9/2) = 0.989 of perfect samples
            modes           centres that have at least one of these
            reverse_kl      sum over centres of p log(k p), p its share of these: 0 when all are equally frequent, and
                            log k when one has all (or there are none)

        Samples that are too near to the centres, as of a G that draws nothing else, have a high_quality of 1.
        """
        nearest, distance = pairwise_distances_argmin_min(samples, self.centres)
        high = distance <= 3 * self.sigma
        counts, k = np.bincount(nearest[high]), len(self.centres)
        p = counts[counts > 0] / max(1, counts.sum())
        return {'modes': len(p), 'high_quality': float(high.mean()),
                'reverse_kl': float((p * np.log(k * p)).sum()) if len(p) else float(np.log(k))}


RING = Mixture(np.array([(np.cos(angle), np.sin(angle)) for angle in np.arange(8) * np.pi / 4]), 0.01)
GRID = Mixture(np.array([(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)]), 0.05)
MIXTURES = {'ring of 8': RING, 'grid of 25': GRID}


def small_game(mixture, seed, *, steps):
    """A Game of small networks and Algorithm 1, which takes seconds."""
    streams, adams = Streams(seed), []
    for i, (name, n) in enumerate({'G': 2, 'D': 1}.items()):
        net = Net([Dense(2, 128), LeakyReLU(0.2), Dense(128, 128), LeakyReLU(0.2), Dense(128, n)],
                  rng=streams.at('init', 0, i), name=name)
        adams.append(Adam(net, learning_rate=linear_decay(1e-3, steps), beta1=0.5))
    return Game(*(adam.net for adam in adams), *adams, lambda j: mixture.sample(streams.at('data', j), 128), streams,
                m=128, n_z=2)


def pacgan_G():
    """PacGAN's generator: four layers of 400. Weights are uniform, as wide as its normal ones: their sigma is 0.02."""
    layers, n = [], 2
    for _ in range(4):
        layers += [Dense(n, 400, bias=False, a=0.02 * 3**0.5), BatchNorm(400, momentum=0.95, eps=1e-4), LeakyReLU(0)]
        n = 400
    return [*layers, Dense(n, 2, a=0.02 * 3**0.5)]


def pacgan_D():
    """Its discriminator, for one point at a time: three layers of 200 maxout units with 5 pieces."""
    layers, n = [], 2
    for _ in range(3):
        layers += [Dense(n, 1000, a=0.02 * 3**0.5), Maxout(5)]
        n = 200
    return [*layers, Dense(n, 1, a=0.02 * 3**0.5)]


def pacgan_game(mixture, seed, *, steps, smoothing=0.0, input_noise=0.0, clip_norm=None):
    """The Game of PacGAN's baseline: 100,000 points, Adam 1e-4 with beta1 0.8, both players at once.

    Its 400 epochs are 400,000 steps. The stabilisers are those of config.py; input_noise falls to 0 in so many steps.
    """
    streams = Streams(seed)
    points = mixture.sample(streams.at('init', 1), POINTS)
    minibatches = Minibatches(points, BATCH, streams)
    noise = [Noise(linear_decay(input_noise, steps))] if input_noise else []
    G = Net(pacgan_G(), rng=streams.at('init', 0, 0), name='G')
    D = Net([*noise, *pacgan_D()], rng=streams.at('init', 0, 1), name='D')
    adams = [Adam(net, learning_rate=1e-4, beta1=0.8, clip_norm=clip_norm) for net in (G, D)]
    return Game(G, D, *adams, lambda j: points[minibatches.rows(j)], streams, m=BATCH, n_z=2, update='simultaneous',
                smoothing=smoothing)
