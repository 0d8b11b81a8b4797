"""What each native twin is worth: a step with all of them, and without each in turn.

    python bench/bench_native.py           batches 32 and 256, one thread and two: about 4 minutes
    python bench/bench_native.py --quick   batch 32, two threads, few rounds: 15 seconds

The step is that of bench_step.py. Where a twin is left out, its specification runs in NumPy instead, and gives the same
bits. All rows take turns in one process, with one game. The table has ratios to the step with all twins: 1.10 means
that the step takes 10 % longer without it. one thread: the twins have one, while the products keep theirs. no native
twin: groups of layers run as fusion.py specifies them; with --device numpy, there are no groups. A full run also writes
bench/results/native.json and puts its table into bench/README.md.
"""

import argparse
from types import SimpleNamespace

import numpy as np
from candidates import game, use_native
from harness import Entrant, Worker, describe, load, machine, markdown, positive, race, save, spread, update_table

from minigan import backend
from minigan.gpu import compare
from minigan.native.twins import Native, native, threads
from minigan.optim import CHUNK

TWINS = sorted(name for name in compare.specifications() if hasattr(Native, name))
ALL, ONE_THREAD = 'all native twins', 'one thread'
ROWS = {  # row -> the twins that are left out
    ALL: (),
    'without Adam': ('adam_',),
    'without LeakyReLU, dropout': ('dense_leaky_relu_dropout', 'bias_leaky_relu_dropout',
                                   'leaky_relu_dropout_backward'),
    'without batch norm': ('batch_norm_leaky_relu_', 'batch_norm_leaky_relu_backward_'),
    'without tanh': ('dense_tanh', 'tanh_backward'),
    ONE_THREAD: (),
    'no native twin': TWINS,
}
BATCHES, THREADS, ROUNDS = (32, 256), (1, 2), 20


class Ablation:
    """A game whose steps leave out the twins of a row."""

    def __init__(self, m):
        if without := use_native(True):
            raise ValueError(f'no native twins: {without}')
        self.game, self.t = game(m), 0

    def run(self, steps, row):
        found = native()
        kept = SimpleNamespace(**{name: getattr(found, name) for name in TWINS if name not in ROWS[row]})
        backend.TWINS['numpy'] = lambda xp: kept
        found.library.set_threads(1 if row == ONE_THREAD else threads())
        for optimizer in (self.game.optimizer_G, self.game.optimizer_D):  # NumPy's passes go over short pieces
            optimizer._scratch = np.empty(CHUNK if 'adam_' in ROWS[row] else optimizer.net.theta.size, np.float32)
        for _ in range(steps):
            self.game.step(self.t)
            self.t += 1


def measure(m, count, **settings):
    """row -> its result, for one batch size and number of threads. settings: of race."""
    worker = Worker('bench_native:Ablation', m, threads=count)
    if not worker.wait_until_ready():
        raise SystemExit(worker.missing)
    entrants = [Entrant(row, worker, row) for row in ROWS if row != ONE_THREAD or count > 1]
    race(entrants, **settings)
    worker.close()
    return {entrant.name: entrant.result(entrants[0]) for entrant in entrants}


def report(m, count, results):
    """One configuration's table, as text."""
    title, ms = f'batch {m}, {count} thread{"s" * (count > 1)}', 1e3 * results[ALL]['seconds'][0]
    lines = [f'\n{title:30}{ALL}: {ms:.2f} ms']
    lines += [f'{row:30}{spread(*result["ratio"], digits=3)}' for row, result in results.items() if row != ALL]
    return '\n'.join(lines)


def table(content):
    """The table of bench/README.md."""
    runs = content['runs']
    head = ['threads, batch', *(f"{run['threads']}, {run['m']}" for run in runs)]
    rows = [[f'{ALL}, ms', *(f"{1e3 * run['results'][ALL]['seconds'][0]:.1f}" for run in runs)]]
    for row in list(ROWS)[1:]:
        found = [run['results'].get(row) for run in runs]
        rows.append([row, *(f"{result['ratio'][0]:.2f}" if result else '' for result in found)])
    return markdown(head, rows) + f"\n\n*{describe(content['machine'])}.*"


def main():
    """Parse the arguments, measure, print, and after a full run write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='a first look')
    parser.add_argument('--batches', type=positive, metavar='M', nargs='+', default=BATCHES)
    parser.add_argument('--threads', type=positive, metavar='N', nargs='+', default=THREADS)
    options = parser.parse_args()
    if min(options.batches) < 2:
        parser.error('--batches: expected at least 2 images, since G has a batch norm')
    settings = {'rounds': ROUNDS, 'seconds': 0.25}
    if options.quick:
        options.batches, options.threads, settings = [32], [2], {'rounds': 4, 'seconds': 0.1}
    print(f'{describe(machine())}\nblocks of {settings["seconds"]} s, {settings["rounds"]} rounds after 3 of warm-up; '
          f'median (quartiles) of the ratio')
    runs = []
    for count in options.threads:
        for m in options.batches:
            runs.append({'threads': count, 'm': m, 'results': measure(m, count, **settings)})
            print(report(m, count, runs[-1]['results']), flush=True)
    if (tuple(options.batches), tuple(options.threads)) == (BATCHES, THREADS):
        save('native', {'runs': runs, **settings})
        update_table('bench_native', table(load('native')))


if __name__ == '__main__':
    main()
