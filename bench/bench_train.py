"""A whole run: what an epoch costs beyond its steps, how soon the samples are good, what start-up and memory cost.

    python bench/bench_train.py                digits: about 3 minutes
    python bench/bench_train.py --data mnist   MNIST: about 10 minutes
    python bench/bench_train.py --quick        digits, few epochs: under a minute

epoch / steps: the seconds of a call of training.train, with loading, shuffling, gathering, log, evaluation and
pictures, over those of the same steps alone, in turn. Then minigan and PyTorch (fused Adam) train on the same images
from the same parameters, in turn, and a judge that never meets a GAN (see bench_changes.py) scores 2,000 samples of
each after every epoch, outside the clock: seconds of training until the score is reached for the first time.
import: a Python that imports numpy and minigan against one that imports numpy. A run that is not quick writes
bench/results/train-DATA.json, draws train-DATA.png and puts the table of both into the README.
"""

import argparse
import subprocess
import sys
import tempfile
import time

import candidates
import numpy as np
from bench_changes import Judge
from harness import (RESULTS, ROOT, Entrant, Worker, describe, load, machine, markdown, positive, publish, quartiles,
                     race, save, spread)
from matplotlib.figure import Figure
from tqdm import tqdm

from minigan import RECIPES, data, training

PLANS = {'digits': {'epochs': 182, 'rounds': 3, 'limit': 200, 'score': 5.0},
         'mnist': {'epochs': 2, 'rounds': 3, 'limit': 12, 'score': 7.0},
         'quick': {'epochs': 5, 'rounds': 2, 'limit': 10, 'score': 4.0}}
N = 2000  # samples that are judged


class Run:
    """training.train, whole."""

    def __init__(self, source):
        self.source = source

    def run(self, epochs):
        with tempfile.TemporaryDirectory() as folder:
            training.train(training.Config(data=self.source, epochs=epochs, out=f'{folder}/run'), quiet=True)


class Steps:
    """The default recipe's steps alone."""

    def __init__(self, source):
        dataset, recipe = data.load(source), RECIPES['default']
        self.game, self.t = training.build_game(training.Config().resolve(recipe, dataset), recipe, dataset), 0

    def run(self, epochs):
        for _ in range(epochs * self.game.minibatch.per_epoch):
            self.game.step(self.t)
            self.t += 1

    def save_samples(self, path):
        """N samples in [0, 1], as a .npy file."""
        np.save(path, (self.game.G(self.game.streams.at('sample', 0).normal((N, self.game.n_z))) + 1) / 2)


class PyTorchSteps:
    """The same in PyTorch, from the same parameters."""

    def __init__(self, source, threads):
        from references.pytorch import PyTorch
        game = Steps(source).game
        self.reference = PyTorch(candidates.start(game, threads), 'fused')
        self.n, self.m, self.rng = len(game.minibatch.images), game.m, np.random.default_rng(0)

    def run(self, epochs):
        for _ in range(epochs):
            order = self.rng.permutation(self.n)[:self.n // self.m * self.m]
            self.reference.run(order.reshape(-1, self.m))

    def save_samples(self, path):
        """N samples in [0, 1], as a .npy file."""
        np.save(path, (self.reference.samples(N) + 1) / 2)


def overhead(source, threads, plan):
    """Quartiles of a run's seconds over its steps', and of an epoch's seconds."""
    run, steps = (Worker(f'bench_train:{name}', source, threads=threads) for name in ('Run', 'Steps'))
    for worker in (run, steps):
        if not worker.wait_until_ready():
            raise SystemExit(f'minigan: {worker.missing}')
    entrants = [Entrant('', worker) for worker in (run, steps)]
    for entrant in entrants:
        entrant.steps = plan['epochs']
    race(entrants, rounds=plan['rounds'], seconds=None)
    whole, alone = entrants
    result = {'ratio': whole.ratio(alone), 'seconds': quartiles(whole.seconds)}
    run.close()
    steps.close()
    return result


def peak_of_a_run(source):
    """The most memory that `minigan train` needs in a process of its own, in MB."""
    program = ('import sys; from minigan.cli import main; main(sys.argv[2:]); sys.path.append(sys.argv[1]); '
               'from harness import peak_memory; print(peak_memory())')
    with tempfile.TemporaryDirectory() as folder:
        arguments = ['train', '--data', source, '--epochs', '2', '-o', f'{folder}/run']
        command = [sys.executable, '-c', program, str(ROOT / 'bench'), *arguments]
        run = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    return float(run.stdout.split()[-1])


def race_for_quality(source, threads, plan):
    """name -> the seconds trained and the score after each epoch; or why it is missing."""
    judge, curves = Judge(data.load(source)), {}
    workers = {'minigan': Worker('bench_train:Steps', source, threads=threads),
               'PyTorch fused Adam': Worker('bench_train:PyTorchSteps', source, threads, threads=threads)}
    for name, worker in workers.items():
        curves[name] = {'seconds': [], 'score': []} if worker.wait_until_ready() else {'missing': worker.missing}
    with tempfile.TemporaryDirectory() as folder:
        for _ in tqdm(range(plan['limit'])):
            for name, curve in curves.items():
                if 'missing' not in curve:
                    curve['seconds'].append(sum(curve['seconds'][-1:]) + workers[name].call('run', 1)[1])
                    workers[name].call('save_samples', f'{folder}/samples.npy')
                    curve['score'].append(float(judge(np.load(f'{folder}/samples.npy'))[0]))
                    time.sleep(workers[name].rest)
    for worker in workers.values():
        worker.close()
    return curves


def reached(curve, score):
    """Seconds until the score is reached for the first time, or None."""
    return next((s for s, value in zip(curve['seconds'], curve['score']) if value >= score), None)


def import_seconds(rounds=15):
    """Quartiles of what `import minigan` costs beyond `import numpy`."""
    def seconds(modules):
        begin = time.perf_counter()
        subprocess.run([sys.executable, '-c', f'import {modules}'], check=True, cwd=ROOT)
        return time.perf_counter() - begin
    seconds('numpy, minigan')
    return quartiles([seconds('numpy, minigan') - seconds('numpy') for _ in range(rounds)])


def table(*contents):
    """The README's table."""
    def until(content, name):
        curve = content['curves'][name]
        seconds = None if 'missing' in curve else reached(curve, content['plan']['score'])
        return 'missing' if 'missing' in curve else f'{seconds:.1f} s' if seconds else 'never'

    rows = {'an epoch': lambda c: f"{c['overhead']['seconds'][0]:.2f} s",
            'an epoch / its steps alone': lambda c: spread(*c['overhead']['ratio']),
            'peak memory of the process': lambda c: f"{c['peak']:.0f} MB",
            'score to reach': lambda c: f"{c['plan']['score']}",
            'minigan reaches it after': lambda c: until(c, 'minigan'),
            'PyTorch (fused Adam) reaches it after': lambda c: until(c, 'PyTorch fused Adam'),
            'import minigan beyond numpy': lambda c: f"{spread(*(1e3 * s for s in c['import']), digits=0)} ms"}
    head = ['', *(f"{content['data']}, {content['threads']} threads" for content in contents)]
    return (markdown(head, [[name, *map(cell, contents)] for name, cell in rows.items()]) +
            f"\n\n*{describe(contents[0]['machine'])}.*")


def chart(content, path):
    """The scores against the seconds trained."""
    figure = Figure(figsize=(7, 4), layout='constrained')
    axes = figure.subplots()
    for name, curve in content['curves'].items():
        if 'missing' not in curve:
            axes.plot(curve['seconds'], curve['score'], label=name, linewidth=1.2)
    axes.axhline(content['plan']['score'], color='grey', linestyle=':')
    axes.set_xlabel(f"seconds of training, {content['threads']} threads")
    axes.set_ylabel(f"score of {N:,} samples (10 is best)")
    axes.set_title(f"default networks on {content['data']}, batch 32", fontsize='medium')
    axes.legend()
    figure.savefig(path, dpi=100)


def main():
    """Parse the arguments, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='a first look')
    parser.add_argument('--data', choices=('digits', 'mnist'), default='digits')
    parser.add_argument('--threads', type=positive, metavar='N', default=2)
    options = parser.parse_args()
    plan = PLANS['quick' if options.quick else options.data]
    print(describe(machine()))
    imports = import_seconds()
    print(f'import minigan beyond numpy: {spread(*(1e3 * s for s in imports), digits=0)} ms')
    peak, cost = peak_of_a_run(options.data), overhead(options.data, options.threads, plan)
    print(f"{options.data}, {options.threads} threads: an epoch takes {spread(*cost['seconds'])} s, "
          f"{spread(*cost['ratio'])} times its steps; peak memory {peak:.0f} MB")
    curves = race_for_quality(options.data, options.threads, plan)
    for name, curve in curves.items():
        if 'missing' in curve:
            print(f'{name}: missing: {curve["missing"]}')
        else:
            seconds = reached(curve, plan['score'])
            print(f"{name}: score {plan['score']} " + (f'after {seconds:.1f} s' if seconds else 'not reached') +
                  f"; best {max(curve['score']):.2f}; {len(curve['seconds'])} epochs in {curve['seconds'][-1]:.1f} s")
    if not options.quick and options.threads == 2:
        content = {'data': options.data, 'threads': options.threads, 'plan': plan, 'import': imports,
                   'overhead': cost, 'peak': peak, 'curves': curves}
        name = f'train-{options.data}'
        chart(save(name, content), RESULTS / f'{name}.png')
        names = [f'train-{data}' for data in ('digits', 'mnist') if (RESULTS / f'train-{data}.json').exists()]
        publish('bench_train', table(*map(load, names)))


if __name__ == '__main__':
    main()
