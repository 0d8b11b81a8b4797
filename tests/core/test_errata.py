"""The article's errors, executed: its form fails, the correct one holds. Numbers are those of tests/README.md."""

import numpy as np
import pytest

from minigan import Adam, BatchNorm, Dense, Game, LeakyReLU, Net, SGDMomentum, Streams, Tanh, data, losses, ops
from minigan.networks import RECIPES
from minigan.training import Config, build_game


def net(*layers, name='net', substep=0, dtype=np.float64):
    return Net(list(layers), rng=Streams(0).at('init', 0, substep), name=name, dtype=dtype)


def one_dimensional_game(objective='nonsaturating', learning_rate_G=0.01, **settings):
    """G: a Gaussian; D: a small net; the data: N(1, 1)."""
    streams = Streams(0)
    G, D = net(Dense(1, 1), name='G'), net(Dense(1, 16), LeakyReLU(0.2), Dense(16, 1), name='D', substep=1)
    return Game(G, D, SGDMomentum(G, learning_rate=learning_rate_G), Adam(D, learning_rate=0.01),
                lambda j: 1 + streams.at('data', j).normal((64, 1), np.float64), streams, m=64, n_z=1,
                objective=objective, **settings)


def mean_D_G_z(game, t=0):
    return ops.sigmoid(game.D(game.G(game.noise(t, 0)))).mean()


def train_D(game, steps):
    for t in range(steps):
        game.update_D(game.minibatch(t), game.noise(t, 0), game.layer_rng(t, 0))


@pytest.mark.parametrize('objective', ['minimax', 'nonsaturating'])
def test_1_and_3_the_articles_L_G_makes_the_fakes_worse(monkeypatch, objective):
    """Section 4.2: L_G = -E log(1 - D(G(z))). Section 3.1: G minimises the chance that a fake passes for real."""
    game = one_dimensional_game(objective)
    train_D(game, 100)
    before = mean_D_G_z(game)
    game.update_G(game.noise(0, 0), game.layer_rng(0, 0))
    assert mean_D_G_z(game) > before

    article = losses.OBJECTIVES[objective]._replace(L_G_backward=lambda fake: ops.sigmoid(fake) / len(fake))
    monkeypatch.setitem(losses.OBJECTIVES, objective, article)
    before = mean_D_G_z(game)
    game.update_G(game.noise(0, 0), game.layer_rng(0, 0))
    assert mean_D_G_z(game) < before


def test_2_and_4_D_of_x_is_the_probability_that_x_is_data():
    """Section 4.1: D(x) = p(x|G(z)), the probability that x is generated. Section 3.1: D also raises D(G(z))."""
    game = one_dimensional_game()
    game.G.layers[0].W[...], game.G.layers[0].b[...] = 1, -3  # four standard deviations away
    train_D(game, 300)
    D_x = ops.sigmoid(game.D(game.minibatch(1000))).mean()
    assert D_x > 0.9 and mean_D_G_z(game, 1000) < 0.1


def test_5_a_perfect_generator_leaves_D_at_one_half_and_V_at_minus_log_4():
    """Section 4.1: D(G(z)) -> 0.5 and at the same time D(x) -> 1, D(G(z)) -> 0."""
    game = one_dimensional_game()
    game.G.layers[0].W[...], game.G.layers[0].b[...] = 1, 1  # p_g = p_data
    train_D(game, 1000)
    x, samples = (game.streams.at('sample', i).normal((20_000, 1), np.float64) + 1 for i in (0, 1))
    real, fake = game.D(x), game.D(samples)
    np.testing.assert_allclose([ops.sigmoid(real).mean(), ops.sigmoid(fake).mean()], 0.5, atol=0.03)
    np.testing.assert_allclose(losses.V(real, fake), -np.log(4), atol=0.01)


def test_5_the_best_D_is_p_data_over_the_sum():
    """Proposition 1, on two Gaussians of which both densities are known: D*(x) = sigmoid(log p_data - log p_g)."""
    game = one_dimensional_game()
    game.G.layers[0].W[...], game.G.layers[0].b[...] = 1, -1  # N(-1, 1) against N(1, 1): log p_data - log p_g = 2 x
    train_D(game, 2000)
    x = np.linspace(-2, 2, 41)[:, None]
    np.testing.assert_allclose(ops.sigmoid(game.D(x)), ops.sigmoid(2 * x), atol=0.08)


def test_6_V_is_not_the_sum_of_the_losses():
    """Section 4.2: V is D's loss plus G's. It is -L_D, and L_G differs from it by a term that G cannot change."""
    real, fake = np.random.default_rng(0).standard_normal((2, 8, 1))
    V = losses.V(real, fake)
    assert losses.L_D(real, fake) == -V
    for loss in (losses.L_G_minimax, losses.L_G_nonsaturating):
        assert abs(losses.L_D(real, fake) + loss(fake) - V) > 0.1
    np.testing.assert_allclose(V - losses.L_G_minimax(fake), -ops.softplus(-real).mean())


def test_7_a_shared_forward_pass_is_a_different_algorithm():
    """Section 5.2 updates both from one pass. In Algorithm 1, G's gradient comes from new noise and the moved D."""
    alternating, simultaneous = one_dimensional_game(), one_dimensional_game(update='simultaneous')
    _, fake, fake_G = alternating.step(0)
    assert not np.array_equal(fake, fake_G)
    _, fake, fake_G = simultaneous.step(0)
    assert fake_G is fake
    np.testing.assert_array_equal(alternating.D.theta, simultaneous.D.theta)  # D's first step is the same
    assert not np.array_equal(alternating.G.theta, simultaneous.G.theta)


def test_8_labels_are_not_used():
    """Section 4.3 draws images and labels."""
    digits = data.load('digits')
    without = data.Dataset(digits.name, digits.shape, digits.train, digits.validation, digits.test)
    thetas = []
    for dataset in (digits, without):
        recipe = RECIPES['default']
        game = build_game(Config().resolve(recipe, dataset), recipe, dataset)
        game.step(0)
        thetas.append(game.G.theta)
    np.testing.assert_array_equal(*thetas)


def test_11_batch_norm_and_leaky_relu_cut_G_off_from_dark_pixels():
    """Section 5.2: with slope 0.3, a pixel of -0.99 needs a batch norm output of -8.8. In a minibatch of 32, the
    standardised values cannot even reach -5.6, whatever their distribution."""
    needed = np.arctanh(-0.99) / 0.3
    np.testing.assert_allclose(needed, -8.82, atol=0.01)
    one_outlier = np.zeros((32, 1))
    one_outlier[0] = -1e6
    _, (xhat, _), _ = ops.batch_norm(one_outlier, np.ones(1), np.zeros(1), eps=1e-3)
    assert xhat.min() >= -(31**0.5) - 1e-6 > needed

    def fraction_of_dark_pixels(*tail):
        G = net(Dense(100, 784), *tail)
        G.layers[0].W *= 30  # a generator that tries
        return (G.forward(Streams(0).at('noise', 0).normal((32, 100), np.float64), keep_cache=False) < -0.99).mean()

    assert fraction_of_dark_pixels(BatchNorm(784), LeakyReLU(0.3), Tanh()) == 0
    assert fraction_of_dark_pixels(Tanh()) > 0.4


def test_12_a_bias_in_front_of_a_batch_norm_never_learns():
    """Section 5.2 drops the bias of the first Dense only."""
    G = net(*RECIPES['article'].G(100, (8, 8)))
    y = G.forward(Streams(0).at('noise', 0).normal((16, 100), np.float64))
    G.backward(np.random.default_rng(0).standard_normal(y.shape))
    for i in (3, 6):
        assert abs(G.layers[i].db).max() < 1e-13 < 1e-3 < abs(G.layers[i].dW).max()
        assert 'b' in G.layers[i].shapes and 'b' not in RECIPES['default'].G(100, (8, 8))[3].shapes


def test_18_unscaled_images_lie_beyond_what_tanh_can_draw():
    """Section 5.2 feeds images as they are; a minibatch here is scaled to tanh's range."""
    images = data.load('digits').train
    assert images.max() > 1  # D would need a single threshold
    x = ops.gather_images(images, np.arange(100), np.float32)
    assert x.min() == -1 and x.max() == 1


def test_18_a_momentum_of_one_half_keeps_two_players_from_circling():
    """Section 5.2 leaves Adam's beta1 at 0.9. In the game V = x y, that drives both away from the equilibrium, 0."""
    def radius(beta1):
        players = [net(Dense(1, 1, bias=False), name=name) for name in 'xy']
        for player in players:
            player.theta[...] = 1
        x, y = players
        optimizers = [Adam(player, learning_rate=0.01, beta1=beta1, eps=1e-7) for player in players]
        for _ in range(3000):
            y.dtheta[...] = -x.theta  # y ascends, then x descends
            optimizers[1].step()
            x.dtheta[...] = y.theta
            optimizers[0].step()
        return float(np.hypot(x.theta, y.theta)[0])

    assert radius(0.5) < 0.9 * 2**0.5 < 1.5 * 2**0.5 < radius(0.9)  # both start at (1, 1); one nears 0


def test_19_the_log_of_a_sigmoid_fails_where_softplus_does_not():
    """Section 5.2: D ends in a sigmoid, and the loss takes its log."""
    fake = np.array([[30.0]], np.float32)
    with np.errstate(divide='ignore'):
        assert np.isinf(np.log(1 - 1 / (1 + np.exp(-fake))))
    np.testing.assert_allclose(losses.L_G_minimax(fake), -30, rtol=1e-6)
    assert losses.L_D_backward(-fake, fake)[1] == 1


def test_20_a_falling_loss_does_not_show_quality():
    """Section 5.4 reads success off the loss curves. The article's own networks have by far the lower L_D, and the
    worse samples: their pixels' mean and spread are further from the data's."""
    digits, outcome = data.load('digits'), {}
    for name in ('article', 'default'):
        recipe = RECIPES[name]
        config = Config(network=name, epochs=6).resolve(recipe, digits)
        game = build_game(config, recipe, digits)
        for t in range(config.epochs * game.minibatch.per_epoch):
            real, fake, _ = game.step(t)
        samples, images = game.G(game.streams.at('sample', 0).normal((1000, 100))), digits.train / 127.5 - 1
        distance = np.linalg.norm(samples.mean(axis=0) - images.mean(axis=0)) + np.linalg.norm(
            samples.std(axis=0) - images.std(axis=0))
        outcome[name] = losses.L_D(real, fake), distance
    assert outcome['article'][0] < 0.3 * outcome['default'][0]
    assert outcome['article'][1] > 1.5 * outcome['default'][1], outcome
