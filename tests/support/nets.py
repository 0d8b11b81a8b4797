"""Small nets, numbers and games for the tests of layers."""

import numpy as np

from minigan import Adam, Game, Net, Streams


def net_of(*layers, dtype=np.float64, seed=0):
    return Net(list(layers), rng=Streams(seed).at('init', 0), dtype=dtype)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def game_of(recipe, *, m=20, seed=0, dtype=np.float32, shape=(2, 3), **changes):
    """The Game of a recipe with 6 pixels."""
    streams = Streams(seed)
    G = Net(recipe.G(4, shape), rng=streams.at('init', 0, 0), name='G', dtype=dtype)
    D = Net(recipe.D(shape), rng=streams.at('init', 0, 1), name='D', dtype=dtype)
    data = np.tanh(normal(200, 6)).astype(dtype)
    return Game(G, D, Adam(G, learning_rate=1e-3), Adam(D, learning_rate=1e-3),
                lambda j: data[np.arange(j * m, (j + 1) * m) % 200], streams, m=m, n_z=4, **changes)
