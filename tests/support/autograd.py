"""A layer against PyTorch's automatic differentiation, in float64."""

import numpy as np
import pytest

from minigan import Net, Streams


def torch():
    """PyTorch; without it, the test is skipped."""
    return pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')


def assert_same(layer, theirs, x, dy):
    """y, dx and the parameters' derivatives are those of autograd. theirs: a function of x and the parameters."""
    net, tensor = Net([layer], rng=Streams(0).at('init', 0), dtype=np.float64), torch().tensor
    net.theta += 0.1 * np.random.default_rng(0).standard_normal(net.theta.shape)
    given = {name: tensor(getattr(layer, name).copy(), requires_grad=True) for name in layer.shapes}
    leaf = tensor(x, requires_grad=True)
    expected = theirs(leaf, **given)
    expected.backward(tensor(dy))
    np.testing.assert_allclose(net.forward(x), expected.detach().numpy(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(net.backward(dy), leaf.grad.numpy(), rtol=1e-11, atol=1e-12)
    for name, parameter in given.items():
        np.testing.assert_allclose(getattr(layer, f'd{name}'), parameter.grad.numpy(), rtol=1e-11, atol=1e-12)
