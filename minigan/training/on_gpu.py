"""Training on a GPU, checked against a CPU: the same steps on both, and how far apart they end."""

from dataclasses import replace

import numpy as np

from minigan import data
from minigan.checks.row import Row
from minigan.gpu.compare import by_error, largest_difference
from minigan.layers import LeakyReLU
from minigan.networks import RECIPES
from minigan.training.build import build_game
from minigan.training.config import Config

STEPS = 100
DRIFT = 1e-3  # how far apart two float32 runs may be after that many steps


def compare_training(xp, steps, **choices):
    """A Row for the same steps on the CPU and with xp: parameters, moments and moving averages afterwards.

    choices: fields of Config. Adam gets small learning rates: with larger ones, such as the default's, rounding errors
    grow large within a hundred steps.
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

    A unit within rounding error of its kink can land on either side of it, after which two correct runs diverge.
    """
    return lambda *sizes: [LeakyReLU(0.9999) if isinstance(layer, LeakyReLU) else layer for layer in build(*sizes)]


def rows(xp):
    """A Row for each network, with xp, which is cupy."""
    for network in RECIPES:
        yield compare_training(xp, STEPS, network=network)
