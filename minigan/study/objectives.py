"""What each objective's D* is for densities on the line, and what G then descends; see variants/objectives.py.

V stands for -L_D. Integrals over x are taken on GRID; V itself is computed by the loss that trains, on samples.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.integrate import cumulative_trapezoid, trapezoid

from minigan.checks.row import Row
from minigan.losses import OBJECTIVES
from minigan.streams import Streams
from minigan.study.densities import GRID, PAIRS, jensen_shannon, kl, optimal_D


def chi_squared(p_data, p_g):
    """Pearson's chi^2(p_data + p_g || 2 p_g) = integral of (p_data - p_g)^2 / (p_data + p_g), between 0 and 2."""
    p, q = p_data(GRID), p_g(GRID)
    return trapezoid((p - q)**2 / np.maximum(p + q, 1e-300), GRID)


def total_variation(p_data, p_g):
    """TV = integral of |p_data - p_g| / 2, between 0 and 1."""
    return trapezoid(abs(p_data(GRID) - p_g(GRID)) / 2, GRID)


def wasserstein(p_data, p_g):
    """W1 on the line: the area between the two distribution functions.   integral of |F_data - F_g|"""
    return trapezoid(abs(p_data.cdf(GRID) - p_g.cdf(GRID)), GRID)


def potential(p_data, p_g):
    """Kantorovich's potential, the best critic, a function of x: its slope is +1 or -1, up where F_g > F_data."""
    f = cumulative_trapezoid(np.sign(p_g.cdf(GRID) - p_data.cdf(GRID)), GRID, initial=0)
    return lambda x: np.interp(x, GRID, f)


def log_ratio(p_data, p_g):
    """The logit of D* = p_data / (p_data + p_g), a function of x."""
    return lambda x: np.log(p_data(x) / p_g(x))


class Optimum(NamedTuple):
    """The best D for a given G, a function of x; V that it reaches; and what a step of G with that D descends.

    All are functions of (p_data, p_g); formula_V and formula say the last two in words.
    """

    D: Callable
    formula_V: str
    V: Callable
    formula: str
    descends: Callable


def _least_squares(p_data, p_g):
    p = p_data(GRID)
    return kl(p, (p + p_g(GRID)) / 2) - chi_squared(p_data, p_g) / 8


MINIMAX = Optimum(log_ratio, '2 JS - log 4', lambda p, q: 2 * jensen_shannon(p, q) - np.log(4),
                  '2 JS', lambda p, q: 2 * jensen_shannon(p, q))
OPTIMA = {  # objective -> Optimum
    'minimax': MINIMAX,
    'nonsaturating': MINIMAX._replace(formula='KL(p_g || p_data) - 2 JS',
                                      descends=lambda p, q: kl(q(GRID), p(GRID)) - 2 * jensen_shannon(p, q)),
    'leastsquares': Optimum(optimal_D, 'chi2 / 8 - 1/4', lambda p, q: chi_squared(p, q) / 8 - 1 / 4,
                            'KL(p_data || r) - chi2 / 8', _least_squares),
    'hinge': Optimum(lambda p, q: lambda x: np.sign(p(x) - q(x)),
                     '2 TV - 2', lambda p, q: 2 * total_variation(p, q) - 2,
                     '2 TV', lambda p, q: 2 * total_variation(p, q)),
    'wasserstein': Optimum(potential, 'W1', wasserstein, 'W1', wasserstein),
}


def V(objective, D, real, fake):
    """-L_D for D's outputs at points real and fake (m,)."""
    return -OBJECTIVES[objective].L_D(D(real)[:, None], D(fake)[:, None])


def V_on_samples(objective, D, p_data, p_g, *, batches=100, m=1000):
    """(V, its standard error) on random samples of each density: the mean over minibatches of m."""
    streams = Streams(0)
    draws = zip(*(density.sample(streams.at(stream, 0), batches * m).astype(float).reshape(batches, m)
                  for density, stream in ((p_data, 'data'), (p_g, 'noise'))))
    values = [V(objective, D, real, fake) for real, fake in draws]
    return np.mean(values), np.std(values) / batches**0.5


def values(m=100_000):
    """Rows, each the worst of PAIRS: with D*, V is what theory says, by quadrature and on samples, and no other D tried
    reaches more. The next rows say so for the two Gaussians of one sigma, whose W1 is the distance of their means.

    The quadrature is the mean of the loss over m quantiles of each density, at probabilities (i + 1/2) / m.
    """
    for objective in ('leastsquares', 'hinge', 'wasserstein'):  # claims.theorem_1 has the 2014 ones
        optimum, gaps, errors, gains = OPTIMA[objective], [], [], []
        for p_data, p_g in PAIRS.values():
            D, expected = optimum.D(p_data, p_g), optimum.V(p_data, p_g)
            points = p_data.quantiles(m), p_g.quantiles(m)
            reached, (sampled, error) = V(objective, D, *points), V_on_samples(objective, D, p_data, p_g)
            gaps.append(abs(reached - expected))
            errors.append(abs(sampled - expected) / (4 * error + 1e-9))
            for a in (-0.05, 0.05):
                gains.append(V(objective, lambda x: 0.95 * D(x) + a * np.sin(x), *points) - reached)
        yield Row(f'{objective}: V(D*, G) = {optimum.formula_V}', max(gaps), 2e-4)
        yield Row('   on 100,000 samples, off by 4 standard errors or less', max(errors), 1)
        yield Row('   V(D, G) - V(D*, G) for other D', max(gains), 1e-12)
    for name, distance in (('far', 4), ('near', 0.5)):
        yield Row(f'W1 = |a - b|, two Gaussians of one sigma, {name}', abs(wasserstein(*PAIRS[name]) - distance), 1e-6)


def slopes(m=100_000, h=0.02):
    """Rows: as p_g is shifted along the line, L_G with D* held fixed changes as what a step of G descends."""
    for objective, optimum in OPTIMA.items():
        gaps = []
        for name in ('near', 'one of two modes'):
            p_data, p_g = PAIRS[name]
            D, x, L_G = optimum.D(p_data, p_g), p_g.quantiles(m)[:, None], OBJECTIVES[objective].L_G
            expected = optimum.descends(p_data, p_g.shifted(h)) - optimum.descends(p_data, p_g.shifted(-h))
            gaps.append(abs(L_G(D(x + h)) - L_G(D(x - h)) - expected) / (2 * h))
        yield Row(f'slope of L_G {objective}: that of {optimum.formula}', max(gaps), 5e-3)
