"""The check itself: it passes what is right, catches what is wrong, points at it, and moves off a kink."""

import re

import numpy as np
import pytest

from minigan import BatchNorm, Dense, Layer, LeakyReLU, Net, Streams, gradcheck, ops
from minigan.gradcheck import check, compare

X = np.random.default_rng(0).standard_normal((6, 4))


class ForgetsGamma(BatchNorm):
    def backward(self, dy, *, param_grads, input_grad):
        dx = super().backward(dy, param_grads=param_grads, input_grad=input_grad)
        return dx / self.gamma


class WrongBias(Dense):
    def backward(self, dy, *, param_grads, input_grad):
        dx = super().backward(dy, param_grads=param_grads, input_grad=input_grad)
        self.db[1] *= 1.001
        return dx


def verdicts(report):
    return {row.name: row.verdict for row in report}


def test_a_right_layer_passes_and_the_report_shows_both_numbers():
    report = gradcheck(Dense(4, 3), X)
    assert report.ok and verdicts(report) == {'x': 'ok', '1.Dense.W': 'ok', '1.Dense.b': 'ok'}
    assert str(report).splitlines()[0].split() == ['expected', 'got', 'error'] and str(report).count('\n') == 3
    for row in report:
        np.testing.assert_allclose(row.expected, row.got, rtol=1e-6)
        assert row.error < 1e-7 and f'{row.got:.8g}' in str(report)


def test_a_forgotten_factor_that_starts_at_one_is_caught():
    assert verdicts(gradcheck(ForgetsGamma(4), X)) == {
        'x': 'wrong', '1.ForgetsGamma.gamma': 'ok', '1.ForgetsGamma.beta': 'ok'}


def test_the_report_points_at_the_wrong_parameter_and_its_worst_entry():
    report = gradcheck(WrongBias(4, 3), X)
    assert not report.ok and verdicts(report) == {'x': 'ok', '1.WrongBias.W': 'ok', '1.WrongBias.b': 'wrong'}
    assert report[2].worst.startswith('[1] expected') and 'wrong (worst: [1] expected' in str(report)


def test_one_wrong_entry_among_many_is_found():
    x = np.random.default_rng(1).standard_normal((100, 300))

    def backward(u):
        dx = u * np.cos(x)
        dx[71, 123] += 5
        return {'x': dx}

    row, = check(lambda: np.sin(x), backward, {'x': x})
    found = re.fullmatch(r'\[71, 123\] expected (\S+), got (\S+)', row.worst)
    assert found and abs(float(found[2]) - float(found[1]) - 5) < 1e-4

    def forgetful(u):
        dx = u * np.cos(x)
        dx[3, 4] = np.nan
        return {'x': dx}

    assert check(lambda: np.sin(x), forgetful, {'x': x})[0].worst.startswith('[3, 4] expected')


def test_a_derivative_that_is_never_assigned_or_only_added_to_is_wrong():
    class Lazy(Dense):
        def backward(self, dy, *, param_grads, input_grad):
            self.dW += self.cache.T @ dy
            return dy @ self.W.T

    assert verdicts(gradcheck(Lazy(4, 3), X)) == {'x': 'ok', '1.Lazy.W': 'wrong', '1.Lazy.b': 'wrong'}


def test_a_derivative_of_another_shape_is_wrong():
    x = X.copy()
    row, = report = check(lambda: 2 * x, lambda u: {'x': 2 * u.T}, {'x': x})
    assert not report.ok and (row.name, row.verdict, row.error) == ('x', 'wrong', np.inf)
    assert np.isnan(row.expected) and np.isnan(row.got)
    assert row.worst == 'expected a derivative of shape (6, 4), got (4, 6)'


def test_a_wrong_entry_of_a_parameter_is_named_in_its_own_shape():
    class WrongW(Dense):
        def backward(self, dy, *, param_grads, input_grad):
            dx = super().backward(dy, param_grads=param_grads, input_grad=input_grad)
            self.dW[2, 1] += 1
            return dx

    report = gradcheck(WrongW(4, 3), X)
    assert report[1].verdict == 'wrong' and report[1].worst.startswith('[2, 1] expected')


def test_two_numbers_agree_when_they_are_close_for_their_size():
    for expected, got in ((1, 1 + 1e-6), (1e9, 1e9 + 1e3), (0, 1), (1, 0), (-1, 1)):
        assert compare('a', expected, got).verdict == compare('a', got, expected).verdict == 'wrong'
    assert compare('a', 0, 2).error == compare('a', 2, 0).error == 1
    for expected, got in ((1, 1 + 1e-8), (-1e9, -1e9 - 1), (0, 0)):
        assert compare('a', expected, got).verdict == 'ok'
    assert compare('a', 0, 1e-9, noise=1e-8).verdict == 'ok' and compare('a', 0, 1e-9, noise=1e-10).verdict == 'wrong'


class Probe(Layer):
    """y = a x, evaluated with what it was given: keeps a, the state and the mode of each forward."""

    shapes, state_shapes = {'a': (3,)}, {'spread': (3,)}

    def __init__(self):
        self.seen = []

    def init(self, rng):
        self.a[...], self.spread[...] = 1, 1

    def forward(self, x, *, training, rng):
        self.seen.append((self.a.copy(), self.spread.copy(), training, x.dtype, rng.uniform(1)[0]))
        self.cache = x
        self.spread += 1  # training changes it
        return self.a * x

    def backward(self, dy, *, param_grads, input_grad):
        self.da[...] = (dy * self.cache).sum(axis=0)
        return dy * self.a


@pytest.mark.parametrize('dtype', [np.float64, np.float32, int])
def test_parameters_and_state_are_moved_off_their_starting_values_once_and_apart(dtype):
    probe = Probe()
    assert gradcheck(probe, np.arange(6).reshape(2, 3).astype(dtype)).ok
    a, spread, training, seen_dtype, u = probe.seen[0]
    assert training is True and seen_dtype == np.float64
    assert len(set(a)) == 3 and (abs(a - 1) < 0.5).all() and (abs(a - 1) > 1e-4).all()
    assert len(set(spread)) == 3 and (spread > 1).all() and (spread < 3).all()
    for _, same, _, _, same_u in probe.seen:
        np.testing.assert_array_equal(same, spread)
        assert same_u == u
    assert {mode for _, _, mode, _, _ in probe.seen} == {True}
    gradcheck(probe, np.ones((2, 3)), training=False)
    assert probe.seen[-1][2] is False


def test_the_same_seed_gives_the_same_check_and_another_one_another():
    reports = [gradcheck(BatchNorm(4), X, **settings) for settings in ({}, {'training': True, 'seed': 0}, {'seed': 1})]
    assert reports[0] == reports[1] and reports[0] != reports[2]
    x = X.copy()
    reports = [check(lambda: np.sin(x), lambda u: {'x': u * np.cos(x)}, {'x': x}, **settings)
               for settings in ({}, {'seed': 0}, {'seed': 1})]
    assert reports[0] == reports[1] and reports[0] != reports[2]


def test_nan_is_wrong():
    x = X.copy()
    report = check(lambda: 2 * x, lambda u: {'x': np.full_like(x, np.nan)}, {'x': x})
    assert verdicts(report) == {'x': 'wrong'}


def test_a_point_on_a_kink_is_left_and_judged_beside_it():
    for seed in range(20):
        for shape in ((1, 1), (3, 4)):
            assert gradcheck(LeakyReLU(0.3), np.zeros(shape), seed=seed).ok
    x = np.zeros((3, 4))
    assert check(lambda: abs(x), lambda u: {'x': u * np.where(x > 0, 1, -1)}, {'x': x}).ok
    assert (x != 0).all() and abs(x).max() < 0.01 and x.min() < 0 < x.max()

    class ForgetsSlope(LeakyReLU):
        def backward(self, dy, *, param_grads, input_grad):
            return dy * (self.cache > 0)

    assert verdicts(gradcheck(ForgetsSlope(0.3), np.zeros((3, 4)))) == {'x': 'wrong'}


def test_a_function_that_is_all_kinks_does_not_pass():
    x = X.copy()
    report = check(lambda: np.where(np.round(x * 1e12) % 2, x, 0), lambda u: {'x': u}, {'x': x})
    assert not report.ok


@pytest.mark.parametrize('training', [True, False])
def test_the_check_leaves_net_and_input_as_they_were(training):
    net = Net([Dense(4, 3), BatchNorm(3)], rng=Streams(0).at('init', 0), dtype=np.float64)
    x, before = X.copy(), (net.theta.copy(), net.state.copy())
    assert gradcheck(net, x, training=training).ok
    np.testing.assert_array_equal(net.theta, before[0])
    np.testing.assert_array_equal(net.state, before[1])
    np.testing.assert_array_equal(x, X)


def test_check_restores_the_arrays_that_it_moves():
    x, W = X.copy(), np.ones((4, 2))
    assert check(lambda: x @ W, lambda u: {'x': u @ W.T, 'W': x.T @ u}, {'x': x, 'W': W}).ok
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(W, 1)


def test_a_wrong_layer_that_raises_leaves_the_parameters_alone():
    net = Net([Dense(4, 3)], rng=Streams(0).at('init', 0), dtype=np.float64)
    before = net.theta.copy()
    with pytest.raises(ValueError, match='expected x of shape'):
        gradcheck(net, np.ones((2, 5)))
    np.testing.assert_array_equal(net.theta, before)


def test_float32_nets_are_refused():
    with pytest.raises(ValueError, match='expected a net of dtype float64, got float32'):
        gradcheck(Net([Dense(4, 3)], rng=Streams(0).at('init', 0)), X)


def test_a_layer_of_ones_own():
    class Scale(Layer):
        """y = a * x, one factor a column."""

        def __init__(self, n):
            self.shapes = {'a': (n,)}

        def init(self, rng):
            self.a[...] = 1

        def forward(self, x, *, training, rng):
            self.cache = x
            return self.a * x

        def backward(self, dy, *, param_grads, input_grad):
            self.da[...] = (dy * self.cache).sum(axis=0)
            return dy * self.a

    assert gradcheck(Scale(4), X).ok


def test_a_cotangent_of_ones_would_not_see_a_wrong_batch_norm():
    """Why u is random: with ones, the right dx of a batch norm is 0, and so is any multiple of it."""
    _, cache, _ = ops.batch_norm(X, np.ones(4), np.zeros(4), eps=1e-3)
    np.testing.assert_allclose(ops.batch_norm_backward(np.ones_like(X), np.ones(4), cache)[0], 0, atol=1e-14)
