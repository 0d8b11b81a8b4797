"""The host's time for a step, in microseconds: kernels are launched or replayed, and do not run.

    PYTHONPATH=tests python -m support.driver.host_time [launches] [replay]

The stand-in for the driver costs next to nothing; a real one adds a few microseconds to every launch.
"""

import itertools
import sys
import time

from support.driver.install import Driver

from minigan import data
from minigan.networks import RECIPES
from minigan.training.build import build_game
from minigan.training.config import Config


def microseconds(function, *, calls=100, rounds=7):
    """The least time of a call on the CPU, whatever else the machine does, over rounds of many calls."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(calls):
            function()
        times.append(time.process_time() - start)
    return 1e6 * min(times) / calls


def game(xp, network):
    """The players of a network on the digits, as training makes them."""
    dataset, config, recipe = data.load('digits'), Config(network=network), RECIPES[network]
    return build_game(config.resolve(recipe, dataset), recipe, dataset, xp)


def step(way, game):
    """The function that takes a step: by 'launches', or by 'replay' of a graph."""
    if way == 'launches':
        return game.step
    from minigan.gpu.graph import StepGraph
    return StepGraph(game).step


def main(ways):
    """Print a line for each network and way."""
    driver = Driver(executes=False)
    for network in RECIPES:
        for way in ways:
            take, numbers = step(way, game(driver.cupy, network)), itertools.count()
            for _ in range(4):
                take(next(numbers))
            counts = driver.costs(take, next(numbers))
            counted = ', '.join(f'{number} {what}' for what, number in counts.items())
            print(f'{network:15} {way:9} {microseconds(lambda: take(next(numbers))):7.0f} us a step: {counted}')


if __name__ == '__main__':
    main(sys.argv[1:] or ['launches'])
