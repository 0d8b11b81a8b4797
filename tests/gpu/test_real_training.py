"""Training with the real CuPy on the stand-in: the CPU's numbers, what a step costs, and resuming to the last bit."""

import numpy as np
import pytest

from minigan import data
from minigan.cli import main
from minigan.gpu import compare
from minigan.gpu.device import select_device
from minigan.networks import RECIPES
from minigan.storage import archive
from minigan.training.build import build_game
from minigan.training.config import Config
from minigan.training.on_gpu import STEPS, compare_training
from minigan.training.run import resume, train
from minigan.training.state import Run

SMALL = {'goodfellow2014': {'batch': 8}}  # a hundred steps with sums over five units each take minutes at 100
QUICK = {'batch': 360, 'schedule': 'constant', 'seed': 5}  # 3 steps per epoch


@pytest.fixture
def cupy(driver):
    return driver.cupy


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def game(cupy, **choices):
    dataset, config = data.load('digits'), Config(**choices)
    recipe = RECIPES[config.network]
    return build_game(config.resolve(recipe, dataset), recipe, dataset, cupy)


def content(folder):
    """All that must be the same, as bytes: everything but the seconds."""
    arrays, _ = archive.load(f'{folder}/last.npz')
    del arrays['run.seconds']
    arrays['run.log'] = arrays['run.log'][:, :-1]
    return {name: array.tobytes() for name, array in arrays.items()}


def test_the_device_is_selected(cupy):
    assert select_device('cuda') == select_device('auto') == (cupy, 'CuPy 14.2.0 on the GPU')


@pytest.mark.parametrize('network', RECIPES)
def test_a_hundred_steps_are_numpys(cupy, network):
    row = compare_training(cupy, STEPS, network=network, **SMALL.get(network, {}))
    assert row.ok, row


@pytest.mark.parametrize('network, launches, products', [('default', 30, 25), ('article', 31, 19),
                                                         ('goodfellow2014', 90, 20)])
def test_what_a_step_costs(cupy, driver, network, launches, products):
    one = game(cupy, network=network, **SMALL.get(network, {}))
    for t in range(2):
        one.step(t)
    assert driver.costs(one.step, 2) == {'launches': launches, 'products': products}  # no copy, no allocation, no wait


def test_a_run_is_the_cpus(cupy):
    gentle = {'learning_rate_G': 2e-4, 'learning_rate_D': 2e-4, 'beta1': 0.5}
    train(Config(epochs=2, device='cuda', out='cuda', clip_norm=1.0, input_noise=0.1, **gentle, **QUICK), quiet=True)
    train(Config(epochs=2, device='cpu', out='cpu', clip_norm=1.0, input_noise=0.1, **gentle, **QUICK), quiet=True)
    (ours, about), (theirs, _) = archive.load('cuda'), archive.load('cpu')
    assert about['config']['device'] == 'cuda' and ours.keys() == theirs.keys()
    for name in ours:
        if name[0] in 'GD':
            assert compare.difference(ours[name], theirs[name]) < 1e-3, name


@pytest.mark.parametrize('network', ['default', 'article'])
def test_two_halves_of_a_run_equal_the_whole(cupy, network):
    train(Config(epochs=2, device='cuda', network=network, out='whole', **QUICK), quiet=True)
    train(Config(epochs=1, device='cuda', network=network, out='run', **QUICK), quiet=True)
    resume('run', epochs=2, quiet=True)
    assert content('run') == content('whole')


def test_a_run_that_was_stopped_in_the_middle_of_an_epoch_goes_on_to_the_last_bit(cupy, monkeypatch):
    train(Config(epochs=2, device='cuda', out='whole', **QUICK), quiet=True)
    step = Run.step

    def step_until_the_second(self):
        logits = step(self)
        if self.t == 2:
            raise KeyboardInterrupt
        return logits

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, 'step', step_until_the_second)
        train(Config(epochs=2, device='cuda', out='run', **QUICK), quiet=True)
    resume('run', quiet=True)
    assert content('run') == content('whole')


def test_a_run_on_the_gpu_can_be_evaluated(cupy, capsys):
    train(Config(epochs=1, device='cuda', out='run', **QUICK), quiet=True)
    assert main(['evaluate', 'run']) in (0, None)
    assert 'Parzen log-likelihood' in capsys.readouterr().out


def test_a_full_memory_is_cupys_error(cupy, driver):
    cupy.get_default_memory_pool().free_all_blocks()
    driver.set(memory=driver.used() + 2**20)
    with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
        game(cupy)


def test_undefined_memory_never_reaches_the_parameters(cupy):
    """Every new array is NaN (support.driver): a kernel that read one before writing it would spread it."""
    one = game(cupy, network='default', clip_norm=1.0, average=1.0)
    for t in range(3):
        one.step(t)
    assert np.isfinite(one.G.theta.get()).all() and np.isfinite(one.D.theta.get()).all()
