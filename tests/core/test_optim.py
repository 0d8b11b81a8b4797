"""Optimisers move a whole net at once, keep their moments, and refuse settings out of range."""

import tracemalloc
from functools import partial

import numpy as np
import pytest

from minigan import Adam, Dense, Net, SGDMomentum, Streams, Tanh, ops, optim
from minigan.optim import linear_decay, value_at


def make(dtype=np.float64):
    net = Net([Dense(3, 2)], rng=Streams(0).at('init', 0), dtype=dtype)
    net.dtheta[...] = np.linspace(-1, 1, 8)
    return net


def test_adam_counts_its_steps_and_corrects_its_moments():
    net = make()
    start, optimizer = net.theta.copy(), Adam(net, learning_rate=0.1, beta1=0.5, beta2=0.9, eps=1e-9)
    optimizer.step()
    optimizer.step()  # with the same gradient both corrected moments are exact, so each step is lr * sign
    np.testing.assert_allclose(net.theta, start - 0.2 * np.sign(net.dtheta), rtol=1e-6)
    np.testing.assert_allclose(optimizer.m, 1.5 * net.dtheta)
    np.testing.assert_allclose(optimizer.v, 1.9 * net.dtheta**2)
    assert optimizer.t == 2 and net.version == 2


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_adam_with_beta1_0_keeps_no_first_moment_and_takes_the_same_steps_to_the_last_bit(dtype):
    net, rng, settings = make(dtype), np.random.default_rng(0), {'learning_rate': 0.1, 'beta2': 0.9, 'eps': 1e-7}
    optimizer, theta, m, v, scratch = Adam(net, beta1=0, **settings), net.theta.copy(), *np.zeros((3, 8), dtype)
    for t in range(1, 6):
        net.dtheta[...] = rng.standard_normal(8)
        net.dtheta[t] = 0
        optimizer.step()
        ops.adam_(theta, net.dtheta, m, v, scratch, t=t, beta1=0, **settings)
        np.testing.assert_array_equal(net.theta, theta)
    assert optimizer.buffers == ('v',) and not hasattr(optimizer, 'm')


def test_adam_has_the_defaults_of_its_paper():
    assert Adam(make(), learning_rate=1).hyper == {'learning_rate': 1, 'beta1': 0.9, 'beta2': 0.999, 'eps': 1e-8}


def test_sgd_with_momentum_gathers_speed():
    net = make()
    start, optimizer = net.theta.copy(), SGDMomentum(net, learning_rate=0.1, momentum=0.5)
    optimizer.step()
    optimizer.step()
    np.testing.assert_allclose(net.theta, start - 0.25 * net.dtheta)
    np.testing.assert_allclose(optimizer.velocity, -0.15 * net.dtheta)
    assert net.version == 2


@pytest.mark.parametrize('optimizer, schedule', [
    (Adam, 'learning_rate'), (SGDMomentum, 'learning_rate'), (SGDMomentum, 'momentum')])
def test_a_schedule_is_read_at_the_number_of_steps_taken(optimizer, schedule):
    rates, one, other = [0.4, 0.2, 0.1], make(), make()
    scheduled = optimizer(one, **{'learning_rate': 0.1, schedule: lambda t: rates[t]})
    for t, rate in enumerate(rates):
        plain = optimizer(other, **{'learning_rate': 0.1, schedule: rate})
        plain.t = t
        for name in plain.buffers:
            getattr(plain, name)[...] = getattr(scheduled, name)
        scheduled.step()
        plain.step()
        np.testing.assert_array_equal(one.theta, other.theta)
    assert scheduled.t == 3


@pytest.mark.parametrize('optimizer', [Adam, SGDMomentum])
def test_a_gradient_beyond_clip_norm_is_cut_to_it(optimizer):
    one, other = make(), make()
    norm = np.linalg.norm(one.dtheta)
    other.dtheta *= 0.5 / norm
    for net, clip_norm in ((one, 0.5), (other, None)):
        optimizer(net, learning_rate=0.1, clip_norm=clip_norm).step()
    np.testing.assert_allclose(one.theta, other.theta, rtol=1e-12)
    assert np.linalg.norm(one.dtheta) == pytest.approx(0.5)


def test_sgd_has_no_momentum_by_default():
    net = make()
    start, optimizer = net.theta.copy(), SGDMomentum(net, learning_rate=0.1)
    optimizer.step()
    optimizer.step()
    np.testing.assert_allclose(net.theta, start - 0.2 * net.dtheta)


@pytest.mark.parametrize('optimizer', [Adam, SGDMomentum])
def test_a_step_leaves_the_gradient_alone(optimizer):
    net = make()
    before = net.dtheta.copy()
    optimizer(net, learning_rate=0.1).step()
    np.testing.assert_array_equal(net.dtheta, before)


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_moments_have_the_dtype_of_the_net(dtype):
    adam, sgd = Adam(make(dtype), learning_rate=0.1), SGDMomentum(make(dtype), learning_rate=0.1)
    assert {a.dtype for a in (adam.m, adam.v, sgd.velocity)} == {np.dtype(dtype)}


@pytest.mark.parametrize('optimizer', [Adam, SGDMomentum])
def test_a_step_allocates_nothing_of_the_size_of_theta(optimizer):
    net = Net([Dense(300, 1000)], rng=Streams(0).at('init', 0))
    optimizer = optimizer(net, learning_rate=0.1)
    tracemalloc.start()
    optimizer.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < net.theta.nbytes / 4


@pytest.mark.parametrize('optimizer', [Adam, partial(Adam, beta1=0), SGDMomentum])
@pytest.mark.parametrize('piece', [1, 3, 7, 8])
def test_the_size_of_the_pieces_changes_nothing(optimizer, piece, monkeypatch):
    def two_steps():
        net = make()
        moving = optimizer(net, learning_rate=0.1)
        moving.step()
        net.dtheta[...] = net.dtheta[::-1] ** 2
        moving.step()
        return net.theta

    whole = two_steps()
    monkeypatch.setattr(optim, 'CHUNK', piece)
    np.testing.assert_array_equal(two_steps(), whole)


def test_a_net_without_parameters_can_be_stepped():
    for optimizer in (Adam, SGDMomentum):
        net = Net([Tanh()], rng=None)
        optimizer(net, learning_rate=0.1).step()
        assert net.theta.size == 0 and net.version == 1


def test_a_momentum_and_betas_of_0_are_allowed():
    assert Adam(make(), learning_rate=1, beta1=0, beta2=0).hyper['beta1'] == 0
    assert SGDMomentum(make(), learning_rate=1, momentum=0).hyper['momentum'] == 0


@pytest.mark.parametrize('optimizer, settings, message', [
    (Adam, {'learning_rate': 0}, 'learning_rate: expected a number > 0, got 0'),
    (Adam, {'learning_rate': float('nan')}, 'learning_rate: .* got nan'),
    (Adam, {'learning_rate': 1, 'beta1': 1}, r'beta1: expected a number in \[0, 1\), got 1'),
    (Adam, {'learning_rate': 1, 'beta1': -0.1}, 'beta1'),
    (Adam, {'learning_rate': 1, 'beta2': 1}, r'beta2: expected a number in \[0, 1\), got 1'),
    (Adam, {'learning_rate': 1, 'beta2': -0.1}, 'beta2'),
    (Adam, {'learning_rate': 1, 'eps': 0}, 'eps: expected a number > 0, got 0'),
    (SGDMomentum, {'learning_rate': -1}, 'learning_rate: expected a number > 0, got -1'),
    (SGDMomentum, {'learning_rate': 0}, 'learning_rate: expected a number > 0, got 0'),
    (Adam, {'learning_rate': lambda t: -1}, 'learning_rate: expected a number > 0, got -1'),
    (SGDMomentum, {'learning_rate': lambda t: -1}, 'learning_rate: expected a number > 0, got -1'),
    (SGDMomentum, {'learning_rate': 1, 'momentum': lambda t: 2}, r'momentum: .* got 2'),
    (Adam, {'learning_rate': 1, 'clip_norm': 0}, 'clip_norm: expected a number > 0, got 0'),
    (SGDMomentum, {'learning_rate': 1, 'momentum': 1}, r'momentum: expected a number in \[0, 1\), got 1'),
    (SGDMomentum, {'learning_rate': 1, 'momentum': -0.1}, 'momentum')])
def test_settings_out_of_range_raise(optimizer, settings, message):
    with pytest.raises(ValueError, match=message):
        optimizer(make(), **settings)


def test_a_falling_schedule_is_a_straight_line_that_rises_first():
    line, both = linear_decay(8.0, 4), linear_decay(8.0, 10, warmup=0.5)
    assert [line(t) for t in (0, 1, 2, 3, 4, 5, 9)] == [8, 6, 4, 2, 0, 0, 0]
    np.testing.assert_allclose([both(t) for t in (0, 1, 3, 4, 5, 9, 10)],
                               [8 / 5, 8 * .9 * 2 / 5, 8 * .7 * 4 / 5, 8 * .6, 8 * .5, 8 * .1, 0])
    assert linear_decay(3.0, 0)(0) == linear_decay(3.0, 1)(0) == linear_decay(3.0, 1, warmup=1)(0) == 3
    assert linear_decay(3.0, 0)(1) == 0
    assert linear_decay(3.0, 10, warmup=0.1)(0) == 3


@pytest.mark.parametrize('optimizer, name', [(Adam, 'learning_rate'), (SGDMomentum, 'learning_rate'),
                                             (SGDMomentum, 'momentum')])
def test_a_schedule_is_checked_where_it_starts(optimizer, name):
    settings = {'learning_rate': 0.1, name: lambda t: -3.0 if t == 0 else 0.5}
    with pytest.raises(ValueError, match=rf'{name}: expected a number .*, got -3.0'):
        optimizer(make(), **settings)
    assert optimizer(make(), **{**settings, name: lambda t: 0.5 if t == 0 else -3.0}).t == 0


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_the_scratch_has_the_dtype_of_the_net(dtype):
    assert Adam(make(dtype), learning_rate=1)._scratch.dtype == dtype


@pytest.mark.parametrize('number', [np.float64, np.float32, np.array, lambda value: (lambda t: np.float64(value))])
@pytest.mark.parametrize('optimizer, names', [(Adam, ['learning_rate']), (SGDMomentum, ['learning_rate', 'momentum'])])
def test_numpys_numbers_as_settings_take_the_same_float32_step(number, optimizer, names):
    """With 0.25, which float32 and float64 hold exactly."""
    ours, theirs = make(np.float32), make(np.float32)
    optimizer(ours, **{name: number(0.25) for name in names}).step()
    optimizer(theirs, **dict.fromkeys(names, 0.25)).step()
    np.testing.assert_array_equal(ours.theta, theirs.theta)


@pytest.mark.parametrize('number', [np.float64, np.float32, np.array])
def test_numpys_numbers_as_settings_become_pythons(number):
    net = make(np.float32)
    adam = Adam(net, learning_rate=number(0.25), beta1=number(0.5), beta2=number(0.5), eps=number(0.5),
                clip_norm=number(0.5))
    assert {type(value) for value in (*adam.settings(0).values(), adam.clip_norm)} == {float}
    assert adam.settings(0) == {'learning_rate': 0.25, 'beta1': 0.5, 'beta2': 0.5, 'eps': 0.5}
    assert type(value_at(linear_decay(number(0.5), 10), 3)) is float


@pytest.mark.parametrize('optimizer', [Adam, SGDMomentum])
def test_a_huge_gradient_is_cut_and_not_lost(optimizer):
    net = make(np.float32)
    net.dtheta[...] = 1e25
    optimizer(net, learning_rate=0.1, clip_norm=0.5).step()
    np.testing.assert_allclose(net.dtheta, 0.5 / 8**0.5, rtol=1e-6)


def test_a_net_without_parameters_is_clipped_too():
    net = Net([Tanh()], rng=None)
    Adam(net, learning_rate=0.1, clip_norm=1).step()
    assert net.dtheta_norm() == 0


def test_reprs_show_the_settings_of_the_next_step():
    net = make()
    adam = Adam(net, learning_rate=lambda t: 0.5 / (t + 1), beta1=0.5, clip_norm=3)
    adam.step()
    assert repr(adam) == 'Adam(net, learning_rate=0.25, beta1=0.5, beta2=0.999, eps=1e-08, clip_norm=3, t=1)'
    assert repr(SGDMomentum(net, learning_rate=1)) == (
        'SGDMomentum(net, learning_rate=1, momentum=0.0, clip_norm=None, t=0)')
