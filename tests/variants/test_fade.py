"""A fade blends two branches, and does not compute one whose weight is 0."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.nets import net_of, normal

from minigan import Dense, Streams, Tanh, gradcheck, laws
from minigan.variants.fade import Fade

alphas = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))


def through(layer, x):
    return layer.forward(x, training=False, rng=None)


def branches(n):
    return [Dense(n, 3)], [Dense(n, 4), Tanh(), Dense(4, 3)]


test_fade_laws = laws.hold_for(lambda n: Fade(*branches(n), level=0),
                               x=laws.minibatches(scales=st.sampled_from([1.0, 0.1, 10.0])))


@given(alpha=alphas, rows=st.integers(1, 4))
def test_fade_passes_gradcheck_at_any_alpha(alpha, rows):
    layer = Fade(*branches(2), level=0)
    layer.schedule = lambda t: alpha
    gradcheck(layer, normal(rows, 2), training=True).assert_ok()


@given(alpha=alphas)
def test_fade_blends_and_evaluation_uses_the_alpha_of_the_last_step(alpha):
    fade = Fade(*branches(2), level=0)
    fade.schedule = lambda t: alpha
    net, x = net_of(fade), normal(5, 2)
    low, high = (through(branch, x) for branch in fade.layers)
    y = net.forward(x, rng=Streams(0).at('dropout', 7), keep_cache=False)
    np.testing.assert_allclose(y, (1 - alpha) * low + alpha * high, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(net(x), y)


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('alpha', [0.3, 0.9])  # 1 - alpha shows how 0.9 was rounded
def test_a_blend_keeps_the_dtype_and_evaluation_gives_the_bits_of_training(alpha, dtype):
    fade = Fade(*branches(2), level=0)
    fade.schedule = lambda t: alpha
    net, x = net_of(fade, dtype=dtype), normal(5, 2).astype(dtype)
    y = net.forward(x, rng=Streams(0).at('dropout', 7))
    dx = net.backward(y)
    assert y.dtype == dx.dtype == net(x).dtype == dtype
    np.testing.assert_array_equal(net(x), y)


@pytest.mark.parametrize('alpha', [0, 1])
def test_a_branch_of_weight_0_is_not_computed_and_its_derivatives_are_0(alpha):
    fade = Fade(*branches(2), level=0)
    net, x = net_of(fade), normal(5, 2)
    net.state[...] = 0.5
    net.backward(net.forward(x))
    assert all(slot.of(net.dtheta).any() for slot in net.slots)
    net.state[...] = alpha
    idle = fade.layers[1 - alpha]
    idle.forward = idle.backward = None
    net.backward(net.forward(x))
    for slot in net.slots:
        assert slot.of(net.dtheta).any() == (f'.{alpha + 1}.Sequential.' in slot.name), slot.name


def test_fade_needs_random_numbers_to_know_the_step():
    fade = Fade(*branches(2), level=0)
    fade.schedule = lambda t: 0.5
    with pytest.raises(ValueError, match=r'Fade\(level=0\): expected rng=streams.at'):
        net_of(fade).forward(normal(2, 2))
