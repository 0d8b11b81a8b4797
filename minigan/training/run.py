"""Train: the loop around Algorithm 1, from step 0 or from a checkpoint."""

import shlex
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from minigan import data
from minigan.backend import on_gpu
from minigan.evaluation.progress import Progress
from minigan.gpu.device import CPU, gpu_errors
from minigan.losses import OBJECTIVES
from minigan.net import parts
from minigan.parallel.ranks import ALONE
from minigan.storage import archive, checkpoint
from minigan.storage.files import locked
from minigan.training.config import RESUMABLE, Config, flag, require_known
from minigan.training.folder import RunFolder, create
from minigan.training.in_place import InPlace
from minigan.training.on_gpu import choose_device
from minigan.training.overflow import NotFinite, explained
from minigan.training.signals import Stopped, signals_received
from minigan.training.state import Run, config_of
from minigan.training.warnings import Watch
from minigan.variants.convolution import Patches, Rows, Unpatches


@gpu_errors()
def train(config, *, quiet=False, after_epoch=None, ranks=None):
    """Train as the config says and return the run's folder. Nothing is written before every choice is checked.

    The folder holds last.npz and best.npz (checkpoints; best: the epoch nearest to the data, see monitor.py),
    config.json, log.csv (one row per epoch), samples/epoch-*.png (always from the same z) and real.png to compare,
    samples.gif, which shows the former one after the other, and losses.png. The same config gives the same parameters,
    pictures and log, except for the seconds. after_epoch(run, row): called at the end of each epoch, with the new row
    of the log; the run ends there, saved, when it returns True, on any of the ranks. ranks: the processes that train it
    together, each of which calls this function; the first of them does all but the steps.
    Raises ValueError for a choice out of range or bad data, OSError when the folder cannot be written or a GPU fails,
    NotFinite when numbers overflow, Stopped after SIGINT, SIGTERM or SIGHUP.
    """
    ranks = ranks or ALONE
    progress = Progress(quiet or ranks.rank > 0)
    dataset = ranks.on_first(lambda: data.load(config.data, config.cycle))
    run = Run(config, dataset, _device(config.device, ranks, progress), ranks)
    path = ranks.on_first(lambda: create(run.config, f'{run.dataset.name}-{config.network}'))
    with ExitStack() as stack:
        ranks.on_first(lambda: stack.enter_context(locked(path)))
        folder = ranks.first(RunFolder(path))
        folder.save(run)
        return _to_the_end(run, folder, progress, after_epoch)


@gpu_errors()
def resume(folder, *, quiet=False, after_epoch=None, ranks=None, **changes):
    """Continue the run in a folder from its last checkpoint, as if it had never stopped. Returns the folder.

    changes: new values in the config, allowed for epochs, data and cycle (where the same images are now), device,
    save_every and tensorboard. Raises what train raises, and ValueError for other changes, a damaged checkpoint or
    different images.
    """
    _require_resumable(changes)
    ranks = ranks or ALONE
    folder, progress = Path(folder), Progress(quiet or ranks.rank > 0)
    with ExitStack() as stack:
        config, arrays, about, dataset = ranks.on_first(lambda: _loaded(folder, changes, stack))
        run = Run(replace(config, **changes), dataset, _resumed_device(changes, config, ranks, progress), ranks)
        with archive.errors_name(folder):
            run.restore(arrays)
        _say_if_moved(about, run, progress)
        _warn_of_a_new_end(config, run.config.epochs, progress)
        if run.t == run.last:
            progress.say(f'this run has all of its {run.config.epochs} epochs; --epochs N trains more')
        return _to_the_end(run, ranks.first(RunFolder(folder, saved_step=run.t)), progress, after_epoch)


def play(run, folder, progress, after_epoch=None):
    """Algorithm 1, epoch after epoch, to the last one or until a signal comes. Returns the signals received."""
    probability = OBJECTIVES[run.config.objective].probability
    watch, in_place = Watch(run.last, run.monitor.rows, probability=probability), InPlace(progress)
    with (signals_received() as received, np.errstate(over='ignore', invalid='ignore'),
          progress.bar(run.last, run.t) as bar):
        while run.t < run.last and not run.ranks.agreed(received):
            logits = run.step()
            bar.update()
            if run.graph and run.graph.remark:
                progress.say(run.graph.remark)
                run.graph.remark = None
            if run.look_is_due():
                bar.set_postfix({'epoch': run.epoch(), **run.look(logits)}, refresh=False)
            if run.epoch_is_over():
                row = run.end_epoch()
                for warning in watch.read(row):
                    progress.say(f'warning: {warning}')
                folder.add_epoch(run)
                in_place.show(run)
                if run.ranks.any(after_epoch and after_epoch(run, row)):
                    break
            if folder.save_is_due(run):
                folder.save(run)
        folder.save(run)
        return run.ranks.agreed(received)


def _require_resumable(changes):
    """Raise ValueError for choices that must not change when a run is resumed, TypeError for names of no choice."""
    require_known(changes)
    fixed = [flag(option.name) for option in fields(Config) if option.name in changes.keys() - set(RESUMABLE)]
    if fixed:
        raise ValueError(f'--resume: {", ".join(fixed)} {"is" if len(fixed) == 1 else "are"} fixed by the run; '
                         f'only {", ".join(map(flag, RESUMABLE))} may change')


def _warn_of_a_new_end(config, epochs, progress):
    """Warn if a new number of epochs makes the learning rates, the input noise or the growth jump."""
    ending = {'--schedule linear': config.schedule == 'linear', '--input-noise': config.input_noise,
              '--network progressive': config.network == 'progressive'}
    what = next((flag for flag, ends in ending.items() if ends), None)
    if what and epochs != config.epochs:
        progress.say(f'warning: {what} ends with the run. With {epochs} epochs instead of {config.epochs} its value '
                     f'jumps now, and the result will differ from that of a run planned for {epochs} epochs')


def _loaded(folder, changes, stack):
    """Config, arrays, facts and images of the run in a folder, which stays locked in the stack."""
    if not folder.is_dir():
        raise ValueError(f'{folder}: no such folder')
    stack.enter_context(locked(folder))
    arrays, about = archive.load(folder)
    with archive.errors_name(folder):
        config = config_of(about)
        checkpoint.nets(arrays, about)  # refuses what does not fit before a claimed size is allocated
    return config, arrays, about, data.of_run(about, changes.get('data'), changes.get('cycle'))


def _device(name, ranks, progress):
    """What choose_device returns, for one of several ranks. Raises ValueError if only some of them have a GPU."""
    xp, words = choose_device(name, progress.say)
    if ranks.size == 1:
        return xp, words
    without = int(ranks.gather(np.array(xp is np)).sum())
    if 0 < without < ranks.size:
        raise ValueError(f'device: expected a GPU for each of {ranks.size} processes, got none for {without}; '
                         '--device cpu does without')
    return xp, f'{words}, in {ranks.size} processes'


def _resumed_device(changes, config, ranks, progress):
    """What _device returns. Raises ValueError, which says how to go on, when that device is missing."""
    try:
        return _device(changes.get('device', config.device), ranks, progress)
    except ValueError as error:
        raise ValueError(f'{error}; to go on without a GPU: --device cpu') from error


def _say_if_moved(about, run, progress):
    """Say so if the steps before those of this checkpoint were computed on the other kind of device."""
    was_on_gpu = str(about.get('device')).startswith('CuPy')
    if was_on_gpu != on_gpu(run.game.G.theta):
        progress.say(f'this run has moved {"from a GPU to the CPU" if was_on_gpu else "from the CPU to a GPU"}, where '
                     'numbers are rounded differently')


def without_kernels(game):
    """The classes of the game and of its layers that came after 2014, for which there are no kernels."""
    used = {type(game), *(type(layer) for _, net, _ in game.players() for _, layer in parts(net.layers))}
    return sorted(kind.__name__ for kind in used - {Patches, Unpatches, Rows}
                  if kind.__module__.startswith('minigan.variants.'))


def _explained(error, run, folder, progress):
    """The NotFinite that says where the error of a run began."""
    place = folder.path / archive.LAST
    return run.ranks.on_first(lambda: explained(error, run.alone(), place, run.t, progress.say))


def _to_the_end(run, folder, progress, after_epoch):
    """Prepare the folder, play, draw losses and animation. Returns the folder; an error says which step is saved."""
    advice = f'minigan train --resume {shlex.quote(str(folder.path))}'
    try:
        if run.device != CPU:
            progress.say(run.device)
        if run.graph and (names := without_kernels(run.game)):
            progress.say(f'there are no kernels for {", ".join(names)}; functions of CuPy compute them')
        with gpu_errors():
            folder.begin(run)
            received = play(run, folder, progress, after_epoch)
            folder.draw_losses(run)
            folder.animate()
    except NotFinite as error:
        folder.save_best()  # its numbers are still finite
        raise _explained(error, run, folder, progress) from None
    except OSError as error:
        safe = f'Step {folder.saved_step} is safe; to' if run.ranks.rank == 0 else 'To'  # only the first rank saves
        raise OSError(f'{error}. {safe} go on: {advice}') from error
    if received:
        raise Stopped(received[0], advice)
    return folder.path
