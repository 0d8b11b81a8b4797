"""The measures of samples in the plane are what they say."""

import numpy as np
import pytest

from minigan.streams import Streams
from minigan.study.mixtures import GRID_OF_25, MIXTURES, RING_OF_8


@pytest.mark.parametrize('name, k, sigma', [('ring of 8', 8, 0.01), ('grid of 25', 25, 0.05)])
def test_samples_are_spread_evenly_over_the_centres_with_the_given_sigma(name, k, sigma):
    mixture, m = MIXTURES[name], 100_000
    x = mixture.sample(Streams(0).at('data', 0), m)
    assert x.shape == (m, 2) and x.dtype == np.float32 and mixture.centres.shape == (k, 2)
    nearest = np.argmin(((x[:, None] - mixture.centres) ** 2).sum(axis=2), axis=1)
    assert np.bincount(nearest) == pytest.approx(m / k, rel=0.1)
    np.testing.assert_allclose(np.cov((x - mixture.centres[nearest]).T), sigma**2 * np.eye(2), atol=0.04 * sigma**2)


def test_the_ring_has_radius_1_and_the_grid_steps_of_2():
    ring, grid = RING_OF_8.centres, GRID_OF_25.centres
    np.testing.assert_allclose(np.hypot(*ring.T), 1)
    np.testing.assert_allclose(np.hypot(*(ring - np.roll(ring, 1, axis=0)).T), 2 * np.sin(np.pi / 8))
    assert {tuple(centre) for centre in grid} == {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}


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
