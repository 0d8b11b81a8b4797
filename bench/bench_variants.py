"""What came after 2014, side by side: every variant on the same data, for the same CPU seconds.

    python bench/bench_variants.py

Each variant differs from the default in one idea, with the settings that belong to it. On the digits, MNIST and Stacked
MNIST it trains as `minigan train` does, for as many epochs as fit into the seconds of BUDGET; in the plane, on the ring
of 8 and the grid of 25, all variants have the same small networks and rates. Each run has one thread and seeds that no
setting was chosen with. Each result goes to bench/results/variants.json at once; --only chooses what to run again, such
as 'digits default'. The tables in bench/README.md and a picture of the samples in the plane are made from that file.
"""

import argparse
import time
from functools import cache

import numpy as np
from bench_quality import cells, runs_of
from harness import RESULTS, Worker, add_results, load, machines, markdown, update_table

from minigan import Adam, Net, Streams, data
from minigan.evaluation import classifier
from minigan.evaluation.judge import SAMPLES as N
from minigan.evaluation.judge import Judge
from minigan.evaluation.modes import SAMPLES as TRIPLES
from minigan.evaluation.modes import ModeJudge
from minigan.gan import Game
from minigan.gpu.device import select_device
from minigan.layers import BatchNorm, Dense, LeakyReLU
from minigan.native.twins import use
from minigan.networks import Recipe
from minigan.optim import linear_decay
from minigan.pictures import theory
from minigan.streams import PICTURES, WATCH
from minigan.study.mixtures import MEASURED, MIXTURES
from minigan.study.runs import WASSERSTEIN, signs
from minigan.training.config import Config
from minigan.training.state import Run
from minigan.variants.matching import FeatureMatchingGame
from minigan.variants.minibatch import InBlocks, MinibatchDiscrimination, MinibatchStddev
from minigan.variants.packing import packed
from minigan.variants.spectral import SpectralDense
from minigan.variants.wasserstein import WassersteinGame

BUDGET = {'digits': 10, 'mnist': 60, 'stacked-mnist': 120, 'ring of 8': 30, 'grid of 25': 30}  # CPU seconds
SEEDS = {'digits': (3, 4, 5), 'mnist': (3,), 'stacked-mnist': (3,), 'ring of 8': (3, 4), 'grid of 25': (3, 4)}
VARIANTS = {  # name -> its choices on images; its differences in the plane
    'default': ({}, {}),
    'conditional': ({'conditional': True}, None),
    'minimax': ({'objective': 'minimax'}, {'objective': 'minimax'}),
    'least squares': ({'objective': 'leastsquares'}, {'objective': 'leastsquares'}),
    'hinge': ({'objective': 'hinge'}, {'objective': 'hinge'}),
    'wgan': ({'network': 'wgan'}, {'objective': 'wasserstein', 'k': 5, 'beta2': 0.9, 'game': WassersteinGame,
                                   'gradient_penalty': 0.1}),
    'wgan-clip': ({'network': 'wgan-clip'}, {'objective': 'wasserstein', 'k': 5, 'beta2': 0.99,
                                             'game': WassersteinGame, 'clip_weights': 0.1}),
    'pack 2': ({'pack': 2}, {'pack': 2}),
    'minibatch-stddev': ({'network': 'minibatch-stddev'}, {'mixing': 'stddev'}),
    'minibatch-discrimination': ({'network': 'minibatch-discrimination'}, {'mixing': 'discrimination'}),
    'batchnorm-D': ({'network': 'batchnorm-D'}, {'mixing': 'batch norm'}),
    'spectral': ({'network': 'spectral'}, {'objective': 'hinge', 'dense': SpectralDense}),
    'feature-matching': ({'network': 'feature-matching'}, {'game': FeatureMatchingGame}),
    'default, prior in pieces': (None, {'prior': signs, 'n_z': 16}),
    'wgan, prior in pieces': (None, WASSERSTEIN),
}
CALIBRATION = 30  # steps
IMAGES = {'frechet': ('Frechet', 1), 'precision': ('precision', 2), 'recall': ('recall', 2),
          'coverage': ('coverage', 2)}
STACKED = {'modes': ('modes', 0), 'modes_kl': ('KL', 2), 'clear': ('clear', 2), 'clear_modes': ('clear modes', 0)}
PLANE = {'modes': ('modes', 1), 'high_quality': ('high quality', 2), 'reverse_kl': ('reverse KL', 2)}
PUBLISHED = {  # of convolutional or larger networks, trained for much longer: (stacked), (ring), (grid)
    'DCGAN (Srivastava et al. 2017)': (('99', '3.40', '', ''), ('', '', ''), ('', '', '')),
    'GAN (Lin et al. 2018)': (('78.9 ± 6.5', '4.50', '', ''), ('6.3 ± 0.5', '0.98', '0.45'),
                              ('17.3 ± 0.8', '0.95', '0.70')),
    'PacGAN 2 (Lin et al. 2018)': (('1000', '0.06', '', ''), ('7.9', '', ''), ('23.8', '', '')),
    'WGAN-GP (Kumar et al. 2019)': (('959', '0.73', '', ''), ('', '', ''), ('', '', '')),
}
M, HIDDEN = 100, 128  # rows of a block, and units of a layer, in the plane
COMMON = {'game': Game, 'm': M, 'n_z': 2, 'k': 1, 'rate': 1e-3, 'beta1': 0.5, 'beta2': 0.999}  # there


@cache
def judge_of(source):
    """The judge of a data set of images."""
    dataset = data.load(source)
    if source == 'stacked-mnist':
        return ModeJudge(dataset, quiet=True)
    return Judge(dataset, classifier.load(dataset, quiet=True))


class OnImages:
    """A variant on a data set, as `minigan train` trains it."""

    def __init__(self, variant, source, seed):
        use(True)  # native twins, where there is a compiler: they give the same bits
        self.source, self.choices = source, {**VARIANTS[variant][0], 'data': source, 'seed': seed, 'device': 'cpu'}

    def run(self, **choices):
        """A Run."""
        return Run(Config(**{**self.choices, **choices}), data.load(self.source), select_device('cpu'))

    def train(self, seconds):
        """Train for about as many CPU seconds. Returns every measure."""
        trial = self.run(epochs=1)
        steps = seconds / cost(trial.step)
        run = self.run(epochs=max(1, round(steps / trial.steps_per_epoch)))
        begin = time.process_time()
        while run.t < run.last:
            run.step()
        spent = time.process_time() - begin
        n = TRIPLES if self.source == 'stacked-mnist' else min(N, len(run.dataset.train))
        z = run.game.draw_z(Streams(0).at('sample', WATCH), n)
        drawn = np.concatenate([run.generator(z[i:i + 1000]) for i in range(0, n, 1000)])
        images = (drawn[:, :run.dataset.train.shape[1]] + 1) / 2
        return {'seconds': spent, 'steps': run.t, **judge_of(self.source)(images)}


def cost(step):
    """CPU seconds of a step, after a few to warm up."""
    for _ in range(5):
        step()
    begin = time.process_time()
    for _ in range(CALIBRATION):
        step()
    return (time.process_time() - begin) / CALIBRATION


def plane_recipe(*, mixing=None, dense=Dense, pack=1):
    """The Recipe of small networks in the plane. mixing: what compares the rows of a block in D; dense: D's layers."""
    def G(n_z, shape):
        return [Dense(n_z, HIDDEN), LeakyReLU(0.2), Dense(HIDDEN, HIDDEN), LeakyReLU(0.2), Dense(HIDDEN, 2)]

    def D(shape):
        first, second = dense(int(np.prod(shape)), HIDDEN), dense(HIDDEN, HIDDEN)
        if mixing == 'batch norm':
            return [first, LeakyReLU(0.2), second, InBlocks(BatchNorm(HIDDEN), M), LeakyReLU(0.2), dense(HIDDEN, 1)]
        blocks, wider = {'stddev': ([InBlocks(MinibatchStddev(), M)], 1), None: ([], 0),
                         'discrimination': ([InBlocks(MinibatchDiscrimination(HIDDEN, 50, 5), M)], 50)}[mixing]
        return [first, LeakyReLU(0.2), second, LeakyReLU(0.2), *blocks, dense(HIDDEN + wider, 1)]

    recipe = Recipe(G, D, batch=M, learning_rate_G=1e-3, learning_rate_D=1e-3, update='alternating')
    return packed(recipe, pack) if pack > 1 else recipe


class InThePlane:
    """A variant on a mixture of Gaussians."""

    def __init__(self, variant, mixture, seed):
        use(True)
        self.mixture, self.differences, self.seed = MIXTURES[mixture], dict(VARIANTS[variant][1]), seed

    def game(self, steps):
        """The Game, whose rates fall to 0 in `steps` steps."""
        given = {**COMMON, **self.differences}
        recipe = plane_recipe(**{name: given.pop(name) for name in ('mixing', 'dense', 'pack') if name in given})
        game, rate, adam = given.pop('game'), given.pop('rate'), {name: given.pop(name) for name in ('beta1', 'beta2')}
        streams, m = Streams(self.seed), given['m']
        G = Net(recipe.G(given['n_z'], (2,)), rng=streams.at('init', 0, 0), name='G')
        D = Net(recipe.D((2,)), rng=streams.at('init', 0, 1), name='D')
        return game(G, D, Adam(G, learning_rate=linear_decay(rate, steps), **adam),
                    Adam(D, learning_rate=linear_decay(rate, steps * given['k']), **adam),
                    lambda j: self.mixture.sample(streams.at('data', j), m) / self.scale(), streams, **given)

    def scale(self):
        """The root mean square of a coordinate of the data."""
        return np.float32(np.sqrt((self.mixture.centres**2).mean()))

    def train(self, seconds):
        """Train for about as many CPU seconds. Returns the measures, and some samples."""
        trial, t = self.game(10**6), iter(range(10**6))
        steps = round(seconds / cost(lambda: trial.step(next(t))))
        game = self.game(steps)
        begin = time.process_time()
        for t in range(steps):
            game.step(t)
        spent = time.process_time() - begin
        samples = game.G(game.draw_z(game.streams.at('sample', PICTURES), MEASURED)) * self.scale()
        return {'seconds': spent, 'steps': steps, **self.mixture.measure(samples),
                'samples': samples[:500].T.round(3).tolist()}


def jobs():
    """'data variant' -> its seeds."""
    return {f'{source} {variant}': SEEDS[source] for source in BUDGET for variant, (images, plane) in VARIANTS.items()
            if (plane if source in MIXTURES else images) is not None
            and (source, variant) != ('stacked-mnist', 'conditional')}


def play(job, seed):
    """The result of one run, in a process of its own."""
    source = next(source for source in BUDGET if job.startswith(f'{source} '))
    variant = job.removeprefix(f'{source} ')
    worker = Worker(f'bench_variants:{"InThePlane" if source in MIXTURES else "OnImages"}', variant, source, seed)
    if not worker.wait_until_ready():
        raise SystemExit(f'{job}: {worker.missing}')
    result, _ = worker.call('train', BUDGET[source])
    worker.close()
    return result


def real(source):
    """The measures of real images, or of samples of the mixture itself."""
    if source in MIXTURES:
        return MIXTURES[source].measure(MIXTURES[source].sample(Streams(0).at('sample', PICTURES), MEASURED))
    judge = judge_of(source)
    return judge.comparisons(TRIPLES)['real images'] if source == 'stacked-mnist' else judge.real_images(N)


def table(content):
    """The README's two tables: of images, and of modes."""
    return '\n\n'.join([*tables(content), machines(content)])


def tables(content):
    """Each of them."""
    def of(name, sources):
        return [cell for source, measures in sources.items()
                for cell in cells(runs_of(content, f'{source} {name}'), measures)]
    images, modes = {'digits': IMAGES, 'mnist': IMAGES}, {'stacked-mnist': STACKED, **dict.fromkeys(MIXTURES, PLANE)}
    for sources in (images, modes):
        rows = [[name, *of(name, sources)] for name in (*VARIANTS, 'real data')]
        rows = [row for row in rows if any(row[1:])]
        if sources is modes:
            rows += [[name, *(cell for part in parts for cell in part)] for name, parts in PUBLISHED.items()]
        head = ['', *(f'{source}: {title}' for source, measures in sources.items() for title, _ in measures.values())]
        yield markdown(head, rows)


def draw(content, path):
    """Samples in the plane, of the first seed of each variant."""
    clouds = {}
    for source, mixture in MIXTURES.items():
        for variant in VARIANTS:
            for run in runs_of(content, f'{source} {variant}')[:1]:
                clouds[f'{variant}, {source[:4]}'] = mixture.centres, np.transpose(run['samples'])
    theory.scatter(path, clouds, columns=6)


def main():
    """Parse the arguments, train, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='*', default=[*jobs(), 'real data'], metavar="'DATA VARIANT'")
    options = parser.parse_args()
    for job in options.only:
        for seed in jobs().get(job, ()):
            result = play(job, seed)
            add_results('variants', {f'{job} {seed}': result})
            shown = {'seconds', 'steps', *IMAGES, *STACKED, *PLANE}
            print(job, seed, {key: round(value, 3) for key, value in result.items() if key in shown}, flush=True)
    if 'real data' in options.only:
        add_results('variants', {f'{source} real data 0': real(source) for source in BUDGET})
    content = load('variants')
    print(table(content))
    update_table('bench_variants', table(content))
    draw(content, RESULTS / 'variants.png')


if __name__ == '__main__':
    main()
