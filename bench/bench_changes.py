"""What each change from the article's GAN to the default buys, one change after the other.

    python bench/bench_changes.py --data mnist --epochs 8    the table of bench/README.md
    python bench/bench_changes.py --epochs 2                 a first look, on the digits

It trains each network as `minigan train` does. Its table has a row for each change, and one for real training images:

    D(x), D(G(z))   D's mean answers at the end, from the log
    score           of 10,000 samples by our classifier, 1 to 10 (metrics.classifier_score)
    distance        Frechet distance of their features from those of the test images (metrics.frechet)

With --data mnist --epochs 8 it puts the table into bench/README.md; otherwise it only prints it.
"""

import argparse
import csv
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
from harness import markdown, positive, update_table
from tqdm import tqdm

import minigan
from minigan import RECIPES, BatchNorm, Dense, Dropout, LeakyReLU, Tanh, data
from minigan.evaluation import classifier, metrics
from minigan.evaluation.judge import SAMPLES as N
from minigan.evaluation.judge import Judge
from minigan.training.config import Config
from minigan.training.run import train

HEAD = 'change, on top of the ones above', 'D(x)', 'D(G(z))', 'score', 'distance'
PUBLISHED = 'mnist', 8  # the data and epochs of the table in bench/README.md


def bare_output_G(n_z, shape):
    """The article's generator without batch norm and LeakyReLU in front of tanh."""
    return [Dense(n_z, 256, bias=False), BatchNorm(256), LeakyReLU(0.3),
            Dense(256, 512), BatchNorm(512), LeakyReLU(0.3),
            Dense(512, prod(shape)), Tanh()]


def smoother_D(shape):
    """The article's discriminator with slope 0.2."""
    return [Dense(prod(shape), 512), LeakyReLU(0.2), Dropout(0.3),
            Dense(512, 256), LeakyReLU(0.2), Dropout(0.3),
            Dense(256, 1)]


def changes():
    """Yields (what was changed, the recipe so far), from the article to the default."""
    recipe, default = RECIPES['article'], RECIPES['default']
    yield 'the article', recipe
    for name, change in (('no batch norm, no LeakyReLU before tanh', {'G': bare_output_G}),
                         ('slope 0.3 -> 0.2, no bias before batch norm', {'G': default.G, 'D': smoother_D}),
                         ('simultaneous -> alternating', {'update': default.update}),
                         ('beta1 0.9 -> 0.5, learning rates 1e-4 -> 2e-4',
                          {'beta1': 0.5, 'learning_rate_G': 2e-4, 'learning_rate_D': 2e-4}),
                         ('beta1 0', {'beta1': default.beta1}),
                         ('dropout 0.3 -> 0.2', {'D': default.D}),
                         ('learning rates 4e-3 (G) and 1e-3 (D), batch 50',
                          {'learning_rate_G': default.learning_rate_G, 'learning_rate_D': default.learning_rate_D,
                           'batch': default.batch}),
                         ('learning rates rise, and fall to 0', {'schedule': default.schedule}),
                         ('samples from an average of theta_G: the default', {'average': default.average})):
        recipe = replace(recipe, **change)
        yield name, recipe
    assert recipe == default


def judge(images, judging):
    """(score, distance) of images (N, n) in [0, 1]. judging: a Judge."""
    features, p = judging.classifier(2 * images - 1)
    return metrics.classifier_score(p), metrics.frechet(features, judging.features)


@contextmanager
def registered(name, recipe):
    """Within, RECIPES has the recipe under this name."""
    RECIPES[name] = recipe
    try:
        yield
    finally:
        del RECIPES[name]


def play(recipe, judging, source, epochs, seed):
    """Train a recipe. Returns D(x), D(G(z)), score and distance."""
    with registered('changed', recipe), tempfile.TemporaryDirectory() as folder:
        config = Config(network='changed', data=source, epochs=epochs, seed=seed, device='cpu', out=folder)
        train(config, quiet=True)
        *_, last = csv.DictReader((Path(folder) / 'log.csv').open())
        samples = minigan.load(folder).sample(N).reshape(N, -1)
    return float(last['train_D_x']), float(last['train_D_G_z']), *judge(samples, judging)


def row(name, runs):
    """A row of the table: means over the runs (seeds, 4), and standard deviations if there are several."""
    errors = [f' ± {one:.1g}' for one in runs.std(axis=0, ddof=1)] if len(runs) > 1 else [''] * 4
    return [name, *(f'{mean:.3g}{error}' for mean, error in zip(runs.mean(axis=0), errors))]


def main():
    """Parse the arguments, train every recipe, print the table; put the published one into bench/README.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='digits')
    parser.add_argument('--epochs', type=positive)
    parser.add_argument('--seeds', type=positive, default=1, help='how many runs each row averages')
    options = parser.parse_args()
    dataset = data.load(options.data)
    judging, rows = Judge(dataset, classifier.load(dataset)), []
    for name, recipe in tqdm(list(changes())):
        runs = [play(recipe, judging, options.data, options.epochs, seed) for seed in range(options.seeds)]
        rows.append(row(name, np.array(runs)))
    score, distance = judge(dataset.train[:N] / np.float32(255), judging)
    rows.append(['real training images', '', '', f'{score:.3g}', f'{distance:.3g}'])
    table = markdown(HEAD, rows)
    print(table)
    if (options.data, options.epochs) == PUBLISHED:
        update_table('bench_changes', table)


if __name__ == '__main__':
    main()
