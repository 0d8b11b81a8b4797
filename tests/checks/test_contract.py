"""For each rule that a layer must follow: a layer that breaks it, and what gradcheck then says."""

import numpy as np
import pytest

from minigan import BatchNorm, Dense, Dropout, Layer, LeakyReLU, Net, Noise, Sequential, Streams, Tanh, gradcheck, ops
from minigan.checks.contract import RULES, difference
from minigan.gpu.fusion import fuse
from minigan.networks import RECIPES

X = np.random.default_rng(0).standard_normal((6, 4))


class Square(Layer):
    """y = x^2, correct in every way; the layers that break a rule differ from it by a few lines."""

    def forward(self, x, *, training, rng):
        self.cache = x
        return x * x

    def backward(self, dy, *, param_grads, input_grad):
        return 2 * self.cache * dy


class MovesInEvaluation(BatchNorm):
    def forward(self, x, *, training, rng):
        self.moving_mean += 1
        return super().forward(x, training=training, rng=rng)


class CentresRows(Square):
    """Each row less the mean row, which every row depends on."""

    def forward(self, x, *, training, rng):
        return x - x.mean(axis=0)

    def backward(self, dy, *, param_grads, input_grad):
        return dy - dy.mean(axis=0)


class SaysThatItMixes(Square):
    mixes_rows = True


class SumsRows(Square):
    def forward(self, x, *, training, rng):
        self.cache = len(x)
        return x.sum(axis=0, keepdims=True)

    def backward(self, dy, *, param_grads, input_grad):
        return np.repeat(dy, self.cache, axis=0)


class WrongThroughD(Dense):
    def backward(self, dy, *, param_grads, input_grad):
        dx = super().backward(dy, param_grads=param_grads, input_grad=input_grad)
        return dx if param_grads else 1.01 * dx


class NeedsInputGrad(Dense):
    def backward(self, dy, *, param_grads, input_grad):
        if input_grad:
            super().backward(dy, param_grads=param_grads, input_grad=input_grad)
        return dy @ self.W.T


class FailsWithoutInputGrad(Dense):
    def backward(self, dy, *, param_grads, input_grad):
        return super().backward(dy, param_grads=param_grads, input_grad=input_grad) * 1.0


class KeepsOutsideTheCache(Square):
    def forward(self, x, *, training, rng):
        self.x = x
        return x * x

    def backward(self, dy, *, param_grads, input_grad):
        return 2 * self.x * dy


class MaskOutside(Dropout):
    def forward(self, x, *, training, rng):
        y = super().forward(x, training=training, rng=rng)
        self.mask = self.cache
        return y

    def backward(self, dy, *, param_grads, input_grad):
        return dy if self.mask is None else dy * self.mask


class UsesItsCacheUp(Square):
    def forward(self, x, *, training, rng):
        self.cache = 2 * x
        return x * x

    def backward(self, dy, *, param_grads, input_grad):
        self.cache *= dy
        return self.cache.copy()


class ParameterKeptOutside(Dense):
    def forward(self, x, *, training, rng):
        self.x = x
        return super().forward(x, training=training, rng=rng)

    def backward(self, dy, *, param_grads, input_grad):
        ops.dense_backward_params_(dy, self.x, self.dW, self.db)
        return dy @ self.W.T


class Float64Constant(Square):
    def forward(self, x, *, training, rng):
        self.cache = x
        return x * x * np.ones(1)


class Float64Derivative(Square):
    def backward(self, dy, *, param_grads, input_grad):
        return 2 * self.cache * dy * np.ones(1)


class ForgetsShapes(Layer):
    def __init__(self, n):
        self.W = np.eye(n)

    def forward(self, x, *, training, rng):
        self.cache = x
        return x @ self.W.astype(x.dtype)

    def backward(self, dy, *, param_grads, input_grad):
        if param_grads:
            self.dW = 17 * self.cache.T @ dy
        return dy @ self.W.T.astype(dy.dtype)


BROKEN = [  # layer, rule, what is said
    (ForgetsShapes(4), 'shapes', '1.ForgetsShapes: expected shapes to name W, as the layer has dW, got {}'),
    (MovesInEvaluation(4), 'state, evaluation', 'evaluation changes 1.MovesInEvaluation.moving_mean[0]: expected'),
    (CentresRows(), 'mixes_rows', 'expected True, got False: row 0 of x changes y[1, 0]: expected'),
    (SaysThatItMixes(), 'mixes_rows', 'expected False, got True: no row of y depends on another row of x'),
    (SumsRows(), 'mixes_rows', 'expected True where y has 1 rows for 6 of x, got False'),
    (Sequential(Tanh(), CentresRows()), 'mixes_rows', 'expected True, got False'),
    (WrongThroughD(4, 3), 'param_grads=False', 'unlike in a full backward, dx[0, 0]: expected'),
    (NeedsInputGrad(4, 3), 'input_grad=False',
     'unlike in a full backward, the derivative of 1.NeedsInputGrad.W[0, 0]: expected'),
    (FailsWithoutInputGrad(4, 3), 'input_grad=False', 'raises TypeError: unsupported operand type(s) for *'),
    (KeepsOutsideTheCache(), 'cache', 'backward reads what another forward has left outside self.cache: dx[0, 0]'),
    (ParameterKeptOutside(4, 3), 'cache',
     'backward reads what another forward has left outside self.cache: the derivative of 1.P'),
    (MaskOutside(0.5), 'cache', 'backward reads what another forward has left outside self.cache: dx['),
    (UsesItsCacheUp(), 'cache', 'backward changes the cache, so a second one differs: dx[0, 0]'),
    (Float64Constant(), 'dtype', '1.Float64Constant: expected y of dtype float32 for a float32 x, got float64'),
    (Float64Derivative(), 'dtype', '1.Float64Derivative: expected dx of dtype float32 for a float32 dy, got float64'),
]


@pytest.mark.parametrize('layer, rule, said', BROKEN, ids=[type(layer).__name__ for layer, *_ in BROKEN])
def test_a_broken_rule_is_named_and_nothing_else_is(layer, rule, said):
    rows = {row.name: row for row in gradcheck(layer, X)}
    wrong = {name.split(',')[0] for name, row in rows.items() if row.verdict != 'ok'}
    assert wrong == {rule.split(',')[0]} and said in rows[rule].why, rows[rule]
    assert rows[rule].verdict == 'wrong' and np.isnan(rows[rule].expected)
    assert rows[rule].why in str(gradcheck(layer, X))


def test_every_rule_has_a_layer_that_breaks_it():
    assert {rule.split(',')[0] for _, rule, _ in BROKEN} == set(RULES)


class CentresInTraining(CentresRows):
    mixes_rows = True

    def forward(self, x, *, training, rng):
        self.cache = training
        return x - x.mean(axis=0) if training else x

    def backward(self, dy, *, param_grads, input_grad):
        return dy - dy.mean(axis=0) if self.cache else dy


@pytest.mark.parametrize('layer', [
    Square(), CentresInTraining(), BatchNorm(4), Sequential(Dense(4, 4), CentresInTraining()), Dropout(0.3),
    Noise(lambda t: 0.5), Sequential(Dropout(0.5), BatchNorm(4), LeakyReLU(0.2))], ids=str)
def test_a_layer_that_follows_the_rules_passes(layer):
    for x in (X, X[:2], np.repeat(X[:1], 3, axis=0), 1e6 * X, 1e-6 * X):
        gradcheck(layer, x).assert_ok()
    for x in (X[:1],):
        gradcheck(layer, x, training=False).assert_ok()


def test_rows_that_mix_only_a_little_do_mix():
    class Barely(CentresInTraining):
        def forward(self, x, *, training, rng):
            self.cache = training
            return x - 1e-12 * x.mean(axis=0) if training else x

        def backward(self, dy, *, param_grads, input_grad):
            return dy - 1e-12 * dy.mean(axis=0) if self.cache else dy

    gradcheck(Barely(), X).assert_ok()


def test_a_broken_rule_deep_inside_a_net_is_placed():
    net = Net([Dense(4, 4), Sequential(Tanh(), Float64Constant())], rng=Streams(0).at('init', 0), dtype=np.float64)
    row, = (row for row in gradcheck(net, X, training=True) if row.verdict != 'ok')
    assert row.why.startswith('2.Sequential: expected y of dtype float32')


def test_a_fused_net_follows_the_rules_and_its_layers_stay_its_own():
    recipe = RECIPES['default']
    for fused in (False, True):
        net = Net(recipe.G(5, (3, 4)), rng=Streams(0).at('init', 0), dtype=np.float64, fuse=fuse if fused else None)
        gradcheck(net, X[:, :1] * np.ones(5)).assert_ok()
        assert all(np.shares_memory(layer.W, net.theta) for layer in net.layers if isinstance(layer, Dense))


def test_a_difference_is_placed():
    a, b = np.zeros((2, 3)), np.zeros((2, 3))
    assert difference(a, b, 'x') == difference(None, None, 'x') == ''
    b[1, 2] = 1
    assert difference(a, b, 'x') == 'x[1, 2]: expected 1, got 0'
    a[1, 2] = b[1, 2] = np.nan
    assert difference(a, b, 'x') == ''
    assert difference(np.float64([1 + 1e-12]), np.ones(1), 'x') == ''
    assert difference(np.float64([1e-30]), np.float64([2e-30]), 'x') == 'x[0]: expected 2e-30, got 1e-30'
