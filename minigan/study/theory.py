"""What the 2014 paper proves or claims, held to numbers: each check says what was measured and what is allowed.

Densities are on a line, where integrals can be taken by quadrature; the players are this package's own networks.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.integrate import trapezoid
from scipy.stats import gaussian_kde, norm, wasserstein_distance

from minigan import data, losses, ops
from minigan.checks.row import Row
from minigan.gan import Game
from minigan.layers import Dense, LeakyReLU
from minigan.net import Net
from minigan.networks import RECIPES
from minigan.optim import Adam, linear_decay
from minigan.streams import Streams
from minigan.study import mixtures
from minigan.training.config import Config
from minigan.training.run import build_game

X = np.linspace(-8, 8, 4001)  # where densities are compared and integrals taken


@dataclass(frozen=True)
class Mixture:
    """A density on the line: a mixture of Gaussians, all equally likely. means, sigmas: one of each a component."""

    means: tuple
    sigmas: tuple

    def __call__(self, x):
        """p(x)"""
        return np.mean([norm.pdf(x, mean, sigma) for mean, sigma in zip(self.means, self.sigmas)], axis=0)

    def sample(self, rng, m):
        """x (m, 1) float32; rng: Rng."""
        component = (rng.uniform(m) * len(self.means)).astype(int)
        x = np.take(self.means, component) + np.take(self.sigmas, component) * rng.normal(m)
        return x[:, None].astype(np.float32)


P_DATA = Mixture((-2, 2), (0.7, 0.5))
PAIRS = {  # name -> (p_data, p_g)
    'far': (Mixture((-2,), (0.5,)), Mixture((2,), (0.5,))),
    'near': (Mixture((0,), (1,)), Mixture((0.5,), (1,))),
    'one of two modes': (P_DATA, Mixture((2,), (0.5,))),
    'equal': (P_DATA, P_DATA),
}


def optimal_D(p_data, p_g):
    """Proposition 1.   D*(x) = p_data(x) / (p_data(x) + p_g(x))"""
    return lambda x: p_data(x) / np.maximum(p_data(x) + p_g(x), 1e-300)


def value(D, p_data, p_g):
    """V(D, G) = integral of p_data(x) log D(x) + p_g(x) log(1 - D(x)), by quadrature."""
    p, q, answer = p_data(X), p_g(X), D(X)
    return trapezoid(_times_log(p, answer) + _times_log(q, 1 - answer), X)


def jensen_shannon(p_data, p_g):
    """JS = KL(p_data || m) / 2 + KL(p_g || m) / 2,   m = (p_data + p_g) / 2,   in nats"""
    p, q = p_data(X), p_g(X)
    middle = (p + q) / 2
    return trapezoid(sum(_times_log(one, one) - _times_log(one, middle) for one in (p, q)) / 2, X)


def _times_log(p, q):
    return p * np.log(np.maximum(q, 1e-300))


def theorem_1():
    """Rows: V(D*, G) = 2 JS(p_data, p_g) - log 4, and its least value -log 4 where p_g = p_data.

    By quadrature, which shows that the algebra is right; and, independent of it, by losses.V on samples and the logits
    of D*, whose mean is off by its own standard error.
    """
    for name, (p_data, p_g) in PAIRS.items():
        expected = 2 * jensen_shannon(p_data, p_g) - np.log(4)
        yield Row(f'V(D*, G) = 2 JS - log 4, {name}', abs(value(optimal_D(p_data, p_g), p_data, p_g) - expected), 1e-9)
        m, streams = 100_000, Streams(0)
        real, fake = (np.log(p_data(x) / p_g(x)) for x in (p_data.sample(streams.at('data', 0), m).astype(float),
                                                           p_g.sample(streams.at('noise', 0), m).astype(float)))
        error = np.hypot(ops.softplus(-real).std(), ops.softplus(fake).std()) / m**0.5
        yield Row(f'   losses.V on {m:,} samples', abs(losses.V(real, fake) - expected), 4 * error + 1e-12)
    yield Row('V(D*, G) = -log 4 where p_g = p_data', abs(value(optimal_D(P_DATA, P_DATA), P_DATA, P_DATA) + np.log(4)),
              1e-9)


def trained_D(p_data, p_g, *, seed=0, steps=1500, m=512):
    """A D that has seen many samples of both: x (N,) -> D(x). Three dense layers, Adam at a rate that falls to 0."""
    streams = Streams(seed)
    D = Net([Dense(1, 64), LeakyReLU(0.2), Dense(64, 64), LeakyReLU(0.2), Dense(64, 1)],
            rng=streams.at('init', 0), name='D')
    adam = Adam(D, learning_rate=linear_decay(0.01, steps))
    for t in range(steps):
        x, samples = p_data.sample(streams.at('data', t), m), p_g.sample(streams.at('noise', t), m)
        logits = D.forward(ops.stack(x, samples))
        D.backward(ops.stack(*losses.L_D_backward(logits[:m], logits[m:])), input_grad=False)
        adam.step()
    return lambda x: ops.sigmoid(D(np.asarray(x, np.float32)[:, None])[:, 0].astype(float))


def proposition_1(seed=0):
    """(rows, {name: (D, D*)}): a trained D against D*, on average over p_data and p_g; and its V against V(D*)."""
    rows, pairs = [], {}
    for name, (p_data, p_g) in PAIRS.items():
        D, best = trained_D(p_data, p_g, seed=seed), optimal_D(p_data, p_g)
        off = trapezoid((p_data(X) + p_g(X)) / 2 * abs(D(X) - best(X)), X)
        rows += [Row(f'mean |D - D*|, {name}', off, 0.01),
                 Row('   V(D*, G) - V(D, G)', value(best, p_data, p_g) - value(D, p_data, p_g), 5e-4)]
        pairs[name] = D, best
    return rows, pairs


def saturation(*, seed=0, steps=600, every=20):
    """Section 3: where D rejects the samples, log(1 - D(G(z))) saturates, and -log D(G(z)) does not.

    The default networks on the digits; G stays as it was drawn, D learns. Returns a dict of lists: step, D_G_z (its
    mean), and the norm of L_G's derivative with respect to theta_G for 'minimax' and for 'nonsaturating'.
    """
    digits, recipe = data.load('digits'), RECIPES['default']
    config = Config(seed=seed, schedule='constant', learning_rate_D=2e-4, beta1=0.5).resolve(recipe, digits)
    game = build_game(config, recipe, digits)
    z = game.draw_z(game.streams.at('sample', 0), 256)
    rows = {name: [] for name in ('step', 'D_G_z', *losses.OBJECTIVES)}
    for t in range(steps + 1):
        if t % every == 0:
            rows['step'].append(t)
            for name, (_, backward) in losses.OBJECTIVES.items():
                fake = game.D.forward(game.G.forward(z), training=False)
                game.G.backward(game.D.backward(backward(fake), param_grads=False), input_grad=False)
                rows[name].append(float(game.G.dtheta_norm()))
            rows['D_G_z'].append(float(ops.sigmoid(fake).mean()))
        game.update_D(game.minibatch(t), game.noise(t, 0), game.layer_rng(t, 0))
    return rows


def saturation_rows(measured):
    """Rows: how far the two norms have fallen when D is nearly sure, as shares of what they were at first."""
    minimax, nonsaturating = (measured[name][-1] / max(measured[name]) for name in ('minimax', 'nonsaturating'))
    return [Row('mean D(G(z)) when D has learned to reject them', measured['D_G_z'][-1], 0.01),
            Row('|dL_G / dtheta_G|, minimax: last / largest', minimax, 0.05),
            Row('nonsaturating: largest / last', 1 / nonsaturating, 5.0)]


FIGURE_1 = Mixture((1,), (0.6,))  # p_data of its run


@dataclass
class Snapshot:
    """A moment of figure_1: the step, D on X, samples of G for an even grid of z, and that grid."""

    t: int
    D: np.ndarray
    samples: np.ndarray
    z: np.ndarray


def figure_1(*, seed=0, steps=3000, frames=60):
    """A run of Algorithm 1 on the line, as in the paper's Figure 1: a list of Snapshots.

    p_data is FIGURE_1, z is uniform, and G at first far off.
    """
    streams = Streams(seed)
    G = Net([Dense(1, 32), LeakyReLU(0.2), Dense(32, 32), LeakyReLU(0.2), Dense(32, 1)], rng=streams.at('init', 0, 0),
            name='G')
    D = Net([Dense(1, 32), LeakyReLU(0.2), Dense(32, 32), LeakyReLU(0.2), Dense(32, 1)], rng=streams.at('init', 0, 1),
            name='D')
    G.layers[-1].b[...] = -2
    adams = [Adam(net, learning_rate=lambda t: 0.005 * (1 - t / steps) ** 2, beta1=0) for net in (G, D)]
    game = Game(G, D, *adams, lambda j: FIGURE_1.sample(streams.at('data', j), 512), streams, m=512, n_z=1,
                prior='uniform')
    z = np.linspace(-3**0.5, 3**0.5, 1001, dtype=np.float32)[:, None]
    moments, shown = [], set(np.linspace(0, steps, frames).astype(int).tolist())
    for t in range(steps + 1):
        if t in shown:
            moments.append(Snapshot(t, ops.sigmoid(D(X[:, None].astype(np.float32))[:, 0]), G(z)[:, 0], z[:, 0]))
        if t < steps:
            game.step(t)
    return moments


def figure_1_rows(moments):
    """Rows: at the end samples are distributed like the data, and D says 1/2 where they are."""
    real = norm.ppf((np.arange(1001) + 0.5) / 1001, *FIGURE_1.means, *FIGURE_1.sigmas)
    first, last = (wasserstein_distance(moments[i].samples, real) for i in (0, -1))
    off = trapezoid(FIGURE_1(X) * abs(moments[-1].D - 0.5), X)
    return [Row('Wasserstein distance of samples and data: last / first', last / first, 0.15),
            Row('mean |D(x) - 1/2| over the data, at the end', off, 0.03)]


def perfect_modes(seed=0):
    """Rows: what samples of the mixtures in the plane themselves score, within four standard errors."""
    for name, mixture in mixtures.MIXTURES.items():
        got, k = mixture.measure(mixture.sample(Streams(seed).at('sample', 0), mixtures.N)), len(mixture.centres)
        expected = 1 - np.exp(-9 / 2)
        error = (expected * (1 - expected) / mixtures.N) ** 0.5
        yield Row(f'perfect samples, {name}: modes missed', k - got['modes'], 0)
        yield Row('   |high quality - (1 - exp(-9/2))|', abs(got['high_quality'] - expected), 4 * error)
        chi2 = k - 1 + 4 * (2 * (k - 1)) ** 0.5  # its mean and four standard deviations
        yield Row('   reverse KL', got['reverse_kl'], chi2 / (2 * mixtures.N))


def ring(*, seed=0, steps=3000, looks=(100, 300, 1000, 2000, 3000)):
    """A run of Algorithm 1 on the ring of 8: step -> samples (2500, 2)."""
    game, seen = mixtures.small_game(mixtures.RING, seed, steps=steps), {}
    for t in range(steps):
        game.step(t)
        if t + 1 in looks:
            seen[t + 1] = game.G(game.draw_z(game.streams.at('sample', 0), mixtures.N))
    return seen


def ring_rows(seen):
    """Rows: at the end G has found every mode, and draws near all of them about equally often."""
    *_, got = map(mixtures.RING.measure, seen.values())
    return [Row('G on the ring of 8: modes missed', 8 - got['modes'], 0),
            Row('   share of samples beyond 3 sigma of every mode', 1 - got['high_quality'], 0.5),
            Row('   reverse KL', got['reverse_kl'], 0.1)]


def check(out, *, seed=0):
    """Yield every Row, and leave three pictures in the folder out: theory.png, ring.png and figure1.gif."""
    from minigan.pictures import plots  # late: matplotlib takes long to import
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    yield from theorem_1()
    rows, pairs = proposition_1(seed)
    yield from rows
    measured = saturation(seed=seed)
    yield from saturation_rows(measured)
    plots.theory(out / 'theory.png', {name: (X, *(p(X) for p in (*PAIRS[name], *players)))
                                      for name, players in pairs.items()}, measured)
    yield from perfect_modes(seed)
    seen = ring(seed=seed)
    yield from ring_rows(seen)
    plots.scatter(out / 'ring.png', {f'step {t}': (mixtures.RING.centres, x) for t, x in seen.items()})
    moments = figure_1(seed=seed)
    yield from figure_1_rows(moments)
    plots.figure_1(out / 'figure1.gif', X, FIGURE_1(X), [
        (one.t, one.D, gaussian_kde(one.samples)(X), one.samples[::50], one.z[::50]) for one in moments])
