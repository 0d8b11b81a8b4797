"""Families of correct layers that bench_gradcheck.py judges gradcheck with, and what can go wrong in each of them.

Every family is a function from a NumPy generator to (layer, x): random widths, minibatches, hyper-parameters and
scales, from 1e-6 to 1e6 where the function allows. The errors in the decorator replace the layer's dx, or the methods
that they name; planted.py adds those that any layer can have. tests/bench/test_families.py checks every layer by
complex steps: each forward here takes complex numbers, and decides by their real parts.

m minibatch, n width; x (m, n).
"""

import numpy as np
from planted import Example, family
from scipy.special import erfc


class Elementwise(Example):
    """y = f(x), dx = dy f'(x)"""

    def __init__(self, f, df):
        self.f, self.df = f, df

    def forward(self, x, *, training, rng):
        self.cache = x
        return self.f(x)

    def dx(self, dy):
        return dy * self.df(self.cache)


def at_y(self, dy):
    """The mistake of f'(y) for f'(x)."""
    return dy * self.df(self.f(self.cache))


def per_column(rng, n, low, high):
    """Scales of n columns in [low, high], log-uniform: in half of the draws all equal, else up to 1e6 apart."""
    low, high = np.log10(low), np.log10(high)
    scale = rng.uniform(low, high)
    spread = rng.uniform(-3, 3, n) * (rng.random() < 0.5)
    return 10 ** np.clip(scale + spread, low, high)


def shape(rng, least=(2, 1)):
    """(m, n) up to (9, 8)."""
    return int(rng.integers(least[0], 10)), int(rng.integers(least[1], 9))


def normal(rng, m, n, *, low=1e-6, high=1e6, zeros=False, offset=False):
    """x ~ N(0, 1) times the columns' scales. zeros: one draw in four has some. offset: one draw in four is 1000 + x."""
    x, kind = rng.standard_normal((m, n)), rng.integers(4)
    if kind == 0 and zeros:
        x[rng.random((m, n)) < 0.2] = 0
    if kind == 1 and offset:
        x += 1e3
    return x * per_column(rng, n, low, high)


def with_ties(rng, m, n):
    """x as in `normal`, but one draw in four lies on a grid so coarse that there are ties."""
    x = rng.standard_normal((m, n))
    return np.round(x) * 10 ** rng.uniform(-6, 6) if rng.integers(4) == 0 else x * per_column(rng, n, 1e-6, 1e6)


def away_from_zero(rng, m, n, low=1e-6, high=1e6):
    """|x| in [0.5, 2) times the columns' scales."""
    return rng.uniform(0.5, 2, (m, n)) * per_column(rng, n, low, high)


def size(rng, low=1e-3, high=1e3):
    """A scale, log-uniform."""
    return 10 ** rng.uniform(np.log10(low), np.log10(high))


def sigmoid(x):
    e = np.exp(np.where(x.real > 0, -x, x))
    return np.where(x.real > 0, 1, e) / (1 + e)


def softmax(x):
    """Over the last axis."""
    e = np.exp(x - x.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# Elementwise functions.

def leaky(slope):
    return Elementwise(lambda x: np.where(x.real > 0, x, slope * x),
                       lambda x: np.where(x > 0, 1, slope).astype(x.dtype))


@family(slope_on_the_wrong_side=lambda self, dy: dy * self.df(-self.cache),
        gate_of_dy=lambda self, dy: dy * self.df(dy), slope_zero=lambda self, dy: dy * (self.cache > 0),
        no_slope=lambda self, dy: dy.copy())
def leaky_relu(rng):
    return leaky(rng.uniform(0.01, 0.9)), normal(rng, *shape(rng), zeros=True)


@family(slope_on_the_wrong_side=lambda self, dy: dy * self.df(-self.cache),
        gate_of_dy=lambda self, dy: dy * self.df(dy))
def leaky_relu_of_300_columns(rng):
    return leaky(rng.uniform(0.01, 0.9)), normal(rng, 300, 300)


@family(gate_of_dy=lambda self, dy: dy * (dy > 0), no_gate=lambda self, dy: dy.copy(), at_y_negated=lambda self, dy:
        dy * (self.cache < 0))
def relu(rng):
    return Elementwise(lambda x: x * (x.real > 0), lambda x: x > 0), normal(rng, *shape(rng), zeros=True)


@family(always_exponential=lambda self, dy: dy * self.alpha * np.exp(np.minimum(self.cache, 20)), at_y=at_y,
        without_alpha=lambda self, dy: dy * np.where(self.cache > 0, 1, np.exp(np.minimum(self.cache, 0))),
        y_for_the_slope=lambda self, dy: dy * np.where(self.cache > 0, 1, self.f(self.cache)))
def elu(rng):
    alpha = rng.uniform(0.2, 3)
    layer = Elementwise(lambda x: np.where(x.real > 0, x, alpha * np.expm1(np.where(x.real > 0, 0, x))),
                        lambda x: np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0))))
    layer.alpha = alpha
    return layer, normal(rng, *shape(rng), zeros=alpha == 1)


@family(without_lambda=lambda self, dy: dy * self.df(self.cache) / 1.0507, at_y=at_y)
def selu(rng):
    a, scale = 1.67326, 1.0507
    return Elementwise(lambda x: scale * np.where(x.real > 0, x, a * np.expm1(np.where(x.real > 0, 0, x))),
                       lambda x: scale * np.where(x > 0, 1, a * np.exp(np.minimum(x, 0)))), normal(rng, *shape(rng))


@family(at_y=at_y, at_minus_x=lambda self, dy: dy * sigmoid(-self.cache),
        tanh_for_sigmoid=lambda self, dy: dy * np.tanh(self.cache), gate_alone=lambda self, dy: dy * (self.cache > 0))
def softplus(rng):
    return Elementwise(lambda x: np.where(x.real > 0, x, 0) + np.log1p(np.exp(np.where(x.real > 0, -x, x))),
                       sigmoid), normal(rng, *shape(rng), zeros=True)


@family(not_squared=lambda self, dy: dy / (1 + abs(self.cache)), at_y=at_y,
        without_the_modulus=lambda self, dy: dy / (1 + self.cache ** 2))
def softsign(rng):
    return Elementwise(lambda x: x / (1 + np.sign(x.real) * x), lambda x: 1 / (1 + abs(x)) ** 2), normal(
        rng, *shape(rng))


@family(pdf_missing=lambda self, dy: dy * 0.5 * erfc(-self.cache / 2**0.5), at_y=at_y,
        pdf_not_times_x=lambda self, dy: dy * (self.df(self.cache) + (1 - self.cache) * gaussian(self.cache)),
        pdf_sign=lambda self, dy: dy * (self.df(self.cache) - 2 * self.cache * gaussian(self.cache)))
def gelu(rng):
    m, n = shape(rng)
    tail = rng.integers(3) == 0
    x = -rng.uniform(rng.uniform(1, 34), 36, (m, n)) if tail else normal(rng, m, n, zeros=True)
    return Elementwise(lambda x: 0.5 * x * erfc(-x / 2**0.5),
                       lambda x: 0.5 * erfc(-x / 2**0.5) + x * gaussian(x)), x


def gaussian(x):
    return np.exp(-x * x / 2) / (2 * np.pi) ** 0.5


A, B = (8 / np.pi) ** 0.5, 0.044715


@family(first_term_alone=lambda self, dy: dy * sigmoid(A * (self.cache + B * self.cache**3)), at_y=at_y,
        factor_3_missing=lambda self, dy: dy * gelu_slope(self.cache, 1), factor_2=lambda self, dy:
        dy * gelu_slope(self.cache, 6))
def gelu_tanh(rng):
    m, n = shape(rng)
    tail = rng.integers(3) == 0
    x = -rng.uniform(rng.uniform(1, 14), 15, (m, n)) if tail else normal(rng, m, n, zeros=True)
    return Elementwise(lambda x: x * sigmoid(A * (x + B * x**3)), lambda x: gelu_slope(x, 3)), x


def gelu_slope(x, three):
    s = sigmoid(A * (x + B * x**3))
    return s + x * s * (1 - s) * A * (1 + three * B * x * x)


@family(at_y=at_y, not_squared=lambda self, dy: dy * (1 - abs(self.f(self.cache))),
        without_k=lambda self, dy: dy * (1 - self.f(self.cache) ** 2),
        slope_at_dy=lambda self, dy: dy * self.df(dy), plus=lambda self, dy: dy * (1 + self.f(self.cache) ** 2))
def tanh(rng):
    k = size(rng, 0.1, 1e4)
    x = normal(rng, *shape(rng), low=0.01 / k, high=3 / k, zeros=True)
    return Elementwise(lambda x: np.tanh(k * x), lambda x: k * (1 - np.tanh(k * x) ** 2)), x


@family(at_y=at_y, plus=lambda self, dy: dy * sigmoid(self.cache) * (1 + sigmoid(self.cache)),
        of_x=lambda self, dy: dy * self.cache * (1 - self.cache), y_alone=lambda self, dy: dy * sigmoid(self.cache))
def logistic(rng):
    return Elementwise(sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))), normal(rng, *shape(rng), zeros=True)


@family(one_side=lambda self, dy: dy * (self.cache < self.high), no_gate=lambda self, dy: dy.copy(),
        gate_of_dy=lambda self, dy: dy * self.df(dy), inverted=lambda self, dy: dy * ~self.df(self.cache))
def clip(rng):
    m, n = shape(rng)
    scale, (low, high) = size(rng, 1e-6, 1e6), np.sort(rng.uniform(-1.5, 1.5, 2))
    low, high = float(scale * low), float(scale * high)
    layer = Elementwise(lambda x: np.where(x.real < low, low, np.where(x.real > high, high, x)).astype(x.dtype),
                        lambda x: (x > low) & (x < high))
    layer.high = high
    return layer, scale * rng.standard_normal((m, n))


@family(without_the_slope=lambda self, dy: dy * (abs(self.cache) < 1), inside_out=lambda self, dy:
        0.5 * dy * (abs(self.cache) > 1), at_two=lambda self, dy: 0.5 * dy * (abs(self.cache) < 2))
def hard_tanh(rng):
    x = normal(rng, *shape(rng), low=0.1, high=100)
    return Elementwise(lambda x: np.where(abs(x.real) < 1, x, np.sign(x.real)) * 0.5,
                       lambda x: (abs(x) < 1) * x.dtype.type(0.5)), x


@family(inverse_squared=lambda self, dy: dy / self.cache ** 2, not_inverted=lambda self, dy: dy * self.cache,
        at_y=at_y, base_2=lambda self, dy: dy / self.cache / np.log(2))
def log(rng):
    return Elementwise(np.log, lambda x: 1 / x), away_from_zero(rng, *shape(rng))


@family(without_half=lambda self, dy: dy / np.sqrt(self.cache), of_x=lambda self, dy: 0.5 * dy / self.cache, at_y=at_y)
def sqrt(rng):
    return Elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x)), away_from_zero(rng, *shape(rng))


@family(sign=lambda self, dy: dy / self.cache ** 2, not_squared=lambda self, dy: -dy / abs(self.cache), at_y=at_y)
def reciprocal(rng):
    m, n = shape(rng)
    return Elementwise(lambda x: 1 / x, lambda x: -1 / x**2), away_from_zero(rng, m, n) * rng.choice([-1, 1], (m, n))


@family(of_x=lambda self, dy: dy * self.cache, plus_one=lambda self, dy: dy * (1 + np.exp(self.cache)))
def exp(rng):
    return Elementwise(np.exp, np.exp), normal(rng, *shape(rng), high=5, zeros=True)


@family(minus_one=lambda self, dy: dy * np.expm1(self.cache), at_y=lambda self, dy: dy * np.exp(np.tanh(self.cache)))
def expm1(rng):
    return Elementwise(np.expm1, np.exp), normal(rng, *shape(rng), high=5, zeros=True)


@family(one_missing=lambda self, dy: dy / self.cache, at_y=at_y, squared=lambda self, dy: dy / (1 + self.cache) ** 2)
def log1p(rng):
    return Elementwise(np.log1p, lambda x: 1 / (1 + x)), away_from_zero(rng, *shape(rng))


@family(power_not_lowered=lambda self, dy: self.p * dy * self.cache ** self.p, dy_squared=lambda self, dy: 2 * dy * dy,
        factor_missing=lambda self, dy: dy * self.cache ** (self.p - 1), at_y=at_y,
        modulus=lambda self, dy: dy * abs(self.df(self.cache)))
def power(rng):
    p = int(rng.integers(2, 5))
    layer = Elementwise(lambda x: x**p, lambda x: p * x ** (p - 1))
    layer.p = p
    return layer, normal(rng, *shape(rng), zeros=True)


@family(not_clipped=lambda self, dy: dy * self.cache, sign_alone=lambda self, dy: dy * self.d * np.sign(self.cache),
        without_d=lambda self, dy: dy * np.clip(self.cache / self.d, -1, 1), twice=lambda self, dy:
        dy * np.where(abs(self.cache) < self.d, 2, 1) * self.df(self.cache))
def huber(rng):
    m, n = shape(rng)
    d = size(rng, 1e-6, 1e6)
    layer = Elementwise(lambda x: np.where(abs(x.real) < d, x * x / 2, d * (np.sign(x.real) * x - d / 2)),
                        lambda x: np.clip(x, -d, d))
    layer.d = d
    return layer, d * rng.uniform(0.3, 3) * rng.standard_normal((m, n))


class PReLU(Example):
    """y = x where x > 0, a x elsewhere, with one a for each column."""

    def __init__(self, n):
        self.shapes = {'a': (n,)}

    def forward(self, x, *, training, rng):
        self.cache = x
        return np.where(x.real > 0, x, self.a * x)

    def derivatives(self, dy):
        return {'a': (dy * np.minimum(self.cache, 0)).sum(axis=0)}

    def dx(self, dy):
        return dy * np.where(self.cache > 0, 1, self.a)


@family(slope_on_the_wrong_side=lambda self, dy: dy * np.where(self.cache < 0, 1, self.a),
        gate_of_dy=lambda self, dy: dy * np.where(dy > 0, 1, self.a),
        da_of_the_wrong_side={'derivatives': lambda self, dy: {'a': (dy * np.maximum(self.cache, 0)).sum(axis=0)}},
        da_ungated={'derivatives': lambda self, dy: {'a': (dy * self.cache).sum(axis=0)}},
        da_summed_over_all={'derivatives': lambda self, dy: {'a': (dy * np.minimum(self.cache, 0)).sum()}})
def prelu(rng):
    m, n = shape(rng)
    layer, x = PReLU(n), normal(rng, m, n, zeros=True)
    layer.size = size(rng)
    return layer, x


class Swish(Example):
    """y = x s, s = sigmoid(a x); dy/dx = s + a x s (1 - s), dy/da = x^2 s (1 - s), with one a for each column."""

    def __init__(self, n):
        self.shapes = {'a': (n,)}

    def forward(self, x, *, training, rng):
        self.cache = x, sigmoid(self.a * x)
        return x * self.cache[1]

    def derivatives(self, dy):
        x, s = self.cache
        return {'a': (dy * x * x * s * (1 - s)).sum(axis=0)}

    def dx(self, dy):
        x, s = self.cache
        return dy * (s + self.a * x * s * (1 - s))


@family(second_term_missing=lambda self, dy: dy * self.cache[1],
        a_missing=lambda self, dy: dy * (self.cache[1] + self.cache[0] * self.cache[1] * (1 - self.cache[1])),
        sign=lambda self, dy: dy * (self.cache[1] - self.a * self.cache[0] * self.cache[1] * (1 - self.cache[1])),
        da_lacks_a_factor_x={'derivatives': lambda self, dy: {
            'a': (dy * self.cache[0] * self.cache[1] * (1 - self.cache[1])).sum(axis=0)}})
def swish(rng):
    m, n = shape(rng)
    layer, x = Swish(n), normal(rng, m, n, high=1e2)
    layer.size = size(rng, 1e-2, 10)
    return layer, x


# Linear maps.

class Affine(Example):
    """y = x W + b, dx = dy W^T, dW = x^T dy, db = sum of dy over the rows."""

    def __init__(self, n_in, n_out, bias):
        self.shapes = {'W': (n_in, n_out), 'b': (n_out,)} if bias else {'W': (n_in, n_out)}

    def forward(self, x, *, training, rng):
        self.cache = x
        return x @ self.W + self.b if 'b' in self.shapes else x @ self.W

    def derivatives(self, dy):
        return {'W': self.cache.T @ dy, 'b': dy.sum(axis=0)} if 'b' in self.shapes else {'W': self.cache.T @ dy}

    def dx(self, dy):
        return dy @ self.W.T


@family(db_of_the_first_row={'derivatives': lambda self, dy: {'W': self.cache.T @ dy, 'b': dy[0]}},
        dW_without_the_first_row={'derivatives': lambda self, dy: {
            'W': self.cache[1:].T @ dy[1:], 'b': dy.sum(axis=0)}},
        W_read_in_another_order=lambda self, dy: dy @ self.W.reshape(self.W.shape[::-1]))
def dense(rng):
    (m, n), n_out = shape(rng), int(rng.integers(1, 9))
    layer, x = Affine(n, n_out, bias=True), normal(rng, m, n, zeros=True, offset=True)
    layer.size = size(rng)
    return layer, x


@family(W_read_in_another_order=lambda self, dy: dy @ self.W.reshape(self.W.shape[::-1]),
        sign_of_W=lambda self, dy: dy @ abs(self.W.T))
def dense_without_bias(rng):
    (m, n), n_out = shape(rng), int(rng.integers(1, 9))
    layer, x = Affine(n, n_out, bias=False), normal(rng, m, n, zeros=True)
    layer.size = size(rng)
    return layer, x


@family(W_not_transposed=lambda self, dy: dy @ self.W, lower_triangle=lambda self, dy: dy @ np.tril(self.W).T,
        dW_transposed={'derivatives': lambda self, dy: {'W': dy.T @ self.cache, 'b': dy.sum(axis=0)}},
        diagonal_missing=lambda self, dy: dy @ (self.W - np.diag(np.diag(self.W))).T)
def square_dense(rng):
    m, n = shape(rng, (2, 2))
    layer, x = Affine(n, n, bias=True), normal(rng, m, n)
    layer.size = size(rng)
    return layer, x


class Linear(Example):
    """y = x A^T for a fixed A, given as two functions: x A^T and dy A."""

    def __init__(self, apply, apply_transposed):
        self.apply, self.apply_transposed = apply, apply_transposed

    def forward(self, x, *, training, rng):
        return self.apply(x)

    def dx(self, dy):
        return self.apply_transposed(dy)


def in_reverse(a):
    return a[:, ::-1]


@family(not_reversed=lambda self, dy: np.cumsum(dy, axis=1), along_the_rows=lambda self, dy: np.cumsum(dy, axis=0),
        own_entry_missing=lambda self, dy: self.apply_transposed(dy) - dy, one_reversal=lambda self, dy:
        np.cumsum(in_reverse(dy), axis=1))
def cumsum(rng):
    return Linear(lambda x: np.cumsum(x, axis=1), lambda dy: in_reverse(np.cumsum(in_reverse(dy), axis=1))), normal(
        rng, *shape(rng, (2, 2)), zeros=True)


@family(forwards=lambda self, dy: self.apply(dy), not_at_all=lambda self, dy: dy.copy())
def permutation(rng):
    m, n = shape(rng, (2, 3))
    order = rng.permutation(n) if rng.random() < 0.5 else np.roll(np.arange(n), 1)
    return Linear(lambda x: x[:, order], lambda dy: dy[:, np.argsort(order)]), normal(rng, m, n, zeros=True)


class Centering(Linear):
    """y = x - the mean over the rows."""

    mixes_rows = True


@family(mean_path_missing=lambda self, dy: dy.copy(), mean_over_columns=lambda self, dy:
        dy - dy.mean(axis=1, keepdims=True), sum_for_mean=lambda self, dy: dy - dy.sum(axis=0))
def centering(rng):
    layer = Centering(lambda x: x - x.mean(axis=0), lambda dy: dy - dy.mean(axis=0))
    return layer, normal(rng, *shape(rng), zeros=True, offset=True)


@family(not_divided=lambda self, dy: self.apply_transposed(dy) * 2, tiled=lambda self, dy:
        np.tile(dy, self.pieces) / self.pieces)
def mean_pooling(rng):
    m, pieces, groups = int(rng.integers(2, 10)), int(rng.integers(2, 4)), int(rng.integers(1, 4))
    layer = Linear(lambda x: x.reshape(len(x), groups, pieces).mean(axis=2),
                   lambda dy: np.repeat(dy, pieces, axis=1) / pieces)
    layer.pieces = pieces
    return layer, normal(rng, m, pieces * groups, offset=True)


class Convolution(Example):
    """y_j = sum_i w_i x_{i+j} + b along a row; dx is dy convolved with w, dw_i = sum of dy_j x_{i+j}."""

    def __init__(self, k):
        self.k, self.shapes = k, {'w': (k,), 'b': (1,)}

    def forward(self, x, *, training, rng):
        width = x.shape[1] - self.k + 1
        self.cache = x
        return sum(self.w[i] * x[:, i:i + width] for i in range(self.k)) + self.b

    def derivatives(self, dy):
        width = dy.shape[1]
        return {'w': [np.sum(dy * self.cache[:, i:i + width]) for i in range(self.k)], 'b': dy.sum()}

    def dx(self, dy, w=None):
        dx = np.zeros_like(self.cache)
        for i, w_i in enumerate(self.w if w is None else w):
            dx[:, i:i + dy.shape[1]] += w_i * dy
        return dx


@family(kernel_flipped=lambda self, dy: Convolution.dx(self, dy, self.w[::-1]),
        last_tap_missing=lambda self, dy: Convolution.dx(self, dy, [*self.w[:-1], 0]),
        dw_at_one_place={'derivatives': lambda self, dy: {'w': (dy[:, :1] * self.cache[:, :self.k]).sum(axis=0),
                                                          'b': dy.sum()}},
        db_averaged={'derivatives': lambda self, dy: Convolution.derivatives(self, dy) | {'b': dy.mean(axis=1).sum()}})
def convolution(rng):
    m, n = shape(rng, (2, 2))
    layer, x = Convolution(int(rng.integers(1, min(n, 4) + 1))), normal(rng, m, n, zeros=True)
    layer.size = size(rng)
    return layer, x


class WeightNorm(Example):
    """y = g x U, U = V / |V| with the norm of each column of V.

    With D = x^T dy: dg = <U, D> of each column, dV = g (D - U dg) / |V|, dx = (g dy) U^T.
    """

    def __init__(self, n_in, n_out):
        self.shapes = {'V': (n_in, n_out), 'g': (n_out,)}

    def forward(self, x, *, training, rng):
        norm = np.sqrt((self.V * self.V).sum(axis=0))
        self.cache = x, self.V / norm, norm
        return self.g * (x @ self.cache[1])

    def derivatives(self, dy):
        x, unit, norm = self.cache
        D = x.T @ dy
        along = (unit * D).sum(axis=0)
        return {'V': self.g / norm * (D - unit * along), 'g': along}

    def dx(self, dy):
        return (self.g * dy) @ self.cache[1].T


def without_projection(self, dy):
    x, unit, norm = self.cache
    return WeightNorm.derivatives(self, dy) | {'V': self.g / norm * (x.T @ dy)}


def without_the_norm(self, dy):
    return WeightNorm.derivatives(self, dy) | {'V': WeightNorm.derivatives(self, dy)['V'] * self.cache[2]}


@family(projection_missing={'derivatives': without_projection}, norm_missing={'derivatives': without_the_norm},
        g_missing=lambda self, dy: dy @ self.cache[1].T, V_for_the_unit=lambda self, dy: (self.g * dy) @ self.V.T)
def weight_norm(rng):
    (m, n), n_out = shape(rng, (2, 2)), int(rng.integers(1, 6))
    layer, x = WeightNorm(n, n_out), normal(rng, m, n)
    layer.size = size(rng, 1e-1, 1e3)
    return layer, x


# Largest, sorted, summed.

class MaxPool(Example):
    """y = the largest of each group of `pieces` columns; dy goes to where it was."""

    def __init__(self, pieces):
        self.pieces = pieces

    def forward(self, x, *, training, rng):
        groups = x.reshape(len(x), -1, self.pieces)
        where = groups.real.argmax(axis=2)[..., None]
        self.cache = groups, where
        return np.take_along_axis(groups, where, axis=2)[..., 0]

    def dx(self, dy, where=None):
        groups, found = self.cache
        dx = np.zeros_like(groups)
        np.put_along_axis(dx, found if where is None else where, dy[..., None], axis=2)
        return dx.reshape(len(dy), -1)


@family(to_the_smallest=lambda self, dy: MaxPool.dx(self, dy, self.cache[0].argmin(axis=2)[..., None]),
        to_the_first=lambda self, dy: MaxPool.dx(self, dy, 0 * self.cache[1]),
        to_all=lambda self, dy: np.repeat(dy, self.pieces, axis=1),
        shared_evenly=lambda self, dy: np.repeat(dy, self.pieces, axis=1) / self.pieces)
def max_pool(rng):
    m, pieces, groups = int(rng.integers(2, 10)), int(rng.integers(2, 5)), int(rng.integers(1, 3))
    return MaxPool(pieces), with_ties(rng, m, pieces * groups)


class MaxoutDense(Example):
    """y_j = max over k of (x W_k + b_k)_j; the largest piece alone gets dy."""

    def __init__(self, n_in, n_out, pieces):
        self.shapes = {'W': (pieces, n_in, n_out), 'b': (pieces, 1, n_out)}

    def forward(self, x, *, training, rng):
        h = x @ self.W + self.b  # (pieces, m, n_out)
        gate = np.arange(len(h))[:, None, None] == h.real.argmax(axis=0)
        self.cache = x, gate
        return (h * gate).sum(axis=0)

    def derivatives(self, dy):
        x, gate = self.cache
        return {'W': x.T @ (gate * dy), 'b': (gate * dy).sum(axis=1, keepdims=True)}

    def dx(self, dy):
        return (self.cache[1] * dy @ self.W.swapaxes(1, 2)).sum(axis=0)


@family(no_gate=lambda self, dy: (dy @ self.W.swapaxes(1, 2)).sum(axis=0),
        first_piece=lambda self, dy: dy @ self.W[0].T,
        dW_ungated={'derivatives': lambda self, dy: MaxoutDense.derivatives(self, dy) | {'W': self.cache[0].T @ dy}},
        db_ungated={'derivatives': lambda self, dy: MaxoutDense.derivatives(self, dy) | {'b': dy.sum(axis=0)}})
def maxout_dense(rng):
    (m, n), n_out = shape(rng), int(rng.integers(1, 5))
    layer, x = MaxoutDense(n, n_out, int(rng.integers(2, 4))), normal(rng, m, n)
    layer.size = size(rng)
    return layer, x


class Sort(Example):
    """y = each row of x in order; dy goes back to where its entry came from."""

    def forward(self, x, *, training, rng):
        self.cache = np.argsort(x.real, axis=1, kind='stable')
        return np.take_along_axis(x, self.cache, axis=1)

    def dx(self, dy):
        dx = np.empty_like(dy)
        np.put_along_axis(dx, self.cache, dy, axis=1)
        return dx


@family(order_applied_again=lambda self, dy: np.take_along_axis(dy, self.cache, axis=1),
        sorted_too=lambda self, dy: np.sort(dy, axis=1), not_at_all=lambda self, dy: dy.copy(),
        order_of_the_first_row=lambda self, dy: dy[:, np.argsort(self.cache[0])])
def sort(rng):
    return Sort(), with_ties(rng, *shape(rng, (2, 2)))


class LogSumExp(Example):
    """y = log sum_j exp(x_j), dx = dy softmax(x)."""

    def forward(self, x, *, training, rng):
        top = x.real.max(axis=1, keepdims=True)
        self.cache = x
        return top + np.log(np.exp(x - top).sum(axis=1, keepdims=True))

    def dx(self, dy):
        return dy * softmax(self.cache)


@family(not_normalised=lambda self, dy: dy * np.exp(self.cache - self.cache.max(axis=1, keepdims=True)),
        over_the_rows=lambda self, dy: dy * softmax(self.cache.T).T, largest_alone=lambda self, dy:
        dy * (self.cache == self.cache.max(axis=1, keepdims=True)))
def logsumexp(rng):
    return LogSumExp(), normal(rng, *shape(rng, (2, 2)), zeros=True)


class Softmax(Example):
    """y = exp(x / T) / sum of exp(x / T) along a row, dx = y (dy - <dy, y>) / T."""

    def __init__(self, T):
        self.T = T

    def forward(self, x, *, training, rng):
        self.cache = softmax(x / self.T)
        return self.cache

    def dx(self, dy):
        y = self.cache
        return y * (dy - (dy * y).sum(axis=1, keepdims=True)) / self.T


@family(diagonal_alone=lambda self, dy: dy * self.cache * (1 - self.cache) / self.T,
        sum_missing=lambda self, dy: dy * self.cache / self.T,
        sum_over_the_rows=lambda self, dy: self.cache * (dy - (dy * self.cache).sum(axis=0)) / self.T,
        T_missing=lambda self, dy: Softmax.dx(self, dy) * self.T)
def softmax_rows(rng):
    T = size(rng, 1e-2, 1e2)
    return Softmax(T), T * normal(rng, *shape(rng, (2, 2)), high=1e2, zeros=True)


class LogSoftmax(Example):
    """y = x - log sum exp(x), dx = dy - softmax(x) sum(dy)."""

    def forward(self, x, *, training, rng):
        shifted = x - x.real.max(axis=1, keepdims=True)
        self.cache = softmax(x)
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    def dx(self, dy):
        return dy - self.cache * dy.sum(axis=1, keepdims=True)


@family(sum_missing=lambda self, dy: dy - self.cache * dy, mean_for_sum=lambda self, dy:
        dy - self.cache * dy.mean(axis=1, keepdims=True), over_the_rows=lambda self, dy:
        dy - self.cache * dy.sum(axis=0), second_term_missing=lambda self, dy: dy.copy())
def log_softmax(rng):
    return LogSoftmax(), normal(rng, *shape(rng, (2, 2)), zeros=True)


# Norms.

class Norm(Example):
    """y = gamma xhat + beta, xhat = (x - mu) rstd, rstd = 1 / sqrt(var + eps), over the axis 0 or 1.

    With d = dy gamma: dx = rstd (d - mean(d) - xhat mean(d xhat)), the means over the same axis.
    """

    def __init__(self, n, *, axis, eps):
        self.axis, self.eps = axis, eps
        self.shapes = {'gamma': (n,), 'beta': (n,)}

    def mean(self, a):
        return a.mean(axis=self.axis, keepdims=True)

    def forward(self, x, *, training, rng):
        centred = x - self.mean(x)
        rstd = 1 / np.sqrt(self.mean(centred * centred) + self.eps)
        self.cache = centred * rstd, rstd
        return self.gamma * self.cache[0] + self.beta

    def derivatives(self, dy):
        return {'gamma': (dy * self.cache[0]).sum(axis=0), 'beta': dy.sum(axis=0)}

    def dx(self, dy, *, mean=1, xhat_term=1, gamma=True):
        (xhat, rstd), d = self.cache, dy * self.gamma if gamma else dy
        return rstd * (d - mean * self.mean(d) - xhat_term * xhat * self.mean(d * xhat))


NORM = {
    'mean_path_missing': lambda self, dy: Norm.dx(self, dy, mean=0),
    'variance_path_missing': lambda self, dy: Norm.dx(self, dy, xhat_term=0),
    'variance_path_halved': lambda self, dy: Norm.dx(self, dy, xhat_term=0.5),
    'variance_path_added': lambda self, dy: Norm.dx(self, dy, xhat_term=-1),
    'statistics_as_constants': lambda self, dy: dy * self.gamma * self.cache[1],
    'gamma_missing': lambda self, dy: Norm.dx(self, dy, gamma=False),
    'rstd_missing': lambda self, dy: Norm.dx(self, dy) / self.cache[1],
    'dgamma_of_y': {'derivatives': lambda self, dy: {
        'gamma': (dy * (self.gamma * self.cache[0] + self.beta)).sum(axis=0), 'beta': dy.sum(axis=0)}},
}


@family(**NORM)
def layer_norm(rng):
    m, n = shape(rng, (2, 2))
    layer, x = Norm(n, axis=1, eps=size(rng, 1e-8, 1e-3)), normal(rng, m, n, zeros=True, offset=True)
    layer.size = size(rng)
    return layer, x


class BatchNorm(Norm):
    """Norm over the rows, with moving averages for evaluation."""

    mixes_rows = True

    def __init__(self, n, *, eps):
        super().__init__(n, axis=0, eps=eps)
        self.state_shapes = {'moving_mean': (n,), 'moving_var': (n,)}

    def init(self, rng):
        super().init(rng)
        self.moving_mean[...], self.moving_var[...] = 0, 1

    def forward(self, x, *, training, rng):
        if not training:
            rstd = 1 / np.sqrt(self.moving_var + self.eps)
            self.cache = (x - self.moving_mean) * rstd, rstd
            return self.gamma * self.cache[0] + self.beta
        self.moving_mean[...] = 0.9 * self.moving_mean + 0.1 * x.mean(axis=0)
        self.moving_var[...] = 0.9 * self.moving_var + 0.1 * x.var(axis=0)
        return super().forward(x, training=True, rng=rng)

    def dx(self, dy):
        rstd = self.cache[1]  # (n,) in evaluation, (1, n) in training
        return dy * self.gamma * rstd if rstd.ndim == 1 else super().dx(dy)


@family(**NORM, evaluation_for_training=lambda self, dy: dy * self.gamma / np.sqrt(self.moving_var + self.eps))
def batch_norm(rng):
    m, n = shape(rng)
    layer, x = BatchNorm(n, eps=size(rng, 1e-8, 1e-3)), normal(rng, m, n, zeros=True, offset=True)
    layer.size = size(rng)
    return layer, x


class PixelNorm(Example):
    """y = x r, r = 1 / sqrt(mean(x^2) + eps) along a row; dx = r (dy - y mean(dy y))."""

    def __init__(self, eps):
        self.eps = eps

    def forward(self, x, *, training, rng):
        r = 1 / np.sqrt((x * x).mean(axis=1, keepdims=True) + self.eps)
        self.cache = x * r, r
        return self.cache[0]

    def dx(self, dy):
        y, r = self.cache
        return r * (dy - y * (dy * y).mean(axis=1, keepdims=True))


@family(norm_as_a_constant=lambda self, dy: dy * self.cache[1], sum_for_mean=lambda self, dy:
        self.cache[1] * (dy - self.cache[0] * (dy * self.cache[0]).sum(axis=1, keepdims=True)),
        r_missing=lambda self, dy: PixelNorm.dx(self, dy) / self.cache[1], over_the_rows=lambda self, dy:
        self.cache[1] * (dy - self.cache[0] * (dy * self.cache[0]).mean(axis=0)))
def pixel_norm(rng):
    return PixelNorm(size(rng, 1e-8, 1e-4)), normal(rng, *shape(rng, (2, 2)), zeros=True, offset=True)


class UnitRows(Example):
    """y = x / |x|, dx = (dy - y <dy, y>) / |x|."""

    def forward(self, x, *, training, rng):
        norm = np.sqrt((x * x).sum(axis=1, keepdims=True))
        self.cache = x / norm, norm
        return self.cache[0]

    def dx(self, dy):
        y, norm = self.cache
        return (dy - y * (dy * y).sum(axis=1, keepdims=True)) / norm


@family(norm_as_a_constant=lambda self, dy: dy / self.cache[1], sign=lambda self, dy:
        (dy + self.cache[0] * (dy * self.cache[0]).sum(axis=1, keepdims=True)) / self.cache[1],
        norm_squared=lambda self, dy: UnitRows.dx(self, dy) / self.cache[1], not_divided=lambda self, dy:
        UnitRows.dx(self, dy) * self.cache[1])
def unit_rows(rng):
    m, n = shape(rng, (2, 2))
    return UnitRows(), away_from_zero(rng, m, n) * rng.choice([-1, 1], (m, n))


class MinibatchStd(Example):
    """y = x and one more column, s = the mean over the columns of sd_j = sqrt(var_j + eps).

    ds/dx_ij = (x_ij - mu_j) / (m n sd_j); every row has s, so ds is the sum of its column of dy.
    """

    mixes_rows = True

    def __init__(self, eps):
        self.eps = eps

    def forward(self, x, *, training, rng):
        centred = x - x.mean(axis=0)
        sd = np.sqrt((centred * centred).mean(axis=0) + self.eps)
        self.cache = centred, sd
        return np.concatenate([x, np.full((len(x), 1), sd.mean())], axis=1)

    def dx(self, dy):
        centred, sd = self.cache
        return dy[:, :-1] + dy[:, -1].sum() * centred / (sd * centred.size)


@family(s_as_a_constant=lambda self, dy: dy[:, :-1].copy(), first_row_s=lambda self, dy:
        dy[:, :-1] + dy[:1, -1:] * self.cache[0] / (self.cache[1] * self.cache[0].size),
        own_row_s=lambda self, dy: dy[:, :-1] + dy[:, -1:] * self.cache[0] / (self.cache[1] * self.cache[0].size),
        n_missing=lambda self, dy: dy[:, :-1] + dy[:, -1].sum() * self.cache[0] / (self.cache[1] * len(dy)),
        x_forgotten=lambda self, dy: dy[:, -1].sum() * self.cache[0] / (self.cache[1] * self.cache[0].size))
def minibatch_std(rng):
    return MinibatchStd(size(rng, 1e-8, 1e-4)), normal(rng, *shape(rng), offset=True)


# Products.

class GLU(Example):
    """y = a sigmoid(b), a and b the halves of x."""

    def forward(self, x, *, training, rng):
        a, b = np.split(x, 2, axis=1)
        self.cache = a, sigmoid(b)
        return a * self.cache[1]

    def dx(self, dy):
        a, s = self.cache
        return np.concatenate([dy * s, dy * a * s * (1 - s)], axis=1)


@family(halves_exchanged=lambda self, dy: np.roll(GLU.dx(self, dy), dy.shape[1], axis=1),
        slope_missing=lambda self, dy: np.concatenate([dy * self.cache[1], dy * self.cache[0]], axis=1),
        gate_as_a_constant=lambda self, dy: np.concatenate([dy * self.cache[1], 0 * dy], axis=1),
        a_missing=lambda self, dy: np.concatenate([dy * self.cache[1], dy * self.cache[1] * (1 - self.cache[1])],
                                                  axis=1))
def glu(rng):
    m, n = shape(rng)
    b_scale = size(rng, 1e-3, 10)
    return GLU(), np.hstack([normal(rng, m, n), b_scale * rng.standard_normal((m, n))])


class Residual(Example):
    """y = x + h V, h = tanh(x W); dx = dy + dh (1 - h^2) W^T with dh = dy V^T."""

    def __init__(self, n, width):
        self.shapes = {'W': (n, width), 'V': (width, n)}

    def forward(self, x, *, training, rng):
        h = np.tanh(x @ self.W)
        self.cache = x, h
        return x + h @ self.V

    def inner(self, dy):
        """The derivative with respect to x W."""
        return dy @ self.V.T * (1 - self.cache[1] ** 2)

    def derivatives(self, dy):
        x, h = self.cache
        return {'W': x.T @ self.inner(dy), 'V': h.T @ dy}

    def dx(self, dy):
        return dy + self.inner(dy) @ self.W.T


@family(branch_missing=lambda self, dy: dy.copy(), skip_missing=lambda self, dy: self.inner(dy) @ self.W.T,
        tanh_missing=lambda self, dy: dy + dy @ self.V.T @ self.W.T,
        dW_without_tanh={'derivatives': lambda self, dy: Residual.derivatives(self, dy) |
                         {'W': self.cache[0].T @ (dy @ self.V.T)}},
        dV_of_the_slope={'derivatives': lambda self, dy: Residual.derivatives(self, dy) |
                         {'V': (1 - self.cache[1] ** 2).T @ dy}})
def residual(rng):
    m, n = shape(rng)
    layer, x = Residual(n, int(rng.integers(1, 9))), normal(rng, m, n, low=1e-2, high=1e1, zeros=True)
    layer.size = size(rng, 0.1, 1)
    return layer, x


class Quadratic(Example):
    """y_k = x A_k x, dx = sum_k dy_k (A_k + A_k^T) x, dA_k = dy_k x x^T."""

    def __init__(self, n_in, n_out):
        self.shapes = {'A': (n_out, n_in, n_in)}

    def forward(self, x, *, training, rng):
        self.cache = x
        return np.einsum('mi,kij,mj->mk', x, self.A, x)

    def derivatives(self, dy):
        return {'A': np.einsum('mk,mi,mj->kij', dy, self.cache, self.cache)}

    def dx(self, dy):
        return np.einsum('mk,kij,mj->mi', dy, self.A + self.A.swapaxes(1, 2), self.cache)


@family(transpose_missing=lambda self, dy: np.einsum('mk,kij,mj->mi', dy, self.A, self.cache),
        twice_A=lambda self, dy: 2 * np.einsum('mk,kij,mj->mi', dy, self.A, self.cache),
        dA_diagonal={'derivatives': lambda self, dy: {'A': Quadratic.derivatives(self, dy)['A'] *
                                                      np.eye(self.A.shape[1])}})
def quadratic(rng):
    m, n = int(rng.integers(2, 10)), int(rng.integers(2, 5))
    layer, x = Quadratic(n, int(rng.integers(1, 4))), normal(rng, m, n)
    layer.size = size(rng)
    return layer, x


class Outer(Example):
    """y_ij = x_i x_j, dx_i = sum_j (dy_ij + dy_ji) x_j."""

    def forward(self, x, *, training, rng):
        self.cache = x
        return (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)

    def dx(self, dy):
        dy = dy.reshape(*self.cache.shape, -1)
        return np.einsum('mij,mj->mi', dy + dy.swapaxes(1, 2), self.cache)


@family(one_factor=lambda self, dy: np.einsum('mij,mj->mi', dy.reshape(*self.cache.shape, -1), self.cache),
        twice_one_factor=lambda self, dy: 2 * np.einsum('mij,mj->mi', dy.reshape(*self.cache.shape, -1), self.cache),
        diagonal_alone=lambda self, dy: 2 * self.cache * np.einsum('mii->mi', dy.reshape(*self.cache.shape, -1)))
def outer_product(rng):
    m, n = int(rng.integers(2, 10)), int(rng.integers(1, 6))
    return Outer(), normal(rng, m, n, zeros=True)


class Attention(Example):
    """Y = P X, P = softmax(S) by rows, S = X W X^T / sqrt(d), for the t tokens of width d in each row of x.

    With G = dY: dP = G X^T, dS = P (dP - <dP, P>) / sqrt(d), dX = P^T G + dS X W^T + dS^T X W, dW = sum X^T dS X.
    """

    def __init__(self, tokens, d):
        self.tokens, self.d, self.shapes = tokens, d, {'W': (d, d)}

    def split(self, x):
        return x.reshape(len(x), self.tokens, self.d)

    def forward(self, x, *, training, rng):
        X = self.split(x)
        P = softmax(X @ self.W @ X.swapaxes(1, 2) / self.d**0.5)
        self.cache = X, P
        return (P @ X).reshape(x.shape)

    def scores(self, G, *, sum_term=1):
        """dS, for G of shape (m, t, d)."""
        X, P = self.cache
        dP = G @ X.swapaxes(1, 2)
        return P * (dP - sum_term * (dP * P).sum(axis=2, keepdims=True)) / self.d**0.5

    def derivatives(self, dy):
        X, dS = self.cache[0], self.scores(self.split(dy))
        return {'W': (X.swapaxes(1, 2) @ dS @ X).sum(axis=0)}

    def dx(self, dy, *, value=1, query=1, key=1, **how):
        (X, P), G = self.cache, self.split(dy)
        dS = self.scores(G, **how)
        dX = value * P.swapaxes(1, 2) @ G + query * dS @ X @ self.W.T + key * dS.swapaxes(1, 2) @ X @ self.W
        return dX.reshape(dy.shape)


@family(value_path_missing=lambda self, dy: Attention.dx(self, dy, value=0),
        query_path_missing=lambda self, dy: Attention.dx(self, dy, query=0),
        key_path_missing=lambda self, dy: Attention.dx(self, dy, key=0),
        softmax_sum_missing=lambda self, dy: Attention.dx(self, dy, sum_term=0),
        P_not_transposed=lambda self, dy: Attention.dx(self, dy, value=0) +
        (self.cache[1] @ self.split(dy)).reshape(dy.shape),
        dW_transposed={'derivatives': lambda self, dy: {'W': Attention.derivatives(self, dy)['W'].T}},
        dW_unscaled={'derivatives': lambda self, dy: {'W': Attention.derivatives(self, dy)['W'] * self.d}})
def attention(rng):
    m, tokens, d = (int(k) for k in rng.integers(2, 5, 3))
    layer, x = Attention(tokens, d), rng.uniform(1, 30) * rng.standard_normal((m, tokens * d))
    layer.size = size(rng, 1e-3, 0.3)
    return layer, x


class Fourier(Example):
    """y = (sin p, cos p), p = x W; dp = dy_s cos p - dy_c sin p."""

    def __init__(self, n_in, n_out):
        self.shapes = {'W': (n_in, n_out)}

    def forward(self, x, *, training, rng):
        p = x @ self.W
        self.cache = x, np.sin(p), np.cos(p)
        return np.concatenate(self.cache[1:], axis=1)

    def phase(self, dy, *, sign=-1, cosines=1):
        """dp."""
        (_, sin, cos), (of_sin, of_cos) = self.cache, np.split(dy, 2, axis=1)
        return of_sin * cos + sign * cosines * of_cos * sin

    def derivatives(self, dy):
        return {'W': self.cache[0].T @ self.phase(dy)}

    def dx(self, dy, **how):
        return self.phase(dy, **how) @ self.W.T


@family(sign=lambda self, dy: Fourier.dx(self, dy, sign=1), cosines_missing=lambda self, dy:
        Fourier.dx(self, dy, cosines=0), dW_sign={'derivatives': lambda self, dy: {
            'W': self.cache[0].T @ self.phase(dy, sign=1)}})
def fourier(rng):
    (m, n), n_out = shape(rng), int(rng.integers(1, 6))
    layer, x = Fourier(n, n_out), normal(rng, m, n, low=1e-3, high=10, zeros=True)
    layer.size = size(rng, 0.1, 3)
    return layer, x


class Distances(Example):
    """y_k = |x - c_k|^2, dx = 2 sum_k dy_k (x - c_k), dc_k = -2 sum over the rows of dy_k (x - c_k)."""

    def __init__(self, n_in, n_out):
        self.shapes = {'c': (n_out, n_in)}

    def forward(self, x, *, training, rng):
        self.cache = x[:, None, :] - self.c  # (m, k, n)
        return (self.cache * self.cache).sum(axis=2)

    def derivatives(self, dy):
        return {'c': -2 * np.einsum('mk,mkn->kn', dy, self.cache)}

    def dx(self, dy):
        return 2 * np.einsum('mk,mkn->mn', dy, self.cache)


@family(factor_2_missing=lambda self, dy: np.einsum('mk,mkn->mn', dy, self.cache),
        modulus=lambda self, dy: 2 * np.einsum('mk,mkn->mn', dy, abs(self.cache)),
        dc_sign={'derivatives': lambda self, dy: {'c': 2 * np.einsum('mk,mkn->kn', dy, self.cache)}},
        dc_without_x={'derivatives': lambda self, dy: {'c': 2 * dy.sum(axis=0)[:, None] * self.c}})
def distances(rng):
    (m, n), n_out = shape(rng), int(rng.integers(1, 5))
    layer, x = Distances(n, n_out), normal(rng, m, n)
    layer.size = size(rng)
    return layer, x


# Random layers.

class RandomMask(Example):
    """y = x mask / (1 - rate) in training, x in evaluation."""

    def __init__(self, rate):
        self.rate = rate

    def forward(self, x, *, training, rng):
        mask = (rng.uniform(x.shape) >= self.rate) / (1 - self.rate) if training else np.ones(x.shape)
        self.cache = mask.astype(x.real.dtype)
        return x * self.cache

    def dx(self, dy):
        return dy * self.cache


@family(mask_missing=lambda self, dy: dy.copy(), rate_missing=lambda self, dy: dy * (self.cache > 0),
        mask_inverted=lambda self, dy: dy * (self.cache == 0), another_mask=lambda self, dy:
        dy * np.roll(self.cache, 1), mask_squared=lambda self, dy: dy * self.cache**2)
def dropout(rng):
    return RandomMask(rng.uniform(0.1, 0.8)), normal(rng, *shape(rng), zeros=True)


class AddNoise(Example):
    """y = x + sigma eps, eps ~ N(0, 1); y = x in evaluation."""

    def __init__(self, sigma):
        self.sigma = sigma

    def forward(self, x, *, training, rng):
        self.cache = rng.normal(x.shape, x.real.dtype) if training else np.zeros_like(x.real)
        return x + self.sigma * self.cache

    def dx(self, dy):
        return dy


@family(of_the_noise=lambda self, dy: dy * self.cache, noise_added=lambda self, dy: dy + self.cache)
def noise(rng):
    return AddNoise(size(rng, 1e-6, 1)), normal(rng, *shape(rng), zeros=True)


class MultiplyNoise(AddNoise):
    """y = x (1 + sigma eps)."""

    def forward(self, x, *, training, rng):
        self.cache = 1 + (self.sigma * rng.normal(x.shape, x.real.dtype) if training else np.zeros_like(x.real))
        return x * self.cache

    def dx(self, dy):
        return dy * self.cache


@family(noise_missing=lambda self, dy: dy.copy(), one_missing=lambda self, dy: dy * (self.cache - 1),
        divided=lambda self, dy: dy / self.cache)
def multiplicative_noise(rng):
    return MultiplyNoise(size(rng, 0.1, 2)), normal(rng, *shape(rng), zeros=True)
