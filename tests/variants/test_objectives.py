"""The objectives after 2014: definitions, derivatives, one sign for all, and what they do at the ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan.variants  # noqa: F401: fills OBJECTIVES
from minigan.checks.derivatives import check
from minigan.gan import Game
from minigan.layers import Dense
from minigan.losses import OBJECTIVES
from minigan.net import Net
from minigan.optim import SGDMomentum
from minigan.streams import Streams
from minigan.variants import objectives

NEW = tuple(objectives.OBJECTIVES)


@st.composite
def outputs(draw):
    m, rng = draw(st.integers(1, 8)), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return draw(st.sampled_from([0.1, 1, 10])) * rng.standard_normal((2, m, 1))


def test_the_table_has_all_five_and_says_which_give_probabilities():
    assert {name: one.probability for name, one in OBJECTIVES.items()} == {
        'minimax': True, 'nonsaturating': True, 'leastsquares': False, 'hinge': False, 'wasserstein': False}


@given(outputs())
def test_losses_equal_their_definitions(pair):
    real, fake = pair
    expected = {'leastsquares': (sum((real - 1)**2 + fake**2), sum((fake - 1)**2)),
                'hinge': (sum(2 * np.clip(1 - real, 0, None) + 2 * np.clip(1 + fake, 0, None)), -2 * sum(fake)),
                'wasserstein': (2 * sum(fake) - 2 * sum(real), -2 * sum(fake))}
    for name, (L_D, L_G) in expected.items():
        np.testing.assert_allclose(OBJECTIVES[name].L_D(real, fake), L_D[0] / (2 * len(real)), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(OBJECTIVES[name].L_G(fake), L_G[0] / (2 * len(real)), rtol=1e-12)


@pytest.mark.parametrize('name', NEW)
@given(pair=outputs())
def test_derivatives(name, pair):
    (real, fake), one = pair, OBJECTIVES[name]
    check(lambda: np.array([one.L_D(real, fake)]),
          lambda u: {at: u * d for at, d in zip(('real', 'fake'), one.L_D_backward(real, fake))},
          {'real': real, 'fake': fake}).assert_ok()
    check(lambda: np.array([one.L_G(fake)]), lambda u: {'fake': u * one.L_G_backward(fake)}, {'fake': fake}).assert_ok()


@pytest.mark.parametrize('name', OBJECTIVES)
def test_one_sign_for_all_D_raises_its_output_for_data_and_lowers_it_for_samples_which_G_raises(name):
    """The convention that users of other packages ask about most: descend L_D and L_G, whatever the objective."""
    real, fake = np.full((4, 1), 0.3), np.full((4, 1), 0.6)
    dreal, dfake = OBJECTIVES[name].L_D_backward(real, fake)
    assert (dreal < 0).all() and (dfake > 0).all() and (OBJECTIVES[name].L_G_backward(fake) < 0).all()
    assert OBJECTIVES[name].L_D(real + 0.1, fake) < OBJECTIVES[name].L_D(real, fake)


@pytest.mark.parametrize('name', OBJECTIVES)
def test_G_follows_the_slope_of_D(name):
    """G moves its samples along dD/dx, not along the derivative of the loss: here D = w x falls, so samples go left."""
    streams = Streams(0)
    G, D = (Net([Dense(1, 1)], rng=streams.at('init', 0, i), dtype=np.float64) for i in (0, 1))
    D.layers[0].W[...] = -2
    game = Game(G, D, SGDMomentum(G, learning_rate=0.1), SGDMomentum(D, learning_rate=0.1),
                lambda j: np.ones((3, 1)), streams, m=3, n_z=1, objective=name)
    z = game.noise(0, 0)
    before = G(z)
    fake = game.update_G(z, None)
    assert G(z).mean() < before.mean()
    np.testing.assert_allclose(G.layers[0].db, -2 * OBJECTIVES[name].L_G_backward(fake).sum())


@pytest.mark.parametrize('name', NEW)
def test_the_derivatives_keep_the_dtype_and_leave_their_arguments_alone(name):
    real, fake = np.float32([[0.3], [-2]]), np.float32([[1.5], [0.1]])
    kept = real.copy(), fake.copy()
    for derivative in (*OBJECTIVES[name].L_D_backward(real, fake), OBJECTIVES[name].L_G_backward(fake)):
        assert derivative.dtype == np.float32 and derivative.shape == (2, 1)
    np.testing.assert_array_equal((real, fake), kept)


def test_beyond_the_margins_the_hinge_teaches_D_nothing_and_G_as_much_as_ever():
    real, fake = np.array([[1.0], [3], [0.9]]), np.array([[-1.0], [-3], [-0.9]])
    dreal, dfake = OBJECTIVES['hinge'].L_D_backward(real, fake)
    assert dreal.ravel().tolist() == [0, 0, -1 / 3] and dfake.ravel().tolist() == [0, 0, 1 / 3]
    assert OBJECTIVES['hinge'].L_G_backward(fake).ravel().tolist() == [-1 / 3] * 3


def test_the_value_of_a_critic_does_not_change_with_its_bias():
    real, fake = np.random.default_rng(0).standard_normal((2, 5, 1))
    L_D = OBJECTIVES['wasserstein'].L_D
    assert L_D(real + 7, fake + 7) == pytest.approx(L_D(real, fake)) == fake.mean() - real.mean()


@pytest.mark.parametrize('name', NEW)
def test_against_torch(name):
    torch = pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    F, one = torch.nn.functional, OBJECTIVES[name]
    real, fake = (torch.tensor(a, requires_grad=True) for a in np.random.default_rng(0).standard_normal((2, 9, 1)))
    L_D, L_G = {
        'leastsquares': (lambda: F.mse_loss(real, torch.ones_like(real)) / 2 + F.mse_loss(fake, 0 * fake.detach()) / 2,
                         lambda: F.mse_loss(fake, torch.ones_like(fake)) / 2),
        'hinge': (lambda: F.relu(1 - real).mean() + F.relu(1 + fake).mean(), lambda: -fake.mean()),
        'wasserstein': (lambda: fake.mean() - real.mean(), lambda: -fake.mean())}[name]
    x, samples = real.detach().numpy(), fake.detach().numpy()
    np.testing.assert_allclose(one.L_D(x, samples), L_D().item(), rtol=1e-12)
    np.testing.assert_allclose(one.L_G(samples), L_G().item(), rtol=1e-12)
    for ours, theirs in zip(one.L_D_backward(x, samples), torch.autograd.grad(L_D(), (real, fake))):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12)
    np.testing.assert_allclose(one.L_G_backward(samples), torch.autograd.grad(L_G(), fake)[0].numpy(), rtol=1e-12)
