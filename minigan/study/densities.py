"""Densities on the line, where integrals can be taken by quadrature: D*, V and JS as the paper defines them."""

from dataclasses import dataclass

import numpy as np
from scipy.integrate import trapezoid
from scipy.stats import norm

GRID = np.linspace(-8, 8, 4001)  # where densities are compared and integrals taken


@dataclass(frozen=True)
class Density:
    """p(x) = mean over components of N(x; mean, sigma^2).   means, sigmas: one of each per component."""

    means: tuple
    sigmas: tuple

    def __call__(self, x):
        """p(x), for x of any shape."""
        return norm.pdf(np.asarray(x)[..., None], self.means, self.sigmas).mean(axis=-1)

    def cdf(self, x):
        """F(x), the probability of at most x, for x of any shape."""
        return norm.cdf(np.asarray(x)[..., None], self.means, self.sigmas).mean(axis=-1)

    def quantiles(self, m):
        """x (m,) where F is 1/2m, 3/2m, ...: their mean of a function is its expectation, by the midpoint rule."""
        return np.interp((np.arange(m) + 0.5) / m, self.cdf(GRID), GRID)

    def shifted(self, move):
        """The density of x + move."""
        return Density(tuple(mean + move for mean in self.means), self.sigmas)

    def sample(self, rng, m):
        """x (m, 1) float32; rng: Rng."""
        component = (rng.uniform(m) * len(self.means)).astype(int)
        x = np.take(self.means, component) + np.take(self.sigmas, component) * rng.normal(m)
        return x[:, None].astype(np.float32)


P_DATA = Density((-2, 2), (0.7, 0.5))
PAIRS = {  # name -> (p_data, p_g)
    'far': (Density((-2,), (0.5,)), Density((2,), (0.5,))),
    'near': (Density((0,), (1,)), Density((0.5,), (1,))),
    'one of two modes': (P_DATA, Density((2,), (0.5,))),
    'equal': (P_DATA, P_DATA),
}


def optimal_D(p_data, p_g):
    """The best D for a given G, a function of x.   D*(x) = p_data(x) / (p_data(x) + p_g(x))

    Goodfellow et al. 2014, Proposition 1.
    """
    return lambda x: p_data(x) / np.maximum(p_data(x) + p_g(x), 1e-300)


def V_by_quadrature(D, p_data, p_g):
    """V(D, G) = integral of p_data(x) log D(x) + p_g(x) log(1 - D(x))"""
    p, q, answer = p_data(GRID), p_g(GRID), D(GRID)
    return trapezoid(_times_log(p, answer) + _times_log(q, 1 - answer), GRID)


def jensen_shannon(p_data, p_g):
    """JS = KL(p_data || r) / 2 + KL(p_g || r) / 2,   r = (p_data + p_g) / 2,   in nats"""
    p, q = p_data(GRID), p_g(GRID)
    return (kl(p, (p + q) / 2) + kl(q, (p + q) / 2)) / 2


def kl(p, q):
    """KL(p || q) = integral of p log(p / q), in nats; p and q: on GRID."""
    return trapezoid(_times_log(p, p) - _times_log(p, q), GRID)


def mean_gap(a, b, weight):
    """The mean of |a - b| under a density: a, b and weight on GRID."""
    return trapezoid(weight * abs(a - b), GRID)


def _times_log(p, q):
    return p * np.log(np.maximum(q, 1e-300))
