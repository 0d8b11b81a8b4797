"""A game comes back to the last bit, and arrays that do not fit it are refused in one line."""

import numpy as np
import pytest

from minigan import data
from minigan.networks import RECIPES
from minigan.storage import archive, checkpoint
from minigan.training.build import build_game
from minigan.training.config import Config


def make_game(seed=3, **choices):
    images = np.random.default_rng(seed).integers(0, 256, (64, 3, 4), dtype=np.uint8)
    dataset = data.Dataset('noise', (3, 4), *(images.reshape(64, 12),) * 3)
    config = Config(seed=seed, **choices)
    recipe = RECIPES[config.network]
    return build_game(config.resolve(recipe, dataset), recipe, dataset)


ABOUT = {'config': {'network': 'default', 'n_z': 100}, 'images': {'shape': [3, 4]}}


@pytest.fixture
def saved(tmp_path):
    """(game, path): a game after three steps, and its checkpoint."""
    game = make_game()
    for t in range(3):
        game.step(t)
    archive.save(tmp_path / 'last.npz', checkpoint.snapshot(game), ABOUT)
    return game, tmp_path / 'last.npz'


def test_a_game_comes_back_to_the_last_bit_and_goes_on_alike(saved):
    game, path = saved
    arrays, about = archive.load(path)
    other = make_game()
    checkpoint.restore(other, arrays)
    assert about == {'format': 1, **ABOUT}
    for t in (3, 4):
        game.step(t)
        other.step(t)
    ours, theirs = checkpoint.snapshot(game), checkpoint.snapshot(other)
    assert len(ours) == 8 and ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name].tobytes() == theirs[name].tobytes(), name
    assert ours['G.t'] == 5 and np.abs(ours['G.v']).max() > 0


def test_the_net_in_a_checkpoint_is_the_games(saved):
    game, path = saved
    arrays, about = archive.load(path)
    for name in 'GD':
        one, original = checkpoint.net(arrays, about, name), getattr(game, name)
        np.testing.assert_array_equal(one.theta, original.theta)
        np.testing.assert_array_equal(one.state, original.state)
        assert repr(one) == repr(original)


def test_a_run_that_was_saved_after_a_backward_can_be_restored_over_a_game_that_has_moved(saved):
    game, path = saved
    arrays, _ = archive.load(path)
    game.step(3)
    checkpoint.restore(game, arrays)
    assert checkpoint.snapshot(game)['G.theta'].tobytes() == arrays['G.theta'].tobytes()
    game.step(3)


def same(content, arrays):
    return content.keys() == arrays.keys() and all(content[name].tobytes() == arrays[name].tobytes() for name in arrays)


@pytest.mark.parametrize('changes, message', [
    ({'G.theta': np.zeros(7, np.float32)}, r'G.theta: expected .* shape \(\d+,\) and dtype float32, got \(7,\)'),
    ({'G.state': np.zeros(1536)}, r'G.state: .* got \(1536,\) and float64'),
    ({'D.theta': None}, 'D.theta: expected .* got none'), ({'D.t': np.zeros(2, np.int64)}, r'D.t: expected .* \(2,\)'),
    ({'D.t': np.array(1.5)}, r'D.t: expected .* float64'),
    ({'G.v': np.nan}, 'G.v: expected finite numbers, got 1 that are not'),
    ({'G.v': -1.0}, 'G.v: expected sums of squares, got numbers below 0')])
def test_arrays_that_do_not_fit_are_refused_and_change_nothing(saved, changes, message):
    game, path = saved
    arrays, _ = archive.load(path)
    for name, array in changes.items():
        if isinstance(array, float):
            array, number = arrays[name].copy(), array
            array[5] = number
        arrays[name] = array
    other = make_game(seed=4)
    before = checkpoint.snapshot(other)
    with pytest.raises(ValueError, match=message):
        checkpoint.restore(other, {name: array for name, array in arrays.items() if array is not None})
    assert same(checkpoint.snapshot(other), before)


def test_another_architecture_is_refused(saved):
    arrays, about = archive.load(saved[1])
    with pytest.raises(ValueError, match='G.theta: expected an array of shape'):
        checkpoint.restore(make_game(network='article'), arrays)
    with pytest.raises(ValueError, match='G.theta: expected an array of shape'):
        checkpoint.net(arrays, {**about, 'config': {'network': 'article', 'n_z': 100}}, 'G')


@pytest.mark.parametrize('config, shape', [
    ({'network': 'unknown', 'n_z': 100}, [3, 4]), ({'network': ['default'], 'n_z': 100}, [3, 4]), ({}, [3, 4]),
    ({'network': 'default', 'n_z': 0}, [3, 4]), ({'network': 'default', 'n_z': 100.0}, [3, 4]),
    ({'network': 'default', 'n_z': True}, [3, 4]), ({'network': 'default', 'n_z': 100}, [12]),
    ({'network': 'default', 'n_z': 100}, [3, 2, 2]),
    ({'network': 'default', 'n_z': 100}, [3, -4]), ({'network': 'default', 'n_z': 100}, 'ab'),
    ({'network': 'default', 'n_z': 100}, 7), ('default', [3, 4])])
def test_a_network_that_cannot_be_built_is_refused(saved, config, shape):
    arrays, _ = archive.load(saved[1])
    with pytest.raises(ValueError, match='expected a network of article, default, goodfellow2014, a width of z'):
        checkpoint.net(arrays, {'config': config, 'images': {'shape': shape}}, 'G')


def test_a_claimed_size_allocates_nothing(saved):
    arrays, about = archive.load(saved[1])
    with pytest.raises(ValueError, match='G.theta: expected an array of shape'):  # 2 TB of parameters
        checkpoint.net(arrays, {**about, 'images': {'shape': [10**6, 10**3]}}, 'G')


def test_the_size_of_a_game_is_that_of_its_snapshot():
    game = make_game()
    arrays = checkpoint.snapshot(game)
    assert checkpoint.size(game) == sum(array.nbytes for array in arrays.values()) - 2 * 8  # the two steps
