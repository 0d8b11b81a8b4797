"""R ranks of m / R rows each are one game of m rows: what of a game is different on each of them.

    rows       rank r has rows r m / R, ..., (r + 1) m / R - 1 of every minibatch, of its noise, and of its dropout
    batch norm takes the statistics of all ranks' rows, forwards and backwards
    dtheta     is averaged over the ranks, before it is clipped and before the optimiser moves theta

A loss is a mean over rows, so the mean of the ranks' derivatives is the derivative of one process. All else is the same
on every rank: the starting values, the moments and theta, to the last bit. Nothing is sent but dtheta and the
statistics. Goyal et al. 2017, section 3.
"""

from minigan.gan import Game
from minigan.layers import BatchNorm, Dropout, Noise
from minigan.net import Net, parts
from minigan.parallel.batchnorm import RankBatchNorm
from minigan.parallel.streams import RankStreams
from minigan.variants.cycle import CycleGame
from minigan.variants.minibatch import InBlocks
from minigan.variants.progressive import ProgressiveGame
from minigan.variants.wasserstein import WassersteinGame

GAMES = Game, WassersteinGame, CycleGame, ProgressiveGame  # all their losses are means over rows


class RankNet(Net):
    """A Net that tells the random numbers how many minibatches it reads as one. m: rows of one, on this rank."""

    def forward(self, x, *, rng=None, **options):
        """As Net.forward."""
        if not hasattr(rng, 'blocks'):
            return super().forward(x, rng=rng, **options)
        rng.blocks = len(x) // self.m
        try:
            return super().forward(x, rng=rng, **options)
        finally:
            rng.blocks = 1


def share(game, ranks):
    """Turn a game of m rows into this rank's part of it, with m / R rows.

    Raises ValueError, and changes nothing, for an m that R does not divide, and for what needs a whole minibatch in one
    place.
    """
    if type(game) not in GAMES:
        raise ValueError(f'{type(game).__name__} takes means over a whole minibatch: expected one process, got '
                         f'{ranks.size}')
    if game.m % ranks.size:
        raise ValueError(f'batch: expected a multiple of {ranks.size}, the number of processes, got {game.m}')
    m = game.m // ranks.size
    for _, net, _ in game.players():
        _check(net, m, ranks)
    for part in (game, game.back) if type(game) is CycleGame else (game,):
        part.m, part.streams = m, RankStreams(part.streams, ranks)
        part.minibatch.part = slice(ranks.rank * m, (ranks.rank + 1) * m)
    for _, net, optimizer in game.players():
        for layer in mixing(net.layers):
            layer.__class__, layer.ranks = RankBatchNorm, ranks
        net.__class__, net.m, net.layers_in_training = RankNet, m, net.layers  # a fused layer draws its own bits
        optimizer.step = _averaging(optimizer, ranks)


def mixing(layers):
    """The layers that compare the rows of a whole minibatch; those inside an InBlocks stay in their block."""
    for layer in layers:
        if layer.layers and type(layer) is not InBlocks:
            yield from mixing(layer.layers)
        elif layer.mixes_rows:
            yield layer


def _check(net, m, ranks):
    """Raise ValueError for layers that give other numbers when they read m rows of a minibatch and not all."""
    for _, layer in parts(net.layers):
        kept = [inner for _, inner in parts(layer.layers) if inner.state_shapes or isinstance(inner, (Dropout, Noise))]
        if type(layer) is InBlocks and kept:
            raise ValueError(f'{layer} in {net.name}: {kept[0]} depends on the order of the blocks: expected one '
                             f'process, got {ranks.size}')
    for layer in mixing(net.layers):
        if type(layer) is not BatchNorm:
            raise ValueError(f'{layer} in {net.name} compares the rows of a whole minibatch: expected one process, got '
                             f'{ranks.size}')
    for layer in net.layers:
        if m % layer.block:
            raise ValueError(f'batch: expected a multiple of {layer.block * ranks.size}, as {layer} in {net.name} '
                             f'reads {layer.block} rows together in each of {ranks.size} processes, got '
                             f'{m * ranks.size}')


def _averaging(optimizer, ranks):
    """A step of the optimiser, which clips and moves, along the mean of the ranks' derivatives."""
    step = optimizer.step

    def average_and_step():
        ranks.average_(optimizer.net.dtheta)
        step()
    return average_and_step
