"""Figure 1 and the ring are runs of Algorithm 1, and a run that does not learn is noticed."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import pairwise_distances_argmin_min

from minigan.streams import Streams
from minigan.study import runs
from minigan.study.densities import GRID
from minigan.study.mixtures import RING_OF_8, Mixture


def test_a_G_that_does_not_learn_is_noticed(monkeypatch):
    monkeypatch.setattr(runs.Game, 'update_G', lambda self, z, rng: None)
    moments = runs.figure_1(steps=100)
    assert not any(row.ok for row in runs.figure_1_rows(moments)[:1])
    np.testing.assert_array_equal(moments[0].samples, moments[-1].samples)
    assert runs.FIGURE_1(GRID).max() == pytest.approx(norm.pdf(0, 0, 0.6))


def test_a_G_that_misses_modes_is_noticed():
    seen = runs.ring(steps=100)
    assert list(seen) == [100] and seen[100].shape == (2500, 2)
    assert [row.ok for row in runs.ring_rows(seen)] == [False, False, False]
    near_one = RING_OF_8.centres[0] + np.zeros((2500, 2))
    assert [row.ok for row in runs.ring_rows({1: near_one})] == [False, True, False]


def test_samples_with_a_different_spread_or_fewer_modes_are_not_perfect(monkeypatch):
    draw = Mixture.sample
    for wrong in (lambda self, rng, m: 1.1 * draw(self, rng, m), lambda self, rng, m: draw(self, rng, 1)):
        monkeypatch.setattr(Mixture, 'sample', wrong)
        assert not all(row.ok for row in runs.perfect_modes())


def test_a_run_on_the_ring_is_the_same_again_and_different_with_a_different_seed():
    def samples(seed):
        return runs.ring(seed=seed, steps=5, shown=(5,))[5]
    first = samples(0)
    np.testing.assert_array_equal(first, samples(0))
    assert not np.array_equal(first, samples(1))


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_the_prior_in_pieces_has_signs_and_a_normal_quarter(dtype):
    z = runs.signs(Streams(0).at('noise', 0), (20_000, 16), dtype)
    assert z.shape == (20_000, 16) and z.dtype == dtype
    assert (abs(z[:, :12]) == 1).all() and len(np.unique(z[:, :12], axis=0)) > 4000  # nearly all of 2**12
    np.testing.assert_allclose(np.corrcoef(z.T), np.eye(16), atol=0.04)
    np.testing.assert_allclose([z.mean(axis=0), z.std(axis=0)], [[0] * 16, [1] * 16], atol=0.04)
    assert norm.cdf(z[:, 12:]).std() == pytest.approx(12**-0.5, abs=0.01)  # uniform, as of normal numbers
    np.testing.assert_array_equal(z, runs.signs(Streams(0).at('noise', 0), (20_000, 16), dtype))


def test_a_few_steps_of_the_wasserstein_game_bring_samples_towards_the_data():
    game = runs.plane_game(RING_OF_8, 0, steps=100, **{**runs.WASSERSTEIN, 'm': 32})
    z = game.noise(10**6, 0)
    before = pairwise_distances_argmin_min(game.G(z), RING_OF_8.centres)[1].mean()
    for t in range(100):
        game.step(t)
    assert pairwise_distances_argmin_min(game.G(z), RING_OF_8.centres)[1].mean() < 0.8 * before


def test_a_watched_game_is_seen_when_t_iterations_have_been_played():
    played = []
    game = SimpleNamespace(step=played.append)
    assert [(t, len(played)) for t in runs.watched(game, 4, {0, 2, 4})] == [(0, 0), (2, 2), (4, 4)]
    assert played == [0, 1, 2, 3]
