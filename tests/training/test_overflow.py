"""A number that overflows is found in the step and tensor where it appears first."""

import numpy as np
import pytest

from minigan import data
from minigan.gan import Game
from minigan.networks import RECIPES
from minigan.storage import archive
from minigan.training import Config, build_game, overflow, train
from minigan.training.overflow import NotFinite


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def poison(monkeypatch, at, harm):
    """Harm the game's numbers at the beginning of step `at`."""
    step = Game.step

    def step_harmed(self, t):
        if t == at:
            harm(self)
        return step(self, t)
    monkeypatch.setattr(Game, 'step', step_harmed)


def put(array, i, value):
    array[i] = value


HARM = {
    'a weight of G': (lambda game: put(game.G.theta, 30_000, np.nan), r'G, output of layer 4, Dense\(256 -> 512'),
    'a weight of D': (lambda game: put(game.D.theta, 7, np.inf), r'D, output of layer 1, Dense\(64 -> 512\)'),
    "a moment of D's Adam": (lambda game: put(game.optimizer_D.v, 40_000, np.inf), r"D, Adam's v of 4.Dense.W"),
    "a moment of G's Adam": (lambda game: put(game.optimizer_G.v, 200, np.nan), r'G, 1.Dense.W: 1 of 25600'),
}


@pytest.mark.parametrize('harm', HARM)
@pytest.mark.parametrize('at', [0, 25, 43, 44, 61])
def test_a_number_that_is_not_finite_is_found_in_the_step_and_tensor_where_it_appears(monkeypatch, harm, at):
    what, message = HARM[harm]
    poison(monkeypatch, at, what)
    with pytest.raises(NotFinite, match=f'step {at}: {message}.*infinite or undefined. run/last.npz holds step 0'):
        train(Config(epochs=2, batch=32, save_every=1e6, out='run'), quiet=True)
    arrays, _ = archive.load('run')
    assert arrays['run.t'] == 0


def test_a_checkpoint_never_holds_numbers_that_are_not_finite(monkeypatch):
    poison(monkeypatch, 13, HARM['a weight of G'][0])
    with pytest.raises(NotFinite, match='step 13: G, output of layer 4.* run/last.npz holds step 13. '):
        train(Config(epochs=1, save_every=0.0, out='run'), quiet=True)
    assert all(np.isfinite(array).all() for array in archive.load('run')[0].values())
    assert archive.load('run')[0]['run.t'] == 13


def test_the_best_epoch_so_far_is_kept(monkeypatch):
    poison(monkeypatch, 60, HARM['a weight of G'][0])
    with pytest.raises(NotFinite, match='step 60'):
        train(Config(epochs=2, batch=32, out='run'), quiet=True)
    assert archive.load('run/best.npz')[0]['run.t'] == 44


def test_a_derivative_that_overflows_is_named(monkeypatch):
    from minigan.layers import LeakyReLU
    backward = LeakyReLU.backward
    monkeypatch.setattr(LeakyReLU, 'backward', lambda self, dy, **options: backward(self, dy, **options) * np.inf)
    with pytest.raises(NotFinite, match=r'step 0: D, derivative with .* input of layer 5, LeakyReLU\(0.2\)'):
        train(Config(epochs=1, device='numpy', out='run'), quiet=True)


def test_a_learning_rate_that_is_far_too_large_gives_one_line_with_a_remedy(capsys):
    from minigan.cli import main
    assert main(['train', '--learning-rate-D', '1e20', '--epochs', '1', '-o', 'run']) == 1
    error = capsys.readouterr().err
    assert 'numbers overflow; repeating steps 0 to 0 to see where' in error
    assert error.splitlines()[-1].startswith('minigan: error: step 0: D, output of layer')
    assert 'Try smaller learning rates' in error and 'Warning' not in error


def test_watching_leaves_the_layers_as_they_were():
    dataset = data.load('digits')
    recipe = RECIPES['default']
    game = build_game(Config().resolve(recipe, dataset), recipe, dataset)
    overflow.find_not_finite(game, range(3))
    assert game.optimizer_G.t == 3
    for thing in (*game.G.layers, *game.D.layers, game.optimizer_G, game.optimizer_D):
        assert not {'forward', 'backward', 'step'} & vars(thing).keys()
