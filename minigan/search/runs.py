"""A run with given settings: trained now, or gone on with where a process was killed, with its outcome in a word."""

import os

from minigan.storage import archive
from minigan.training import resume, train
from minigan.training.config import RESUMABLE
from minigan.training.inspection import log_of
from minigan.training.overflow import NotFinite
from minigan.training.state import T, config_of
from minigan.training.warnings import SYMPTOMS

COLLAPSED = SYMPTOMS['the samples have collapsed']


def name_of(number, seed=None):
    """The folder of a trial's run, or of the run of its settings with a fresh seed."""
    return f'trial-{number:04}' if seed is None else f'trial-{number:04}-seed-{seed}'


def outcome_of(config, after_epoch=None, is_over=lambda rows, epochs: False):
    """(outcome, last row of the log or {}) of a run that is trained now, or of which the rest is.

    is_over(rows, epochs): whether a run with this log has ended before its last epoch.
    """
    try:
        if not os.path.exists(os.path.join(config.out, archive.LAST)):
            train(config, quiet=True, after_epoch=after_epoch)
        elif not is_over(*_log(config.out)):
            changes = {name: getattr(config, name) for name in RESUMABLE if name not in ('data', 'cycle', 'epochs')}
            resume(config.out, quiet=True, after_epoch=after_epoch, **changes)
    except NotFinite as error:
        return f'overflow: {str(error).split(". ")[0]}', {}
    rows, epochs = _log(config.out)
    if len(rows) < epochs:
        return 'pruned', rows[-1]
    return 'collapsed' if COLLAPSED.shows(rows[-1], 0) else 'complete', rows[-1]


def show(bar, name, run, row):
    """Show on a bar over runs how far this one is. In a file, that waits until the run has ended."""
    epoch, distance = f'{row["epoch"]}/{run.config.epochs}', f'{row["distance"]:.3g}'
    bar.set_postfix({'run': name, 'epoch': epoch, 'distance': distance},
                    refresh=not bar.disable and bar.mininterval < 1)


def _log(folder):
    """(rows of the log, epochs of the whole run) of the last checkpoint in a folder; no rows if it is within an epoch.
    """
    arrays, about = archive.load(folder)
    with archive.errors_name(folder):
        rows = log_of(arrays)
        return rows if rows and rows[-1]['step'] == arrays.get(T) else [], config_of(about).epochs
