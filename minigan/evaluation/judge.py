"""What a run has learned: every measure in metrics.py, of its samples and, for comparison, of real images."""

import hashlib
from functools import cached_property

import numpy as np

from minigan import data, ops
from minigan.data.stacked import Stacked
from minigan.evaluation import classifier, metrics, modes
from minigan.layers import Sequential
from minigan.storage import archive, checkpoint
from minigan.storage.generator import load
from minigan.streams import Streams
from minigan.variants.semisupervised import LogSumExp

SAMPLES = 10_000  # of the 2014 paper's protocol; several measures depend on the number
NEEDS = {  # measure that uses the classifier -> the fewest samples, and the fewest test images, that it needs
    'frechet': 2, 'score': 1, 'kl': 1,
    **dict.fromkeys(('precision', 'recall', 'density', 'coverage'), metrics.NEIGHBOUR + 1)}
AT_ONCE = 1000  # images that become floats together
SAME = 0.5 / 255  # images in [0, 1] at a smaller distance are equal: a different pixel differs by at least 1 / 255
MNIST_TEST = '6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161'  # SHA-256 of its 10,000 images
PUBLISHED = {MNIST_TEST: {'parzen': 225.0, 'parzen_standard_error': 2.0}}  # Goodfellow et al. 2014, Table 1


class Judge:
    """Measures images against a dataset.

    classifier: one trained on the same dataset; without it (None), the measures that need one are left out. accuracy:
    the fraction of the test images that it classifies correctly. conditional: whether images are of the classes labels.
    """

    def __init__(self, dataset, classifier, *, conditional=False):
        self.dataset, self.classifier, self.accuracy, self.conditional = dataset, classifier, None, conditional
        self.test = _unit(dataset.test)
        if classifier:
            self.features, p = classifier(ops.from_unit(self.test))
            self.accuracy = float((p.argmax(axis=1) == dataset.labels[2]).mean())
            self.class_fractions = np.bincount(dataset.labels[0], minlength=classifier.classes) / len(dataset.train)

    def __call__(self, images):
        """measure -> number, and 'histogram' -> the fraction of each class, of images (N, n) in [0, 1].

        Measures that left_out names are missing.
        """
        measured, left_out = self.parzen(images), self.left_out(len(images))
        if self.classifier:
            features, p = self.classifier(ops.from_unit(images))
            if 'frechet' not in left_out:
                measured['frechet'] = metrics.frechet(features, self.features)
            kl, histogram = metrics.class_divergence(p, self.class_fractions)
            measured |= {'score': metrics.classifier_score(p), 'kl': kl}
            if 'precision' not in left_out:
                measured |= metrics.precision_recall_density_coverage(features, self.features)
            if self.conditional:
                measured |= metrics.class_accuracy_and_recall(features, p, self.labels(len(images)), self.features,
                                                              self.dataset.labels[2])
            measured['histogram'] = histogram.tolist()
        if 'memorisation' not in left_out:
            measured['memorisation'] = metrics.median_distance(images, self._train) / self._test_to_train
        return measured

    def left_out(self, n):
        """measure -> why it cannot be taken of n images."""
        reasons = {}
        for measure, needed in NEEDS.items():
            if not self.classifier:
                reasons[measure] = f'there is no classifier ({self.dataset.unlabelled})'
            elif min(n, len(self.test)) < needed:
                reasons[measure] = (f'at least {needed} samples and {needed} test images are needed '
                                    f'(there are {n} and {len(self.test)})')
        if self._test_to_train < SAME:
            reasons['memorisation'] = 'most test images are also training images'
        return reasons

    def parzen(self, images):
        """The Parzen log-likelihood alone."""
        values = metrics.parzen(images, _unit(self.dataset.validation[:1000]), self.test)
        return dict(zip(('parzen', 'parzen_standard_error', 'parzen_sigma'), values))

    def real_images(self, n):
        """The measures of n training images: the best that samples can reach."""
        return self(self._train[self._rows(n)])

    def labels(self, n):
        """The classes of those n training images, which n conditional samples are drawn for; None for any others."""
        return np.asarray(self.dataset.labels[0])[self._rows(n)] if self.conditional else None

    def _rows(self, n):
        return Streams(0).at('data', 0).permutation(len(self.dataset.train))[:n]

    def comparisons(self, n):
        """Measures to compare those of n samples with, by name."""
        published = PUBLISHED.get(hashlib.sha256(self.dataset.test).hexdigest(), {})
        return {'real images': self.real_images(n), 'k-means': self.cluster_centres(n), 'published': published}

    def cluster_centres(self, n):
        """The Parzen log-likelihood of n k-means centres, which no model drew and which still score well."""
        return self.parzen(metrics.cluster_centres(self._train, n))

    @cached_property
    def _train(self):
        return _unit(self.dataset.train)

    @cached_property
    def _test_to_train(self):
        return metrics.median_distance(self.test, self._train)


def evaluate(run, *, n=None, seed=0, source=None, quiet=False):
    """The measures of n samples of a run, and of the images to compare them with, as a dict for JSON.

    run: a run's folder or a checkpoint file. n: None for as many as the published protocol takes. source: where the
    run's data is now, if it has moved since the training.
    Raises ValueError for fewer than 10 samples, for images other than the run's and for a bad checkpoint.
    """
    if n is not None and n < 10:
        raise ValueError(f'n: expected at least 10 samples, got {n}')
    generator = load(run)
    dataset = data.of_run(generator.about, source)
    if isinstance(dataset, Stacked):
        judge, n, label = modes.ModeJudge(dataset, quiet=quiet), min(n or modes.SAMPLES, len(dataset.test)), None
    else:
        judge = Judge(dataset, classifier.load(dataset, quiet=quiet) if dataset.labels else None,
                      conditional=bool(generator.fractions))
        n = min(n or SAMPLES, len(dataset.train))
        label = judge.labels(n)
    samples = generator.sample(n, label=label, seed=seed).reshape(n, -1)
    return {'checkpoint': str(archive.find(run)), 'step': generator.step, 'data': dataset.name, 'seed': seed,
            'samples': n, 'test_images': len(dataset.test),
            'classifier': judge.classifier and judge.classifier.name, 'classifier_accuracy': judge.accuracy,
            'D_errors': D_errors(run, dataset), 'left_out': judge.left_out(n),
            'columns': {'samples': judge(samples), **judge.comparisons(n)}}


def D_errors(run, dataset):
    """How many test images D misclassifies; None unless it is a classifier too (variants/semisupervised.py)."""
    D = checkpoint.net(*archive.load(run), 'D')
    if not isinstance(D.layers[-1], LogSumExp) or dataset.labels is None:
        return None
    _, p = classifier.Classifier(Sequential(*D.layers[:-1]))(ops.from_unit(_unit(dataset.test)))
    return int((p.argmax(axis=1) != dataset.labels[2]).sum())


def _unit(images):
    """Bytes (N, n) as float32 in [0, 1]."""
    unit = np.empty(images.shape, np.float32)
    for i in range(0, len(images), AT_ONCE):
        rows = np.arange(i, min(i + AT_ONCE, len(images)))
        unit[rows] = ops.to_unit(ops.gather_images(images, rows, np.float32))
    return unit
