"""D*, V and JS on the line are what the paper defines."""

import numpy as np
import pytest
from scipy.integrate import quad, trapezoid
from scipy.stats import norm

from minigan.streams import Streams
from minigan.study.densities import GRID, PAIRS, Density, V_by_quadrature, jensen_shannon, mean_gap, optimal_D


def test_a_density_has_integral_1_and_its_samples_have_its_components():
    density = Density((-2, 2), (0.7, 0.5))
    assert trapezoid(density(GRID), GRID) == pytest.approx(1)
    assert density(np.array([0.3])) == pytest.approx((norm.pdf(0.3, -2, 0.7) + norm.pdf(0.3, 2, 0.5)) / 2)
    x = density.sample(Streams(0).at('data', 0), 100_000)
    assert x.shape == (100_000, 1) and x.dtype == np.float32
    assert [x.mean(), (x < 0).mean()] == pytest.approx([0, 0.5], abs=0.02)
    assert [x[x < 0].std(), x[x > 0].std()] == pytest.approx([0.7, 0.5], abs=0.02)


@pytest.mark.parametrize('name', PAIRS)
def test_js_is_that_of_a_different_quadrature(name):
    p, q = PAIRS[name]

    def integrand(x):
        a, b = p(np.array([x]))[0], q(np.array([x]))[0]
        return sum(part * np.log(max(2 * part, 1e-300) / max(a + b, 1e-300)) / 2 for part in (a, b))
    expected = quad(integrand, -8, 8, points=(-2, 0, 0.5, 2), limit=200)[0]
    assert jensen_shannon(p, q) == pytest.approx(expected, abs=1e-7)


def test_js_is_0_for_equal_densities_and_log_2_for_disjoint_ones():
    assert jensen_shannon(*PAIRS['equal']) == pytest.approx(0, abs=1e-12)
    assert jensen_shannon(*PAIRS['far']) == pytest.approx(np.log(2), abs=1e-3)


@pytest.mark.parametrize('other', [lambda x: 0.5, lambda x: 0.3 + 0.4 * (x > 0), lambda x: 1 / (1 + np.exp(x))])
def test_no_other_D_has_a_larger_V(other):
    """Proposition 1: D* is the maximum."""
    for p_data, p_g in PAIRS.values():
        largest = V_by_quadrature(optimal_D(p_data, p_g), p_data, p_g)
        assert V_by_quadrature(lambda x: np.broadcast_to(other(x), x.shape), p_data, p_g) <= largest + 1e-12


def test_the_mean_gap_is_that_under_the_density():
    assert mean_gap(GRID, 0, norm.pdf(GRID)) == pytest.approx((2 / np.pi) ** 0.5, abs=1e-5)  # E|x| of N(0, 1)
