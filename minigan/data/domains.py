"""Two domains with a known map between them, to translate from one into the other: NAME/plain and NAME/MAP.

Each has one half of the training images, and no image is in both. So nothing pairs them, but the true translation of
every image is known. The validation and test images are the same in both domains, in the same order.
"""

from dataclasses import replace

import numpy as np

from minigan.data.dataset import DataError


def thick(images):
    """Each pixel becomes as bright as the brightest of itself and its four neighbours."""
    _, height, width = images.shape
    wide = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    return np.max([wide[:, i:i + height, j:j + width] for i, j in ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1))], axis=0)


MAPS = {  # of images (N, height, width) uint8
    'plain': lambda images: images,
    'inverted': lambda images: 255 - images,
    'rotated': lambda images: np.rot90(images, axes=(1, 2)),  # anticlockwise
    'thick': thick,
}


def domain(dataset, name):
    """The Dataset of one domain: its half of the training images, mapped, and all others, mapped."""
    def mapped(images):
        return np.ascontiguousarray(MAPS[name](images.reshape(-1, *dataset.shape))).reshape(len(images), -1)

    half = slice(0, None, 2) if name == 'plain' else slice(1, None, 2)
    labels, *others = dataset.labels
    return replace(dataset, name=f'{dataset.name}-{name}', train=mapped(dataset.train[half]),
                   validation=mapped(dataset.validation), test=mapped(dataset.test), labels=(labels[half], *others))


def pair(X, Y):
    """The Dataset of Y with X, whose images are to be translated into Y's. Raises DataError for different shapes."""
    if X.shape != Y.shape:
        raise DataError(f'cycle: expected two data sets of one shape, got {X.name} of {X.shape} and {Y.name} of '
                        f'{Y.shape}')
    return replace(Y, name=f'{X.name}-to-{Y.name}', X=X)
