"""A folder of IDX files gives a Dataset, whatever lies next to them; every fault gives one line."""

import gzip
import tracemalloc

import numpy as np
import pytest
from support.images import idx, images, write_folder

from minigan import data
from minigan.data import DataError


@pytest.mark.parametrize('compress', [False, True])
def test_a_folder_of_idx_files(tmp_path, compress):
    arrays = write_folder(tmp_path / 'clothes', compress=compress)
    dataset = data.load(str(tmp_path / 'clothes'))
    train = arrays['train-images-idx3-ubyte'].reshape(60, 12)
    assert dataset.name == 'clothes' and dataset.shape == (4, 3)
    np.testing.assert_array_equal(dataset.train, train[:50])
    np.testing.assert_array_equal(dataset.validation, train[50:])
    np.testing.assert_array_equal(dataset.test, arrays['t10k-images-idx3-ubyte'].reshape(10, 12))
    np.testing.assert_array_equal(np.concatenate(dataset.labels), [*range(60), *range(10)])


def test_a_folder_with_training_images_alone_is_split(tmp_path):
    (tmp_path / 'emnist-train-images-idx3-ubyte').write_bytes(idx(images(50)))
    dataset = data.load(str(tmp_path))
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [40, 5, 5]
    assert dataset.labels is None


def test_a_plain_file_wins_over_its_gz(tmp_path):
    write_folder(tmp_path)
    (tmp_path / 'train-images-idx3-ubyte.gz').write_bytes(b'not even gzip')
    assert len(data.load(str(tmp_path)).train) == 50


IDX = idx(images(12))
BAD_IDX = {
    'empty': (b'', 'magic .*got an empty file'),
    'garbage': (b'hello world', 'got magic 68656c6c'),
    'floats': (b'\0\0\x0d\x03' + IDX[4:], 'got magic 00000d03'),
    'header cut off': (IDX[:9], 'expected 3 lengths in the header, got 5 bytes'),
    'truncated': (IDX[:-1], r'expected 144 bytes for shape \(12, 4, 3\), got 143'),
    'too long': (IDX + b'x', r'expected 144 bytes for shape \(12, 4, 3\), got more'),
    'absurd header': (b'\0\0\x08\x03' + b'\xff' * 12 + b'x',
                      r'expected at most 4294967296 bytes, got a header that claims 7922'),
    '2**31 images': (b'\0\0\x08\x03\x80\0\0\0' + IDX[8:], r'got a header that claims 25769803776 for shape'),
    'four axes': (b'\0\0\x08\x04' + b'\0\0\0\x01' * 4 + b'x', 'got magic 00000804'),
    'a bomb': (gzip.compress(IDX + bytes(10**8)), r'expected 144 bytes for shape \(12, 4, 3\), got more'),
    'truncated gzip': (gzip.compress(IDX)[:-9], 'expected a whole gzip file'),
    'damaged gzip': (gzip.compress(IDX)[:12] + b'\xff' * 9 + gzip.compress(IDX)[21:], 'expected a whole gzip file'),
    'gzip of garbage': (gzip.compress(b'hello world'), 'got magic 68656c6c'),
    'gzip of nothing': (gzip.compress(b''), 'got an empty file'),
    'labels in place of images': (idx(np.arange(5, dtype=np.uint8)),
                                  r'expected train-images of unsigned bytes with 3 axes, got shape \(5,\)'),
    'too few': (idx(images(5)), r'expected at least 10 images .* got 5'),
    'no pixels': (idx(images(20, 0)), r'of at least one pixel, got 20 of shape \(0, 3\)'),
}


@pytest.mark.parametrize('fault', BAD_IDX)
def test_bad_idx_files_are_refused(tmp_path, fault):
    content, message = BAD_IDX[fault]
    (tmp_path / 'train-images-idx3-ubyte').write_bytes(content)
    with pytest.raises(DataError, match=message):
        data.load(str(tmp_path))


@pytest.mark.parametrize('fault', ['absurd header', '2**31 images', 'a bomb'])
def test_what_claims_or_unpacks_to_gigabytes_allocates_nothing(tmp_path, fault):
    (tmp_path / 'train-images-idx3-ubyte').write_bytes(BAD_IDX[fault][0])
    tracemalloc.start()
    with pytest.raises(DataError):
        data.load(str(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_folders_that_do_not_fit_together_are_refused(tmp_path):
    with pytest.raises(DataError, match='expected a file named like train-images-idx3-ubyte'):
        data.load(str(tmp_path))
    write_folder(tmp_path)
    (tmp_path / 'other-train-images-idx3-ubyte').write_bytes(IDX)
    with pytest.raises(DataError, match='expected one train-images file, got other-train.*, train-'):
        data.load(str(tmp_path))
    (tmp_path / 'other-train-images-idx3-ubyte').unlink()
    (tmp_path / 'train-labels-idx1-ubyte').write_bytes(idx(np.arange(3, dtype=np.uint8)))
    with pytest.raises(DataError, match=r'expected one label for each of 60 images, got shape \(3,\)'):
        data.load(str(tmp_path))
    (tmp_path / 'train-labels-idx1-ubyte').unlink()
    (tmp_path / 't10k-labels-idx1-ubyte').unlink()
    (tmp_path / 't10k-images-idx3-ubyte').write_bytes(idx(images(10, 5)))
    with pytest.raises(DataError, match=r'expected test images of shape \(4, 3\), got \(5, 3\)'):
        data.load(str(tmp_path))


def test_a_folder_stands_for_the_file_of_its_name_that_it_holds(tmp_path):
    """Kaggle packs MNIST like this, with or without a copy of the file next to the folder."""
    for part, array in (('train-images', images(60)), ('t10k-images', images(20))):
        folder = tmp_path / f'{part}-idx3-ubyte'
        folder.mkdir()
        (folder / folder.name).write_bytes(idx(array))
    assert len(data.load(str(tmp_path)).train) == 50
    for part, array in (('train-images', images(60)), ('t10k-images', images(20))):
        (tmp_path / f'{part}.idx3-ubyte').write_bytes(idx(array))
    assert len(data.load(str(tmp_path)).train) == 50
    (tmp_path / 'train-images-idx3-ubyte' / 'train-images-idx3-ubyte').unlink()  # an empty folder is no file
    assert len(data.load(str(tmp_path)).train) == 50


def test_hidden_companions_and_equal_copies_are_no_second_file(tmp_path):
    write_folder(tmp_path)
    (tmp_path / '._train-images-idx3-ubyte').write_bytes(b'Mac OS X')
    (tmp_path / 'train-images.idx3-ubyte').write_bytes((tmp_path / 'train-images-idx3-ubyte').read_bytes())
    assert len(data.load(str(tmp_path)).train) == 50
    (tmp_path / 'train-images.idx3-ubyte').write_bytes(idx(images(60, seed=2)))
    with pytest.raises(DataError, match='got train-images-idx3-ubyte and train-images.idx3-ubyte, which differ'):
        data.load(str(tmp_path))


@pytest.mark.parametrize('place', ['raw', 'MNIST/raw'])
def test_files_in_a_folder_below_are_pointed_out(tmp_path, place):
    write_folder(tmp_path / place)
    with pytest.raises(DataError, match=f'got none; there is one in {tmp_path / place}$'):
        data.load(str(tmp_path))


def test_a_folder_without_idx_files_is_refused_with_a_list_of_its_files(tmp_path):
    with pytest.raises(DataError, match='got an empty folder'):
        data.load(str(tmp_path))
    for i in range(6):
        (tmp_path / f'{i}.png').write_bytes(b'')
    with pytest.raises(DataError, match='got 0.png, 1.png, 2.png, 3.png, 4.png, ...$'):
        data.load(str(tmp_path))


@pytest.mark.parametrize('compress', [False, True])
def test_one_of_several_sets_is_chosen_by_any_of_its_files(tmp_path, compress):
    write_folder(tmp_path, compress=compress, prefix='emnist-letters-')
    write_folder(tmp_path, compress=compress, prefix='emnist-digits-', train=120)
    with pytest.raises(DataError, match='one train-images file, got emnist-digits-.*, emnist-letters-.* as --data'):
        data.load(str(tmp_path))
    for name in ('train-images-idx3-ubyte', 'train-labels-idx1-ubyte', 't10k-images-idx3-ubyte'):
        dataset = data.load(tmp_path / f'emnist-letters-{name}{".gz" * compress}')
        assert (dataset.name, len(dataset.train), len(dataset.test)) == ('emnist-letters', 50, 10)
        assert dataset.labels is not None


def test_a_file_of_the_only_set_stands_for_its_folder(tmp_path, monkeypatch):
    write_folder(tmp_path / 'clothes')
    monkeypatch.chdir(tmp_path / 'clothes')
    ours, theirs = data.load('train-images-idx3-ubyte'), data.load(tmp_path / 'clothes')
    assert ours.name == theirs.name == 'clothes' and data.digest(ours) == data.digest(theirs)


def test_a_test_file_without_its_training_images_names_what_is_missing(tmp_path):
    (tmp_path / 'mine-test-images-idx3-ubyte').write_bytes(idx(images(20)))
    with pytest.raises(DataError, match='expected a file named like mine-train-images-idx3-ubyte'):
        data.load(tmp_path / 'mine-test-images-idx3-ubyte')


@pytest.mark.parametrize('code, dtype', [(9, 'i1'), (11, '>i2'), (12, '>i4')])
def test_labels_may_be_integers_of_any_size(tmp_path, code, dtype):
    write_folder(tmp_path)
    (tmp_path / 'train-labels-idx1-ubyte').unlink()
    (tmp_path / 'train-labels-idx1-int').write_bytes(idx(np.arange(60).astype(dtype), code))
    dataset = data.load(str(tmp_path))
    np.testing.assert_array_equal(np.concatenate(dataset.labels[:2]), np.arange(60))
    assert dataset.labels[0].dtype == np.int64


def test_the_labels_of_qmnist_begin_with_the_class(tmp_path):
    table = np.full((70, 8), 99, '>i4')
    table[:, 0] = np.arange(70) % 10
    for name, rows in (('train', slice(60)), ('test', slice(60, 70))):
        (tmp_path / f'qmnist-{name}-images-idx3-ubyte').write_bytes(idx(images(len(table[rows]))))
        (tmp_path / f'qmnist-{name}-labels-idx2-int').write_bytes(idx(table[rows], 12))
    np.testing.assert_array_equal(np.concatenate(data.load(str(tmp_path)).labels), np.arange(70) % 10)


@pytest.mark.parametrize('labels, code, why', [
    (np.zeros((60, 3), '>i4'), 12, r'expected a whole number for each label, got shape \(60, 3\) and dtype >i4'),
    (np.full(60, -1, '>i4'), 12, 'expected labels from 0 to 9999, got -1 to -1'),
    (np.full(60, 2**31 - 1, '>i4'), 12, 'expected labels from 0 to 9999, got 2147483647 to'),
    (None, 8, 'only some of the images have labels')])
def test_labels_that_are_not_used_are_explained_and_do_not_prevent_training(tmp_path, labels, code, why):
    write_folder(tmp_path)
    (tmp_path / 'train-labels-idx1-ubyte').unlink()
    if labels is not None:
        (tmp_path / f'train-labels-idx{labels.ndim}-int').write_bytes(idx(labels, code))
    dataset = data.load(str(tmp_path))
    assert dataset.labels is None and len(dataset.train) == 50
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(dataset.unlabelled)


def test_files_that_may_be_labels_and_are_not_read_are_named(tmp_path):
    (tmp_path / 'qmnist-train-images-idx3-ubyte').write_bytes(idx(images(20)))
    (tmp_path / 'qmnist-train-labels.tsv').write_text('7')
    assert data.load(tmp_path).unlabelled == 'the data has no labels (not read: qmnist-train-labels.tsv)'
