"""The measures of samples in the plane are what they say; PacGAN's networks have its sizes."""

import numpy as np
import pytest

from minigan.layers import BatchNorm, Dense, LeakyReLU, Maxout, Noise
from minigan.streams import Streams
from minigan.study import mixtures
from minigan.study.mixtures import GRID, MIXTURES, RING, N


@pytest.mark.parametrize('name, k, sigma', [('ring of 8', 8, 0.01), ('grid of 25', 25, 0.05)])
def test_samples_are_spread_evenly_over_the_centres_with_the_given_sigma(name, k, sigma):
    mixture, m = MIXTURES[name], 100_000
    x = mixture.sample(Streams(0).at('data', 0), m)
    assert x.shape == (m, 2) and x.dtype == np.float32 and mixture.centres.shape == (k, 2)
    nearest = np.argmin(((x[:, None] - mixture.centres) ** 2).sum(axis=2), axis=1)
    assert np.bincount(nearest) == pytest.approx(m / k, rel=0.1)
    np.testing.assert_allclose(np.cov((x - mixture.centres[nearest]).T), sigma**2 * np.eye(2), atol=0.04 * sigma**2)


def test_the_ring_has_radius_1_and_the_grid_steps_of_2():
    np.testing.assert_allclose(np.hypot(*RING.centres.T), 1)
    np.testing.assert_allclose(np.hypot(*(RING.centres - np.roll(RING.centres, 1, axis=0)).T), 2 * np.sin(np.pi / 8))
    assert {tuple(centre) for centre in GRID.centres} == {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}


@pytest.mark.parametrize('mixture', MIXTURES.values())
def test_known_answers(mixture):
    centres, k = mixture.centres, len(mixture.centres)

    def measures(samples):
        return list(mixture.measure(np.asarray(samples, np.float32)).values())
    assert measures(centres) == pytest.approx([k, 1, 0])
    assert measures(centres[:1]) == pytest.approx([1, 1, np.log(k)])
    entropy = -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
    assert measures(centres[[0, 0, 0, 1]]) == pytest.approx([2, 1, np.log(k) - entropy])
    far = centres[:2] + [100, 0]
    assert measures(far) == pytest.approx([0, 0, np.log(k)])
    assert measures([*centres[:1], *far, *far[:1]]) == pytest.approx([1, 0.25, np.log(k)])


@pytest.mark.parametrize('times, high', [(2.98, 1), (3.02, 0)])
def test_high_quality_ends_at_three_sigma_in_every_direction(times, high):
    for mixture in MIXTURES.values():
        for direction in ((1, 0), (0, -1), (0.6, 0.8)):
            samples = mixture.centres + times * mixture.sigma * np.array(direction)
            assert mixture.measure(samples)['high_quality'] == high


def test_pacgans_networks_have_its_sizes_and_weights():
    game = mixtures.pacgan_game(GRID, 0, steps=1)
    assert game.G.theta.size == 2 * 400 + 3 * 400 * 400 + 4 * 2 * 400 + 400 * 2 + 2
    assert game.D.theta.size == 2 * 1000 + 1000 + 2 * (200 * 1000 + 1000) + 200 + 1
    assert list(map(repr, game.G.layers)) == [
        repr(layer) for n in (2, 400, 400, 400) for layer in (Dense(n, 400, bias=False), BatchNorm(400), LeakyReLU(0))
    ] + ['Dense(400 -> 2)']
    assert list(map(repr, game.D.layers)) == [
        repr(layer) for n in (2, 200, 200) for layer in (Dense(n, 1000), Maxout(5))] + ['Dense(200 -> 1)']
    assert {(layer.momentum, layer.eps) for layer in game.G.layers if isinstance(layer, BatchNorm)} == {(0.95, 1e-4)}
    weights = np.concatenate([layer.W.ravel() for net in (game.G, game.D) for layer in net.layers
                              if isinstance(layer, Dense)])
    assert weights.std() == pytest.approx(0.02, rel=0.01)
    assert (game.update, game.m, game.n_z, game.objective, game.smoothing) == (
        'simultaneous', 100, 2, 'nonsaturating', 0)
    for adam in (game.optimizer_G, game.optimizer_D):
        assert (adam.hyper['learning_rate'], adam.hyper['beta1'], adam.clip_norm) == (1e-4, 0.8, None)


def test_each_epoch_reads_every_point_once_in_an_order_of_its_own():
    game, again = (mixtures.pacgan_game(RING, 3, steps=1) for _ in range(2))
    first, second = (np.concatenate([game.minibatch(j) for j in range(start, start + 1000)]) for start in (0, 1000))
    assert first.shape == (100_000, 2) and not np.array_equal(first, second)
    np.testing.assert_array_equal(np.sort(first, axis=0), np.sort(second, axis=0))
    np.testing.assert_array_equal(again.minibatch(1017), second[1700:1800])
    assert np.unique(first[:100].round(), axis=0).shape == (8, 2)  # and none by centre


def test_each_stabiliser_does_its_one_thing():
    game = mixtures.pacgan_game(RING, 0, steps=10, input_noise=0.1)
    assert isinstance(game.D.layers[0], Noise)
    assert [game.D.layers[0].sigma(t) for t in (0, 5, 10)] == pytest.approx([0.1, 0.05, 0])
    assert mixtures.pacgan_game(RING, 0, steps=10, smoothing=0.2).smoothing == 0.2
    game = mixtures.pacgan_game(RING, 0, steps=10, clip_norm=0.3)
    assert game.optimizer_G.clip_norm == game.optimizer_D.clip_norm == 0.3
    assert not any(isinstance(layer, Noise) for layer in game.D.layers)


def test_a_small_game_is_the_same_again_and_another_with_another_seed():
    def samples(seed):
        game = mixtures.small_game(RING, seed, steps=5)
        for t in range(5):
            game.step(t)
        return game.G(game.draw_z(game.streams.at('sample', 0), N))
    first = samples(0)
    np.testing.assert_array_equal(first, samples(0))
    assert not np.array_equal(first, samples(1))
