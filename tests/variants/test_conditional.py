"""The conditional GAN: labels reach both players, nothing else changes, and the names of the classes do not matter."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import strategies as st

import minigan
from minigan import Dense, Net, Streams, Tanh, data, gradcheck, laws, ops
from minigan.data import DataError, Examples
from minigan.training import Config
from minigan.training.build import build_game, recipe_of
from minigan.training.folder import pictured
from minigan.variants import RECIPES
from minigan.variants.conditional import SCALE, LabelledPrior, PassLabels, beside, conditioned, one_hot

DIGITS = data.load('digits')
K, N = 10, 64
test_laws = laws.hold_for(lambda n: PassLabels(2, Dense(n, 3), Tanh()), x=laws.minibatches(widths=st.integers(3, 6)))


def game_of(dataset=DIGITS, seed=0, **choices):
    config = Config(**{'conditional': True, 'seed': seed, 'epochs': 2, **choices})
    recipe = recipe_of(config, dataset)
    return build_game(config.resolve(recipe, dataset), recipe, dataset)


def test_a_label_in_front_of_a_dense_adds_a_row_of_W_to_its_output():
    rng = np.random.default_rng(0)
    x, y, W = rng.standard_normal((6, 4)), rng.integers(0, 3, 6), rng.standard_normal((7, 5))
    np.testing.assert_allclose(beside(x, one_hot(y, 3, np.float64)) @ W, x @ W[:4] + SCALE * W[4:][y], rtol=1e-12)


@pytest.mark.parametrize('network', ['article', 'default', 'goodfellow2014'])
def test_both_networks_have_k_more_inputs_and_correct_derivatives(network):
    recipe = conditioned(RECIPES[network], (0.2, 0.3, 0.5))
    rng = np.random.default_rng(0)
    for layers, width in ((recipe.G(5, (2, 3)), 5 + 3), (recipe.D((2, 3)), 6 + 3)):
        net = Net(layers, rng=Streams(0).at('init', 0), dtype=np.float64)
        x = rng.standard_normal((6, width))
        gradcheck(net, x, directions=2).assert_ok()
    G = Net(recipe.G(5, (2, 3)), rng=Streams(0).at('init', 0), dtype=np.float64)
    z = rng.standard_normal((6, 8))
    np.testing.assert_array_equal(G(z)[:, 6:], z[:, 5:])  # the labels pass through G


def test_the_prior_draws_z_as_without_labels_and_the_classes_with_their_fractions():
    fractions = (0.5, 0, 0.2, 0.3)
    prior, m = LabelledPrior('normal', fractions), 40_000
    drawn = prior(Streams(0).at('noise', 0), (m, 3))
    np.testing.assert_array_equal(drawn[:, :3], Streams(0).at('noise', 0).normal((m, 3)))
    labels = drawn[:, 3:]
    assert drawn.dtype == np.float32 and set(np.unique(labels)) == {0, SCALE} and (labels.sum(axis=1) == SCALE).all()
    error = np.sqrt(np.multiply(fractions, 1 - np.array(fractions)) / m)
    assert (abs(labels.mean(axis=0) / SCALE - fractions) <= 4 * error).all()


@pytest.mark.parametrize('fractions', [(1 / 3,) * 3, (0.1,) * 10, (0.3, 0.7, 0), (1,)])
def test_every_u_below_1_stands_for_one_class_that_the_data_has(fractions):
    class Last:  # an rng whose uniform numbers are the largest and the smallest that there are
        def normal(self, shape, dtype):
            return np.zeros(shape, dtype)

        def uniform(self, shape, dtype):
            return np.array([[1 - 2**-24], [0]], dtype)

    labels = LabelledPrior('normal', fractions)(Last(), (2, 1))[:, 1:]
    assert (labels.sum(axis=1) == SCALE).all() and not labels[:, np.equal(fractions, 0)].any()


def test_D_reads_each_image_with_its_own_label_and_each_sample_with_the_one_that_G_was_given():
    game, seen = game_of(), []
    x, z = game.minibatch(3), game.noise(0, 0)
    rows = game.minibatch.rows(3)
    np.testing.assert_array_equal(x[:, N:].argmax(axis=1), DIGITS.labels[0][rows])
    np.testing.assert_array_equal(x[:, :N], Examples(DIGITS.train).at(rows))
    forward = game.D.forward
    game.D.forward = lambda x, **options: seen.append(x) or forward(x, **options)
    game.update_D(x, z, game.layer_rng(0, 0))
    game.update_G(z, game.layer_rng(0, 1))
    np.testing.assert_array_equal(seen[0][:, N:], np.concatenate([x[:, N:], z[:, game.n_z:]]))
    np.testing.assert_array_equal(seen[1][:, N:], z[:, game.n_z:])
    assert len(set(map(bytes, z[:, game.n_z:]))) == K  # all classes are drawn, the last one too


def test_with_one_class_it_is_the_unconditional_game_with_a_constant_input():
    """The label's row of W is a second bias: set to 0, and not moved, it leaves the unconditional game."""
    one = replace(DIGITS, labels=tuple(np.zeros_like(labels) for labels in DIGITS.labels))
    game, plain = game_of(one), game_of(conditional=False)
    for conditional, net, given in ((game.G, plain.G, plain.n_z), (game.D, plain.D, N)):
        W = next(slot for slot in conditional.slots if slot.name.endswith('.W')).of(conditional.theta)
        W[given:] = 0
        net.theta[...] = np.concatenate([W[:given].ravel(), conditional.theta[W.size:]])
    x, z, rng = game.minibatch(0), game.noise(0, 0), game.layer_rng
    for of_both in (lambda one, x, z: one.update_D(x, z, rng(0, 0)), lambda one, x, z: one.update_G(z, rng(0, 1))):
        ours, theirs = of_both(game, x, z), of_both(plain, x[:, :N], z[:, :plain.n_z])
        np.testing.assert_allclose(np.concatenate(ours), np.concatenate(theirs), rtol=2e-4, atol=1e-6)
        for net in (game.D, game.G):
            W = next(slot for slot in net.slots if slot.name.endswith('.W')).of(net.theta)
            W[N if net is game.D else plain.n_z:] = 0


def renamed(names):
    """The digits, class c called names[c]; and the prior that draws each class where its old name was drawn."""
    dataset = replace(DIGITS, labels=tuple(names[labels] for labels in DIGITS.labels))
    game = game_of(dataset)
    plain = LabelledPrior('normal', data.class_fractions(DIGITS))

    def prior(rng, shape, dtype):
        drawn = plain(rng, shape, dtype)
        return beside(drawn[:, :shape[1]], drawn[:, shape[1]:][:, np.argsort(names)])

    game.prior = prior
    return game


def exact_dense(monkeypatch):
    """Sums in a fixed order: BLAS adds the terms of a row or column in an order that depends on where it lies."""
    def dense(x, W, b=None):
        return np.einsum('mi,ij->mj', x, W) + (0 if b is None else b)

    def dense_backward_params_(dy, x, dW, db=None):
        np.einsum('mi,mj->ij', x, dy, out=dW)
        if db is not None:
            dy.sum(axis=0, out=db)

    monkeypatch.setattr(ops, 'dense', dense)
    monkeypatch.setattr(ops, 'dense_backward_params_', dense_backward_params_)


def test_renaming_the_classes_gives_the_same_images_to_the_last_bit(monkeypatch):
    exact_dense(monkeypatch)
    names = np.random.default_rng(0).permutation(K)
    game, other = game_of(), renamed(names)
    for one, net, start in ((game.G, other.G, game.n_z), (game.D, other.D, N)):
        W, V = (next(slot for slot in n.slots if slot.name.endswith('.W')).of(n.theta) for n in (one, net))
        V[start:] = W[start:][np.argsort(names)]
    for t in range(10):
        game.step(t)
        other.step(t)
    z, y = Streams(9).at('noise', 0).normal((50, game.n_z)), np.arange(50) % K
    images = game.G(beside(z, one_hot(y, K)))[:, :N]
    np.testing.assert_array_equal(images, other.G(beside(z, one_hot(names[y], K)))[:, :N])
    assert not np.array_equal(images, other.G(beside(z, one_hot(y, K)))[:, :N])


def test_data_without_labels_is_refused_in_one_line():
    without = replace(DIGITS, labels=None, unlabelled='the data has no labels')
    with pytest.raises(DataError, match='^digits: expected labels, got none: the data has no labels$'):
        recipe_of(Config(conditional=True), without)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('conditional') / 'run'
    return minigan.train(conditional=True, epochs=3, out=str(folder), quiet=True)


def test_a_generator_draws_the_class_that_it_is_asked_for(run):
    generator = minigan.load(run)
    sevens, first = generator.sample(1200, label=7), generator.sample(5, label=7)
    np.testing.assert_array_equal(sevens[:5], first)
    labels = np.arange(1200) % K
    mixed = generator.sample(1200, label=labels)
    np.testing.assert_array_equal(mixed[labels == 7], sevens[labels == 7])
    assert not np.array_equal(mixed[0], sevens[0])
    assert generator.path(3, 4, label=7).shape == (3, 4, 8, 8) == generator.path(3, 4).shape
    for label in ([1, 2, 3], [[1, 2]]):
        with pytest.raises(ValueError, match='label: expected one class, or one for each of 2 images, got shape'):
            generator.sample(2, label=label)
    for label in (10, -1, 7.0, np.array([1, 10])):
        with pytest.raises(ValueError, match='label: expected one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, got'):
            generator.sample(2, label=label)


def test_an_unconditional_generator_refuses_a_label(tmp_path):
    plain = minigan.load(minigan.train(epochs=1, out=str(tmp_path / 'run'), quiet=True))
    with pytest.raises(ValueError, match='label: expected None, as this generator is not conditional, got 7'):
        plain.sample(2, label=7)


def test_the_pictures_have_a_row_for_each_class_from_the_same_z():
    config = Config(conditional=True, epochs=1)
    recipe = recipe_of(config, DIGITS)
    game = build_game(config.resolve(recipe, DIGITS), recipe, DIGITS)
    z, columns = pictured(SimpleNamespace(game=game, recipe=recipe))
    assert columns == 10 and z[:, game.n_z:].argmax(axis=1).tolist() == [c for c in range(K) for _ in range(10)]
    rows = z[:, :game.n_z].reshape(K, 10, -1)
    np.testing.assert_array_equal(rows, np.broadcast_to(rows[:1], rows.shape))
    assert len(np.unique(rows[0], axis=0)) == 10


def test_it_learns_the_classes_in_seconds(tmp_path):
    """A nearest neighbour among the training images names the class of at least 9 in 10 samples."""
    from sklearn.neighbors import KNeighborsClassifier
    run = minigan.train(conditional=True, epochs=30, out=str(tmp_path / 'run'), quiet=True)
    labels = np.arange(500) % K
    samples = minigan.load(run).sample(500, label=labels).reshape(500, -1)
    named = KNeighborsClassifier(1).fit(DIGITS.train / 255, DIGITS.labels[0]).predict(samples)
    assert (named == labels).mean() > 0.9
