"""A saved generator comes back to the last bit, and anything else is refused."""

import json

import numpy as np
import pytest

from minigan import RECIPES, Net, Streams
from minigan.checkpoint import load_generator, save_generator

Z = Streams(0).at('sample', 0).normal((5, 100))


def make(tmp_path):
    G = Net(RECIPES['default'].G(100, 12), rng=Streams(3).at('init', 0), name='G')
    G.state += 0.5
    save_generator(tmp_path / 'generator.npz', G, network='default', n_z=100, shape=(4, 3), seed=3)
    return G, tmp_path / 'generator.npz'


def test_a_generator_comes_back_to_the_last_bit(tmp_path):
    G, path = make(tmp_path)
    loaded, about = load_generator(path)
    np.testing.assert_array_equal(loaded(Z), G(Z))
    np.testing.assert_array_equal(loaded.state, G.state)
    assert about == {'network': 'default', 'n_z': 100, 'shape': [4, 3], 'seed': 3}
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_generator_gives_the_same_bytes(tmp_path):
    first = make(tmp_path)[1].read_bytes()
    assert make(tmp_path)[1].read_bytes() == first


def test_a_failure_while_writing_keeps_the_old_file(tmp_path, monkeypatch):
    G, path = make(tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr(np, 'savez', lambda file, **arrays: (file.write(b'half'), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        save_generator(path, G, network='default', n_z=100, shape=(4, 3))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def altered(path, **changes):
    with np.load(path) as content:
        arrays = {**content, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize('change, message', [
    ({'theta': np.zeros(7, np.float32)}, r'expected theta of shape \(\d+,\) and dtype float32, got \(7,\)'),
    ({'state': np.zeros(1536)}, 'expected state of shape .* dtype float32, got .* float64'),
    ({'theta': None}, 'expected a generator saved by minigan'),
    ({'about': np.array('not json')}, 'expected a generator saved by minigan'),
    ({'about': np.array(json.dumps({'network': 'unknown', 'n_z': 100, 'shape': [4, 3]}))}, 'KeyError: .unknown'),
    ({'about': np.array([{}])}, 'expected a generator saved by minigan')])
def test_another_content_is_refused(tmp_path, change, message):
    _, path = make(tmp_path)
    altered(path, **change)
    with pytest.raises(ValueError, match=message):
        load_generator(path)


@pytest.mark.parametrize('keep', [0, 10, 1000])
def test_a_truncated_file_is_refused(tmp_path, keep):
    _, path = make(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match='expected a generator saved by minigan'):
        load_generator(path)
