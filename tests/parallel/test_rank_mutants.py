"""Mistakes of data-parallel code are planted in the source, and then small ranks are no longer one process."""

import os

import numpy as np
import pytest
from support import planting

from minigan import Adam, BatchNorm, Dense, Dropout, Game, LeakyReLU, Net, Streams
from minigan.data import Minibatches
from minigan.layers import Noise
from minigan.parallel.in_turn import in_turn
from minigan.parallel.ranks import Ranks
from minigan.parallel.share import share
from minigan.variants.wasserstein import WassersteinGame

STEPS = 3
KINDS = {  # the game and its settings, and what gradients are clipped to: that hides a wrong factor
    'game': (Game, {}, 0.05), 'critic': (WassersteinGame, {'objective': 'wasserstein', 'gradient_penalty': 1.0}, None)}


def small(kind, m):
    """A game of 6 pixels in float64, and m rows, with all that depends on rows: batch norm, dropout, noise, a penalty.

    D has no bias: where as many data as samples pass a unit, its derivative is a rounding error, which Adam enlarges.
    """
    streams, (game, settings, clip_norm) = Streams(3), KINDS[kind]
    images = np.random.default_rng(0).integers(0, 256, (40, 6), np.uint8)
    layers = {'G': [Dense(4, 5, bias=False), BatchNorm(5), LeakyReLU(0.2), Dense(5, 6)],
              'D': [Noise(lambda t: 0.3), Dense(6, 8, bias=False), LeakyReLU(0.2), Dropout(0.3),
                    Dense(8, 1, bias=False)]}
    G, D = (Net(layers[name], rng=streams.at('init', 0, i), name=name, dtype=np.float64) for i, name in enumerate('GD'))
    optimizers = [Adam(net, learning_rate=0.01, beta1=0.5, clip_norm=clip_norm) for net in (G, D)]
    return game(G, D, *optimizers, Minibatches(images, m, streams, dtype=np.float64), streams, m=m, n_z=4, **settings)


def played(kind, size, m):
    """[(theta, state, m, v) of both players, end to end, and the logits of all rows] on each rank."""
    def work(comm):
        game, ranks = small(kind, m), Ranks(comm)
        if size > 1:
            share(game, ranks)
        for t in range(STEPS):
            logits = [ranks.rows(part) for part in game.step(t)]
        return np.concatenate([array.ravel() for _, net, optimizer in game.players()
                               for array in (net.theta, net.state, optimizer.m, optimizer.v)] +
                              [part.ravel() for part in logits])
    return in_turn(size, work)


@pytest.mark.parametrize('size, m', [(2, 16), (3, 12)])  # as in bench_ranks.py
@pytest.mark.parametrize('kind', KINDS)
def test_small_ranks_are_one_process(kind, size, m):
    one, = played(kind, 1, m)
    first, *others = played(kind, size, m)
    assert all((other == first).all() for other in others)
    np.testing.assert_allclose(first, one, rtol=0, atol=1e-12)


DTHETA = 'ranks.average_(optimizer.net.dtheta)'
SUMS = 'sums = self.ranks.sum(ops.stack(dgamma[None], dbeta[None])) / (self.ranks.size * len(dy))'
MUTANTS = {  # what is wrong -> file, function, line of code, what it is instead; and the kind that notices
    'every rank has the same noise': (
        'streams', 'at', 'if stream not in SHARED:', "if stream != 'dropout':", 'game'),
    'every rank has the same dropout': ('streams', 'at', 'if stream not in SHARED:', "if stream != 'noise':", 'game'),
    'every rank has the same e of the penalty': (
        'streams', 'uniform', 'return self._read(Rng.uniform, shape, UNIFORMS, dtype)',
        'return Rng.uniform(self, shape, dtype)', 'critic'),
    'data and samples are one block of dropout': (
        'share', 'forward', 'rng.blocks = len(x) // self.m', 'rng.blocks = 1', 'game'),
    'blocks last beyond a forward': ('share', 'forward', 'rng.blocks = 1', 'pass', 'critic'),
    'every rank has the same rows of data': (
        'share', 'share', 'part.minibatch.part = slice(ranks.rank * m, (ranks.rank + 1) * m)',
        'part.minibatch.part = slice(0, m)', 'game'),
    'derivatives are added': (
        'share', 'average_and_step', DTHETA, 'optimizer.net.dtheta[...] = ranks.sum(optimizer.net.dtheta)', 'critic'),
    'derivatives are divided twice': ('share', 'average_and_step', DTHETA,
                                      f'{DTHETA}; optimizer.net.dtheta /= ranks.size', 'critic'),
    'derivatives are clipped before they are averaged': (
        'share', 'average_and_step', DTHETA,
        f'from minigan import ops; ops.clip_norm_(optimizer.net.dtheta, limit=optimizer.clip_norm); {DTHETA}', 'game'),
    'derivatives are averaged after the step': (
        'share', 'average_and_step', DTHETA, f'step(); {DTHETA}; return', 'game'),
    'only D is averaged': ('share', 'average_and_step', DTHETA, f"optimizer.net.name == 'D' and {DTHETA}", 'game'),
    'only G is averaged': ('share', 'average_and_step', DTHETA, f"optimizer.net.name == 'G' and {DTHETA}", 'game'),
    'batch norm is local': ('share', 'share', 'layer.__class__, layer.ranks = RankBatchNorm, ranks', 'pass', 'game'),
    'var lacks the spread of the means': (
        'batchnorm', 'forward', 'var = (every[:, 1] + (every[:, 0] - mu)**2).mean(axis=0)',
        'var = every[:, 1].mean(axis=0)', 'game'),
    'var has the spread around the own mean': (
        'batchnorm', 'forward', 'var = (every[:, 1] + (every[:, 0] - mu)**2).mean(axis=0)',
        'var = (every[:, 1] + (own - mu)**2).mean(axis=0)', 'game'),
    'moving averages are local': (
        'batchnorm', 'forward', 'ops.moving_average_(self.moving_mean, mu, momentum=self.momentum)',
        'ops.moving_average_(self.moving_mean, own, momentum=self.momentum)', 'game'),
    'batch norm divides by m and not by R m': (
        'batchnorm', 'backward', SUMS,
        SUMS.replace('self.ranks.size * ', ''), 'game'),
    'batch norm has sums of its own rows alone': (
        'batchnorm', 'backward', SUMS,
        'sums = ops.stack(dgamma[None], dbeta[None]) / len(dy)', 'game'),
    'gamma and beta have the sums of all ranks': (
        'batchnorm', 'backward', 'return dx - self.gamma * rstd * (xhat * sums[0] + sums[1]) if input_grad else None',
        'self.dgamma[...], self.dbeta[...] = sums * self.ranks.size * len(dy); '
        'return dx - self.gamma * rstd * (xhat * sums[0] + sums[1]) if input_grad else None', 'game'),
    'ranks are gathered in a different order': (
        'ranks', 'rows', 'return array if self.size == 1 else self.gather(array).reshape(-1, *array.shape[1:])',
        'return array if self.size == 1 else self.gather(array)[::-1].reshape(-1, *array.shape[1:])', 'game')}
ENTRIES = [(f'parallel/{file}.py', function, code, wrong,
            [f'tests/parallel/test_rank_mutants.py::test_small_ranks_are_one_process[{kind}-3-12]'])
           for file, function, code, wrong, kind in MUTANTS.values()]
NONE = [*ENTRIES[0][:3], ENTRIES[0][2], ['tests/parallel/test_rank_mutants.py::test_small_ranks_are_one_process']]


@pytest.fixture(scope='module')
def outcomes(tmp_path_factory):
    """[exit code of pytest, names of exceptions] with each mutant, and without any."""
    if not hasattr(os, 'fork'):
        pytest.skip('no fork on this system')
    return planting.outcomes([*ENTRIES, NONE], tmp_path_factory.mktemp('planting'))


@pytest.mark.parametrize('number', range(len(MUTANTS)), ids=list(MUTANTS))
def test_a_planted_mistake_is_noticed(outcomes, number):
    assert outcomes[number] == [1, ['AssertionError']]


def test_without_one_small_ranks_are_one_process(outcomes):
    assert outcomes[-1] == [0, []]
