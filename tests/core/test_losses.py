"""V and the losses on logits: their values, their derivatives and the relations between them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan import losses
from minigan.checks.derivatives import check
from minigan.ops import sigmoid


@st.composite
def logits(draw):
    m, rng = draw(st.integers(1, 8)), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return draw(st.sampled_from([0.1, 1, 10])) * rng.standard_normal((2, m, 1))


@given(logits())
def test_losses_equal_their_definitions_in_probabilities(pair):
    real, fake = pair
    D_x, D_G_z = 1 / (1 + np.exp(-real)), 1 / (1 + np.exp(-fake))
    V = np.log(D_x).mean() + np.log(1 - D_G_z).mean()
    np.testing.assert_allclose(losses.V(real, fake), V, rtol=1e-5)
    np.testing.assert_allclose(losses.L_D(real, fake), -V, rtol=1e-5)
    np.testing.assert_allclose(losses.L_G_minimax(fake), np.log(1 - D_G_z).mean(), rtol=1e-5)
    np.testing.assert_allclose(losses.L_G_nonsaturating(fake), -np.log(D_G_z).mean(), rtol=1e-5)


@given(logits())
def test_derivatives(pair):
    real, fake = pair
    for objective in losses.OBJECTIVES.values():
        report = check(lambda: np.array([objective.L_D(real, fake)]),
                       lambda u: {name: u * d for name, d in zip(('real', 'fake'), objective.L_D_backward(real, fake))},
                       {'real': real, 'fake': fake})
        assert report.ok, report
        report = check(lambda: np.array([objective.L_G(fake)]), lambda u: {'fake': u * objective.L_G_backward(fake)},
                       {'fake': fake})
        assert report.ok, report


def test_the_game_is_worth_minus_log_4_when_D_says_one_half():
    np.testing.assert_allclose(losses.V(np.zeros((3, 1)), np.zeros((5, 1))), -np.log(4))


def test_the_minimax_game_is_zero_sum_up_to_a_term_without_G():
    real, fake, other = np.random.default_rng(0).standard_normal((3, 4, 1))
    np.testing.assert_allclose(losses.V(real, fake) - losses.L_G_minimax(fake),
                               losses.V(real, other) - losses.L_G_minimax(other))
    np.testing.assert_allclose(losses.L_D_backward(real, fake)[1], -losses.L_G_minimax_backward(fake))


@pytest.mark.parametrize('logit, minimax, nonsaturating', [(-20, -sigmoid(-20.0), -1), (0, -0.5, -0.5), (20, -1, 0)])
def test_slopes_where_D_is_sure(logit, minimax, nonsaturating):
    """The minimax slope dies where D rejects a fake, which is where G has most to learn; the other is -1 there."""
    fake = np.array([[float(logit)]])
    np.testing.assert_allclose(losses.L_G_minimax_backward(fake), minimax, rtol=1e-6)
    np.testing.assert_allclose(losses.L_G_nonsaturating_backward(fake), nonsaturating, atol=1e-8)


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_extreme_logits_stay_finite(dtype):
    real, fake = np.array([[1e4], [-1e4]], dtype), np.array([[-1e4], [1e4]], dtype)
    with np.errstate(all='raise', under='ignore'):
        assert losses.V(real, fake) == -1e4
        np.testing.assert_array_equal(losses.L_D_backward(real, fake), [[[0], [-0.5]], [[0], [0.5]]])
    assert {losses.V(real, fake).dtype, losses.L_D_backward(real, fake)[0].dtype} == {np.dtype(dtype)}


@pytest.mark.parametrize('number', [np.float64, np.float32, np.array])
def test_a_smoothing_that_is_a_numpy_number_keeps_float32(number):
    real, fake = np.random.default_rng(0).standard_normal((2, 5, 1)).astype(np.float32)
    assert losses.L_D(real, fake, smoothing=number(0.25)) == losses.L_D(real, fake, smoothing=0.25)
    for ours, theirs in zip(losses.L_D_backward(real, fake, smoothing=number(0.25)),
                            losses.L_D_backward(real, fake, smoothing=0.25)):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, theirs)
