"""An array of images in a .npy or .npz file gives a Dataset; every other content gives one line."""

import re
import tracemalloc
import warnings

import numpy as np
import pytest
from support.images import images

from minigan import data
from minigan.data import DataError


@pytest.mark.parametrize('scale', [1, 255])
def test_numpy_files(tmp_path, scale):
    array = images(20)
    stored = array if scale == 1 else (array / 255).astype(np.float32)
    np.save(tmp_path / 'a.npy', stored)
    np.savez(tmp_path / 'b.npz', pictures=stored[..., None], other=np.arange(3))
    for name in ('a.npy', 'b.npz'):
        dataset = data.load(str(tmp_path / name))
        assert (dataset.shape, dataset.train.dtype, len(dataset.train)) == ((4, 3), np.uint8, 16)
        everything = np.concatenate([dataset.train, dataset.validation, dataset.test])
        np.testing.assert_array_equal(np.unique(everything, axis=0), np.unique(array.reshape(20, 12), axis=0))


def test_a_numpy_file_with_its_own_test_images_and_colours(tmp_path):
    train, test = (np.stack([images(n)] * 3, axis=-1) for n in (12, 4))
    np.savez(tmp_path / 'c.npz', x_train=train, x_test=test, y_train=np.arange(12))
    dataset = data.load(str(tmp_path / 'c.npz'))
    assert dataset.shape == (4, 3, 3) and len(dataset.train) == 10 and len(dataset.validation) == 2
    np.testing.assert_array_equal(dataset.test, test.reshape(4, 36))


BAD_ARRAYS = {
    'rank': (np.zeros((20, 12), np.uint8), r'expected images of shape .* got \(20, 12\)'),
    'channels': (np.zeros((20, 4, 3, 2), np.uint8), r'got \(20, 4, 3, 2\)'),
    'dtype': (np.zeros((20, 4, 3), np.int64), 'expected images of dtype uint8 or floats .* got dtype int64'),
    'range': (np.full((20, 4, 3), 255.0), r'expected floats in \[0, 1\], got values from 255.0 to 255.0'),
    'negative': (np.full((20, 4, 3), -0.5), r'got values from -0.5'),
    'nan': (np.full((20, 4, 3), np.nan), r'expected floats in \[0, 1\], got NaN'),
    'single image': (np.zeros((1, 4, 3), np.uint8), 'expected at least 10 images'),
    'none': (np.zeros((0, 4, 3)), 'expected at least 10 images'),
}


def test_booleans_become_bytes_without_many_times_their_memory(tmp_path):
    np.save(tmp_path / 'a.npy', np.ones((2500, 40, 40), bool))
    tracemalloc.start()
    dataset = data.load(str(tmp_path / 'a.npy'))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert dataset.train.min() == 255 and peak < 5 * 4_000_000


@pytest.mark.parametrize('fault', BAD_ARRAYS)
def test_bad_arrays_are_refused(tmp_path, fault):
    array, message = BAD_ARRAYS[fault]
    np.save(tmp_path / 'a.npy', array)
    with pytest.raises(DataError, match=message):
        data.load(str(tmp_path / 'a.npy'))


def test_bad_numpy_files_are_refused(tmp_path):
    np.save(tmp_path / 'objects.npy', np.array([{}] * 20), allow_pickle=True)
    np.savez(tmp_path / 'objects.npz', a=np.array([{}] * 20))
    (tmp_path / 'garbage.npy').write_bytes(b'hello')
    (tmp_path / 'empty.npz').write_bytes(b'')
    np.savez(tmp_path / 'whole.npz', a=images(20))
    (tmp_path / 'cut.npz').write_bytes((tmp_path / 'whole.npz').read_bytes()[:200])
    for name in ('objects.npy', 'objects.npz', 'garbage.npy', 'empty.npz', 'cut.npz'):
        with pytest.raises(DataError, match=f'{name}: expected a whole .np[yz] file'):
            data.load(str(tmp_path / name))
    np.savez(tmp_path / 'two.npz', a=images(20), b=images(20))
    with pytest.raises(DataError, match=r'expected one array of shape .* got a \(20, 4, 3\), b \(20, 4, 3\)'):
        data.load(str(tmp_path / 'two.npz'))
    np.savez(tmp_path / 'apart.npz', x_train=images(20), x_test=images(20, 5))
    with pytest.raises(DataError, match=r'expected test images of shape \(4, 3\), got \(5, 3\)'):
        data.load(str(tmp_path / 'apart.npz'))


def test_the_labels_of_x_train_and_x_test_are_y_train_and_y_test(tmp_path):
    arrays = {'x_train': images(60), 'y_train': np.arange(60), 'x_test': images(9), 'y_test': np.arange(9)[:, None]}
    np.savez(tmp_path / 'keras.npz', **arrays)
    dataset = data.load(tmp_path / 'keras.npz')
    np.testing.assert_array_equal(np.concatenate(dataset.labels), [*range(60), *range(9)])
    assert [len(labels) for labels in dataset.labels] == [50, 10, 9]


def test_the_labels_of_x_are_y(tmp_path):
    np.savez(tmp_path / 'a.npz', x=images(20), y=np.arange(20))
    dataset = data.load(tmp_path / 'a.npz')
    pictures = np.concatenate([dataset.train, dataset.validation, dataset.test]).reshape(-1, 4, 3)
    np.testing.assert_array_equal(pictures, images(20)[np.concatenate(dataset.labels)])


@pytest.mark.parametrize('y, why', [
    (np.eye(20), 'expected a whole number for each label, got shape (20, 20) and dtype float64'),
    (np.arange(20.0), 'expected a whole number for each label, got shape (20,) and dtype float64'),
    (np.arange(20) - 1, 'expected labels from 0 to 9999, got -1 to 18'),
    (np.array(['cat'] * 20), 'expected a whole number for each label, got shape (20,) and dtype <U3')])
def test_labels_that_are_not_class_numbers_are_ignored_with_a_reason(tmp_path, y, why):
    np.savez(tmp_path / 'a.npz', x=images(20), y=y)
    dataset = data.load(tmp_path / 'a.npz')
    assert dataset.labels is None and dataset.unlabelled == why


def test_booleans_are_class_numbers(tmp_path):
    np.savez(tmp_path / 'a.npz', x=images(20), y=np.arange(20) > 9)
    assert {*np.concatenate(data.load(tmp_path / 'a.npz').labels)} == {0, 1}


def test_labels_that_are_too_few_are_refused(tmp_path):
    for y in (np.arange(19), np.array(3)):
        np.savez(tmp_path / 'a.npz', x=images(20), y=y)
        with pytest.raises(DataError, match='a: expected one label for each of 20 images, got'):
            data.load(tmp_path / 'a.npz')


@pytest.mark.parametrize('shape, remedy', [
    ((28, 28, 500), 'np.moveaxis(array, -1, 0)'), ((32, 32, 3, 20), 'np.moveaxis(array, -1, 0)'),
    ((20, 3, 32, 32), 'np.moveaxis(array, 1, -1)'), ((20, 1, 8, 8), 'np.moveaxis(array, 1, -1)')])
def test_axes_in_another_order_are_refused_with_the_remedy(tmp_path, shape, remedy):
    np.save(tmp_path / 'a.npy', np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match=re.escape(f'got {shape}') + '.*' + re.escape(remedy)):
        data.load(tmp_path / 'a.npy')
    np.save(tmp_path / 'a.npy', eval(remedy, {'np': np, 'array': np.full(shape, 255, np.uint8)}))
    data.load(tmp_path / 'a.npy')


@pytest.mark.parametrize('array, brightest', [
    (images(20) // 129, 1), (images(20) // 15, 17), ((images(20) > 99) / 255, 1), (images(20) // 2, 127)])
def test_dark_images_are_warned_about_with_the_remedy(tmp_path, array, brightest):
    np.save(tmp_path / 'dark.npy', array)
    with pytest.warns(UserWarning, match=f'dark: the brightest pixel is {brightest} of 255; .* by 255 / {brightest}'):
        data.load(tmp_path / 'dark.npy')


@pytest.mark.parametrize('array', [images(20), images(20) > 99, images(20) / 255, images(20) // 2 + 1])
def test_other_images_are_not_warned_about(tmp_path, array):
    np.save(tmp_path / 'a.npy', array)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        dataset = data.load(tmp_path / 'a.npy')
    read = np.concatenate([dataset.train, dataset.validation, dataset.test])
    assert len(read) == 20 and read.max() > 100


@pytest.mark.parametrize('arrays', [{'images': images(20), 'labels': np.arange(20)},
                                    {'x': images(20), 'labels': np.arange(20)},
                                    {'x_train': images(20), 'x_test': images(9), 'labels': np.arange(20)}])
def test_arrays_that_may_be_labels_and_are_not_read_are_named(tmp_path, arrays):
    np.savez(tmp_path / 'a.npz', **arrays)
    dataset = data.load(tmp_path / 'a.npz')
    assert dataset.labels is None and dataset.unlabelled == 'the data has no labels (not read: labels)'
