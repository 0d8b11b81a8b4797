"""Training on a GPU against a CPU: the same steps on both, and how far they are apart."""

from dataclasses import replace

import numpy as np

from minigan import data
from minigan.checks.row import Row
from minigan.gpu.compare import by_error, largest_difference
from minigan.layers import LeakyReLU
from minigan.networks import RECIPES
from minigan.training.config import Config
from minigan.training.run import build_game

STEPS = 100
DRIFT = 1e-3  # how far two float32 runs may part in that many steps


def compare_training(xp, steps, **choices):
    """The same steps on the CPU and with xp: parameters, moments and moving averages afterwards. choices: of Config.

    With Adam at gentle rates: large ones, as the default has, would carry rounding far within a hundred steps.
    """
    recipe = RECIPES[choices.get('network', 'default')]
    gentle = {'learning_rate_G': 2e-4, 'learning_rate_D': 2e-4, 'beta1': 0.5} if recipe.takes_beta1 else {}
    dataset, config = data.load('digits'), Config(**{**gentle, **choices})
    recipe = replace(recipe, G=smooth(recipe.G), D=smooth(recipe.D))
    config = config.resolve(recipe, dataset)
    games = [build_game(config, recipe, dataset, module) for module in (xp, np)]
    for t in range(steps):
        for game in games:
            game.step(t)
    ours, theirs = (trained(game) for game in reversed(games))
    found = max((largest_difference(theirs[name], ours[name], name) for name in ours), key=by_error)
    return Row(f'{steps} steps of {config.network}, against the CPU', found.error, DRIFT, found.where)


def trained(game):
    """name -> each array that training changes."""
    players = ('G', game.G, game.optimizer_G), ('D', game.D, game.optimizer_D)
    return {f'{player} {name}': getattr(owner, name) for player, net, optimizer in players
            for owner, names in ((net, ('theta', 'state')), (optimizer, optimizer.buffers)) for name in names}


def smooth(build):
    """A recipe's G or D with slopes of nearly 1.

    A unit within rounding of its kink may fall on either side of it, and from there on two right runs part.
    """
    return lambda *sizes: [LeakyReLU(0.9999) if isinstance(layer, LeakyReLU) else layer for layer in build(*sizes)]


def rows(xp):
    """A Row for each network, with xp, which is cupy."""
    for network in RECIPES:
        yield compare_training(xp, STEPS, network=network)
