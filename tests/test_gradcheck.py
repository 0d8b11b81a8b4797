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
    assert report.ok and verdicts(report) == {'x': 'ok', '1.Dense.W': 'ok', '1.Dense.b': 'ok', 'x alone': 'ok'}
    assert str(report).splitlines()[0].split() == ['expected', 'got', 'error'] and str(report).count('\n') == 4
    for row in report:
        np.testing.assert_allclose(row.expected, row.got, rtol=1e-6)
        assert row.error < 1e-7 and f'{row.got:.8g}' in str(report)


def test_a_forgotten_factor_that_starts_at_one_is_caught():
    assert verdicts(gradcheck(ForgetsGamma(4), X)) == {
        'x': 'wrong', '1.ForgetsGamma.gamma': 'ok', '1.ForgetsGamma.beta': 'ok'}


def test_the_report_points_at_the_wrong_parameter_and_its_worst_entry():
    report = gradcheck(WrongBias(4, 3), X)
    assert not report.ok and verdicts(report) == {'x': 'ok', '1.WrongBias.W': 'ok', '1.WrongBias.b': 'wrong'}
    assert report[2].why.startswith('worst: [1] expected') and 'wrong (worst: [1] expected' in str(report)


def test_one_wrong_entry_among_many_is_found():
    x = np.random.default_rng(1).standard_normal((100, 300))

    def backward(u):
        dx = u * np.cos(x)
        dx[71, 123] += 5
        return {'x': dx}

    row, = check(lambda: np.sin(x), backward, {'x': x})
    found = re.fullmatch(r'worst: \[71, 123\] expected (\S+), got (\S+)', row.why)
    assert found and abs(float(found[2]) - float(found[1]) - 5) < 1e-4


def test_a_derivative_that_is_never_assigned_or_only_added_to_is_wrong():
    class Lazy(Dense):
        def backward(self, dy, *, param_grads, input_grad):
            self.dW += self.cache.T @ dy
            return dy @ self.W.T

    report = gradcheck(Lazy(4, 3), X)
    assert verdicts(report) == {'x': 'ok', '1.Lazy.W': 'wrong', '1.Lazy.b': 'wrong'}
    assert report[1].why == report[2].why == 'nan: a derivative must be assigned, as in dW[...] =, and not added to'


def test_a_derivative_of_another_shape_is_wrong():
    x = X.copy()
    row, = check(lambda: 2 * x, lambda u: {'x': None}, {'x': x})
    assert row.why == 'expected a derivative of shape (6, 4), got None'
    row, = report = check(lambda: 2 * x, lambda u: {'x': 2 * u.T}, {'x': x})
    assert not report.ok and (row.name, row.verdict, row.error) == ('x', 'wrong', np.inf)
    assert np.isnan(row.expected) and np.isnan(row.got)
    assert row.why == 'expected a derivative of shape (6, 4), got (4, 6)'


def test_a_wrong_entry_of_a_parameter_is_named_in_its_own_shape():
    class WrongW(Dense):
        def backward(self, dy, *, param_grads, input_grad):
            dx = super().backward(dy, param_grads=param_grads, input_grad=input_grad)
            self.dW[2, 1] += 1
            return dx

    report = gradcheck(WrongW(4, 3), X)
    assert report[1].verdict == 'wrong' and report[1].why.startswith('worst: [2, 1] expected')


def test_two_numbers_agree_when_they_are_close_for_their_size():
    for expected, got in ((1, 1 + 1e-6), (1e9, 1e9 + 1e3), (0, 1), (1, 0), (-1, 1)):
        assert compare('a', expected, got).verdict == compare('a', got, expected).verdict == 'wrong'
    assert compare('a', 0, 2).error == compare('a', 2, 0).error == 1 and compare('a', 0, 0).error == 0
    for expected, got in ((1, 1 + 1e-8), (-1e9, -1e9 - 1), (0, 0)):
        assert compare('a', expected, got).verdict == 'ok'
    row = compare('a', 0, 1e-9, noise=1e-8)
    assert (row.verdict, row.why, row.error) == ('ok', '0 within rounding', 1)
    assert compare('a', 0, 1e-9, noise=1e-10).verdict == 'wrong'
    row = compare('a', 1, 1 + 1e-9, noise=1e-9)
    assert (row.verdict, row.why) == ('ok', '') and 0.9e-9 < row.error < 1.1e-9


def test_a_row_does_not_depend_on_the_others():
    right, wrong = gradcheck(BatchNorm(4), X), gradcheck(ForgetsGamma(4), X)
    assert [(row.expected, row.got) for row in right[1:3]] == [(row.expected, row.got) for row in wrong[1:3]]


@pytest.mark.parametrize('size', [1e-6, 1, 1e6])
def test_large_and_small_numbers_are_checked_as_sharply(size):
    x = size * X
    for factor, ok in ((1, True), (1 + 1e-5, False)):
        assert check(lambda: x * x, lambda u: {'x': factor * 2 * x * u}, {'x': x}).ok == ok


def breaks(forward=lambda self, x: None, backward=lambda self, dy: None, wrong=1.0):
    class Broken(Dense):
        def forward(self, x, *, training, rng):
            y = super().forward(x.copy(), training=training, rng=rng)
            result = forward(self, x)
            return y if result is None else result

        def backward(self, dy, *, param_grads, input_grad):
            dx = super().backward(dy, param_grads=param_grads, input_grad=input_grad)
            backward(self, dy)
            return dx if param_grads else wrong * dx

    return Broken(4, 3)


@pytest.mark.parametrize('layer, message', [
    (breaks(forward=lambda self, x: np.copyto(x, 2 * x)), 'changes x in place'),
    (breaks(forward=lambda self, x: np.copyto(self.W, 0.5 * self.W)), 'changes 1.Broken.W in place'),
    (breaks(backward=lambda self, dy: np.copyto(dy, 2 * dy)), 'changes dy in place'),
    (breaks(forward=lambda self, x: x[:, :3] + np.random.default_rng().random(3)), 'must come from rng'),
    (breaks(forward=lambda self, x: x.astype(np.float32)), 'expected y of dtype float64, got float32')])
def test_functions_that_are_none_are_refused(layer, message):
    with pytest.raises(ValueError, match=message):
        gradcheck(layer, X)


def test_x_must_be_a_minibatch():
    with pytest.raises(ValueError, match=r'expected x of shape \(m, n\), got \(4,\)'):
        gradcheck(LeakyReLU(0.2), X[0])


def test_the_way_through_a_fixed_layer_is_checked_too():
    """param_grads=False, as in a G step through D."""
    assert gradcheck(breaks(), X).ok
    report = gradcheck(breaks(wrong=1.01), X)
    assert verdicts(report) == {'x': 'ok', '1.Broken.W': 'ok', '1.Broken.b': 'ok', 'x alone': 'wrong'}


def test_a_parameter_that_x_does_not_reach_is_said_to_be_zero():
    class Unreached(LeakyReLU):
        shapes = {'a': (1,)}

        def backward(self, dy, *, param_grads, input_grad):
            self.da[...] = 0
            return super().backward(dy, param_grads=param_grads, input_grad=input_grad)

    report = gradcheck(Unreached(0.2), X)
    assert report.ok and report[1].why == '0 within rounding' and 'ok (0 within rounding)' in str(report)


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
    x[2, 1] = np.nan
    assert verdicts(check(lambda: 2 * x, lambda u: {'x': 2 * u}, {'x': x})) == {'x': 'wrong'}
    x = X.copy()
    report = check(lambda: 2 * x, lambda u: {'x': np.full_like(x, np.nan)}, {'x': x})
    assert verdicts(report) == {'x': 'wrong'}


def test_a_point_on_a_kink_is_left_and_judged_beside_it():
    for seed in range(20):
        for shape in ((1, 1), (3, 4)):
            assert gradcheck(LeakyReLU(0.3), np.zeros(shape), seed=seed).ok
    x = np.zeros((20, 10))
    assert check(lambda: abs(x), lambda u: {'x': u * np.where(x > 0, 1, -1)}, {'x': x}).ok
    assert (x != 0).all() and abs(x).max() < 0.01 and x.min() < 0 < x.max()

    class ForgetsSlope(LeakyReLU):
        def backward(self, dy, *, param_grads, input_grad):
            return dy * (self.cache > 0)

    assert verdicts(gradcheck(ForgetsSlope(0.3), np.zeros((3, 4)))) == {'x': 'wrong'}


def test_kinks_on_both_sides_of_a_point_are_left_too():
    """Their bends cancel in a sum, their effects on the difference do not."""
    def two_kinks(x):
        return np.array([abs(x - near).sum() - abs(x + near).sum()])

    near = 3e-7  # within the step
    moved = 0
    for seed in range(20):
        for right, verdict in ((0, 'ok'), (-1, 'wrong')):  # beside both kinks the slope is 0, between them it is -2
            x = np.zeros((1, 1))
            report = check(lambda: two_kinks(x), lambda u: {'x': u * np.where(abs(x) < near, -2.0, right)}, {'x': x},
                           seed=seed)
            assert verdicts(report) == {'x': verdict if x else 'ok'}  # a random step may also end before the kinks
            moved += bool(x)
    assert moved > 10


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
    with pytest.raises(ValueError, match=r'expected Net\(..., dtype=np.float64\), got float32'):
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
