"""Net: one flat buffer, a table of slots, and guards against stale caches."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan import (Adam, BatchNorm, Dense, Dropout, Layer, LeakyReLU, Net, Sequential, SGDMomentum, Sigmoid, Streams,
                     Tanh, gradcheck)
from minigan.checks.cases import Embedding
from minigan.net import parts


def make(dtype=np.float64, seed=0):
    return Net([Dense(3, 4, bias=False), BatchNorm(4), Tanh(), Dense(4, 2)], rng=Streams(seed).at('init', 0),
               name='G', dtype=dtype)


X = np.random.default_rng(0).standard_normal((5, 3))
X4 = np.random.default_rng(1).standard_normal((5, 4))


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
                                                '4.Dense.W', '4.Dense.b']


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
def test_any_stack_of_layers_has_correct_derivatives(stack, training):
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
    for again in (net.forward, net):
        with pytest.raises(RuntimeError, match=r'G: an earlier forward waits .* call G.drop_cache\(\) first'):
            again(X)
    net.drop_cache()
    net(X)
    net.forward(X)


def test_backward_after_the_parameters_have_moved_raises():
    net = make()
    net.forward(X)
    Adam(net, learning_rate=0.1).step()
    with pytest.raises(RuntimeError, match=r'G: the parameters have changed .* G.drop_cache\(\) and forward again'):
        net.backward(np.ones((5, 2)))


def test_a_forward_that_keeps_nothing_leaves_nothing():
    net = make()
    net.forward(X, keep_cache=False)
    net(X)
    assert all(layer.cache is None for layer in net.layers)
    with pytest.raises(RuntimeError):
        net.backward(np.ones((5, 2)))


def test_a_backward_that_raises_leaves_the_net_usable(monkeypatch):
    net = make()
    net.forward(X)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(Dense, 'backward', lambda *_, **__: 1 / 0)
        net.backward(np.ones((5, 2)))
    net.forward(X)
    assert net.backward(np.ones((5, 2))).shape == X.shape


def test_a_dy_unlike_y_is_refused_and_the_cache_waits_for_a_correct_one():
    net = make()
    net.forward(X)
    for dy in (np.ones((5, 7)), np.ones((1, 2)), np.ones((5, 2), np.float32)):
        with pytest.raises(ValueError, match=rf'G: expected dy as y, \(5, 2\) float64, got .* {dy.dtype}'):
            net.backward(dy)
    assert net.backward(np.ones((5, 2))).shape == X.shape


def test_a_layer_is_free_as_soon_as_its_net_is_gone_even_after_an_error():
    layer = Dense(4, 3)
    net, kept = Net([layer], rng=Streams(0).at('init', 0)), None
    try:
        Net([layer], rng=Streams(0).at('init', 0))
    except ValueError as error:
        kept = error  # as a REPL keeps the last one, with its frames
    del net
    Net([layer], rng=Streams(0).at('init', 0))
    assert 'already stands' in str(kept)


def test_input_of_a_different_dtype_raises():
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
    assert repr(make()) == (
        'G: Dense(3 -> 4, no bias), BatchNorm(4), Tanh(), Dense(4 -> 2); 30 parameters, float64')


def nested():
    inner = Sequential(Dense(3, 5), BatchNorm(5), Tanh())
    return [Dense(4, 3), Sequential(inner, Dropout(0.2), Dense(5, 3, bias=False)), BatchNorm(3)]


def test_the_parameters_of_layers_inside_layers_lie_in_the_nets_buffers():
    net = Net(nested(), rng=Streams(0).at('init', 0), dtype=np.float64)
    assert [name for name, *_ in net.slots] == [
        '1.Dense.W', '1.Dense.b', '2.Sequential.1.Sequential.1.Dense.W', '2.Sequential.1.Sequential.1.Dense.b',
        '2.Sequential.1.Sequential.2.BatchNorm.gamma', '2.Sequential.1.Sequential.2.BatchNorm.beta',
        '2.Sequential.3.Dense.W', '3.BatchNorm.gamma', '3.BatchNorm.beta']
    assert [name for name, *_ in net.state_slots] == [
        f'{place}.{name}' for place in ('2.Sequential.1.Sequential.2.BatchNorm', '3.BatchNorm')
        for name in ('moving_mean', 'moving_var')]
    assert net.theta.size == sum(np.prod(shape) for *_, shape in net.slots)
    flat = Net([Dense(4, 3), Dense(3, 5), BatchNorm(5), Tanh(), Dropout(0.2), Dense(5, 3, bias=False), BatchNorm(3)],
               rng=Streams(0).at('init', 0), dtype=np.float64)
    np.testing.assert_array_equal(net.theta, flat.theta)  # the same draws, in the same order
    x, results = X4, []
    for one in (net, flat):
        y = one.forward(x, rng=Streams(1).at('dropout', 0))
        results.append((y, one.backward(np.cos(y)), one.dtheta, one.state, one(x)))
    for ours, theirs in zip(*results):
        np.testing.assert_array_equal(ours, theirs)


def test_caches_inside_layers_are_dropped_too():
    net = Net(nested(), rng=Streams(0).at('init', 0), dtype=np.float64)
    inside = [layer for layer in dict(parts(net.layers)).values() if not layer.layers]
    assert len(inside) == 7
    net.forward(X4, rng=Streams(1).at('dropout', 0))
    assert all(layer.cache is not None for layer in inside), inside
    net.backward(np.ones((5, 3)))
    assert all(layer.cache is None for layer in inside)
    net.forward(X4, rng=Streams(1).at('dropout', 0), keep_cache=False)
    assert all(layer.cache is None for layer in inside)


def test_gradients_inside_layers_that_nobody_reads_are_left_out():
    net = Net([Sequential(Dense(4, 3), Tanh(), Dense(3, 2))], rng=Streams(0).at('init', 0), dtype=np.float64)
    net.forward(X4)
    net.dtheta[...] = np.nan
    assert net.backward(np.ones((5, 2)), param_grads=False).shape == X4.shape and np.isnan(net.dtheta).all()
    net.forward(X4)
    assert net.backward(np.ones((5, 2)), input_grad=False) is None and not np.isnan(net.dtheta).any()
    assert repr(net) == 'net: Sequential(Dense(4 -> 3), Tanh(), Dense(3 -> 2)); 23 parameters, float64'


@pytest.mark.parametrize('layers, places', [
    (lambda a, b: [a, b, a], '1.Tanh and at 3.Tanh'),
    (lambda a, b: [Sequential(b, a), a], '1.Sequential.2.Tanh and at 2.Tanh'),
    (lambda a, b: [Sequential(Sequential(a)), Sequential(a)],
     '1.Sequential.1.Sequential.1.Tanh and at 2.Sequential.1.Tanh')])
def test_a_layer_that_stands_at_two_places_is_refused(layers, places):
    with pytest.raises(ValueError, match=rf'D: Tanh\(\) stands at {places}, but has one cache: make two layers'):
        Net(layers(Tanh(), Dense(4, 4)), rng=Streams(0).at('init', 0), name='D')


def test_mixing_rows_is_passed_on_unless_the_outer_layer_says_otherwise():
    class Apart(Sequential):
        mixes_rows = False

    assert Sequential(Tanh(), Sequential(BatchNorm(3))).mixes_rows and not Sequential(Tanh()).mixes_rows
    assert not Apart(BatchNorm(3)).mixes_rows and not Sequential(Apart(BatchNorm(3))).mixes_rows


def test_integers_are_taken_by_a_first_layer_that_says_so():
    net = Net([Embedding(4, 3), Tanh()], rng=Streams(0).at('init', 0))
    y = net(np.array([3, 0]))
    np.testing.assert_array_equal(y, np.tanh(net.layers[0].E[[3, 0]]))
    assert y.dtype == np.float32
    for layers, x in (([Embedding(4, 3)], np.array([0.0, 1])), ([Tanh()], np.array([0, 1]))):
        with pytest.raises(ValueError, match='net: expected x of dtype float32, got (float64|int64)'):
            Net(layers, rng=Streams(0).at('init', 0))(x)


@pytest.mark.parametrize('layer', [lambda: Dense(4, 4), lambda: LeakyReLU(0.2), lambda: BatchNorm(4)])
@pytest.mark.parametrize('wrap', [lambda layer: layer, lambda layer: Sequential(Sequential(layer))])
def test_a_layer_of_one_net_is_refused_by_the_next(layer, wrap):
    layer = layer()
    G = Net([Dense(4, 4), layer], rng=Streams(0).at('init', 0), name='G', dtype=np.float64)
    y = G(X4)
    name = type(layer).__name__
    with pytest.raises(ValueError, match=rf"D: {name}.* at 1\..* already stands in the net 'G', .*: make a new layer"):
        Net([wrap(layer), Dense(4, 1)], rng=Streams(1).at('init', 0), name='D')
    np.testing.assert_array_equal(G(X4), y)


def test_a_layer_is_free_when_its_net_is_gone_or_was_never_made():
    class Broken(Layer):
        def init(self, rng):
            raise KeyError('no starting values')

    layers = [Dense(4, 3), Tanh()]
    Net(layers, rng=Streams(0).at('init', 0))
    with pytest.raises(KeyError) as kept:  # its traceback holds the net that was never made
        Net([*layers, Broken()], rng=Streams(0).at('init', 0))
    net = Net(layers, rng=Streams(0).at('init', 0), dtype=np.float64)
    assert kept and gradcheck(net, X4).ok


def test_a_list_of_layers_that_changes_later_changes_no_net():
    layers = [Dense(4, 3), Tanh()]
    net = Net(layers, rng=Streams(0).at('init', 0), dtype=np.float64)
    y = net(X4)
    layers[1:] = []
    np.testing.assert_array_equal(net(X4), y)
    assert Net((layer for layer in [Dense(4, 3)]), rng=Streams(0).at('init', 0)).theta.size == 15


COPIES = {'deepcopy': copy.deepcopy, 'pickle': lambda thing: pickle.loads(pickle.dumps(thing))}


@pytest.mark.parametrize('name', COPIES)
@pytest.mark.parametrize('layers', [nested, lambda: [Dense(4, 4), BatchNorm(4), LeakyReLU(0.2), Dense(4, 3)]])
def test_a_copied_net_computes_and_learns_alone(name, layers):
    net = Net(layers(), rng=Streams(0).at('init', 0), dtype=np.float64)
    net.forward(X4, rng=Streams(1).at('dropout', 0), keep_cache=False)  # moves the moving averages
    twin = COPIES[name](net)
    y, theta, state = net(X4), net.theta.copy(), net.state.copy()
    np.testing.assert_array_equal(twin(X4), y)
    results = []
    for one in (twin, net):
        np.testing.assert_array_equal(one.theta, theta)
        np.testing.assert_array_equal(one.state, state)
        one.backward(np.cos(one.forward(X4, rng=Streams(1).at('dropout', 0))))
        Adam(one, learning_rate=0.1).step()
        results.append((one.theta, one.dtheta, one.state, one(X4)))
    for ours, theirs in zip(*results):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(net(X4), y) and twin.slots == net.slots and gradcheck(twin, X4).ok
    with pytest.raises(ValueError, match="already stands in the net 'net'"):
        Net(twin.layers, rng=Streams(0).at('init', 0))


@pytest.mark.parametrize('name', COPIES)
def test_a_copy_between_forward_and_backward_has_a_cache_of_its_own(name):
    net = make()
    y = net.forward(X)
    twin = COPIES[name](net)
    np.testing.assert_array_equal(twin.backward(np.cos(y)), net.backward(np.cos(y)))
    np.testing.assert_array_equal(twin.dtheta, net.dtheta)


@pytest.mark.parametrize('name', COPIES)
@pytest.mark.parametrize('optimizer', [Adam, SGDMomentum])
def test_a_copied_optimiser_moves_its_own_copy_of_the_net(name, optimizer):
    moving = optimizer(make(), learning_rate=0.1)
    moving.net.dtheta[...] = 1
    moving.step()
    twin, y = COPIES[name](moving), moving.net(X)
    twin.step()
    np.testing.assert_array_equal(moving.net(X), y)
    moving.step()
    np.testing.assert_array_equal(twin.net.theta, moving.net.theta)
    np.testing.assert_array_equal(twin.net(X), moving.net(X))
    assert not np.array_equal(moving.net(X), y)


def test_a_shallow_copy_is_refused():
    with pytest.raises(TypeError, match='G: a shallow copy would share its layers and .*; use copy.deepcopy'):
        copy.copy(make())


@pytest.mark.parametrize('name', [*COPIES, 'copy'])
def test_a_copied_layer_is_a_new_one_for_a_new_net(name):
    layer = make().layers[0]
    twin = {**COPIES, 'copy': copy.copy}[name](layer)
    assert not hasattr(twin, 'W') and twin.owner is None
    net = Net([twin], rng=Streams(0).at('init', 0))
    twin.W[...] = 7
    assert (net.theta == 7).all() and layer.W.max() < 7


@pytest.mark.parametrize('name', ['theta', 'dtheta', 'state'])
def test_a_buffer_cannot_be_rebound_but_changes_in_place(name):
    net = make()
    buffer = getattr(net, name)
    with pytest.raises(AttributeError, match=rf'G: layers hold views into {name}; assign with G.{name}\[...\] ='):
        setattr(net, name, buffer.copy())
    assert getattr(net, name) is buffer
    buffer[...] = 3
    net.theta += 1
    net.dtheta *= 2
    net.state -= 1
    assert (buffer == {'theta': 4, 'dtheta': 6, 'state': 2}[name]).all()
    setattr(net, name, buffer)  # what an in-place operator does last


def test_gradcheck_leaves_a_layer_of_a_net_as_it_was():
    net = make()
    dense, norm = net.layers[:2]
    y, before = net.forward(X), [dict(vars(layer)) for layer in net.layers]
    assert gradcheck(dense, X).ok and gradcheck(norm, X @ np.ones((3, 4))).ok
    assert [dict(vars(layer)) for layer in net.layers] == before
    net.backward(np.cos(y))
    Adam(net, learning_rate=0.1).step()
    assert not np.array_equal(net.forward(X), y)


@pytest.mark.parametrize('fails', [False, True])
def test_gradcheck_leaves_a_free_layer_free(fails):
    layer = Dense(3, 2)
    if fails:
        with pytest.raises(ValueError, match='expected x of shape'):
            gradcheck(layer, X4)
    else:
        gradcheck(layer, X)
    assert layer.owner is None and not hasattr(layer, 'W')
    Net([layer], rng=Streams(0).at('init', 0))


@pytest.mark.parametrize('size', [3e38, 1e25, 1e19, 1.0, 1e-25, 1e-40])
def test_the_norm_of_the_derivative_neither_overflows_nor_vanishes(size):
    net = make(np.float32)
    net.dtheta[...] = size
    np.testing.assert_allclose(net.dtheta_norm(), np.float64(np.float32(size)) * 30**0.5, rtol=1e-6)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_the_norm_of_a_derivative_that_is_not_finite_is_not_finite(bad):
    net = make(np.float32)
    net.dtheta[3] = bad
    with np.errstate(invalid='ignore'):
        assert not np.isfinite(net.dtheta_norm())
