"""Net: one flat buffer, a table of slots, and guards against stale caches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan import Adam, BatchNorm, Dense, Dropout, LeakyReLU, Net, Sigmoid, Streams, Tanh, gradcheck


def make(dtype=np.float64, seed=0):
    return Net([Dense(3, 4, bias=False), BatchNorm(4), Tanh(), Dense(4, 2)], rng=Streams(seed).at('init', 0),
               name='G', dtype=dtype)


X = np.random.default_rng(0).standard_normal((5, 3))


def test_slots_tile_theta_in_order_and_the_layers_views_lie_there():
    net = make()
    assert net.slots == [('1.Dense.W', 0, (3, 4)), ('2.BatchNorm.gamma', 12, (4,)), ('2.BatchNorm.beta', 16, (4,)),
                         ('4.Dense.W', 20, (4, 2)), ('4.Dense.b', 28, (2,))]
    assert net.state_slots == [('2.BatchNorm.moving_mean', 0, (4,)), ('2.BatchNorm.moving_var', 4, (4,))]
    assert net.theta.shape == net.dtheta.shape == (30,) and net.state.shape == (8,)
    net.theta[...] = np.arange(30)
    net.dtheta[...] = -np.arange(30)
    np.testing.assert_array_equal(net.layers[1].beta, np.arange(16, 20))
    np.testing.assert_array_equal(net.layers[3].W, np.arange(20, 28).reshape(4, 2))
    np.testing.assert_array_equal(net.layers[3].dW, -np.arange(20, 28).reshape(4, 2))
    net.state[4:] = 9
    np.testing.assert_array_equal(net.layers[1].moving_var, 9)


def test_a_net_without_parameters_is_allowed():
    net = Net([Tanh()], rng=None, dtype=np.float64)
    assert net.theta.size == 0 and net.slots == []
    np.testing.assert_array_equal(net(X), np.tanh(X))


def test_backward_is_the_derivative_of_forward():
    for training in (True, False):
        report = gradcheck(make(), X, training=training)
        assert report.ok, report
        assert [row.name for row in report] == ['x', '1.Dense.W', '2.BatchNorm.gamma', '2.BatchNorm.beta',
                                                '4.Dense.W', '4.Dense.b', 'x alone']


@st.composite
def stacks(draw):
    """A few layers of any kind and width that fit together, and a minibatch for them."""
    widths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    layers = []
    for n_in, n_out in zip(widths, widths[1:] + [2]):
        layers += [Dense(n_in, n_out, bias=draw(st.booleans())),
                   draw(st.sampled_from([BatchNorm(n_out), LeakyReLU(0.2), Dropout(0.3), Tanh(), Sigmoid()]))]
    rows = draw(st.integers(2 if any(layer.mixes_rows for layer in layers) else 1, 6))
    seed = draw(st.integers(0, 2**32 - 1))
    return layers, np.random.default_rng(seed).standard_normal((rows, widths[0])), seed


@given(stacks(), st.booleans())
def test_any_stack_of_layers_has_the_right_derivatives(stack, training):
    layers, x, seed = stack
    net = Net(layers, rng=Streams(seed).at('init', 0), dtype=np.float64)
    report = gradcheck(net, x, training=training, seed=seed)
    assert report.ok, report


def test_gradients_are_assigned_not_accumulated():
    net, dy = make(), np.ones((5, 2))
    net.forward(X)
    net.backward(dy)
    first = net.dtheta.copy()
    net.forward(X)
    net.backward(dy)
    np.testing.assert_array_equal(net.dtheta, first)


def test_a_cache_is_used_once():
    net, dy = make(), np.ones((5, 2))
    with pytest.raises(RuntimeError, match='G: backward needs a forward'):
        net.backward(dy)
    net.forward(X)
    net.backward(dy)
    with pytest.raises(RuntimeError, match='G: backward needs a forward'):
        net.backward(dy)


def test_a_cache_kept_on_purpose_gives_the_same_derivative_twice():
    net, dy = make(), np.ones((5, 2))
    net.forward(X)
    np.testing.assert_array_equal(net.backward(dy, keep_cache=True), net.backward(dy))


def test_two_forwards_before_a_backward_raise():
    net = make()
    net.forward(X)
    with pytest.raises(RuntimeError, match='G: a second forward'):
        net.forward(X)


def test_backward_after_the_parameters_have_moved_raises():
    net = make()
    net.forward(X)
    Adam(net, learning_rate=0.1).step()
    with pytest.raises(RuntimeError, match='G: the parameters have changed'):
        net.backward(np.ones((5, 2)))


def test_a_forward_that_keeps_nothing_leaves_nothing():
    net = make()
    net.forward(X, keep_cache=False)
    net(X)
    assert all(layer.cache is None for layer in net.layers)
    with pytest.raises(RuntimeError):
        net.backward(np.ones((5, 2)))


def test_a_backward_that_raises_leaves_the_net_usable():
    net = make()
    net.forward(X)
    with pytest.raises(ValueError):
        net.backward(np.ones((5, 7)))
    net.forward(X)
    assert net.backward(np.ones((5, 2))).shape == X.shape


def test_input_of_another_dtype_raises():
    with pytest.raises(ValueError, match='G: expected x of dtype float32, got float64'):
        make(np.float32).forward(X)


def test_everything_has_the_dtype_of_the_net():
    net = make(np.float32)
    y = net.forward(X.astype(np.float32))
    dx = net.backward(np.ones_like(y))
    assert {a.dtype for a in (net.theta, net.dtheta, net.state, y, dx)} == {np.dtype('float32')}


def test_float32_starts_from_the_same_numbers_as_float64():
    np.testing.assert_allclose(make(np.float32).theta, make().theta, rtol=1e-6)


def test_the_norm_of_the_derivative():
    net = make()
    net.dtheta[:2] = 3, 4
    assert net.dtheta_norm() == 5


def test_repr_names_the_layers():
    assert repr(make()) == 'G: Dense(3 -> 4, no bias), BatchNorm(4), Tanh(), Dense(4 -> 2)'
