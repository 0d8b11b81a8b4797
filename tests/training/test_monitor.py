"""Each number in the log measures what its name says."""

import numpy as np
import pytest

from minigan import data
from minigan.evaluation import metrics
from minigan.training import Config, monitor
from minigan.training.build import build_game, recipe_of
from minigan.training.monitor import PixelStatistics
from minigan.variants.conditional import fractions_of

RNG = np.random.default_rng(0)


def gaussian(n, mean, mix):
    return (RNG.standard_normal((n, len(mix))) @ mix + mean).astype(np.float32)


A = gaussian(500, 0.0, RNG.standard_normal((5, 5)))
B = gaussian(400, 0.3, RNG.standard_normal((5, 5)))


def test_with_all_components_the_distance_is_that_of_the_whole_gaussians():
    assert PixelStatistics(A).distance(B) == pytest.approx(metrics.frechet(A, B), rel=1e-4)


def test_the_distance_is_zero_for_the_images_themselves_and_grows_with_a_shift_and_a_scale():
    statistics = PixelStatistics(A)
    assert statistics.distance(A) < 1e-3
    assert statistics.distance(A + np.float32(0.5)) == pytest.approx(5 * 0.25, rel=1e-3)
    assert statistics.distance(2 * (A - A.mean(axis=0)) + A.mean(axis=0)) == pytest.approx(
        np.trace(np.cov(A, rowvar=False)), rel=1e-3)


def test_images_of_many_pixels_are_compared_in_their_leading_components():
    images = gaussian(200, 0.0, np.diag(np.linspace(1, 0, 100) ** 4))
    statistics = PixelStatistics(images)
    assert statistics.components.n_components_ == 64
    assert 0 < statistics.distance(images[:100]) < statistics.distance(images[:100] + np.float32(1))


def test_the_spread_is_the_fraction_of_the_total_variance():
    statistics = PixelStatistics(A)
    assert statistics.spread(A) == pytest.approx(1)
    assert statistics.spread(A / 2) == pytest.approx(0.25)
    assert statistics.spread(A[:1].repeat(9, axis=0)) == pytest.approx(0, abs=1e-9)


def test_images_that_are_all_the_same_have_statistics_too():
    statistics = PixelStatistics(np.ones((20, 4), np.float32))
    assert statistics.distance(np.ones((9, 4), np.float32)) == pytest.approx(0)


@pytest.mark.parametrize('choices, most', [({}, 50), ({'pack': 3, 'batch': 60}, 48), ({'conditional': True}, 50)])
def test_a_net_reads_at_most_at_once_rows_and_the_log_is_the_same(monkeypatch, choices, most):
    """A convolution holds each pixel many times, so thousands of images would take a gigabyte."""
    dataset, config = data.load('digits'), Config(**choices, network='dcgan', epochs=1)
    recipe, rows, seen = recipe_of(config, dataset), [], set()
    for at_once in (1000, 50):
        monkeypatch.setattr(monitor, 'AT_ONCE', at_once)
        game = build_game(config.resolve(recipe, dataset), recipe, dataset)
        watch = monitor.Monitor(game, dataset, len(fractions_of(recipe)))
        watch.look(game.step(0))
        for net in (game.G, game.D):
            monkeypatch.setattr(net, 'forward', lambda x, forward=net.forward, **how: (
                seen.add(len(x)), forward(x, **how))[1])
        seen.clear()
        rows.append(watch.end_epoch(1, game.G))
    assert max(seen) == most
    whole, by_parts = ({name: value for name, value in row.items() if name != 'seconds'} for row in rows)
    assert by_parts == pytest.approx(whole, rel=1e-4)
