"""Algorithm 1: who moves when, on which numbers, along which gradient."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan import (Adam, BatchNorm, Dense, Dropout, Game, Layer, LeakyReLU, Net, Sequential, SGDMomentum, Streams,
                     Tanh, losses, ops)
from minigan.checks.cases import through_D
from minigan.checks.derivatives import check
from minigan.ops import sigmoid

M, N_Z, N = 6, 3, 4
seeds = st.integers(0, 2**32 - 1)


def make(seed=0, optimizer=Adam, learning_rate=0.01, dtype=np.float64, **settings):
    streams = Streams(seed)
    G = Net([Dense(N_Z, 5, bias=False), BatchNorm(5), LeakyReLU(0.2), Dropout(0.2), Dense(5, N), Tanh()],
            rng=streams.at('init', 0, 0), name='G', dtype=dtype)
    D = Net([Dense(N, 5), LeakyReLU(0.2), Dropout(0.3), Dense(5, 1)],
            rng=streams.at('init', 0, 1), name='D', dtype=dtype)

    def minibatch(j):
        return streams.at('data', j).normal((M, N), dtype)

    return Game(G, D, optimizer(G, learning_rate=learning_rate), optimizer(D, learning_rate=learning_rate),
                minibatch, streams, m=M, n_z=N_Z, **settings)


def players(game):
    return {name: (net.theta.copy(), optimizer.m.copy(), optimizer.v.copy())
            for name, net, optimizer in (('G', game.G, game.optimizer_G), ('D', game.D, game.optimizer_D))}


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a, b))


def test_a_D_step_moves_D_and_leaves_theta_G_and_its_moments_bit_identical():
    game = make()
    game.step(0)  # without a gradient and moments, Adam would leave theta_G where it is
    before = players(game)
    game.update_D(game.minibatch(1), game.noise(1, 0), game.layer_rng(1, 0))
    assert same(players(game)['G'], before['G']) and not same(players(game)['D'], before['D'])


def test_a_G_step_moves_G_and_leaves_theta_D_and_its_moments_bit_identical():
    game = make()
    game.step(0)
    before, gradient = players(game), game.D.dtheta.copy()
    game.update_G(game.noise(1, 1), game.layer_rng(1, 1))
    assert same(players(game)['D'], before['D']) and not same(players(game)['G'], before['G'])
    np.testing.assert_array_equal(game.D.dtheta, gradient)


@pytest.mark.parametrize('objective', losses.OBJECTIVES)
def test_each_player_follows_the_gradient_of_its_own_loss(objective):
    """theta moves by -learning_rate times the gradient that central differences of the stated loss give."""
    game = make(optimizer=SGDMomentum, learning_rate=1, objective=objective)
    x, z = game.minibatch(0), game.noise(0, 0)

    def logits(*real):
        rng = game.layer_rng(0, 0)
        samples = game.G.forward(z, rng=rng, keep_cache=False)
        return game.D.forward(np.concatenate([*real, samples]), rng=rng, keep_cache=False)

    def value_D():
        both = logits(x)
        return np.array([losses.OBJECTIVES[objective].L_D(both[:M], both[M:])])

    def value_G():
        return np.array([losses.OBJECTIVES[objective].L_G(logits())])

    for net, value, update in ((game.D, value_D, lambda: game.update_D(x, z, game.layer_rng(0, 0))),
                               (game.G, value_G, lambda: game.update_G(z, game.layer_rng(0, 0)))):
        before = net.theta.copy()
        update()
        step, after = before - net.theta, net.theta.copy()
        net.theta[...] = before
        report = check(value, lambda u: {'theta': u * step}, {'theta': net.theta})
        assert report.ok, report
        net.theta[...] = after


@given(st.integers(2, 5), st.integers(1, 3), st.integers(1, 4), st.sampled_from([1, 4]), seeds,
       st.sampled_from(sorted(losses.OBJECTIVES)))
def test_L_G_has_the_correct_derivative_in_theta_G_through_D(m, n_z, n, width, seed, objective):
    streams, rng = Streams(seed), np.random.default_rng(seed)
    G = Net([Dense(n_z, width, bias=False), BatchNorm(width), LeakyReLU(0.2), Dense(width, n), Tanh()],
            rng=streams.at('init', 0, 0), dtype=np.float64)
    D = Net([Dense(n, width), LeakyReLU(0.2), Dropout(0.3), Dense(width, 1)],
            rng=streams.at('init', 0, 1), dtype=np.float64)
    for net in (G, D):
        net.theta += 0.1 * rng.standard_normal(net.theta.shape)
    report = through_D(G, D, objective, m, n_z, seed)
    assert report.ok, report


def test_the_saturating_and_the_nonsaturating_loss_pull_G_the_same_way_but_not_equally():
    gradients = []
    for objective in ('minimax', 'nonsaturating'):
        game = make(objective=objective)
        game.update_G(game.noise(0, 0), game.layer_rng(0, 0))
        gradients.append(game.G.dtheta.copy())
    cosine = gradients[0] @ gradients[1] / np.linalg.norm(gradients[0]) / np.linalg.norm(gradients[1])
    assert 0.5 < cosine < 1 - 1e-6


@pytest.mark.parametrize('k', [1, 3])
def test_an_iteration_is_k_steps_of_D_on_fresh_data_and_noise_then_one_of_G(k):
    game, calls = make(k=k), []
    minibatch, noise, layer_rng, update_D, update_G = (getattr(game, name) for name in (
        'minibatch', 'noise', 'layer_rng', 'update_D', 'update_G'))
    game.minibatch = lambda j: calls.append(('x', j)) or minibatch(j)
    game.noise = lambda t, i: calls.append(('z', t, i)) or noise(t, i)
    game.layer_rng = lambda t, i: calls.append(('layers', t, i)) or layer_rng(t, i)
    game.update_D = lambda *a: calls.append('D') or update_D(*a)
    game.update_G = lambda *a: calls.append('G') or update_G(*a)
    game.step(5)
    D_steps = [call for i in range(k) for call in (('z', 5, i), ('x', 5 * k + i), ('layers', 5, i), 'D')]
    assert calls == D_steps + [('z', 5, k), ('layers', 5, k), 'G']
    assert game.optimizer_D.t == k and game.optimizer_G.t == 1


def test_noise_is_of_the_prior_and_differs_by_iteration_by_update_and_from_what_layers_draw():
    game, updates = make(prior='uniform'), ((5, 0), (5, 1), (6, 0))
    for t, i in updates:
        np.testing.assert_array_equal(game.noise(t, i), game.draw_z(game.streams.at('noise', t, i), M))
        assert not np.array_equal(game.noise(t, i), game.draw_z(game.layer_rng(t, i), M))
    assert len({game.noise(t, i).tobytes() for t, i in updates}) == 3
    many = game.draw_z(game.streams.at('noise', 0, 0), 1000)
    assert many.shape == (1000, N_Z) and abs(many).max() <= 3**0.5  # a normal z would go beyond


def test_a_step_returns_the_logits_that_its_updates_saw():
    game, twin = make(), make()
    real, fake, fake_G = game.step(0)
    assert real.shape == fake.shape == fake_G.shape == (M, 1)
    x, z, rng = twin.minibatch(0), twin.noise(0, 0), twin.layer_rng(0, 0)
    both = twin.D.forward(np.concatenate([x, twin.G.forward(z, rng=rng, keep_cache=False)]), rng=rng)
    np.testing.assert_array_equal(np.concatenate([real, fake]), both)


def test_a_G_step_returns_the_logits_that_it_saw():
    game, twin = make(), make()
    z, rng = game.noise(0, 1), twin.layer_rng(0, 1)
    fake = game.update_G(z, game.layer_rng(0, 1))
    np.testing.assert_array_equal(fake, twin.D.forward(twin.G.forward(z, rng=rng), rng=rng))


def test_the_simultaneous_step_takes_both_gradients_at_the_same_parameters():
    game, twin = make(update='simultaneous'), make()
    before = players(game)
    real, fake, fake_G = game.step(0)
    assert fake is fake_G
    rng = twin.layer_rng(0, 0)
    samples = twin.G.forward(twin.noise(0, 0), rng=rng)
    both = twin.D.forward(np.concatenate([twin.minibatch(0), samples]), rng=rng)
    np.testing.assert_array_equal(both, np.concatenate([real, fake]))
    dfake = -sigmoid(-fake) / M
    twin.G.backward(twin.D.backward(np.concatenate([0 * real, dfake]), keep_cache=True)[M:])
    np.testing.assert_allclose(game.G.dtheta, twin.G.dtheta, rtol=1e-12)
    twin.D.backward(np.concatenate([-sigmoid(-real) / M, sigmoid(fake) / M]))
    np.testing.assert_allclose(game.D.dtheta, twin.D.dtheta, rtol=1e-12)
    assert not same(players(game)['G'], before['G']) and not same(players(game)['D'], before['D'])
    assert game.optimizer_G.t == game.optimizer_D.t == 1


@pytest.mark.parametrize('update', ['alternating', 'simultaneous'])
def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(update):
    def theta(seed):
        game = make(seed=seed, update=update)
        for t in range(5):
            game.step(t)
        return game.G.theta.tobytes() + game.D.theta.tobytes() + game.G.state.tobytes()

    assert theta(0) == theta(0) != theta(1)


def test_dropout_differs_by_iteration_and_by_update():
    game = make()
    masks = [game.layer_rng(t, i).uniform(9).tobytes() for t, i in ((0, 0), (0, 1), (1, 0), (2, 3))]
    assert len(set(masks)) == 4 and game.layer_rng(1, 0).uniform(9).tobytes() == masks[2]


@pytest.mark.parametrize('update, inputs', [('alternating', 1 + 2 + 1), ('simultaneous', 2 + 1 + 1)])
def test_no_gradient_that_nobody_reads_is_computed(monkeypatch, update, inputs):
    """Each network has two Dense layers. A step of D needs the parameters' derivatives of both, and dx of one. A step
    of G needs dx of D's two; and of G's two, the parameters' derivatives of both and dx of one."""
    game, calls = make(update=update), []
    for name in ('dense_backward_input', 'dense_backward_params_'):
        monkeypatch.setattr(ops, name, lambda *a, name=name, real=getattr(ops, name): calls.append(name) or real(*a))
    game.step(0)
    assert calls.count('dense_backward_input') == inputs
    assert calls.count('dense_backward_params_') == 2 + 2


@pytest.mark.parametrize('update', ['alternating', 'simultaneous'])
def test_float32_players_stay_float32_and_play_the_same_game(update):
    single, double = make(dtype=np.float32, update=update), make(update=update)
    for t in range(3):
        a, b = single.step(t), double.step(t)
        assert {logits.dtype for logits in a} == {np.dtype('float32')}
    np.testing.assert_allclose(np.ravel(a), np.ravel(b), atol=1e-4)
    assert single.noise(0, 0).dtype == np.float32


def test_two_gaussians_meet():
    """The game works: from noise, G finds the mean and the spread of a one-dimensional density."""
    streams = Streams(0)
    G = Net([Dense(1, 1)], rng=streams.at('init', 0, 0), dtype=np.float64)
    D = Net([Dense(1, 32), LeakyReLU(0.2), Dense(32, 32), LeakyReLU(0.2), Dense(32, 1)],
            rng=streams.at('init', 0, 1), dtype=np.float64)
    game = Game(G, D, Adam(G, learning_rate=2e-3, beta1=0.5), Adam(D, learning_rate=4e-3, beta1=0.5),
                lambda j: 2 + 0.5 * streams.at('data', j).normal((256, 1), np.float64), streams, m=256, n_z=1)
    for t in range(2500):
        real, fake, _ = game.step(t)
    assert abs(G.layers[0].b[0] - 2) < 0.15 and abs(abs(G.layers[0].W[0, 0]) - 0.5) < 0.15
    np.testing.assert_allclose(losses.V(real, fake), -np.log(4), atol=0.05)


@pytest.mark.parametrize('settings, message', [
    ({'prior': 'cauchy'}, r"prior: expected one of normal, uniform, got 'cauchy'"),
    ({'k': 0}, 'k: expected at least 1 D step per G step, got 0'),
    ({'objective': 'softmax'}, "objective: expected one of .*minimax.*nonsaturating.*, got 'softmax'"),
    ({'update': 'never'}, "update: expected one of .*, got 'never'"),
    ({'update': 'simultaneous', 'k': 2}, 'k must be 1, got 2')])
def test_settings_out_of_range_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_a_batch_norm_in_D_is_refused():
    game = make()
    D = Net([Dense(N, 5), BatchNorm(5), Dense(5, 1)], rng=Streams(0).at('init', 0), name='D', dtype=np.float64)
    with pytest.raises(ValueError, match=r'D: BatchNorm\(5\) mixes data and samples'):
        Game(game.G, D, game.optimizer_G, Adam(D, learning_rate=1), game.minibatch, game.streams, m=M, n_z=N_Z)


def test_a_batch_norm_deep_inside_D_is_refused_too():
    game = make()
    layers = [Sequential(Dense(N, 5), BatchNorm(5)), Dense(5, 1)]
    D = Net(layers, rng=Streams(0).at('init', 0), name='D', dtype=np.float64)
    with pytest.raises(ValueError, match=r'D: Sequential\(.*BatchNorm\(5\)\) mixes data and samples'):
        Game(game.G, D, game.optimizer_G, Adam(D, learning_rate=1), game.minibatch, game.streams, m=M, n_z=N_Z)


def test_a_minibatch_of_one_is_refused_where_G_has_a_batch_norm():
    game = make()
    assert Game(game.G, game.D, game.optimizer_G, game.optimizer_D, game.minibatch, game.streams, m=2, n_z=N_Z).m == 2
    with pytest.raises(ValueError, match=r'm: BatchNorm\(5\) in G needs a minibatch of at least 2, got 1'):
        Game(game.G, game.D, game.optimizer_G, game.optimizer_D, game.minibatch, game.streams, m=1, n_z=N_Z)


def test_label_smoothing_reaches_the_discriminators_derivative():
    game = make(smoothing=0.1)
    real, fake = np.array([[0.3], [-2.0]]), np.array([[0.5], [1.0]])
    expected = np.concatenate(losses.L_D_backward(real, fake, smoothing=0.1))
    np.testing.assert_allclose(game.L_D_backward(real, fake), expected)
    assert not np.allclose(game.L_D_backward(real, fake), make().L_D_backward(real, fake))


def test_an_optimiser_of_a_different_net_is_refused():
    game = make()
    copied = Adam(copy.deepcopy(game.D), learning_rate=1)
    for optimizers in ((game.optimizer_D, game.optimizer_G), (game.optimizer_G, copied)):
        with pytest.raises(ValueError, match='optimizer_[GD]: expected one that moves [GD], got Adam.*a different net'):
            Game(game.G, game.D, *optimizers, game.minibatch, game.streams, m=M, n_z=N_Z)


@pytest.mark.parametrize('update', ['alternating', 'simultaneous'])
def test_a_copied_game_plays_on_alone(update):
    game = make(update=update)
    game.step(0)
    twin, before = copy.deepcopy(game), players(game)
    for t in (1, 2):
        twin.step(t)
    assert all(same(players(game)[name], before[name]) for name in 'GD')
    for t in (1, 2):
        game.step(t)
    assert all(same(players(game)[name], players(twin)[name]) for name in 'GD')


def test_players_that_share_a_layer_are_refused():
    shared, streams = LeakyReLU(0.2), Streams(0)
    G = Net([Dense(1, 4), shared, Dense(4, 1)], rng=streams.at('init', 0, 0), name='G')
    with pytest.raises(ValueError, match=r"D: LeakyReLU\(0.2\) at 2.LeakyReLU already stands in the net 'G'"):
        Net([Dense(1, 4), shared, Dense(4, 1)], rng=streams.at('init', 0, 1), name='D')
    assert G(np.ones((2, 1), np.float32)).shape == (2, 1)


@pytest.mark.parametrize('number', [np.float64, np.float32, np.array])
def test_numpys_numbers_as_settings_play_the_same_float32_game(number):
    games = [make(dtype=np.float32, smoothing=value(0.25), learning_rate=value(0.25)) for value in (number, float)]
    for game in games:
        game.step(0)
    assert games[0].L_D_backward(*np.zeros((2, M, 1), np.float32)).dtype == np.float32
    assert all(same(players(games[0])[name], players(games[1])[name]) for name in 'GD')


class InFours(Layer):
    """A layer that reads four rows together."""

    block = 4

    def forward(self, x, *, training, rng):
        return x

    def backward(self, dy, *, param_grads, input_grad):
        return dy


@pytest.mark.parametrize('layer', [InFours(), Sequential(InFours())])
def test_a_minibatch_that_would_put_data_and_samples_into_one_block_is_refused(layer):
    G, D = (Net([Dense(1, 1), *more], rng=Streams(0).at('init', 0)) for more in ([], [layer]))
    settings = {'n_z': 1, 'optimizer_G': Adam(G, learning_rate=1), 'optimizer_D': Adam(D, learning_rate=1)}
    with pytest.raises(ValueError, match=r'^m: .*InFours\(\).* in D needs a multiple of 4, got 6$'):
        Game(G, D, minibatch=None, streams=Streams(0), m=6, **settings)
    Game(G, D, minibatch=None, streams=Streams(0), m=8, **settings)


def test_smoothing_is_refused_where_D_gives_no_probability():
    with pytest.raises(ValueError, match='^smoothing: expected 0, as hinge has no probability, got 0.1$'):
        make(objective='hinge', smoothing=0.1)
