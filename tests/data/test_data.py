"""Every source gives the same kind of Dataset; any file gives one, or one line of error, in bounded memory."""

import gzip
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.damage import damaged
from support.images import idx, images, write_folder

from minigan import data
from minigan.data import DataError

IDX = idx(images(12))


def test_digits_come_with_scikit_learn():
    digits = data.load('digits')
    assert digits.shape == (8, 8) and digits.train.dtype == np.uint8
    assert [len(split) for split in (digits.train, digits.validation, digits.test)] == [1439, 179, 179]
    assert [len(labels) for labels in digits.labels] == [1439, 179, 179]
    assert digits.train.min() == 0 and digits.train.max() == 255
    assert set(digits.labels[0]) == set(digits.labels[1]) == set(digits.labels[2]) == set(range(10))
    assert len(np.unique(np.concatenate([digits.train, digits.validation, digits.test]), axis=0)) == 1797


WHOLE = [IDX, gzip.compress(IDX, mtime=0), idx(np.arange(20, dtype=np.uint8))]


def npy_files():
    for array in (images(12), images(12) / 255, images(12).astype(np.float32), np.zeros((12, 4, 3, 3), bool)):
        for write in (np.save, np.savez, np.savez_compressed):
            file = io.BytesIO()
            write(file, array)
            yield file.getvalue()


@settings(max_examples=25 * settings.default.max_examples)
@given(st.sampled_from(['train-images-idx3-ubyte', 'train-labels-idx1-ubyte', 'images.npz']), st.data())
def test_any_content_gives_a_dataset_or_one_line_within_bounded_memory(tmp_path_factory, name, draws):
    """1,000 files; thorough: 10,000."""
    folder = tmp_path_factory.getbasetemp() / 'fuzzed'
    folder.mkdir(exist_ok=True)
    (folder / 'train-images-idx3-ubyte').write_bytes(idx(images(20)))
    (folder / name).write_bytes(draws.draw(damaged(list(npy_files()) if name == 'images.npz' else WHOLE)))
    tracemalloc.start()
    try:
        dataset = data.load(str(folder / name if name == 'images.npz' else folder))
        assert dataset.train.dtype == np.uint8 and dataset.train.shape[1] == np.prod(dataset.shape)
    except DataError as error:
        assert '\n' not in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        (folder / name).unlink()
    assert peak < 8 << 20


@pytest.mark.parametrize('source, message', [('nowhere', "got 'nowhere', which does not exist"),
                                             (__file__, 'expected .* got .*test_data.py'),
                                             ('nowhere.npz', 'which does not exist')])
def test_another_source_is_refused(source, message):
    with pytest.raises(DataError, match=message):
        data.load(source)


def about(source, dataset):
    return {'config': {'data': source}, 'images': {'sha256': data.digest(dataset)}}


def test_the_images_of_a_run_are_found_again(tmp_path):
    write_folder(tmp_path / 'a')
    of_a = about(str(tmp_path / 'a'), data.load(tmp_path / 'a'))
    np.testing.assert_array_equal(data.of_run(of_a).train, data.load(tmp_path / 'a').train)
    (tmp_path / 'a').rename(tmp_path / 'b')
    with pytest.raises(DataError, match='a., which does not exist; if the images have moved, pass --data PATH'):
        data.of_run(of_a)
    np.testing.assert_array_equal(data.of_run(of_a, tmp_path / 'b').train, data.load(tmp_path / 'b').train)
    with pytest.raises(DataError, match='digits: not the images that this run was trained with'):
        data.of_run(of_a, 'digits')
    with pytest.raises(DataError, match="got 'nowhere', which does not exist$"):
        data.of_run(of_a, 'nowhere')


@pytest.mark.parametrize('stranger', [
    {}, 7, [], {'config': 7, 'images': {}}, {'config': {}, 'images': {'sha256': ''}}, {'config': {'data': 'digits'}},
    {'config': {'data': 'digits'}, 'images': []}, {'config': {'data': 'digits'}, 'images': {'sha256': 7}},
    {'config': {'data': 7}, 'images': {'sha256': ''}}, {'config': {'data': None}, 'images': {'sha256': ''}},
    {'config': {'data': ['digits']}, 'images': {'sha256': ''}}, {'config': {'data': '\0'}, 'images': {'sha256': ''}}])
def test_a_checkpoint_that_does_not_name_its_images_is_refused(stranger):
    with pytest.raises(DataError):
        data.of_run(stranger)


def test_a_checkpoint_names_its_images_for_any_folder_and_without_the_home_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('USERPROFILE', str(tmp_path / 'home'))
    for place in ('home/set', 'elsewhere'):
        write_folder(tmp_path / place)
    monkeypatch.chdir(tmp_path / 'home')
    assert data.portable('digits') == 'digits'
    assert data.portable('set') == '~/set'
    assert data.portable('../elsewhere') == str((tmp_path / 'elsewhere').resolve())
    monkeypatch.chdir(tmp_path)
    assert len(data.load('~/set').train) == 50


def test_a_file_that_begins_with_a_name_of_data_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save('digits.npy', images(20))
    assert data.load('digits.npy').shape == (4, 3) and data.load(Path('digits.npy')).name == 'digits'
