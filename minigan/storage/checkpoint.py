"""The arrays of a game in a checkpoint.

    G.theta, G.state, G.m, G.v, G.t    the generator's parameters, moving averages, and Adam's moments and steps
                                       (no G.m where beta1 is 0; G.velocity in place of G.m and G.v where SGDMomentum
                                       trains it)
    D.theta ... D.t                    the discriminator's
    F.theta ..., D_X.theta ...         those of a cycle's game back (variants/cycle.py)
    average.theta, average.state       the average of the generator, where there is one: samples are drawn with it
    run.*                              the state of the run (training/state.py): steps done, rows of the log, ...
"""

import math

import numpy as np

from minigan.backend import array_module, to_host
from minigan.net import Net, parts
from minigan.storage.archive import require
from minigan.streams import Streams
from minigan.variants import RECIPES, choose
from minigan.variants.cycle import CycleGame


def snapshot(game):
    """name -> array: copies, on the host, of all that steps change. Random numbers follow from the number of steps."""
    arrays = {}
    for name, net, optimizer in game.players():
        for key, array in _buffers(net, optimizer).items():
            arrays[f'{name}.{key}'] = np.array(to_host(array))
        arrays[f'{name}.t'] = np.array(optimizer.t, np.int64)
    return arrays


def size(game):
    """The bytes of the large arrays in a snapshot, counted without making one."""
    return sum(array.nbytes for _, net, optimizer in game.players() for array in _buffers(net, optimizer).values())


def restore(game, arrays):
    """Put a snapshot back. Raises ValueError, and changes nothing, when its arrays do not fit the game."""
    fitting = [(array, require(arrays, f'{name}.{key}', array.shape, array.dtype))
               for name, net, optimizer in game.players() for key, array in _buffers(net, optimizer).items()]
    steps = [int(require(arrays, f'{name}.t', (), np.int64)) for name, *_ in game.players()]
    for name, _, optimizer in game.players():
        if 'v' in optimizer.buffers and (arrays[f'{name}.v'] < 0).any():
            raise ValueError(f'{name}.v: expected sums of squares, got numbers below 0')
    for array, saved in fitting:
        array[...] = array_module(array).asarray(saved)
    for (_, net, optimizer), t in zip(game.players(), steps):
        optimizer.t = t
        net.version += 1


def nets(arrays, about):
    """The Net of each player, on the host. Raises ValueError as net does."""
    names = ('G', 'D', 'F', 'D_X') if translates(about) else ('G', 'D')
    return [net(arrays, about, name) for name in names]


def translates(about):
    """Whether a checkpoint is of a cycle, whose G translates images. Raises ValueError as recipe_of does."""
    return issubclass(recipe_of(about)[0].game, CycleGame)


def net(arrays, about, name):
    """The Net called 'G', 'D', 'F', 'D_X' or 'average' (of G) in a checkpoint, on the host.

    Raises ValueError when the arrays do not fit the network that the checkpoint names.
    """
    recipe, n_z, shape = recipe_of(about)
    layers = recipe.D(shape) if name in ('D', 'D_X') else recipe.G(n_z, shape)
    parameters = sum(math.prod(shape) for _, layer in parts(layers) for shape in layer.shapes.values())
    theta = require(arrays, f'{name}.theta', (parameters,), np.float32)  # before a claimed size is allocated
    built = Net(layers, rng=Streams(0).at('init', 0), name=name)
    built.theta[...], built.state[...] = theta, require(arrays, f'{name}.state', built.state.shape, np.float32)
    return built


def recipe_of(about):
    """(recipe, n_z, shape) that a checkpoint names. Raises ValueError unless both networks can be built from them."""
    try:
        config, shape, fractions = about['config'], tuple(about['images']['shape']), about.get('classes', ())
        network, n_z, pack = config['network'], config['n_z'], config.get('pack', 1)
        right = [type(size) is int and size > 0 for size in (n_z, pack, *shape)]
        right += [type(fraction) is float and 0 <= fraction <= 1 for fraction in fractions]
        right += [not fractions or any(fractions)]
        if network in RECIPES and (len(shape) == 2 or len(shape) == 3 and shape[2] == 3) and all(right):
            return choose(network, fractions=tuple(fractions), pack=pack), n_z, shape
        got = f'{network!r}, {n_z!r} and {shape}'
    except (KeyError, TypeError) as error:
        got = f'{type(error).__name__}: {error}'
    raise ValueError(f'expected a network of {", ".join(RECIPES)}, a width of z and the shape of an image, got {got}')


def _buffers(net, optimizer):
    return {'theta': net.theta, 'state': net.state, **{name: getattr(optimizer, name) for name in optimizer.buffers}}
