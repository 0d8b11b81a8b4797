"""A run: epochs around Algorithm 1, with a log, pictures and a generator to keep."""

import csv
import json
import math
import platform
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

import minigan
from minigan import checkpoint, data, losses, ops
from minigan.backend import keep_freed_memory, select_device, to_host
from minigan.gan import Game
from minigan.net import Net
from minigan.networks import RECIPES
from minigan.optim import Adam
from minigan.streams import Streams

GLANCE = 10  # steps between two looks at the losses and the gradients
COLUMNS = ('V', 'L_D', 'L_G', 'D_x', 'D_G_z')


@dataclass(frozen=True)
class Config:
    """What a run is: every choice that shapes its result. None stands for the network's own setting.

    epochs None: enough for about 8,000 steps of D, and at least 25. out None: a new folder runs/DATA-NETWORK.
    samples_every None: a tenth of the epochs. The first and the last epoch always have a picture.
    """

    network: str = 'default'
    data: str = 'digits'
    epochs: int = None
    batch: int = None
    k: int = 1
    learning_rate_G: float = None
    learning_rate_D: float = None
    beta1: float = None
    objective: str = None
    update: str = None
    seed: int = 0
    device: str = 'cpu'
    samples_every: int = None
    out: str = None

    def resolve(self, recipe, dataset):
        """The same with every None replaced. Raises ValueError for numbers of epochs below 1."""
        batch = self.batch if self.batch is not None else recipe.batch
        chosen = {'batch': batch, 'learning_rate_G': recipe.learning_rate, 'learning_rate_D': recipe.learning_rate,
                  'beta1': recipe.beta1, 'objective': recipe.objective, 'update': recipe.update,
                  'epochs': max(25, math.ceil(8000 / max(1, len(dataset.train) // max(1, batch))))}
        config = replace(self, **{name: value for name, value in chosen.items() if getattr(self, name) is None})
        if config.epochs < 1:
            raise ValueError(f'epochs: expected at least 1, got {config.epochs}')
        if config.samples_every is None:
            config = replace(config, samples_every=max(1, config.epochs // 10))
        if config.samples_every < 1:
            raise ValueError(f'samples_every: expected at least 1 epoch, got {config.samples_every}')
        return config


def build_game(config, recipe, dataset, xp=np):
    """The Game that a resolved config describes, ready for step 0. Raises ValueError for a choice out of range."""
    keep_freed_memory()
    streams = Streams(config.seed, xp=xp)
    minibatches = data.Minibatches(dataset.train, config.batch, streams)
    n = dataset.train.shape[1]
    G = Net(recipe.G(recipe.n_z, n), rng=streams.at('init', 0, 0), name='G', xp=xp)
    D = Net(recipe.D(n), rng=streams.at('init', 0, 1), name='D', xp=xp)
    settings = {'beta1': config.beta1, 'eps': recipe.eps}
    for name in ('learning_rate_G', 'learning_rate_D'):  # Adam would not know whose it is
        if not getattr(config, name) > 0:
            raise ValueError(f'{name}: expected a number > 0, got {getattr(config, name)}')
    return Game(G, D, Adam(G, learning_rate=config.learning_rate_G, **settings),
                Adam(D, learning_rate=config.learning_rate_D, **settings), minibatches, streams,
                m=config.batch, n_z=recipe.n_z, k=config.k, objective=config.objective, update=config.update)


def train(config, *, quiet=False):
    """Train as the config says and return the run's folder. Nothing is written before every choice is checked.

    The folder holds config.json, log.csv (a row an epoch), samples/epoch-*.png (always from the same z)
    and real.png to compare, losses.png and generator.npz. The same config gives the same bytes, but for the
    seconds in the log.
    Raises ValueError for a choice out of range or bad data, OSError when the folder cannot be written.
    """
    xp, device = select_device(config.device)
    dataset, recipe = data.load(config.data), _recipe(config.network)
    config = config.resolve(recipe, dataset)
    dataset = replace(dataset, train=xp.asarray(dataset.train), validation=xp.asarray(dataset.validation))
    game = build_game(config, recipe, dataset, xp)
    from minigan import plots  # matplotlib takes half a second to import, and a bad flag should not wait for it
    folder = _create_folder(config, dataset)
    _describe(folder, config, game, dataset, device)
    if config.device != 'cpu' and not quiet:
        print(device, file=sys.stderr)
    plots.sample_grid(folder / 'samples' / 'real.png', to_host(dataset.train[:64]) / 127.5 - 1, dataset.shape)
    z = game.streams.at('sample', 0).normal((64, recipe.n_z))
    rows, started = [], time.perf_counter()
    with open(folder / 'log.csv', 'w', newline='') as file, _bar(config, game, quiet) as bar:
        for epoch in range(1, config.epochs + 1):
            row = {'epoch': epoch, 'step': epoch * _steps(game), **_train_epoch(game, epoch, bar),
                   **_evaluate(game, dataset), 'seconds': time.perf_counter() - started}
            rows.append(row)
            _log(file, row)
            if epoch in (1, config.epochs) or epoch % config.samples_every == 0:
                path = folder / 'samples' / f'epoch-{epoch:04}.png'
                plots.sample_grid(path, to_host(game.G(z)), dataset.shape)
    plots.loss_curves(folder / 'losses.png', rows)
    checkpoint.save_generator(folder / 'generator.npz', game.G, network=config.network, n_z=recipe.n_z,
                              shape=dataset.shape, data=dataset.name, epochs=config.epochs, seed=config.seed)
    return folder


def _recipe(network):
    if network not in RECIPES:
        raise ValueError(f'network: expected one of {", ".join(RECIPES)}, got {network!r}')
    return RECIPES[network]


def _steps(game):
    """Iterations an epoch: D reads the training images once, k minibatches an iteration."""
    return max(1, game.minibatch.per_epoch // game.k)


def _create_folder(config, dataset):
    """config.out, which must be new or empty; without one, the first free name among runs/DATA-NETWORK[-2, -3, ...]."""
    if config.out is None:
        name, number = f'{dataset.name}-{config.network}', 1
        while (folder := Path('runs') / (name if number == 1 else f'{name}-{number}')).exists():
            number += 1
    else:
        folder = Path(config.out)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f'out: expected a new or empty folder, got {folder}, which is neither')
    (folder / 'samples').mkdir(parents=True)
    return folder


def _describe(folder, config, game, dataset, device):
    about = {'config': {**asdict(config), 'out': str(folder)},
             'images': {'shape': dataset.shape, 'train': len(dataset.train), 'validation': len(dataset.validation),
                        'test': len(dataset.test)},
             'parameters': {'G': game.G.theta.size, 'D': game.D.theta.size},
             'versions': {'minigan': minigan.__version__, 'numpy': np.__version__,
                          'python': platform.python_version(), 'platform': platform.platform()},
             'device': device}
    (folder / 'config.json').write_text(json.dumps(about, indent=2) + '\n')


def _bar(config, game, quiet):
    seconds = 0.2 if sys.stderr.isatty() else 10  # between two updates; a log file wants fewer
    return tqdm(total=config.epochs * _steps(game), disable=quiet, mininterval=seconds, unit='step')


def _train_epoch(game, epoch, bar):
    """Run an epoch's iterations. Returns the gradients' norms, averaged over the steps that were looked at."""
    steps, looks, norms = _steps(game), 0, 0
    for t in range((epoch - 1) * steps, epoch * steps):
        logits = game.step(t)
        bar.update()
        if t % GLANCE == 0 or t == epoch * steps - 1:
            looks, norms = looks + 1, norms + np.array([float(game.G.dtheta_norm()), float(game.D.dtheta_norm())])
            bar.set_postfix({'epoch': epoch, **means(game, *logits)}, refresh=False)
    return dict(zip(('gradient_norm_G', 'gradient_norm_D'), norms / looks))


def _evaluate(game, dataset):
    """The game's value on both splits, both players in evaluation mode: up to 2,000 images and as many samples.

    Both splits are measured on equally many images, so that only what D has memorised sets them apart.
    """
    rows, values = game.streams.xp.arange(min(2000, len(dataset.validation), len(dataset.train))), {}
    fake = game.D(game.G(game.streams.at('sample', 1).normal((len(rows), game.n_z))))
    for split in ('train', 'validation'):
        x = ops.gather_images(getattr(dataset, split), rows, game.D.dtype)
        values |= {f'{split}_{column}': value for column, value in means(game, game.D(x), fake, fake).items()}
    return values


def means(game, real, fake, fake_G):
    """V, L_D, L_G and D's mean answers, as floats."""
    V = float(losses.V(real, fake))
    L_G = losses.OBJECTIVES[game.objective][0](fake_G)
    answers = float(ops.sigmoid(real).mean()), float(ops.sigmoid(fake).mean())
    return dict(zip(COLUMNS, (V, -V, float(L_G), *answers)))


def _log(file, row):
    """Add the row to the CSV file, and the column names before the first."""
    writer = csv.DictWriter(file, row)
    if file.tell() == 0:
        writer.writeheader()
    writer.writerow({name: value if isinstance(value, int) else f'{value:.6g}' for name, value in row.items()})
    file.flush()
