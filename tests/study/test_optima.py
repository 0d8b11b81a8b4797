"""What each objective's D* reaches, and what G then descends: every row holds, and a wrong loss is noticed."""

import numpy as np
import pytest
from scipy.stats import norm, wasserstein_distance

import minigan.variants  # noqa: F401: fills OBJECTIVES
from minigan.losses import OBJECTIVES
from minigan.study import objectives
from minigan.study.densities import GRID, P_DATA, PAIRS, jensen_shannon, kl


def test_every_row_holds():
    rows = [*objectives.values(), *objectives.slopes()]
    assert len(rows) == 16 and all(row.ok for row in rows), rows


@pytest.mark.parametrize('name', PAIRS)
def test_w1_is_that_of_scipy_on_quantiles(name):
    p, q = PAIRS[name]
    expected = wasserstein_distance(p.quantiles(20_000), q.quantiles(20_000))
    assert objectives.wasserstein(p, q) == pytest.approx(expected, abs=1e-4)
    assert objectives.wasserstein(q, p) == objectives.wasserstein(p, q)


def test_the_divergences_are_0_for_equal_densities_and_largest_for_disjoint_ones():
    for divergence, largest in ((objectives.chi_squared, 2), (objectives.total_variation, 1)):
        assert divergence(*PAIRS['equal']) == 0
        assert divergence(*PAIRS['far']) == pytest.approx(largest, abs=1e-3)
        assert 0 < divergence(*PAIRS['near']) < largest / 4
    assert objectives.wasserstein(*PAIRS['equal']) == 0


def test_the_total_variation_of_two_gaussians_is_that_of_their_distribution_functions():
    assert objectives.total_variation(*PAIRS['near']) == pytest.approx(2 * norm.cdf(0.25) - 1, abs=1e-6)


def test_the_best_critic_has_slope_1_and_rises_towards_the_data():
    f = objectives.potential(*PAIRS['far'])  # the data lies on the left
    assert abs(np.diff(f(GRID))).max() <= (GRID[1] - GRID[0]) * (1 + 1e-9) and f(-2) - f(2) == pytest.approx(4)


def test_quantiles_and_shifts_are_those_of_the_density():
    x = P_DATA.quantiles(10_000)
    assert P_DATA.cdf(x[[0, -1]]) == pytest.approx([0.00005, 0.99995], abs=1e-6)
    assert [x.mean(), x[x < 0].std()] == pytest.approx([0, 0.7], abs=0.01)
    np.testing.assert_allclose(P_DATA.shifted(0.5)(GRID + 0.5), P_DATA(GRID))


def test_js_is_the_mean_of_two_kl_and_kl_of_two_gaussians_is_known():
    p, q = PAIRS['near']
    assert kl(p(GRID), q(GRID)) == pytest.approx(0.5**2 / 2, abs=1e-9)
    r = (p(GRID) + q(GRID)) / 2
    assert jensen_shannon(p, q) == pytest.approx((kl(p(GRID), r) + kl(q(GRID), r)) / 2)


@pytest.mark.parametrize('objective', ['leastsquares', 'hinge', 'wasserstein'])
@pytest.mark.parametrize('field, wrong', [
    ('L_D', lambda one: lambda real, fake: one.L_D(real, fake) * 1.01),
    ('L_D', lambda one: lambda real, fake: -one.L_D(real, fake)),
    ('L_G', lambda one: lambda fake: -one.L_G(fake)),
    ('L_G', lambda one: lambda fake: 2 * one.L_G(fake))])
def test_a_wrong_loss_is_noticed(monkeypatch, objective, field, wrong):
    one = OBJECTIVES[objective]
    monkeypatch.setitem(OBJECTIVES, objective, one._replace(**{field: wrong(one)}))
    assert not all(row.ok for row in [*objectives.values(), *objectives.slopes()])


def test_the_other_labels_of_least_squares_do_not_have_this_slope(monkeypatch):
    """a = -1, b = 1, c = 0: G would move samples away from where they are too few."""
    monkeypatch.setitem(OBJECTIVES, 'leastsquares', OBJECTIVES['leastsquares']._replace(
        L_G=lambda fake: ((2 * fake - 1)**2).mean() / 2))
    assert [row.name.split()[3] for row in objectives.slopes() if not row.ok] == ['leastsquares:']
