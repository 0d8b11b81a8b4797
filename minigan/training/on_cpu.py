"""Training with native twins, checked against NumPy: after the same steps, every bit is the same."""

from minigan import data
from minigan.checks.row import Row
from minigan.native.check import differing
from minigan.native.twins import use
from minigan.networks import RECIPES
from minigan.training.build import build_game
from minigan.training.config import Config
from minigan.training.on_gpu import STEPS, trained


def rows():
    """A Row for each network: in how many of its numbers native twins and NumPy differ after STEPS steps."""
    dataset = data.load('digits')
    for network, recipe in RECIPES.items():
        config, arrays = Config(network=network).resolve(recipe, dataset), []
        for native in (False, True):
            use(native)
            game = build_game(config, recipe, dataset)
            for t in range(STEPS):
                game.step(t)
            arrays.append(tuple(trained(game).values()))
        yield Row(f'{STEPS} steps of {network}', differing(*arrays), 0)
