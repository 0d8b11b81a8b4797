"""PacGAN's networks and game have the sizes and settings of its authors' code."""

import bench_mixtures
import numpy as np
import pytest

from minigan.layers import BatchNorm, Dense, LeakyReLU, Maxout, Noise
from minigan.study.mixtures import GRID_OF_25, RING_OF_8


def test_pacgans_networks_have_its_sizes_and_weights():
    game = bench_mixtures.pacgan_game(GRID_OF_25, 0, steps=1)
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
    game, again = (bench_mixtures.pacgan_game(RING_OF_8, 3, steps=1) for _ in range(2))
    first, second = (np.concatenate([game.minibatch(j) for j in range(start, start + 1000)]) for start in (0, 1000))
    assert first.shape == (100_000, 2) and not np.array_equal(first, second)
    np.testing.assert_array_equal(np.sort(first, axis=0), np.sort(second, axis=0))
    np.testing.assert_array_equal(again.minibatch(1017), second[1700:1800])
    assert np.unique(first[:100].round(), axis=0).shape == (8, 2)  # and none by centre


def test_each_stabiliser_does_its_one_thing():
    game = bench_mixtures.pacgan_game(RING_OF_8, 0, steps=10, input_noise=0.1)
    assert isinstance(game.D.layers[0], Noise)
    assert [game.D.layers[0].sigma(t) for t in (0, 5, 10)] == pytest.approx([0.1, 0.05, 0])
    assert bench_mixtures.pacgan_game(RING_OF_8, 0, steps=10, smoothing=0.2).smoothing == 0.2
    game = bench_mixtures.pacgan_game(RING_OF_8, 0, steps=10, clip_norm=0.3)
    assert game.optimizer_G.clip_norm == game.optimizer_D.clip_norm == 0.3
    assert not any(isinstance(layer, Noise) for layer in game.D.layers)


def test_a_run_in_the_plane_is_measured_after_each_epoch(monkeypatch):
    monkeypatch.setattr(bench_mixtures, 'EPOCH', 2)
    monkeypatch.setattr(bench_mixtures, 'EPOCHS', 3)
    result = bench_mixtures.Plane('ring of 8', 'clip_norm', 0).train()
    assert len(result['curve']) == 3 and result['curve'][-1]['modes'] == result['modes']
    assert np.shape(result['samples']) == (2, 500)
