"""A data set: images to train on, to validate with and to test with."""

import warnings
from dataclasses import dataclass, replace

import numpy as np

from minigan.storage import files
from minigan.streams import Streams

CLASSES = 10_000  # the most that a classifier is built for


class DataError(ValueError):
    """Data that is missing or cannot be read; the message says what was expected and what came."""


@dataclass(frozen=True)
class Dataset:
    """Images split into train, validation and test, each (N, n) uint8; shape: (height, width) or (height, width, 3).

    One row is an image. Images stay bytes in memory; a minibatch is scaled to [-1, 1] when it is drawn.
    labels: class numbers, split alike, or None. unlabelled: why there are none. Few runs train with them.
    X: the Dataset whose images a run translates into these, or None.
    """

    name: str
    shape: tuple
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    labels: tuple | None = None
    unlabelled: str = 'the data has no labels'
    X: 'Dataset | None' = None


def digest(dataset, *, labelled=False):
    """SHA-256, in hexadecimal digits, of what shapes a run: images and, if it is labelled, classes; no test images."""
    more = {'labels': np.concatenate(labels_of(dataset)[:2])} if labelled else {}
    if dataset.X:
        more['X'] = np.frombuffer(digest(dataset.X).encode(), np.uint8)
    return files.digest({'shape': np.array(dataset.shape, np.int64), 'train': dataset.train,
                         'validation': dataset.validation, **more})


def labels_of(dataset):
    """The labels of the three splits. Raises DataError when there are none."""
    if dataset.labels is None:
        raise DataError(f'{dataset.name}: expected labels, got none: {dataset.unlabelled}')
    return dataset.labels


def class_fractions(dataset):
    """The fraction of each class among the training images. Raises DataError when there are no labels."""
    labels, validation, _ = labels_of(dataset)  # a run does not depend on the test images
    counts = np.bincount(labels, minlength=validation.max(initial=0) + 1)
    return tuple((counts / len(dataset.train)).tolist())


def split(name, images, labels=None):
    """The Dataset with 8/10 of the images to train on, 1/10 to validate and 1/10 to test, always in the same order."""
    order = Streams(0).at('data', 0).permutation(len(images))
    cuts = len(images) - 2 * (len(images) // 10), len(images) - len(images) // 10
    labels, why = _class_numbers(name, (images, labels))
    return _dataset(name, np.split(images[order], cuts), labels and np.split(labels[0][order], cuts), why)


def hold_out(name, images, test, labels=None, test_labels=None):
    """The Dataset of images that come with test images: the last sixth is for validation, the rest to train on."""
    if test.shape[1:] != images.shape[1:]:
        raise DataError(f'{name}: expected test images of shape {images.shape[1:]}, got {test.shape[1:]}')
    n = len(images) - len(images) // 6
    labels, why = _class_numbers(name, (images, labels), (test, test_labels))
    return _dataset(name, (images[:n], images[n:], test), labels and (labels[0][:n], labels[0][n:], labels[1]), why)


def _class_numbers(name, *pairs):
    """(a list of class numbers, ''), or (None, why there are none), for pairs of images and labels.

    Labels may have shape (N, 1), as in Keras' CIFAR-10, or (N, 8), as in QMNIST, where the first column is the class.
    Labels that are not class numbers are no error, since training does not need them.
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
    """The dataset; if it has no labels, the reason also names what was not read, such as a file of labels."""
    if dataset.labels is not None or not unread:
        return dataset
    return replace(dataset, unlabelled=f'{dataset.unlabelled} (not read: {", ".join(sorted(unread))})')


def _dataset(name, splits, labels, unlabelled):
    if min(map(len, splits)) == 0 or 0 in splits[0].shape:
        raise DataError(f'{name}: expected at least 10 images of at least one pixel, '
                        f'got {sum(map(len, splits))} of shape {splits[0].shape[1:]}')
    white = max(int(images.max()) for images in splits)
    if 0 < white < 128:
        warnings.warn(f'{name}: the brightest pixel is {white} of 255; if it stands for white, multiply all pixels '
                      f'by 255 / {white}', stacklevel=4)
    rows = (np.ascontiguousarray(images).reshape(len(images), -1) for images in splits)
    return Dataset(name, splits[0].shape[1:], *rows, tuple(labels) if labels else None, unlabelled)
