"""A whole run: what an epoch costs beyond its steps, and what start-up and memory cost.

    python bench/bench_train.py                digits: about 3 minutes
    python bench/bench_train.py --data mnist   MNIST: about 3 minutes
    python bench/bench_train.py --quick        digits, few epochs: under a minute

an epoch / its steps alone: the seconds of training.train, with loading, shuffling, gathering, log, evaluation, pictures
and checkpoints, divided by those of the same steps alone. NumPy alone: the seconds of training.train with
--device numpy, divided by those with --device cpu, which takes native twins if it can. All three take turns. import:
how much longer Python takes to import numpy and minigan than to import numpy. A run that is not quick writes
bench/results/train-DATA.json and puts the table of both data sets into bench/README.md. bench_quality.py measures how
good samples become, and how soon.
"""

import argparse
import subprocess
import sys
import tempfile
import time

from harness import (RESULTS, ROOT, Entrant, Worker, describe, load, machine, markdown, positive, quartiles, race, save,
                     spread, update_table)

from minigan import RECIPES, data, training
from minigan.native.twins import use

PLANS = {'digits': {'epochs': 215, 'rounds': 3}, 'mnist': {'epochs': 2, 'rounds': 3},
         'quick': {'epochs': 5, 'rounds': 2}}


class Run:
    """training.train as a whole."""

    def __init__(self, source, device):
        self.source, self.device = source, device

    def run(self, epochs):
        with tempfile.TemporaryDirectory() as folder:
            config = training.Config(data=self.source, epochs=epochs, device=self.device, out=f'{folder}/run')
            training.train(config, quiet=True)


class Steps:
    """The default recipe's steps alone."""

    def __init__(self, source):
        use(True)
        dataset, recipe = data.load(source), RECIPES['default']
        self.game, self.t = training.build_game(training.Config().resolve(recipe, dataset), recipe, dataset), 0

    def run(self, epochs):
        for _ in range(epochs * self.game.minibatch.per_epoch):
            self.game.step(self.t)
            self.t += 1


def overhead(source, threads, plan):
    """Quartiles of a run's seconds divided by those of its steps, of an epoch's seconds, and of NumPy's, relative."""
    workers = [Worker(f'bench_train:{name}', source, *device, threads=threads)
               for name, *device in (('Run', 'cpu'), ('Steps',), ('Run', 'numpy'))]
    for worker in workers:
        if not worker.wait_until_ready():
            raise SystemExit(f'minigan: {worker.missing}')
    entrants = [Entrant('', worker) for worker in workers]
    for entrant in entrants:
        entrant.steps = plan['epochs']
    race(entrants, rounds=plan['rounds'], seconds=None)
    whole, alone, with_numpy = entrants
    for worker in workers:
        worker.close()
    return {'ratio': whole.ratio(alone), 'seconds': quartiles(whole.seconds), 'numpy': with_numpy.ratio(whole)}


def peak_of_a_run(source):
    """The peak memory of `minigan train` in a process of its own, in MB."""
    program = ('import sys; from minigan.cli import main; main(sys.argv[2:]); sys.path.append(sys.argv[1]); '
               'from harness import peak_memory; print(peak_memory())')
    with tempfile.TemporaryDirectory() as folder:
        arguments = ['train', '--data', source, '--epochs', '2', '-o', f'{folder}/run']
        command = [sys.executable, '-c', program, str(ROOT / 'bench'), *arguments]
        run = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    return float(run.stdout.split()[-1])


def import_seconds(rounds=15):
    """Quartiles of the seconds that `import minigan` takes beyond `import numpy`."""
    def seconds(modules):
        begin = time.perf_counter()
        subprocess.run([sys.executable, '-c', f'import {modules}'], check=True, cwd=ROOT)
        return time.perf_counter() - begin
    seconds('numpy, minigan')
    return quartiles([seconds('numpy, minigan') - seconds('numpy') for _ in range(rounds)])


def table(*contents):
    """The table of bench/README.md."""
    rows = {'an epoch': lambda c: f"{c['overhead']['seconds'][0]:.2f} s",
            'an epoch / its steps alone': lambda c: spread(*c['overhead']['ratio']),
            'an epoch with NumPy alone / with native twins': lambda c: spread(*c['overhead']['numpy']),
            'peak memory of the process': lambda c: f"{c['peak']:.0f} MB",
            'import minigan beyond numpy': lambda c: f"{spread(*(1e3 * s for s in c['import']), digits=0)} ms"}
    head = ['', *(f"{content['data']}, {content['threads']} threads" for content in contents)]
    return (markdown(head, [[name, *map(cell, contents)] for name, cell in rows.items()]) +
            f"\n\n*{describe(contents[0]['machine'])}.*")


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
          f"{spread(*cost['ratio'])} times its steps; NumPy alone takes {spread(*cost['numpy'])} times as long; "
          f'peak memory {peak:.0f} MB')
    if not options.quick and options.threads == 2:
        content = {'data': options.data, 'threads': options.threads, 'plan': plan, 'import': imports,
                   'overhead': cost, 'peak': peak}
        name = f'train-{options.data}'
        save(name, content)
        names = [f'train-{data}' for data in ('digits', 'mnist') if (RESULTS / f'train-{data}.json').exists()]
        update_table('bench_train', table(*map(load, names)))


if __name__ == '__main__':
    main()
