"""The named pairs of networks, each with the settings that it is trained with."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from minigan.gan import Game
from minigan.layers import BatchNorm, Dense, Dropout, Layer, LeakyReLU, Maxout, Scale, Sigmoid, Tanh
from minigan.optim import Adam, Optimizer, SGDMomentum, value_at


def adam(net, *, learning_rate, beta1, clip_norm, beta2=0.999):
    """Adam with Keras' eps."""
    return Adam(net, learning_rate=learning_rate, beta1=beta1, beta2=beta2, eps=1e-7, clip_norm=clip_norm)


def decaying_sgd(net, *, learning_rate, clip_norm):
    """The optimiser of the 2014 paper: a rate that is divided by 1.000004 each step, momentum from 0.5 to 0.7.

    The momentum rises over 125,000 steps: 250 epochs of 500 minibatches in the authors' code.
    """
    return SGDMomentum(net, learning_rate=lambda t: value_at(learning_rate, t) / 1.000004**t,
                       momentum=lambda t: 0.5 + 0.2 * min(1, t / 125_000), clip_norm=clip_norm)


@dataclass(frozen=True)
class Recipe:
    """G(n_z, shape) and D(shape): the layers for images of a shape such as (28, 28); and the settings of a run.

    optimizer(net, learning_rate=, clip_norm=): makes an optimiser; takes beta1= too, unless beta1 is None. prior: of z
    (streams.py). game: Game or a subclass. config.py explains the other settings.
    """

    G: Callable[[int, tuple], list[Layer]]
    D: Callable[[tuple], list[Layer]]
    batch: int
    learning_rate_G: float
    learning_rate_D: float
    update: str
    beta1: float | None = None
    optimizer: Callable[..., Optimizer] = adam
    game: type[Game] = Game
    objective: str = 'nonsaturating'
    k: int = 1
    n_z: int = 100
    prior: str | Callable = 'normal'
    schedule: str = 'constant'
    average: float = 0.0
    label_smoothing: float = 0.0
    input_noise: float = 0.0
    clip_norm: float = 0.0

    @property
    def takes_beta1(self):
        """Whether its optimiser has a beta1, as Adam has."""
        return self.beta1 is not None

    def make_optimizer(self, net, *, beta1, **settings):
        """The optimiser of a net. settings: learning_rate and clip_norm."""
        return self.optimizer(net, **settings, **({'beta1': beta1} if self.takes_beta1 else {}))


def article_G(n_z, shape):
    """The article's generator, section 5.2: 562,480 parameters and 3,104 moving statistics for n_z = 100 and n = 784.

    Slope 0.3, momentum 0.99 and eps 1e-3 are Keras' defaults.
    """
    n = prod(shape)
    return [Dense(n_z, 256, bias=False), BatchNorm(256), LeakyReLU(0.3),
            Dense(256, 512), BatchNorm(512), LeakyReLU(0.3),
            Dense(512, n), BatchNorm(n), LeakyReLU(0.3), Tanh()]


def article_D(shape):
    """The article's discriminator, section 5.2, up to its logit: 533,505 parameters for n = 784 pixels."""
    return [Dense(prod(shape), 512), LeakyReLU(0.3), Dropout(0.3),
            Dense(512, 256), LeakyReLU(0.3), Dropout(0.3),
            Dense(256, 1)]


def default_G(n_z, shape, *, widths=(256, 512)):
    """The article's generator with slope 0.2, only tanh after the last Dense, and no bias before a batch norm."""
    a, b = widths
    return [Dense(n_z, a, bias=False), BatchNorm(a), LeakyReLU(0.2),
            Dense(a, b, bias=False), BatchNorm(b), LeakyReLU(0.2),
            Dense(b, prod(shape)), Tanh()]


def default_D(shape, *, widths=(512, 256)):
    """The article's discriminator with slope 0.2, and a fifth of the units dropped."""
    a, b = widths
    return [Dense(prod(shape), a), LeakyReLU(0.2), Dropout(0.2),
            Dense(a, b), LeakyReLU(0.2), Dropout(0.2),
            Dense(b, 1)]


def goodfellow2014_G(n_z, shape):
    """The 2014 paper's generator for MNIST, from the authors' code. Its pixels are in [0, 1]; minigan's in [-1, 1].

    Its last bias starts at 0. The authors' starts at the logits of the mean training image, which no layer knows here.
    """
    return [Dense(n_z, 1200, a=0.05), LeakyReLU(0), Dense(1200, 1200, a=0.05), LeakyReLU(0),
            Dense(1200, prod(shape), a=0.05), Sigmoid(), Scale(2, -1)]


def goodfellow2014_D(shape):
    """The 2014 paper's discriminator for MNIST, from the authors' code: maxout, and dropout before each Dense."""
    return [Scale(0.5, 0.5), Dropout(0.2), Dense(prod(shape), 1200, a=0.005), Maxout(5),
            Dropout(0.5), Dense(240, 1200, a=0.005), Maxout(5),
            Dropout(0.5), Dense(240, 1, a=0.005)]


RECIPES = {
    'article': Recipe(article_G, article_D, batch=32, learning_rate_G=1e-4, learning_rate_D=1e-4, beta1=0.9,
                      update='simultaneous'),
    'default': Recipe(default_G, default_D, batch=50, learning_rate_G=4e-3, learning_rate_D=1e-3, beta1=0.0,
                      update='alternating', schedule='linear', average=1.0),
    'goodfellow2014': Recipe(goodfellow2014_G, goodfellow2014_D, batch=100, learning_rate_G=0.1, learning_rate_D=0.05,
                             update='simultaneous', optimizer=decaying_sgd, prior='uniform'),
}  # the authors halve L_D, which is the same as halving D's learning rate
