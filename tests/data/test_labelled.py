"""The few labelled images of a run: how many of each class, and that each has its own label."""

from dataclasses import replace

import numpy as np
import pytest

from minigan import data
from minigan.streams import Streams

DIGITS = data.load('digits')


def test_there_are_as_many_images_of_each_class_and_each_has_its_own_label():
    x, labels = data.few(DIGITS, 30, Streams(0))
    np.testing.assert_array_equal(np.bincount(labels), 10 * [3])
    assert x.dtype == np.float32 and x.shape == (30, 64)
    images = np.rint((x + 1) * 127.5).astype(np.uint8)
    for image, label in zip(images, labels):
        rows = np.flatnonzero((DIGITS.train == image).all(axis=1))
        assert label in DIGITS.labels[0][rows]
    assert len(np.unique(images, axis=0)) == 30


def test_the_seed_determines_them_and_more_labels_include_those_of_fewer():
    few, again, more, other = (data.few(DIGITS, n, Streams(seed))[0]
                               for n, seed in ((20, 0), (20, 0), (40, 0), (20, 1)))
    np.testing.assert_array_equal(few, again)
    assert not np.array_equal(few, other)
    assert {row.tobytes() for row in few} < {row.tobytes() for row in more}


def test_what_does_not_fit_is_refused():
    for dataset, n, message in (
            (replace(DIGITS, labels=None), 100, 'expected labels, got none'),
            (replace(DIGITS, labels=tuple(labels % 7 for labels in DIGITS.labels)), 100, 'expected 10 classes, got 7'),
            (DIGITS, 101, 'labelled: expected 10, 20, ... or .*, got 101'), (DIGITS, 0, 'got 0'),
            (DIGITS, 1430, 'expected 10, 20, ... or 1[0-9]+0, as many of each class, got 1430')):
        with pytest.raises(data.DataError, match=message):
            data.few(dataset, n, Streams(0))
