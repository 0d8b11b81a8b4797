"""The named pairs have the article's sizes, and the default differs from it only where it says so."""

import numpy as np

from minigan import RECIPES, BatchNorm, Dense, Dropout, LeakyReLU, Net, Streams, Tanh


def net(layers):
    return Net(layers, rng=Streams(0).at('init', 0))


def test_the_articles_networks_have_its_parameter_counts():
    G, D = net(RECIPES['article'].G(100, (28, 28))), net(RECIPES['article'].D((28, 28)))
    assert (G.theta.size, G.state.size, D.theta.size, D.state.size) == (562_480, 3_104, 533_505, 0)


def test_the_articles_networks_have_its_layers_with_keras_defaults():
    G, D = RECIPES['article'].G(100, (28, 28)), RECIPES['article'].D((28, 28))
    assert list(map(repr, G)) == [
        'Dense(100 -> 256, no bias)', 'BatchNorm(256)', 'LeakyReLU(0.3)', 'Dense(256 -> 512)', 'BatchNorm(512)',
        'LeakyReLU(0.3)', 'Dense(512 -> 784)', 'BatchNorm(784)', 'LeakyReLU(0.3)', 'Tanh()']
    assert list(map(repr, D)) == [
        'Dense(784 -> 512)', 'LeakyReLU(0.3)', 'Dropout(0.3)', 'Dense(512 -> 256)', 'LeakyReLU(0.3)', 'Dropout(0.3)',
        'Dense(256 -> 1)']
    assert ['b' in layer.shapes for layer in G if isinstance(layer, Dense)] == [False, True, True]
    assert {(layer.momentum, layer.eps) for layer in G if isinstance(layer, BatchNorm)} == {(0.99, 1e-3)}


def test_the_articles_settings():
    recipe = RECIPES['article']
    assert (recipe.batch, recipe.update, recipe.n_z, recipe.prior) == (32, 'simultaneous', 100, 'normal')
    settings = {'learning_rate': recipe.learning_rate_D, 'beta1': recipe.beta1, 'clip_norm': None}
    adam = recipe.make_optimizer(net(recipe.D((2, 2))), **settings)
    assert adam.hyper == {'learning_rate': 1e-4, 'beta1': 0.9, 'beta2': 0.999, 'eps': 1e-7}
    assert recipe.learning_rate_G == recipe.learning_rate_D


def test_the_papers_networks_are_those_of_its_authors():
    """mnist.yaml in the authors' code: 1200 and 1200 units; two times 240 maxout units of 5 pieces."""
    recipe = RECIPES['goodfellow2014']
    G, D = recipe.G(100, (28, 28)), recipe.D((28, 28))
    assert list(map(repr, G)) == [
        'Dense(100 -> 1200)', 'LeakyReLU(0)', 'Dense(1200 -> 1200)', 'LeakyReLU(0)', 'Dense(1200 -> 784)', 'Sigmoid()',
        'Scale(2, -1)']
    assert list(map(repr, D)) == [
        'Scale(0.5, 0.5)', 'Dropout(0.2)', 'Dense(784 -> 1200)', 'Maxout(5)', 'Dropout(0.5)', 'Dense(240 -> 1200)',
        'Maxout(5)', 'Dropout(0.5)', 'Dense(240 -> 1)']
    for layers, a in ((G, 0.05), (D, 0.005)):
        one = net(layers)
        for layer in layers:
            if isinstance(layer, Dense):
                assert 0.95 * a < abs(layer.W).max() <= a and not layer.b.any()
        assert one.theta.size == {0.05: 2_503_984, 0.005: 1_231_441}[a]


def test_the_papers_settings_and_schedules():
    recipe = RECIPES['goodfellow2014']
    assert (recipe.batch, recipe.update, recipe.n_z, recipe.prior) == (100, 'simultaneous', 100, 'uniform')
    assert (recipe.learning_rate_G, recipe.learning_rate_D) == (0.1, 0.05)  # the authors halve L_D
    hyper = recipe.make_optimizer(net(recipe.D((2, 2))), learning_rate=0.1, beta1=None, clip_norm=None).hyper
    rate, momentum = hyper['learning_rate'], hyper['momentum']
    np.testing.assert_allclose([rate(0), rate(1), rate(250_000)], [0.1, 0.1 / 1.000004, 0.1 / np.e], rtol=1e-5)
    np.testing.assert_allclose([momentum(t) for t in (0, 62_500, 125_000, 10**6)], [0.5, 0.6, 0.7, 0.7])


def test_the_default_keeps_the_widths_and_frees_the_output():
    article, default = RECIPES['article'], RECIPES['default']
    shape = 28, 28
    for ours, theirs in ((default.G(100, shape), article.G(100, shape)), (default.D(shape), article.D(shape))):
        assert [(a.n_in, a.n_out) for a in ours if isinstance(a, Dense)] == [
            (a.n_in, a.n_out) for a in theirs if isinstance(a, Dense)]
        assert {a.slope for a in ours if isinstance(a, LeakyReLU)} == {0.2}
        assert {a.rate for a in ours if isinstance(a, Dropout)} <= {0.2}
    G = default.G(100, (28, 28))
    assert isinstance(G[-1], Tanh) and isinstance(G[-2], Dense) and 'b' in G[-2].shapes
    for layer, after in zip(G, G[1:]):
        assert not (isinstance(after, BatchNorm) and 'b' in layer.shapes), 'a bias in front of a batch norm'
