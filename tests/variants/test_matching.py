"""Feature matching: its derivative, what G follows, and who moves; with the semi-supervised D too."""

import numpy as np
import pytest
from support.matching import M, assert_follows, drawn, make

from minigan import Adam, LeakyReLU, Sequential
from minigan.checks.derivatives import check
from minigan.variants.matching import FeatureMatchingGame, body_and_head, feature_matching, feature_matching_backward
from minigan.variants.semisupervised import SemiSupervisedGame


def test_the_loss_of_feature_matching_has_the_correct_derivative():
    real, fake = np.random.default_rng(0).standard_normal((2, M, 4))
    check(lambda: np.array([feature_matching(real, fake)]),
          lambda u: {'fake': u * feature_matching_backward(real, fake)}, {'fake': fake}, full=True).assert_ok()


@pytest.mark.parametrize('kind', [FeatureMatchingGame, SemiSupervisedGame])
def test_G_descends_the_distance_of_the_mean_features(kind):
    game = make(kind)
    x, z, rng = drawn(game, 1)
    game.update_D(game.minibatch(1), z, rng())
    game.update_D(x, z, rng())  # whose features G matches

    def loss():
        r = rng()
        body = Sequential(*game.D.layers[:3])
        real = body.forward(x, training=True, rng=r)
        fake = body.forward(game.G.forward(z, rng=r, keep_cache=False), training=True, rng=r)
        return ((real.mean(axis=0) - fake.mean(axis=0)) ** 2).sum()

    assert_follows(game.G, loss, lambda: game.update_G(z, rng()))


def test_samples_that_are_the_data_leave_G_where_it_is():
    """Without noise the features are the same, so the gradient is exactly zero."""
    game = make(FeatureMatchingGame, noise=0)
    game.x = game.G.forward(game.noise(0, 1), rng=game.layer_rng(0, 1), keep_cache=False)
    game.update_G(game.noise(0, 1), game.layer_rng(0, 1))
    assert not game.G.dtheta.any()


@pytest.mark.parametrize('kind', [FeatureMatchingGame, SemiSupervisedGame])
def test_each_player_moves_alone_and_no_cache_is_left(kind):
    game = make(kind, optimizer=Adam, learning_rate=0.01)
    x, z, rng = drawn(game)
    theta_G, theta_D = game.G.theta.copy(), game.D.theta.copy()
    game.update_D(x, z, rng())
    np.testing.assert_array_equal(game.G.theta, theta_G)
    moved, gradient = game.D.theta.copy(), game.D.dtheta.copy()
    assert (moved != theta_D).any()
    game.update_G(z, rng())
    np.testing.assert_array_equal(game.D.theta, moved)
    np.testing.assert_array_equal(game.D.dtheta, gradient)
    assert (game.G.theta != theta_G).any()
    assert all(layer.cache is None for net in (game.G, game.D) for layer in net.layers)
    assert [logits.shape for logits in game.step(0)] == 3 * [(M, 1)]


@pytest.mark.parametrize('kind', [FeatureMatchingGame, SemiSupervisedGame])
def test_body_and_head_are_D(kind):
    game = make(kind)
    body, head = body_and_head(game.D)
    assert isinstance(body.layers[-1], LeakyReLU)  # features are hidden units, before noise and dropout
    x = game.minibatch(0)
    f = body.forward(x, training=False, rng=None)
    np.testing.assert_array_equal(head.forward(f, training=False, rng=None), game.D(x))


def test_a_simultaneous_update_is_refused():
    with pytest.raises(ValueError, match='update: expected alternating'):
        make(FeatureMatchingGame, update='simultaneous')
