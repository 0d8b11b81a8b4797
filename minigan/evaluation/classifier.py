"""A classifier of the labelled images, of this package's own layers: what it sees in samples is how they are judged."""

import warnings

import numpy as np
from tqdm import tqdm

from minigan import ops
from minigan.data import Order
from minigan.data.mnist import cache_folder
from minigan.layers import Dense, Dropout, LeakyReLU
from minigan.net import Net
from minigan.optim import Adam, linear_decay
from minigan.storage import archive
from minigan.storage.files import digest
from minigan.streams import Streams

EPOCHS, BATCH, LEARNING_RATE, ROWS = 10, 128, 2e-3, 1000
VERSION = 1  # of all that shapes a classifier: another number trains it anew


class Classifier:
    """p(class | image) for images x (m, n) in [-1, 1], and the last hidden layer's 256 units as features.

    net: x -> logits for `classes` classes. right: its share of right answers for the test images.
    """

    def __init__(self, net, right):
        self.net, self.right, self.classes = net, right, net.layers[-1].n_out

    def __call__(self, x):
        """features (m, 256) and p (m, classes), in evaluation mode, where each row depends on its own image alone."""
        features, p = [], []
        for start in range(0, len(x), ROWS):
            h = x[start:start + ROWS]
            *body, last = self.net.layers
            for layer in body:
                h = layer.forward(h, training=False, rng=None)
                layer.cache = None
            features.append(h)
            p.append(ops.softmax(ops.dense(h, last.W, last.b)))
        return np.concatenate(features), np.concatenate(p)


def load(dataset, *, quiet=False):
    """The Classifier of a dataset: from the cache beside downloaded data, or trained now (on MNIST, half a minute).

    Raises ValueError for a dataset without labels.
    """
    if dataset.labels is None:
        raise ValueError(f'{dataset.name}: expected labels to train a classifier with, got images alone')
    key = digest({'images': dataset.train, 'labels': np.asarray(dataset.labels[0], np.int64)})[:16]
    name, net = f'classifier-{VERSION}-{key}.npz', _net(dataset)
    try:
        arrays, _ = archive.load(cache_folder() / name)
        net.theta[...] = archive.require(arrays, 'theta', net.theta.shape, np.float32)
    except (OSError, ValueError):  # none yet, or a damaged one
        train(net, dataset, quiet=quiet)
        _keep(name, net, dataset)
    right = np.mean(Classifier(net, None)(_pixels(dataset.test))[1].argmax(axis=1) == dataset.labels[2])
    return Classifier(net, float(right))


def _keep(name, net, dataset):
    """Put the classifier into the cache, if there can be one: the next evaluation is quicker for it."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        archive.save(cache_folder() / name, {'theta': net.theta}, {'classifier': repr(net), 'data': dataset.name})
    except OSError as error:
        warnings.warn(f'the classifier could not be kept, and will be trained again next time ({error})', stacklevel=3)


def train(net, dataset, *, quiet=False):
    """Adam on the cross-entropy of the training images, at a rate that falls to 0 in a straight line."""
    streams, labels = Streams(0), np.asarray(dataset.labels[0])
    m = min(BATCH, len(dataset.train))
    order = Order(len(dataset.train), m, streams)
    steps = EPOCHS * order.per_epoch
    adam = Adam(net, learning_rate=linear_decay(LEARNING_RATE, steps))
    for t in tqdm(range(steps), 'classifier', disable=quiet, unit='step', mininterval=0.5):
        rows = order.rows(t)
        logits = net.forward(_pixels(dataset.train[rows]), rng=streams.at('dropout', t))
        net.backward(ops.softmax_cross_entropy_backward(logits, labels[rows]), input_grad=False)
        adam.step()


def _net(dataset):
    n, classes = dataset.train.shape[1], int(max(map(np.max, dataset.labels))) + 1
    return Net([Dropout(0.1), Dense(n, 512), LeakyReLU(0), Dropout(0.2), Dense(512, 256), LeakyReLU(0), Dropout(0.2),
                Dense(256, classes)], rng=Streams(0).at('init', 0), name='classifier')


def _pixels(images):
    return ops.gather_images(images, np.arange(len(images)), np.float32)
