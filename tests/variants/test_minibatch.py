"""Minibatch features say how alike the images of one kind are; blocks keep data and samples apart."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import autograd
from support.nets import game_of, net_of, normal

from minigan import RECIPES, BatchNorm, Dense, Dropout, Layer, LeakyReLU, Sequential, Streams, gradcheck, laws
from minigan.ops import stack
from minigan.storage import checkpoint
from minigan.variants import minibatch
from minigan.variants.minibatch import InBlocks, MinibatchDiscrimination, MinibatchStddev

MIXING = {'BatchNorm': BatchNorm, 'MinibatchStddev': lambda n: MinibatchStddev(),
          'MinibatchDiscrimination': lambda n: MinibatchDiscrimination(n, 3, 2)}
several_rows = laws.minibatches(rows=st.integers(2, 6), scales=st.sampled_from([1.0, 0.1, 10.0]))

test_stddev_laws = laws.hold_for(MIXING['MinibatchStddev'], x=several_rows)
test_discrimination_laws = laws.hold_for(lambda n, B, C: MinibatchDiscrimination(n, B, C), x=several_rows,
                                         B=st.integers(1, 3), C=st.integers(1, 3))


def features(layer, x):
    """The columns that a layer adds to x."""
    return net_of(layer)(x)[:, x.shape[1]:]


# InBlocks

@pytest.mark.parametrize('name', MIXING)
@pytest.mark.parametrize('training', [True, False])
@given(rows=st.integers(2, 7), block=st.integers(2, 4))
def test_blocks_pass_gradcheck(name, training, rows, block):
    if training and rows % block == 1:
        block += 1  # a block of one row trains no batch norm
    if training and rows % block == 1:
        return
    gradcheck(InBlocks(MIXING[name](3), block), normal(rows, 3), training=training).assert_ok()


@pytest.mark.parametrize('name', MIXING)
@pytest.mark.parametrize('training', [True, False])
def test_data_and_samples_do_not_see_each_other(name, training):
    """D on stacked(x, s) = stack(D(x), D(s)), bit for bit."""
    layer = InBlocks(MIXING[name](4), 5)
    net, x, s = net_of(layer), normal(10, 4), normal(5, 4, seed=1)
    start = net.state.copy()

    def y(rows):
        net.state[...] = start
        return net.forward(rows, training=training, keep_cache=False)

    np.testing.assert_array_equal(y(stack(x, s)), stack(y(x), y(s)))
    np.testing.assert_array_equal(y(stack(x, s)[:10]), stack(y(x[:5]), y(x[5:])))


@pytest.mark.parametrize('name', MIXING)
def test_the_derivatives_of_blocks_add_up(name):
    x, dy, inner = normal(6, 4), None, MIXING[name](4)
    net, alone = net_of(InBlocks(inner, 3)), net_of(MIXING[name](4))
    dy = normal(*net.forward(x).shape, seed=1)
    dx, expected = net.backward(dy), []
    for rows in (slice(0, 3), slice(3, 6)):
        alone.forward(x[rows])
        expected.append((alone.backward(dy[rows]), alone.dtheta.copy()))
    np.testing.assert_array_equal(dx, stack(expected[0][0], expected[1][0]))
    np.testing.assert_array_equal(net.dtheta, expected[0][1] + expected[1][1])


def test_a_block_of_everything_is_the_layer_itself():
    x, ours, plain = normal(6, 4), net_of(InBlocks(BatchNorm(4), 6)), net_of(BatchNorm(4))
    for step in range(3):
        np.testing.assert_array_equal(ours.forward(x + step), plain.forward(x + step))
        np.testing.assert_array_equal(ours.backward(np.cos(x)), plain.backward(np.cos(x)))
        np.testing.assert_array_equal(ours.dtheta, plain.dtheta)
    np.testing.assert_array_equal(ours.state, plain.state)
    assert [slot.name for slot in ours.slots] == ['1.InBlocks.1.BatchNorm.gamma', '1.InBlocks.1.BatchNorm.beta']


def test_a_layer_made_of_layers_has_a_cache_for_each_block():
    made = Sequential(Dense(4, 3), BatchNorm(3), LeakyReLU(0.2), Dropout(0.3))
    gradcheck(InBlocks(made, 2), normal(6, 4)).assert_ok()


def test_what_blocks_keep_is_dropped_and_copied():
    net, x = net_of(InBlocks(BatchNorm(4), 3), Dense(4, 1)), normal(6, 4)
    net.forward(x)
    net.drop_cache()
    assert net.layers[0].cache is None and net.layers[0].layers[0].cache is None
    twin = copy.deepcopy(net)
    twin.theta += 1
    np.testing.assert_array_equal(net.layers[0].layers[0].gamma, 1)
    np.testing.assert_array_equal(twin.layers[0].layers[0].gamma, 2)


def test_batch_norm_in_blocks_follows_data_and_samples_alike():
    layer = BatchNorm(2, momentum=0.5)
    net = net_of(InBlocks(layer, 4))
    net.forward(stack(np.full((4, 2), 8.0), np.full((4, 2), 2.0)))
    np.testing.assert_allclose(layer.moving_mean, 0.5 * (0.5 * 0 + 0.5 * 8) + 0.5 * 2)


def test_gradcheck_finds_blocks_that_read_more_rows_than_they_say():
    class Centres(Layer):
        block = 3

        def forward(self, x, *, training, rng):
            return x - x.mean(axis=0)

        def backward(self, dy, *, param_grads, input_grad):
            return dy - dy.mean(axis=0)

    rows = {row.name: row for row in gradcheck(Centres(), normal(6, 4), training=True)}
    assert 'expected True, got False: row 0 of x changes y[3, 0]' in rows['mixes_rows'].why
    gradcheck(Centres(), normal(3, 4)).assert_ok()


@pytest.mark.parametrize('make, said', [
    (lambda: InBlocks(BatchNorm(4), 0), 'InBlocks: expected a block of at least 1 row, got 0'),
    (lambda: net_of(MinibatchDiscrimination(3, 2, 2))(normal(7, 2)), r'expected x of shape \(m, 3\), got \(7, 2\)')])
def test_bad_input_is_refused_in_one_line(make, said):
    with pytest.raises(ValueError, match=said):
        make()


# features of a minibatch

@pytest.mark.parametrize('name', MIXING)
def test_permuting_rows_permutes_the_features(name):
    x, order, layer = normal(6, 4), np.random.default_rng(1).permutation(6), MIXING[name](4)
    net = net_of(layer)
    np.testing.assert_allclose(net.forward(x[order], keep_cache=False), net.forward(x, keep_cache=False)[order],
                               atol=1e-14)


@pytest.mark.parametrize('m', [2, 5, 50])
def test_identical_rows_are_as_near_as_can_be(m):
    x = np.repeat(normal(1, 4), m, axis=0)
    np.testing.assert_allclose(features(MinibatchDiscrimination(4, 3, 2), x), 1, rtol=1e-12)
    np.testing.assert_allclose(features(MinibatchStddev(), x), 1e-4, rtol=1e-6)


def test_distant_rows_are_not_near():
    x = 1e4 * normal(5, 4)
    assert features(MinibatchDiscrimination(4, 3, 2), x).max() < 1e-12
    np.testing.assert_allclose(features(MinibatchStddev(), x), x.std(axis=0).mean())


def test_nearness_follows_its_definition():
    layer, x = MinibatchDiscrimination(4, 3, 2), normal(5, 4)
    o, M = features(layer, x), np.einsum('ia,abc->ibc', x, layer.T)
    for i in range(5):
        for b in range(3):
            K = [np.exp(-sum(abs(M[i, b, c] - M[j, b, c]) for c in range(2))) for j in range(5) if j != i]
            np.testing.assert_allclose(o[i, b], np.mean(K))


def test_nearness_is_a_mean_so_twice_as_many_rows_of_two_kinds_barely_change_it():
    pair = normal(2, 4)
    few, many = (features(MinibatchDiscrimination(4, 3, 2), np.tile(pair, (copies, 1))) for copies in (20, 40))
    np.testing.assert_allclose(few[0], many[0], atol=0.02)


def test_a_row_alone_is_near_nothing():
    np.testing.assert_array_equal(features(MinibatchDiscrimination(4, 3, 2), normal(1, 4)), 0)


def test_features_against_autograd():
    torch, x = autograd.torch(), normal(5, 4)

    def nearness(x, T):
        M = torch.einsum('ia,abc->ibc', x, T)
        K = torch.exp(-(M[:, None] - M[None]).abs().sum(dim=3))
        return torch.cat([x, (K.sum(dim=1) - 1) / 4], dim=1)

    def spread(x):
        s = (x.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        return torch.cat([x, s.expand(5, 1)], dim=1)

    autograd.assert_same(MinibatchDiscrimination(4, 3, 2), nearness, x, normal(5, 7, seed=1))
    autograd.assert_same(MinibatchStddev(), spread, x, normal(5, 5, seed=1))


# recipes

@pytest.mark.parametrize('network', minibatch.RECIPES)
def test_a_recipe_with_blocks_trains_and_its_checkpoint_continues_it(network):
    whole, stopped = (game_of(RECIPES[network], m=50) for _ in range(2))
    for t in range(4):
        whole.step(t)
    for t in range(2):
        stopped.step(t)
    resumed = game_of(RECIPES[network], m=50, seed=0)
    checkpoint.restore(resumed, checkpoint.snapshot(stopped))
    for t in range(2, 4):
        resumed.step(t)
    for expected, got in ((whole.G, resumed.G), (whole.D, resumed.D)):
        np.testing.assert_array_equal(got.theta, expected.theta)
        np.testing.assert_array_equal(got.state, expected.state)
    assert np.isfinite(whole.D.theta).all() and np.isfinite(whole.G.theta).all()


@pytest.mark.parametrize('network', minibatch.RECIPES)
def test_D_of_a_recipe_reads_data_and_samples_apart(network):
    game = game_of(RECIPES[network], m=50, dtype=np.float64)
    D, x, s, start = game.D, normal(50, 6), normal(50, 6, seed=1), game.D.state.copy()

    def logits(rows, samples):
        D.state[...] = start
        return game.logits(rows, samples, Streams(0).at('dropout', 0))

    real, fake = logits(x, s)
    D.drop_cache()
    np.testing.assert_allclose(logits(x, s + 1)[0], real, rtol=1e-12)
    D.drop_cache()
    np.testing.assert_allclose(logits(x + 1, s)[1], fake, rtol=1e-12)


@pytest.mark.parametrize('network', minibatch.RECIPES)
def test_D_of_a_recipe_passes_gradcheck_over_two_blocks(network):
    gradcheck(net_of(*RECIPES[network].D((2, 3))), normal(54, 6), training=True, directions=1).assert_ok()


@pytest.mark.parametrize('network', minibatch.RECIPES)
def test_a_minibatch_that_blocks_do_not_divide_is_refused(network):
    with pytest.raises(ValueError, match=r'm: InBlocks\(.*, 50\) in D needs a multiple of 50, got 20'):
        game_of(RECIPES[network])


def test_a_feature_outside_of_blocks_is_refused_in_D():
    recipe = RECIPES['minibatch-stddev']
    with pytest.raises(ValueError, match=r'D: MinibatchStddev\(\) mixes data and samples'):
        game_of(minibatch.replace(recipe, D=lambda shape: [MinibatchStddev(), Dense(7, 1)]))
