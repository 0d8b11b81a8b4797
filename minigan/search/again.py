"""The best settings again, with fresh seeds: what was chosen for its distance had luck with its seed, too."""

import math
import time
from dataclasses import replace

from minigan import data, ops
from minigan.data.stacked import Stacked
from minigan.evaluation import classifier, metrics
from minigan.evaluation.judge import SAMPLES, Judge
from minigan.search.runs import name_of, outcome_of, show
from minigan.storage.generator import load

WAIT = 0.5  # seconds between two looks at what other processes do


def play(search, best, seeds):
    """number of a trial -> results of its settings with each fresh seed; trial 0 has the network's own settings."""
    chosen = choose(search.trials(), best)
    jobs = [(number, (search.seed + i) % 2**64) for i in range(1, seeds + 1) for number in chosen]
    with search.progress.bar(len(jobs), name='again', unit='run') as bar:
        while missing := [job for job in jobs if _stored(search, *job) is None]:
            bar.update(len(jobs) - len(missing) - bar.n)
            if not any(_play(search, bar, *job) for job in missing):
                time.sleep(WAIT)
        bar.update(len(jobs) - bar.n)
    return {number: [_stored(search, *job) for job in jobs if job[0] == number] for number in chosen}


def choose(trials, best):
    """The numbers of trial 0 and of the best complete ones, each with different settings; the earlier of two alike."""
    complete = [trial for trial in trials if trial.state.name == 'COMPLETE' and trial.number > 0]
    different = {}
    for trial in (trials[0], *sorted(complete, key=lambda trial: (trial.value, trial.number))):
        different.setdefault(tuple(sorted(trial.params.items())), trial.number)
    return [*different.values()][:best + 1]


def _play(search, bar, number, seed):
    """Train with the settings of a trial and store the result. Returns False if another process is doing that."""
    name = name_of(number, seed)
    claim = search.store.claim(name)
    if claim is None:
        return False
    with claim:
        if _stored(search, number, seed) is None:
            config = replace(search.config, **search.trials()[number].params, seed=seed,
                             out=str(search.store.folder / name))
            outcome, last = outcome_of(config, lambda run, row: show(bar, name, run, row))
            search.study.set_user_attr(name, {
                'seed': seed, 'outcome': outcome, 'distance': last.get('distance'),
                'frechet': frechet(config) if last else None})
    return True


def _stored(search, number, seed):
    """The result of a run, or None. Raises ValueError for anything else."""
    name = name_of(number, seed)
    result = search.study.user_attrs.get(name)
    if result is None:
        return None
    numbers = [result.get(measure) for measure in ('distance', 'frechet')] if isinstance(result, dict) else [name]
    if not all(one is None or type(one) is float and math.isfinite(one) for one in numbers):
        raise ValueError(f'{search.store.file}: {name}: expected the result of a run, got {str(result)[:100]!r}')
    return {'seed': seed, 'outcome': str(result.get('outcome')), **dict(zip(('distance', 'frechet'), numbers))}


def frechet(config):
    """The Frechet distance that `minigan evaluate` measures of a run; None for those of which it measures none."""
    if config.cycle:
        return None
    generator = load(config.out)
    dataset = data.of_run(generator.about)
    if dataset.labels is None or isinstance(dataset, Stacked):
        return None
    judge = Judge(dataset, classifier.load(dataset, quiet=True), conditional=bool(generator.fractions))
    n = min(SAMPLES, len(dataset.train))
    samples = generator.sample(n, label=judge.labels(n)).reshape(n, -1)
    return metrics.frechet(judge.classifier(ops.from_unit(samples))[0], judge.features)
