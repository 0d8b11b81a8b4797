"""The j-th minibatch is a function of (seed, j), and an epoch reads every image once."""

import numpy as np
import pytest

from minigan import Streams, data
from minigan.data import DataError


def test_minibatches_read_every_image_once_an_epoch_in_another_order():
    rows = np.arange(10, dtype=np.uint8)[:, None] * np.ones((1, 2), np.uint8)
    batch = data.Minibatches(rows, 5, Streams(0))

    def numbers(*js):
        return [int(round(float(x[0] + 1) * 127.5)) for j in js for x in batch(j)]
    assert batch.per_epoch == 2 and batch(0).dtype == np.float32 and batch(0).shape == (5, 2)
    assert sorted(numbers(0, 1)) == sorted(numbers(2, 3)) == list(range(10))
    assert numbers(0, 1) != numbers(2, 3)
    np.testing.assert_array_equal(data.Minibatches(rows, 5, Streams(0))(3), batch(3))  # no history
    assert not np.array_equal(data.Minibatches(rows, 5, Streams(1))(3), batch(3))


def test_what_does_not_fill_a_minibatch_waits_for_another_epoch():
    batch = data.Minibatches(np.zeros((10, 2), np.uint8), 4, Streams(0))
    assert batch.per_epoch == 2 and batch(1).shape == batch(2).shape == (4, 2)


@pytest.mark.parametrize('m', [0, -1, 11])
def test_a_minibatch_of_more_than_all_images_or_none_is_refused(m):
    with pytest.raises(DataError, match=f'batch: expected between 1 and 10, .* got {m}'):
        data.Minibatches(np.zeros((10, 2), np.uint8), m, Streams(0))


def test_an_order_is_a_function_of_seed_and_j_and_minibatches_follow_it():
    order, minibatches = data.Order(10, 4, Streams(3)), data.Minibatches(np.zeros((10, 2), np.uint8), 4, Streams(3))
    for j in (5, 0, 3, 5):
        np.testing.assert_array_equal(order.rows(j), minibatches.rows(j))
        np.testing.assert_array_equal(order.rows(j), Streams(3).at('data', j // 2).permutation(10)[j % 2 * 4:][:4])
