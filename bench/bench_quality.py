"""How good samples become, by every measure of `minigan evaluate`, and how soon.

    python bench/bench_quality.py
    python bench/bench_quality.py --only dcgan 'PyTorch DCGAN' 'PyTorch DCGAN, 2016'
    python bench/bench_quality.py --only 'PyTorch DCGAN' --seeds 3 --seconds 1200 --samples FOLDER

On MNIST, with one thread and seeds 3, 4 and 5 (bench/README.md says which seeds the settings were chosen with): the
networks article and default train for 25 epochs, dcgan for 20. The most copied dense GAN in PyTorch
(references/pytorch_gan.py) trains for as many seconds as default took, and two DCGANs in PyTorch
(references/pytorch_dcgan.py: the recipe dcgan, and networks as in 2016) as long as dcgan. goodfellow2014 takes two
hours: `--only goodfellow2014 --seeds 0`. Seconds are CPU seconds of training alone. Each result goes into
bench/results/quality.json at once; --only and --seeds choose what to run again. The table in bench/README.md, and a
chart of the Frechet distance and the Parzen log-likelihood against seconds, are made from that file. With --seconds,
what runs in PyTorch takes that long, and results are only printed. --samples: each run's 10,000 samples stay there, in
NAME-SEED.npz.
"""

import argparse
import json
import tempfile
import time
from importlib import import_module
from pathlib import Path

import numpy as np
from harness import RESULTS, Worker, add_results, load, machines, markdown, positive, update_table
from matplotlib.figure import Figure

from minigan import data, ops, training
from minigan.evaluation import classifier, metrics
from minigan.evaluation.judge import SAMPLES as N
from minigan.evaluation.judge import Judge
from minigan.evaluation.progress import Progress
from minigan.gpu.device import select_device
from minigan.streams import WATCH, Streams
from minigan.training import Config
from minigan.training.folder import RunFolder
from minigan.training.state import Run

SOURCE = 'mnist'
LOOKS = 5  # points of a curve
NETWORKS = {  # name in the table -> how to train it
    'article': {'network': 'article', 'epochs': 25},
    'goodfellow2014': {'network': 'goodfellow2014', 'epochs': 250, 'average': 3.0},
    'default': {'network': 'default', 'epochs': 25},
    'dcgan': {'network': 'dcgan', 'epochs': 20},
}
AVERAGED = 'goodfellow2014, averaged'  # the same run's samples from an average of theta_G, which the paper does not use
PEERS = {  # name -> the network that trains as long; module in references/, class, arguments
    'PyTorch': ('default', 'pytorch_gan', 'PyTorchGAN', {'eps': 0.8}),
    'PyTorch, eps 1e-5': ('default', 'pytorch_gan', 'PyTorchGAN', {'eps': 1e-5}),
    'PyTorch DCGAN, 2016': ('dcgan', 'pytorch_dcgan', 'DCGAN2016', {}),
    'PyTorch DCGAN': ('dcgan', 'pytorch_dcgan', 'RecipeInPyTorch', {}),
}
ROWS = 'article', *PEERS, 'goodfellow2014', AVERAGED, 'default', 'dcgan', 'real images', 'k-means'
MEASURES = {'frechet': ('Frechet', 1), 'score': ('score', 2), 'kl': ('KL', 3), 'precision': ('precision', 2),
            'recall': ('recall', 2), 'density': ('density', 2), 'coverage': ('coverage', 2), 'parzen': ('Parzen', 0),
            'memorisation': ('distance to train / test', 2)}


def judge_of():
    """The Judge for MNIST."""
    dataset = data.load(SOURCE)
    return Judge(dataset, classifier.load(dataset, quiet=True))


class Stopwatch:
    """The CPU seconds of this process, without those spent on measuring; and a curve for each name."""

    def __init__(self):
        self.judge = judge_of()
        self.curves, self.spent, self.begin = {}, 0.0, time.process_time()

    def seconds(self):
        """The CPU seconds of training so far."""
        return time.process_time() - self.begin - self.spent

    def look(self, samplers):
        """Add a point to each curve; samplers: name -> () -> images (N, n) in [0, 1]."""
        seconds = self.seconds()
        for name, samples in samplers.items():
            images = samples()
            point = seconds, self.frechet(images), self.judge.parzen(images)['parzen']
            self.curves.setdefault(name, []).append(point)
        self.spent = time.process_time() - self.begin - seconds

    def frechet(self, images):
        """Frechet distance of images (N, n) in [0, 1]."""
        features, _ = self.judge.classifier(2 * images - 1)
        return metrics.frechet(features, self.judge.features)


class WatchedFolder(RunFolder):
    """A run's folder, with a look at the run's samples every few epochs. name: in the table."""

    def __init__(self, path, name):
        super().__init__(path)
        self.name, self.watch = name, Stopwatch()

    def add_epoch(self, run):
        super().add_epoch(run)
        if run.epoch() % (run.config.epochs // LOOKS) == 0:
            self.watch.look({name: lambda G=G: samples(run, G, 1) for name, G in generators(run, self.name).items()})


def generators(run, name):
    """name in the table -> what samples are drawn with."""
    if not run.average:
        return {name: run.game.G}
    return {name: run.game.G, AVERAGED if name == 'goodfellow2014' else name: run.average.averaged}


def samples(run, G, seed):
    """N images (N, n) in [0, 1]."""
    return ops.to_unit(G(run.game.draw_z(Streams(seed).at('sample', WATCH), N)))


class Minigan:
    """A network of minigan, as `minigan train` trains it."""

    def __init__(self, name, seed):
        self.name, self.config = name, Config(data=SOURCE, seed=seed, device='cpu', **NETWORKS[name])

    def train(self, path):
        """Train, and save N samples of each generator; path: of an .npz file. Returns the curves."""
        with tempfile.TemporaryDirectory() as folder:
            run = Run(self.config, data.load(SOURCE), select_device(self.config.device))
            watched = WatchedFolder(folder, self.name)
            watched.begin(run)
            training.run.play(run, watched, Progress(quiet=True))
        np.savez(path, **{name: samples(run, G, 0) for name, G in generators(run, self.name).items()})
        return watched.watch.curves


class Peer:
    """A GAN in PyTorch."""

    def __init__(self, name, seed):
        _, module, kind, settings = PEERS[name]
        make, self.name = getattr(import_module(f'references.{module}'), kind), name
        self.gan = make(ops.from_unit(data.load(SOURCE).train / np.float32(255)), seed, **settings)

    def train(self, path, seconds):
        """Train for a number of seconds, and save the better of N samples in evaluation and in training mode."""
        watch = Stopwatch()
        for look in range(1, LOOKS + 1):
            while (spent := watch.seconds()) < seconds * look / LOOKS:
                self.gan.train(spent / seconds)
            watch.look({self.name: lambda: self.gan.samples(N)})
        better = min((self.gan.samples(N, training=training) for training in (False, True)), key=watch.frechet)
        np.savez(path, **{self.name: better})
        return watch.curves


def play(name, seed, seconds=None, folder=None):
    """Train a network or peer in a process of its own, and measure its samples. Yields (name in the table, result).

    seconds: of a peer's training, if not as long as its network's. folder: where the samples stay.
    """
    options = []
    if name in PEERS:
        network = PEERS[name][0]
        known = load('quality')['runs'].get(f'{network} {seed}')
        if not (known or seconds):
            raise SystemExit(f'{name}: trains for as long as {network}, which has no result for seed {seed} yet')
        options = [seconds or known['curve'][-1][0]]
    worker = Worker(f'bench_quality:{"Peer" if name in PEERS else "Minigan"}', name, seed)
    if not worker.wait_until_ready():
        raise SystemExit(f'{name}: {worker.missing}')
    with tempfile.TemporaryDirectory() as temporary:
        curves, _ = worker.call('train', f'{temporary}/samples.npz', *options)
        worker.close()
        with np.load(f'{temporary}/samples.npz') as samples:
            for one, curve in curves.items():
                if folder:
                    np.savez(Path(folder, f'{one}-{seed}.npz'), images=samples[one].reshape(-1, 28, 28))
                yield one, {'curve': curve, **judge_of()(samples[one])}


def cells(runs, measures):
    """A row's cells: mean and standard error over the runs. measures: name -> (title, digits)."""
    for measure, (_, digits) in measures.items():
        values = [run[measure] for run in runs if measure in run]
        error = f' ± {np.std(values, ddof=1) / len(values) ** 0.5:.{digits}f}' if len(values) > 1 else ''
        yield f'{np.mean(values):.{digits}f}{error}' if values else ''


def runs_of(content, name):
    """The results of one name, for all its seeds."""
    return [run for key, run in content['runs'].items() if key.rsplit(' ', 1)[0] == name]


def table(content):
    """The README's table."""
    rows = []
    for name, runs in ((name, runs_of(content, name)) for name in ROWS if runs_of(content, name)):
        seconds = f"{np.mean([run['curve'][-1][0] for run in runs]):.0f} s" if 'curve' in runs[0] else ''
        rows.append([name, seconds, *cells(runs, MEASURES)])
    head = ['', 'training', *(title for title, _ in MEASURES.values())]
    return markdown(head, rows) + f'\n\n{machines(content)}'


def chart(content, path):
    """Frechet distance and Parzen log-likelihood against the seconds trained."""
    figure = Figure(figsize=(11, 4), layout='constrained')
    real = content['runs']['real images 0']
    for at, (axes, measure) in enumerate(zip(figure.subplots(1, 2), ('frechet', 'parzen')), start=1):
        for i, name in enumerate(ROWS[:-2]):
            for j, run in enumerate(runs_of(content, name)):
                axes.plot(*np.transpose(run['curve'])[[0, at]], f'C{i}', label='' if j else name, linewidth=1.2)
        axes.axhline(real[measure], color='grey', linestyle=':', label='real images')
        axes.set_xscale('log')
        axes.set_xlabel('processor seconds of training')
        axes.set_title(MEASURES[measure][0])
    figure.axes[0].set_yscale('log')
    figure.axes[0].legend(fontsize='small')
    figure.axes[1].axhline(225, color='black', linestyle=':', label='published, 2014')
    figure.axes[1].set_ylim(bottom=0)
    figure.axes[1].legend(fontsize='small', handles=figure.axes[1].lines[-2:])
    figure.savefig(path, dpi=100)


def main():
    """Parse the arguments, train, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='*', default=['default', 'article', 'dcgan', *PEERS, 'real images', 'k-means'])
    parser.add_argument('--seeds', nargs='*', type=int, default=[3, 4, 5])
    parser.add_argument('--seconds', type=positive, metavar='N', help='of what runs in PyTorch; nothing is written')
    parser.add_argument('--samples', metavar='FOLDER', type=Path, help='where the samples stay')
    options = parser.parse_args()
    if options.samples:
        options.samples.mkdir(parents=True, exist_ok=True)

    def keep_and_print(name, result):
        if not options.seconds:
            add_results('quality', {name: result})
        print(name, json.dumps({key: round(value, 4) for key, value in result.items() if key in MEASURES}), flush=True)

    for seed in options.seeds:
        for name in options.only:
            if name not in ('real images', 'k-means'):
                for one, result in play(name, seed, options.seconds, options.samples):
                    keep_and_print(f'{one} {seed}', result)
    judge = judge_of()
    for name, rows in (('real images', judge.real_images), ('k-means', judge.cluster_centres)):
        if name in options.only:
            keep_and_print(f'{name} 0', rows(N))
    if options.seconds:
        return
    content = load('quality')
    print(table(content))
    chart(content, RESULTS / 'quality.png')
    update_table('bench_quality', table(content))


if __name__ == '__main__':
    main()
