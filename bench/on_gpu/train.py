"""Training by the clock: how long whole runs take on the GPU, and how good their samples are."""

import tempfile
import time
from pathlib import Path

from harness import markdown
from on_gpu.part import Part

from minigan import data, training
from minigan.data import DataError
from minigan.evaluation import classifier
from minigan.evaluation.judge import SAMPLES, Judge
from minigan.storage import generator

NAMES = {'mnist': 'MNIST', 'digits': 'the digits'}
RUNS = {'mnist': (1, 5, 25), 'digits': (5, 25, 120)}  # data -> epochs; the last are those of `minigan train`
MEASURES = {'frechet': ('Frechet distance', 1), 'score': ('classifier score', 2), 'precision': ('precision', 2),
            'recall': ('recall', 2), 'density': ('density', 2), 'coverage': ('coverage', 2),
            'parzen': ('Parzen log-likelihood, nats', 0)}


def measure(xp, settings):
    """Yield the data's name, the measures of real images, and the result of each run."""
    name, dataset = images()
    judge = Judge(dataset, classifier.load(dataset, quiet=True))
    n = min(SAMPLES, len(dataset.train))
    yield {'data': name, 'samples': n, 'real images': kept(judge.real_images(n))}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        play(name, 1, out / 'warm-up')  # compiles CuPy's own kernels
        for epochs in RUNS[name][:settings.runs]:
            seconds = play(name, epochs, out / str(epochs))
            trained = generator.load(out / str(epochs))
            samples = trained.sample(n, seed=0).reshape(n, -1)
            yield {'epochs': epochs, 'steps': trained.step, 'seconds': seconds, **kept(judge(samples))}


def images():
    """(name, Dataset): MNIST, or the digits where it is not in the cache folder and cannot be downloaded."""
    try:
        return 'mnist', data.load('mnist')
    except (DataError, OSError):
        return 'digits', data.load('digits')


def play(source, epochs, out):
    """Train the default on the GPU. Returns the seconds from beginning to end."""
    begin = time.perf_counter()
    training.train(training.Config(data=source, epochs=epochs, device='cuda', out=str(out)), quiet=True)
    return time.perf_counter() - begin


def kept(measured):
    """The measures of the table."""
    return {name: measured[name] for name in MEASURES if name in measured}


def wrong(results):
    """Nothing here is right or wrong."""
    return []


def verdict(results):
    """The longest run, in a sentence."""
    runs = [r for r in results if 'epochs' in r]
    if not runs:
        return None
    source, last = NAMES[results[0]['data']], runs[-1]
    distance = ''
    if 'frechet' in last:
        distance = f'; Frechet distance {last["frechet"]:.1f}'
    return (f'Training on {source}: {last["epochs"]} epochs, {last["steps"]:,} steps, in {last["seconds"]:.1f} s'
            f'{distance}.')


def page(results):
    """A table of the runs."""
    about, *runs = results
    if about['data'] == 'digits':
        yield ('MNIST could not be loaded, so these are runs on the digits. `minigan train --data mnist` says why, and '
               'how to get it.')
    yield (f'`minigan train --data {about["data"]} --device cuda --epochs N`, with the default network and seed 0. '
           'Seconds by the clock, from start to end, with pictures, log and checkpoints. Each run is whole: its '
           f'learning rates have fallen to 0. Measures of {about["samples"]:,} samples; '
           'minigan/evaluation/README.md explains them. One run each: no quartiles.')
    head = ['epochs', 'steps', 'seconds', 'ms a step, all in all', *(title for title, _ in MEASURES.values())]
    rows = [[r['epochs'], f'{r["steps"]:,}', f'{r["seconds"]:.1f}', f'{1e3 * r["seconds"] / r["steps"]:.3f}', *cells(r)]
            for r in runs]
    yield markdown(head, [*rows, ['real images', '', '', '', *cells(about['real images'])]])


def cells(measured):
    """The measures, as text."""
    return [f'{measured[name]:.{digits}f}' if name in measured else '' for name, (_, digits) in MEASURES.items()]


def chart(results, figure):
    """Frechet distance against seconds."""
    about, *runs = results
    points = [(r['seconds'], r['frechet']) for r in runs if 'frechet' in r]
    if not points:
        return False
    figure.set_size_inches(7, 4)
    axes = figure.subplots()
    axes.plot(*zip(*points), marker='o', label=f'default on {NAMES[about["data"]]}')
    for r in runs:
        if 'frechet' in r:
            axes.annotate(f'epochs: {r["epochs"]}', (r['seconds'], r['frechet']), textcoords='offset points',
                          xytext=(7, 4), fontsize='small')
    if 'frechet' in about['real images']:
        axes.axhline(about['real images']['frechet'], color='grey', linestyle=':', label='real images')
    axes.set_yscale('log')
    axes.margins(0.2, 0.15)
    axes.set_xlabel('seconds of a whole run')
    axes.set_ylabel('Frechet distance')
    axes.legend()
    return True


PART = Part('Training by the clock', measure, page, chart, verdict, wrong)
