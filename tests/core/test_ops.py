"""Each operation equals its equation, written out naively; each derivative equals central differences."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan import ops
from minigan.checks.cases import plain_adam
from minigan.checks.derivatives import check

widths = st.integers(1, 6)
seeds = st.integers(0, 2**32 - 1)


def normal(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def strided(a):
    """The same numbers in a view with gaps."""
    wide = np.full([2 * n for n in a.shape], np.nan)
    view = wide[tuple(slice(None, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def assert_derivative(forward, backward, **inputs):
    for inputs in (inputs, {name: strided(a) for name, a in inputs.items()}):
        report = check(lambda: forward(**inputs), lambda u: backward(u, **inputs), inputs)
        assert report.ok, report


@given(widths, widths, widths, seeds)
def test_dense(m, n_in, n_out, seed):
    x, W, b = normal(seed, (m, n_in), (n_in, n_out), n_out)
    expected = [[sum(x[i, k] * W[k, j] for k in range(n_in)) + b[j] for j in range(n_out)] for i in range(m)]
    np.testing.assert_allclose(ops.dense(x, W, b), expected, rtol=1e-12, atol=1e-12)

    def backward(u, x, W, b):
        dW, db = np.empty_like(W), np.empty_like(b)
        ops.dense_backward_params_(u, x, dW, db)
        return {'x': ops.dense_backward_input(u, W), 'W': dW, 'b': db}

    assert_derivative(ops.dense, backward, x=x, W=W, b=b)


@pytest.mark.parametrize('m', [1, 2, 64, 65, 200])
@pytest.mark.parametrize('n_in, n_out', [(30, 70), (30, 1), (1, 1), (1, 70)])
def test_denses_dx_is_the_same_for_few_rows_and_for_many_and_for_one_column(m, n_in, n_out):
    dy, W = normal(m, (m, n_out), (n_in, n_out))
    dx = ops.dense_backward_input(dy, W)
    np.testing.assert_allclose(dx, dy @ W.T, rtol=1e-12, atol=1e-12)
    assert dx.shape == (m, n_in) and dx.flags.c_contiguous  # arrays of two layouts are many times slower


@given(m=widths, n_in=widths, seed=seeds)
def test_each_entry_of_the_dx_of_one_column_is_one_product_rounded_once(m, n_in, seed):
    dy, W = (a.astype(np.float32) for a in normal(seed, (m, 1), (n_in, 1)))
    np.testing.assert_array_equal(ops.dense_backward_input(dy, W), np.outer(dy, W))


def test_dense_without_bias_is_a_matrix_product():
    x, W = normal(0, (3, 4), (4, 2))
    np.testing.assert_array_equal(ops.dense(x, W), x @ W)
    dW = np.empty_like(W)
    ops.dense_backward_params_(np.ones((3, 2)), x, dW)
    np.testing.assert_allclose(dW, x.T @ np.ones((3, 2)))


@given(st.integers(2, 7), widths, seeds, st.sampled_from([1e-5, 1e-3, 0.8]))
def test_batch_norm(m, n, seed, eps):
    x, gamma, beta = normal(seed, (m, n), n, n)
    y, _, (mu, var) = ops.batch_norm(x, gamma, beta, eps=eps)
    np.testing.assert_allclose(mu, x.mean(axis=0))
    np.testing.assert_allclose(var, x.var(axis=0))
    np.testing.assert_allclose(y, gamma * (x - mu) / np.sqrt(var + eps) + beta)

    def backward(u, x, gamma, beta):
        _, cache, _ = ops.batch_norm(x, gamma, beta, eps=eps)
        return dict(zip(('x', 'gamma', 'beta'), ops.batch_norm_backward(u, gamma, cache)))

    x *= np.array([1] * (n - 1) + [0.01])  # a column whose variance is of the size of eps
    assert_derivative(lambda **q: ops.batch_norm(eps=eps, **q)[0], backward, x=x, gamma=gamma, beta=beta)


@given(st.integers(1, 7), widths, seeds)
def test_batch_norm_evaluation(m, n, seed):
    x, gamma, beta, mu, root = normal(seed, (m, n), n, n, n, n)
    var = root**2
    y, _ = ops.batch_norm_evaluation(x, gamma, beta, mu, var, eps=1e-3)
    np.testing.assert_allclose(y, gamma * (x - mu) / np.sqrt(var + 1e-3) + beta)

    def backward(u, x, gamma, beta):
        _, cache = ops.batch_norm_evaluation(x, gamma, beta, mu, var, eps=1e-3)
        return dict(zip(('x', 'gamma', 'beta'), ops.batch_norm_evaluation_backward(u, gamma, cache)))

    assert_derivative(lambda x, gamma, beta: ops.batch_norm_evaluation(x, gamma, beta, mu, var, eps=1e-3)[0],
                      backward, x=x, gamma=gamma, beta=beta)


@given(widths, widths, seeds, st.sampled_from([0, 0.01, 0.2, 0.3, 0.99]))
def test_leaky_relu(m, n, seed, slope):
    x, = normal(seed, (m, n))
    np.testing.assert_array_equal(ops.leaky_relu(x, slope=slope), np.where(x > 0, x, slope * x))
    assert_derivative(lambda x: ops.leaky_relu(x, slope=slope),
                      lambda u, x: {'x': ops.leaky_relu_backward(u, x, slope=slope)}, x=x)


@given(widths, widths, st.integers(1, 5), seeds)
def test_maxout(m, n, pieces, seed):
    x, = normal(seed, (m, pieces * n))
    expected = [[max(x[i, p * n + j] for p in range(pieces)) for j in range(n)] for i in range(m)]
    np.testing.assert_array_equal(ops.maxout(x, pieces=pieces), expected)
    assert_derivative(lambda x: ops.maxout(x, pieces=pieces),
                      lambda u, x: {'x': ops.maxout_backward(u, x, ops.maxout(x, pieces=pieces), pieces=pieces)}, x=x)


def test_the_largest_pieces_share_the_gradient_where_they_tie():
    x = np.array([[1.0, 7, 1, 2, 0, 7]])  # groups (1, 1, 0) and (7, 2, 7)
    dx = ops.maxout_backward(np.array([[3.0, 5]]), x, ops.maxout(x, pieces=3), pieces=3)
    np.testing.assert_array_equal(dx, [[1.5, 2.5, 1.5, 0, 0, 2.5]])


@given(widths, widths, seeds)
def test_scale(m, n, seed):
    x, = normal(seed, (m, n))
    np.testing.assert_array_equal(ops.scale(x, a=2, b=-1), x + x - 1)
    assert_derivative(lambda x: ops.scale(x, a=2, b=-1), lambda u, x: {'x': ops.scale_backward(u, a=2)}, x=x)


@given(slope=st.floats(0, 1, exclude_max=True), seed=seeds, dtype=st.sampled_from([np.float32, np.float64]))
def test_leaky_relus_derivative_is_dy_itself_or_slope_times_dy_for_every_slope(slope, seed, dtype):
    x, dy = (a.astype(dtype) for a in normal(seed, (5, 6), (5, 6)))
    dx = ops.leaky_relu_backward(dy, x, slope=slope)
    np.testing.assert_array_equal(dx, np.where(x > 0, dy, dtype(slope) * dy))  # to the last bit


def test_leaky_relu_takes_the_left_slope_at_the_kink():
    assert ops.leaky_relu_backward(np.ones(1), np.zeros(1), slope=0.25) == 0.25


@given(widths, widths, seeds, st.sampled_from([0, 1e-6, 0.3, 0.5, 0.999]))
def test_dropout(m, n, seed, rate):
    x, = normal(seed, (m, n))
    bits = np.random.default_rng(seed).integers(0, 2**16, (m, n), np.uint16)
    y, mask = ops.dropout(x, bits, rate=rate)
    np.testing.assert_allclose(y, np.where(bits < np.floor(rate * 65536), 0, x / (1 - rate)), rtol=0.02)
    assert_derivative(lambda x: ops.dropout(x, bits, rate=rate)[0], lambda d, x: {'x': ops.dropout_backward(d, mask)},
                      x=x)


@pytest.mark.parametrize('rate', [0, 2**-17, 0.3, 0.5, 1 - 2**-16, np.nextafter(1, 0)])
def test_dropout_keeps_the_mean_exactly_over_all_bits(rate):
    y, mask = ops.dropout(np.ones(2**16), np.arange(2**16, dtype=np.uint16), rate=rate)
    np.testing.assert_allclose(y.mean(), 1, rtol=1e-12)
    assert abs((y == 0).mean() - rate) <= 2**-16 and np.array_equal(y, mask)


@pytest.mark.parametrize('function, backward, equation', [
    (ops.tanh, lambda u, x: ops.tanh_backward(u, np.tanh(x)), np.tanh),
    (ops.sigmoid, lambda u, x: ops.sigmoid_backward(u, ops.sigmoid(x)), lambda x: 1 / (1 + np.exp(-x))),
    (ops.softplus, ops.softplus_backward, lambda x: np.log(1 + np.exp(x)))])
@given(m=widths, n=widths, seed=seeds)
def test_elementwise(function, backward, equation, m, n, seed):
    x, = normal(seed, (m, n))
    x *= 3
    np.testing.assert_allclose(function(x), equation(x), rtol=1e-12)
    assert_derivative(function, lambda u, x: {'x': backward(u, x)}, x=x)


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_extreme_logits_neither_overflow_nor_round_to_a_log_of_zero(dtype):
    x = np.array([-1e4, -200, -30, 0, 30, 200, 1e4], dtype)
    with np.errstate(over='raise', invalid='raise', divide='raise'):
        p, s = ops.sigmoid(x), ops.softplus(x)
    assert p.dtype == s.dtype == dtype
    np.testing.assert_array_equal(p[[0, 3, 6]], [0, 0.5, 1])
    np.testing.assert_allclose(p[2], np.exp(-30.0), rtol=1e-6)  # the small side keeps its relative accuracy
    np.testing.assert_allclose(s, [0, np.exp(-200.0), np.exp(-30.0), np.log(2), 30, 200, 1e4], rtol=1e-6, atol=1e-38)


def test_gather_images_scales_bytes_to_the_range_of_tanh():
    images = np.array([[0, 255], [51, 204], [127, 128]], np.uint8)
    x = ops.gather_images(images, np.array([2, 0, 2]), np.float32)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, [[-1 / 255, 1 / 255], [-1, 1], [-1 / 255, 1 / 255]], atol=1e-7)


@given(st.integers(1, 6), st.integers(1, 5), seeds, st.sampled_from([0, 0.5, 0.9]), st.sampled_from([1e-8, 0.1]))
def test_adam_equals_the_plain_form_of_its_paper(n, steps, seed, beta1, eps):
    theta, = normal(seed, n)
    start, gradients = theta.copy(), normal(seed + 1, *[n] * steps)
    m, v, scratch, settings = np.zeros(n), np.zeros(n), np.empty(n), {'beta1': beta1, 'beta2': 0.99, 'eps': eps}
    for t, g in enumerate(gradients, 1):
        ops.adam_(theta, g, m, v, scratch, t=t, learning_rate=0.01, **settings)
        np.testing.assert_allclose(theta, start + plain_adam(gradients[:t], 0.01, **settings), rtol=1e-12, atol=1e-14)


def test_adam_first_step_has_the_size_of_the_learning_rate():
    theta, g = np.zeros(3), np.array([1e-4, -7.0, 300.0])
    ops.adam_(theta, g, np.zeros(3), np.zeros(3), np.empty(3), t=1, learning_rate=0.01, beta1=0.9, beta2=0.999,
              eps=1e-12)
    np.testing.assert_allclose(theta, [-0.01, 0.01, -0.01])


@given(widths, seeds, st.floats(0, 1))
def test_cross_entropy(m, seed, target):
    logit, = normal(seed, (m, 1))
    D = 1 / (1 + np.exp(-logit))
    expected = -(target * np.log(D) + (1 - target) * np.log(1 - D)).mean()
    np.testing.assert_allclose(ops.cross_entropy(logit, target=target), expected, rtol=1e-12)
    assert_derivative(lambda logit: np.array([ops.cross_entropy(logit, target=target)]),
                      lambda u, logit: {'logit': u * ops.cross_entropy_backward(logit, target=target)}, logit=logit)


def test_each_row_of_a_softmax_has_its_own_largest_logit():
    logits, labels = np.array([[1000.0, 999, 998], [-1000, -1001, -999]]), np.array([1, 0])
    e = np.exp([[0.0, -1, -2], [-1, -2, 0]])
    p = e / e.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ops.softmax(logits), p, rtol=1e-12)
    np.testing.assert_allclose(ops.softmax_cross_entropy(logits, labels), -np.log([p[0, 1], p[1, 0]]).mean())


@given(widths, st.integers(2, 6), seeds)
def test_softmax_cross_entropy(m, classes, seed):
    logits, = normal(seed, (m, classes))
    labels = np.random.default_rng(seed).integers(0, classes, m)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ops.softmax(logits), p, rtol=1e-12)
    np.testing.assert_allclose(ops.softmax_cross_entropy(logits, labels),
                               -np.mean([np.log(p[i, label]) for i, label in enumerate(labels)]), rtol=1e-12)
    assert_derivative(lambda logits: np.array([ops.softmax_cross_entropy(logits, labels)]),
                      lambda u, logits: {'logits': u * ops.softmax_cross_entropy_backward(logits, labels)},
                      logits=logits)


def test_softmax_survives_extreme_logits():
    logits = np.array([[1e4, 0, -1e4]])
    np.testing.assert_array_equal(ops.softmax(logits), [[1, 0, 0]])
    np.testing.assert_allclose(ops.softmax_cross_entropy(logits, np.array([2])), 2e4)


@given(widths, seeds, st.floats(0.01, 10))
def test_clip_norm_keeps_the_direction_and_shortens_only_what_is_longer(n, seed, limit):
    dtheta, = normal(seed, n)
    clipped = dtheta.copy()
    ops.clip_norm_(clipped, limit=limit)
    norm = np.linalg.norm(dtheta)
    np.testing.assert_allclose(clipped, dtheta if norm <= limit else dtheta * limit / norm, rtol=1e-12)


def test_clip_norm_survives_a_gradient_of_zero():
    dtheta = np.zeros(3)
    ops.clip_norm_(dtheta, limit=1)
    assert not dtheta.any()


def test_sgd_momentum_follows_its_recurrence():
    theta, velocity, scratch, g = np.zeros(1), np.zeros(1), np.empty(1), np.ones(1)
    for expected_velocity, expected_theta in ((-0.1, -0.1), (-0.15, -0.25), (-0.175, -0.425)):
        ops.sgd_momentum_(theta, g, velocity, scratch, learning_rate=0.1, momentum=0.5)
        np.testing.assert_allclose([velocity[0], theta[0]], [expected_velocity, expected_theta])


def test_operations_use_the_array_module_of_their_arguments(monkeypatch):
    asked = []
    monkeypatch.setattr(ops, 'array_module', lambda x: asked.append(type(x)) or np)
    x, = normal(0, (3, 3))
    u = x[0].copy()
    y, cache, _ = ops.batch_norm(x, u, u, eps=1)
    ops.batch_norm_evaluation(x, u, u, u, u * u, eps=1)
    ops.dense_backward_params_(x, x, x.copy())
    ops.adam_(u, u.copy(), u.copy(), u * u, u.copy(), t=1, learning_rate=1, beta1=0, beta2=0, eps=1)
    ops.sgd_momentum_(u, u.copy(), u.copy(), u.copy(), learning_rate=1, momentum=0)
    for function in (ops.tanh, ops.sigmoid, ops.softplus):
        function(x)
    ops.leaky_relu(x, slope=0)
    assert asked == [np.ndarray] * 9


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_operations_keep_their_dtype_and_leave_their_arguments_alone(dtype):
    x, dy, W, b = (a.astype(dtype) for a in normal(0, (4, 3), (4, 3), (3, 3), 3))
    before = [a.copy() for a in (x, dy, W, b)]
    y, cache, _ = ops.batch_norm(x, b, b, eps=1e-3)
    bits = np.arange(12, dtype=np.uint16).reshape(4, 3)
    results = [ops.dense(x, W, b), ops.dense_backward_input(dy, W), y, *ops.batch_norm_backward(dy, b, cache),
               *ops.batch_norm_evaluation_backward(dy, b, cache), ops.leaky_relu(x, slope=0.2),
               ops.batch_norm_evaluation(x, b, b, b, b * b, eps=1e-3)[0],
               ops.leaky_relu_backward(dy, x, slope=0.2), ops.maxout(x, pieces=3), ops.scale(x, a=2, b=-1),
               ops.maxout_backward(dy[:, :1], x, ops.maxout(x, pieces=3), pieces=3), ops.scale_backward(dy, a=2),
               *ops.dropout(x, bits, rate=0.3), ops.tanh(x),
               ops.tanh_backward(dy, x), ops.sigmoid(x), ops.sigmoid_backward(dy, x), ops.softplus(x),
               ops.softplus_backward(dy, x)]
    assert {a.dtype for a in results} == {np.dtype(dtype)}
    for a, kept in zip((x, dy, W, b), before):
        np.testing.assert_array_equal(a, kept)


def test_operations_read_arrays_of_any_strides():
    x, dy, W = normal(3, (8, 6), (4, 3), (6, 6))
    part, W = x[::2, ::2], W[::2, ::-2]  # neither is contiguous
    dW = np.empty((3, 3))
    ops.dense_backward_params_(dy, part, dW)
    np.testing.assert_allclose(dW, part.copy().T @ dy)
    np.testing.assert_allclose(ops.dense(part, W), ops.dense(part.copy(), W.copy()))
    np.testing.assert_array_equal(ops.leaky_relu_backward(part, part.T.copy().T, slope=0.2),
                                  ops.leaky_relu_backward(part.copy(), part.copy(), slope=0.2))


@given(st.integers(2, 7), st.integers(1, 4), seeds, st.floats(-100, 100))
def test_batch_norm_survives_a_constant_column(m, n, seed, constant):
    x, gamma, beta = normal(seed, (m, n), n, n)
    x[:, 0] = constant
    y, cache, _ = ops.batch_norm(x, gamma, beta, eps=1e-3)
    np.testing.assert_allclose(y[:, 0], beta[0], atol=1e-9)
    dy, = normal(seed + 1, (m, n))
    np.testing.assert_allclose(ops.batch_norm_backward(dy, gamma, cache)[0][:, 0],  # only the mean is subtracted
                               gamma[0] / 1e-3**0.5 * (dy[:, 0] - dy[:, 0].mean()), atol=1e-7)


@given(st.integers(3, 7), widths, seeds, st.floats(0.1, 10), st.floats(-10, 10))
def test_batch_norm_does_not_see_a_shift_or_a_scale_of_its_input(m, n, seed, scale, shift):
    x, gamma, beta = normal(seed, (m, n), n, n)
    y, _, _ = ops.batch_norm(x, gamma, beta, eps=1e-16)
    np.testing.assert_allclose(ops.batch_norm(scale * x + shift, gamma, beta, eps=1e-16)[0], y, atol=1e-8)


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@given(seed=seeds, size=st.integers(1, 300), scale=st.floats(-12, 12), limit=st.sampled_from([1.0, 0.3, 7.0]))
def test_the_norm_and_clipping_equal_the_plain_form_bit_for_bit_unless_it_overflows(
        dtype, seed, size, scale, limit):
    x = (np.random.default_rng(seed).standard_normal(size) * 10**scale).astype(dtype)
    plain = dtype((x @ x) ** 0.5)
    length, s = ops.euclidean_norm(x)
    assert length / s == plain and length.dtype == dtype
    clipped = x.copy()
    ops.clip_norm_(clipped, limit=limit)
    np.testing.assert_array_equal(clipped, x * (limit / np.maximum(limit, plain)))


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('place', ['largest', 'large', 'one', 'small', 'smallest', 'zero'])
def test_the_norm_of_any_finite_gradient_is_correct_and_clipping_loses_none(dtype, place):
    info = np.finfo(dtype)
    size = {'largest': info.max, 'large': info.max**0.6, 'one': 1, 'small': info.tiny**0.6,
            'smallest': info.smallest_subnormal, 'zero': 0}[place]
    x = np.full(1000, size, dtype)
    x[::2] *= -1
    expected = np.longdouble(x[1]) * np.longdouble(1000) ** 0.5
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        length, s = ops.euclidean_norm(x)
        np.testing.assert_allclose(float(np.longdouble(length) / s / (expected or 1)), 1 if expected else 0, rtol=1e-6)
        for limit in (1e-3, 1.0, 1e3):
            clipped = x.copy()
            ops.clip_norm_(clipped, limit=limit)
            if expected <= limit:
                np.testing.assert_array_equal(clipped, x)
            else:
                np.testing.assert_allclose(np.linalg.norm(clipped.astype(np.float64)), limit, rtol=1e-4)
