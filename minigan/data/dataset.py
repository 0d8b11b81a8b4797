"""Images, split into those to train on, to validate and to test with."""

import warnings
from dataclasses import dataclass, replace

import numpy as np

from minigan.storage import files
from minigan.streams import Streams

CLASSES = 10_000  # at most: a classifier has a unit for each


class DataError(ValueError):
    """Data that cannot be had or read; the message says what was expected and what came."""


@dataclass(frozen=True)
class Dataset:
    """Images split into train, validation and test, each (N, n) uint8; shape: (height, width) or (height, width, 3).

    Images stay bytes in memory, one row an image; a minibatch is scaled to [-1, 1] when it is drawn.
    labels: the same three splits of class numbers, or None; unlabelled: then, why. Training never looks at them.
    """

    name: str
    shape: tuple
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    labels: tuple | None = None
    unlabelled: str = 'the data has no labels'


def digest(dataset):
    """SHA-256, in hexadecimal digits, of what a run learns from and is watched with: not of test images and labels."""
    return files.digest({'shape': np.array(dataset.shape, np.int64), 'train': dataset.train,
                         'validation': dataset.validation})


def split(name, images, labels=None):
    """Eight tenths to train on, one to validate, one to test, after a shuffle that is the same for everyone."""
    order = Streams(0).at('data', 0).permutation(len(images))
    cuts = len(images) - 2 * (len(images) // 10), len(images) - len(images) // 10
    labels, why = _class_numbers(name, (images, labels))
    return _dataset(name, np.split(images[order], cuts), labels and np.split(labels[0][order], cuts), why)


def hold_out(name, images, test, labels=None, test_labels=None):
    """Images that come with a test set: the last sixth of them is for validation, the rest to train on."""
    if test.shape[1:] != images.shape[1:]:
        raise DataError(f'{name}: expected test images of shape {images.shape[1:]}, got {test.shape[1:]}')
    n = len(images) - len(images) // 6
    labels, why = _class_numbers(name, (images, labels), (test, test_labels))
    return _dataset(name, (images[:n], images[n:], test), labels and (labels[0][:n], labels[0][n:], labels[1]), why)


def _class_numbers(name, *pairs):
    """(arrays of class numbers or None, why not), from pairs of images and their labels or None.

    Labels may have shape (N, 1), as Keras has them for CIFAR-10, or (N, 8), as QMNIST has them, whose first column is
    the class. What is no class number is left unused: training can do without.
    """
    if all(labels is None for _, labels in pairs):
        return None, 'the data has no labels'
    found = []
    for images, labels in pairs:
        if labels is None:
            return None, 'only some of the images have labels'
        if labels.shape[:1] != (len(images),):
            raise DataError(f'{name}: expected one label for each of {len(images)} images, got shape {labels.shape}')
        if labels.ndim == 2 and labels.shape[1] in (1, 8):
            labels = labels[:, 0]
        if labels.ndim != 1 or labels.dtype.kind not in 'biu':
            return None, f'expected a whole number for each label, got shape {labels.shape} and dtype {labels.dtype}'
        if not all(0 <= label < CLASSES for label in (labels.min(initial=0), labels.max(initial=0))):
            return None, f'expected labels from 0 to {CLASSES - 1}, got {labels.min()} to {labels.max()}'
        found.append(labels.astype(np.int64))
    return found, ''


def explain(dataset, unread):
    """The dataset. If it has no labels, the reason names what lies next to the images and was not read."""
    if dataset.labels is not None or not unread:
        return dataset
    return replace(dataset, unlabelled=f'{dataset.unlabelled} (not read: {", ".join(sorted(unread))})')


def _dataset(name, splits, labels, unlabelled):
    if min(map(len, splits)) == 0 or 0 in splits[0].shape:
        raise DataError(f'{name}: expected at least 10 images of at least one pixel, '
                        f'got {sum(map(len, splits))} of shape {splits[0].shape[1:]}')
    white = max(int(images.max()) for images in splits)
    if 0 < white < 128:
        warnings.warn(f'{name}: the brightest pixel is {white} of 255; if it stands for white, multiply all of them '
                      f'by 255 / {white}', stacklevel=4)
    rows = (np.ascontiguousarray(images).reshape(len(images), -1) for images in splits)
    return Dataset(name, splits[0].shape[1:], *rows, tuple(labels) if labels else None, unlabelled)
