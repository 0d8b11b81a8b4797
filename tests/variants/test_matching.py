"""Feature matching and the semi-supervised game: every derivative, who moves, and what K = 1 must give."""

import numpy as np
import pytest

from minigan import (Adam, BatchNorm, Dense, Dropout, LeakyReLU, Net, Noise, Sequential, SGDMomentum, Streams, Tanh,
                     losses, ops)
from minigan.checks.derivatives import check
from minigan.checks.gradcheck import gradcheck
from minigan.variants.matching import (FeatureMatchingGame, LogSumExp, SemiSupervisedGame, WeightNormDense,
                                       body_and_head, feature_matching, feature_matching_backward)

M, N_Z, N, K, LABELLED = 6, 3, 4, 3, 5


def make(kind=SemiSupervisedGame, classes=K, optimizer=SGDMomentum, learning_rate=1, noise=0.3, **settings):
    streams = Streams(0)
    G = Net([Dense(N_Z, 5, bias=False), BatchNorm(5), LeakyReLU(0.2), Dense(5, N), Tanh()],
            rng=streams.at('init', 0, 0), name='G', dtype=np.float64)
    end = [Dense(7, classes), LogSumExp()] if issubclass(kind, SemiSupervisedGame) else [Dense(7, 1)]
    D = Net([Noise(lambda t: noise), WeightNormDense(N, 7, g=1.3), LeakyReLU(0.1), Dropout(noise), Noise(lambda t: noise),
             *end], rng=streams.at('init', 0, 1), name='D', dtype=np.float64)
    for i, net in enumerate((G, D)):
        net.theta += 0.1 * streams.at('check', i).normal(net.theta.shape, np.float64)  # no gamma = 1, no b = 0
    if issubclass(kind, SemiSupervisedGame):
        settings = {'labelled': labelled(classes), **settings}
    return kind(G, D, optimizer(G, learning_rate=learning_rate), optimizer(D, learning_rate=learning_rate),
                lambda j: streams.at('data', j).normal((M, N), np.float64), streams, m=M, n_z=N_Z, **settings)


def labelled(classes=K):
    return Streams(1).at('data', 0).normal((LABELLED, N), np.float64), np.arange(LABELLED) % classes


def drawn(game, i=0):
    """x, z and a function that returns the random numbers of a step, always from their start."""
    return game.minibatch(0), game.noise(0, i), lambda: game.layer_rng(0, i)


def assert_follows(net, loss, update):
    """update moves theta by -1 times the gradient that central differences of the loss give."""
    before = net.theta.copy()
    update()
    step = before - net.theta
    net.theta[...] = before
    check(lambda: np.array([loss()]), lambda u: {'theta': u * step}, {'theta': net.theta}).assert_ok()


def cross_entropy(logits, labels):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.mean([np.log(row[label]) for row, label in zip(p, labels)])


@pytest.mark.parametrize('layer', [WeightNormDense(4, 5, g=1.3), WeightNormDense(4, 1, g=0.2), LogSumExp()], ids=str)
def test_layers_have_the_correct_derivatives(layer):
    gradcheck(layer, np.random.default_rng(0).standard_normal((M, 4)), full=True).assert_ok()


def test_the_loss_of_feature_matching_has_the_correct_derivative():
    real, fake = np.random.default_rng(0).standard_normal((2, M, 4))
    check(lambda: np.array([feature_matching(real, fake)]),
          lambda u: {'fake': u * feature_matching_backward(real, fake)}, {'fake': fake}, full=True).assert_ok()


def test_weights_have_the_given_length_whatever_V_is():
    net = Net([WeightNormDense(4, 5, g=1.5)], rng=Streams(0).at('init', 0), dtype=np.float64)
    W = net(np.eye(4))
    np.testing.assert_allclose(np.linalg.norm(W, axis=0), 1.5, rtol=1e-14)
    net.layers[0].V[...] *= 7
    np.testing.assert_allclose(net(np.eye(4)), W, rtol=1e-14)
    net.forward(np.random.default_rng(0).standard_normal((M, 4)))
    net.backward(np.random.default_rng(1).standard_normal((M, 5)))
    np.testing.assert_allclose((net.layers[0].dV * net.layers[0].V).sum(axis=0), 0, atol=1e-14)  # no unit's V grows


def test_log_sum_exp_is_the_logit_of_Z_over_Z_plus_1():
    logits = np.random.default_rng(0).standard_normal((M, K))
    Z = np.exp(logits).sum(axis=1, keepdims=True)
    net = Net([LogSumExp()], rng=None, dtype=np.float64)
    np.testing.assert_allclose(ops.sigmoid(net(logits)), Z / (Z + 1), rtol=1e-14)
    np.testing.assert_allclose(net(logits - 900), net(logits) - 900, rtol=1e-14)
    np.testing.assert_allclose(net(logits + 900), net(logits) + 900, rtol=1e-14)


def test_with_one_class_D_is_the_discriminator_of_2014():
    """The same answers bit for bit; the same step to rounding, as a class that all images have is no news."""
    plain, game = make(FeatureMatchingGame, noise=0), make(classes=1, noise=0, learning_rate=2)  # as L_D is halved
    for player in (plain, game):
        player.D.theta[...] = plain.D.theta
    x, z, rng = drawn(plain)
    np.testing.assert_array_equal(plain.D(x), game.D(x))
    for player in (plain, game):
        player.update_D(x, z, rng())
    np.testing.assert_allclose(game.D.theta, plain.D.theta, rtol=1e-12)


def test_D_descends_the_cross_entropy_of_the_labelled_images_plus_half_of_L_D():
    game = make()
    x, z, rng = drawn(game)
    images, labels = game.labelled

    def loss():
        r = rng()
        rows = np.concatenate([x, game.G.forward(z, rng=r, keep_cache=False), images])
        l = Sequential(*game.D.layers[:-1]).forward(rows, training=True, rng=r)
        log_Z = np.log(np.exp(l).sum(axis=1, keepdims=True))
        return cross_entropy(l[2 * M:], labels) + losses.L_D(log_Z[:M], log_Z[M:2 * M]) / 2

    assert_follows(game.D, loss, lambda: game.update_D(x, z, rng()))


@pytest.mark.parametrize('kind', [FeatureMatchingGame, SemiSupervisedGame])
def test_G_descends_the_distance_of_the_mean_features(kind):
    game = make(kind)
    x, z, rng = drawn(game, 1)
    game.update_D(x, *drawn(game)[1:2], rng())

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


def test_a_label_belongs_to_its_own_image():
    """A new order of the labelled images changes nothing; one of the labels alone does."""
    images, labels = labelled()
    order = np.roll(np.arange(LABELLED), 1)
    steps = {}
    for name, given in (('as they are', (images, labels)), ('both', (images[order], labels[order])),
                        ('labels', (images, labels[order]))):
        game = make(labelled=given, noise=0)
        x, z, rng = drawn(game)
        game.update_D(x, z, rng())
        steps[name] = game.D.dtheta.copy()
    np.testing.assert_allclose(steps['both'], steps['as they are'], rtol=1e-10, atol=1e-14)
    assert not np.allclose(steps['labels'], steps['as they are'], rtol=1e-3)


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


def test_what_does_not_fit_is_refused():
    for kind, settings, message in (
            (FeatureMatchingGame, {'update': 'simultaneous'}, 'expected alternating'),
            (SemiSupervisedGame, {'labelled': None}, 'expected labelled images')):
        with pytest.raises(ValueError, match=message):
            make(kind, **settings)


def test_both_gradients_are_those_of_automatic_differentiation():
    torch = pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    game = make(noise=0, optimizer=Adam, learning_rate=0.01)
    x, z, rng = drawn(game)
    images, labels = game.labelled
    theta_D, theta_G = ({slot.name.split('.', 1)[0] + slot.name.rsplit('.', 1)[1]:
                         torch.tensor(slot.of(net.theta), requires_grad=True) for slot in net.slots}
                        for net in (game.D, game.G))

    def features(x, p):
        return torch.nn.functional.leaky_relu(x @ (1.3 * p['2V'] / p['2V'].norm(dim=0)) + p['2b'], 0.1)

    def generated(p):
        h = torch.nn.functional.batch_norm(torch.tensor(z) @ p['1W'], None, None, p['2gamma'], p['2beta'], True,
                                           eps=game.G.layers[1].eps)
        return torch.tanh(torch.nn.functional.leaky_relu(h, 0.2) @ p['4W'] + p['4b'])

    real, fake, few = (features(rows, theta_D) @ theta_D['6W'] + theta_D['6b'] for rows in
                       (torch.tensor(x), generated(theta_G).detach(), torch.tensor(images)))
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    answers = [logits.logsumexp(dim=1) for logits in (real, fake)]
    loss_D = (torch.nn.functional.cross_entropy(few, torch.tensor(labels))
              + sum(bce(answer, torch.full_like(answer, target)) for answer, target in zip(answers, (1, 0))) / 2)
    loss_D.backward()
    game.update_D(x, z, rng())
    assert_equal(game.D, theta_D)
    fixed = {name: torch.tensor(slot.of(game.D.theta)) for name, slot in zip(theta_D, game.D.slots)}
    loss_G = ((features(torch.tensor(x), fixed).mean(0) - features(generated(theta_G), fixed).mean(0)) ** 2).sum()
    loss_G.backward()
    game.update_G(z, rng())
    assert_equal(game.G, theta_G)


def assert_equal(net, leaves):
    for slot, leaf in zip(net.slots, leaves.values()):
        np.testing.assert_allclose(slot.of(net.dtheta), leaf.grad.numpy(), rtol=1e-11, atol=1e-13, err_msg=slot.name)
