"""A classifier that needs few labels, as it is D in a game of feature matching too. Salimans et al. 2016, section 5.

D has K logits l. It reads a few labelled images in each step, next to data and samples, and descends

    L = -mean log p(y | x) + L_D / 2,   p(y | x) = exp(l_y) / Z,   D(x) = Z / (Z + 1),   Z = exp(l_1) + ... + exp(l_K)

That is the paper's classifier of K + 1 classes, the last one for samples, whose logit may be fixed at 0. So the logit
of D(x) is log Z, and for K = 1 it is the discriminator of 2014.

As in the authors' code for MNIST: L_D / 2, where the paper has L_D; all labelled images in every step; both networks'
widths, D's noise, its weight normalisation, Adam with 3e-3 and beta1 = 0.5. Differences from that code: ReLU in G for
softplus; a plain Dense at the end of G, for one whose units have weights of a trained length, and likewise at the end
of D; batch norm in G has a gamma; starting values of Dense, and eps of batch norm and Adam, are this package's; the
lengths in D's other layers are constants that give units a standard deviation of about 1, and not computed from data;
the learning rate rises in the first 4 percent of the run and falls to 0 at its end, and the last theta_D classifies,
for a constant rate and a moving average.
"""

from dataclasses import dataclass
from math import prod

from minigan import ops
from minigan.backend import array_module
from minigan.gan import Game
from minigan.layers import BatchNorm, Dense, Layer, LeakyReLU, Noise, Scale, Sequential, Sigmoid
from minigan.networks import Recipe
from minigan.ops import stack
from minigan.variants.matching import FeatureMatchingGame


class WeightNormDense(Layer):
    """y = x W + b, where each unit's weights have a fixed length g, so that they cannot outgrow the noise in x.

        W_j = g u_j,   u_j = V_j / |V_j|,   dV_j = g / |V_j| (dW_j - <dW_j, u_j> u_j)

    V_j: column j of V (n_in, n_out), which starts at N(0, 0.1^2). b: (n_out,), starts at 0.
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


@dataclass
class SemiSupervisedGame(FeatureMatchingGame):
    """A game whose D is a classifier too.

    D: ends in LogSumExp. labelled: (images (m_l, n), their classes (m_l,) from 0 to K - 1).
    Raises ValueError for a different D, and for one that reads several rows together.
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
    """The authors' generator for MNIST, but for the differences above. Its pixels are in [0, 1]; minigan's in [-1, 1].
    """
    return [Dense(n_z, 500, bias=False), BatchNorm(500, momentum=0.9), LeakyReLU(0),
            Dense(500, 500, bias=False), BatchNorm(500, momentum=0.9), LeakyReLU(0),
            Dense(500, prod(shape)), Sigmoid(), Scale(2, -1)]


def semisupervised_D(shape, *, classes=10):
    """The authors' classifier for MNIST, but for the differences above: noise in front of every layer."""
    layers, n = [Scale(0.5, 0.5), Noise(lambda t: 0.3)], prod(shape)
    for width, g in ((1000, 2.5), (500, 1.3), (250, 1.3), (250, 1.3), (250, 1.3)):
        layers += [WeightNormDense(n, width, g=g), LeakyReLU(0), Noise(lambda t: 0.5)]
        n = width
    return [*layers, Dense(n, classes), LogSumExp()]


@dataclass(frozen=True)
class SemiSupervisedRecipe(Recipe):
    """A Recipe with the number of labelled images."""

    game: type[Game] = SemiSupervisedGame
    labelled: int = 100


RECIPES = {'semisupervised': SemiSupervisedRecipe(
    semisupervised_G, semisupervised_D, batch=100, learning_rate_G=3e-3, learning_rate_D=3e-3, beta1=0.5,
    update='alternating', prior='uniform', schedule='linear', average=1.0)}
