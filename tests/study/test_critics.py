"""What the study says of critics holds, and a game that does something else is noticed."""

import numpy as np
import pytest

import minigan.variants  # noqa: F401: fills OBJECTIVES
from minigan.study import critics
from minigan.study.mixtures import GRID_OF_25, RING_OF_8
from minigan.study.runs import plane_game
from minigan.variants.wasserstein import WassersteinGame


def test_a_linear_critic_settles_where_it_should():
    rows = list(critics.closed_forms())
    assert len(rows) == 5 and all(row.ok for row in rows), rows


def test_a_linear_critic_points_from_the_samples_to_the_data():
    w, estimate = critics.linear_critic((3, -4), gradient_penalty=1.0)
    np.testing.assert_allclose(w, 3.5 * np.array([0.6, -0.8]), rtol=1e-4)
    w, estimate = critics.linear_critic((3, -4), clip_weights=0.1)
    np.testing.assert_allclose(w, [0.1, -0.1], rtol=1e-6)
    assert estimate == pytest.approx(0.7)


@pytest.mark.parametrize('wrong', ['penalty', 'clip'])
def test_a_game_that_does_not_bound_the_slopes_is_noticed(monkeypatch, wrong):
    def update_D(self, x, z, rng):
        scale = 0.5 if wrong == 'penalty' else 1
        monkeypatch.undo()
        self.gradient_penalty *= scale
        self.clip_weights *= 2
        monkeypatch.setattr(WassersteinGame, 'update_D', update_D)
        found = right(self, x, z, rng)
        self.gradient_penalty /= scale
        self.clip_weights /= 2
        return found
    right = WassersteinGame.update_D
    monkeypatch.setattr(WassersteinGame, 'update_D', update_D)
    failed = [row.name for row in critics.closed_forms() if not row.ok]
    assert any('clipped' in name for name in failed) and (wrong == 'clip') == (len(failed) == 1)


def test_the_distance_is_the_cheapest_pairing():
    game = plane_game(RING_OF_8, 0, steps=1)
    near = critics.distance(game)
    game.G.layers[-1].b[...] += 100
    assert 0.1 < near < 3 and critics.distance(game) == pytest.approx(100 * 2**0.5, rel=0.03)


def test_runs_are_rated_by_how_the_value_follows_the_distance():
    rising, falling = {'V': [1, 2, 3], 'distance': [4, 5, 9]}, {'V': [3, 2, 1], 'distance': [4, 5, 9]}
    assert critics.rank_correlation(rising) == pytest.approx(1)
    game = plane_game(RING_OF_8, 0, steps=1, game=WassersteinGame, clip_weights=0.1)
    game.D.theta[...] = 0.1
    played = {'GAN': (None, falling), 'penalty': (None, rising), 'clipped': (game, rising)}
    assert [row.ok for row in critics.run_rows(played)] == [True, True, True]
    game.D.theta[...] = 0.098
    assert [row.ok for row in critics.run_rows({**played, 'GAN': (None, rising), 'penalty': (None, falling)})] == [
        False, False, False]


def test_a_watched_run_has_a_number_for_every_few_steps():
    game = plane_game(RING_OF_8, 0, steps=4, hidden=(8,), k=2, objective='wasserstein', game=WassersteinGame,
                      gradient_penalty=1.0)
    seen = critics.watched(game, steps=4, every=2)
    assert seen['step'] == [2, 4] and len(seen['V']) == len(seen['distance']) == 2
    assert critics.weights(game).size == 2 * 8 + 8


def test_the_plane_takes_any_mixture_network_and_game():
    game = plane_game(GRID_OF_25, 3, steps=10, hidden=(16, 8), n_z=5, m=6, k=3, beta2=0.9, objective='hinge')
    assert game.m == 6 and game.k == 3 and game.optimizer_D.settings(30)['learning_rate'] == 0
    assert game.optimizer_G.settings(10)['learning_rate'] == 0 < game.optimizer_D.settings(10)['learning_rate']
    assert game.G(game.noise(0, 0)).shape == (6, 2) and len(game.D.layers) == 5
    game.step(0)
