"""W / sigma has a largest singular value of 1, and its derivative is that of what forward computes."""

import copy

import numpy as np
import pytest
from hypothesis import strategies as st
from support import autograd
from support.nets import net_of, normal

from minigan import LeakyReLU, laws
from minigan.variants.spectral import SpectralDense, norm

test_spectral_laws = laws.hold_for(SpectralDense, n_out=st.integers(1, 4), bias=st.booleans())


def converge(net, steps=500):
    for _ in range(steps):
        net.forward(np.zeros((1, net.layers[0].n_in)), keep_cache=False)


def sigma(layer):
    """The estimate that a forward of the layer uses."""
    v = layer.W @ layer.u
    return norm(v / norm(v) @ layer.W)


@pytest.mark.parametrize('n_in, n_out', [(6, 4), (4, 6), (5, 1), (1, 5)])
def test_the_largest_singular_value_of_W_over_sigma_is_1(n_in, n_out):
    layer = SpectralDense(n_in, n_out)
    net = net_of(layer)
    converge(net)
    np.testing.assert_allclose(np.linalg.svd(layer.W / sigma(layer), compute_uv=False)[0], 1, rtol=1e-10)
    np.testing.assert_allclose(net(np.eye(n_in)), layer.W / sigma(layer), rtol=1e-12)


def test_sigma_is_never_above_the_largest_singular_value():
    layer = SpectralDense(6, 4)
    net = net_of(layer)
    largest, before = np.linalg.svd(layer.W, compute_uv=False)[0], 0
    for _ in range(30):
        assert before <= sigma(layer) <= largest * (1 + 1e-12)
        before = sigma(layer) * (1 - 1e-12)
        net.forward(normal(2, 6), keep_cache=False)


def test_a_converged_spectral_dense_stretches_nothing():
    net = net_of(SpectralDense(6, 40), LeakyReLU(0.2), SpectralDense(40, 3))
    for _ in range(500):
        net.forward(normal(2, 6), keep_cache=False)
    x, y = normal(30, 6), normal(30, 6, seed=1)
    assert (np.linalg.norm(net(x) - net(y), axis=1) <= np.linalg.norm(x - y, axis=1) * (1 + 1e-9)).all()


def test_each_forward_in_training_moves_u_and_evaluation_does_not():
    layer = SpectralDense(6, 4)
    net, x = net_of(layer), normal(2, 6)
    start = layer.u.copy()
    first = net(x)
    np.testing.assert_array_equal(layer.u, start)
    np.testing.assert_array_equal(net.forward(x, keep_cache=False), first)  # the mode does not change y
    expected = layer.W @ start @ layer.W
    np.testing.assert_allclose(layer.u, expected / norm(expected))
    twin = copy.deepcopy(net)
    twin.forward(x, keep_cache=False)
    assert abs(twin.layers[0].u - layer.u).max() > 1e-3


def test_the_scale_of_W_does_not_matter():
    layer = SpectralDense(6, 4, bias=False)
    net, x = net_of(layer), normal(5, 6)
    y, u = net(x), layer.u.copy()
    net.forward(x)
    net.backward(normal(5, 4))
    np.testing.assert_allclose((layer.dW * layer.W).sum(), 0, atol=1e-12)
    layer.W *= 7
    layer.u[...] = u
    np.testing.assert_allclose(net(x), y)


def test_the_papers_derivative_holds_once_u_has_converged():
    """Miyato et al. 2018, equation 12: dW = (x^T dy - lambda v u^T) / sigma."""
    layer = SpectralDense(6, 4)
    net, x, dy = net_of(layer), normal(5, 6), normal(5, 4, seed=1)

    def papers():
        U, S, V = np.linalg.svd(layer.W)
        y = x @ layer.W / S[0]
        return (x.T @ dy - (dy * y).sum() * np.outer(U[:, 0], V[0])) / S[0]

    net.forward(x)
    net.backward(dy)
    assert abs(layer.dW - papers()).max() > 1e-3
    converge(net)
    net.forward(x)
    net.backward(dy)
    np.testing.assert_allclose(layer.dW, papers(), atol=1e-10)


def test_spectral_dense_against_autograd_through_the_power_iteration():
    torch = autograd.torch()
    layer, normalize = SpectralDense(4, 3), lambda a: a / a.norm()

    def theirs(x, W, b):
        v = normalize(W @ torch.tensor(layer.u.copy()))
        return x @ W / (v @ W @ normalize(v @ W)) + b

    autograd.assert_same(layer, theirs, normal(5, 4), normal(5, 3, seed=1))


def test_spectral_dense_against_pytorchs_spectral_norm():
    torch = autograd.torch()
    layer, x, dy = SpectralDense(6, 4), normal(5, 6), normal(5, 4, seed=1)
    net = net_of(layer)
    linear = torch.nn.Linear(6, 4, dtype=torch.float64)
    with torch.no_grad():
        linear.weight[...], linear.bias[...] = torch.tensor(layer.W.T.copy()), 0.25
    layer.b[...] = 0.25
    theirs = torch.nn.utils.parametrizations.spectral_norm(linear)
    converge(net)
    for _ in range(500):
        theirs(torch.zeros(1, 6, dtype=torch.float64))
    leaf = torch.tensor(x, requires_grad=True)
    expected = theirs(leaf)
    expected.backward(torch.tensor(dy))
    np.testing.assert_allclose(net.forward(x), expected.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(net.backward(dy), leaf.grad.numpy(), rtol=1e-10)
    np.testing.assert_allclose(layer.dW, linear.parametrizations.weight.original.grad.numpy().T, atol=1e-10)
    np.testing.assert_allclose(layer.db, linear.bias.grad.numpy())
