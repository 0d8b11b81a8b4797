"""A few labelled images, for a run that learns classes from few labels."""

import numpy as np

from minigan import ops
from minigan.backend import to_host
from minigan.data.dataset import DataError, labels_of


def few(dataset, n, streams, *, classes=10, dtype=np.float32):
    """(x (n, pixels) in [-1, 1], labels (n,)): n training images and their classes, n / classes of each class.

    The seed of the streams determines which ones. Raises DataError for data without labels, for more classes, and for
    an n that is not the same number of each class.
    """
    labels, validation, _ = labels_of(dataset)
    counts = np.bincount(labels, minlength=validation.max(initial=0) + 1)
    each, rest = divmod(n, classes)
    if len(counts) != classes:
        raise DataError(f'{dataset.name}: expected {classes} classes, got {len(counts)}')
    if rest or not 1 <= each <= counts.min():
        raise DataError(f'labelled: expected {classes}, {2 * classes}, ... or {classes * counts.min()}, as many of '
                        f'each class, got {n}')
    xp = streams.xp
    order = to_host(streams.at('init', 0, 2).permutation(len(labels)))
    rows = np.concatenate([order[labels[order] == c][:each] for c in range(classes)])
    images = xp.asarray(dataset.train[rows])
    return ops.gather_images(images, xp.arange(len(rows)), dtype), xp.asarray(labels[rows])
