"""Training on a GPU, on the stand-in for cupy: the same numbers as NumPy, few launches, and nobody waits."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigan
from minigan import backend, data, ops
from minigan.gpu import compare, fusion
from minigan.gpu.twins import compiled
from minigan.networks import RECIPES
from minigan.storage import archive
from minigan.streams import Streams
from minigan.training.build import build_game
from minigan.training.config import Config
from minigan.training.on_gpu import STEPS, compare_training
from minigan.training.run import resume, train

README = (Path(minigan.__file__).parent / 'gpu' / 'README.md').read_text(encoding='utf-8')
# large steps would amplify rounding, and a schedule would depend on the length of the run
GENTLE = {'learning_rate_G': 2e-4, 'learning_rate_D': 2e-4, 'beta1': 0.5, 'schedule': 'constant'}


@pytest.fixture
def quick_cupy(cupy):
    """The stand-in for long training: ten times as fast, since it does not watch for races."""
    cupy.watched = False
    return cupy


def game(cupy, **choices):
    dataset, config = data.load('digits'), Config(**choices)
    recipe = RECIPES[config.network]
    return build_game(config.resolve(recipe, dataset), recipe, dataset, cupy)


def counts(cupy, one, t):
    """What step t costs."""
    cupy.counts.clear()
    one.step(t)
    return dict(cupy.counts)


def usual(cupy):
    """What a step costs, unless it is the first of an epoch."""
    one = game(cupy)
    one.step(0)
    return counts(cupy, one, 1)


@pytest.mark.parametrize('network', RECIPES)
def test_a_hundred_steps_are_numpys(quick_cupy, network):
    row = compare_training(quick_cupy, STEPS, network=network)
    assert row.ok, row


@pytest.mark.parametrize('network, choices', [('article', {}), ('default', {'update': 'simultaneous'}),
                                              ('default', {'objective': 'minimax', 'k': 2})])
@pytest.mark.parametrize('order', [1, 2])
def test_other_choices_and_other_orders_of_threads_are_numpys_too(cupy, network, choices, order):
    cupy.order, cupy.fma = order, True
    row = compare_training(cupy, 4, network=network, **choices)
    assert row.ok, row


def test_a_step_takes_at_most_60_launches_and_nobody_waits(cupy):
    one = game(cupy)
    first, second = counts(cupy, one, 0), counts(cupy, one, 1)
    assert second == {'launches': 55, 'products': 25}  # and so no wait and no upload
    assert first == {'launches': 57, 'products': 25}   # this one draws the epoch's order of images


def test_what_fusing_saves(cupy, monkeypatch):
    """The table in minigan/gpu/README.md: pytest -s tests/gpu/test_device.py -k saves"""
    found = {'fused layers': usual(cupy)}
    monkeypatch.setattr('minigan.gpu.fusion.fuse', None)
    found['a kernel for each operation that has one'] = usual(cupy)
    monkeypatch.setattr(backend, 'eligible', lambda arguments: False)
    found["CuPy's own functions, but for random numbers"] = usual(cupy)
    for name, count in found.items():
        print(f'\n{name:46} {count["launches"]:4} launches, {count["products"]} of them matrix products', end='')
    for name, count in found.items():
        assert f'| {name} | {count["launches"]} |' in README


def test_a_whole_run_is_the_cpus(quick_cupy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
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


def test_a_run_begun_on_the_device_goes_on_on_the_cpu(quick_cupy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
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


def test_float64_takes_the_specification(cupy):
    a, b = (Streams(0, xp=xp, kernels=compiled(xp)).at('noise', 0).normal((3, 4), np.float64) for xp in (cupy, np))
    np.testing.assert_allclose(a.get(), b, rtol=1e-14)
    cupy.counts.clear()
    assert fusion.bias_tanh(a, a[0]).dtype == np.float64 and cupy.counts['launches'] == 2
    assert fusion.bias_tanh(a.astype(np.float32), cupy.zeros(4, np.float32)).dtype == np.float32


def test_the_norm_and_clipping_are_numpys_and_nobody_waits(cupy):
    for size in (3e38, 1e25, 1.0, 1e-30, 0.0):
        x = (size * np.linspace(-1, 1, 50)).astype(np.float32)
        ours = cupy.asarray(x)
        cupy.counts.clear()
        length, s = ops.norm(ours)
        ops.clip_norm_(ours, limit=0.5)
        assert cupy.counts['waits'] == cupy.counts['uploads'] == 0
        expected = x.copy()
        ops.clip_norm_(expected, limit=0.5)
        np.testing.assert_allclose(ours.get(), expected, rtol=1e-6)
        assert [float(length), float(s)] == [float(number) for number in ops.norm(x)]


def test_looking_at_a_gradient_makes_nobody_wait(cupy):
    one = game(cupy, clip_norm=1.0)
    one.step(0)
    cupy.counts.clear()
    one.step(1)
    norm = one.G.dtheta_norm()
    assert cupy.counts['waits'] == cupy.counts['uploads'] == 0 and norm.dtype == np.float64 and 0 < float(norm) < 1.1
