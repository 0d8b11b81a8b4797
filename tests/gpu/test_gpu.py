"""Tests on a real GPU, if there is one: all of `minigan selftest`, and whether a step waits for the GPU."""

import numpy as np
import pytest

from minigan import data
from minigan.gpu import compare, twins
from minigan.gpu.device import select_device
from minigan.gpu.graph import StepGraph
from minigan.networks import RECIPES
from minigan.training.build import build_game, recipe_of
from minigan.training.config import Config
from minigan.training.on_gpu import STEPS, compare_training

try:
    XP, _ = select_device('cuda')
except ValueError as error:
    pytest.skip(str(error), allow_module_level=True)
TWINS = list(compare.arguments(2, 2, 0))
NETWORKS = *RECIPES, 'dcgan'


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


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('replay', [False, True])
def test_a_hundred_steps_are_those_of_the_cpu(network, replay):
    row = compare_training(XP, STEPS, replay=replay, network=network)
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


@pytest.mark.parametrize('network', NETWORKS)
def test_launches_and_replays_give_the_same_bytes(network):
    dataset, config = data.load('digits'), Config(network=network)
    recipe = recipe_of(config, dataset)
    games = [build_game(config.resolve(recipe, dataset), recipe, dataset, XP) for _ in range(3)]
    graph = StepGraph(games[2])
    for t in range(50):
        for one in (*games[:2], graph):
            one.step(t)
    first, *others = (game.G.theta.get() for game in games)
    assert graph.remark is None
    for theta in others:
        np.testing.assert_array_equal(theta, first)
