"""Old checkpoints stay readable: the names, types and keys of format 1 are spelled out here."""

import json
from pathlib import Path

import numpy as np
import pytest

import minigan
from minigan.storage import archive
from minigan.training import Config, resume, train

FORMAT_1 = {
    'G.theta': 'float32', 'G.state': 'float32', 'G.v': 'float32', 'G.t': 'int64',
    'D.theta': 'float32', 'D.state': 'float32', 'D.v': 'float32', 'D.t': 'int64',
    'average.theta': 'float32', 'average.state': 'float32',
    'run.t': 'int64', 'run.log': 'float64', 'run.looks': 'int64', 'run.norms': 'float64', 'run.seconds': 'float64',
    'about': 'uint8', 'sha256': 'uint8'}
CONFIG_1 = {
    'network': 'default', 'data': 'digits', 'epochs': 1, 'batch': 300, 'n_z': 100, 'k': 1, 'learning_rate_G': 0.004,
    'learning_rate_D': 0.001, 'beta1': 0.0, 'objective': 'nonsaturating', 'conditional': False, 'pack': 1,
    'labelled': None, 'clip_weights': None, 'gradient_penalty': None,
    'cycle': None, 'cycle_weight': None, 'identity_weight': None, 'update': 'alternating',
    'schedule': 'linear', 'average': 1.0, 'label_smoothing': 0.0, 'input_noise': 0.0, 'clip_norm': 0.0, 'seed': 0,
    'device': 'auto', 'samples_every': 1, 'save_every': 30.0, 'tensorboard': False}
ABOUT_1 = {'format', 'config', 'images', 'classes', 'parameters', 'versions', 'device'}
LOG_1 = ['epoch', 'step', 'gradient_norm_G', 'gradient_norm_D', 'train_V', 'train_L_D', 'train_L_G', 'train_D_x',
         'train_D_G_z', 'validation_V', 'validation_L_D', 'validation_L_G', 'validation_D_x', 'validation_D_G_z',
         'distance', 'spread', 'seconds']


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_checkpoint_has_the_arrays_and_the_words_of_format_1():
    train(Config(epochs=1, batch=300, out='run'), quiet=True)
    with np.load('run/last.npz') as arrays:
        assert {name: str(arrays[name].dtype) for name in arrays} == FORMAT_1
        about = json.loads(arrays['about'].tobytes())
    assert about.keys() == ABOUT_1 and about['format'] == 1 and about['config'] == CONFIG_1
    assert about['images'].keys() == {'name', 'shape', 'train', 'validation', 'test', 'sha256', 'labelled'}
    with open('run/log.csv') as file:
        assert file.readline().rstrip('\n').split(',') == LOG_1


AVERAGE = {'average.theta', 'average.state'}


@pytest.mark.parametrize('choices, fewer, more', [
    ({'network': 'article'}, AVERAGE, {'G.m', 'D.m'}), ({'beta1': 0.5}, set(), {'G.m', 'D.m'}),
    ({'network': 'goodfellow2014'}, AVERAGE | {'G.v', 'D.v'}, {'G.velocity', 'D.velocity'})])
def test_a_run_has_the_arrays_of_its_average_and_of_its_optimisers_and_no_others(choices, fewer, more):
    train(Config(**choices, epochs=1, batch=500, out='run'), quiet=True)
    with np.load('run/last.npz') as arrays:
        assert set(arrays) == set(FORMAT_1) - fewer | more


def test_a_checkpoint_of_format_1_with_a_first_moment_for_beta1_0_goes_on_to_the_same_bits():
    """Format 1 kept that moment at first: it was the last gradient."""
    train(Config(epochs=1, batch=300, out='run'), quiet=True)
    arrays, about = archive.load('run')
    for player in 'GD':
        arrays[f'{player}.m'] = np.ones_like(arrays[f'{player}.v'])
    Path('old').mkdir()
    archive.save('old/last.npz', arrays, about)
    one, other = (archive.load(resume(run, epochs=2, quiet=True))[0] for run in ('run', 'old'))
    assert 'G.m' not in other
    for name in one.keys() - {'run.seconds', 'run.log'}:
        assert one[name].tobytes() == other[name].tobytes(), name


def test_a_checkpoint_of_format_1_with_an_absolute_path_is_resumed_and_drawn_from(tmp_path):
    """Format 1 named data by its whole path at first."""
    np.save('images.npy', np.random.default_rng(0).integers(0, 256, (100, 5, 5), dtype=np.uint8))
    train(Config(data='images.npy', epochs=1, batch=40, out='run'), quiet=True)
    arrays, about = archive.load('run')
    about['config']['data'] = str(tmp_path / 'images.npy')
    archive.save('run/last.npz', arrays, about)
    assert minigan.load(resume('run', epochs=2, quiet=True)).sample(2).shape == (2, 5, 5)
