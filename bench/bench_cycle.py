"""Does CycleGAN find a map that is known? Between two halves of the digits and of MNIST, one of them mapped.

    python bench/bench_cycle.py

Each job is a run of `minigan train --cycle NAME/plain NAME/MAP`, with one thread and seeds that no setting was chosen
with. The test images of both domains correspond, which training never sees. Kept: the fraction of test images whose
translation has their class, to a classifier that was trained on images of the domain translated into; next to it its
accuracy on the true translations. Error: mean difference to the true translation, of pixels in [0, 1]. Each result goes
to bench/results/cycle.json at once, and the table into bench/README.md. --only chooses what to run again, such as
'digits inverted'.
"""

import argparse
import time

import numpy as np
from bench_quality import cells, runs_of
from harness import Worker, add_results, load, machines, markdown, update_table

from minigan import data, ops
from minigan.evaluation import classifier
from minigan.gpu.device import select_device
from minigan.native.twins import use
from minigan.training.config import Config
from minigan.training.state import Run

EPOCHS = {'digits': 40, 'mnist': 1}
WEIGHTS = {'inverted': 1, 'thick': 10}  # of the cycle loss
ALONE = ', no cycle loss'
SEEDS = 3, 4, 5
MEASURES = {'seconds': ('CPU s', 0), 'kept': ('G kept', 3), 'accuracy': ('true', 3), 'error': ('error of G', 3),
            'kept_back': ('F kept', 3), 'accuracy_back': ('true', 3), 'error_back': ('error of F', 3),
            'cycle': ('F(G(x)) - x', 3)}
AT_ONCE = 1000


class Translation:
    """A run between two domains."""

    def __init__(self, source, domain, weight, seed):
        use(True)  # native twins, where there is a compiler: they give the same bits
        names = {'cycle': f'{source}/plain', 'data': f'{source}/{domain}'}
        self.pair = data.load(names['data'], names['cycle'])
        self.config = Config(network='cycle', device='cpu', epochs=EPOCHS[source],
                             cycle_weight=weight, seed=seed, **names)

    def train(self):
        """Train to the end. Returns every measure."""
        run, begin = Run(self.config, self.pair, select_device('cpu')), time.process_time()
        while run.t < run.last:
            run.step()
        spent, (x, y) = time.process_time() - begin, map(tests, (self.pair.X, self.pair))
        G, F = run.game.G, run.game.back.G
        there, back = through(G, x), through(F, y)
        return {'seconds': spent, 'steps': run.t, 'cycle': difference(through(F, there), x),
                'kept': kept(there, self.pair), 'accuracy': kept(y, self.pair), 'error': difference(there, y),
                'kept_back': kept(back, self.pair.X), 'accuracy_back': kept(x, self.pair.X),
                'error_back': difference(back, x)}


def tests(dataset):
    """The test images in [-1, 1]."""
    return ops.gather_images(dataset.test, np.arange(len(dataset.test)), np.float32)


def through(net, x):
    """net(x), of few images at a time."""
    return np.concatenate([net(x[i:i + AT_ONCE]) for i in range(0, len(x), AT_ONCE)])


def kept(x, dataset):
    """The fraction of translated test images that the dataset's classifier assigns to their class."""
    _, p = classifier.load(dataset, quiet=True)(x)
    return float((p.argmax(axis=1) == dataset.labels[2]).mean())


def difference(x, true):
    """The mean difference of pixels in [0, 1]."""
    return float(abs(x - true).mean() / 2)


def jobs():
    """job -> (source, domain, weight of the cycle loss)."""
    return {f'{source} {domain}{more}': (source, domain, weight) for source in EPOCHS
            for domain, own in WEIGHTS.items() for more, weight in (('', own), (ALONE, 0))}


def play(job, seed):
    """The result of one run, in a process of its own."""
    worker = Worker('bench_cycle:Translation', *jobs()[job], seed)
    if not worker.wait_until_ready():
        raise SystemExit(f'{job}: {worker.missing}')
    result, _ = worker.call('train')
    worker.close()
    return result


def table(content):
    """The README's table."""
    rows = [[job, *cells(runs_of(content, job), MEASURES)] for job in jobs() if runs_of(content, job)]
    return markdown(['', *(title for title, _ in MEASURES.values())], rows) + f'\n\n{machines(content)}'


def main():
    """Parse the arguments, train, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='*', default=list(jobs()), choices=list(jobs()), metavar="'DATA MAP'")
    parser.add_argument('--seeds', nargs='*', type=int, default=SEEDS, metavar='N')
    options = parser.parse_args()
    for seed in options.seeds:
        for job in options.only:
            result = play(job, seed)
            add_results('cycle', {f'{job} {seed}': result})
            print(job, seed, {key: round(value, 3) for key, value in result.items()}, flush=True)
    update_table('bench_cycle', table(load('cycle')))
    print(table(load('cycle')))


if __name__ == '__main__':
    main()
