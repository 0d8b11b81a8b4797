"""Which modes a GAN finds in the plane, and what the stabilisers change, there and on MNIST.

    python bench/bench_mixtures.py

Ring of 8 and grid of 25 with PacGAN's networks and optimiser (mixtures.py) for 10 epochs of 1,000 steps (PacGAN's 400
would take days), seeds 0 to 4; then the default on MNIST for 8 epochs, seeds 0 to 2. One thread each. The first row is
without stabilisers; each of the next three has one, on the ring (seeds 0 to 2) and on MNIST. Each result goes into
bench/results/mixtures.json at once; --only chooses what to run again, such as 'MNIST none'. From that file come the
table in bench/README.md and a picture of the samples.
"""

import argparse
import tempfile
from dataclasses import replace

import numpy as np
from bench_quality import N, cells, judge_of, runs_of
from harness import RESULTS, Worker, add_results, load, machines, markdown, update_table

import minigan
from minigan.pictures import plots
from minigan.study import mixtures
from minigan.training.config import Config
from minigan.training.run import train

EPOCHS = 10  # in the plane
STABILISERS = {  # name -> what it is in the plane, and on MNIST
    'none': ({}, {}),
    'clip_norm': ({'clip_norm': 1.0}, {'clip_norm': 1.0}),
    'input_noise': ({'input_noise': 0.1}, {'input_noise': 0.3}),
    'label_smoothing': ({'smoothing': 0.1}, {'label_smoothing': 0.1}),
}
MNIST = {'data': 'mnist', 'epochs': 8}
JOBS = {'ring of 8 none': 5, 'grid of 25 none': 5, **{f'ring of 8 {name}': 3 for name in list(STABILISERS)[1:]},
        **{f'MNIST {name}': 3 for name in STABILISERS}}  # -> how many seeds
PLANE = {'modes': ('modes', 1), 'high_quality': ('high quality', 3), 'reverse_kl': ('reverse KL', 2)}
IMAGES = {'frechet': ('Frechet', 1), 'score': ('score', 2), 'coverage': ('coverage', 2)}
PUBLISHED = {  # of the same networks without stabilisers: (ring of 8), (grid of 25)
    'PacGAN\'s paper, 400 epochs': (('6.3 ± 0.5', '0.982', '0.45'), ('17.3 ± 0.8', '0.948', '0.70')),
    'VEEGAN\'s paper, other networks': (('1', '', ''), ('3.3', '', '')),
}


class Plane:
    """PacGAN's baseline on a mixture."""

    def __init__(self, mixture, stabiliser, seed):
        self.mixture = mixtures.MIXTURES[mixture]
        steps, stabiliser = EPOCHS * mixtures.EPOCH, STABILISERS[stabiliser][0]
        self.game = mixtures.pacgan_game(self.mixture, seed, steps=steps, **stabiliser)

    def train(self):
        """Returns the measures after each epoch, and samples after the last."""
        curve = []
        for t in range(EPOCHS * mixtures.EPOCH):
            self.game.step(t)
            if (t + 1) % mixtures.EPOCH == 0:
                samples = self.game.G(self.game.draw_z(self.game.streams.at('sample', 0), mixtures.N))
                curve.append(self.mixture.measure(samples))
        return {**curve[-1], 'curve': curve, 'samples': samples[:500].T.round(3).tolist()}


class Images:
    """The default on MNIST."""

    def __init__(self, stabiliser, seed):
        self.config = Config(**{**MNIST, **STABILISERS[stabiliser][1]}, seed=seed)

    def train(self):
        """Returns every measure."""
        with tempfile.TemporaryDirectory() as folder:
            train(replace(self.config, out=f'{folder}/run'), quiet=True)
            return judge_of()(minigan.load(f'{folder}/run').sample(N).reshape(N, -1))


def play(job, seed):
    """The result of one run, in a process of its own."""
    what, stabiliser = job.rsplit(' ', 1)
    worker = (Worker('bench_mixtures:Images', stabiliser, seed) if what == 'MNIST' else
              Worker('bench_mixtures:Plane', what, stabiliser, seed))
    if not worker.wait_until_ready():
        raise SystemExit(f'{job}: {worker.missing}')
    result, _ = worker.call('train')
    worker.close()
    return result


def table(content):
    """The README's table."""
    def of(job, measures):
        return cells(runs_of(content, job), measures)
    rows = [[name, *of(f'ring of 8 {name}', PLANE), *of(f'grid of 25 {name}', PLANE), *of(f'MNIST {name}', IMAGES)]
            for name in (*STABILISERS, 'perfect samples')]
    rows += [[name, *ring, *grid, '', '', ''] for name, (ring, grid) in PUBLISHED.items()]
    head = ['', *(f'{what}: {title}' for what, measures in (('ring', PLANE), ('grid', PLANE), ('MNIST', IMAGES))
                  for title, _ in measures.values())]
    return markdown(head, rows) + f'\n\n{machines(content)}'


def draw(content, path):
    """Samples of each run without stabilisers."""
    clouds = {}
    for name, mixture in mixtures.MIXTURES.items():
        for seed, run in enumerate(runs_of(content, f'{name} none')):
            clouds[f'{name}, seed {seed}'] = mixture.centres, np.transpose(run['samples'])
    plots.scatter(path, clouds)


def main():
    """Parse the arguments, train, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='*', default=[*JOBS, 'perfect samples'])
    options = parser.parse_args()

    for job in options.only:
        for seed in range(JOBS.get(job, 0)):
            result = play(job, seed)
            add_results('mixtures', {f'{job} {seed}': result})
            print(job, seed, {key: round(value, 3) for key, value in result.items() if key in {**PLANE, **IMAGES}},
                  flush=True)
    if 'perfect samples' in options.only:
        rng = mixtures.Streams(0)
        add_results('mixtures', {
            f'{name} perfect samples 0': mixture.measure(mixture.sample(rng.at('sample', 0), mixtures.N))
            for name, mixture in mixtures.MIXTURES.items()})
        add_results('mixtures', {'MNIST perfect samples 0': judge_of().real_images(N)})
    content = load('mixtures')
    print(table(content))
    update_table('bench_mixtures', table(content))
    draw(content, RESULTS / 'mixtures.png')


if __name__ == '__main__':
    main()
