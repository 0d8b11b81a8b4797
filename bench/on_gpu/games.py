"""The games whose steps are timed, and the matrix products of a step."""

from functools import cache

import candidates
import numpy as np
from candidates import NETWORKS, PRODUCTS, dataset, game

from minigan import RECIPES
from minigan.gpu.fusion import DenseLeakyReLU, DenseTanh, fuse
from minigan.training.build import build_game
from minigan.training.config import Config

FUSED = {DenseLeakyReLU: 'dense_leaky_relu_dropout', DenseTanh: 'dense_tanh'}
SHAPE = 28, 28
KINDS = dict(zip(PRODUCTS, ('y = x W', 'dx = dy W^T', 'dW = x^T dy')))


def game_of(network, m, xp):
    """A network's game on MNIST's size, ready for step 0; with plain Adam where the references have the network."""
    if network in NETWORKS:
        return game(m, xp=xp, network=network)
    images = dataset()
    return build_game(Config(network=network, batch=m).resolve(RECIPES[network], images), RECIPES[network], images, xp)


@cache
def products(network, m=4):
    """The products of a step, in order, each (kind, factor, n_in, n_out): of factor * batch rows. kind: in KINDS."""
    return [(kind, rows // m, n_in, n_out) for kind, rows, n_in, n_out in candidates.products(game_of(network, m, np))]


def fused(network):
    """The products that a GPU computes together with what follows them, each once, as products() has them."""
    recipe = RECIPES[network]
    for factor, layers in ((1, recipe.G(recipe.n_z, SHAPE)), (2, recipe.D(SHAPE))):
        for group in fuse(layers):
            if type(group) in FUSED:
                yield FUSED[type(group)], factor, group.dense.n_in, group.dense.n_out


def floor(network, m, limit):
    """The least seconds for what a step's products and its optimisers move and compute.

    limit: of clock.limits, medians. Returns name -> seconds.
    """
    work = moved = 0
    for _, factor, n_in, n_out in products(network):
        rows = factor * m
        work += 2 * rows * n_in * n_out
        moved += 4 * (rows * n_in + n_in * n_out + rows * n_out)
    one = game_of(network, 2, np)
    for optimizer in (one.optimizer_G, one.optimizer_D):
        moved += 4 * optimizer.net.theta.size * (3 + 2 * len(optimizer.buffers))
    bandwidth = max(limit['bytes/s'], limit['bytes/s, L2'])  # much of it may stay in the L2 cache
    return {'bytes / bandwidth': moved / bandwidth, 'FLOPs / peak': work / limit['FLOP/s']}
