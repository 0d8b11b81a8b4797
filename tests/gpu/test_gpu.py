"""Tests on a real GPU, if there is one: all of `minigan selftest`, and whether a step waits for the GPU."""

import numpy as np
import pytest

from minigan import data
from minigan.gpu import compare, twins
from minigan.gpu.device import select_device
from minigan.networks import RECIPES
from minigan.training.build import build_game
from minigan.training.config import Config
from minigan.training.on_gpu import STEPS, compare_training

try:
    XP, _ = select_device('cuda')
except ValueError as error:
    pytest.skip(str(error), allow_module_level=True)
TWINS = list(compare.arguments(2, 2, 0))


@pytest.mark.parametrize('m, n', compare.SHAPES)
@pytest.mark.parametrize('name', TWINS)
def test_a_kernel_equals_its_specification(name, m, n):
    row = compare.compare_twin(twins.compiled(XP), name, m, n, xp=XP)
    assert row.ok, row


@pytest.mark.parametrize('size', compare.SIZES)
@pytest.mark.parametrize('name', compare.DRAWS)
def test_random_numbers_are_those_of_the_cpu(name, size):
    row = compare.compare_draws(twins.compiled(XP), name, size, xp=XP)
    assert row.ok, row


@pytest.mark.parametrize('network', RECIPES)
def test_a_hundred_steps_are_those_of_the_cpu(network):
    row = compare_training(XP, STEPS, network=network)
    assert row.ok, row


def test_steps_are_asked_for_before_the_gpu_has_done_them():
    dataset, recipe = data.load('digits'), RECIPES['default']
    game = build_game(Config().resolve(recipe, dataset), recipe, dataset, XP)
    game.step(0)
    A, done = XP.ones((8192, 8192), np.float32), XP.cuda.Event()
    for _ in range(50):  # seconds of work
        A @ A
    done.record()
    game.step(1)
    assert not done.done
    done.synchronize()


def test_the_same_steps_give_the_same_bytes():
    dataset, recipe = data.load('digits'), RECIPES['default']
    thetas = []
    for _ in range(2):
        game = build_game(Config().resolve(recipe, dataset), recipe, dataset, XP)
        for t in range(50):
            game.step(t)
        thetas.append(game.G.theta.get())
    np.testing.assert_array_equal(*thetas)
