"""Packs are one row for D: their order does not matter, that of their images does, and packs of one change nothing."""

import numpy as np
import pytest
from support.nets import game_of, net_of, normal

from minigan import RECIPES, Dense, LeakyReLU, gradcheck, laws
from minigan.ops import stack
from minigan.variants.packing import Pack, packed

test_pack_of_one_laws = laws.hold_for(lambda n: Pack(1))


def test_the_order_of_images_in_a_pack_matters_and_the_order_of_packs_does_not():
    D, x = net_of(Pack(2), Dense(8, 5), LeakyReLU(0.2), Dense(5, 1)), normal(6, 4)
    y = D(x)
    assert y.shape == (3, 1)
    assert abs(D(x[[1, 0, 3, 2, 5, 4]]) - y).min() > 1e-6
    np.testing.assert_allclose(D(x[[4, 5, 2, 3, 0, 1]]), y[::-1], rtol=1e-12)


@pytest.mark.parametrize('pac', [1, 2, 3])
def test_packs_pass_gradcheck(pac):
    gradcheck(Pack(pac), normal(6, 4)).assert_ok()
    gradcheck(net_of(Pack(pac), Dense(4 * pac, 3), LeakyReLU(0.2), Dense(3, 1)), normal(6, 4)).assert_ok()


@pytest.mark.parametrize('update', ['alternating', 'simultaneous'])
def test_packs_of_one_image_are_the_plain_game(update):
    plain, ours = (game_of(recipe, update=update) for recipe in (RECIPES['default'], packed(RECIPES['default'], 1)))
    for t in range(3):
        for expected, got in zip(plain.step(t), ours.step(t)):
            np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(ours.G.theta, plain.G.theta)
    np.testing.assert_array_equal(ours.D.theta, plain.D.theta)


@pytest.mark.parametrize('update', ['alternating', 'simultaneous'])
def test_a_game_with_packs_has_a_logit_for_each_pack(update):
    game = game_of(packed(RECIPES['default'], 4), update=update)
    real, fake, fake_G = game.step(0)
    assert real.shape == fake.shape == fake_G.shape == (5, 1)
    D, x, s = game.D, normal(20, 6).astype(np.float32), normal(20, 6, seed=1).astype(np.float32)
    np.testing.assert_allclose(D(stack(x, s)), stack(D(x), D(s)), rtol=1e-5)


def test_a_minibatch_that_packs_do_not_divide_is_refused():
    with pytest.raises(ValueError, match=r'm: Pack\(3\) in D needs a multiple of 3, got 20'):
        game_of(packed(RECIPES['default'], 3))


def test_packs_of_a_D_that_reads_blocks_are_refused():
    with pytest.raises(ValueError, match=r'packed: expected a D that reads single rows, got one with InBlocks\(Mini'):
        game_of(packed(RECIPES['minibatch-stddev'], 2))


@pytest.mark.parametrize('make, said', [
    (lambda: Pack(0), 'Pack: expected at least 1 row, got 0'),
    (lambda: net_of(Pack(3))(normal(7, 2)),
     r'Pack\(3\): expected a number of rows that 3 divides, got x of shape \(7, 2\)')])
def test_bad_input_is_refused_in_one_line(make, said):
    with pytest.raises(ValueError, match=said):
        make()
