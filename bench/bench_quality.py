"""How good samples become, by every measure of `minigan evaluate`, and how soon.

    python bench/bench_quality.py

On MNIST, one thread each, seeds 0, 1, 2: the networks article and default for 25 epochs, and the dense GAN that is
copied most in PyTorch (references/pytorch_gan.py) for as many seconds as default took. goodfellow2014 takes hours:
train it once, and pass its folder with --goodfellow2014. Seconds are of the processor, of training alone.
Every run's result is kept in bench/results/quality.json as soon as it is there; --only and --seeds choose what to run
again. Then the table in the README and a chart of the Frechet distance against seconds are made from that file.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from harness import RESULTS, Worker, describe, load, markdown, publish, save
from matplotlib.figure import Figure

import minigan
from minigan import classifier, data, evaluation, training
from minigan.training import Config

N = evaluation.N
EPOCHS, LOOKS = 25, 25  # looks: points of the curve
PEER = 'PyTorch'
MEASURES = {'frechet': ('Frechet', 1), 'score': ('score', 2), 'kl': ('KL', 3), 'precision': ('precision', 2),
            'recall': ('recall', 2), 'density': ('density', 2), 'coverage': ('coverage', 2), 'parzen': ('Parzen', 0),
            'memorisation': ('distance to train / test', 2)}


def judge_of(source):
    """The Judge for a data set."""
    dataset = data.load(source)
    return evaluation.Judge(dataset, classifier.load(dataset, quiet=True))


def measure(source, samples):
    """The measures of samples (N, n)."""
    return judge_of(source)(samples)


class Stopwatch:
    """Processor seconds of this process, but for what was spent measuring; and the curve."""

    def __init__(self, source):
        self.judge = judge_of(source)
        self.curve, self.spent, self.begin = [], 0.0, time.process_time()

    def seconds(self):
        """Of training, so far."""
        return time.process_time() - self.begin - self.spent

    def look(self, samples):
        """Add a point to the curve; samples: () -> images (N, n) in [0, 1]."""
        seconds = self.seconds()
        features, _ = self.judge.classifier(2 * samples() - 1)
        self.curve.append((seconds, evaluation.metrics.frechet(features, self.judge.features)))
        self.spent = time.process_time() - self.begin - seconds


class Watched(training.Run):
    """A run with a look at its samples after each epoch."""

    def _finish_epoch(self, board):
        super()._finish_epoch(board)
        G = self.average.averaged if self.average else self.game.G
        self.watch.look(lambda: G(self.game.z(self.game.streams.at('sample', 1), N)) / 2 + 0.5)


class Minigan:
    """A network of minigan, as `minigan train` trains it."""

    def __init__(self, source, network, seed):
        self.config = Config(data=source, network=network, seed=seed, epochs=EPOCHS)

    def train(self, path):
        """Train, and save N samples; path: of an .npy file. Returns the curve."""
        with tempfile.TemporaryDirectory() as folder:
            run = Watched(self.config, quiet=True)
            run.folder, run.watch = Path(folder), Stopwatch(self.config.data)
            run.save()
            run.go()
            np.save(path, minigan.load(folder).sample(N).reshape(N, -1))
        return run.watch.curve


class Peer:
    """The PyTorch GAN."""

    def __init__(self, source, seed):
        from references.pytorch_gan import PyTorchGAN
        self.source = source
        self.gan = PyTorchGAN(data.load(source).train / np.float32(127.5) - 1, seed)

    def train(self, path, seconds):
        """The same, for so many seconds."""
        watch = Stopwatch(self.source)
        for look in range(1, LOOKS + 1):
            while watch.seconds() < seconds * look / LOOKS:
                self.gan.step()
            watch.look(lambda: self.gan.samples(N))
        np.save(path, self.gan.samples(N))
        return watch.curve


def play(name, seed, source, results):
    """Train one in a process of its own and measure its samples."""
    if name == PEER:
        worker = Worker('bench_quality:Peer', source, seed)
        options = [results[f'default {seed}']['curve'][-1][0]]
    else:
        worker, options = Worker('bench_quality:Minigan', source, name, seed), []
    if not worker.wait_until_ready():
        raise SystemExit(f'{name}: {worker.missing}')
    with tempfile.TemporaryDirectory() as folder:
        curve, _ = worker.call('train', f'{folder}/samples.npy', *options)
        worker.close()
        return {'curve': curve, **measure(source, np.load(f'{folder}/samples.npy'))}


def cells(runs):
    """A row's cells: mean and standard error over the runs."""
    for measure, (_, digits) in MEASURES.items():
        values = [run[measure] for run in runs if measure in run]
        error = f' ± {np.std(values, ddof=1) / len(values) ** 0.5:.{digits}f}' if len(values) > 1 else ''
        yield f'{np.mean(values):.{digits}f}{error}' if values else ''


def table(content):
    """The README's table."""
    names = list(dict.fromkeys(key.rsplit(' ', 1)[0] for key in content['runs']))
    rows = []
    for name in names:
        runs = [run for key, run in content['runs'].items() if key.rsplit(' ', 1)[0] == name]
        seconds = f"{np.mean([run['curve'][-1][0] for run in runs]):.0f} s" if 'curve' in runs[0] else ''
        rows.append([name, seconds, *cells(runs)])
    head = ['', 'training', *(title for title, _ in MEASURES.values())]
    return markdown(head, rows) + f"\n\n*{describe(content['machine'])}.*"


def chart(content, path):
    """The Frechet distances against the seconds trained."""
    figure = Figure(figsize=(7, 4), layout='constrained')
    axes = figure.subplots()
    for name, colour in (('article', 'C3'), (PEER, 'C1'), ('default', 'C0')):
        runs = [run for key, run in content['runs'].items() if key.rsplit(' ', 1)[0] == name]
        for i, run in enumerate(runs):
            axes.semilogy(*zip(*run['curve']), colour, label='' if i else name, linewidth=1.2)
    axes.axhline(content['runs']['real images 0']['frechet'], color='grey', linestyle=':', label='real images')
    axes.set_xlabel('processor seconds of training')
    axes.set_ylabel("Frechet distance in our classifier's features")
    axes.legend()
    figure.savefig(path, dpi=100)


def main():
    """Parse the arguments, train, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='mnist')
    parser.add_argument('--only', nargs='*', default=['article', 'default', PEER, 'real images', 'k-means'])
    parser.add_argument('--seeds', nargs='*', type=int, default=[0, 1, 2])
    parser.add_argument('--goodfellow2014', metavar='RUN')
    options = parser.parse_args()
    path = RESULTS / 'quality.json'
    runs = load('quality')['runs'] if path.exists() else {}

    def keep(name, result):
        runs[name] = result
        save('quality', {'runs': runs})
        print(name, json.dumps({key: round(value, 4) for key, value in result.items() if key in MEASURES}), flush=True)

    for seed in options.seeds:
        for name in options.only:
            if name not in ('real images', 'k-means'):
                keep(f'{name} {seed}', play(name, seed, options.data, runs))
    if options.goodfellow2014:
        samples = minigan.load(options.goodfellow2014).sample(N).reshape(N, -1)
        keep('goodfellow2014 0', measure(options.data, samples))
    judge = judge_of(options.data)
    for name, rows in (('real images', judge.real_images), ('k-means', judge.cluster_centres)):
        if name in options.only:
            keep(f'{name} 0', rows(N))
    content = load('quality')
    print(table(content))
    chart(content, RESULTS / 'quality.png')
    publish('bench_quality', table(content))


if __name__ == '__main__':
    main()
