"""What a search has found: a table, Optuna's plots, and the best settings with standard errors."""

import json
import math
import shlex
import warnings
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from statistics import mean, stdev

from minigan.search.ranges import NOT_SETTINGS
from minigan.storage.files import atomic_write
from minigan.training.config import Config, flag

RESULTS, HISTORY, IMPORTANCES = 'results.json', 'history.png', 'importances.png'
CHANCE = 0.05  # a smaller p stands for a difference that is more than chance


@contextmanager
def quiet(optuna):
    """For the block, Optuna prints nothing but errors, and does not warn of what it calls experimental."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def result(search, again):
    """What the search has found, as a dict for JSON. again: number of a trial -> results with fresh seeds.

    trials: settings, epochs, distance, spread and outcome of each. again: settings, runs, the command that trains with
    them, mean and standard error of distance and frechet; the best one first, without means what overflowed.
    """
    trials = search.trials()
    repeated = [{'trial': number, 'settings': trials[number].params, 'runs': runs,
                 'command': _command(replace(search.config, **trials[number].params)),
                 **{measure: _mean([run[measure] for run in runs]) for measure in ('distance', 'frechet')}}
                for number, runs in again.items()]
    repeated.sort(key=lambda one: one['distance']['mean'] if one['distance'] else math.inf)
    return {'storage': str(search.store.file), 'folder': str(search.store.folder), 'data': search.config.data,
            'network': search.own.network, 'seed': search.seed, 'trials': [_trial(trial) for trial in trials],
            'again': repeated}


def _trial(trial):
    spread = trial.user_attrs.get('spread')
    return {'trial': trial.number, 'settings': trial.params, 'epochs': len(trial.intermediate_values),
            'distance': trial.value, 'spread': spread if type(spread) is float else None,
            'outcome': str(trial.user_attrs.get('outcome', 'running'))}


def _command(config):
    """The command that trains with a config."""
    words = ['minigan', 'train']
    for option in fields(Config):
        value = getattr(config, option.name)
        if option.name == 'cycle' and value:
            words += [flag('cycle'), value, config.data]
        elif value != option.default and option.name not in NOT_SETTINGS or option.name == 'data' and not config.cycle:
            words += [flag(option.name), *([] if value is True else [str(value)])]
    return shlex.join(words)


def _mean(values):
    """Mean and standard error; None when one is missing."""
    if any(value is None for value in values):
        return None
    return {'mean': mean(values), 'standard_error': stdev(values) / len(values) ** 0.5}


def save(search, found):
    """Write the result and the plots next to the runs. Raises OSError."""
    with atomic_write(search.store.folder / RESULTS, 'w') as file:
        file.write(json.dumps(found, indent=2) + '\n')
    _plots(search.study, search.store.folder)


@contextmanager
def _agg():
    """pyplot; for the block with the backend Agg, which Optuna's plots need, whatever the user's own is."""
    from minigan.pictures.figures import matplotlib  # first, as it survives a bad $MPLBACKEND
    from matplotlib import pyplot  # isort: skip
    kept = dict.__getitem__(matplotlib.rcParams, 'backend')  # unresolved if it was never needed
    pyplot.switch_backend('agg')
    try:
        yield pyplot
    finally:
        with suppress(ImportError, ValueError):  # not installed
            if isinstance(kept, str):
                pyplot.switch_backend(kept)


def _plots(study, folder):
    """Draw Optuna's plots, if there are trials enough."""
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == 'COMPLETE']
    drawn = {}
    with _agg() as pyplot:
        from optuna.importance import PedAnovaImportanceEvaluator
        from optuna.visualization.matplotlib import plot_optimization_history, plot_param_importances
        if complete:
            drawn[HISTORY] = lambda: _logarithmic(plot_optimization_history(study, target_name='distance'))
        if len({trial.value for trial in complete}) > 1:
            drawn[IMPORTANCES] = lambda: plot_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
        for name, draw in drawn.items():
            with pyplot.rc_context():  # Optuna sets a style
                figure = draw().figure
                try:
                    with atomic_write(folder / name) as file:
                        figure.savefig(file, dpi=100, format='png', bbox_inches='tight')
                finally:
                    pyplot.close(figure)


def _logarithmic(axes):
    """Let no trial that went wrong hide the differences between the others."""
    axes.set_yscale('log')
    axes.yaxis.set_major_formatter('{x:g}')
    axes.yaxis.set_minor_formatter('{x:g}')
    return axes


def line(trial):
    """One line about a trial that has ended."""
    told = _trial(trial)
    distance = '' if told['distance'] is None else f", distance {told['distance']:.3g} at epoch {told['epochs']}"
    settings = ', '.join(f'{name} {_cell(value)}' for name, value in told['settings'].items())
    return f"trial {told['trial']}: {settings}: {told['outcome']}{distance}"


def table(found):
    """The text that `minigan search` prints."""
    names = list(found['trials'][0]['settings'])
    rows = [['trial', *names, 'epochs', 'distance', 'spread', 'outcome']]
    for trial in found['trials']:
        rows.append([trial['trial'], *(trial['settings'].get(name) for name in names),
                     *(trial[column] for column in rows[0][len(names) + 1:])])
    measures = [measure for measure in ('distance', 'frechet') if any(one[measure] for one in found['again'])]
    again = [['trial', *names, *measures]]
    for one in found['again']:
        again.append([one['trial'], *(one['settings'][name] for name in names),
                      *(_with_error(one, measure) for measure in measures)])
    seeds = [run['seed'] for run in found['again'][0]['runs']]
    return '\n'.join([*_lines(rows), '', f'Again with seeds {", ".join(map(str, seeds))} (mean ± standard error); '
                      "trial 0 has the network's own settings:", '', *_lines(again), '', *_verdict(found)])


def _verdict(found):
    """The best settings next to the network's own, in words."""
    best, own = found['again'][0], next(one for one in found['again'] if one['trial'] == 0)
    if best is own or not best['distance']:
        return ["No settings were better than the network's own."]
    return [_compared(best, own, len(found['again']) - 1),
            f"To train with the settings of trial {best['trial']}: {best['command']}"]


def _compared(best, own, others):
    """How sure it is that the best of some others is better: by a paired t-test, times the number of others."""
    from scipy.stats import ttest_rel  # slow to import
    if not own['distance']:
        return f"With the network's own settings, numbers overflow; with those of trial {best['trial']}, they do not."
    theirs, ours = ([run['distance'] for run in one['runs']] for one in (own, best))
    gain = _mean([a - b for a, b in zip(theirs, ours)])
    p = min(1, others * float(ttest_rel(theirs, ours, alternative='greater').pvalue))
    verdict = 'is better' if p < CHANCE else 'may be no better'
    return (f"Trial {best['trial']} {verdict} than the network's own settings: its distance is smaller by "
            f"{gain['mean']:.3g} ± {gain['standard_error']:.2g} (p = {p:.2g}).")


def _with_error(one, measure):
    if one[measure]:
        return f"{one[measure]['mean']:.4g} ± {one[measure]['standard_error']:.2g}"
    failed = sum(run['distance'] is None for run in one['runs'])
    return f"overflow in {failed} of {len(one['runs'])}" if failed and measure == 'distance' else ''


def _lines(rows):
    """Rows of cells as lines, in columns that end at the same place; the last one begins at the same place."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return ['  '.join([*(cell.rjust(width) for cell, width in zip(row[:-1], widths)), row[-1]]).rstrip()
            for row in cells]


def _cell(value):
    return '' if value is None else f'{value:.4g}' if isinstance(value, float) else str(value)
