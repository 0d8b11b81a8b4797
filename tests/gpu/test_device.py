"""Training with the real CuPy, on a stand-in for CUDA: the CPU's numbers, few launches, nobody waits; resuming."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigan
from minigan import backend, data, ops
from minigan.cli import main
from minigan.gpu import compare, fusion
from minigan.gpu.twins import compiled
from minigan.networks import RECIPES
from minigan.storage import archive
from minigan.streams import Streams
from minigan.training.build import build_game, recipe_of
from minigan.training.config import Config
from minigan.training.on_gpu import STEPS, compare_training
from minigan.training.run import resume, train
from minigan.training.state import Run

README = (Path(minigan.__file__).parent / 'gpu' / 'README.md').read_text(encoding='utf-8')
# large steps would amplify rounding, and a schedule would depend on the length of the run
GENTLE = {'learning_rate_G': 2e-4, 'learning_rate_D': 2e-4, 'beta1': 0.5, 'schedule': 'constant'}
SMALL = {'goodfellow2014': {'batch': 8}, 'dcgan': {'batch': 8}}  # at the usual size, they take minutes here
QUICK = {'batch': 360, 'schedule': 'constant', 'seed': 5}  # 3 steps per epoch


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def content(folder):
    """All that must be the same, as bytes: everything but the seconds."""
    arrays, _ = archive.load(f'{folder}/last.npz')
    del arrays['run.seconds']
    arrays['run.log'] = arrays['run.log'][:, :-1]
    return {name: array.tobytes() for name, array in arrays.items()}


def game(cupy, **choices):
    dataset, config = data.load('digits'), Config(**choices)
    recipe = recipe_of(config, dataset)
    return build_game(config.resolve(recipe, dataset), recipe, dataset, cupy)


def usual(driver):
    """What a step costs, unless it is the first of an epoch."""
    one = game(driver.cupy)
    one.step(0)
    return driver.costs(one.step, 1)


@pytest.mark.parametrize('network', RECIPES)
@pytest.mark.parametrize('replay', [False, True])
def test_a_hundred_steps_are_numpys(cupy, network, replay):
    row = compare_training(cupy, STEPS, replay=replay, network=network, **SMALL.get(network, {}))
    assert row.ok and row.name == f'100 steps of {network}, {"replayed" if replay else "launched"}', row


@pytest.mark.parametrize('network, choices', [('article', {}), ('default', {'update': 'simultaneous'}),
                                              ('default', {'objective': 'minimax', 'k': 2})])
@pytest.mark.parametrize('order', [1, 2])
def test_other_choices_and_other_orders_of_threads_are_numpys_too(cupy, driver, network, choices, order):
    driver.set(order=order)
    driver.fma = True
    row = compare_training(cupy, 4, network=network, **choices)
    assert row.ok, row


@pytest.mark.parametrize('network, launches', [('default', 58), ('article', 50), ('goodfellow2014', 54),
                                               ('dcgan', 94)])
def test_what_a_step_costs(cupy, driver, network, launches):
    one = game(cupy, network=network, **SMALL.get(network, {}))
    for t in range(2):
        one.step(t)
    assert driver.costs(one.step, 2) == {'launches': launches}  # no copy, no allocation, no wait


def test_the_first_step_of_an_epoch_draws_the_order_of_images(driver):
    one = game(driver.cupy)
    for t in range(56):
        one.step(t)
    assert driver.costs(one.step, 56) == {'launches': 60}


def test_what_fusing_saves(driver, monkeypatch):
    """The table in minigan/gpu/README.md: pytest -rP tests/gpu/test_device.py -k saves"""
    found = {'fused layers': usual(driver)}
    monkeypatch.setattr('minigan.gpu.fusion.fuse', None)
    found['a kernel for each operation that has one'] = usual(driver)
    monkeypatch.setattr(backend, 'eligible', lambda arguments: False)
    found["CuPy's own functions, but for random numbers"] = usual(driver)
    for name, count in found.items():
        launches = count['launches'] + count['products'] + count['copies']
        print(f'\n{name:46} {launches:4} launches, {count["products"]} of them matrix products', end='')
        assert f'| {name} | {launches} |' in README


def test_a_whole_run_is_the_cpus(cupy):
    runs = [train(Config(epochs=1, device=device, out=device, **GENTLE), quiet=True) for device in ('cuda', 'cpu')]
    names = [sorted(path.relative_to(run).as_posix() for path in run.rglob('*')) for run in runs]
    assert names[0] == names[1]
    ours, theirs = (minigan.load(run).G for run in runs)
    assert compare.difference(ours.theta, theirs.theta) < 0.02  # real slopes: a unit may land beyond its kink
    rows = []
    for run in runs:
        with open(run / 'log.csv', newline='') as file:
            rows += [[float(value) for name, value in row.items() if name != 'seconds'] for row in csv.DictReader(file)]
    np.testing.assert_allclose(*rows, rtol=0.05)
    pictures = [np.asarray(Image.open(run / 'samples' / 'epoch-0001.png'), int) for run in runs]
    assert abs(pictures[0] - pictures[1]).mean() < 1
    assert 'CuPy' in (runs[0] / 'config.json').read_text()


def test_a_run_begun_on_the_device_goes_on_on_the_cpu(cupy):
    train(Config(epochs=1, batch=360, device='cuda', out='run', **GENTLE), quiet=True)
    train(Config(epochs=2, batch=360, out='cpu', **GENTLE), quiet=True)
    before, _ = archive.load('run')
    resume('run', epochs=2, device='cpu', quiet=True)
    (ours, about), (theirs, _) = archive.load('run'), archive.load('cpu')
    assert about['config']['device'] == 'cpu' and ours['run.t'] == 6 and before['run.t'] == 3
    for name in ours:
        if name[0] in 'GD':
            assert compare.difference(ours[name], theirs[name]) < 1e-3, name
    resume('run', epochs=3, device='cuda', quiet=True)  # and back
    assert archive.load('run')[0]['run.t'] == 9


def test_the_data_stay_on_the_device_as_bytes(cupy):
    one = game(cupy)
    assert type(one.minibatch.images) is cupy.ndarray and one.minibatch.images.dtype == np.uint8
    assert all(type(net.theta) is cupy.ndarray for net in (one.G, one.D))


@pytest.mark.parametrize('name, shape', [('bits', (3, 7)), ('uniform', 19), ('normal', (5, 5)), ('permutation', 50)])
def test_random_numbers_of_one_place_come_one_after_the_other(cupy, name, shape):
    """As on the CPU, the second array differs from the first."""
    draws = [Streams(2**63 + 1, xp=xp, kernels=compiled(xp)).at('noise', 2**40, 3) for xp in (cupy, np)]
    for _ in range(2):
        ours, theirs = (getattr(one, name)(shape) for one in draws)
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        np.testing.assert_allclose(ours.get(), theirs, rtol=1e-5, atol=1e-6)


def test_float64_takes_the_specification(cupy, driver):
    a, b = (Streams(0, xp=xp, kernels=compiled(xp)).at('noise', 0).normal((3, 4), np.float64) for xp in (cupy, np))
    np.testing.assert_allclose(a.get(), b, rtol=1e-14)
    driver.clear()
    assert fusion.bias_tanh(a[None], a[0]).dtype == np.float64 and driver.counts['launches'] == 3
    assert fusion.bias_tanh(a[None].astype(np.float32), cupy.zeros(4, np.float32)).dtype == np.float32


def test_the_norm_and_clipping_are_numpys_and_nobody_waits(cupy, driver):
    for size in (3e38, 1e25, 1.0, 1e-30, 0.0):
        x = (size * np.linspace(-1, 1, 50)).astype(np.float32)
        ours = cupy.asarray(x)
        driver.clear()
        length, s = ops.euclidean_norm(ours)
        ops.clip_norm_(ours, limit=0.5)
        assert driver.counts['waits'] == driver.counts['uploads'] == 0
        expected = x.copy()
        ops.clip_norm_(expected, limit=0.5)
        np.testing.assert_allclose(ours.get(), expected, rtol=1e-6)
        expected = ops.euclidean_norm(x)
        assert float(length) == pytest.approx(float(expected[0]), rel=1e-6) and float(s) == float(expected[1])


def test_looking_at_a_gradient_makes_nobody_wait(cupy, driver):
    one = game(cupy, clip_norm=1.0)
    one.step(0)
    driver.clear()
    one.step(1)
    norm = one.G.dtheta_norm()
    assert driver.counts['waits'] == driver.counts['uploads'] == 0
    assert norm.dtype == np.float64 and 0 < float(norm) < 1.1


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
