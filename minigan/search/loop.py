"""The loop over trials: Optuna chooses the settings of a trial, and minigan trains with them."""

import os
import time
from dataclasses import asdict, replace

import numpy as np

from minigan import data
from minigan.evaluation.progress import Progress
from minigan.search import again, report
from minigan.search.ranges import NOT_SETTINGS, SEARCHED, read
from minigan.search.runs import name_of, outcome_of, show
from minigan.search.store import Store, import_optuna, one_line
from minigan.training import Config, require_known
from minigan.training.on_gpu import choose_device
from minigan.training.signals import Interrupted, Stopped
from minigan.training.state import Run

UNLIKE = 'epochs', 'schedule', 'network'  # with these, the same epoch is not the same point of a run
STARTUP, WARMUP = 5, 1 / 2  # complete trials, and fraction of its run, before one is pruned: earlier, good ones lose


def search(*, over=SEARCHED, trials=30, storage=None, seed=0, best=3, seeds=3, quiet=False, **choices):
    """Search for settings, or go on with a search, and return its result, a dict for JSON; see report.result.

    over: what to search, as --over takes it. trials: how many in all. storage: the file. seed: of every trial and of
    the choice of settings. best, seeds: how many settings are run again, with how many fresh seeds each. choices: of
    minigan train, for every trial.
    Raises ValueError for a choice out of range and for a storage of a different search, OSError, Stopped.
    """
    for name, number, least in (('trials', trials, 1), ('best', best, 1), ('seeds', seeds, 2)):
        if number < least:
            raise ValueError(f'{name}: expected at least {least}, got {number}')
    optuna = import_optuna()
    with report.quiet(optuna):
        work = Search(optuna, over, storage, seed, choices, Progress(quiet))
        try:
            with one_line(work.store.file):
                work.play(trials)
                found = report.result(work, again.play(work, best, seeds))
                report.save(work, found)
                return found
        except Interrupted as stop:
            raise Stopped(stop.signal, 'the same command') from None


class Search:
    """A study and what its trials have in common.

    config: of each trial, but for what Optuna chooses. own: the network's own settings, resolved. sha256: of the
    images. over: name -> distribution. prunes: whether trials may be pruned.
    """

    def __init__(self, optuna, over, storage, seed, choices, progress):
        require_known(choices)
        if fixed := {'out', 'seed'} & choices.keys():
            raise ValueError(f'{", ".join(sorted(fixed))}: expected none, as each trial has its own')
        config = Config(seed=seed, **choices)
        self.optuna, self.progress, self.seed = optuna, progress, config.seed
        dataset = data.load(config.data, config.cycle)
        run = Run(config, dataset, choose_device(config.device, progress.say))  # raises what trials would
        self.own, self.sha256 = run.config, run.sha256
        self.over = read(over, self.own)
        self.config = config if 'epochs' in self.over else replace(config, epochs=self.own.epochs)
        unlike = [name for name in UNLIKE if name in self.over]
        self.prunes = not unlike
        if unlike:
            progress.say(f'no trial is pruned: with a different {" or ".join(unlike)}, the same epoch is a different '
                         'point of a run')
        self.store = Store(storage or os.path.join('runs', f'search-{dataset.name}-{config.network}.db'))
        self.study = self.store.open(optuna)
        with self.store.alone(), one_line(self.store.file):
            self._begin()
        self.pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP,
                                                  n_warmup_steps=round(self.own.epochs * WARMUP))

    def _begin(self):
        """Store what the search is about, or compare it with what is stored. Raises ValueError when it differs."""
        facts, stored = self._facts(), self.study.user_attrs.get('search')
        if stored is None:
            if not self.study.get_trials(deepcopy=False):
                self.study.enqueue_trial({name: getattr(self.own, name) for name in self.over})
            self.study.set_user_attr('search', facts)
        elif stored != facts:
            raise ValueError(f'{self.store.file}: {_difference(stored, facts)}; a new search needs a new --storage')

    def _facts(self):
        """What stays the same in all trials and whenever a search goes on, as a dict for JSON."""
        given = {name: value for name, value in asdict(self.config).items()
                 if name not in NOT_SETTINGS and value is not None}
        sources = {name: data.portable(getattr(self.config, name)) for name in ('data', 'cycle')
                   if getattr(self.config, name)}
        return {'over': [[name, self.optuna.distributions.distribution_to_json(values)]
                         for name, values in self.over.items()],  # in this order, on which what is drawn depends
                'choices': given, 'data': sources, 'images': self.sha256, 'seed': self.seed}

    def trials(self):
        """All trials so far. Raises ValueError when one is not of this search."""
        found = self.study.get_trials(deepcopy=False)
        for trial in found:
            if any(self.over.get(name) != values for name, values in trial.distributions.items()):
                raise ValueError(f'{self.store.file}: trial {trial.number} is not one of this search')
        return found

    def play(self, count):
        """Play trials until there are `count` finished ones. Waits for those of other processes."""
        with self.progress.bar(count, self._finished(), unit='trial') as bar:
            while (claimed := self._claim(count)) or self._finished() < count:
                if claimed:
                    trial, claim = claimed
                    with claim:
                        self._play(trial, bar)
                else:
                    time.sleep(again.WAIT)
                bar.update(min(count, self._finished()) - bar.n)

    def _finished(self):
        return sum(trial.state.is_finished() for trial in self.trials())

    def _claim(self, count):
        """(trial, claim) to play now: one whose process has died, or a new one. None when there is neither."""
        with self.store.alone():
            trials = self.trials()
            for trial in trials:
                if trial.state.name == 'RUNNING' and (claim := self.store.claim(name_of(trial.number))):
                    return self._trial(trial.number, trial), claim
            waiting = [trial.number for trial in trials if trial.state.name == 'WAITING']
            if len(trials) >= count and not waiting:
                return None
            trial = self._trial(waiting[0] if waiting else len(trials))
            return trial, self.store.claim(name_of(trial.number))

    def _trial(self, number, begun=None):
        """A trial with all of its settings, which are a function of the seed, the number and the trials before it.

        begun: one whose process has died, possibly before it had all of them.
        """
        self.study.sampler = self._sampler(number, 0)
        trial = self.optuna.trial.Trial(self.study, begun._trial_id) if begun else self.study.ask()
        trial.relative_params  # draws them, before any other sampler can
        for i, (name, values) in enumerate(self.over.items(), 1):
            self.study.sampler = self._sampler(number, i)  # as some may be drawn already, one cannot draw all
            _suggest(trial, name, values)
        return trial

    def _sampler(self, number, substep):
        seed = np.random.SeedSequence((self.seed, number, substep)).generate_state(1)[0]
        return self.optuna.samplers.TPESampler(seed=int(seed), multivariate=True, constant_liar=True)

    def _play(self, trial, bar):
        """Train with a trial's settings, and tell Optuna the outcome."""
        folder, state = self.store.folder / name_of(trial.number), self.optuna.trial.TrialState
        reported = {*self.study.get_trials(deepcopy=False)[trial.number].intermediate_values}

        def after_epoch(run, row):
            if row['epoch'] not in reported:
                trial.report(row['distance'], row['epoch'])
            show(bar, folder.name, run, row)
            return self._is_bad(run.monitor.rows, run.config.epochs)

        try:
            config = replace(self.config, **trial.params, out=str(folder))
            outcome, last = outcome_of(config, after_epoch, self._is_bad)
        except MemoryError:
            outcome, last = 'not enough memory', {}
        except ValueError as error:
            if folder.exists():  # the settings were accepted
                raise
            data.load(config.data, config.cycle)  # raises if it is the images that are missing now
            outcome, last = f'refused: {error}', {}
        trial.set_user_attr('outcome', outcome)
        trial.set_user_attr('spread', last.get('spread'))
        if outcome in ('complete', 'collapsed'):
            self.study.tell(trial, last['distance'])
        else:  # Optuna takes all of these as worse than what is complete
            self.study.tell(trial, state=state.PRUNED)
        self.progress.say(report.line(self.study.get_trials(deepcopy=False)[trial.number]))

    def _is_bad(self, rows, epochs):
        """Whether a trial with this log is to end now: worse at this epoch than the median of the complete ones."""
        if not self.prunes or not rows or len(rows) == epochs:
            return False
        seen = self.optuna.trial.create_trial(state=self.optuna.trial.TrialState.RUNNING, intermediate_values={
            row['epoch']: row['distance'] for row in rows})
        return self.pruner.prune(self.study, seen)


def _difference(stored, facts):
    """In words, the first thing in which the stored facts of a search differ from these."""
    stored = stored if isinstance(stored, dict) else {}
    for kind in ('choices', 'data'):
        old, new = stored.get(kind), facts[kind]
        for name in sorted({**old, **new}) if isinstance(old, dict) else ():
            if old.get(name) != new.get(name):
                return f'expected {name} {old.get(name, "unset")}, got {new.get(name, "unset")}'
    kind = next((kind for kind in facts if stored.get(kind) != facts[kind]), 'storage')
    return f'expected the {kind} that this search began with, got a different one'


def _suggest(trial, name, values):
    """Give a trial a value for a setting, unless it has one."""
    if hasattr(values, 'choices'):
        return trial.suggest_categorical(name, values.choices)
    suggest = trial.suggest_int if type(values.low) is int else trial.suggest_float
    return suggest(name, values.low, values.high, log=values.log)
