"""A run: epochs around Algorithm 1, with a log, pictures and checkpoints to go on from."""

import json
import math
import platform
import sys
import time
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minigan import __version__, data, losses, ops
from minigan.backend import array_module, keep_freed_memory, to_host
from minigan.gan import Game
from minigan.gpu import fusion
from minigan.gpu.device import select_device
from minigan.gpu.twins import compiled
from minigan.layers import Noise
from minigan.net import Net
from minigan.networks import RECIPES
from minigan.optim import Average, linear_decay
from minigan.storage import checkpoint
from minigan.storage.files import UNFINISHED, alone, replacing
from minigan.streams import Streams
from minigan.training import diagnosis
from minigan.training.config import Config
from minigan.training.log import COLUMNS, SPLIT, TensorBoard, as_array, as_rows, import_tensorboard, write_csv
from minigan.training.signals import Stopped, signals_received

WARMUP = 0.04  # fraction of a run in which the rates of a linear schedule rise: one epoch of 25
GLANCE = 10  # steps between two looks at the losses and the gradients


def train(config, *, quiet=False):
    """Train as the config says and return the run's folder. Nothing is written before every choice is checked.

    The folder holds last.npz and best.npz (checkpoints; best: nearest to the data, see metrics.py), config.json,
    log.csv (a row an epoch), samples/epoch-*.png (always from the same z) and real.png to compare, and losses.png.
    The same config gives the same parameters, pictures and log, but for the seconds.
    Raises ValueError for a choice out of range or bad data, OSError when the folder cannot be written, NotFinite when
    numbers overflow, Stopped after SIGINT or SIGTERM.
    """
    run = Run(config, quiet)
    run.folder = _create_folder(run.config, run.dataset)
    with alone(run.folder):
        run.save()
        return run.go()


def resume(folder, *, quiet=False, **changes):
    """Go on with the run in a folder from its last checkpoint, as if it had never stopped. Returns the folder.

    changes: epochs, device, data (where the same images lie now), save_every, tensorboard; all else is the run's own.
    Raises what train raises, and ValueError for a checkpoint that is damaged or for other images.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f'{folder}: expected the folder of a run, got none')
    with alone(folder):
        arrays, about = checkpoint.load(folder)
        with _naming(folder / checkpoint.LAST):
            config, sha256 = _described(about)
            for name in 'GD':
                checkpoint.net(arrays, about, name)  # refuses what does not fit before a claimed size is allocated
        run = Run(replace(config, **changes), quiet)
        with _naming(folder / checkpoint.LAST):
            run.restore(arrays, sha256)
        run.folder = folder
        return run.go()


class Run:
    """A game, what it is measured with, and how far it is.

    t: steps done. rows: of the log, one an epoch. Raises ValueError for a choice out of range or bad data.
    """

    def __init__(self, config, quiet):
        xp, self.device = select_device(config.device)
        dataset, recipe = data.load(config.data), _recipe(config.network)
        self.config, self.quiet = config.resolve(recipe, dataset), quiet or sys.stderr is None  # None: closed
        if config.tensorboard:
            import_tensorboard()
        from minigan.evaluation.metrics import PixelStatistics  # late, as scikit-learn takes long to import
        self.sha256 = data.digest(dataset)
        self.dataset = replace(dataset, train=xp.asarray(dataset.train), validation=xp.asarray(dataset.validation))
        self.game = build_game(self.config, recipe, self.dataset, xp)
        self.average = None
        if self.config.average:
            layers = recipe.G(self.config.n_z, dataset.train.shape[1])
            averaged = Net(layers, rng=self.game.streams.at('init', 0), name='average of G', xp=xp)
            self.average = Average(self.game.G, averaged, eta=self.config.average)
        minibatches = self.game.minibatch.per_epoch
        if self.game.k > minibatches:
            raise ValueError(f'k: expected at most {minibatches}, the minibatches of an epoch, got {self.game.k}')
        self.steps = minibatches // self.game.k  # an epoch: D reads the images once
        self.measured = min(2000, len(dataset.validation), len(dataset.train))  # images of each split
        self.statistics = PixelStatistics(dataset.train[:max(64, self.measured)] / np.float32(127.5) - 1)
        self.t, self.rows, self.started = 0, [], time.perf_counter()
        self.looks, self.norms = 0, np.zeros(2)  # of the gradients in this epoch, so far
        self.best = None  # a checkpoint that waits to be written

    def go(self):
        """Train on to the last epoch."""
        try:
            received = self._train()
        except OSError as error:
            if error.filename is None:  # no file of the run: stderr is closed, for instance
                raise
            raise OSError(f'{error}. Step {self.saved_t} is safe: minigan train --resume {self.folder}') from error
        if received:
            raise Stopped(received[0], self.folder)
        return self.folder

    def _train(self):
        with (signals_received() as received, np.errstate(over='ignore', invalid='ignore'),
              self._tensorboard() as board, self._bar() as bar):
            self._describe()
            while self.t < self.config.epochs * self.steps and not received:
                self._step(bar)
                if self.t % self.steps == 0:
                    self._finish_epoch(board)
                if time.perf_counter() - self.saved >= self.config.save_every:
                    self.save()
            self.save()
        if self.rows:
            from minigan.pictures import plots
            plots.loss_curves(self.folder / 'losses.png', self.rows, self.config.objective)
        return received

    def _step(self, bar):
        """One iteration of Algorithm 1, and now and then a look at it."""
        t, logits = self.t, self.game.step(self.t)
        if self.average:
            self.average.update(t)
        self.t += 1
        bar.update()
        if t % GLANCE == 0 or self.t % self.steps == 0:
            norms = float(self.game.G.dtheta_norm()), float(self.game.D.dtheta_norm())
            values = means(self.game, *logits)
            if not all(map(math.isfinite, (*norms, *values.values()))):
                self._diagnose()
            self.looks, self.norms = self.looks + 1, self.norms + norms
            bar.set_postfix({'epoch': t // self.steps + 1, **values}, refresh=False)

    def _finish_epoch(self, board):
        """A row for the log, warnings, now and then a picture; the best epoch so far is remembered."""
        epoch = self.t // self.steps
        values = self._evaluate()
        norms = dict(zip(('gradient_norm_G', 'gradient_norm_D'), (self.norms / self.looks).tolist()))
        row = {'epoch': epoch, 'step': self.t, **norms, **values, 'seconds': time.perf_counter() - self.started}
        if not all(map(math.isfinite, row.values())):
            self._diagnose()
        self.looks, self.norms = 0, np.zeros(2)
        best = min((row['distance'] for row in self.rows), default=math.inf)
        before = diagnosis.warnings(self.rows)
        self.rows.append(row)
        for name, text in diagnosis.warnings(self.rows).items():
            if name not in before and not self.quiet:
                tqdm.write(f'minigan: warning: {text}', file=sys.stderr)
        write_csv(self.folder / 'log.csv', self.rows)
        if row['distance'] < best:
            self.best = self._snapshot()
        if board:
            board.scalars(row)
        if epoch in (1, self.config.epochs) or epoch % self.config.samples_every == 0:
            self._draw_samples(epoch, board)

    def _evaluate(self):
        """The game's value on both splits, in evaluation mode, and what the samples are like.

        Both splits are measured on equally many images, so that only what D has memorised sets them apart.
        """
        game, n, values = self.game, self.measured, {}
        z = game.draw_z(game.streams.at('sample', 1), max(64, n))
        samples = game.G(z)
        fake, rows = game.D(samples), game.streams.xp.arange(n)
        for split in ('train', 'validation'):
            x = ops.gather_images(getattr(self.dataset, split), rows, game.D.dtype)
            values |= {f'{split}_{name}': value for name, value in means(game, game.D(x), fake, fake).items()}
        samples = to_host(self.average.averaged(z) if self.average else samples)
        if not np.isfinite(samples).all():
            self._diagnose()
        return {**values, 'distance': self.statistics.distance(samples), 'spread': self.statistics.spread(samples)}

    def _draw_samples(self, epoch, board):
        from minigan.pictures import plots
        z = self.game.draw_z(self.game.streams.at('sample', 0), 64)
        G = self.average.averaged if self.average else self.game.G
        grid = plots.grid(_images(to_host(G(z)), self.dataset.shape))
        plots.save(self.folder / 'samples' / f'epoch-{epoch:04}.png', grid)
        if board:
            board.picture(grid, self.t)

    def _diagnose(self):
        """Go back to the last checkpoint, repeat the steps since, and raise NotFinite that says where it began."""
        self._save_best()  # it is from before
        saved = self.saved_t
        advice = f'{self.folder / checkpoint.LAST} holds step {saved}. Smaller learning rates keep numbers small'
        if not self.quiet:
            tqdm.write(f'minigan: numbers overflow; repeating steps {saved} to {self.t - 1} to see where', sys.stderr)
        checkpoint.restore(self.game, checkpoint.load(self.folder)[0])
        try:
            diagnosis.find_not_finite(self.game, range(saved, self.t))
        except diagnosis.NotFinite as error:
            raise diagnosis.NotFinite(f'{error}. {advice}') from None
        raise diagnosis.NotFinite(f'steps {saved} to {self.t - 1}: a loss or the norm of a gradient is infinite or '
                                  f'undefined. {advice}')

    def save(self):
        """Write where the run stands, and the best epoch if it is new."""
        last = self._snapshot()
        self._save_best()
        checkpoint.save(self.folder / checkpoint.LAST, *last)
        self.saved, self.saved_t = time.perf_counter(), self.t

    def _save_best(self):
        if self.best:
            checkpoint.save(self.folder / checkpoint.BEST, *self.best)
            self.best = None

    def _snapshot(self):
        """(arrays, about) for a checkpoint."""
        averaged = {name: np.array(to_host(array)) for name, array in self._averaged().items()}
        arrays = {**checkpoint.snapshot(self.game), **averaged,
                  'run.t': np.array(self.t, np.int64), 'run.log': as_array(self.rows),
                  'run.looks': np.array(self.looks, np.int64), 'run.norms': self.norms,
                  'run.seconds': np.array(time.perf_counter() - self.started)}
        if not all(np.isfinite(array).all() for array in arrays.values()):
            self._diagnose()
        return arrays, self._about()

    def _averaged(self):
        """name in a checkpoint -> array, of what the game does not hold."""
        if not self.average:
            return {}
        return {'average.theta': self.average.averaged.theta, 'average.state': self.average.averaged.state}

    def restore(self, arrays, sha256):
        """Stand where a checkpoint stood. Raises ValueError when it does not fit the config or the images."""
        if sha256 != self.sha256:
            raise ValueError(f'expected the images that the run was trained with, got others from {self.config.data}')
        t = int(checkpoint.part(arrays, 'run.t', (), np.int64))
        log = checkpoint.part(arrays, 'run.log', (t // self.steps, len(COLUMNS)), np.float64)
        if t > self.config.epochs * self.steps:
            raise ValueError(f'epochs: expected at least the {-(-t // self.steps)} begun, got {self.config.epochs}')
        averaged = {name: checkpoint.part(arrays, name, array.shape, array.dtype)
                    for name, array in self._averaged().items()}
        checkpoint.restore(self.game, arrays)
        for name, array in self._averaged().items():
            array[...] = array_module(array).asarray(averaged[name])
        steps = self.game.optimizer_G.t, self.game.optimizer_D.t
        if steps != (t, t * self.game.k) or not np.array_equal(log[:, 1], self.steps * np.arange(1, len(log) + 1)):
            raise ValueError(f'expected optimisers and a log of step {t}, got {steps} and {log[:, 1].tolist()}')
        self.t, self.looks = t, int(checkpoint.part(arrays, 'run.looks', (), np.int64))
        self.norms = checkpoint.part(arrays, 'run.norms', (2,), np.float64)
        self.started = time.perf_counter() - float(checkpoint.part(arrays, 'run.seconds', (), np.float64))
        self.rows = as_rows(log)
        self.saved, self.saved_t = time.perf_counter(), t

    def _describe(self):
        """What a reader of the folder wants first: config.json, the log, some real images."""
        from minigan.pictures import \
            plots  # matplotlib takes half a second to import, and a bad flag should not wait for it
        if self.config.device != 'cpu' and not self.quiet:
            print(self.device, file=sys.stderr)
        for path in self.folder.rglob(f'*{UNFINISHED}'):
            path.unlink()  # of a run that was killed
        with replacing(self.folder / 'config.json', 'w') as file:
            file.write(json.dumps(self._about(), indent=2) + '\n')
        write_csv(self.folder / 'log.csv', self.rows)  # a run that was killed may have logged what it did not save
        (self.folder / 'samples').mkdir(exist_ok=True)
        real = to_host(self.dataset.train[:64]).reshape(-1, *self.dataset.shape) / np.float32(255)
        plots.save(self.folder / 'samples' / 'real.png', plots.grid(real))

    def _about(self):
        game, dataset = self.game, self.dataset
        config = {name: value for name, value in asdict(self.config).items() if name != 'out'}  # a folder may move
        if config['data'] not in data.NAMES:
            config['data'] = str(Path(config['data']).resolve())  # and be resumed from elsewhere
        return {'config': config,
                'images': {'name': dataset.name, 'shape': dataset.shape, 'train': len(dataset.train),
                           'validation': len(dataset.validation), 'test': len(dataset.test), 'sha256': self.sha256},
                'parameters': {'G': game.G.theta.size, 'D': game.D.theta.size},
                'versions': {'minigan': __version__, 'numpy': np.__version__,
                             'python': platform.python_version(), 'platform': platform.platform()},
                'device': self.device}

    def _bar(self):
        seconds = 0.2 if not self.quiet and sys.stderr.isatty() else 10  # between two updates; a log file wants fewer
        return tqdm(total=self.config.epochs * self.steps, initial=self.t, disable=self.quiet, mininterval=seconds,
                    unit='step')

    def _tensorboard(self):
        return closing(TensorBoard(self.folder / 'tensorboard', self.t)) if self.config.tensorboard else nullcontext()


def build_game(config, recipe, dataset, xp=np):
    """The Game that a resolved config describes, ready for step 0. Raises ValueError for a choice out of range."""
    keep_freed_memory()
    streams, fuse = Streams(config.seed, xp=xp, kernels=compiled(xp)), None if xp is np else fusion.fuse
    minibatches = data.Minibatches(dataset.train, config.batch, streams)
    n = dataset.train.shape[1]
    G = Net(recipe.G(config.n_z, n), rng=streams.at('init', 0, 0), name='G', xp=xp, fuse=fuse)
    steps = config.epochs * (minibatches.per_epoch // max(1, config.k))
    noise = [Noise(linear_decay(config.input_noise, steps))] if config.input_noise else []
    D = Net([*noise, *recipe.D(n)], rng=streams.at('init', 0, 1), name='D', xp=xp, fuse=fuse)
    rate_G, rate_D = config.learning_rate_G, config.learning_rate_D
    if config.schedule == 'linear':
        rate_G = linear_decay(rate_G, steps, warmup=WARMUP)
        rate_D = linear_decay(rate_D, steps * config.k, warmup=WARMUP)
    settings = {'beta1': config.beta1, 'clip_norm': config.clip_norm or None}
    return Game(G, D, recipe.make_optimizer(G, learning_rate=rate_G, **settings),
                recipe.make_optimizer(D, learning_rate=rate_D, **settings), minibatches, streams,
                m=config.batch, n_z=config.n_z, prior=recipe.prior, k=config.k, objective=config.objective,
                update=config.update, smoothing=config.label_smoothing)


def means(game, real, fake, fake_G):
    """V, L_D, L_G and D's mean answers, as floats."""
    V, L_D = float(losses.V(real, fake)), float(losses.L_D(real, fake, smoothing=game.smoothing))
    L_G = losses.OBJECTIVES[game.objective][0](fake_G)
    answers = float(ops.sigmoid(real).mean()), float(ops.sigmoid(fake).mean())
    return dict(zip(SPLIT, (V, L_D, float(L_G), *answers)))


def _recipe(network):
    if network not in RECIPES:
        raise ValueError(f'network: expected one of {", ".join(RECIPES)}, got {network!r}')
    return RECIPES[network]


def _images(x, shape):
    """Rows in [-1, 1] as images in [0, 1]."""
    return (x.reshape(-1, *shape) + 1) / 2


def _described(about):
    """The config, and the images' SHA-256, that a checkpoint was saved with."""
    try:
        return Config(**about['config']), about['images']['sha256']
    except (KeyError, TypeError) as error:
        raise ValueError(f'expected the config of a run and its images ({type(error).__name__}: {error})') from error


@contextmanager
def _naming(path):
    """Within, a ValueError gets the path in front."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def _create_folder(config, dataset):
    """config.out, which must be new or empty; without one, the first free name among runs/DATA-NETWORK[-2, -3, ...]."""
    if config.out is not None:
        folder = Path(config.out)
        if folder.exists() and (not folder.is_dir() or any(path.suffix != UNFINISHED for path in folder.iterdir())):
            raise ValueError(f'out: expected a new or empty folder, got {folder}, which is neither')
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    for number in count(1):
        folder = Path('runs') / f'{dataset.name}-{config.network}{f"-{number}" if number > 1 else ""}'
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:  # another run's, perhaps begun in this moment
            pass
