"""From a Config to a Game: networks, optimisers with their schedules, minibatches, random numbers."""

from dataclasses import fields

import numpy as np

from minigan.backend import has_kernels
from minigan.data import Minibatches, class_fractions, few
from minigan.gan import Game
from minigan.gpu import fusion
from minigan.gpu.twins import compiled
from minigan.layers import Noise
from minigan.net import Net
from minigan.optim import linear_decay
from minigan.streams import Streams
from minigan.variants import choose
from minigan.variants.average import Average
from minigan.variants.conditional import fractions_of

WARMUP = 0.04  # fraction of a run during which the rates of a linear schedule rise: one epoch in 25


def recipe_of(config, dataset):
    """The Recipe that a config names, for a dataset. Raises DataError for a conditional one without labels."""
    return choose(config.network, fractions=class_fractions(dataset) if config.conditional else (), pack=config.pack)


def build_game(config, recipe, dataset, xp=np, *, dtype=np.float32):
    """The Game that a resolved config describes, ready for step 0. Raises ValueError for a choice out of range."""
    keep_freed_memory()
    streams = Streams(config.seed, xp=xp, kernels=compiled(xp))
    steps = config.epochs * config.steps_per_epoch(len(dataset.train))
    settings = {'m': config.batch, 'n_z': config.n_z, 'prior': recipe.prior, 'k': config.k,
                'objective': config.objective, 'update': config.update, 'smoothing': config.label_smoothing}
    known = {**vars(config), 'steps': steps}
    own = {field.name: known[field.name] for field in fields(recipe.game)[len(fields(Game)):] if field.name in known}
    if 'labelled' in own:
        if config.conditional:
            raise ValueError(f'conditional: expected none with {config.network}, whose D has to find the class')
        own['labelled'] = few(dataset, config.labelled, streams)
    if dataset.X:
        own['back'] = Game(*_players(config, recipe, dataset.X, steps, streams, {'F': 3, 'D_X': 4}, dtype), **settings)
    return recipe.game(*_players(config, recipe, dataset, steps, streams, {'G': 0, 'D': 1}, dtype), **settings, **own)


def _players(config, recipe, dataset, steps, streams, names, dtype):
    """Two nets, their optimisers, the minibatches and the streams of a Game. names: of the nets -> their substep."""
    xp, labels = streams.xp, dataset.labels[0] if config.conditional else None
    minibatches = Minibatches(dataset.train, config.batch, streams, labels, len(fractions_of(recipe)), dtype=dtype)
    fuse = fusion.fuse if has_kernels(xp.empty(0, np.float32)) else None
    noise = [Noise(linear_decay(config.input_noise, steps))] if config.input_noise else []
    G, D = (Net(layers, rng=streams.at('init', 0, substep), name=name, dtype=dtype, xp=xp, fuse=fuse)
            for layers, (name, substep) in zip((recipe.G(config.n_z, dataset.shape),
                                                [*noise, *recipe.D(dataset.shape)]), names.items()))
    rate_G, rate_D = config.learning_rate_G, config.learning_rate_D
    if config.schedule == 'linear':
        rate_G = linear_decay(rate_G, steps, warmup=WARMUP)
        rate_D = linear_decay(rate_D, steps * config.k, warmup=WARMUP)
    settings = {'beta1': config.beta1, 'clip_norm': config.clip_norm or None}
    return (G, D, recipe.make_optimizer(G, learning_rate=rate_G, **settings),
            recipe.make_optimizer(D, learning_rate=rate_D, **settings), minibatches, streams)


def build_average(config, recipe, dataset, game):
    """The Average of G that samples are drawn with; None when they are drawn with G itself."""
    if not config.average:
        return None
    layers, streams = recipe.G(config.n_z, dataset.shape), game.streams
    net = Net(layers, rng=streams.at('init', 0), name='average of G', xp=streams.xp)
    return Average(game.G, net, eta=config.average)


def keep_freed_memory():
    """Make the C library keep up to 64 MiB of freed memory for the next step instead of returning it.

    glibc returns freed blocks above 128 KiB to the kernel, and the next step pays for them in page faults. It keeps
    blocks up to the size of the largest block ever freed, at most 32 MiB, so a block of that size is freed here.
    """
    np.empty(2**25 - 2**13, np.uint8)
