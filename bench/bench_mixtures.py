"""Which modes a GAN finds in the plane, and what the stabilisers change, there and on MNIST.

    python bench/bench_mixtures.py

It trains PacGAN's networks with its optimiser on the ring of 8 and the grid of 25 for 10 epochs of 1,000 steps (its 400
would take days), seeds 0 to 4; then the default on MNIST for 8 epochs, seeds 0 to 2. Each run has one thread. The first
row has no stabilisers; each of the next three has one, on the ring (seeds 0 to 2) and on MNIST. Each result goes to
bench/results/mixtures.json at once; --only chooses what to run again, such as 'MNIST none'. The table in
bench/README.md and a picture of the samples are made from that file.

Lin et al. 2018, PacGAN, section 4.1, and its authors' code.
"""

import argparse
import tempfile
from dataclasses import replace

import numpy as np
from bench_quality import N, cells, judge_of, runs_of
from harness import RESULTS, Worker, add_results, load, machines, markdown, update_table

import minigan
from minigan.data import Order
from minigan.gan import Game
from minigan.layers import BatchNorm, Dense, LeakyReLU, Maxout, Noise
from minigan.net import Net
from minigan.optim import Adam, linear_decay
from minigan.pictures import theory
from minigan.streams import PICTURES, Streams
from minigan.study.mixtures import MEASURED, MIXTURES
from minigan.training.config import Config
from minigan.training.run import train

POINTS, BATCH = 100_000, 100  # of PacGAN's data in the plane
EPOCH, EPOCHS = POINTS // BATCH, 10  # steps of an epoch, and epochs, in the plane
INIT_WIDTH = 0.02 * 3**0.5  # of uniform weights whose sigma is that of PacGAN's normal ones, 0.02
STABILISERS = {  # name -> its settings in the plane, and on MNIST
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


def pacgan_G():
    """PacGAN's generator: four hidden layers of 400 units."""
    layers, n = [], 2
    for _ in range(4):
        layers += [Dense(n, 400, bias=False, a=INIT_WIDTH), BatchNorm(400, momentum=0.95, eps=1e-4), LeakyReLU(0)]
        n = 400
    return [*layers, Dense(n, 2, a=INIT_WIDTH)]


def pacgan_D():
    """Its discriminator, for one point at a time: three layers of 200 maxout units with 5 pieces."""
    layers, n = [], 2
    for _ in range(3):
        layers += [Dense(n, 1000, a=INIT_WIDTH), Maxout(5)]
        n = 200
    return [*layers, Dense(n, 1, a=INIT_WIDTH)]


def pacgan_game(mixture, seed, *, steps, smoothing=0.0, input_noise=0.0, clip_norm=None):
    """The Game of PacGAN's baseline: 100,000 points, Adam 1e-4 with beta1 0.8, both players at once.

    Its 400 epochs are 400,000 steps. The stabilisers are those of config.py; input_noise falls to 0 in `steps` steps.
    """
    streams = Streams(seed)
    points = mixture.sample(streams.at('init', 1), POINTS)
    order = Order(POINTS, BATCH, streams)
    noise = [Noise(linear_decay(input_noise, steps))] if input_noise else []
    G = Net(pacgan_G(), rng=streams.at('init', 0, 0), name='G')
    D = Net([*noise, *pacgan_D()], rng=streams.at('init', 0, 1), name='D')
    return Game(G, D, Adam(G, learning_rate=1e-4, beta1=0.8, clip_norm=clip_norm),
                Adam(D, learning_rate=1e-4, beta1=0.8, clip_norm=clip_norm),
                lambda j: points[order.rows(j)], streams, m=BATCH, n_z=2, update='simultaneous',
                smoothing=smoothing)


class Plane:
    """PacGAN's baseline on a mixture."""

    def __init__(self, mixture, stabiliser, seed):
        self.mixture = MIXTURES[mixture]
        self.game = pacgan_game(self.mixture, seed, steps=EPOCHS * EPOCH, **STABILISERS[stabiliser][0])

    def train(self):
        """Returns the measures after each epoch, and samples after the last."""
        curve = []
        for t in range(EPOCHS * EPOCH):
            self.game.step(t)
            if (t + 1) % EPOCH == 0:
                samples = self.game.G(self.game.draw_z(self.game.streams.at('sample', PICTURES), MEASURED))
                curve.append(self.mixture.measure(samples))
        return {**curve[-1], 'curve': curve, 'samples': samples[:500].T.round(3).tolist()}


class Images:
    """The default on MNIST."""

    def __init__(self, stabiliser, seed):
        self.config = Config(**{**MNIST, **STABILISERS[stabiliser][1]}, seed=seed, device='cpu')

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
    for name, mixture in MIXTURES.items():
        for seed, run in enumerate(runs_of(content, f'{name} none')):
            clouds[f'{name}, seed {seed}'] = mixture.centres, np.transpose(run['samples'])
    theory.scatter(path, clouds)


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
        for name, mixture in MIXTURES.items():
            samples = mixture.sample(Streams(0).at('sample', PICTURES), MEASURED)
            add_results('mixtures', {f'{name} perfect samples 0': mixture.measure(samples)})
        add_results('mixtures', {'MNIST perfect samples 0': judge_of().real_images(N)})
    content = load('mixtures')
    print(table(content))
    update_table('bench_mixtures', table(content))
    draw(content, RESULTS / 'mixtures.png')


if __name__ == '__main__':
    main()
