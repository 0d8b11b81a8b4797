"""The laws hold for every layer of the package; each law has a layer that breaks it, found and shrunk."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import strategies as st
from support.layers import Factor

import minigan
from minigan import BatchNorm, Dense, Dropout, Layer, LeakyReLU, Maxout, Noise, Scale, Sequential, Sigmoid, Tanh, ops
from minigan.checks import laws
from minigan.checks.cases import Embedding, Residual

rates = st.floats(0, 0.9)
slopes = st.floats(0, 0.99)

test_dense = laws.hold_for(lambda n, n_out, bias: Dense(n, n_out, bias=bias), n_out=st.integers(1, 4),
                           bias=st.booleans())
test_batch_norm = laws.hold_for(BatchNorm, momentum=rates, eps=st.sampled_from([1e-3, 1e-5, 0.1]))
test_leaky_relu = laws.hold_for(lambda n, slope: LeakyReLU(slope), slope=slopes)
test_maxout = laws.hold_for(lambda n, pieces: Sequential(Dense(n, 3 * pieces), Maxout(pieces)),
                            pieces=st.integers(1, 4))
test_scale = laws.hold_for(lambda n, a, b: Scale(a, b), a=st.floats(-3, 3), b=st.floats(-3, 3))
test_dropout = laws.hold_for(lambda n, rate: Dropout(rate), rate=rates)
test_noise = laws.hold_for(lambda n, sigma: Noise(lambda t: sigma), sigma=rates)
test_tanh = laws.hold_for(lambda n: Tanh())
test_sigmoid = laws.hold_for(lambda n: Sigmoid())
test_embedding = laws.hold_for(lambda n: Embedding(4, 3), x=laws.indices(4))
test_residual = laws.hold_for(lambda n: Residual(Dense(n, 3), BatchNorm(3), Tanh(), Dense(3, n)))


def test_no_layer_of_the_package_is_left_out():
    layers = {name for name in minigan.__all__ if isinstance(getattr(minigan, name), type)
              and issubclass(getattr(minigan, name), Layer)} - {'Layer'}
    assert layers == {'BatchNorm', 'Dense', 'Dropout', 'LeakyReLU', 'Maxout', 'Noise', 'Scale', 'Sequential', 'Sigmoid',
                      'Tanh'}, 'add a line for the new one above'


class Log(Layer):
    def forward(self, x, *, training, rng):
        self.cache = x
        return np.log(x)

    def backward(self, dy, *, param_grads, input_grad):
        return dy / self.cache


test_positive_minibatches = laws.hold_for(lambda n: Log(), x=laws.minibatches(positive=True))


class WrongSlope(LeakyReLU):
    def backward(self, dy, *, param_grads, input_grad):
        return dy * (self.cache > 0)


class WrongForThreeColumns(Tanh):
    def backward(self, dy, *, param_grads, input_grad):
        dx = super().backward(dy, param_grads=param_grads, input_grad=True)
        return dx[:, ::-1] if dx.shape[1] > 2 else dx


class StartsAnywhere(Dense):
    def init(self, rng):
        self.W[...] = np.random.default_rng().random(self.W.shape)


class Softplus(Layer):
    """y = log(1 + exp(x)), which overflows in float32 from 89 on, in float64 from 710."""

    def forward(self, x, *, training, rng):
        self.cache = x
        with np.errstate(over='ignore'):
            return np.where(x < 700, np.log1p(np.exp(np.minimum(x, 700))), x).astype(x.dtype)

    def backward(self, dy, *, param_grads, input_grad):
        return dy * ops.sigmoid(self.cache)


class NaiveVariance(Layer):
    """y = (x - mean) / deviation for each row; the variance, E[x^2] - E[x]^2, cancels."""

    def forward(self, x, *, training, rng):
        mu = x.mean(axis=1, keepdims=True)
        rstd = 1 / np.sqrt(abs((x * x).mean(axis=1, keepdims=True) - mu * mu) + x.dtype.type(1e-3))
        self.cache = (x - mu) * rstd, rstd
        return self.cache[0]

    def backward(self, dy, *, param_grads, input_grad):
        y, rstd = self.cache
        return rstd * (dy - dy.mean(axis=1, keepdims=True) - y * (dy * y).mean(axis=1, keepdims=True))


@st.composite
def off_centre(draw):
    """Rows of mean 1000 and deviation 1."""
    return 1000 + np.random.default_rng(draw(laws.seeds)).standard_normal((3, 4))


BROKEN = [  # what to make, what is said, the smallest width and number of rows that show it
    (lambda n: WrongSlope(0.2), {}, 'wrong', (1, 1)),
    (lambda n: WrongForThreeColumns(), {}, 'wrong', (1, 3)),
    (lambda n: StartsAnywhere(n, 2), {}, r'Dense\(1 -> 2\): y differs for the same seed', (1, 1)),
    (lambda n: Softplus(), {}, r'Softplus\(\): y in float32 is off by inf from float64', (1, 1)),
    (lambda n: NaiveVariance(), {'x': off_centre()}, r'NaiveVariance\(\): y in float32 is off by', (3, 4)),
    (Factor, {}, r'Factor: expected a ValueError that names it and the width of x \(2, 2\), .*got: could', (2, 1)),
]


@pytest.mark.parametrize('make, options, said, smallest', BROKEN)
def test_a_layer_that_breaks_a_law_is_found_and_shrunk(make, options, said, smallest):
    real, seen = laws.LAWS, []

    def remember(make, x, seed):
        seen.append(x.shape)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(laws, 'LAWS', (remember, *real))
        with pytest.raises(AssertionError, match=said):
            laws.hold_for(make, **options)()
    assert seen[-1] == smallest


def test_hyper_parameters_and_shapes_reach_make():
    seen = set()

    def make(n, slope):
        seen.add((n, slope))
        return LeakyReLU(slope)

    laws.hold_for(make, slope=st.sampled_from([0.1, 0.2]), x=laws.minibatches(widths=st.integers(2, 3)))()
    assert seen == {(n, slope) for n in (2, 3) for slope in (0.1, 0.2)}
    shapes = set()
    images = st.integers(1, 3).map(lambda m: np.random.default_rng(m).standard_normal((m, 2, 3)))
    laws.hold_for(lambda n: shapes.add(n) or Tanh(), x=images)()
    assert shapes == {(2, 3)}


def test_minibatches_have_every_scale_and_sometimes_ties_and_zeros():
    seen = []
    laws.given(laws.minibatches())(laws.settings(max_examples=100)(lambda x: seen.append(x)))()
    sizes = {round(np.log10(abs(x).max())) for x in seen if x.any()}
    assert min(sizes) <= -6 and max(sizes) >= 6
    assert any((x == 0).any() for x in seen) and any(len(np.unique(x)) < x.size for x in seen)
    assert {x.shape[0] for x in seen} >= set(range(1, 7)) and {x.shape[1] for x in seen} >= set(range(1, 6))


def test_the_package_does_not_need_hypothesis():
    code = 'import sys; sys.modules["hypothesis"] = None; import minigan; print(minigan.gradcheck.__name__)'
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert run.stdout == 'gradcheck\n'


def test_a_run_starts_from_what_it_is_told_and_knows_the_sizes():
    x = np.random.default_rng(0).standard_normal((4, 3))
    x[0, 0] = 0
    exact, moved, single = (laws.Run(Dense(3, 2, bias=False), x, 5, dtype, off=off)
                            for dtype, off in ((np.float64, 0), (np.float64, 1e-3), (np.float32, 0)))
    theta, rounded = exact.arrays['theta'], x.astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(exact.arrays['y'], rounded @ theta.reshape(3, 2))
    np.testing.assert_allclose(single.arrays['theta'], theta, rtol=5e-7)
    assert not np.array_equal(single.arrays['theta'], theta)
    off = moved.arrays['theta'] / theta - 1
    np.testing.assert_allclose(abs(off), 1e-3)
    assert off.min() < 0 < off.max()
    assert not np.array_equal(moved.arrays['y'], rounded @ moved.arrays['theta'].reshape(3, 2))  # x has moved too
    size = max(abs(rounded).max(), abs(exact.arrays['y']).max())
    assert exact.natural_size('y') == size and exact.natural_size('theta') == 0
    assert exact.natural_size('dx') == size / abs(rounded[rounded != 0]).min()
    assert exact.natural_size('dtheta') == 4 * size / abs(theta).min()
    assert laws.Run(Tanh(), 0 * x, 5, np.float64).natural_size('dx') == 0


@pytest.mark.parametrize('mixes, rows, training', [(True, 3, True), (True, 1, False), (False, 1, True),
                                                   (False, 3, True)])
def test_a_run_trains_unless_there_is_one_row_to_mix(mixes, rows, training):
    seen = []

    class Probe(Tanh):
        mixes_rows = mixes

        def forward(self, x, *, training, rng):
            seen.append((training, rng is not None))
            return super().forward(x, training=training, rng=rng)

    laws.Run(Probe(), np.ones((rows, 2)), 0, np.float64)
    assert seen == [(training, training)]
