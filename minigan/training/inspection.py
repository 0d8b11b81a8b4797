"""A readable summary of a checkpoint: its config, the end of its log, every parameter's size. Runs in one picture."""

import math

import numpy as np

from minigan.losses import OBJECTIVES
from minigan.storage import archive, checkpoint
from minigan.training.log import COLUMNS, as_rows
from minigan.training.state import LOG, T, config_of
from minigan.training.warnings import warnings

SHOWN = ('epoch', 'step', 'train_V', 'validation_V', 'train_D_x', 'validation_D_x', 'train_D_G_z', 'gradient_norm_G',
         'gradient_norm_D', 'distance', 'spread')  # columns of the log
ROWS = 5  # of the end of the log


def describe(path):
    """Text about a run's folder or a checkpoint. Raises ValueError for a damaged one, OSError when there is none."""
    arrays, about = archive.load(path)
    found = archive.find(path)
    try:
        nets = checkpoint.nets(arrays, about)
        rows, t, config = log_of(arrays), archive.require(arrays, T, (), np.int64), config_of(about)
    except ValueError as error:
        raise ValueError(f'{found}: {error}') from error
    steps = (config.epochs or 1) * rows[0]['step'] if rows else 0
    probability = _has_probability(config)
    warned = [f'warning: {text}' for text in warnings(rows, steps, probability=probability)]
    return '\n\n'.join([f'{found}: step {t}', _facts(about), *_end_of_log(rows), *warned,
                        *(_parameters(net) for net in nets)])


def compare(runs):
    """The PIL image of the curves of several runs; a notebook shows it, and .save('compared.png') writes it.

    runs: name -> folder or checkpoint. Raises ValueError for a damaged one, OSError when there is none.
    """
    from minigan.pictures import curves  # matplotlib is slow to import
    if not runs:
        raise ValueError('compare: expected at least one run, got none')
    logs, probability = {}, True
    for name, path in runs.items():
        arrays, about = archive.load(path)
        with archive.errors_name(path):
            logs[name], probability = log_of(arrays), probability and _has_probability(config_of(about))
    return curves.compare(logs, probability=probability)


def log_of(arrays):
    """The rows of the log in a checkpoint. Raises ValueError."""
    epochs = np.atleast_1d(arrays.get(LOG, ())).shape[0]
    return as_rows(archive.require(arrays, LOG, (epochs, len(COLUMNS)), np.float64))


def _has_probability(config):
    objective = OBJECTIVES.get(config.objective)  # None in a config that no run has resolved
    return objective is None or objective.probability


def _facts(about):
    lines = []
    for topic in ('config', 'images', 'versions'):
        if isinstance(facts := about.get(topic), dict):
            lines += [f'{topic + "." + name:24} {value}' for name, value in facts.items()]
    return '\n'.join(lines)


def _end_of_log(rows):
    lines = [' '.join(f'{name:>15}' for name in SHOWN)]
    lines += [' '.join(f'{row[name]:15.6g}' for name in SHOWN) for row in rows[-ROWS:]]
    return ['\n'.join(lines)] if rows else []


def _parameters(net):
    """Each parameter's place in its net, its shape, and the size of its numbers: norm, root mean square, largest."""
    lines = [f'{net!r}', '', f'{"":26} {"shape":>12} {"numbers":>9} {"norm":>10} {"rms":>10} {"largest":>10}']
    for slots, flat in ((net.slots, net.theta), (net.state_slots, net.state)):
        for name, start, shape in [*slots, ('together', 0, flat.shape)] if slots else []:
            n = math.prod(shape)
            array = flat[start:start + n].astype(float)
            norm = np.linalg.norm(array)
            lines.append(f'{name:26} {" x ".join(map(str, shape)):>12} {n:9} {norm:10.4g} {norm / n ** 0.5:10.4g} '
                         f'{np.abs(array).max():10.4g}')
    return '\n'.join(lines)
