"""The folder of a run: every file in it, when it is written, and what it says about the run."""

import json
import platform
import time
from dataclasses import asdict
from itertools import count
from pathlib import Path

import numpy as np

from minigan import __version__, ops
from minigan.backend import to_host
from minigan.data import portable
from minigan.losses import OBJECTIVES
from minigan.storage import archive
from minigan.storage.files import atomic_write, leftovers, make_folder
from minigan.streams import PICTURES
from minigan.training.log import append_csv, write_csv
from minigan.training.tensorboard import TensorBoard
from minigan.variants.conditional import fractions_of, one_hot
from minigan.variants.cycle import drawn, there_and_back

CONFIG, LOG, LOSSES, SAMPLES, TENSORBOARD = 'config.json', 'log.csv', 'losses.png', 'samples', 'tensorboard'
ANIMATION = 'samples.gif'
FILES, PICTURES_IN_SAMPLES = (archive.LAST, archive.BEST, CONFIG, LOG, LOSSES, ANIMATION), ('real.png', 'epoch-*.png')
IMAGES = 64  # in a picture of samples
CLASSES, OF_EACH = 16, 10  # the most classes in a picture of a conditional run, a row for each, and the images in a row


class RunFolder:
    """Writes what a run leaves behind: checkpoints, log, pictures.

    path: an existing folder. saved_step: the step of the last checkpoint in it. saved_at: when it was written, by
    time.perf_counter. best: the checkpoint (arrays, about) of the best epoch until it is written, else None. board:
    the run's TensorBoard, or None.
    """

    def __init__(self, path, *, saved_step=0):
        self.path, self.saved_step = Path(path), saved_step
        self.saved_at, self.best, self.board = time.perf_counter(), None, None

    def begin(self, run):
        """Write config.json, the log so far and some real images; delete what a killed run left unfinished.

        Raises ValueError when a folder in it is a link, OSError when it cannot be written.
        """
        from minigan.pictures import curves  # noqa: F401: if matplotlib is broken, fail now and not after the run
        samples = make_folder(self.path / SAMPLES)
        for path in (*leftovers(self.path, FILES), *leftovers(samples, PICTURES_IN_SAMPLES)):
            path.unlink()
        with atomic_write(self.path / CONFIG, 'w') as file:
            file.write(json.dumps(self._about(run), indent=2) + '\n')
        write_csv(self.path / LOG, run.monitor.rows)  # a killed run may have logged epochs that it did not save
        real = run.dataset.train[:IMAGES]
        images = ops.gather_images(real, run.game.streams.xp.arange(len(real)), np.float32)
        self._save('real', _grid(images, run.dataset.shape))
        if run.config.tensorboard:
            self.board = TensorBoard(make_folder(self.path / TENSORBOARD), run.t)

    def add_epoch(self, run):
        """Add the last row of the run's log to log.csv and TensorBoard, draw samples if due, keep the best epoch."""
        rows, config = run.monitor.rows, run.config
        row = rows[-1]
        append_csv(self.path / LOG, row)
        if run.monitor.best_epoch == len(rows):
            self.best = run.arrays(), self._about(run)
        if self.board:
            self.board.scalars(row)
        if row['epoch'] in (1, config.epochs) or row['epoch'] % config.samples_every == 0:
            grid = picture(run)
            self._save(f'epoch-{row["epoch"]:04}', grid)
            if self.board:
                self.board.picture(grid, run.t)

    def save_is_due(self, run):
        """Whether it is time for a checkpoint."""
        return time.perf_counter() - self.saved_at >= run.config.save_every

    def save(self, run):
        """Write the run's state, and the best epoch if it is new. Raises OSError, and NotFinite before it writes."""
        arrays = run.arrays()
        self.save_best()
        archive.save(self.path / archive.LAST, arrays, self._about(run))
        self.saved_at, self.saved_step = time.perf_counter(), run.t

    def save_best(self):
        """Write the best epoch unless it is written already."""
        if self.best:
            archive.save(self.path / archive.BEST, *self.best)
            self.best = None

    def draw_losses(self, run):
        """Draw the curves of the log if it has a row."""
        from minigan.pictures import curves  # matplotlib is slow to import
        if run.monitor.rows:
            objective = run.config.objective
            curves.loss_curves(self.path / LOSSES, run.monitor.rows, objective,
                               probability=OBJECTIVES[objective].probability)

    def animate(self):
        """Show the pictures of samples one after the other, if there is one."""
        from minigan.pictures import grids
        pictures = (self.path / SAMPLES).glob('epoch-*.png')
        if pictures := sorted(pictures, key=lambda path: (len(path.name), path.name)):  # epoch-10000 after epoch-9999
            grids.animate(self.path / ANIMATION, pictures)

    def _save(self, name, grid):
        from minigan.pictures import grids
        grids.save(self.path / SAMPLES / f'{name}.png', grid)

    def _about(self, run):
        """The facts about a run in config.json and in checkpoints, as a dict for JSON."""
        config, dataset, game = asdict(run.config), run.dataset, run.game
        del config['out']  # the folder may move
        config |= {name: portable(config[name]) for name in ('data', 'cycle') if config[name]}
        return {'config': config,
                'images': {'name': dataset.name, 'shape': dataset.shape, 'train': len(dataset.train),
                           'validation': len(dataset.validation), 'test': len(dataset.test), 'sha256': run.sha256,
                           'labelled': run.labelled},
                'classes': fractions_of(run.recipe),
                'parameters': {name: net.theta.size for name, net, _ in game.players()},
                'versions': {'minigan': __version__, 'numpy': np.__version__,
                             'python': platform.python_version(), 'platform': platform.platform()},
                'device': run.device}


def picture(run):
    """The PIL image of what the run draws now: samples, or translations. It has the same z each time."""
    images, columns = translations(run.game) if run.dataset.X else samples(run)
    return _grid(images, run.dataset.shape, columns)


def _grid(x, shape, columns=None):
    """The PIL image of images x (N, n) in [-1, 1], each of a shape (height, width[, 3])."""
    from minigan.pictures import grids
    images = to_host(x)[:, :np.prod(shape)].reshape(-1, *shape)
    return grids.grid(ops.to_unit(images), columns=columns)


def samples(run):
    """(images, columns) of a picture of samples."""
    z, columns = pictured(run)
    return run.generator(z), columns


def translations(game):
    """(images, columns) of a picture of translations: rows of x, G(x), F(G(x)), y, F(y), G(F(y))."""
    draws, G, F = game.streams.at('sample', PICTURES), game.G, game.back.G
    x, y = game.draw_z(draws, OF_EACH), drawn(game.minibatch, draws, OF_EACH)
    return game.streams.xp.concatenate([*there_and_back(G, F, x), *there_and_back(F, G, y)]), OF_EACH


def pictured(run):
    """(z, columns) of the samples in a run's pictures: of a conditional run, a row for each class, from the same z."""
    game, classes = run.game, np.flatnonzero(fractions_of(run.recipe))[:CLASSES]
    draws = game.streams.at('sample', PICTURES)
    if not len(classes):
        return game.draw_z(draws, IMAGES), None
    xp, n = game.streams.xp, len(fractions_of(run.recipe))
    z = xp.tile(game.draw_z(draws, OF_EACH), (len(classes), 1))
    z[:, game.n_z:] = xp.asarray(one_hot(np.repeat(classes, OF_EACH), n))
    return z, OF_EACH


def create(config, name):
    """Make the run's folder: config.out, which must be new or empty, else the first free of runs/NAME[-2, -3, ...].

    Raises ValueError for an out that is neither, OSError when the folder cannot be made.
    """
    if config.out is not None:
        folder = Path(config.out)
        if folder.exists() and (not folder.is_dir() or {*folder.iterdir()} - {*leftovers(folder, FILES)}):
            raise ValueError(f'out: expected a new or empty folder, got {folder}, which is neither')
        return _made(folder)
    runs = _made(Path('runs'))
    for number in count(1):
        folder = runs / (name if number == 1 else f'{name}-{number}')
        try:
            folder.mkdir()
            return folder
        except FileExistsError:  # of another run, which may have begun just now
            pass


def _made(folder):
    """Make the folder if it is missing, and return it. Raises OSError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    except FileExistsError as error:
        raise OSError(f'{folder}: expected a folder, got a file or a link that leads nowhere') from error
