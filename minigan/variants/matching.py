"""Feature matching, and a classifier that needs few labels because it also plays D. Salimans et al. 2016, 3.1 and 5.

G no longer tries to fool D's answer. It matches the mean of f, D's last hidden units, over data and over samples:

    L_G = |mean f(x) - mean f(G(z))|^2

In the semi-supervised game D is a classifier with K logits l. It reads a few labelled images too, and descends

    L = -mean log p(y | x) + L_D / 2,   p(y | x) = exp(l_y) / Z,   D(x) = Z / (Z + 1),   Z = exp(l_1) + ... + exp(l_K)

That is the paper's classifier with K + 1 classes, the last one for samples, whose logit may be fixed at 0. So the logit
of D(x) is log Z, and for K = 1 it is the discriminator of 2014.
"""

from dataclasses import dataclass, replace
from math import prod

from minigan import ops
from minigan.backend import array_module
from minigan.gan import Game
from minigan.layers import BatchNorm, Dense, Dropout, Layer, LeakyReLU, Noise, Scale, Sequential, Sigmoid
from minigan.networks import RECIPES, Recipe
from minigan.ops import stack


class WeightNormDense(Layer):
    """y = x W + b, where each unit's weights have a given length, so that none outgrows the noise that it reads.

        W_j = g u_j,   u_j = V_j / |V_j|,   dV_j = g / |V_j| (dW_j - <dW_j, u_j> u_j)

    V_j: column j of V (n_in, n_out), from N(0, 0.1^2); g: fixed. b: (n_out,), starts at 0.
    Salimans & Kingma 2016, equations 2 and 3.
    """

    def __init__(self, n_in, n_out, *, g):
        self.n_in, self.n_out, self.g = n_in, n_out, g
        self.shapes = {'V': (n_in, n_out), 'b': (n_out,)}

    def init(self, rng):
        self.V[...] = 0.1 * rng.normal(self.V.shape, self.V.dtype)
        self.b[...] = 0

    def forward(self, x, *, training, rng):
        self.check_width(x, self.n_in)
        length = array_module(x).sqrt((self.V**2).sum(axis=0))
        u = self.V / length
        W = self.g * u
        self.cache = x, length, u, W
        return ops.dense(x, W, self.b)

    def backward(self, dy, *, param_grads, input_grad):
        x, length, u, W = self.cache
        if param_grads:
            ops.dense_backward_params_(dy, x, self.dV, self.db)  # dV is dW so far
            self.dV -= u * (self.dV * u).sum(axis=0)
            self.dV *= self.g / length
        return ops.dense_backward_input(dy, W) if input_grad else None

    def __repr__(self):
        return f'WeightNormDense({self.n_in} -> {self.n_out}, g={self.g})'


class LogSumExp(Layer):
    """D's logit from a classifier's logits.

        y = log(exp(l_1) + ... + exp(l_K)),   dl_j = dy p_j,   p = softmax(l)

    l: (m, K). Returns y (m, 1); for K = 1 it is l itself.
    """

    def forward(self, x, *, training, rng):
        xp = array_module(x)
        self.cache = x
        largest = x.max(axis=1, keepdims=True)
        return largest + xp.log(xp.exp(x - largest).sum(axis=1, keepdims=True))

    def backward(self, dy, *, param_grads, input_grad):
        return dy * ops.softmax(self.cache) if input_grad else None


def feature_matching(real, fake):
    """L_G = |mean f(x) - mean f(G(z))|^2, for features of data, real (m, n), and of samples, fake (m, n)."""
    return ((fake.mean(axis=0) - real.mean(axis=0)) ** 2).sum()


def feature_matching_backward(real, fake):
    """Derivative of feature_matching.   dfake_i = 2 / m (mean f(G(z)) - mean f(x)),   the same for every row i"""
    return 0 * fake + 2 / len(fake) * (fake.mean(axis=0) - real.mean(axis=0))


def body_and_head(D):
    """(body, head): f = body(x), D(x) = head(f). The head is D's last layer with parameters, what comes after it, and
    the dropout or noise in front of it."""
    end = max(place for place, layer in enumerate(D.layers) if layer.shapes)
    while isinstance(D.layers[end - 1], (Dropout, Noise)):
        end -= 1
    return Sequential(*D.layers[:end]), Sequential(*D.layers[end:])


@dataclass
class FeatureMatchingGame(Game):
    """A game whose G matches features; objective is that of D alone."""

    def __post_init__(self):
        super().__post_init__()
        if self.update == 'simultaneous':
            raise ValueError('update: expected alternating, as G matches the features of a D that has moved, got '
                             'simultaneous')

    def update_D(self, x, z, rng):
        """As in Algorithm 1; update_G will match the features of this x."""
        self.x = x
        return super().update_D(x, z, rng)

    def update_G(self, z, rng):
        """Descend feature_matching in theta_G, through a D that is fixed. Returns D's logits before the update."""
        body, head = body_and_head(self.D)
        real = body.forward(self.x, training=True, rng=rng)
        fake = body.forward(self.G.forward(z, rng=rng), training=True, rng=rng)
        logits = head.forward(fake, training=True, rng=rng)
        dsamples = body.backward(feature_matching_backward(real, fake), param_grads=False, input_grad=True)
        body.drop_cache()
        head.drop_cache()
        self.G.backward(dsamples, input_grad=False)
        self.optimizer_G.step()
        return logits


@dataclass
class SemiSupervisedGame(FeatureMatchingGame):
    """A game whose D is a classifier too: it ends in LogSumExp.

    labelled: (images (m_l, n), their classes (m_l,) from 0 to K - 1), on the device; each D step reads all of them.
    """

    labelled: tuple = None

    def __post_init__(self):
        super().__post_init__()
        if self.labelled is None or not isinstance(self.D.layers[-1], LogSumExp):
            raise ValueError('SemiSupervisedGame: expected labelled images, and a D that ends in LogSumExp, got '
                             f'{self.labelled} and {self.D}')
        for layer in self.D.layers:
            if layer.block > 1:
                raise ValueError(f'D: {layer} reads {layer.block} rows together, but a class belongs to one')

    def update_D(self, x, z, rng):
        """Descend L in theta_D. D reads data, samples and labelled images as one minibatch."""
        self.x, (images, labels) = x, self.labelled
        samples = self.G.forward(z, rng=rng, keep_cache=False)
        classify, log_Z = Sequential(*self.D.layers[:-1]), self.D.layers[-1]
        classes = classify.forward(stack(stack(x, samples), images), training=True, rng=rng)  # l: (2m + m_l, K)
        logits = log_Z.forward(classes[:2 * self.m], training=True, rng=rng)
        real, fake = logits[:self.m], logits[self.m:]
        dunlabelled = log_Z.backward(self.L_D_backward(real, fake) / 2, param_grads=False, input_grad=True)
        dlabelled = ops.softmax_cross_entropy_backward(classes[2 * self.m:], labels)
        classify.backward(stack(dunlabelled, dlabelled), param_grads=True, input_grad=False)
        classify.drop_cache()
        log_Z.drop_cache()
        self.optimizer_D.step()
        return real, fake


def semisupervised_G(n_z, shape):
    """The generator of section 5 for MNIST, from the authors' code."""
    n = prod(shape)
    return [Dense(n_z, 500, bias=False), BatchNorm(500, momentum=0.9), LeakyReLU(0),
            Dense(500, 500, bias=False), BatchNorm(500, momentum=0.9), LeakyReLU(0),
            Dense(500, n), Sigmoid(), Scale(2, -1)]


def semisupervised_D(shape, *, widths=(1000, 500, 250, 250, 250), classes=10):
    """The classifier of section 5 for MNIST, from the authors' code. Its pixels are in [0, 1]; minigan's in [-1, 1]."""
    layers, n = [Scale(0.5, 0.5), Noise(lambda t: 0.3)], prod(shape)
    for i, width in enumerate(widths):
        layers += [WeightNormDense(n, width, g=1.3 if i else 2.5), LeakyReLU(0), Noise(lambda t: 0.5)]
        n = width
    return [*layers, Dense(n, classes), LogSumExp()]


@dataclass(frozen=True)
class SemiSupervisedRecipe(Recipe):
    """A Recipe with the number of labelled images."""

    game: type[Game] = SemiSupervisedGame
    labelled: int = 100


RECIPES = {
    'feature-matching': replace(RECIPES['default'], game=FeatureMatchingGame),
    'semisupervised': SemiSupervisedRecipe(
        semisupervised_G, semisupervised_D, batch=100, learning_rate_G=3e-3, learning_rate_D=3e-3, beta1=0.5,
        update='alternating', prior='uniform', schedule='linear', average=1.0),
}
