"""The named pairs have the article's sizes, and the default differs from it only where it says so."""

from minigan import RECIPES, BatchNorm, Dense, Dropout, LeakyReLU, Net, Streams, Tanh


def net(layers):
    return Net(layers, rng=Streams(0).at('init', 0))


def test_the_articles_networks_have_its_parameter_counts():
    G, D = net(RECIPES['article'].G(100, 784)), net(RECIPES['article'].D(784))
    assert (G.theta.size, G.state.size, D.theta.size, D.state.size) == (562_480, 3_104, 533_505, 0)


def test_the_articles_networks_have_its_layers_with_keras_defaults():
    G, D = RECIPES['article'].G(100, 784), RECIPES['article'].D(784)
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
    assert (recipe.batch, recipe.learning_rate, recipe.beta1, recipe.eps, recipe.update, recipe.n_z) == (
        32, 1e-4, 0.9, 1e-7, 'simultaneous', 100)


def test_the_default_keeps_the_widths_and_frees_the_output():
    article, default = RECIPES['article'], RECIPES['default']
    for ours, theirs in ((default.G(100, 784), article.G(100, 784)), (default.D(784), article.D(784))):
        assert [(a.n_in, a.n_out) for a in ours if isinstance(a, Dense)] == [
            (a.n_in, a.n_out) for a in theirs if isinstance(a, Dense)]
        assert {a.slope for a in ours if isinstance(a, LeakyReLU)} == {0.2}
        assert {a.rate for a in ours if isinstance(a, Dropout)} <= {0.3}
    G = default.G(100, 784)
    assert isinstance(G[-1], Tanh) and isinstance(G[-2], Dense) and 'b' in G[-2].shapes
    for layer, after in zip(G, G[1:]):
        assert not (isinstance(after, BatchNorm) and 'b' in layer.shapes), 'a bias in front of a batch norm'
