"""Operations, networks and optimisers against an independent automatic differentiation, in float64."""

from math import prod

import numpy as np
import pytest

from minigan import (Adam, BatchNorm, Dense, Dropout, LeakyReLU, Maxout, Net, Scale, SGDMomentum, Sigmoid, Streams,
                     Tanh, losses, networks, ops)
from minigan.variants import RECIPES
from minigan.variants.convolution import Patches, Rows, Unpatches

torch = pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
M = 16
F = torch.nn.functional


def assert_same(ours, theirs, backward, **inputs):
    """Equal values, and equal derivatives along a random cotangent, with respect to every input."""
    leaves = {name: torch.tensor(a, requires_grad=True) for name, a in inputs.items()}
    y = theirs(**leaves)
    np.testing.assert_allclose(ours(**inputs), y.detach().numpy(), rtol=1e-12, atol=1e-13)
    u = np.random.default_rng(1).standard_normal(y.shape)
    y.backward(torch.tensor(u))
    for (name, leaf), derivative in zip(leaves.items(), backward(u, **inputs)):
        np.testing.assert_allclose(derivative, leaf.grad.numpy(), rtol=1e-11, atol=1e-12, err_msg=name)


@pytest.mark.parametrize('m, n', [(1, 1), (2, 5), (33, 17)])
def test_operations(m, n):
    rng = np.random.default_rng(0)
    x, W, b, u = rng.standard_normal((m, n)), rng.standard_normal((n, 4)), rng.standard_normal(4), rng.random((m, n))
    gamma, beta, mu, var = rng.standard_normal((4, n))
    var = var**2
    bits = (u * 2**16).astype(np.uint16)
    dropped, mask = torch.tensor(u) < 0.25, ops.dropout(x, bits, rate=0.25)[1]

    def dense_backward(dy, x, W, b):
        dW, db = np.empty_like(W), np.empty_like(b)
        ops.dense_backward_params_(dy, x, dW, db)
        return ops.dense_backward_input(dy, W), dW, db

    assert_same(ops.dense, lambda x, W, b: F.linear(x, W.T, b), dense_backward, x=x, W=W, b=b)
    assert_same(lambda x: ops.leaky_relu(x, slope=0.2), lambda x: F.leaky_relu(x, 0.2),
                lambda dy, x: [ops.leaky_relu_backward(dy, x, slope=0.2)], x=x)
    assert_same(lambda x: ops.scale(x, a=2, b=-1), lambda x: 2 * x - 1,
                lambda dy, x: [ops.scale_backward(dy, a=2)], x=x)
    pieces, ties = np.concatenate([x, x[:, ::-1], x], axis=1), lambda x: x.reshape(len(x), 3, -1).amax(dim=1)
    assert_same(lambda x: ops.maxout(x, pieces=3), ties,
                lambda dy, x: [ops.maxout_backward(dy, x, ops.maxout(x, pieces=3), pieces=3)], x=pieces)
    assert_same(lambda x: ops.dropout(x, bits, rate=0.25)[0], lambda x: torch.where(dropped, 0, x / 0.75),
                lambda dy, x: [ops.dropout_backward(dy, mask)], x=x)
    for name, backward in (('tanh', lambda dy, x: [ops.tanh_backward(dy, np.tanh(x))]),
                           ('sigmoid', lambda dy, x: [ops.sigmoid_backward(dy, ops.sigmoid(x))])):
        assert_same(getattr(ops, name), getattr(torch, name), backward, x=x)
    assert_same(ops.softplus, F.softplus, lambda dy, x: [ops.softplus_backward(dy, x)], x=x)
    assert_same(lambda x, gamma, beta: ops.batch_norm_evaluation(x, gamma, beta, mu, var, eps=1e-3)[0],
                lambda x, gamma, beta: F.batch_norm(x, torch.tensor(mu), torch.tensor(var), gamma, beta, eps=1e-3),
                lambda dy, x, gamma, beta: ops.batch_norm_evaluation_backward(
                    dy, gamma, ops.batch_norm_evaluation(x, gamma, beta, mu, var, eps=1e-3)[1]),
                x=x, gamma=gamma, beta=beta)
    if m > 1:
        assert_same(lambda x, gamma, beta: ops.batch_norm(x, gamma, beta, eps=1e-3)[0],
                    lambda x, gamma, beta: F.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-3),
                    lambda dy, x, gamma, beta: ops.batch_norm_backward(
                        dy, gamma, ops.batch_norm(x, gamma, beta, eps=1e-3)[1]), x=x, gamma=gamma, beta=beta)


def test_losses():
    """V and the losses as binary cross-entropy on logits, up to +-1e4."""
    real, fake = np.random.default_rng(0).standard_normal((2, M, 1)) * np.logspace(0, 4, M)[:, None]
    bce = F.binary_cross_entropy_with_logits

    def against(target, logits):
        return bce(logits, torch.full_like(logits, target))

    assert_same(losses.L_D, lambda real, fake: against(1, real) + against(0, fake),
                lambda u, real, fake: [u * d for d in losses.L_D_backward(real, fake)], real=real, fake=fake)
    for name, theirs in (('minimax', lambda fake: -against(0, fake)), ('nonsaturating', lambda fake: against(1, fake))):
        ours = losses.OBJECTIVES[name]
        assert_same(ours.L_G, theirs, lambda u, fake: [u * ours.L_G_backward(fake)], fake=fake)


def make(layers, substep, name):
    net = Net(layers, rng=Streams(1).at('init', 0, substep), name=name, dtype=np.float64)
    net.theta += 0.1 * np.random.default_rng(substep).standard_normal(net.theta.shape)  # no gamma = 1, no b = 0
    return net


def leaves(net):
    """The parameters as torch leaves, by slot name."""
    return {slot.name: torch.tensor(slot.of(net.theta), requires_grad=True) for slot in net.slots}


def conv2d(layer, x, W, b=None):
    """Patches and a Dense, in torch's layout: x (m, c, h, w), W (c_out, c, k, k). Rows of pixels come in and go out."""
    shape, k, stride, pad = layer.settings.values()
    W = W.reshape(k, k, shape[2], -1).permute(3, 2, 0, 1)
    return as_rows(F.conv2d(as_images(x, shape), W, b, stride=stride, padding=pad))


def conv_transpose2d(layer, x, W):
    """A Dense and Unpatches, in torch's layout: W (c_in, c_out, k, k)."""
    (*size, c), k, stride, pad = layer.settings.values()
    places = [(n + 2 * pad - k) // stride + 1 for n in size]
    left = [n + 2 * pad - k - stride * (m - 1) for n, m in zip(size, places)]  # pixels in which no patch ends
    W = W.reshape(-1, k, k, c).permute(0, 3, 1, 2)
    return as_rows(F.conv_transpose2d(as_images(x, (*places, W.shape[0])), W, stride=stride, padding=pad,
                                      output_padding=left))


def as_images(x, shape):
    return x.reshape(-1, *shape).permute(0, 3, 1, 2)


def as_rows(images):
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])


def replay(net, parameters, x, rng=None):
    """The net in training mode, written in torch's own operations. rng: for the masks of dropout layers."""
    layers, done = list(enumerate(net.layers, 1)), None
    for (number, layer), following in zip(layers, (*net.layers[1:], None)):
        W, b = (parameters.get(f'{number}.{type(layer).__name__}.{name}') for name in 'Wb')
        if layer is done:  # with the layer before it
            continue
        if isinstance(layer, Patches):
            W, b = (parameters.get(f'{number + 1}.Dense.{name}') for name in 'Wb')
            x, done = conv2d(layer, x, W, b), following
        elif isinstance(following, Unpatches):
            x, done = conv_transpose2d(following, x, W), following
        elif isinstance(layer, Dense):
            x = F.linear(x, W.T, b)
        elif isinstance(layer, Rows):
            x = x.reshape(-1, layer.size)
        elif isinstance(layer, BatchNorm):
            x = F.batch_norm(
                x, None, None, parameters[f'{number}.BatchNorm.gamma'], parameters[f'{number}.BatchNorm.beta'],
                training=True, eps=layer.eps)
        elif isinstance(layer, LeakyReLU):
            x = F.leaky_relu(x, layer.slope)
        elif isinstance(layer, Dropout):
            x = x * torch.tensor(ops.dropout(np.ones(x.shape), rng.bits(tuple(x.shape)), rate=layer.rate)[1])
        elif isinstance(layer, Maxout):
            x = x.reshape(len(x), layer.pieces, -1).amax(dim=1)
        elif isinstance(layer, Scale):
            x = layer.a * x + layer.b
        else:
            x = {Tanh: torch.tanh, Sigmoid: torch.sigmoid}[type(layer)](x)
    return x


def relative_errors(net, parameters):
    """name -> the largest error relative to the largest entry. A bias before a batch norm has no scale of its own:
    its exact gradient is 0, and it is measured against the gradient of the weights of its layer."""
    for slot in net.slots:
        ours, theirs = slot.of(net.dtheta), parameters[slot.name].grad.numpy()
        number = int(slot.name.split('.')[0])
        redundant = slot.name.endswith('Dense.b') and isinstance((net.layers[number:] or [None])[0], BatchNorm)
        scale = np.abs(parameters[f'{number}.Dense.W'].grad.numpy() if redundant else theirs).max()
        yield slot.name, np.abs(ours - theirs).max() / scale


@pytest.mark.parametrize('network, shape', [*((network, (28, 28)) for network in networks.RECIPES),
                                            ('dcgan', (28, 28)), ('dcgan', (4, 12, 3))])
@pytest.mark.parametrize('loss', ['L_D', 'minimax', 'nonsaturating'])
def test_every_gradient_of_both_networks(network, shape, loss):
    recipe, streams = RECIPES[network], Streams(0)
    G, D = make(recipe.G(100, shape), 0, 'G'), make(recipe.D(shape), 1, 'D')
    x = np.tanh(streams.at('data', 0).normal((M, prod(shape)), np.float64))
    z = streams.at('noise', 0).normal((M, 100), np.float64)
    theta_G, theta_D = leaves(G), leaves(D)
    samples, bce = replay(G, theta_G, torch.tensor(z)), F.binary_cross_entropy_with_logits
    ones = torch.ones(M, 1, dtype=torch.float64)
    rng, same = (streams.at('dropout', 0) for _ in range(2))
    fake = G.forward(z)
    if loss == 'L_D':
        logits = replay(D, theta_D, torch.cat([torch.tensor(x), samples.detach()]), same)
        theirs = bce(logits[:M], ones) + bce(logits[M:], 0 * ones)
        ours = D.forward(np.concatenate([x, fake]), rng=rng)
        D.backward(np.concatenate(losses.L_D_backward(ours[:M], ours[M:])))
        value, net, parameters = losses.L_D(ours[:M], ours[M:]), D, theta_D
    else:
        logits = replay(D, theta_D, samples, same)
        theirs = bce(logits, ones) if loss == 'nonsaturating' else -bce(logits, 0 * ones)
        ours = D.forward(fake, rng=rng)
        objective = losses.OBJECTIVES[loss]
        G.backward(D.backward(objective.L_G_backward(ours), param_grads=False))
        value, net, parameters = objective.L_G(ours), G, theta_G
    theirs.backward()
    np.testing.assert_allclose(value, theirs.item(), rtol=1e-12)
    errors = dict(relative_errors(net, parameters))
    print(f'\n{network}, {loss}: largest relative error {max(errors.values()):.1e}')
    assert max(errors.values()) < 1e-10, errors


def assert_same_net(net, theirs, x):
    """y, dx and the derivative of each parameter. theirs: a function of x and the parameters as a dict."""
    leaf, parameters = torch.tensor(x, requires_grad=True), leaves(net)
    expected = theirs(leaf, parameters)
    np.testing.assert_allclose(net.forward(x), expected.detach().numpy(), rtol=1e-12, atol=1e-13)
    u = np.random.default_rng(1).standard_normal(expected.shape)
    expected.backward(torch.tensor(u))
    np.testing.assert_allclose(net.backward(u), leaf.grad.numpy(), rtol=1e-11, atol=1e-12)
    for slot in net.slots:
        np.testing.assert_allclose(slot.of(net.dtheta), parameters[slot.name].grad.numpy(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize('shape, k, stride, pad', [
    ((6, 6, 1), 4, 2, 1), ((5, 8, 2), 3, 2, 0), ((7, 4, 3), 2, 3, 1), ((4, 5, 2), 1, 1, 0), ((4, 3, 1), 5, 4, 2)])
def test_convolutions(shape, k, stride, pad):
    c, n, rng = shape[2], 4, np.random.default_rng(0)
    forth = make([Patches(shape, k, stride=stride, pad=pad), Dense(k * k * c, n)], 0, 'forth')
    back = make([Dense(n, k * k * c, bias=False), Unpatches(shape, k, stride=stride, pad=pad)], 0, 'back')
    assert_same_net(forth, lambda x, of: conv2d(forth.layers[0], x, of['2.Dense.W'], of['2.Dense.b']),
                    rng.standard_normal((M, prod(shape))))
    assert_same_net(back, lambda x, of: conv_transpose2d(back.layers[1], x, of['1.Dense.W']),
                    rng.standard_normal((M * forth.layers[0].places, n)))


def test_batch_norm_of_pixels_is_that_of_channels():
    """As BatchNorm2d, but the moving average, too, is of the biased variance."""
    shape, rng = (3, 4, 5), np.random.default_rng(0)
    net, theirs = make([BatchNorm(5)], 0, 'norm'), torch.nn.BatchNorm2d(5, eps=1e-3, momentum=0.01, dtype=torch.float64)

    def normalised(x, of):
        images, gamma, beta = as_images(x, shape), of['1.BatchNorm.gamma'], of['1.BatchNorm.beta']
        return as_rows(F.batch_norm(images, theirs.running_mean, theirs.running_var, gamma, beta, training=True,
                                    momentum=theirs.momentum, eps=theirs.eps))

    x = 2 + 3 * rng.standard_normal((M * 12, 5))
    assert_same_net(net, normalised, x)
    unbiased = x.var(axis=0) / (len(x) - 1)
    mean, var = (slot.of(net.state) for slot in net.state_slots)
    np.testing.assert_allclose(mean, theirs.running_mean, rtol=1e-12)
    np.testing.assert_allclose(var + 0.01 * unbiased, theirs.running_var, rtol=1e-12)


@pytest.mark.parametrize('ours, theirs', [
    (lambda net: Adam(net, learning_rate=0.01, beta1=0.5, beta2=0.99, eps=1e-3),
     lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.5, 0.99), eps=1e-3)),
    (lambda net: SGDMomentum(net, learning_rate=0.01, momentum=0.7),
     lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.7))])
def test_optimisers_take_the_same_steps(ours, theirs):
    net = make([Dense(5, 7)], 0, 'net')
    theta = torch.tensor(net.theta)
    theta.requires_grad_()
    ours, theirs = ours(net), theirs([theta])
    for t in range(20):
        net.dtheta[...] = Streams(0).at('noise', t).normal(net.theta.size, np.float64)
        theta.grad = torch.tensor(net.dtheta)
        ours.step()
        theirs.step()
        np.testing.assert_allclose(net.theta, theta.detach().numpy(), rtol=1e-12, atol=1e-14)
