"""Runs of Algorithm 1 that are small enough to watch: the paper's Figure 1 on the line, and mixtures in the plane."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, wasserstein_distance

from minigan import ops
from minigan.checks.row import Row
from minigan.gan import Game
from minigan.layers import Dense, LeakyReLU
from minigan.net import Net
from minigan.optim import Adam, linear_decay
from minigan.streams import PICTURES, Streams
from minigan.study.densities import GRID, Density, mean_gap
from minigan.study.mixtures import MEASURED, MIXTURES, RING_OF_8
from minigan.variants.wasserstein import WassersteinGame

FIGURE_1 = Density((1,), (0.6,))  # p_data of its run


@dataclass
class Moment:
    """A moment of figure_1: the step, D on GRID, samples of G for an even grid of z, and that grid."""

    t: int
    D: np.ndarray
    samples: np.ndarray
    z: np.ndarray


def line_game(seed, *, steps):
    """The Game of Figure 1: p_data is FIGURE_1, z is uniform, G starts far from the data, and rates fall to 0."""
    streams = Streams(seed)
    G = Net(_small_layers(1, (32, 32), 1), rng=streams.at('init', 0, 0), name='G')
    D = Net(_small_layers(1, (32, 32), 1), rng=streams.at('init', 0, 1), name='D')
    G.layers[-1].b[...] = -2

    def rate(t):
        return 0.005 * (1 - t / steps) ** 2
    return Game(G, D, Adam(G, learning_rate=rate, beta1=0), Adam(D, learning_rate=rate, beta1=0),
                lambda j: FIGURE_1.sample(streams.at('data', j), 512), streams, m=512, n_z=1, prior='uniform')


def even_z(n):
    """n even steps through the prior of line_game: (n, 1)."""
    return np.linspace(-3**0.5, 3**0.5, n, dtype=np.float32)[:, None]


def watched(game, steps, shown):
    """Play iterations 0 .. steps - 1 of a game. Yields each t in shown, when t of them have been played."""
    for t in range(steps + 1):
        if t in shown:
            yield t
        if t < steps:
            game.step(t)


def figure_1(*, seed=0, steps=3000, frames=60):
    """A run of Algorithm 1 on the line, as in the paper's Figure 1: a list of Moments of line_game."""
    game, z = line_game(seed, steps=steps), even_z(1001)
    shown = set(np.linspace(0, steps, frames).astype(int).tolist())
    return [Moment(t, ops.sigmoid(game.D(GRID[:, None].astype(np.float32))[:, 0]), game.G(z)[:, 0], z[:, 0])
            for t in watched(game, steps, shown)]


def figure_1_rows(moments):
    """Rows: at the end samples are distributed like the data, and D says 1/2 where the data is."""
    real = norm.ppf((np.arange(1001) + 0.5) / 1001, *FIGURE_1.means, *FIGURE_1.sigmas)
    first, last = (wasserstein_distance(moments[i].samples, real) for i in (0, -1))
    gap = mean_gap(moments[-1].D, 0.5, FIGURE_1(GRID))
    return [Row('Wasserstein distance of samples and data: last / first', last / first, 0.15),
            Row('mean |D(x) - 1/2| over the data, at the end', gap, 0.03)]


def perfect_modes(seed=0):
    """Rows: the measures of samples that the mixtures in the plane draw themselves, within four standard errors."""
    for name, mixture in MIXTURES.items():
        got, k = mixture.measure(mixture.sample(Streams(seed).at('sample', PICTURES), MEASURED)), len(mixture.centres)
        expected = 1 - np.exp(-9 / 2)
        error = (expected * (1 - expected) / MEASURED) ** 0.5
        yield Row(f'perfect samples, {name}: modes missed', k - got['modes'], 0)
        yield Row('   |high quality - (1 - exp(-9/2))|', abs(got['high_quality'] - expected), 4 * error)
        chi2 = k - 1 + 4 * (2 * (k - 1)) ** 0.5  # its mean and four standard deviations
        yield Row('   reverse KL', got['reverse_kl'], chi2 / (2 * MEASURED))


def plane_game(mixture, seed, *, steps, hidden=(128, 128), n_z=2, m=128, k=1, rate=1e-3, beta1=0.5, beta2=0.999,
               game=Game, **settings):
    """A Game of small networks on a mixture in the plane, both players with the same rate, which falls to 0.

    steps: of G, k of D each; hidden: the widths of the hidden layers; game and settings: Game, or a subclass with the
    fields that it adds.
    """
    streams = Streams(seed)
    G = Net(_small_layers(n_z, hidden, 2), rng=streams.at('init', 0, 0), name='G')
    D = Net(_small_layers(2, hidden, 1), rng=streams.at('init', 0, 1), name='D')
    return game(G, D, Adam(G, learning_rate=linear_decay(rate, steps), beta1=beta1, beta2=beta2),
                Adam(D, learning_rate=linear_decay(rate, steps * k), beta1=beta1, beta2=beta2),
                lambda j: mixture.sample(streams.at('data', j), m), streams, m=m, n_z=n_z, k=k, **settings)


def signs(rng, shape, dtype=np.float32):
    """A prior in pieces: z of random signs, but for its last quarter, which is normal.

    A continuous G maps a connected prior, such as the normal one, to a connected set: between modes that lie apart, it
    has to draw samples that belong to none. This one has 2^n pieces, n = 3/4 of the width. It has mean 0, variance 1.
    """
    z, n = rng.normal(shape, dtype), 3 * shape[1] // 4
    z[:, :n] = 2 * (rng.uniform((shape[0], n), dtype) < 0.5) - 1
    return z


WASSERSTEIN = {'game': WassersteinGame, 'objective': 'wasserstein', 'gradient_penalty': 0.1, 'k': 5, 'm': 256,
               'n_z': 16, 'prior': signs, 'rate': 3e-3, 'beta1': 0.0, 'beta2': 0.99}  # of plane_game, for both mixtures


def ring(*, seed=0, steps=3000, shown=(100, 300, 1000, 2000, 3000)):
    """A run of Algorithm 1 on the ring of 8: step -> samples (2500, 2)."""
    game = plane_game(RING_OF_8, seed, steps=steps)
    return {t: game.G(game.draw_z(game.streams.at('sample', PICTURES), MEASURED))
            for t in watched(game, steps, shown)}


def ring_rows(seen):
    """Rows: at the end G has found every mode, and draws near all of them about equally often."""
    got = RING_OF_8.measure(seen[max(seen)])
    return [Row('G on the ring of 8: modes missed', 8 - got['modes'], 0),
            Row('   fraction of samples beyond 3 sigma of every mode', 1 - got['high_quality'], 0.5),
            Row('   reverse KL', got['reverse_kl'], 0.1)]


def _small_layers(n, hidden, n_out):
    layers = []
    for width in hidden:
        layers += [Dense(n, width), LeakyReLU(0.2)]
        n = width
    return [*layers, Dense(n, n_out)]
