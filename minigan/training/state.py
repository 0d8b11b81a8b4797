"""The state of a run: its game, average and log, which become the arrays of a checkpoint and are restored from them."""

from dataclasses import replace

import numpy as np

from minigan import data
from minigan.backend import array_module, to_host
from minigan.gpu.graph import StepGraph
from minigan.parallel.ranks import ALONE
from minigan.parallel.share import share
from minigan.storage import archive, checkpoint
from minigan.training.build import build_average, build_game, recipe_of
from minigan.training.config import Config
from minigan.training.log import COLUMNS, as_array, as_rows
from minigan.training.overflow import NotFinite
from minigan.training.tensorboard import import_tensorboard
from minigan.variants.semisupervised import SemiSupervisedGame

LOOK_EVERY = 10  # steps between two looks at the losses and the gradients
T, LOG, LOOKS, NORMS, SECONDS = (f'run.{name}' for name in ('t', 'log', 'looks', 'norms', 'seconds'))  # in a checkpoint


class Run:
    """A game, the monitor that measures it, and how many steps are done.

    t: steps done. config: resolved. dataset: on the device, except for the test images. sha256: of the images.
    recipe: the config's. labelled: whether it trains with labels.
    device: in words; given as choose_device returns it. graph: replays the game's steps on a GPU; None on a CPU.
    generator: the net that samples are drawn with. ranks: the processes that share its minibatches, of which this is
    one.
    Raises ValueError for a choice out of range, for bad data, and for a run that is too large for a checkpoint.
    """

    def __init__(self, config, dataset, device, ranks=ALONE):
        from minigan.training.monitor import Monitor  # late, as scikit-learn takes long to import
        (xp, self.device), self.ranks = device, ranks
        self.recipe = recipe = recipe_of(config, dataset)
        self.labelled = config.conditional or issubclass(recipe.game, SemiSupervisedGame)
        self.config, self.sha256 = config.resolve(recipe, dataset), data.digest(dataset, labelled=self.labelled)
        if config.tensorboard:
            import_tensorboard()
        self.dataset = replace(dataset, train=xp.asarray(dataset.train), validation=xp.asarray(dataset.validation))
        self.game = build_game(self.config, recipe, self.dataset, xp)
        if ranks.size > 1:
            share(self.game, ranks)
        self.graph = None if xp is np or ranks.size > 1 else StepGraph(self.game)
        self.average = build_average(self.config, recipe, self.dataset, self.game)
        self.generator = self.average.averaged if self.average else self.game.G
        self.monitor = Monitor(self.game, self.dataset, self.game.minibatch.classes)
        self.steps_per_epoch = self.config.steps_per_epoch(len(dataset.train))
        self.last = self.config.epochs * self.steps_per_epoch
        self.t = 0
        log = 8 * len(COLUMNS) * self.config.epochs
        archive.check_size(checkpoint.size(self.game) + sum(array.nbytes for array in self._averaged().values()) + log)

    def step(self):
        """One iteration of Algorithm 1; the average follows. Returns what game.step returns."""
        logits = (self.graph or self.game).step(self.t)
        if self.average:
            self.average.update(self.t)
        self.t += 1
        return logits

    def look(self, logits):
        """Running losses by name, after a step that returned these logits. Raises NotFinite."""
        logits = [self.ranks.rows(part) for part in logits]
        return self.ranks.on_first(lambda: self.monitor.look(logits))

    def end_epoch(self):
        """Measure the run, add a row to its log and return it. Raises NotFinite.

        Raises OSError unless all ranks have the same parameters: then they would be several runs.
        """
        if not self.ranks.same([net.theta for _, net, _ in self.game.players()]):
            raise OSError(f'step {self.t}: the parameters are no longer the same in all {self.ranks.size} processes: '
                          'expected machines and libraries that round alike')
        return self.ranks.on_first(lambda: self.monitor.end_epoch(self.t, self.generator))

    def alone(self):
        """The game as a single process plays it: of several ranks, a new one, at step 0."""
        if self.ranks.size == 1:
            return self.game
        return build_game(self.config, self.recipe, self.dataset, self.game.streams.xp)

    def epoch(self):
        """The epoch of the last step, 1, 2, ..."""
        return -(-self.t // self.steps_per_epoch)

    def epoch_is_over(self):
        """Whether the last step was the last one of an epoch."""
        return self.t % self.steps_per_epoch == 0

    def look_is_due(self):
        """Whether to look at the losses and gradients of the last step."""
        return (self.t - 1) % LOOK_EVERY == 0 or self.epoch_is_over()

    def arrays(self):
        """name -> array: copies, on the host, of all that steps change. Raises NotFinite."""
        averaged = {name: np.array(to_host(array)) for name, array in self._averaged().items()}
        monitor = self.monitor
        arrays = {**checkpoint.snapshot(self.game), **averaged,
                  T: np.array(self.t, np.int64), LOG: as_array(monitor.rows), LOOKS: np.array(monitor.looks, np.int64),
                  NORMS: monitor.norms, SECONDS: np.array(monitor.seconds())}
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise NotFinite(f'{name} has numbers that are infinite or undefined')
        return arrays

    def restore(self, arrays):
        """Restore what a checkpoint holds. Raises ValueError when it does not fit the config."""
        t = int(archive.require(arrays, T, (), np.int64))
        log = archive.require(arrays, LOG, (t // self.steps_per_epoch, len(COLUMNS)), np.float64)
        if t > self.last:
            raise ValueError(f'epochs: expected at least {-(-t // self.steps_per_epoch)}, which the run has begun, '
                             f'got {self.config.epochs}')
        averaged = {name: archive.require(arrays, name, array.shape, array.dtype)
                    for name, array in self._averaged().items()}
        looks, norms, seconds = (archive.require(arrays, name, shape, dtype) for name, shape, dtype in
                                 ((LOOKS, (), np.int64), (NORMS, (2,), np.float64), (SECONDS, (), np.float64)))
        checkpoint.restore(self.game, arrays)
        for name, array in self._averaged().items():
            array[...] = array_module(array).asarray(averaged[name])
        steps, expected = [optimizer.t for *_, optimizer in self.game.players()], [t, t * self.game.k]  # of a G, a D
        if steps != expected * (len(steps) // 2) or not np.array_equal(log[:, 1], self._epoch_ends(len(log))):
            raise ValueError(f'expected optimisers and a log of step {t}, got {steps} and {log[:, 1].tolist()}')
        self.t = t
        self.monitor.restore(as_rows(log), int(looks), np.array(norms), float(seconds))

    def _averaged(self):
        """name in a checkpoint -> array of the average."""
        if not self.average:
            return {}
        return {f'average.{name}': getattr(self.average.averaged, name) for name in ('theta', 'state')}

    def _epoch_ends(self, n):
        """The steps at the end of the first n epochs."""
        return self.steps_per_epoch * np.arange(1, n + 1)


def config_of(about):
    """The config that a checkpoint was saved with. Raises ValueError when it has none."""
    try:
        return Config(**about['config'])
    except (KeyError, TypeError) as error:
        raise ValueError(f'expected the config of a run ({type(error).__name__}: {error})') from error
