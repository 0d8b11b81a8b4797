"""Are R ranks one process? The same steps on 2, 3 and 4 ranks and on one, and how far apart they end.

    python bench/bench_ranks.py            60 steps of every network and many choices: about 3 minutes
    python bench/bench_ranks.py --only wgan dcgan

The ranks take turns in one process (minigan/parallel/in_turn.py): it is the arithmetic of processes under MPI, and
needs none. The table has the largest difference between what training changes, and D's last answers, on the ranks and
on one process, relative to the largest number of its array. The ranks have the same bits among themselves, or no result
is printed. a last bit: how far apart two single processes end, all parameters of one of which began a unit in the last
place higher. So much does a game itself enlarge a rounding error: at its own rates dcgan does so tenfold every 8 steps.
In float32, slopes of LeakyReLU are 0.9999, as in `minigan selftest`: a unit within a rounding error of its kink can
land on either side of it.

A minibatch has 16 rows, or 12 for 3 ranks. With the hinge loss the derivative of D's last bias is 1 - 1 while no margin
is reached. 16 terms of 1 / 16 add up to 1 without a rounding error, and 24 of 1 / 24 do not: Adam divides what is left
by its eps, and only that bias and the answers end further apart ("spectral, 24 rows"). A D of blocks has as many
blocks as there are ranks.
A full run writes bench/results/ranks.json and puts the table into bench/README.md.
"""

import argparse
from dataclasses import replace

import numpy as np
from harness import describe, load, markdown, save, update_table

from minigan import RECIPES, data
from minigan.backend import to_host
from minigan.gpu.compare import by_error, largest_difference
from minigan.native.twins import use
from minigan.networks import default_D
from minigan.parallel.in_turn import in_turn
from minigan.parallel.ranks import Ranks
from minigan.parallel.share import share
from minigan.training.build import build_game, recipe_of
from minigan.training.config import Config
from minigan.training.on_gpu import smooth, trained

STEPS, SIZES = 60, (2, 3, 4)
WHOLE = 'feature-matching', 'semisupervised', 'batchnorm-D'  # need a whole minibatch in one place
TENTH = {'learning_rate_G': 1.2e-3, 'learning_rate_D': 1.5e-4}  # of dcgan's rates
CASES = {  # name -> choices of Config, and under 'recipe' changes of the recipe
    **{name: {'network': name} for name in RECIPES if name not in WHOLE},
    'cycle': {'network': 'cycle', 'cycle': 'digits/plain', 'data': 'digits/rotated', 'identity_weight': 1.0},
    'progressive': {'network': 'progressive', 'epochs': 2},
    'conditional': {'conditional': True}, 'pack 2': {'pack': 2}, 'clip_norm': {'clip_norm': 0.1},
    'input_noise, k 2': {'input_noise': 0.5, 'k': 2}, 'hinge': {'objective': 'hinge'},
    'minimax, label_smoothing': {'objective': 'minimax', 'label_smoothing': 0.1},
    'simultaneous, input_noise': {'update': 'simultaneous', 'input_noise': 0.3},
    'constant': {'schedule': 'constant'},
    'constant, rates / 10': {'schedule': 'constant', 'learning_rate_G': 4e-4, 'learning_rate_D': 1e-4},
    'wgan, dropout': {'network': 'wgan', 'recipe': {'D': default_D}}, 'wgan, conditional': {'network': 'wgan',
                                                                                            'conditional': True},
    'wgan, pack 2': {'network': 'wgan', 'pack': 2}, 'wgan, input_noise': {'network': 'wgan', 'input_noise': 0.5},
    'dcgan, rates / 10': {'network': 'dcgan', **TENTH}, 'dcgan, conditional': {'network': 'dcgan', 'conditional': True},
    'dcgan, conditional, rates / 10': {'network': 'dcgan', 'conditional': True, **TENTH},
    'spectral, 24 rows': {'network': 'spectral'}}
BLOCKS = {'minibatch-stddev': 50, 'minibatch-discrimination': 50, 'progressive': 10}  # rows that D reads together


def rows(case, size):
    """m of a case on this number of ranks."""
    if case in BLOCKS:
        return BLOCKS[case] * size
    return 24 if case == 'spectral, 24 rows' else 12 if size == 3 else 16


def described(case, m, dtype=np.float64):
    """(config, recipe, dataset) of a case with minibatches of m rows; in float32, with slopes of nearly 1."""
    choices = dict(CASES[case])
    changes = choices.pop('recipe', {})
    config = Config(batch=m, **choices)
    dataset = data.load(config.data, config.cycle)
    recipe = replace(recipe_of(config, dataset), **changes)
    if dtype == np.float32:
        recipe = replace(recipe, G=smooth(recipe.G), D=smooth(recipe.D))
    return config.resolve(recipe, dataset), recipe, dataset


def play(description, size, steps, dtype, *, prepare=None, xp=np):
    """name -> array after these steps on `size` ranks: what training changes, and D's last answers.

    prepare(game): called before step 0. Raises AssertionError unless all ranks have the same bits.
    """
    def work(comm):
        game, ranks = build_game(*description, xp, dtype=dtype), Ranks(comm)
        if prepare:
            prepare(game)
        if size > 1:
            share(game, ranks)
        for t in range(steps):
            logits = game.step(t)
        return trained(game) | {'answers': np.concatenate([to_host(ranks.rows(part)) for part in logits])}

    first, *others = in_turn(size, work)
    for other in others:
        for name, array in first.items():
            assert np.array_equal(array, other[name]), f'{name}: the ranks differ'
    return first


def raise_a_bit(game):
    """Replace each parameter by the next larger number."""
    for _, net, _ in game.players():
        net.theta[...] = np.nextafter(net.theta, np.inf, dtype=net.dtype)


def apart(ours, theirs):
    """The Difference of two results of play that is largest."""
    return max((largest_difference(ours[name], theirs[name], name) for name in theirs), key=by_error)


def measure(case, steps=STEPS):
    """A row of the table: head -> error."""
    row = {}
    for dtype, sizes in ((np.float64, SIZES), (np.float32, SIZES[:1])):
        alone = {}
        for size in sizes:
            m = rows(case, size)
            description = described(case, m, dtype)
            alone[m] = alone.get(m) or play(description, 1, steps, dtype)
            row[f'{size}, {dtype.__name__}'] = apart(play(description, size, steps, dtype), alone[m]).error
        moved = play(description, 1, steps, dtype, prepare=raise_a_bit)
        row[f'a last bit, {dtype.__name__}'] = apart(moved, alone[m]).error
    return row


def table(content):
    """The table of bench/README.md."""
    heads = [*next(iter(content['runs'].values()))]
    found = [[case, *(f'{row[head]:.0e}' for head in heads)] for case, row in content['runs'].items()]
    return markdown(['', *heads], found) + f"\n\n*{describe(content['machine'])}.*"


def main():
    """Parse the arguments, measure, print, and after a full run write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='*', default=list(CASES), choices=list(CASES), metavar='CASE')
    options, found = parser.parse_args(), {}
    use(False)  # native twins compute in float32 alone, and give the same bits
    for case in options.only:
        found[case] = measure(case)
        print(case, {head: f'{value:.1e}' for head, value in found[case].items()}, flush=True)
    if list(found) == list(CASES):
        save('ranks', {'steps': STEPS, 'runs': found})
        update_table('bench_ranks', table(load('ranks')))


if __name__ == '__main__':
    main()
