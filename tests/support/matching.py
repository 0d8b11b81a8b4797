"""Small players of feature matching in float64, and the check that an update follows the gradient of a loss."""

import numpy as np

from minigan import BatchNorm, Dense, Dropout, LeakyReLU, Net, Noise, SGDMomentum, Streams, Tanh
from minigan.checks.derivatives import check
from minigan.variants.semisupervised import LogSumExp, SemiSupervisedGame, WeightNormDense

M, N_Z, N, K, LABELLED = 6, 3, 4, 3, 5


def make(kind=SemiSupervisedGame, classes=K, optimizer=SGDMomentum, learning_rate=1, noise=0.3, end=None, **settings):
    streams = Streams(0)
    G = Net([Dense(N_Z, 5, bias=False), BatchNorm(5), LeakyReLU(0.2), Dense(5, N), Tanh()],
            rng=streams.at('init', 0, 0), name='G', dtype=np.float64)
    if end is None:
        end = [Dense(7, classes), LogSumExp()] if issubclass(kind, SemiSupervisedGame) else [Dense(7, 1)]
    D = Net([Noise(lambda t: noise), WeightNormDense(N, 7, g=1.3), LeakyReLU(0.1),
             Dropout(noise), Noise(lambda t: noise), *end], rng=streams.at('init', 0, 1), name='D', dtype=np.float64)
    for i, net in enumerate((G, D)):
        net.theta += 0.1 * streams.at('check', i).normal(net.theta.shape, np.float64)  # no gamma = 1, no b = 0
    if issubclass(kind, SemiSupervisedGame):
        settings = {'labelled': labelled(classes), **settings}
    return kind(G, D, optimizer(G, learning_rate=learning_rate), optimizer(D, learning_rate=learning_rate),
                lambda j: streams.at('data', j).normal((M, N), np.float64), streams, m=M, n_z=N_Z, **settings)


def labelled(classes=K):
    return Streams(1).at('data', 0).normal((LABELLED, N), np.float64), np.arange(LABELLED) % classes


def drawn(game, i=0):
    """x, z and a function that returns the random numbers of a step, always from their start."""
    return game.minibatch(0), game.noise(0, i), lambda: game.layer_rng(0, i)


def assert_follows(net, loss, update):
    """update moves theta by -1 times the gradient that central differences of the loss give."""
    before = net.theta.copy()
    update()
    step = before - net.theta
    net.theta[...] = before
    check(lambda: np.array([loss()]), lambda u: {'theta': u * step}, {'theta': net.theta}).assert_ok()
