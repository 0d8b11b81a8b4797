"""CycleGAN: the whole game's derivative, its symmetries, a rotation that it finds, and runs that translate."""

import os
import signal

import numpy as np
import pytest
from PIL import Image
from support.nets import net_of, normal

import minigan
from minigan import RECIPES, Game, Streams, data
from minigan.checks.derivatives import check
from minigan.cli import main
from minigan.layers import Dense, LeakyReLU, Tanh
from minigan.losses import OBJECTIVES
from minigan.net import views
from minigan.optim import SGDMomentum
from minigan.storage import archive, translator
from minigan.training import Config, build_game, inspection, resume, train
from minigan.training.folder import translations
from minigan.training.signals import Stopped
from minigan.variants.cycle import CycleGame, Residual, cycle_G

PAIR = {'network': 'cycle', 'cycle': 'digits/plain', 'data': 'digits/inverted', 'batch': 100, 'device': 'numpy'}


def translator_of(n, seed):
    return net_of(Dense(n, 5), LeakyReLU(0.2), Dense(5, n), Tanh(), seed=seed)


def critic_of(n, seed):
    return net_of(Dense(n, 4), LeakyReLU(0.2), Dense(4, 1), seed=seed)


class Still:
    """An optimiser that leaves its net where it is."""

    def step(self):
        pass


def cycle_game(G, D, F, D_X, x, y, *, rate=None, m=6, **settings):
    """A CycleGame between the rows of x and y, whose minibatches are all of them; without a rate, nothing moves."""
    streams, common = Streams(0), {'m': m, 'n_z': x.shape[1], 'objective': 'leastsquares'}
    sgd = [SGDMomentum(net, learning_rate=rate) if rate else Still() for net in (G, D, F, D_X)]
    back = Game(F, D_X, *sgd[2:], lambda j: x, streams, **common)
    return CycleGame(G, D, *sgd[:2], lambda j: y, streams, back=back, **common, **settings)


def some_game(n=4, *, seed=0, **settings):
    nets = translator_of(n, seed), critic_of(n, seed + 1), translator_of(n, seed + 2), critic_of(n, seed + 3)
    for i, net in enumerate(nets):
        net.theta += 0.3 * normal(*net.theta.shape, seed=i)
    return cycle_game(*nets, *np.tanh(normal(2, 6, n)), **settings)


def loss(game, x, y, objective='leastsquares'):
    """L(G, F), written down once more."""
    G, D_Y, F, D_X = (net for _, net, _ in game.players())
    L_G = OBJECTIVES[objective].L_G
    return (L_G(D_Y(G(x))) + L_G(D_X(F(y)))
            + game.cycle_weight * (np.mean(np.abs(F(G(x)) - x)) + np.mean(np.abs(G(F(y)) - y)))
            + game.identity_weight * (np.mean(np.abs(G(y) - y)) + np.mean(np.abs(F(x) - x))))


@pytest.mark.parametrize('weights', [(10.0, 0.0), (3.0, 2.0), (0.0, 0.0)])
@pytest.mark.parametrize('networks', ['dense', 'convolutional'])
def test_the_derivative_of_the_whole_game_for_all_parameters_of_G_and_F(networks, weights):
    game = some_game(16, cycle_weight=weights[0], identity_weight=weights[1])
    if networks == 'convolutional':
        G, F = (net_of(*cycle_G(16, (4, 4), c=3), seed=seed) for seed in (0, 1))
        for i, net in enumerate((G, F)):
            net.theta += 0.1 * normal(*net.theta.shape, seed=i)
        x, y = np.tanh(normal(2, 6, 16))
        game = cycle_game(G, game.D, F, game.back.D, x, y, cycle_weight=weights[0], identity_weight=weights[1])
    x, y, nets = game.back.minibatch(0), game.minibatch(0), {'G': game.G, 'F': game.back.G}

    def backward(u):
        for net in nets.values():
            net.dtheta[...] = np.nan
        game.update_G_and_F(x, y, 0)
        return {f'{name}.{key}': u * view for name, net in nets.items()
                for key, view in views(net.dtheta, net.slots).items()}

    inputs = {f'{name}.{key}': view for name, net in nets.items() for key, view in views(net.theta, net.slots).items()}
    check(lambda: np.array([loss(game, x, y)]), backward, inputs).assert_ok()


def test_D_Y_and_D_X_learn_from_data_and_translations_of_their_own_domain():
    game = some_game()
    x, y = game.back.minibatch(0), game.minibatch(0)

    def loss_of_both():
        L_D = OBJECTIVES['leastsquares'].L_D
        return np.array([L_D(game.D(y), game.D(game.G(x))) + L_D(game.back.D(x), game.back.D(game.back.G(y)))])

    def backward(u):
        game.alternating(0)
        return {'D': u * game.D.dtheta, 'D_X': u * game.back.D.dtheta}

    check(loss_of_both, backward, {'D': game.D.theta, 'D_X': game.back.D.theta}).assert_ok()


def test_the_cycle_loss_of_an_inverse_is_0_and_so_is_its_derivative():
    G, F = net_of(Dense(4, 4)), net_of(Dense(4, 4))
    G.layers[0].W[...] = np.eye(4)[[2, 0, 3, 1]] * [1, -1, -1, 1]  # orthogonal, without rounding
    F.layers[0].W[...] = G.layers[0].W.T
    D, D_X = net_of(Dense(4, 1)), net_of(Dense(4, 1))
    x, y = normal(2, 6, 4)
    for net in (D, D_X):
        net.theta[...] = [0, 0, 0, 0, 1]  # the answer for data, whatever it sees: G and F have nothing to gain
    game = cycle_game(G, D, F, D_X, x, y)
    assert loss(game, x, y) == 0
    game.update_G_and_F(x, y, 0)
    assert not G.dtheta.any() and not F.dtheta.any()
    F.layers[0].W[0, 0] += 1e-3
    game.update_G_and_F(x, y, 0)
    assert G.dtheta.any() and F.dtheta.any()


def test_without_cycle_loss_G_takes_the_step_of_a_plain_game_to_the_last_bit():
    game, plain = (some_game(cycle_weight=0.0, rate=0.1) for _ in range(2))
    x = game.back.minibatch(0)
    plain = Game(plain.G, plain.D, plain.optimizer_G, plain.optimizer_D, plain.minibatch, plain.streams, m=6, n_z=4,
                 objective='leastsquares', prior=lambda rng, shape, dtype: x)
    for t in range(3):
        assert all(np.array_equal(a, b) for a, b in zip(game.step(t), plain.step(t)))
        np.testing.assert_array_equal(game.G.theta, plain.G.theta)
        np.testing.assert_array_equal(game.D.theta, plain.D.theta)


def test_exchanging_X_and_Y_exchanges_the_players():
    weights = {'cycle_weight': 3.0, 'identity_weight': 1.0, 'rate': 0.1}
    one, other = some_game(**weights), some_game(**weights)
    x, y = one.back.minibatch(0), one.minibatch(0)
    mirrored = cycle_game(other.back.G, other.back.D, other.G, other.D, y, x, **weights)
    for t in range(3):
        one.step(t)
        mirrored.step(t)
    thetas = [net.theta for _, net, _ in one.players()]
    assert all(np.array_equal(theta, net.theta)
               for theta, (_, net, _) in zip([*thetas[2:], *thetas[:2]], mirrored.players()))


def test_a_simultaneous_update_is_refused():
    with pytest.raises(ValueError, match="update: expected 'alternating' with a cycle, got 'simultaneous'"):
        some_game(update='simultaneous')


def test_residual_adds_its_input():
    net = net_of(Residual(Dense(6, 6)))
    net.theta[...] = 0
    np.testing.assert_array_equal(net(normal(3, 6)), normal(3, 6))


def test_in_the_plane_the_rotation_is_found():
    """Of three Gaussians of different weight: of equal ones, every symmetry would be a solution."""
    streams, m, steps = Streams(0), 64, 1000
    centres, (c, s) = np.array([[1.5, 0], [-1, 1.2], [-0.5, -1.2]]), (np.cos(1), np.sin(1))
    R = np.array([[c, s], [-s, c]])

    def cloud(j, domain):
        draws = streams.at('data', j, domain)
        which = np.searchsorted([0.6, 0.9], draws.uniform(m, np.float64))
        return centres[which] + 0.4 * draws.normal((m, 2), np.float64)

    def critic(seed):
        return net_of(Dense(2, 32), LeakyReLU(0.2), Dense(32, 32), LeakyReLU(0.2), Dense(32, 1), seed=seed)

    nets = G, D, F, D_X = net_of(Dense(2, 2)), critic(1), net_of(Dense(2, 2)), critic(2)
    for net in (G, F):
        net.layers[0].W[...] = np.eye(2)
    adam = [minigan.Adam(net, learning_rate=lambda t, rate=rate: rate * (1 - t / steps), beta1=0.5)
            for net, rate in zip(nets, (0.005, 0.01) * 2)]
    common = {'streams': streams, 'm': m, 'n_z': 2, 'objective': 'leastsquares'}
    back = Game(F, D_X, *adam[2:], lambda j: cloud(j, 0), **common)
    game = CycleGame(G, D, *adam[:2], lambda j: cloud(j, 1) @ R, back=back, cycle_weight=0.2, **common)
    for t in range(steps):
        game.step(t)
    x = cloud(0, 2)
    assert abs(G(x) - x @ R).mean() < 0.05 and abs(F(x @ R) - x).mean() < 0.05


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cycle') / 'run'
    return train(Config(**PAIR, epochs=2, samples_every=1, out=str(folder)), quiet=True)


def test_a_run_stopped_in_the_middle_of_an_epoch_goes_on_to_the_same_bytes(run, tmp_path, monkeypatch):
    step, folder = CycleGame.step, tmp_path / 'run'
    monkeypatch.setattr(CycleGame, 'step', lambda game, t: (t == 3 and os.kill(os.getpid(), signal.SIGTERM),
                                                            step(game, t))[1])
    with pytest.raises(Stopped):
        train(Config(**PAIR, epochs=2, samples_every=1, out=str(folder)), quiet=True)
    monkeypatch.undo()
    assert archive.load(folder)[0]['run.t'] == 4
    resume(folder, quiet=True)
    ours, theirs = archive.load(folder)[0], archive.load(run)[0]
    assert ours.keys() == theirs.keys() >= {f'{net}.{what}' for net in ('G', 'D', 'F', 'D_X')
                                            for what in ('theta', 'm', 'v', 't')}
    for name in ours.keys() - {'run.seconds', 'run.log'}:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    for picture in ('real', 'epoch-0001', 'epoch-0002'):
        assert (folder / f'samples/{picture}.png').read_bytes() == (run / f'samples/{picture}.png').read_bytes()


def test_a_run_is_inspected_and_its_pictures_have_six_rows(run):
    text = inspection.describe(run)
    assert all(f'\n{name}: ' in text for name in ('G', 'D', 'F', 'D_X')) and 'digits/plain' in text
    width, height = Image.open(run / 'samples/epoch-0002.png').size
    assert (width + 4) / (height + 4) == 10 / 6


def test_a_picture_shows_images_of_X_and_of_Y_each_there_and_back():
    dataset = data.load(PAIR['data'], PAIR['cycle'])
    config = Config(**PAIR, epochs=1).resolve(RECIPES['cycle'], dataset)
    game = build_game(config, RECIPES['cycle'], dataset)
    images, columns = translations(game)
    x, Gx, FGx, y, Fy, GFy = images.reshape(6, columns, 64)
    for drawn, of in ((x, dataset.X), (y, dataset)):
        assert {*map(bytes, np.uint8(np.rint(127.5 * (drawn + 1))))} <= {*map(bytes, of.train)}
    np.testing.assert_array_equal((Gx, FGx), (game.G(x), game.back.G(Gx)))
    np.testing.assert_array_equal((Fy, GFy), (game.back.G(y), game.G(Fy)))


def test_images_are_translated_there_and_back(run, tmp_path, capsys):
    pair = data.load(PAIR['data'], PAIR['cycle'])
    images, to = pair.X.test.reshape(-1, 8, 8), tmp_path / 'found'
    np.save(tmp_path / 'x.npy', images)
    np.savez(tmp_path / 'x.npz', pictures=images / 255, other=np.arange(3))
    (tmp_path / 'x-idx3-ubyte').write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, len(images), 0, 0, 0, 8, 0, 0, 0, 8])
                                            + images.tobytes())
    translate = translator.load(run)
    for file in ('x.npy', 'x.npz', 'x-idx3-ubyte'):
        for back, nets in (([], (translate.G, translate.F)), (['--back'], (translate.F, translate.G))):
            assert main(['translate', str(run), str(tmp_path / file), *back, '-o', str(to)]) == 0
            found, x = np.load(f'{to}.npz'), np.float32(images.reshape(-1, 64) / 127.5 - 1)
            assert list(found) == ['images', 'translated', 'and_back'] and found['translated'].shape == images.shape
            np.testing.assert_allclose(found['images'], images / 255, atol=1e-6)
            np.testing.assert_allclose(2 * found['translated'].reshape(-1, 64) - 1, nets[0](x), atol=1e-5)
            np.testing.assert_allclose(2 * found['and_back'].reshape(-1, 64) - 1, nets[1](nets[0](x)), atol=1e-5)
    width, height = Image.open(f'{to}.png').size
    assert (width + 4) / (height + 4) == 16 / 3
    said = capsys.readouterr()
    differ = abs(found['and_back'] - found['images']).mean()
    assert said.err == '' and said.out.endswith(f'differ by {differ:.3f} on average\n')


@pytest.mark.parametrize('array, message', [
    (np.zeros((5, 9, 9), np.uint8), 'expected images of shape (N, 8, 8), got (5, 9, 9)'),
    (np.zeros((5, 8, 8, 3), np.uint8), 'expected images of shape (N, 8, 8), got (5, 8, 8, 3)'),
    (np.zeros((0, 8, 8), np.uint8), 'expected images of shape (N, 8, 8), got (0, 8, 8)'),
    (np.zeros((5, 64)), 'expected images of shape (N, height, width)'),
    (np.full((5, 8, 8), 3.0), 'expected floats in [0, 1], got values from 3.0 to 3.0')])
def test_other_files_are_refused_in_one_line(array, message, run, tmp_path, capsys):
    np.save(tmp_path / 'x.npy', array)
    np.savez(tmp_path / 'two.npz', a=array, b=array)
    (tmp_path / 'x.png').write_bytes(b'a picture')
    for file, expected in (('x.npy', message), ('two.npz', 'expected one array of images, got'),
                           ('x.png', 'expected an IDX file'), ('none.npy', 'No such file')):
        assert main(['translate', str(run), str(tmp_path / file), '-o', str(tmp_path / 'found')]) == 2
        error = capsys.readouterr().err
        assert error.count('\n') == 1 and (expected in error), error
    assert not list(tmp_path.glob('found*'))


def test_what_needs_noise_is_refused_and_so_is_translating_with_a_plain_run(run, tmp_path, capsys):
    for command in (['sample', str(run)], ['interpolate', str(run)], ['evaluate', str(run)]):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert 'got one that translates images: use minigan translate' in error and error.count('\n') == 1
    plain = train(Config(epochs=1, batch=500, device='numpy', out=str(tmp_path / 'plain')), quiet=True)
    np.save(tmp_path / 'x.npy', np.zeros((2, 8, 8), np.uint8))
    assert main(['translate', str(plain), str(tmp_path / 'x.npy')]) == 2
    assert 'expected a run of minigan train --cycle, got one that draws images from noise' in capsys.readouterr().err


@pytest.mark.parametrize('arguments, message', [
    (['--cycle', 'digits/plain', 'digits/thick', '--data', 'digits'], 'data: expected none with --cycle A B'),
    (['--cycle', 'digits/plain', 'digits/thick', '--network', 'default'], 'cycle: expected none with --network defau'),
    (['--network', 'cycle'], 'network: cycle needs --cycle A B'),
    (['--cycle', 'digits/plain', 'digits/thick', '--average', '1'], 'without --average and --conditional'),
    (['--cycle', 'digits/plain', 'digits/thick', '--conditional'], 'without --average and --conditional'),
    (['--cycle', 'digits/plain', 'digits/thick', '--n-z', '5'], 'n_z: expected 64, as G reads an image'),
    (['--cycle', 'digits/plain', 'digits/thin'], "expected 'digits', 'mnist'"),
    (['--cycle', 'digits/plain', 'SMALL'], 'cycle: expected two data sets of one shape, got digits-plain of (8, 8)'),
    (['--cycle', 'SMALL', 'SMALL'], 'expected images whose height and width 4 divides, got (6, 6)')])
def test_choices_that_do_not_fit_are_refused_in_one_line(arguments, message, tmp_path, capsys):
    np.save(tmp_path / 'small.npy', np.zeros((40, 6, 6), np.uint8))
    arguments = [str(tmp_path / 'small.npy') if argument == 'SMALL' else argument for argument in arguments]
    assert main(['train', *arguments, '-o', str(tmp_path / 'run')]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1 and not (tmp_path / 'run').exists()


def test_the_images_of_a_resumed_run_are_those_of_both_domains(run, tmp_path):
    with pytest.raises(ValueError, match='not the images that this run was trained with'):
        resume(run, cycle='digits/thick', quiet=True)
    with pytest.raises(ValueError, match='not the images that this run was trained with'):
        resume(run, data='digits/thick', quiet=True)
