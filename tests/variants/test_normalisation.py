"""Layers that keep signals in hand: their derivatives, their definitions, and PyTorch's versions of them."""

import numpy as np
from hypothesis import strategies as st
from support import autograd
from support.nets import net_of, normal

from minigan import Dense, LeakyReLU, gradcheck, laws
from minigan.variants.normalisation import EqualisedDense, PixelNorm

test_pixel_norm_laws = laws.hold_for(lambda n: PixelNorm(), x=laws.minibatches(widths=st.integers(2, 5)))  # of one: +-1
test_equalised_laws = laws.hold_for(EqualisedDense, n_out=st.integers(1, 4), bias=st.booleans())


def test_pixel_norm_gives_every_row_a_mean_square_of_1():
    y = net_of(PixelNorm())(normal(5, 7) * np.array([[1e-2], [1], [10], [100], [1e5]]))
    np.testing.assert_allclose((y**2).mean(axis=1), [1 - 1e-4 * 1.6, 1, 1, 1, 1], atol=2e-4)


def test_a_row_of_zeros_stays_finite():
    net = net_of(PixelNorm())
    np.testing.assert_array_equal(net.forward(np.zeros((2, 3))), 0)
    np.testing.assert_allclose(net.backward(np.ones((2, 3))), 1e4)


def test_equalised_dense_keeps_the_mean_square_behind_a_relu():
    """He et al. 2015, equation 10: half of the mean square is lost in the ReLU, and c^2 n_in = 2."""
    layers = [layer for _ in range(6) for layer in (EqualisedDense(400, 400), LeakyReLU(0))]
    y = net_of(*layers)(normal(50, 400))
    assert 0.3 < (y**2).mean() < 3
    np.testing.assert_allclose(layers[0].W.var(), 1, rtol=0.02)


def test_equalised_dense_is_dense_with_scaled_weights():
    ours, plain, x = net_of(EqualisedDense(5, 3)), net_of(Dense(5, 3)), normal(4, 5)
    c = (2 / 5) ** 0.5
    plain.layers[0].W[...], plain.layers[0].b[...] = c * ours.layers[0].W, 0.5
    ours.layers[0].b[...] = 0.5
    np.testing.assert_allclose(ours.forward(x), plain.forward(x))
    np.testing.assert_allclose(ours.backward(np.cos(x[:, :3])), plain.backward(np.cos(x[:, :3])))
    np.testing.assert_allclose(ours.layers[0].dW, c * plain.layers[0].dW)
    np.testing.assert_allclose(ours.layers[0].db, plain.layers[0].db)


def test_a_gradient_penalty_can_go_through_each_layer():
    """gradcheck checks tangent and tangent_backward of a layer that offers them."""
    for layer in (PixelNorm(), EqualisedDense(4, 3)):
        names = {row.name for row in gradcheck(layer, normal(5, 4), training=True)}
        assert {'J v', 'J v by x', 'J v by v'} <= names


def test_pixel_norm_against_autograd():
    autograd.assert_same(PixelNorm(), lambda x: x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt(),
                         normal(5, 4), normal(5, 4, seed=1))


def test_equalised_dense_against_autograd():
    autograd.assert_same(EqualisedDense(4, 3), lambda x, W, b: x @ (W * (2 / 4) ** 0.5) + b,
                         normal(5, 4), normal(5, 3, seed=1))
