"""A fused net computes the bits that its layers compute one after the other, in training, and no other layer is
touched."""

import copy
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan import (BatchNorm, Dense, Dropout, Game, LeakyReLU, Maxout, Net, Noise, Scale, Sigmoid, Streams, Tanh,
                     data, gradcheck, ops)
from minigan.gpu import fusion
from minigan.gpu.fusion import (GROUPS, BatchNormLeakyReLU, DenseLeakyReLU, DenseTanh, MaxoutDropout, NoisyInput,
                                ScaleDropout, SigmoidScale, fuse)
from minigan.native.check import differing
from minigan.networks import RECIPES
from minigan.optim import Adam
from minigan.training import Config, build_game


def twice(layers, **settings):
    """The same net twice: as it is, and fused."""
    return [Net(layers(), rng=Streams(3).at('init', 0), dtype=np.float64, fuse=fuse if fused else None, **settings)
            for fused in (False, True)]


@pytest.mark.parametrize('network, G, D', [
    ('default', [Dense, BatchNormLeakyReLU, Dense, BatchNormLeakyReLU, DenseTanh],
     [DenseLeakyReLU, DenseLeakyReLU, Dense]),
    ('article', [Dense, BatchNormLeakyReLU, Dense, BatchNormLeakyReLU, Dense, BatchNormLeakyReLU, Tanh],
     [DenseLeakyReLU, DenseLeakyReLU, Dense]),
    ('goodfellow2014', [DenseLeakyReLU, DenseLeakyReLU, Dense, SigmoidScale],
     [ScaleDropout, Dense, MaxoutDropout, Dense, MaxoutDropout, Dense])])
def test_the_networks_become_groups(network, G, D):
    nets = (Net(layers, rng=Streams(0).at('init', 0), fuse=fuse)
            for layers in (RECIPES[network].G(10, (4, 4)), RECIPES[network].D((4, 4))))
    assert [[type(layer) for layer in net.layers_in_training] for net in nets] == [G, D]


def test_every_group_is_in_a_network_or_checked_here():
    class Mine(LeakyReLU):
        pass

    a, b, c = Dense(3, 4), LeakyReLU(0.2), Dropout(0.5)
    assert [type(layer) for layer in fuse([Noise(lambda t: 1), a, b])] == [NoisyInput, DenseLeakyReLU]
    assert [type(layer) for layer in fuse([a, b, c, a, b, a, Tanh(), BatchNorm(4), b, BatchNorm(4), Tanh()])] == [
        DenseLeakyReLU, DenseLeakyReLU, DenseTanh, BatchNormLeakyReLU, BatchNormLeakyReLU, Tanh]
    for layers in ([a], [a, c, b], [Dense(3, 4, bias=False), b], [Dense(3, 4, bias=False), Tanh()], [a, Mine(0.2)],
                   [b, a], [Maxout(2), Dropout(0.0)], []):
        assert fuse(layers) == layers
    assert len(GROUPS) == 9


def mixed():
    return [Noise(lambda t: 0.1 * t), Dense(5, 7), LeakyReLU(0.3), Dropout(0.4), Dense(7, 6, bias=False), BatchNorm(6),
            LeakyReLU(0.1), Dense(6, 4), LeakyReLU(0.2), Dropout(0.0), BatchNorm(4), Dropout(0.2), Scale(0.5, 0.5),
            Dropout(0.3), Dense(4, 6), Maxout(2), Dropout(0.5), Dense(3, 3), Sigmoid(), Scale(2, -1), Dense(3, 3),
            Tanh()]


@pytest.mark.parametrize('param_grads', [True, False])
def test_a_fused_net_computes_the_same(param_grads):
    plain, fused = twice(mixed)
    x, dy = np.random.default_rng(0).standard_normal((9, 5)), np.random.default_rng(1).standard_normal((9, 3))
    results = []
    for net in (plain, fused):
        net.dtheta[...] = np.pi
        y = net.forward(x, rng=Streams(1).at('dropout', 2))
        results.append((y, net.backward(dy, param_grads=param_grads), net.dtheta, net.state, net(x)))
    assert differing(*map(tuple, results)) == 0
    assert param_grads == (results[1][2] != np.pi).all()


def test_a_fused_net_passes_gradcheck():
    net = Net(mixed()[1:], rng=Streams(0).at('init', 0), dtype=np.float64, fuse=fuse)
    report = gradcheck(net, np.random.default_rng(0).standard_normal((8, 5)))
    assert report.ok, report


@pytest.mark.parametrize('network', RECIPES)
def test_a_game_of_fused_nets_is_the_same_game(network):
    games = []
    for fused in (False, True):
        streams, recipe = Streams(4), RECIPES[network]
        G, D = (Net(layers, rng=streams.at('init', 0, i), fuse=fuse if fused else None)
                for i, layers in enumerate((recipe.G(10, (4, 4)), recipe.D((4, 4)))))
        games.append(Game(G, D, Adam(G, learning_rate=1e-3), Adam(D, learning_rate=1e-3),
                          lambda j: streams.at('data', j).normal((8, 16), np.float32), streams, m=8, n_z=10))
        for t in range(5):
            games[-1].step(t)
    assert differing(*((game.G.theta, game.G.state, game.D.theta) for game in games)) == 0
    assert not games[1].G.layers[0].cache and games[1].G.layers_in_training[1].cache is None


def test_errors_are_those_of_the_layers():
    net = Net([Dense(3, 4), LeakyReLU(0.2), Dropout(0.5), BatchNorm(4), Dense(4, 2), Tanh()],
              rng=Streams(0).at('init', 0), fuse=fuse)
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r'Dense\(3 -> 4\): expected x of shape \(m, 3\), got \(2, 5\)'):
        net.forward(np.ones((2, 5), np.float32), rng=Streams(0).at('dropout', 0))
    with pytest.raises(ValueError, match=r'Dropout\(0.5\): expected rng=streams.at\(...\) in training, got None'):
        net.forward(x)
    with pytest.raises(ValueError, match=r'BatchNorm\(4\): expected a minibatch of at least 2 rows in training, got 1'):
        net.forward(x[:1], rng=Streams(0).at('dropout', 0))


def test_training_alone_is_fused_and_only_where_it_is_asked_for():
    for ask, groups in ((None, 0), (fuse, 9)):
        net = Net(mixed(), rng=Streams(0).at('init', 0), fuse=ask)
        assert sum(type(layer) in GROUPS.values() for layer in net.layers_in_training) == groups


def test_a_game_on_a_gpu_is_fused_and_one_in_numpy_is_not(cupy):
    dataset, recipe = data.load('digits'), RECIPES['default']
    for xp, groups in ((np, 0), (cupy, 5)):
        game = build_game(Config().resolve(recipe, dataset), recipe, dataset, xp)
        assert sum(type(layer) in GROUPS.values() for net in (game.G, game.D) for layer in net.layers_in_training
                   ) == groups


def test_a_slope_that_changes_is_followed():
    plain, fused = twice(mixed)
    for net in (plain, fused):
        for layer in net.layers:
            if type(layer) is LeakyReLU:
                layer.slope = 0.7
    x = np.random.default_rng(0).standard_normal((9, 5))
    one, other = (net.forward(x, rng=Streams(1).at('dropout', 2)) for net in (plain, fused))
    np.testing.assert_allclose(one, other, rtol=1e-12)


GROUPED = {  # for x of 3 n columns
    'Dense, LeakyReLU, Dropout': lambda n, slope, rate: [Dense(3 * n, n), LeakyReLU(slope), Dropout(rate)],
    'Dense, LeakyReLU, no Dropout': lambda n, slope, rate: [Dense(3 * n, n), LeakyReLU(slope), Dropout(0.0)],
    'Dense, LeakyReLU': lambda n, slope, rate: [Dense(3 * n, n), LeakyReLU(slope)],
    'Dense, Tanh': lambda n, slope, rate: [Dense(3 * n, n), Tanh()],
    'BatchNorm, LeakyReLU': lambda n, slope, rate: [BatchNorm(3 * n, momentum=rate), LeakyReLU(slope)],
    'BatchNorm': lambda n, slope, rate: [BatchNorm(3 * n, momentum=rate)],
    'Noise': lambda n, slope, rate: [Noise(lambda t: slope)],
    'Scale, Dropout': lambda n, slope, rate: [Scale(slope, rate), Dropout(rate)],
    'Sigmoid, Scale': lambda n, slope, rate: [Sigmoid(), Scale(slope, rate)],
    'Maxout, Dropout': lambda n, slope, rate: [Maxout(3), Dropout(rate)]}


def bits_that_differ(group, m, n, seed, slope, rate):
    """In all that a group and its layers leave, in float32; x has equal numbers, -0 and NaN, dy has -0 and inf."""
    rng, results = np.random.default_rng(seed), []
    x, dy = (rng.integers(-4, 5, (2, m, 3 * n)) / 4 if seed % 2 else rng.standard_normal((2, m, 3 * n))).astype('f4')
    x[rng.random(x.shape) < 0.1], dy[rng.random(x.shape) < 0.1] = -0.0, -0.0
    if seed % 3 == 0:
        x[rng.integers(m)], dy[rng.integers(m), 0] = np.nan, np.inf
    for ask in (None, fuse):
        net = Net(GROUPED[group](n, slope, rate), rng=Streams(seed).at('init', 0), fuse=ask)
        net.theta += np.random.default_rng(seed).standard_normal(net.theta.shape, np.float32)
        y = net.forward(x, rng=Streams(seed).at('dropout', 1))
        results.append((y, net.backward(dy[:, :y.shape[1]]), net.dtheta, net.state))
    assert type(net.layers_in_training[0]) in GROUPS.values()
    return differing(*results)


@pytest.mark.parametrize('group', GROUPED)
@given(m=st.integers(2, 70), n=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), slope=st.floats(0, 0.999),
       rate=st.floats(1e-9, 0.999))
@pytest.mark.filterwarnings('ignore::RuntimeWarning')  # NaN, and shares of it
def test_a_group_gives_the_bits_of_its_layers(group, m, n, seed, slope, rate):
    assert bits_that_differ(group, m, n, seed, slope, rate) == 0


def averaged_otherwise(x, gamma, beta, moving_mean, moving_var, *, eps, momentum, slope):
    """batch_norm_leaky_relu_, with moving_average_ as its docstring has it."""
    h, cache, statistics = ops.batch_norm(x, gamma, beta, eps=eps)
    for moving, statistic in zip((moving_mean, moving_var), statistics):
        moving[...] = momentum * moving + (1 - momentum) * statistic
    return ops.leaky_relu(h, slope=slope), cache


@pytest.mark.parametrize('group, name, reordered', [
    ('Scale, Dropout', 'scale_dropout_backward', lambda dy, mask, *, a: dy * (a * mask)),
    ('Dense, LeakyReLU, Dropout', 'leaky_relu_dropout_backward',
     lambda dy, s, *, slope: dy * (abs(s) * np.where(s > 0, 1, np.float32(slope)))),
    ('Sigmoid, Scale', 'sigmoid_scale_backward', lambda dy, p, *, a: a * (dy * p * (1 - p))),
    ('BatchNorm, LeakyReLU', 'batch_norm_leaky_relu_', averaged_otherwise)])
def test_a_different_order_of_operations_is_seen(group, name, reordered, monkeypatch):
    monkeypatch.setattr(fusion, name, reordered)
    assert bits_that_differ(group, 20, 30, 2, 0.3, 0.3) > 0


@pytest.mark.parametrize('param_grads', [True, False])
@pytest.mark.parametrize('input_grad', [True, False])
@pytest.mark.parametrize('group', GROUPED)
def test_a_group_returns_and_assigns_just_what_its_layers_do(group, param_grads, input_grad):
    x, results = np.random.default_rng(0).standard_normal((5, 6)), []
    for net in twice(partial(GROUPED[group], 2, 0.2, 0.3)):
        net.dtheta[...] = np.pi
        y = net.forward(x, rng=Streams(1).at('dropout', 0))
        results.append((net.backward(np.cos(y), param_grads=param_grads, input_grad=input_grad), net.dtheta))
    assert [dx is None for dx, _ in results] == 2 * [not input_grad]
    assert differing(*results) == 0
    assert type(net.layers_in_training[0]) in GROUPS.values()


@pytest.mark.parametrize('group', GROUPED)
def test_a_group_asks_for_random_numbers_just_where_its_layers_do(group):
    outcomes = []
    for net in twice(partial(GROUPED[group], 2, 0.2, 0.3)):
        try:
            net.forward(np.ones((5, 6)), keep_cache=False)
            outcomes.append('')
        except ValueError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1] and (outcomes[0] != '') == (group == 'Noise' or group.endswith(', Dropout'))


def test_a_copied_net_is_fused_too_and_learns_alone():
    net = Net(mixed(), rng=Streams(0).at('init', 0), dtype=np.float64, fuse=fuse)
    twin, x = copy.deepcopy(net), np.random.default_rng(0).standard_normal((9, 5))
    assert list(map(type, twin.layers_in_training)) == list(map(type, net.layers_in_training))
    results = []
    for one in (twin, net):
        one.backward(np.cos(one.forward(x, rng=Streams(1).at('dropout', 0))))
        Adam(one, learning_rate=0.1).step()
        results.append((one.theta, one.state, one.forward(x, rng=Streams(1).at('dropout', 0))))
    for ours, theirs in zip(*results):
        np.testing.assert_array_equal(ours, theirs)
