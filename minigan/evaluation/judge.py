"""What a run has learned: every measure in metrics.py, for its samples and, to compare, for real images."""

from functools import cached_property

import numpy as np

from minigan import data, ops
from minigan.evaluation import classifier, metrics
from minigan.storage import archive
from minigan.storage.generator import load
from minigan.streams import Streams

N = 10_000  # samples, of the 2014 paper's protocol; several measures depend on the number
TITLES = {  # measure -> what to call it in print, and which way is better
    'parzen': 'Parzen log-likelihood', 'parzen_standard_error': '   its standard error', 'parzen_sigma': '   its sigma',
    'frechet': "Frechet distance in our classifier's features", 'score': 'classifier score', 'kl': 'KL of the classes',
    'precision': 'precision', 'recall': 'recall', 'density': 'density', 'coverage': 'coverage',
    'memorisation': 'distance to training images, over that of test images'}
PUBLISHED = {'mnist': {'parzen': 225.0, 'parzen_standard_error': 2.0}}  # Goodfellow et al. 2014, Table 1


class Judge:
    """Measures images against the test images of a dataset.

    classifier: trained on the same dataset; None: what needs it is left out.
    """

    def __init__(self, dataset, classifier):
        self.dataset, self.classifier = dataset, classifier
        self.test = _unit(dataset.test)
        if classifier:
            self.features, _ = classifier(2 * self.test - 1)
            self.shares = np.bincount(dataset.labels[0], minlength=classifier.classes) / len(dataset.train)

    def __call__(self, images):
        """measure -> number, and 'histogram' -> share of each class, of images (N, n) in [0, 1]."""
        measured = self.parzen(images)
        if self.classifier:
            features, p = self.classifier(2 * images - 1)
            kl, histogram = metrics.class_divergence(p, self.shares)
            measured |= {'frechet': metrics.frechet(features, self.features), 'score': metrics.classifier_score(p),
                         'kl': kl, **metrics.precision_recall_density_coverage(features, self.features),
                         'histogram': histogram.tolist()}
        near = metrics.median_distance(images, self._train)
        return {**measured, 'memorisation': near / self._test_to_train}

    def parzen(self, images):
        """The Parzen log-likelihood alone."""
        values = metrics.parzen(images, _unit(self.dataset.validation[:1000]), self.test)
        return dict(zip(('parzen', 'parzen_standard_error', 'parzen_sigma'), values))

    def real_images(self, n):
        """The measures of n training images: what there is to reach."""
        rows = Streams(0).at('data', 0).permutation(len(self._train))[:n]
        return self(self._train[rows])

    def cluster_centres(self, n):
        """The Parzen log-likelihood of n k-means centres, which are no samples of anything, and score well."""
        return self.parzen(metrics.cluster_centres(self._train, n))

    @cached_property
    def _train(self):
        return _unit(self.dataset.train)

    @cached_property
    def _test_to_train(self):
        return metrics.median_distance(self.test, self._train)


def evaluate(run, *, n=N, seed=0, source=None, quiet=False):
    """The measures of n samples of a run, and of what they are to be compared with, as a dict that JSON can hold.

    run: a run's folder or a checkpoint file. source: where its data lies now, if not where it lay in training.
    Raises ValueError for fewer than 10 samples, for another data set than the run's, for a bad checkpoint.
    """
    if n < 10:
        raise ValueError(f'n: expected at least 10 samples, got {n}')
    generator = load(run)
    dataset = data.of_run(generator.about, source)
    judge = Judge(dataset, classifier.load(dataset, quiet=quiet) if dataset.labels else None)
    n = min(n, len(dataset.train))
    samples = generator.sample(n, seed=seed).reshape(n, -1)
    return {'checkpoint': str(archive.find(run)), 'step': generator.step, 'data': dataset.name, 'seed': seed,
            'samples': n, 'test_images': len(dataset.test),
            'unlabelled': dataset.unlabelled if not dataset.labels else None,
            'classifier_right': judge.classifier.right if judge.classifier else None,
            'columns': {'samples': judge(samples), 'real images': judge.real_images(n),
                        'k-means': judge.cluster_centres(n), 'published': PUBLISHED.get(dataset.name, {})}}


def table(result):
    """What evaluate returned, as text."""
    columns = {name: column for name, column in result['columns'].items() if column}
    lines = [f"{result['checkpoint']}, step {result['step']}: {result['samples']} samples against the "
             f"{result['test_images']} test images of {result['data']}", '',
             f'{"":54}' + ''.join(f'{name:>13}' for name in columns)]
    for measure, title in TITLES.items():
        cells = [f'{column[measure]:.3f}' if measure in column else '' for column in columns.values()]
        if any(cells):
            lines.append(f'{title:54}' + ''.join(f'{cell:>13}' for cell in cells))
    if result['classifier_right'] is not None:
        for i in range(len(columns['samples']['histogram'])):
            cells = [f'{column["histogram"][i]:.3f}' if 'histogram' in column else '' for column in columns.values()]
            lines.append(f'{f"share of class {i}":54}' + ''.join(f'{cell:>13}' for cell in cells))
        lines += ['', f"The classifier, of minigan's own layers, is right on {result['classifier_right']:.2%} of the "
                      'test images.']
    else:
        lines += ['', f'There is no classifier ({result["unlabelled"]}), so what needs one is left out.']
    return '\n'.join(lines)


def _unit(images):
    """Bytes (N, n) as float32 in [0, 1]."""
    return (ops.gather_images(images, np.arange(len(images)), np.float32) + 1) / 2
