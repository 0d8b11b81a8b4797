"""Each layer's backward is the derivative of its forward; its modes, its state and its errors are as stated."""

import copy

import numpy as np
import pytest

from minigan import (BatchNorm, Dense, Dropout, Layer, LeakyReLU, Maxout, Net, Noise, Scale, Sigmoid, Streams, Tanh,
                     gradcheck, ops)

LAYERS = {'Dense': lambda n: Dense(n, 3), 'Dense without bias': lambda n: Dense(n, 3, bias=False),
          'BatchNorm': BatchNorm, 'LeakyReLU': lambda n: LeakyReLU(0.2), 'Dropout': lambda n: Dropout(0.4),
          'Maxout': Maxout, 'Scale': lambda n: Scale(2, -1),
          'Noise': lambda n: Noise(lambda t: 0.5), 'Tanh': lambda n: Tanh(), 'Sigmoid': lambda n: Sigmoid()}


def net_of(*layers, seed=0, dtype=np.float64):
    return Net(list(layers), rng=Streams(seed).at('init', 0), dtype=dtype)


def normal(shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize('name', [name for name in LAYERS if name not in ('Dropout', 'Noise')])
def test_permuting_the_minibatch_permutes_what_belongs_to_its_rows(name):
    order, x, results = np.random.default_rng(2).permutation(6), normal((6, 4)), []
    for rows in (np.arange(6), order):
        net = net_of(LAYERS[name](4))
        y = net.forward(x[rows])
        results.append((y, net.backward(normal(y.shape, 1)[rows]), net.dtheta, net.state))
    (y, dx, dtheta, state), (permuted_y, permuted_dx, same_dtheta, same_state) = results
    np.testing.assert_allclose(permuted_y, y[order], atol=1e-14)
    np.testing.assert_allclose(permuted_dx, dx[order], atol=1e-14)
    np.testing.assert_allclose(same_dtheta, dtheta, atol=1e-14)
    np.testing.assert_allclose(same_state, state, atol=1e-14)


@pytest.mark.parametrize('name', LAYERS)
def test_a_minibatch_of_one_in_evaluation(name):
    report = gradcheck(LAYERS[name](1), normal((1, 1)), training=False)
    assert report.ok, report


@pytest.mark.parametrize('name', LAYERS)
def test_gradients_that_nobody_reads_are_left_out(name):
    net, x = net_of(LAYERS[name](4)), normal((5, 4))
    rng = Streams(0).at('dropout', 0)
    net.dtheta[...] = np.nan
    dx = net.backward(np.ones_like(net.forward(x, rng=rng)), param_grads=False)
    assert dx.shape == x.shape and np.isnan(net.dtheta).all()
    assert net.backward(np.ones_like(net.forward(x, rng=rng)), input_grad=False) is None
    assert not np.isnan(net.dtheta).any()


def test_dense_starts_within_glorots_bound_and_without_bias():
    layer = Dense(30, 70)
    net_of(layer)
    bound = (6 / 100) ** 0.5
    assert 0.95 * bound < layer.W.max() <= bound and -bound <= layer.W.min() < -0.95 * bound
    np.testing.assert_allclose(layer.W.var(), bound**2 / 3, rtol=0.05)
    np.testing.assert_array_equal(layer.b, 0)
    assert Dense(2, 3, bias=False).shapes == {'W': (2, 3)}


def test_batch_norm_standardises_in_training_and_averages_its_statistics():
    layer, x = BatchNorm(3, momentum=0.9, eps=1e-12), 5 + 2 * normal((50, 3))
    net = net_of(layer)
    y = net.forward(x, keep_cache=False)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=0), 1)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * x.mean(axis=0))
    np.testing.assert_allclose(layer.moving_var, 0.9 + 0.1 * x.var(axis=0))
    for _ in range(300):
        net.forward(x, keep_cache=False)
    np.testing.assert_allclose(net(x), y, atol=1e-9)  # the moving averages have converged


def test_evaluation_changes_no_statistic():
    net = net_of(BatchNorm(3))
    before = net.state.copy()
    net(normal((4, 3)))
    np.testing.assert_array_equal(net.state, before)


def test_batch_norm_refuses_a_minibatch_of_one_in_training_only():
    net = net_of(BatchNorm(3))
    with pytest.raises(ValueError, match=r'BatchNorm\(3\): expected a minibatch of at least 2 rows .* got 1'):
        net.forward(np.ones((1, 3)))
    assert net(np.ones((1, 3))).shape == (1, 3)


def test_a_bias_in_front_of_batch_norm_has_no_gradient():
    net = net_of(Dense(4, 3), BatchNorm(3))
    net.backward(normal(net.forward(normal((6, 4))).shape, 1))
    np.testing.assert_allclose(net.layers[0].db, 0, atol=1e-14)
    assert abs(net.layers[0].dW).max() > 0.01


def test_dropout_keeps_the_mean_and_is_the_identity_in_evaluation():
    net, x = net_of(Dropout(0.3)), np.ones((400, 400))
    y = net.forward(x, rng=Streams(0).at('dropout', 0), keep_cache=False)
    assert set(np.unique(y)) == {0, 2**16 / (2**16 - int(0.3 * 2**16))}
    np.testing.assert_allclose(y.mean(), 1, atol=0.01)
    np.testing.assert_array_equal(net(x), x)


def test_dropouts_backward_uses_the_mask_of_its_forward():
    net, x = net_of(Dropout(0.5)), np.ones((20, 20))
    y = net.forward(x, rng=Streams(0).at('dropout', 0))
    np.testing.assert_array_equal(net.backward(np.ones_like(x)), y)


def test_dropout_without_random_numbers_says_so():
    with pytest.raises(ValueError, match=r'Dropout\(0.3\): expected rng'):
        net_of(Dropout(0.3)).forward(np.ones((2, 2)))


@pytest.mark.parametrize('make', [lambda: LeakyReLU(1), lambda: LeakyReLU(-0.1), lambda: Dropout(1),
                                  lambda: Dropout(-0.1)])
def test_slopes_and_rates_out_of_range_raise(make):
    with pytest.raises(ValueError, match=r'expected a (slope|rate) in \[0, 1\), got'):
        make()


@pytest.mark.parametrize('layer, shape, message', [
    (Dense(100, 256), (64, 128), r'Dense\(100 -> 256\): expected x of shape \(m, 100\), got \(64, 128\)'),
    (Dense(100, 256), (100,), r'got \(100,\)'), (BatchNorm(5), (4, 6), r'BatchNorm\(5\): .* got \(4, 6\)')])
def test_input_of_a_different_width_raises_and_names_the_layer(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        net_of(layer).forward(np.ones(shape))


def test_a_bound_parameter_cannot_be_rebound_but_can_be_changed():
    layer = Dense(2, 3)
    net = net_of(layer)
    with pytest.raises(AttributeError, match=r'W is a view into .* assign with W\[\.\.\.\] ='):
        layer.W = np.zeros((2, 3))
    with pytest.raises(AttributeError, match='dW is a view'):
        layer.dW = np.zeros((2, 3))
    layer.W[...] = 7
    layer.W += 1
    np.testing.assert_array_equal(net.theta[:6], 8)


def test_maxout_refuses_a_width_that_its_pieces_do_not_divide():
    with pytest.raises(ValueError, match=r'Maxout\(3\): expected a width that 3 divides, got 4'):
        net_of(Maxout(3)).forward(np.ones((2, 4)))
    with pytest.raises(ValueError, match='Maxout: expected at least 1 piece, got 0'):
        Maxout(0)


def test_dense_starts_within_the_bound_that_it_is_given():
    W = net_of(Dense(50, 40, a=0.01)).layers[0].W
    assert 0.0099 < abs(W).max() <= 0.01


def test_noise_follows_sigma_of_the_step_and_is_off_in_evaluation():
    net, x = net_of(Noise(lambda t: 0.5 * t)), normal((200, 30))
    y = [net.forward(x, rng=Streams(0).at('dropout', t), keep_cache=False) - x for t in (0, 1, 2)]
    np.testing.assert_allclose([one.std() for one in y], [0, 0.5, 1], atol=0.02)
    assert not np.array_equal(2 * y[1], y[2])
    eps = Streams(0).at('dropout', 2).normal(x.shape, x.dtype)
    np.testing.assert_array_equal(net.forward(x, rng=Streams(0).at('dropout', 2), keep_cache=False), x + 1.0 * eps)
    rng = Streams(0).at('dropout', 0)
    np.testing.assert_array_equal(net.forward(x, rng=rng, keep_cache=False), x)
    assert rng.next_key()[0] == 1  # sigma = 0 draws too, as a group does: later layers get the same numbers
    np.testing.assert_array_equal(net(x), x)
    with pytest.raises(ValueError, match=r'Noise\(\): expected rng=streams.at\(...\) in training, got None'):
        net.forward(x)


def test_an_unfinished_layer_says_so():
    with pytest.raises(NotImplementedError):
        net_of(Layer()).forward(np.ones((1, 1)))


def test_the_least_slope_and_rate_are_allowed():
    assert LeakyReLU(0).slope == 0 and Dropout(0).rate == 0


def test_a_layer_computes_its_operation():
    x = normal((3, 4))
    for layer, expected in ((LeakyReLU(0.3), ops.leaky_relu(x, slope=0.3)), (Tanh(), np.tanh(x)),
                            (Sigmoid(), ops.sigmoid(x)), (Maxout(2), np.maximum(x[:, :2], x[:, 2:])),
                            (Scale(3, 1), 3 * x + 1)):
        np.testing.assert_array_equal(net_of(layer)(x), expected)


@pytest.mark.parametrize('number', [np.float64, np.float32, np.array])
@pytest.mark.parametrize('make', [
    lambda number: Dense(4, 3, a=number(0.25)), lambda number: BatchNorm(4, momentum=number(0.75), eps=number(0.25)),
    lambda number: LeakyReLU(number(0.25)), lambda number: Scale(number(2), number(-1)),
    lambda number: Dropout(number(0.25)), lambda number: Noise(lambda t: number(0.25))])
def test_numpys_numbers_as_settings_compute_the_same_in_float32(make, number):
    """Since NumPy 2, a float64 number turns a float32 array into float64."""
    results, x = [], normal((5, 4), dtype=np.float32)
    for layer in (make(number), make(float)):
        for training in (True, False):
            net = net_of(copy.deepcopy(layer), dtype=np.float32)
            y = net.forward(x, training=training, rng=Streams(0).at('dropout', 0))
            dx = net.backward(np.cos(y))
            assert y.dtype == dx.dtype == np.float32
            results.append((y, dx, net.theta, net.dtheta, net.state))
    for ours, theirs in zip(results[:2], results[2:]):
        for a, b in zip(ours, theirs):
            np.testing.assert_array_equal(a, b)


def test_the_settings_of_your_own_layer_become_pythons_numbers_too():
    class Power(Layer):
        def __init__(self, p, scale):
            self.p, self.scale = p, scale

    layer = Power(np.int64(3), np.array(0.5))
    assert (type(layer.p), type(layer.scale)) == (int, float)
    layer.scale = np.float32(0.25)
    assert type(layer.scale) is float and repr(LeakyReLU(np.float64(0.2))) == 'LeakyReLU(0.2)'
    layer.cache = x = np.ones(1)
    assert layer.cache is x


def test_a_width_that_is_a_numpy_number_shows_as_a_number():
    assert repr(Dense(np.int64(4), np.int64(3))) == 'Dense(4 -> 3)'
    assert net_of(Dense(np.int64(4), np.int64(3)), BatchNorm(np.int64(3))).theta.size == 21


def test_a_parameter_that_is_one_number_stays_a_view():
    class Shift(Layer):
        shapes = {'c': ()}

        def init(self, rng):
            self.c[...] = 1

        def forward(self, x, *, training, rng):
            return x + self.c

        def backward(self, dy, *, param_grads, input_grad):
            self.dc[...] = dy.sum()
            return dy

    net = net_of(Shift())
    net.layers[0].c += 2
    net.theta += 1
    assert net.theta == 4 == net.layers[0].c and net.layers[0].c.base is not None
    report = gradcheck(net, normal((5, 4)))
    assert report.ok, report
