"""A checkpoint is whole, or refused in one line; nothing is written that could not be read."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import settings

from minigan.storage import archive, files

ARRAYS = {'theta': np.random.default_rng(0).standard_normal(9000).astype(np.float32), 't': np.array(3),
          'state': np.zeros((0, 2)), 'log': np.ones((3, 4))}
ABOUT = {'config': {'network': 'default'}, 'images': {'shape': [3, 4]}}


@pytest.fixture
def saved(tmp_path):
    """The path of a checkpoint."""
    archive.save(tmp_path / 'last.npz', ARRAYS, ABOUT)
    return tmp_path / 'last.npz'


def test_what_was_saved_comes_back(saved):
    arrays, about = archive.load(saved)
    assert same(arrays, ARRAYS) and about == {'format': 1, **ABOUT}
    assert {name: (array.shape, array.dtype) for name, array in arrays.items()} == {
        name: (array.shape, array.dtype) for name, array in ARRAYS.items()}


def test_the_format_is_the_one_of_every_version_so_far(saved, tmp_path):
    """NumPy alone can read a checkpoint, and a checkpoint that NumPy alone wrote is loaded."""
    with np.load(saved) as content:
        arrays = dict(content)
    assert list(arrays) == [*ARRAYS, 'about', 'sha256']
    sha256 = hashlib.sha256()
    for name in sorted(set(arrays) - {'sha256'}):
        sha256.update(repr((name, arrays[name].dtype.str, arrays[name].shape)).encode())
        sha256.update(arrays[name].tobytes())
    assert arrays['sha256'].dtype == np.uint8 and arrays['sha256'].tobytes() == sha256.digest()
    np.savez(tmp_path / 'b.npz', **arrays)
    assert same(archive.load(tmp_path / 'b.npz')[0], ARRAYS)


def test_what_could_not_be_loaded_is_not_saved(saved, monkeypatch):
    before = saved.read_bytes()
    with np.load(saved) as content:
        size = sum(array.nbytes for array in content.values())
    monkeypatch.setattr(files, 'LIMIT', size - 1)
    with pytest.raises(ValueError, match=f'expected a checkpoint of at most {size - 1} bytes, got {size}'):
        archive.save(saved, ARRAYS, ABOUT)
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]
    monkeypatch.setattr(files, 'LIMIT', size)
    archive.save(saved, ARRAYS, ABOUT)
    archive.load(saved)


def test_errors_name_the_checkpoint(saved):
    with pytest.raises(ValueError, match=f'^{saved}: too old$'):
        with archive.errors_name(saved.parent):
            raise ValueError('too old')


def test_the_same_content_gives_the_same_bytes(saved, tmp_path):
    path = saved
    archive.save(tmp_path / 'again.npz', ARRAYS, ABOUT)
    assert (tmp_path / 'again.npz').read_bytes() == path.read_bytes()


def same(content, arrays):
    return content.keys() == arrays.keys() and all(content[name].tobytes() == arrays[name].tobytes() for name in arrays)


def assert_whole_or_refused(path, arrays, about):
    """Return whether it was refused, which must happen in one line that names the file."""
    try:
        got = archive.load(path)
    except ValueError as error:
        assert str(error).startswith(str(path)) and '\n' not in str(error)
        return True
    assert same(got[0], arrays) and got[1] == about
    return False


def test_a_checkpoint_truncated_anywhere_is_refused(saved):
    path = saved
    content, (arrays, about) = path.read_bytes(), archive.load(path)
    lengths = [*range(0, len(content), 4096), *range(len(content) - 300, len(content)), 1, 3, 30, 31]
    for length in lengths:
        path.write_bytes(content[:length])
        assert assert_whole_or_refused(path, arrays, about), f'cut at {length} of {len(content)}'


def test_a_flipped_bit_is_refused_or_harmless(saved):
    """Harmless: in a zip file's dates, attributes and the like, which nobody reads."""
    path = saved
    content, (arrays, about) = path.read_bytes(), archive.load(path)
    rng, n = np.random.default_rng(0), 10 * settings.default.max_examples
    names = np.flatnonzero(np.frombuffer(content, np.uint8)[-2000:]) + len(content) - 2000  # the archive's directory
    places = [*rng.integers(0, len(content), n // 2), *rng.choice(names, n - n // 2)]
    refused = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        refused += assert_whole_or_refused(path, arrays, about)
    print(f'\n{n} flipped bits: {refused} refused, {n - refused} without effect')
    assert refused >= n // 2


def write(path, **changes):
    """The checkpoint with other arrays, and a correct digest."""
    with np.load(path) as content:
        arrays = {**content, **changes}
    arrays = {name: array for name, array in arrays.items() if array is not None and name != 'sha256'}
    np.savez(path, **arrays, sha256=np.frombuffer(bytes.fromhex(files.digest(arrays)), np.uint8))


def about_as(**about):
    return np.frombuffer(json.dumps(about).encode(), np.uint8)


@pytest.mark.parametrize('changes, message', [
    ({'about': about_as(format=2)}, 'expected format 1, got 2; another version of minigan wrote it'),
    ({'about': about_as()}, 'nothing readable about itself'),
    ({'about': np.frombuffer(b'[' * 100_000, np.uint8)}, 'nothing readable about itself'),
    ({'about': np.frombuffer(b'\xff', np.uint8)}, 'nothing readable about itself'),
    ({'about': about_as(format=[1])}, r'expected format 1, got \[1\]'),
    ({'about': None}, 'expected a checkpoint of minigan, got arrays')])
def test_another_format_is_refused(saved, changes, message):
    path = saved
    write(path, **changes)
    with pytest.raises(ValueError, match=message):
        archive.load(path)


def test_arrays_that_were_changed_in_a_whole_archive_are_refused(saved):
    path = saved
    with np.load(path) as content:
        arrays = dict(content)
    arrays['theta'][5] += 1
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match='last.npz: damaged: its SHA-256 is not the one that it was saved with'):
        archive.load(path)


def test_arrays_without_a_digest_are_refused(tmp_path):
    np.savez(tmp_path / 'a.npz', theta=np.zeros(3))
    with pytest.raises(ValueError, match='a.npz: expected a checkpoint of minigan, got arrays theta'):
        archive.load(tmp_path / 'a.npz')


def test_a_folder_means_its_last_checkpoint(saved, tmp_path):
    assert archive.find(tmp_path) == saved == archive.find(saved)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='^missing: no such file or folder$'):
        archive.find('missing')
    with pytest.raises(FileNotFoundError, match='empty: not the folder of a run: it has no last.npz'):
        archive.load(tmp_path / 'empty')
    with pytest.raises(FileNotFoundError):
        archive.load(tmp_path / 'nowhere.npz')
