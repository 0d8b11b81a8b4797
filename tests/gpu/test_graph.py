"""A replayed step gives the same bits as its launches, and the host hardly works for it. On the real CuPy."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from support.driver import missing as driver_missing
from support.driver import run

from minigan import Noise, Sequential, data
from minigan.data import Minibatches
from minigan.gpu import graph
from minigan.gpu.graph import WARM_UP, Clock, StepGraph, capture
from minigan.gpu.twins import compiled
from minigan.optim import SGDMomentum
from minigan.training.build import build_game, recipe_of
from minigan.training.config import Config
from minigan.training.on_gpu import trained

CHOICES = {
    'article': {'network': 'article'}, 'default': {}, 'goodfellow2014': {'network': 'goodfellow2014'},
    'three steps of D': {'k': 3}, 'simultaneous': {'update': 'simultaneous'},
    'minimax and smoothing': {'objective': 'minimax', 'label_smoothing': 0.1},
    'clipped': {'clip_norm': 0.01}, 'noisy': {'input_noise': 0.3, 'network': 'article'},
    'noisy and clipped SGD': {'input_noise': 0.3, 'clip_norm': 1.0, 'network': 'goodfellow2014'},
    'noisy, two steps of D': {'input_noise': 0.3, 'k': 2}, 'dcgan': {'network': 'dcgan'},
}
STEPS = WARM_UP + 9  # more than two epochs of PER_EPOCH minibatches
BATCH, PER_EPOCH = 8, 5


def game(cupy, **choices):
    digits = data.load('digits')
    few = replace(digits, train=digits.train[:PER_EPOCH * BATCH + 3])
    config = Config(**{'batch': BATCH, 'epochs': 5, **choices})
    recipe = recipe_of(config, few)
    return build_game(config.resolve(recipe, few), recipe, few, cupy)


def after(step, one, steps=range(STEPS)):
    """name -> the bytes of what the steps of a game have trained, and of the logits of the last one."""
    for t in steps:
        logits = step(t)
    arrays = {**trained(one), **{f'logits {i}': array for i, array in enumerate(logits)}}
    return {name: array.get().tobytes() for name, array in arrays.items()}


def replayed(cupy, steps=range(STEPS), **choices):
    """What the replayed steps of a game give."""
    steps_graph = StepGraph(game(cupy, **choices))
    result = after(steps_graph.step, steps_graph.game, steps)
    assert steps_graph.remark is None
    return result


def launched(cupy, steps=range(STEPS), **choices):
    """What the same steps give, kernel by kernel."""
    one = game(cupy, **choices)
    return after(one.step, one, steps)


@pytest.mark.parametrize('name', CHOICES)
def test_replays_give_the_same_bits_as_launches(cupy, name):
    assert replayed(cupy, **CHOICES[name]) == launched(cupy, **CHOICES[name])


def test_a_table_of_settings_is_filled_again_when_it_ends(cupy, monkeypatch):
    monkeypatch.setattr(graph, 'LENGTH', 4)
    assert replayed(cupy) == launched(cupy)


def test_each_step_returns_its_own_logits(cupy):
    ours, theirs = StepGraph(game(cupy)), game(cupy)
    for t in range(STEPS):
        for one, other in zip(ours.step(t), theirs.step(t)):
            np.testing.assert_array_equal(one.get(), other.get())


def test_a_game_that_is_put_back_to_an_earlier_step_goes_on_from_there(cupy):
    steps_graph = StepGraph(game(cupy))
    one = steps_graph.game
    after(steps_graph.step, one, range(5))
    kept = {name: array.copy() for name, array in trained(one).items()}
    expected = after(steps_graph.step, one, range(5, 9))
    for name, array in trained(one).items():
        array[...] = kept[name]
    one.optimizer_G.t = one.optimizer_D.t = 5
    assert after(steps_graph.step, one, range(5, 9)) == expected == launched(cupy, range(9))


def test_a_resumed_run_captures_at_its_own_step(cupy):
    ours, theirs = game(cupy), game(cupy)
    for one in (ours, theirs):
        after(one.step, one, range(7))
    assert after(StepGraph(ours).step, ours, range(7, 13)) == after(theirs.step, theirs, range(7, 13))


def test_replays_and_launches_can_alternate(cupy):
    steps_graph = StepGraph(game(cupy))
    for t in range(STEPS):
        (steps_graph.step if t % 3 else steps_graph.game.step)(t)
    result = after(steps_graph.step, steps_graph.game, [STEPS])
    assert result == launched(cupy, range(STEPS + 1))


def test_the_host_launches_a_graph_and_nothing_else(cupy, driver):
    steps_graph = StepGraph(game(cupy))
    for t in range(6):
        steps_graph.step(t)
    costs = {t: driver.costs(steps_graph.step, t) for t in range(6, 16)}
    assert all(costs[t].keys() == {'replays', 'nodes'} and costs[t]['replays'] == 1 for t in (6, 7, 8, 9, 11, 12))
    assert costs[10]['launches'] == 2 and not costs[10]['waits']  # a new epoch, whose order is drawn on the device


def memory_after(driver, steps):
    """For the test below: bytes of CuPy's pool, all bytes, and allocations in the second half of the steps."""
    steps_graph, pool = StepGraph(game(driver.cupy)), driver.cupy.get_default_memory_pool()
    for t in range(steps // 2):
        steps_graph.step(t)
    before = pool.used_bytes(), pool.total_bytes(), driver.used()
    driver.clear()
    for t in range(steps // 2, steps):
        steps_graph.step(t)
    return before, (pool.used_bytes(), pool.total_bytes(), driver.used()), driver.counts['allocations']


@pytest.mark.skipif(driver_missing() is not None, reason='the real CuPy cannot run here')
def test_memory_does_not_grow_in_10_000_replays():
    before, after, allocations = run('gpu.test_graph:memory_after', 20_000, executes=False)
    assert before == after and allocations == 0


def test_products_by_cublas_are_not_captured_and_steps_are_launched(cupy, monkeypatch):
    monkeypatch.setattr(compiled(cupy), 'products', 'cublas')
    steps_graph = StepGraph(game(cupy))
    result = after(steps_graph.step, steps_graph.game)
    assert result == launched(cupy)
    assert steps_graph.remark.startswith('no CUDA graph, so each step launches its kernels one by one (NotImplemented')
    assert '\n' not in steps_graph.remark


class Mine(SGDMomentum):
    """An optimiser of a user's own."""


def hide_noise(net):
    """Put noise inside of a net's first layer."""
    noise = Noise(lambda t: 0.1 * t)
    net.layers_in_training = Sequential(noise, net.layers_in_training[0]), *net.layers_in_training[1:]
    net.layers = Sequential(noise, net.layers[0]), *net.layers[1:]


@pytest.mark.parametrize('change, said', [
    (lambda one: setattr(one, 'optimizer_G', Mine(one.G, learning_rate=0.1)), 'expected an optimizer of Adam, SGD'),
    (lambda one: setattr(one, 'minibatch', lambda j: one.streams.xp.zeros((BATCH, 64), np.float32)),
     'expected minibatches with an order of rows, got <function'),
    (lambda one: hide_noise(one.D), 'expected Noise as a layer of the net')])
def test_what_cannot_be_replayed_is_launched_and_one_line_says_why(cupy, change, said):
    games = game(cupy), game(cupy)
    for one in games:
        change(one)
    steps_graph = StepGraph(games[0])
    assert after(steps_graph.step, games[0]) == after(games[1].step, games[1]) and said in steps_graph.remark


def test_a_capture_that_fails_leaves_the_stream_usable(cupy):
    def fail():
        cupy.zeros(3)
        raise ZeroDivisionError('by zero')

    with pytest.raises(ZeroDivisionError):
        capture(cupy, fail)
    captured = capture(cupy, lambda: cupy.full(3, 2.0))
    captured.launch()
    assert captured.result.get().tolist() == [2, 2, 2]


def test_a_capture_frees_nothing_that_its_replays_use(cupy, driver):
    """CuPy's pool frees its unused blocks when a GPU is full, and tries again: a capture must fail there."""
    def function():
        first = cupy.ones(2**20, np.float32)
        del first
        return cupy.ones(2**21, np.float32)

    function()  # compiles
    cupy.get_default_memory_pool().free_all_blocks()
    driver.set(memory=driver.used() + 10 * 2**20)
    with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
        capture(cupy, function)


def replaced(owner, name, make):
    """A bug: owner.name becomes make(owner.name)."""
    return lambda patch: patch.setattr(owner, name, make(getattr(owner, name)))


def numbers_of(change):
    """A bug in a row of settings."""
    return replaced(Clock, 'settings_after', lambda right: lambda self, t, steps: change(self, right, t, steps))


def around_advance(change):
    """A bug in the graph's first kernel: change(advance, arrays, numbers) is launched in its place."""
    return replaced(graph, 'advance_', lambda right: lambda *arrays, **numbers: change(right, arrays, numbers))


def without_elapsed(advance, arrays, numbers):
    before = arrays[0].copy()
    advance(*arrays, **numbers)
    arrays[0][...] = before


def one_row_late(advance, arrays, numbers):
    advance(*arrays, **numbers)
    arrays[2][:-1] = arrays[2][1:].copy()


BUGS = {  # what is planted -> (the bug, choices)
    'the clock stands still': (around_advance(lambda *_: None), {}),
    'the steps of random numbers are baked in': (around_advance(without_elapsed), {}),
    'rows that begin one late': (around_advance(one_row_late), {}),
    'rows past the end of an epoch': (around_advance(lambda advance, arrays, numbers: advance(
        *arrays, **{**numbers, 'per_epoch': numbers['per_epoch'] + 1})), {}),
    'minibatches of a game with fewer rows': (around_advance(lambda advance, arrays, numbers: advance(
        *arrays, **{**numbers, 'm': numbers['m'] // 2})), {}),
    'the step of the capture off by one': (around_advance(lambda advance, arrays, numbers: advance(
        *arrays, **{**numbers, 'first': numbers['first'] + 1})), {}),
    'learning rates are baked in': (replaced(Clock, '_reading', lambda _: lambda *_: nullcontext()), {}),
    'a sigma that is baked in': (replaced(Clock, '_reading', lambda right: lambda self, thing, method, slots: (
        nullcontext() if method == 'forward' else right(self, thing, method, slots))), CHOICES['noisy']),
    'the settings of the step after': (numbers_of(lambda self, right, t, steps: right(self, t, steps + 1)), {}),
    'the settings of the first step for ever': (numbers_of(lambda self, right, t, steps: right(self, t, 0)), {}),
    "D's first settings in all its updates": (numbers_of(lambda self, right, t, steps: (
        right(self, t, steps)[:2] * 2 + right(self, t, steps)[4:])), {'k': 2}),
    "D's and G's settings swapped": (numbers_of(lambda self, right, t, steps: (
        right(self, t, steps)[2:4] + right(self, t, steps)[:2])), {}),
    'the sigma of the step after': (numbers_of(lambda self, right, t, steps: (
        right(self, t, steps)[:-1] + right(self, t, steps + 1)[-1:])), CHOICES['noisy']),
    'the order of the first epoch for ever': (replaced(Minibatches, 'order', lambda right: lambda self, epoch: right(
        self, 0) if epoch > 1 else right(self, epoch)), {}),
    'only the first minibatch of a step has its order': (replaced(Clock, 'epochs_of', lambda right: lambda self, t: (
        right(self, t)[:1])), {'k': 2}),
    'the host does not count updates': (replaced(Clock, 'count', lambda _: lambda self: None), {}),
    'a table of settings that is filled once': (replaced(Clock, '_fill', lambda right: lambda self, array, numbers: (
        None if array.ndim == 2 and self.game.optimizer_G.t > 2 else right(self, array, numbers))), {'LENGTH': 4}),
}


@pytest.mark.parametrize('bug', BUGS)
def test_a_planted_bug_changes_the_bits(cupy, monkeypatch, bug):
    plant, choices = BUGS[bug]
    monkeypatch.setattr(graph, 'LENGTH', choices.get('LENGTH', graph.LENGTH))
    choices = {name: value for name, value in choices.items() if name != 'LENGTH'}
    expected = launched(cupy, **choices)
    assert replayed(cupy, **choices) == expected
    plant(monkeypatch)
    assert replayed(cupy, **choices) != expected


def test_the_memory_of_a_capture_is_its_own(cupy):
    steps_graph = StepGraph(game(cupy))
    for t in range(WARM_UP + 1):
        steps_graph.step(t)
    shapes = (BATCH, 512), (2 * BATCH, 512), (BATCH, 256), (BATCH, 1)
    mine = [cupy.full(shape, 7, np.float32) for shape in 10 * shapes]
    steps_graph.step(WARM_UP + 1)
    assert all((array == 7).all() for array in mine)
