"""What each change from the article's GAN to the default buys, one change after the other.

    python bench/bench_changes.py --data mnist --epochs 8

A judge that never meets a GAN (scikit-learn's MLPClassifier, trained on the labelled training images) looks at
10,000 samples of each generator in evaluation mode. Prints a Markdown table, and the judge's opinion of the real
test images as its last row:

    score      exp(E KL(p(y|x) || p(y))): 1 when all samples look alike or like nothing, 10 for ten clear classes
    distance   Frechet distance between samples and training images in the judge's 256 hidden features
"""

import argparse
import warnings
from dataclasses import replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from tqdm import tqdm

from minigan import RECIPES, BatchNorm, Dense, LeakyReLU, Tanh, data
from minigan.training import Config, build_game, means

N = 10_000  # samples that are judged


def bare_output_G(n_z, n):
    """The article's generator without batch norm and LeakyReLU in front of tanh."""
    return [Dense(n_z, 256, bias=False), BatchNorm(256), LeakyReLU(0.3),
            Dense(256, 512), BatchNorm(512), LeakyReLU(0.3),
            Dense(512, n), Tanh()]


def changes():
    """(what was changed, the recipe so far), from the article to the default."""
    recipe, default = RECIPES['article'], RECIPES['default']
    yield 'the article', recipe
    for name, change in (('no batch norm, no LeakyReLU before tanh', {'G': bare_output_G}),
                         ('slope 0.3 -> 0.2, no bias before batch norm', {'G': default.G, 'D': default.D}),
                         ('beta1 0.9 -> 0.5', {'beta1': default.beta1}),
                         ('simultaneous -> alternating', {'update': default.update}),
                         ('learning rate 1e-4 -> 2e-4: the default',
                          {'learning_rate_G': default.learning_rate_G, 'learning_rate_D': default.learning_rate_D})):
        recipe = replace(recipe, **change)
        yield name, recipe
    assert recipe == default


class Judge:
    """A classifier of the training images, and the first two moments of its features on them."""

    def __init__(self, dataset):
        self.classifier = MLPClassifier((256,), max_iter=20, batch_size=100, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', ConvergenceWarning)  # 20 epochs are meant
            self.classifier.fit(dataset.train / 255, dataset.labels[0])
        self.moments = self._moments(dataset.train / 255)

    def __call__(self, images):
        """(score, distance) of images (N, n) in [0, 1]."""
        p = self.classifier.predict_proba(images) + 1e-12
        score = np.exp((p * np.log(p / p.mean(axis=0))).sum(axis=1).mean())
        (mu1, C1), (mu2, C2) = self.moments, self._moments(images)
        roots = np.sqrt(np.linalg.eigvals(C1 @ C2).astype(complex)).real
        return score, ((mu1 - mu2) ** 2).sum() + np.trace(C1) + np.trace(C2) - 2 * roots.sum()

    def _moments(self, images):
        features = np.maximum(images @ self.classifier.coefs_[0] + self.classifier.intercepts_[0], 0)
        return features.mean(axis=0), np.cov(features, rowvar=False)


def play(recipe, dataset, judge, epochs, seed):
    """Train one game. Returns D(x), D(G(z)), score and distance."""
    config = Config(epochs=epochs, seed=seed).resolve(recipe, dataset)
    game = build_game(config, recipe, dataset)
    for t in range(config.epochs * game.minibatch.per_epoch):
        logits = game.step(t)
    answers = means(game, *logits)
    samples = game.G(game.streams.at('sample', 0).normal((N, game.n_z)))
    return answers['D_x'], answers['D_G_z'], *judge((samples + 1) / 2)


def main():
    """Parse the arguments, play every game, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='digits')
    parser.add_argument('--epochs', type=int)
    parser.add_argument('--seeds', type=int, default=1, help='how many runs each row averages')
    options = parser.parse_args()
    dataset = data.load(options.data)
    judge = Judge(dataset)
    print('| change, on top of the ones above | D(x) | D(G(z)) | score | distance |\n|---|---|---|---|---|')
    for name, recipe in tqdm(list(changes())):
        runs = np.array([play(recipe, dataset, judge, options.epochs, seed) for seed in range(options.seeds)])
        spread = runs.std(axis=0, ddof=1) if options.seeds > 1 else np.full(4, np.nan)
        cells = ' | '.join(f'{mean:.3g}' + (f' ± {s:.1g}' if options.seeds > 1 else '')
                           for mean, s in zip(runs.mean(axis=0), spread))
        print(f'| {name} | {cells} |', flush=True)
    score, distance = judge(dataset.test / 255)
    print(f'| real test images | | | {score:.3g} | {distance:.3g} |')


if __name__ == '__main__':
    main()
