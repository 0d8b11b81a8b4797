"""The critic's penalty has the correct derivative by four routes, and the game does what its papers say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan.variants  # noqa: F401: fills OBJECTIVES
from minigan import ops
from minigan.checks.derivatives import check
from minigan.checks.gradcheck import gradcheck
from minigan.gan import Game
from minigan.gpu import fusion
from minigan.layers import BatchNorm, Dense, Dropout, Layer, LeakyReLU, Maxout, Noise, Scale, Sequential, Sigmoid, Tanh
from minigan.losses import OBJECTIVES
from minigan.net import Net, views
from minigan.optim import Adam, SGDMomentum
from minigan.streams import Streams
from minigan.variants import wasserstein
from minigan.variants.packing import Pack
from minigan.variants.penalty import gradient_penalty, gradient_penalty_backward
from minigan.variants.wasserstein import WassersteinGame

STREAMS, N = Streams(0), 6
X = np.random.default_rng(1).standard_normal((6, N))


class Softplus(Layer):
    """A curved layer of one's own, which brings its J v and the derivative of that."""

    def forward(self, x, *, training, rng):
        self.cache = x
        return ops.softplus(x)

    def backward(self, dy, *, param_grads, input_grad):
        return ops.softplus_backward(dy, self.cache)

    def tangent(self, v):
        return v * ops.sigmoid(self.cache)

    def tangent_backward(self, dt, v):
        p = ops.sigmoid(self.cache)
        return dt * v * p * (1 - p), dt * p


class Gain(Layer):
    """y = gain * x, which brings the derivative of its parameter too."""

    shapes = {'gain': (4,)}

    def init(self, rng):
        self.gain[...] = 1

    def forward(self, x, *, training, rng):
        self.cache = x
        return self.gain * x

    def backward(self, dy, *, param_grads, input_grad):
        if param_grads:
            self.dgain[...] = (dy * self.cache).sum(axis=0)
        return self.gain * dy

    def tangent(self, v):
        return self.gain * v

    def tangent_backward(self, dt, v):
        self.dgain[...] = (dt * v).sum(axis=0)
        return np.zeros_like(dt), self.gain * dt


CRITICS = {
    'straight pieces': lambda: [Scale(0.5, 0.1), Dense(N, 7), LeakyReLU(0.2), Dense(7, 4), LeakyReLU(0.2), Dense(4, 1)],
    'no biases': lambda: [Dense(N, 7, bias=False), LeakyReLU(0), Dense(7, 1, bias=False)],
    'maxout': lambda: [Dense(N, 9), Maxout(3), Dense(3, 1)],
    'dropout': lambda: [Dropout(0.2), Dense(N, 9), LeakyReLU(0.2), Dropout(0.5), Dense(9, 6), Maxout(2), Dropout(0),
                        Dense(3, 1)],
    'noise': lambda: [Noise(lambda t: 0.3), Dense(N, 7), LeakyReLU(0.2), Dense(7, 1)],
    'tanh': lambda: [Dense(N, 7), Tanh(), Dense(7, 4), Tanh(), Dense(4, 1)],
    'sigmoid': lambda: [Dense(N, 5), Sigmoid(), Dense(5, 1), Tanh()],
    'curved, straight and nested': lambda: [
        Dense(N, 7), LeakyReLU(0.2), Sequential(Dense(7, 4, bias=False), Tanh(), Sequential(Dropout(0.3), Dense(4, 4))),
        Sigmoid(), Dense(4, 6), Maxout(2), Dense(3, 1)],
    'packed': lambda: [Pack(2), Dense(2 * N, 7), LeakyReLU(0.2), Dense(7, 1)],
    'of your own': lambda: [Dense(N, 4), Softplus(), Gain(), Dense(4, 4), Softplus(), Dense(4, 1)],
}
STRAIGHT = ('straight pieces', 'no biases', 'maxout', 'dropout', 'noise', 'packed')


def critic(name, seed=0, dtype=np.float64):
    D = Net(CRITICS[name](), rng=Streams(seed).at('init', 0), name='D', dtype=dtype)
    D.theta += 0.1 * np.random.default_rng(seed).standard_normal(D.theta.shape).astype(dtype)
    return D


def rng():
    return STREAMS.at('dropout', 3)


def derivative(D, x, weight=10.0):
    D.dtheta[...] = np.nan
    gradient_penalty_backward(D, x, weight=weight, rng=rng())
    return D.dtheta.copy()


def slopes_by_the_net(D, x):
    """g by Net's own passes."""
    return D.backward(np.ones_like(D.forward(x, rng=rng())), param_grads=False)


@pytest.mark.parametrize('name', STRAIGHT)
def test_biases_do_not_change_the_slopes_of_straight_pieces(name):
    D = critic(name)
    derivative(D, X)
    assert all((d == 0).all() for at, d in views(D.dtheta, D.slots).items() if at.endswith('.b'))
    assert all((d != 0).any() for at, d in views(D.dtheta, D.slots).items() if at.endswith('.W'))


def test_a_critic_whose_slope_is_1_everywhere_pays_nothing():
    D = Net([Dense(2, 1)], rng=STREAMS.at('init', 0), dtype=np.float64)
    D.theta[...] = 0.6, 0.8, 5
    assert gradient_penalty(D, X[:, :2], weight=10.0) == pytest.approx(0, abs=1e-30)
    assert abs(derivative(D, X[:, :2])).max() < 1e-14
    D.layers[0].W[...] *= 3
    assert gradient_penalty(D, X[:, :2], weight=10.0) == pytest.approx(10 * 2**2)  # of whole rows, not of each entry


@pytest.mark.parametrize('name', CRITICS)
@given(seed=st.integers(0, 2**16), m=st.sampled_from([2, 4, 6]))
def test_the_derivative_of_the_penalty(name, seed, m):
    D, x = critic(name, seed), np.random.default_rng(seed).standard_normal((m, N))

    def backward(u):
        derivative(D, x)
        D.dtheta[...] *= u
        return views(D.dtheta, D.slots)

    def P():
        return np.array(gradient_penalty(D, x, weight=10.0, rng=rng()))

    check(P, backward, views(D.theta, D.slots)).assert_ok()


@pytest.mark.parametrize('name', CRITICS)
def test_the_derivative_is_the_change_of_the_critics_own_dtheta_along_v(name):
    """A route that shares no line with the other: dP/dtheta = d(dtheta of sum f)/dx applied to v = dP/dg."""
    D = critic(name)
    g = slopes_by_the_net(D, X).reshape(len(D(X)), -1)
    norms = np.linalg.norm(g, axis=1, keepdims=True)
    v, h = (2 * 10 / len(g) * (norms - 1) * g / norms).reshape(X.shape), 1e-3

    def dtheta(x):
        D.backward(np.ones_like(D.forward(x, rng=rng())), input_grad=False)
        return D.dtheta.copy()

    at = {i: dtheta(X + i * h * v) for i in (-2, -1, 1, 2)}
    expected = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * h)  # exact for a critic of straight pieces
    np.testing.assert_allclose(derivative(D, X), expected, rtol=0, atol=1e-9 * abs(expected).max())


@pytest.mark.parametrize('name', ['straight pieces', 'tanh', 'sigmoid'])
def test_the_derivative_is_that_of_torchs_double_backward(name):
    torch = pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    D, x = critic(name), torch.tensor(X, requires_grad=True)
    theirs, f = [], x
    for layer in D.layers:
        if isinstance(layer, Dense):
            theirs += [torch.tensor(layer.W, requires_grad=True), torch.tensor(layer.b, requires_grad=True)]
            f = f @ theirs[-2] + theirs[-1]
        else:
            f = {Scale: lambda x: 0.5 * x + 0.1, LeakyReLU: lambda x: torch.nn.functional.leaky_relu(x, 0.2),
                 Tanh: torch.tanh, Sigmoid: torch.sigmoid}[type(layer)](f)
    g, = torch.autograd.grad(f.sum(), x, create_graph=True)
    P = 10 * ((g.norm(dim=1) - 1)**2).mean()
    assert gradient_penalty(D, X, weight=10.0) == pytest.approx(P.item(), rel=1e-12)
    grads = torch.autograd.grad(P, theirs, allow_unused=True)
    expected = [torch.zeros_like(a) if d is None else d for a, d in zip(theirs, grads)]
    expected = torch.cat([d.ravel() for d in expected]).numpy()
    np.testing.assert_allclose(derivative(D, X), expected, rtol=1e-10, atol=1e-12)


def test_a_critic_without_a_slope_pays_and_stays_finite():
    D = Net([Dense(N, 4), LeakyReLU(0.2), Dense(4, 1)], rng=STREAMS.at('init', 0), dtype=np.float32)
    D.theta[...] = 0
    assert gradient_penalty(D, X.astype(np.float32), weight=10.0) == 10
    assert (derivative(D, X.astype(np.float32)) == 0).all()


def test_the_penalty_leaves_no_cache_and_no_trace_of_an_earlier_derivative():
    D = critic('tanh')
    first = derivative(D, X)
    D.forward(X, rng=rng())  # raises if a cache is left
    gradient_penalty(D, X, weight=10.0)
    with pytest.raises(RuntimeError, match='backward needs a forward before it'):  # the penalty has overwritten it
        D.backward(np.ones((len(X), 1)))
    np.testing.assert_array_equal(derivative(D, X), first)
    assert all(layer.cache is None for layer in D.layers)


@pytest.mark.parametrize('layer', [Softplus(), Gain()])
def test_gradcheck_checks_what_a_layer_of_your_own_brings(layer):
    report = gradcheck(layer, X[:, :4])
    report.assert_ok()
    assert 'J v by x' in [row.name for row in report]


def game(layers=None, *, kind=WassersteinGame, fuse=None, dtype=np.float32, optimizer=Adam, rate=0.01, **settings):
    streams = Streams(5)
    layers = layers or [Dense(N, 9), LeakyReLU(0.2), Dense(9, 1)]
    G = Net([Dense(3, 8), LeakyReLU(0.2), Dense(8, N)], rng=streams.at('init', 0, 0), name='G', dtype=dtype)
    D = Net(layers, rng=streams.at('init', 0, 1), name='D', dtype=dtype, fuse=fuse)
    return kind(G, D, optimizer(G, learning_rate=rate), optimizer(D, learning_rate=rate),
                lambda j: streams.at('data', j).normal((4, N), dtype), streams, m=4, n_z=3,
                **{'objective': 'wasserstein', **settings})


def played(game, steps=3):
    for t in range(steps):
        game.step(t)
    return np.concatenate([game.G.theta, game.D.theta])


def update(game):
    """One update of D. Returns the data, the samples and theta_D before it."""
    x, z, before = game.minibatch(0), game.noise(0, 0), game.D.theta.copy()
    samples = game.G(z)
    game.update_D(x, z, game.layer_rng(0, 0))
    return x, samples, before


def test_without_penalty_and_clipping_it_is_the_game_of_2014_bit_for_bit():
    np.testing.assert_array_equal(played(game()), played(game(kind=Game)))


@pytest.mark.parametrize('objective', ['wasserstein', 'hinge', 'nonsaturating'])
def test_D_descends_its_loss_plus_the_penalty(objective):
    """The step of plain gradient descent, against differences of L_D + P at the points between data and samples."""
    played = game(CRITICS['curved, straight and nested'](), dtype=np.float64, optimizer=SGDMomentum, rate=1.0,
                  gradient_penalty=3.0, objective=objective)
    D, one = played.D, OBJECTIVES[objective]
    x, samples, before = update(played)
    step = D.theta - before
    D.theta[...] = before
    rng = played.layer_rng(0, 0)
    rng.bits((8, 4))  # dropout's, of the pass over data and samples
    e = rng.uniform((4, 1), np.float64)

    def loss():
        D.version += 1
        real, fake = played.logits(x, samples, played.layer_rng(0, 0))
        D.drop_cache()
        draws = played.layer_rng(0, 0)
        draws.bits((8, 4)), draws.uniform((4, 1))
        P = gradient_penalty(D, e * x + (1 - e) * samples, weight=3.0, rng=draws)
        return np.array(one.L_D(real, fake) + P)

    check(loss, lambda u: {'theta': -step * u}, {'theta': D.theta}).assert_ok()


def test_each_row_of_the_penalty_lies_at_its_own_place_between_an_example_and_a_sample(monkeypatch):
    seen = []
    monkeypatch.setattr(wasserstein, 'gradient_penalty_backward', lambda D, x, weight, rng: seen.append((x, weight)))
    x, samples, _ = update(game(gradient_penalty=10.0))
    (xhat, weight), = seen
    e = (xhat - samples) / (x - samples)
    np.testing.assert_allclose(e, e[:, :1] + np.zeros_like(e), atol=1e-4)  # one e for all pixels of a row
    assert weight == 10 and (0 <= e).all() and (e <= 1).all() and np.ptp(e[:, 0]) > 0.1
    assert xhat.dtype == np.float32


def test_a_packed_critic_has_one_slope_and_one_place_for_each_pack(monkeypatch):
    D = Net([Pack(2), Dense(4, 1)], rng=STREAMS.at('init', 0), dtype=np.float64)
    D.theta[...] = 0.6, 0, 0.8, 0, 5
    assert gradient_penalty(D, X[:, :2], weight=10.0) == pytest.approx(0, abs=1e-30)
    seen = []
    monkeypatch.setattr(wasserstein, 'gradient_penalty_backward', lambda D, x, weight, rng: seen.append(x))
    x, samples, _ = update(game([Pack(2), Dense(2 * N, 1)], gradient_penalty=10.0))
    e = ((seen[0] - samples) / (x - samples))[:, 0]
    np.testing.assert_allclose(e[::2], e[1::2], atol=1e-4)
    assert abs(e[0] - e[2]) > 0.01


def test_the_weights_are_clipped_after_the_step_and_all_of_them():
    c = 0.005  # half of Adam's first step
    unclipped, clipped = game(), game(clip_weights=c)
    update(unclipped)
    update(clipped)
    np.testing.assert_array_equal(clipped.D.theta, unclipped.D.theta.clip(-np.float32(c), np.float32(c)))
    assert all(abs(a).max() == np.float32(c) for a in (clipped.D.layers[0].W, clipped.D.layers[0].b))
    np.testing.assert_array_equal(clipped.G.theta, unclipped.G.theta)


def test_the_same_step_gives_the_same_numbers_in_a_game_made_anew():
    """e is a function of (seed, step), so a run that is resumed draws the same."""
    first = game(CRITICS['dropout'](), gradient_penalty=10.0)
    played(first)
    anew = game(CRITICS['dropout'](), gradient_penalty=10.0)
    for ours, theirs in ((first.G, anew.G), (first.D, anew.D)):
        theirs.theta[...] = ours.theta
    for one in (first, anew):
        one.optimizer_D = SGDMomentum(one.D, learning_rate=0.1)
        one.update_D(one.minibatch(9), one.noise(9, 0), one.layer_rng(9, 0))
    np.testing.assert_array_equal(first.D.theta, anew.D.theta)


@pytest.mark.parametrize('name', ['straight pieces', 'dropout', 'tanh', 'curved, straight and nested'])
def test_a_critic_whose_layers_are_fused_in_training_plays_the_same_game(name):
    fused = game(CRITICS[name](), fuse=fusion.fuse, gradient_penalty=10.0)
    assert fused.D.layers_in_training != fused.D.layers
    np.testing.assert_array_equal(played(fused), played(game(CRITICS[name](), gradient_penalty=10.0)))
    assert all(layer.cache is None for layer in fused.D.layers)


def test_a_setting_from_numpy_does_not_make_float64_of_the_run():
    kinds = []

    class Watch(LeakyReLU):
        def tangent(self, v):
            kinds.append(v.dtype)
            return self.backward(v, param_grads=False, input_grad=True)

        def tangent_backward(self, dt, v):
            kinds.append(dt.dtype)
            return None, None

    one = game([Dense(N, 9), Watch(0.2), Dense(9, 1)], gradient_penalty=np.float64(10), clip_weights=np.float64(0.5))
    np.testing.assert_array_equal(played(one), played(game(gradient_penalty=10.0, clip_weights=0.5)))
    assert set(kinds) == {np.dtype(np.float32)} and one.D.theta.dtype == np.float32


class Custom(LeakyReLU):
    """Its y may be anything, so LeakyReLU's J v must not be taken for it."""


@pytest.mark.parametrize('settings, said', [
    ({'clip_weights': -1.0}, 'clip_weights: expected a number >= 0, got -1.0'),
    ({'gradient_penalty': -1.0}, 'gradient_penalty: expected a number >= 0, got -1.0'),
    ({'gradient_penalty': float('nan')}, 'gradient_penalty: expected a number >= 0, got nan'),
    ({'update': 'simultaneous'}, "update: expected 'alternating' with a critic, got 'simultaneous'"),
    ({'gradient_penalty': 1.0, 'layers': [Sequential(Dense(N, 2), Custom(0.2)), Dense(2, 1)]},
     'gradient_penalty: expected layers in D with the methods tangent and tangent_backward, got Custom'),
    ({'gradient_penalty': 1.0, 'layers': [Dense(N, 2), BatchNorm(2), Dense(2, 1)]}, 'BatchNorm(2) mixes data'),
    ({'smoothing': 0.1}, 'smoothing: expected 0')])
def test_what_is_refused(settings, said):
    with pytest.raises(ValueError) as error:
        game(**settings)
    assert said in str(error.value) and '\n' not in str(error.value)


def test_a_step_with_noise_in_D_is_not_replayed_where_the_penalty_reads_its_sigma():
    noisy = [Noise(lambda t: 0.1), Dense(N, 1)]
    assert game(gradient_penalty=1.0).replayable and game(noisy, clip_weights=1.0).replayable
    assert not game([Noise(lambda t: 0.1), Dense(N, 1)], gradient_penalty=1.0).replayable


def test_a_critic_without_a_penalty_may_have_any_layer():
    assert np.isfinite(played(game([Dense(N, 2), Custom(0.2), Dense(2, 1)], clip_weights=0.1))).all()
