"""A classifier of the labelled images, built from this package's own layers, to measure samples with."""

import warnings

import numpy as np

from minigan import ops
from minigan.data import Order
from minigan.evaluation.progress import Progress
from minigan.layers import Dense, Dropout, LeakyReLU
from minigan.net import Net
from minigan.optim import Adam, linear_decay
from minigan.storage import archive
from minigan.storage.files import cache_folder, digest
from minigan.streams import Streams

EPOCHS, BATCH, LEARNING_RATE = 10, 128, 2e-3
AT_ONCE = 1000  # images
VERSION = 1  # of everything that shapes a classifier: raise it after a change, to train all of them anew


class Classifier:
    """p(class | image) for images x (m, n) in [-1, 1], and the last hidden layer's units as features.

    net: x -> logits for `classes` classes. name: its kind and version; figures of a different one do not compare.
    """

    def __init__(self, net, name=None):
        self.net, self.classes, self.name = net, net.layers[-1].n_out, name

    def __call__(self, x):
        """features (m, units) and p (m, classes), in evaluation mode, where each row depends on its own image alone."""
        features, p = [], []
        for start in range(0, len(x), AT_ONCE):
            h = x[start:start + AT_ONCE]
            *body, last = self.net.layers
            for layer in body:
                h = layer.forward(h, training=False, rng=None)
                layer.cache = None
            features.append(h)
            p.append(ops.softmax(ops.dense(h, last.W, last.b)))
        return np.concatenate(features), np.concatenate(p)


def load(dataset, *, quiet=False):
    """The Classifier of a dataset: from the cache folder, or trained now (on MNIST, half a minute).

    Raises ValueError for a dataset without labels.
    """
    return kept(f'classifier-{VERSION}', untrained(dataset), dataset, train, quiet=quiet)


def kept(name, net, dataset, train, *, quiet=False):
    """The Classifier of the net, as train(net, dataset, quiet=) leaves it or as an earlier training did, in the cache.

    It only warns when the cache folder cannot be written.
    """
    key = digest({'images': dataset.train, 'labels': np.asarray(dataset.labels[0], np.int64)})[:16]
    file = f'{name}-{key}.npz'
    try:
        arrays, _ = archive.load(cache_folder() / file)
        net.theta[...] = archive.require(arrays, 'theta', net.theta.shape, np.float32)
    except (OSError, ValueError):  # none yet, a damaged one, or no cache folder
        train(net, dataset, quiet=quiet)
        _keep(file, net, dataset)
    return Classifier(net, name)


def count_classes(dataset):
    """The number of classes of a dataset. Raises ValueError for one without labels."""
    if dataset.labels is None:
        raise ValueError(f'{dataset.name}: expected labels to train a classifier with, got none: {dataset.unlabelled}')
    return int(max(map(np.max, dataset.labels))) + 1


def untrained(dataset):
    """The classifier's net before its first step."""
    n, classes = dataset.train.shape[1], count_classes(dataset)
    return Net([Dropout(0.1), Dense(n, 512), LeakyReLU(0), Dropout(0.2), Dense(512, 256), LeakyReLU(0), Dropout(0.2),
                Dense(256, classes)], rng=Streams(0).at('init', 0), name='classifier')


def train(net, dataset, *, quiet=False):
    """Train on the training images."""
    fit(net, dataset, EPOCHS, LEARNING_RATE, quiet=quiet)


def fit(net, dataset, epochs, learning_rate, *, change=lambda x, rng: x, quiet=False):
    """Train with Adam on the cross-entropy of change(training images, rng); the learning rate falls linearly to 0."""
    streams, labels = Streams(0), np.asarray(dataset.labels[0])
    order = Order(len(dataset.train), min(BATCH, len(dataset.train)), streams)
    steps = epochs * order.per_epoch
    adam = Adam(net, learning_rate=linear_decay(learning_rate, steps))
    with Progress(quiet).bar(steps, name=net.name) as bar:
        for t in range(steps):
            rows = order.rows(t)
            x = change(ops.gather_images(dataset.train, rows, np.float32), streams.at('sample', t))
            logits = net.forward(x, rng=streams.at('dropout', t))
            net.backward(ops.softmax_cross_entropy_backward(logits, labels[rows]), input_grad=False)
            adam.step()
            bar.update()


def _keep(name, net, dataset):
    """Write the classifier to the cache folder, if that is possible, so that the next evaluation is quicker."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        archive.save(cache_folder() / name, {'theta': net.theta}, {'classifier': repr(net), 'data': dataset.name})
    except OSError as error:
        warnings.warn(f'the classifier is not kept for the next evaluation: {error}', stacklevel=4)
