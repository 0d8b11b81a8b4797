"""R ranks are one process: after the same steps every parameter, moment, moving average and answer is the same."""

from dataclasses import replace
from functools import cache

import bench_ranks
import numpy as np
import pytest
from bench_ranks import CASES, SIZES, WHOLE, apart, described, play
from support.nets import game_of

from minigan import RECIPES, BatchNorm, Dense, Dropout, LeakyReLU, data
from minigan.parallel.in_turn import in_turn
from minigan.parallel.ranks import ALONE, Ranks
from minigan.parallel.share import share
from minigan.training import Config
from minigan.training.build import build_game, recipe_of
from minigan.training.on_gpu import trained
from minigan.variants.minibatch import InBlocks, MinibatchDiscrimination, MinibatchStddev

FEW, LIMIT = 6, 1e-12
ROUNDED = 'spectral, 24 rows'
STEPS = {('default', 2): 60, ('wgan, dropout', 3): 60, ('spectral', 4): 60, ('progressive', 4): 40,  # to its whole size
         **{('progressive', size): 20 for size in (2, 3)},  # while its second size fades in
         **{(heavy, size): 2 for heavy in ('goodfellow2014', 'minibatch-stddev', 'minibatch-discrimination')
            for size in SIZES}}


@cache
def alone(case, m, steps):
    return play(described(case, m), 1, steps, np.float64)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('case', [case for case in CASES if case != ROUNDED])
def test_ranks_are_one_process_and_have_the_same_bits(case, size):
    m, steps = bench_ranks.rows(case, size), STEPS.get((case, size), FEW)
    found = apart(play(described(case, m), size, steps, np.float64), alone(case, m, steps))
    assert found.error < LIMIT, found


@pytest.mark.parametrize('case', ['default', 'wgan, dropout', 'dcgan'])
def test_in_float32_ranks_are_as_far_from_one_process_as_sums_in_a_different_order_are(case):
    """A sum of n numbers has a rounding error of some sqrt(n) 2^-24, and n is 1,000 here: 2e-6. Slopes are nearly 1:
    a unit within a rounding error of its kink can land on either side of it."""
    ranks, one = (play(described(case, 16, np.float32), size, FEW, np.float32) for size in (2, 1))
    assert 0 < apart(ranks, one).error < 2e-5


def test_of_24_rows_only_the_bias_whose_derivative_is_a_rounding_error_ends_further_apart():
    description = described(ROUNDED, 24)
    ranks, one = (play(description, size, FEW, np.float64) for size in (2, 1))
    gap = abs(ranks['D theta'] - one['D theta'])
    assert gap[-1] > 100 * gap[:-1].max()  # D's last bias stands last
    for found in (ranks, one):
        found['D theta'] = found['D theta'][:-1]
        del found['answers']  # it is added to all of them
    assert apart(ranks, one).error < LIMIT


def test_every_network_is_proved_or_refused():
    assert {choices.get('network', 'default') for choices in CASES.values()} | {*WHOLE} == {*RECIPES}


def test_one_rank_that_shares_is_one_process_too():
    description = described('default', 16)
    game, shared = build_game(*description, dtype=np.float64), build_game(*description, dtype=np.float64)
    share(shared, ALONE)
    for t in range(3):
        game.step(t)
        shared.step(t)
    assert apart(trained(shared), trained(game)).error < LIMIT


def everything(game):
    """What share changes, and the bits of all arrays."""
    seen = [(part.m, part.streams, getattr(part.minibatch, 'part', None), vars(part).keys())
            for part in (game, getattr(game, 'back', game))]
    seen += [(type(net), net.layers_in_training, vars(net).keys(), vars(optimizer).keys(),
              [type(layer) for layer in net.layers]) for _, net, optimizer in game.players()]
    return seen, {name: array.tobytes() for name, array in trained(game).items()}


def refused(game, size, message):
    """Whether each of `size` ranks refuses to share the game in these words and leaves it as it is."""
    before = everything(game)

    def work(comm):
        with pytest.raises(ValueError, match=message) as raised:
            share(game, Ranks(comm))
        return '\n' not in str(raised.value)
    return all(in_turn(size, work)) and everything(game) == before


@pytest.mark.parametrize('network, choices, message', [
    ('feature-matching', {}, '^FeatureMatchingGame takes means over a whole minibatch: expected one process, got 2$'),
    ('semisupervised', {'labelled': 20}, '^SemiSupervisedGame takes means over a whole minibatch: expected one proces'),
    ('batchnorm-D', {}, r'^InBlocks\(BatchNorm\(256\), 50\) in D: BatchNorm\(256\) depends on the order of the b'),
    ('default', {'batch': 25}, '^batch: expected a multiple of 2, the number of processes, got 25$'),
    ('cycle', {'batch': 25}, '^batch: expected a multiple of 2, the number of processes, got 25$'),
    ('minibatch-stddev', {'batch': 50},
     r'^batch: expected a multiple of 100, as InBlocks\(MinibatchStddev\(\), 50\) in D reads 50 rows .* got 50$'),
    ('default', {'batch': 50, 'pack': 2}, r'^batch: expected a multiple of 4, as Pack\(2\) in D reads 2 rows')])
def test_what_ranks_cannot_share_is_refused_in_one_line_and_nothing_changes(network, choices, message):
    pair = {'cycle': 'digits/plain', 'data': 'digits/rotated'} if network == 'cycle' else {}
    config = Config(network=network, **{'batch': 100, **choices, **pair})
    dataset = data.load(config.data, config.cycle)
    recipe = recipe_of(config, dataset)
    assert refused(build_game(config.resolve(recipe, dataset), recipe, dataset), 2, message)


@pytest.mark.parametrize('player, layers, message', [
    ('G', lambda: [Dense(4, 6), MinibatchStddev(), Dense(7, 6)], 'MinibatchStddev.* in G compares the rows of a whole'),
    ('G', lambda: [MinibatchDiscrimination(4, 3, 2), Dense(7, 6)], 'in G compares the rows of a whole minibatch: exp'),
    ('D', lambda: [Dense(6, 5), InBlocks(Dropout(0.5), 2), Dense(5, 1)], r'in D: Dropout\(0.5\) depends on the order'),
    ('D', lambda: [InBlocks(MinibatchStddev(), 4), Dense(7, 1)],
     'a multiple of 8, as .* reads 4 rows together in each of 2 processes, got 4')])
def test_layers_that_need_all_rows_in_one_place_are_refused(player, layers, message):
    recipe = replace(RECIPES['default'], G=lambda n_z, shape: [Dense(4, 6), BatchNorm(6), LeakyReLU(0.2)],
                     D=lambda shape: [Dense(6, 1)])
    changed = {player: (lambda n_z, shape: layers()) if player == 'G' else lambda shape: layers()}
    assert refused(game_of(replace(recipe, **changed), m=4), 2, message)
