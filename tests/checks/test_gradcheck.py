"""The check of a layer: correct layers pass in both modes, nested ones too; errors are named and located."""

import numpy as np
import pytest
from support.layers import Factor

from minigan import BatchNorm, Dense, Dropout, Layer, LeakyReLU, Net, Sequential, Streams, Tanh, gradcheck, ops
from minigan.checks.cases import Embedding, Residual
from minigan.net import parts

X = np.random.default_rng(0).standard_normal((6, 4))


class ForgetsGamma(BatchNorm):
    def backward(self, dy, *, param_grads, input_grad):
        dx = super().backward(dy, param_grads=param_grads, input_grad=True)
        return dx / self.gamma


class WrongBias(Dense):
    def backward(self, dy, *, param_grads, input_grad):
        dx = super().backward(dy, param_grads=param_grads, input_grad=input_grad)
        self.db[1] *= 1.001
        return dx


def verdicts(report):
    return {row.name: row.verdict for row in report}


def test_a_correct_layer_passes_and_the_report_shows_both_numbers():
    report = gradcheck(Dense(4, 3), X)
    assert report.ok and verdicts(report) == dict.fromkeys(
        ['x', '1.Dense.W', '1.Dense.b', 'x, evaluation', '1.Dense.W, evaluation', '1.Dense.b, evaluation'], 'ok')
    assert str(report).splitlines()[0].split() == ['expected', 'got', 'error'] and str(report).count('\n') == 6
    for row in report:
        np.testing.assert_allclose(row.expected, row.got, rtol=1e-6)
        assert row.error < 1e-7 and f'{row.got:.8g}' in str(report)


def test_both_modes_are_checked_unless_one_is_chosen():
    class WrongInEvaluation(BatchNorm):
        def backward(self, dy, *, param_grads, input_grad):
            self.cache = True, self.cache[1]
            return super().backward(dy, param_grads=param_grads, input_grad=input_grad)

    names = ['x', '1.WrongInEvaluation.gamma', '1.WrongInEvaluation.beta']
    assert verdicts(gradcheck(WrongInEvaluation(4), X, training=True)) == dict.fromkeys(names, 'ok')
    assert verdicts(gradcheck(WrongInEvaluation(4), X, training=False)) == {
        names[0]: 'wrong', names[1]: 'ok', names[2]: 'ok'}
    both = verdicts(gradcheck(WrongInEvaluation(4), X))
    assert list(both) == [*names, *(f'{name}, evaluation' for name in names)]
    assert [name for name, verdict in both.items() if verdict == 'wrong'] == ['x, evaluation']


def test_a_forgotten_factor_that_starts_at_one_is_caught():
    assert verdicts(gradcheck(ForgetsGamma(4), X, training=True)) == {
        'x': 'wrong', '1.ForgetsGamma.gamma': 'ok', '1.ForgetsGamma.beta': 'ok'}


def test_the_report_points_at_the_wrong_parameter_and_its_worst_entry():
    report = gradcheck(WrongBias(4, 3), X, training=True)
    assert not report.ok and verdicts(report) == {'x': 'ok', '1.WrongBias.W': 'ok', '1.WrongBias.b': 'wrong'}
    assert report[2].why.startswith('worst: [1] expected') and 'wrong (worst: [1] expected' in str(report)


def test_a_derivative_that_is_never_assigned_or_only_added_to_is_wrong():
    class Lazy(Dense):
        def backward(self, dy, *, param_grads, input_grad):
            self.dW += self.cache.T @ dy
            return dy @ self.W.T

    report = gradcheck(Lazy(4, 3), X, training=True)
    assert verdicts(report) == {'x': 'ok', '1.Lazy.W': 'wrong', '1.Lazy.b': 'wrong'}
    assert report[1].why == 'nan at [0, 0]: never assigned, or added to? assign it, as in dW[...] ='
    assert report[2].why.startswith('nan at [0]: never assigned')


def test_a_wrong_entry_of_a_parameter_is_named_in_its_own_shape():
    class WrongW(Dense):
        def backward(self, dy, *, param_grads, input_grad):
            dx = super().backward(dy, param_grads=param_grads, input_grad=input_grad)
            self.dW[2, 1] += 1
            return dx

    report = gradcheck(WrongW(4, 3), X)
    assert report[1].verdict == 'wrong' and report[1].why.startswith('worst: [2, 1] expected')


@pytest.mark.parametrize('size', [1e-6, 1, 1e6])
def test_large_and_small_numbers_are_checked_as_sharply(size):
    class Square(Layer):
        factor = 1

        def forward(self, x, *, training, rng):
            self.cache = x
            return x * x

        def backward(self, dy, *, param_grads, input_grad):
            return self.factor * 2 * self.cache * dy

    layer = Square()
    for Square.factor, ok in ((1, True), (1 + 1e-5, False)):
        assert gradcheck(layer, size * X).ok == ok


def test_what_forward_or_backward_changes_in_place_is_named():
    class Broken(Dense):
        def forward(self, x, *, training, rng):
            y = super().forward(x.copy(), training=training, rng=rng)
            self.change_in_forward(x)
            return y

        def backward(self, dy, *, param_grads, input_grad):
            dx = super().backward(dy, param_grads=param_grads, input_grad=input_grad)
            self.change_in_backward(dy)
            return dx

        def change_in_forward(self, x):
            pass

        change_in_backward = change_in_forward

    def halve(a):
        a[0] *= 0.5

    for method, change, message in (
            ('change_in_forward', lambda self, x: halve(x), r'forward changes x in place: \[0, 0\]'),
            ('change_in_forward', lambda self, x: halve(self.W), 'forward changes 1.B.W in place'),
            ('change_in_backward', lambda self, dy: halve(dy), 'backward changes dy in place')):
        with pytest.raises(ValueError, match=message):
            gradcheck(type('B', (Broken,), {method: change})(4, 3), X)


def test_random_numbers_come_from_rng_and_only_in_training():
    class Own(LeakyReLU):
        def forward(self, x, *, training, rng):
            return super().forward(x, training=training, rng=rng) + np.random.default_rng().random(x.shape)

    class Always(Dropout):
        def forward(self, x, *, training, rng):
            y, self.cache = ops.dropout(x, rng.bits(x.shape), rate=self.rate)
            return y

    with pytest.raises(ValueError, match='random numbers must come from rng'):
        gradcheck(Own(0.2), X)
    assert gradcheck(Always(0.3), X, training=True).ok
    with pytest.raises(ValueError, match=r'Dropout\(0.3\): expected no random numbers in evaluation, where rng is '
                                         "None, got: 'NoneType' object has no attribute 'bits'"):
        gradcheck(Always(0.3), X)


@pytest.mark.parametrize('x', [np.float64(3), np.zeros((0, 4)), np.zeros((3, 0))])
def test_x_must_be_a_minibatch(x):
    with pytest.raises(ValueError, match=r'expected a Layer or a Net, and numbers of shape \(m, ...\), not empty; got '
                                         r'LeakyReLU\(0.2\) and float64 of shape \('):
        gradcheck(LeakyReLU(0.2), x)


@pytest.mark.parametrize('layer, x, got', [
    (X, Tanh(), 'array'), (Tanh, X, 'class'), (np.tanh, X, 'ufunc'), ([Tanh()], X, r'\[Tanh'), (Tanh(), 'abc', '<U3'),
    (Tanh(), None, 'object'), (Tanh(), X + 1j, 'complex128')])
def test_what_is_no_layer_or_no_minibatch_is_named(layer, x, got):
    with pytest.raises(ValueError, match=rf'expected a Layer or a Net, and numbers .* got .*{got}'):
        gradcheck(layer, x)
    with pytest.raises(ValueError, match="training: expected True, False or None for both, got 'yes'"):
        gradcheck(Tanh(), X, training='yes')


def test_a_layer_of_a_net_still_belongs_to_it_afterwards():
    layer = Sequential(Dense(4, 3), BatchNorm(3))
    net = Net([layer, Tanh()], rng=Streams(0).at('init', 0))
    before = net.theta.copy()
    assert gradcheck(layer, X).ok
    np.testing.assert_array_equal(net.theta, before)
    inside = dict(parts(net.layers))['1.Sequential.1.Dense']
    assert np.shares_memory(inside.W, net.theta) and np.shares_memory(inside.dW, net.dtheta)
    assert net(X.astype(np.float32)).dtype == np.float32
    net.theta[...] = 0
    np.testing.assert_array_equal(net(X.astype(np.float32)), 0)


@pytest.mark.parametrize('shape', [(6,), (3, 2, 4), (2, 3, 2, 2)])
def test_inputs_of_any_rank_are_checked(shape):
    x = np.random.default_rng(2).standard_normal(shape)
    assert gradcheck(LeakyReLU(0.2), x).ok and gradcheck(Sequential(Tanh(), LeakyReLU(0.1)), x).ok


def test_an_axis_confused_with_another_is_caught():
    class Transposed(Layer):
        """y = x with its last two axes swapped."""

        def forward(self, x, *, training, rng):
            self.cache = x.shape
            return np.swapaxes(x, 1, 2)

        def backward(self, dy, *, param_grads, input_grad):
            return dy.reshape(self.cache)

    x = np.random.default_rng(2).standard_normal((3, 4, 4))
    assert verdicts(gradcheck(Transposed(), x, training=True)) == {'x': 'wrong'}


def test_a_parameter_that_x_does_not_reach_is_said_to_be_zero():
    class Unreached(LeakyReLU):
        shapes = {'a': (1,)}

        def backward(self, dy, *, param_grads, input_grad):
            self.da[...] = 0
            return super().backward(dy, param_grads=param_grads, input_grad=input_grad)

    report = gradcheck(Unreached(0.2), X)
    assert report.ok and not report[0].why
    assert {row.name: row.why for row in report}['1.Unreached.a'] == '0 within rounding'
    assert 'ok (0 within rounding)' in str(report)


class Probe(Layer):
    """y = a x; records the parameters, the state, the mode, the dtype and the draw of each forward."""

    shapes, state_shapes = {'a': (3,), 'b': (2,)}, {'spread': (3,)}

    def __init__(self):
        self.seen = []

    def init(self, rng):
        self.a[...], self.b[...], self.spread[...] = 1e3, 0, 1

    def forward(self, x, *, training, rng):
        drawn = rng and rng.uniform(1)[0]
        self.seen.append((self.a.copy(), self.b.copy(), self.spread.copy(), training, x.dtype, drawn))
        self.cache = x
        if training:
            self.spread += 1
        return self.a * x

    def backward(self, dy, *, param_grads, input_grad):
        self.da[...], self.db[...] = (dy * self.cache).sum(axis=0), 0
        return dy * self.a


@pytest.mark.parametrize('dtype', [np.float64, np.float32, int])
def test_parameters_and_state_are_moved_off_their_starting_values_once_and_each_differently(dtype):
    probe = Probe()
    assert gradcheck(probe, np.arange(1, 7).reshape(2, 3).astype(dtype)).ok
    a, b, spread, training, seen_dtype, u = probe.seen[0]
    assert training is True and seen_dtype == np.float64
    assert len(set(a)) == 3 and (abs(a - 1e3) < 500).all() and (abs(a - 1e3) > 0.1).all()  # by a tenth of its size
    assert (abs(b) < 0.5).all() and (b != 0).all()
    assert len(set(spread)) == 3 and (spread > 1).all() and (spread < 3).all()
    double = [one for one in probe.seen if one[4] == np.float64]
    for _, _, same, mode, _, same_u in double:
        np.testing.assert_array_equal(same, spread)
        assert (same_u is None) != mode
    drawn = [same_u for *_, mode, _, same_u in double if mode]
    assert drawn.count(u) >= len(drawn) - 2 and len(set(drawn)) == 2  # one rule draws from another step
    assert {mode for _, _, _, mode, _, _ in probe.seen} == {True, False}
    probe.seen.clear()
    gradcheck(probe, np.ones((2, 3)), training=False)
    assert {mode for _, _, _, mode, _, _ in probe.seen} == {False}


def test_the_same_seed_gives_the_same_check_and_a_different_seed_does_not():
    reports = [gradcheck(BatchNorm(4), X, **settings) for settings in ({}, {'training': None, 'seed': 0}, {'seed': 1})]
    assert reports[0] == reports[1] and reports[0] != reports[2]


def test_options_reach_the_check():
    assert not gradcheck(WrongBias(4, 3), X).ok and gradcheck(WrongBias(4, 3), X, tolerance=0.01).ok
    why = {row.name: row.why for row in gradcheck(WrongBias(4, 3), X, full=True)}['1.WrongBias.b']
    assert 'worst: y[' in why and 'by [1] expected 1, got 1.001' in why
    seen = []

    class Counts(LeakyReLU):
        def backward(self, dy, *, param_grads, input_grad):
            seen.append(0)
            return super().backward(dy, param_grads=param_grads, input_grad=input_grad)

    counts = []
    for directions in (1, 11):
        seen.clear()
        gradcheck(Counts(0.2), X, directions=directions)
        counts.append(len(seen))
    assert counts[1] - counts[0] == 2 * 10


@pytest.mark.parametrize('slope', [0.3, 0])
@pytest.mark.parametrize('size', [0, 1e-6, 1e6])
def test_a_point_on_a_kink_is_left_and_judged_next_to_it(slope, size):
    class ForgetsSlope(LeakyReLU):
        def backward(self, dy, *, param_grads, input_grad):
            return dy * (self.cache > 0.5 * size)

    for seed in range(20):
        for shape in ((1, 1), (3, 4)):
            x = size * np.random.default_rng(seed).integers(-1, 2, shape)
            assert gradcheck(LeakyReLU(slope), x, seed=seed).ok
            if slope and shape != (1, 1):
                assert not gradcheck(ForgetsSlope(slope), x, seed=seed).ok


@pytest.mark.parametrize('training', [True, False, None])
def test_the_check_leaves_net_and_input_as_they_were(training):
    net = Net([Dense(4, 3), BatchNorm(3)], rng=Streams(0).at('init', 0), dtype=np.float64)
    x, before = X.copy(), (net.theta.copy(), net.state.copy())
    assert gradcheck(net, x, training=training).ok
    np.testing.assert_array_equal(net.theta, before[0])
    np.testing.assert_array_equal(net.state, before[1])
    np.testing.assert_array_equal(x, X)
    net.theta[...] = 0
    np.testing.assert_array_equal(net(x), 0)  # its layers are still its own


def test_a_wrong_layer_that_raises_leaves_the_parameters_alone():
    net = Net([Dense(4, 3)], rng=Streams(0).at('init', 0), dtype=np.float64)
    before = net.theta.copy()
    with pytest.raises(ValueError, match='expected x of shape'):
        gradcheck(net, np.ones((2, 5)))
    np.testing.assert_array_equal(net.theta, before)


def test_float32_nets_are_refused():
    with pytest.raises(ValueError, match=r'expected Net\(..., dtype=np.float64\), got float32'):
        gradcheck(Net([Dense(4, 3)], rng=Streams(0).at('init', 0)), X)


def test_layers_made_of_layers_are_checked_whole():
    for layer in (Residual(Dense(4, 3), BatchNorm(3), Sequential(Tanh(), Dense(3, 4))),
                  Sequential(Residual(Dense(4, 4)))):
        gradcheck(layer, X).assert_ok()
    report = gradcheck(Residual(Dense(4, 3), Sequential(BatchNorm(3), WrongBias(3, 4))), X, training=True)
    names = ['1.Dense.W', '1.Dense.b', '2.Sequential.1.BatchNorm.gamma', '2.Sequential.1.BatchNorm.beta',
             '2.Sequential.2.WrongBias.W', '2.Sequential.2.WrongBias.b']
    assert [row.name for row in report] == ['x', *(f'1.Residual.{name}' for name in names)]
    assert [row.name for row in report if row.verdict == 'wrong'] == [f'1.Residual.{names[-1]}']

    class ForgetsTheBranch(Residual):
        def backward(self, dy, *, param_grads, input_grad):
            super().backward(dy, param_grads=param_grads, input_grad=input_grad)
            return dy

    assert verdicts(gradcheck(ForgetsTheBranch(Dense(4, 4)), X, training=True))['x'] == 'wrong'


def test_an_embedding_is_checked_at_integers():
    for x in (np.array([0, 2, 2, 1]), np.array([[0, 2], [2, 1], [4, 4]], np.uint8)):
        report = gradcheck(Embedding(5, 3), x)
        assert report.ok and [row.name for row in report] == ['1.Embedding.E', '1.Embedding.E, evaluation']
    net = Net([Embedding(5, 3), Dense(3, 2), Tanh()], rng=Streams(0).at('init', 0), dtype=np.float64)
    for whole in (net, Sequential(Embedding(5, 3), Tanh())):
        assert gradcheck(whole, np.array([0, 2, 2, 1])).ok

    class CountsOnce(Embedding):
        def backward(self, dy, *, param_grads, input_grad):
            self.dE[...] = 0
            self.dE[self.cache] += dy  # a class that occurs twice gets only its last row

    assert not gradcheck(CountsOnce(5, 3), np.array([0, 2, 2, 1])).ok
    with pytest.raises(ValueError, match='expected x of dtype float64, got int64'):
        net = Net([Dense(3, 2)], rng=Streams(0).at('init', 0), dtype=np.float64)
        net.forward(np.ones((2, 3), np.int64))


class TanhWithTangent(Tanh):
    """J v, and the derivative of <dt, J v>, which contains the slope of the slope, -2 y (1 - y^2)."""

    term = factor = 1

    def tangent(self, v):
        return self.factor * v * (1 - self.cache**2)

    def tangent_backward(self, dt, v):
        slope = 1 - self.cache**2
        return -2 * self.term * self.cache * slope * v * dt, slope * dt


class DenseWithTangent(Dense):
    def tangent(self, v):
        return v @ self.W

    def tangent_backward(self, dt, v):
        self.dW[...], self.db[...] = v.T @ dt, 0
        return np.zeros_like(v), dt @ self.W.T


def test_second_derivatives_of_a_layer_that_offers_a_tangent():
    assert verdicts(gradcheck(TanhWithTangent(), X, training=True)) == dict.fromkeys(
        ['x', 'J v', 'J v by x', 'J v by v'], 'ok')
    report = gradcheck(DenseWithTangent(4, 4), X)
    assert report.ok and 'J v by 1.DenseWithTangent.W' in verdicts(report)
    wrong = type('Wrong', (TanhWithTangent,), {'term': 0.5})
    assert [row.name for row in gradcheck(wrong(), X, training=True) if row.verdict == 'wrong'] == ['J v by x']
    wrong = type('Wrong', (TanhWithTangent,), {'factor': 1.001})
    assert verdicts(gradcheck(wrong(), X, training=True))['J v'] == 'wrong'

    for options in ({'tolerance': 0.9}, {'directions': 1}, {'seed': 5}):
        wrong = type('Wrong', (TanhWithTangent,), {'term': 0.5})
        rows = {row.name: row for row in gradcheck(wrong(), 3 * X, training=True, **options)}
        assert (rows['J v by x'].verdict == 'ok') == ('tolerance' in options)
    at_5, at_0 = (gradcheck(TanhWithTangent(), X, training=True, seed=seed) for seed in (5, 0))
    assert all(a.expected != b.expected for a, b in zip(at_5, at_0))
    row = gradcheck(TanhWithTangent(), X, training=True)[1]
    assert row.name == 'J v' and row.error < 1e-12 and abs(row.expected - row.got) <= 1e-12 * abs(row.got) > 0
    wrong = type('Wrong', (TanhWithTangent,), {'factor': 1.001})
    row = gradcheck(wrong(), X, training=True)[1]
    assert row.why == 'expected is <J^T u, v>, got is <u, tangent(v)>' and 1e-4 < row.error < 0.1

    class Unassigned(DenseWithTangent):
        def tangent_backward(self, dt, v):
            self.dW[...] = v.T @ dt
            return np.zeros_like(v), dt @ self.W.T

    rows = {row.name: row for row in gradcheck(Unassigned(4, 4), X, training=True)}
    assert rows['J v by 1.Unassigned.b'].why == 'nan at [0]: never assigned, or added to? assign it, as in dW[...] ='

    class Transposed(DenseWithTangent):
        def tangent(self, v):
            return v @ self.W.T

    assert verdicts(gradcheck(Transposed(4, 4), X, training=True))['J v'] == 'wrong'


def test_a_layer_of_your_own():
    gradcheck(Factor(4), X).assert_ok()


def test_a_cotangent_of_ones_would_not_see_a_wrong_batch_norm():
    """Why u is random: with ones, the correct dx of a batch norm is 0, and so is any multiple of it."""
    _, cache, _ = ops.batch_norm(X, np.ones(4), np.zeros(4), eps=1e-3)
    np.testing.assert_allclose(ops.batch_norm_backward(np.ones_like(X), np.ones(4), cache)[0], 0, atol=1e-14)
