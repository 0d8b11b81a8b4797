"""A few labelled images, for a run that must do with few labels."""

import numpy as np

from minigan.data.dataset import DataError


def few(dataset, n, rng, *, classes):
    """(rows, labels), each (n,): which training images have labels, n / classes of each class, and their classes.

    rng: draws which ones, so that a run's seed determines them. Raises DataError for data without labels, for other
    classes than 0 to classes - 1, for an n that the classes do not divide, and for a class with too few images.
    """
    if dataset.labels is None:
        raise DataError(f'{dataset.name}: expected labels, got none: {dataset.unlabelled}')
    labels = np.asarray(dataset.labels[0])
    if max(map(np.max, dataset.labels)) >= classes:
        raise DataError(f'{dataset.name}: expected labels from 0 to {classes - 1}, got {max(map(np.max, dataset.labels))}')
    each, rest = divmod(n, classes)
    fewest = np.bincount(labels, minlength=classes).min()
    if rest or not 1 <= each <= fewest:
        raise DataError(f'labels: expected {classes}, {2 * classes}, ... or {fewest * classes}, as many of each class, '
                        f'got {n}')
    order = rng.permutation(len(labels))
    rows = np.concatenate([order[labels[order] == c][:each] for c in range(classes)])
    return rows, labels[rows]
