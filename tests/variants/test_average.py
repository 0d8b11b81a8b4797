"""The average of G's parameters: its weights, and a restart to the last bit."""

import numpy as np
import pytest

from minigan import BatchNorm, Dense, Net, Streams, ops
from minigan.variants.average import Average


def make():
    return Net([Dense(3, 2)], rng=Streams(0).at('init', 0), dtype=np.float64)


@pytest.mark.parametrize('eta', [0, 3])
def test_an_average_weighs_every_eighth_theta_by_a_polynomial_of_its_place(eta):
    """theta_n gets a weight proportional to n (n + 1) ... (n + eta - 1): for eta 0, the plain mean."""
    net, averaged, seen = make(), make(), []
    averaged.theta[...] = 7
    average = Average(net, averaged, eta=eta)
    np.testing.assert_array_equal(averaged.theta, net.theta)
    for t in range(100):
        net.theta += np.sin(t)
        average.update(t)
        if t % 8 == 7:
            seen.append(net.theta.copy())
            weights = [np.prod([n + i for i in range(eta)]) for n in range(1, len(seen) + 1)]
            expected = np.average(seen, axis=0, weights=weights)
            np.testing.assert_allclose(averaged.theta, expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match='eta: expected a number >= 0, got -1'):
        Average(net, averaged, eta=-1)


def test_an_average_holds_the_moving_statistics_too():
    nets = [Net([BatchNorm(2)], rng=Streams(0).at('init', 0), dtype=np.float64) for _ in range(2)]
    average = Average(*nets, eta=0)
    for t in range(16):
        nets[0].state += 1
        average.update(t)
    np.testing.assert_allclose(nets[0].state - nets[1].state, 4)  # after 8 and after 16 steps, on average


@pytest.mark.parametrize('eta', [0, 1])
def test_before_the_first_average_the_samples_are_drawn_with_the_net_itself(eta):
    nets = [Net([Dense(2, 2), BatchNorm(2)], rng=Streams(seed).at('init', 0), dtype=np.float64) for seed in (0, 1)]
    net, averaged = nets
    average = Average(net, averaged, eta=eta)
    for t in range(7):
        net.theta += np.sin(t)
        net.state += np.cos(t)
        average.update(t)
        np.testing.assert_array_equal(averaged.theta, net.theta)
        np.testing.assert_array_equal(averaged.state, net.state)


@pytest.mark.parametrize('at', [1, 5, 7, 8, 11])
def test_an_average_that_is_restored_goes_on_to_the_last_bit(at):
    """Its start is that of a fresh net, as for a run that is resumed; then theta and the average come from a file."""
    whole, averaged, net, resumed = (Net([Dense(30, 30)], rng=Streams(0).at('init', 0)) for _ in range(4))
    average, theta, kept, rng = Average(whole, averaged, eta=1), [], None, np.random.default_rng(0)
    for t in range(20):
        whole.theta += rng.standard_normal(whole.theta.shape, np.float32)
        average.update(t)
        theta.append(whole.theta.copy())
        if t + 1 == at:
            kept = averaged.theta.copy()
    average = Average(net, resumed, eta=1)
    resumed.theta[...] = kept
    for t in range(at, 20):
        net.theta[...] = theta[t]
        average.update(t)
    np.testing.assert_array_equal(resumed.theta, averaged.theta)


def test_the_first_average_rounds_like_a_moving_average():
    """It equals, bit for bit, a moving average that starts at the initial theta and gives the new one weight 1."""
    net, averaged = (Net([Dense(30, 30)], rng=Streams(0).at('init', 0)) for _ in range(2))
    start, average, rng = net.theta.copy(), Average(net, averaged, eta=1), np.random.default_rng(0)
    for t in range(8):
        net.theta += rng.standard_normal(net.theta.shape, np.float32)
        average.update(t)
    assert not np.array_equal(start + (net.theta - start), net.theta)  # it rounds here
    expected = start.copy()
    ops.moving_average_(expected, net.theta, momentum=0.0)
    np.testing.assert_array_equal(averaged.theta, expected)


@pytest.mark.parametrize('number', [np.float64, np.float32, np.array])
def test_numpys_numbers_as_settings_become_pythons(number):
    assert type(Average(make(), make(), eta=number(0.5)).eta) is float


def test_its_repr_shows_what_it_averages():
    assert repr(Average(make(), make(), eta=1)) == 'Average(of net, every 8 steps, eta=1)'
