"""Every derivative of this package, put through gradcheck: what `minigan gradcheck` prints and the tests assert.

Nothing here is trained. A case is a name and a function from a seed to a Report.
"""

from functools import partial
from math import prod

import numpy as np

from minigan import losses, ops
from minigan.checks.derivatives import TOLERANCE, Report, check
from minigan.checks.differences import Finding, relative
from minigan.checks.gradcheck import gradcheck
from minigan.layers import BatchNorm, Dense, Dropout, Layer, LeakyReLU, Maxout, Noise, Scale, Sequential, Sigmoid, Tanh
from minigan.net import Net, views
from minigan.networks import RECIPES
from minigan.optim import Adam, SGDMomentum
from minigan.streams import Streams
from minigan.variants import dcgan
from minigan.variants.convolution import AveragePool, Patches, Rows, Unpatches, Upscale
from minigan.variants.cycle import Residual
from minigan.variants.minibatch import InBlocks, MinibatchDiscrimination, MinibatchStddev
from minigan.variants.normalisation import EqualisedDense, PixelNorm
from minigan.variants.packing import Pack
from minigan.variants.spectral import SpectralDense

SHAPE, COLOURS, ROWS = (28, 28), (4, 8, 3), 6


class Embedding(Layer):
    """y = E[x]: for each integer of x, a row of E (classes, n)."""

    takes_integers = True

    def __init__(self, classes, n):
        self.shapes = {'E': (classes, n)}

    def init(self, rng):
        self.E[...] = rng.normal(self.E.shape, self.E.dtype)

    def forward(self, x, *, training, rng):
        self.cache = x
        return self.E[x]

    def backward(self, dy, *, param_grads, input_grad):
        self.dE[...] = 0
        np.add.at(self.dE, self.cache, dy)  # a class may occur more than once


def cases():
    """(name, case) for every layer, loss, network and optimiser, and for the generator through the discriminator."""
    for layer in (Dense(6, 4), Dense(6, 4, bias=False), Dense(6, 6), BatchNorm(6), LeakyReLU(0.2), Maxout(3),
                  Scale(2, -1), Dropout(0.3), Noise(lambda t: 0.5), Tanh(), Sigmoid(), Sequential(Dense(6, 5), Tanh()),
                  Residual(Dense(6, 5, bias=False), BatchNorm(5), LeakyReLU(0.2), Dense(5, 6)),
                  MinibatchStddev(), MinibatchDiscrimination(6, 3, 2), InBlocks(BatchNorm(6), 3), Pack(2), PixelNorm(),
                  EqualisedDense(6, 4), SpectralDense(6, 4)):
        for training in (True, False):
            yield f'{layer}, {mode(training)}', partial(layer_case, layer, 6, training)
    for layer in (Patches((3, 4, 2), 3, stride=2, pad=1), Unpatches((3, 4, 2), 3, stride=2, pad=1), Upscale((1, 3, 2)),
                  AveragePool((1, 3, 2)), Rows(6)):
        yield f'{layer}', partial(layer_case, layer, layer.size, True)
    yield 'Embedding', lambda seed: gradcheck(Embedding(4, 3), np.array([0, 3, 3, 1]), seed=seed)
    yield 'L_D, smoothing 0.1', partial(discriminator_loss_case, 'minimax', smoothing=0.1)
    for objective in losses.OBJECTIVES:
        yield f'L_D {objective}', partial(discriminator_loss_case, objective)
        yield f'L_G {objective}', partial(generator_loss_case, objective)
    yield 'softmax_cross_entropy', classifier_loss_case
    networks = [(network, recipe, SHAPE) for network, recipe in RECIPES.items()]
    for network, recipe, shape in (*networks, ('dcgan', dcgan.RECIPES['dcgan'], COLOURS)):
        for training in (True, False):
            yield f'{network} G, {mode(training)}', partial(network_case, recipe, 'G', training, shape=shape)
            yield f'{network} D, {mode(training)}', partial(network_case, recipe, 'D', training, shape=shape)
        for objective in losses.OBJECTIVES:
            yield f'{network} L_G {objective} through D', partial(composite_case, recipe, objective, shape=shape)
    settings = {'beta1': 0.5, 'beta2': 0.9, 'eps': 0.01}
    yield 'Adam, five steps against its paper', partial(optimizer_case, Adam, plain_adam, settings)
    settings = {'momentum': 0.7}
    yield 'SGDMomentum, five steps against its equation', partial(optimizer_case, SGDMomentum, plain_sgd, settings)


def mode(training):
    """The mode's name."""
    return 'training' if training else 'evaluation'


def layer_case(layer, width, training, seed):
    """gradcheck of a layer, or of a Net."""
    return gradcheck(layer, np.random.default_rng(seed).standard_normal((ROWS, width)), training=training, seed=seed)


def network_case(recipe, player, training, seed, *, shape=SHAPE, fuse=None):
    """A whole network of a recipe; fuse: see Net."""
    net = build(recipe, player, seed, shape=shape, fuse=fuse)
    return layer_case(net, recipe.n_z if player == 'G' else prod(shape), training, seed)


def build(recipe, player, seed, *, shape=SHAPE, fuse=None):
    """G or D of a recipe, in float64, away from gamma = 1 and b = 0, which would hide a wrong term."""
    layers = recipe.G(recipe.n_z, shape) if player == 'G' else recipe.D(shape)
    net = Net(layers, rng=Streams(seed).at('init', 0, int(player == 'D')), name=player, dtype=np.float64, fuse=fuse)
    net.theta += 0.1 * np.random.default_rng(seed).standard_normal(net.theta.shape)
    return net


def discriminator_loss_case(objective, seed, **smoothing):
    """L_D with respect to D's logits for data and for samples."""
    (real, fake), of = np.random.default_rng(seed).standard_normal((2, ROWS, 1)), losses.OBJECTIVES[objective]

    def backward(u):
        dreal, dfake = of.L_D_backward(real, fake, **smoothing)
        return {'real': u * dreal, 'fake': u * dfake}

    return check(lambda: np.array([of.L_D(real, fake, **smoothing)]), backward,
                 {'real': real, 'fake': fake}, seed=seed)


def generator_loss_case(objective, seed):
    """L_G with respect to D's logits for samples."""
    fake, of = np.random.default_rng(seed).standard_normal((ROWS, 1)), losses.OBJECTIVES[objective]
    return check(lambda: np.array([of.L_G(fake)]), lambda u: {'fake': u * of.L_G_backward(fake)}, {'fake': fake},
                 seed=seed)


def classifier_loss_case(seed):
    """The loss of the classifier that judges samples, with respect to its logits."""
    rng = np.random.default_rng(seed)
    logits, labels = rng.standard_normal((ROWS, 10)), rng.integers(0, 10, ROWS)
    return check(lambda: np.array([ops.softmax_cross_entropy(logits, labels)]),
                 lambda u: {'logits': u * ops.softmax_cross_entropy_backward(logits, labels)}, {'logits': logits},
                 seed=seed)


def composite_case(recipe, objective, seed, *, shape=SHAPE):
    """L_G with respect to theta_G, for the networks of a recipe."""
    G, D = (build(recipe, player, seed, shape=shape) for player in 'GD')
    return through_D(G, D, objective, ROWS, recipe.n_z, seed)


def through_D(G, D, objective, m, n_z, seed):
    """L_G with respect to theta_G, through a fixed D: what a G step follows."""
    z, of = np.random.default_rng(seed).standard_normal((m, n_z)), losses.OBJECTIVES[objective]
    state = D.state.copy()

    def logits(keep_cache=False):
        D.state[...] = state
        return D.forward(G.forward(z, keep_cache=keep_cache), rng=Streams(seed).at('dropout', 0), keep_cache=keep_cache)

    def backward(u):
        G.dtheta[...] = np.nan
        G.backward(D.backward(u * of.L_G_backward(logits(keep_cache=True)), param_grads=False), input_grad=False)
        return views(G.dtheta, G.slots)

    return check(lambda: np.array([of.L_G(logits())]), backward, views(G.theta, G.slots), seed=seed)


def optimizer_case(optimizer, plain, settings, seed):
    """An optimiser has no derivative: five of its in-place steps against the equations of its paper."""
    rng = np.random.default_rng(seed)
    net = Net([Dense(5, 4)], rng=Streams(seed).at('init', 0), dtype=np.float64)
    start, gradients = net.theta.copy(), rng.standard_normal((5, net.theta.size))
    moving = optimizer(net, learning_rate=0.1, **settings)
    for gradient in gradients:
        net.dtheta[...] = gradient
        moving.step()
    moved, v = plain(gradients, 0.1, **settings), rng.standard_normal(start.shape)
    expected, got = np.sum(v * moved), np.sum(v * (net.theta - start))
    error = relative(expected, got)
    return Report([Finding('theta', expected, got, error, 'ok' if error <= TOLERANCE['float64']['any'] else 'wrong')])


def plain_adam(gradients, learning_rate, beta1, beta2, eps):
    """The sum of Adam's steps: Kingma & Ba 2015, Algorithm 1, with both corrected moments written out."""
    m = v = moved = 0
    for t, g in enumerate(gradients, 1):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        moved = moved - learning_rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return moved


def plain_sgd(gradients, learning_rate, momentum):
    """The sum of the steps of gradient descent with momentum."""
    velocity = moved = 0
    for g in gradients:
        velocity = momentum * velocity - learning_rate * g
        moved = moved + velocity
    return moved
