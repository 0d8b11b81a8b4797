"""Progressive growing: which layers run at which step, what data D sees, and a run that is stopped in any phase."""

import os
import signal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.nets import net_of, normal

import minigan
from minigan import RECIPES, Dense, Net, Streams, data, gradcheck, laws
from minigan.evaluation import judge
from minigan.optim import Adam
from minigan.storage import archive
from minigan.training import Config, build_game, inspection, resume, train
from minigan.training.signals import Stopped
from minigan.training.state import Run
from minigan.variants.average import Average
from minigan.variants.convolution import pool, upscale
from minigan.variants.fade import Fade
from minigan.variants.progressive import ProgressiveGame, RestartingAdam, fades, progressive_D, progressive_G, rising

PHASES = {'quarter': (0, 0), 'quarter to half': (0.3, 0), 'half': (1, 0), 'half to whole': (1, 0.6), 'whole': (1, 1)}
SMALL = {'widths': (3, 2, 2)}


def set_to(net, *alphas):
    """The net, in the phase with these alphas, one for each doubling."""
    for fade in fades(net):
        fade.alpha[...] = alphas[fade.level]
    return net


def chain(layers, *choice):
    """The layers without their branches: of each Fade the first (0) or the second (1), by its level."""
    for layer in layers:
        if isinstance(layer, Fade):
            yield from chain(layer.layers[choice[layer.level]].layers, *choice)
        else:
            yield layer


def through(layers, x):
    for layer in layers:
        x = layer.forward(x, training=False, rng=None)
    return x


def smaller(x, factor, c=1):
    """The means of factor x factor pixels: images (m, 8 8 c) -> (m, 8/factor, 8/factor, c)."""
    n = 8 // factor
    return x.reshape(-1, n, factor, n, factor, c).mean(axis=(2, 4))


def enlarged(x, factor):
    """(m, h, w, c) -> (m, factor h factor w c)"""
    return x.repeat(factor, axis=1).repeat(factor, axis=2).reshape(len(x), -1)


def test_alpha_rises_in_a_straight_line_and_is_no_integer():
    assert [rising(2, 6)(t) for t in range(8)] == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert [rising(0, 0)(t) for t in range(2)] == [1, 1]


# The networks

@pytest.mark.parametrize('phase', PHASES)
def test_both_networks_pass_gradcheck_in_every_phase(phase):
    G, D = net_of(*progressive_G(3, (8, 8), **SMALL)), net_of(*progressive_D((8, 8), **SMALL, hidden=4))
    for net, x in ((G, normal(2, 3)), (D, normal(10, 64))):
        for fade in fades(net):
            fade.schedule = lambda t, alpha=PHASES[phase][fade.level]: alpha
        gradcheck(net, x, training=True, directions=1).assert_ok()


@given(x=laws.minibatches(widths=st.just(16 * 3)))
def test_pooling_undoes_upscaling(x):
    x = x.astype(np.float32).reshape(-1, 3)
    for factor, rounding in ((2, 0), (4, 1e-6)):  # 2 x and 4 x are exact, 3 x is not
        u = upscale(x, shape=(4, 4, 3), factor=factor)
        np.testing.assert_allclose(pool(u, shape=(4, 4, 3), factor=factor), x, rtol=rounding)


@pytest.mark.parametrize('shape', [(8, 8), (8, 12, 3), (28, 28)])
@pytest.mark.parametrize('choice', [(0, 0), (1, 0), (1, 1)])
def test_at_alpha_0_G_is_the_smaller_network_upscaled_and_at_1_the_larger_one_without_the_branch(choice, shape):
    G, z = set_to(net_of(*progressive_G(5, shape, **SMALL), dtype=np.float32), *choice), normal(4, 5).astype('f4')
    *body, up, rows = chain(G.layers, *choice)
    factor = {(0, 0): 4, (1, 0): 2, (1, 1): 1}[choice]
    h, w, c = shape[0] // factor, shape[1] // factor, (*shape, 1)[2]
    assert up.settings == {'shape': (h, w, c), 'factor': factor}
    small = through(body, z).reshape(4, h, w, c)
    np.testing.assert_array_equal(G(z), enlarged(small, factor))
    assert abs(small).max() <= 1


@pytest.mark.parametrize('choice', [(0, 0), (1, 0), (1, 1)])
def test_at_alpha_0_D_is_the_smaller_network_of_pooled_images_and_at_1_the_larger_one_without_the_branch(choice):
    D, x = set_to(net_of(*progressive_D((8, 8), **SMALL), dtype=np.float32), *choice), normal(10, 64).astype('f4')
    factor = {(0, 0): 4, (1, 0): 2, (1, 1): 1}[choice]
    first, *body = chain(D.layers, *choice)
    assert first.settings['factor'] == factor
    np.testing.assert_array_equal(D(x), through(body, smaller(x, factor).reshape(-1, 1)))


def test_a_half_faded_image_is_the_mean_of_the_smaller_and_the_larger_one():
    G, z = net_of(*progressive_G(5, (8, 8), **SMALL)), normal(4, 5)
    low, high, both = (set_to(G, 1, alpha)(z) for alpha in (0, 1, 0.5))
    np.testing.assert_allclose(both, (low + high) / 2, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(low, enlarged(smaller(low, 2), 2))
    assert (high != low).any()


@pytest.mark.parametrize('shape', [(10, 8), (64,)])
def test_sizes_that_do_not_fit_are_refused(shape):
    for make in (lambda: progressive_G(5, shape), lambda: progressive_D(shape)):
        with pytest.raises(ValueError, match='expected images whose height and width 4 divides, got'):
            make()


# The game

def game_of(steps=40, *, dtype=np.float32, k=1, m=10, **changes):
    """A game on images of 8 x 8 that grows in the steps 4 to 9 and 12 to 19 (of 40)."""
    streams = Streams(0)
    G, D = (Net(layers, rng=streams.at('init', 0, i), name='GD'[i], dtype=dtype) for i, layers in
            enumerate((progressive_G(4, (8, 8), **SMALL), progressive_D((8, 8), **SMALL))))
    images = np.tanh(normal(100, 64)).astype(dtype)
    return ProgressiveGame(G, D, *(RestartingAdam(net, learning_rate=1e-3, beta1=0.5) for net in (G, D)),
                           lambda j: images[np.arange(j * m, (j + 1) * m) % 100], streams, m=m, n_z=4, k=k,
                           steps=steps, growth=((0.1, 0.25), (0.3, 0.5)), **changes)


def test_both_players_grow_at_the_same_steps_a_little_with_each():
    game, seen = game_of(), []
    for t in range(24):
        game.step(t)
        by_level = {name: {fade.level: float(fade.alpha[0]) for fade in fades(net)} for name, net, _ in game.players()}
        assert by_level['G'] == by_level['D']
        seen.append((by_level['G'][0], by_level['G'][1]))
    first, second = np.array(seen).T
    np.testing.assert_allclose(first, np.clip((np.arange(24) - 3) / 6, 0, 1), atol=1e-6)
    np.testing.assert_allclose(second, np.clip((np.arange(24) - 11) / 8, 0, 1), atol=1e-6)


@pytest.mark.parametrize('t', [2, 6, 10, 15, 25])
def test_evaluation_is_in_the_phase_of_training(t):
    game, z = game_of(), normal(6, 4).astype(np.float32)
    game.step(t)
    rng = game.layer_rng(t, 0)
    np.testing.assert_array_equal(game.G(z), game.G.forward(z, rng=rng, keep_cache=False))
    x = np.tile(game.G(z), (2, 1))[:10]
    np.testing.assert_array_equal(game.D(x), game.D.forward(x, rng=rng, keep_cache=False))


@pytest.mark.parametrize('t, alpha, factor', [(6, 0.5, 4), (14, 0.375, 2)])
@pytest.mark.parametrize('update', ['alternating', 'simultaneous'])
def test_D_sees_data_that_are_faded_as_the_samples_are(t, alpha, factor, update, monkeypatch):
    game, seen = game_of(update=update), []
    x, forward = game.minibatch(t), game.D.forward
    faded = game.faded(x, t)
    np.testing.assert_allclose(faded, (1 - alpha) * enlarged(smaller(x, factor), factor) + alpha * x, atol=1e-6)
    assert faded.dtype == np.float32
    monkeypatch.setattr(game.D, 'forward', lambda x, **options: (seen.append(x), forward(x, **options))[1])
    game.step(t)
    np.testing.assert_array_equal(seen[0][:10], faded)


def test_labels_behind_the_pixels_are_not_faded():
    game, labels = game_of(), np.eye(10, 3, dtype=np.float32)
    x = game.minibatch(6)
    np.testing.assert_array_equal(game.faded(np.hstack([x, labels]), 6), np.hstack([game.faded(x, 6), labels]))


@pytest.mark.parametrize('t', [0, 3, 9, 11, 19, 30])
def test_data_are_as_they_are_outside_a_fade(t):
    game = game_of()
    np.testing.assert_array_equal(game.faded(game.minibatch(t), t), game.minibatch(t))


@pytest.mark.parametrize('k', [1, 2])
def test_both_optimisers_start_anew_with_each_size_and_keep_their_number_of_steps(k):
    game = game_of(k=k)
    assert game.optimizer_G.restarts == [4, 12] and game.optimizer_D.restarts == [4 * k, 12 * k]
    for t in range(15):
        game.step(t)
        assert (game.optimizer_G.t, game.optimizer_D.t) == (t + 1, (t + 1) * k)
        if t in (4, 12):
            np.testing.assert_array_equal(game.optimizer_G.v, game.G.dtheta**2)
            np.testing.assert_array_equal(game.optimizer_G.m, game.G.dtheta)


def test_a_restarted_adam_is_a_new_one():
    nets = [net_of(Dense(3, 4)) for _ in range(2)]
    restarting, new = RestartingAdam(nets[0], learning_rate=lambda t: 0.1 / (t + 1), beta1=0.5), None
    restarting.restarts = [4]
    for t in range(9):
        if t == 4:
            nets[1].theta[...] = nets[0].theta
            new = Adam(nets[1], learning_rate=lambda t: 0.1 / (t + 5), beta1=0.5)
        for net, optimizer in zip(nets, (restarting, new)):
            net.dtheta[...] = normal(16, seed=t)
            if optimizer:
                optimizer.step()
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)
    assert restarting.t == 9


def test_parameters_of_a_size_that_has_not_begun_stay_as_they_are():
    game = game_of()
    start = game.G.theta.copy()
    for t in range(4):
        game.step(t)
    moved = {slot.name for slot in game.G.slots if (slot.of(game.G.theta) != slot.of(start)).any()}
    assert moved == {slot.name for slot in game.G.slots if '.2.Sequential.' not in slot.name}


def test_the_average_of_G_has_the_alpha_of_G():
    game = game_of()
    average = Average(game.G, Net(progressive_G(4, (8, 8), **SMALL), rng=Streams(0).at('init', 0)), eta=1.0)
    for t in range(30):
        game.step(t)
        average.update(t)
        np.testing.assert_array_equal(average.averaged.state, game.G.state)
    assert (average.averaged.theta != game.G.theta).any()


def test_a_game_that_does_not_grow_is_whole_from_the_start():
    game = game_of()
    grown = ProgressiveGame(*(getattr(game, name) for name in ('G', 'D', 'optimizer_G', 'optimizer_D', 'minibatch',
                                                               'streams', 'm', 'n_z')), steps=40, growth=((0, 0),) * 2)
    grown.step(0)
    np.testing.assert_array_equal(grown.G.state, 1)


# A run

IN_PHASES = {'quarter': (1, 4), 'at the end of the quarter': (3, 4), 'quarter to half': (5, 2), 'half': (7, 2),
             'at the end of the half': (8, 2), 'half to whole': (11, 1), 'whole': (20, 1)}  # of 28 steps; pixels alike


def config(out, **choices):
    return Config(network='progressive', epochs=1, out=str(out), seed=5, **choices)


def content(folder):
    """All that must be the same, as bytes: everything but the seconds."""
    arrays, _ = archive.load(folder)
    del arrays['run.seconds']
    arrays['run.log'] = arrays['run.log'][:, :-1]
    return {name: array.tobytes() for name, array in arrays.items()}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    return train(config(tmp_path_factory.mktemp('progressive') / 'whole'), quiet=True)


@pytest.mark.parametrize('phase', IN_PHASES)
def test_a_run_that_is_stopped_in_any_phase_can_be_used_and_goes_on_to_the_same_bytes(phase, whole, tmp_path,
                                                                                      monkeypatch):
    (last, size), step, stopped = IN_PHASES[phase], Run.step, tmp_path / 'stopped'

    def step_and_stop(self):
        logits = step(self)
        if self.t == last:
            os.kill(os.getpid(), signal.SIGTERM)
        return logits
    monkeypatch.setattr(Run, 'step', step_and_stop)
    with pytest.raises(Stopped):
        train(config(stopped), quiet=True)
    monkeypatch.undo()

    generator = minigan.load(stopped)
    images = generator.sample(30)
    assert generator.step == last and images.shape == (30, 8, 8)
    for factor in (2, 4):
        coarse = enlarged(smaller(images, factor), factor)
        assert np.allclose(images.reshape(30, 64), coarse, atol=1e-6) == (factor <= size)
    assert 'Fade(level=0)' in inspection.describe(stopped) and 'alpha' in inspection.describe(stopped)
    assert judge.evaluate(stopped, n=60, quiet=True)['columns']['samples']

    resume(stopped, quiet=True)
    assert content(stopped) == content(whole)


def test_the_game_of_a_run_knows_its_number_of_steps():
    dataset, recipe = data.load('digits'), RECIPES['progressive']
    resolved = Config(network='progressive', epochs=3).resolve(recipe, dataset)
    assert build_game(resolved, recipe, dataset).steps == 3 * (len(dataset.train) // 50)


def test_another_end_of_the_run_is_told(capsys, tmp_path):
    train(config(tmp_path / 'run', schedule='constant'), quiet=True)
    resume(tmp_path / 'run', epochs=2)
    assert 'warning: --network progressive ends with the run. With 2 epochs instead of 1 ' in capsys.readouterr().err


def test_packing_is_refused_as_D_reads_blocks_already(tmp_path):
    with pytest.raises(ValueError, match='packed: expected a D that reads single rows, got one with InBlocks'):
        train(config(tmp_path / 'run', pack=2), quiet=True)
