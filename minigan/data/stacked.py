"""Stacked MNIST: three random digits as the colours of one image, which gives the data 1,000 modes.

Metz et al. 2017 (Unrolled GAN), section 3.3.1. The number of triples is that of Srivastava et al. 2017 (VEEGAN) and Lin
et al. 2018 (PacGAN), who draw 128,000 of MNIST's training and test images. Here each split has images of its own: those
that `--data mnist` trains on, validates with and tests with. So a generator never sees the digits of a test triple.
"""

from dataclasses import dataclass

import numpy as np

from minigan.data.dataset import Dataset
from minigan.streams import Streams

TRIPLES = {'train': 128_000, 'validation': 2_000, 'test': 26_000}  # on MNIST, 367 MB


@dataclass(frozen=True)
class Stacked(Dataset):
    """A Dataset of triples, of shape (height, width, 3). digits: the labelled Dataset that they are made of.

    It has no labels: evaluation/modes.py reads the digits one by one.
    """

    digits: Dataset | None = None
    unlabelled: str = 'stacked digits are read one by one'


def stack(digits):
    """The Stacked of a labelled Dataset of grey images: always the same triples, each split of its own images."""
    splits = {}
    for i, (split, n) in enumerate(TRIPLES.items()):
        images = getattr(digits, split)
        rows = Streams(0).at('data', 0, i).uniform((n, 3)) * len(images)
        splits[split] = gather(images, rows.astype(int))
    return Stacked(f'stacked-{digits.name}', (*digits.shape, 3), **splits, digits=digits)


def gather(images, rows):
    """Triples (m, 3 * pixels), colours last, of images (N, pixels); rows (m, 3): which images."""
    triples = np.empty((len(rows), images.shape[1], 3), images.dtype)
    for colour in range(3):
        triples[..., colour] = images[rows[:, colour]]
    return triples.reshape(len(rows), -1)


def digits_of(triples):
    """The images (3 * m, pixels) that triples (m, 3 * pixels) consist of: the three of the first, of the second, ..."""
    return triples.reshape(len(triples), -1, 3).swapaxes(1, 2).reshape(3 * len(triples), -1)
