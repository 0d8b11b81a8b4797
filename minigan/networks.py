"""The named pairs of networks, each with the settings that it is trained with."""

from dataclasses import dataclass

from minigan.layers import BatchNorm, Dense, Dropout, LeakyReLU, Tanh


@dataclass(frozen=True)
class Recipe:
    """G(n_z, n) and D(n): the layers for n pixels; and the settings of a run."""

    G: object
    D: object
    batch: int
    learning_rate: float
    beta1: float
    update: str
    eps: float = 1e-7  # of Adam, as in Keras
    objective: str = 'nonsaturating'
    n_z: int = 100


def article_G(n_z, n):
    """The article's generator, section 5.2: 562,480 parameters and 3,104 moving statistics for 100 and 784.

    Keras' defaults stand behind it: slope 0.3, momentum 0.99, eps 1e-3.
    """
    return [Dense(n_z, 256, bias=False), BatchNorm(256), LeakyReLU(0.3),
            Dense(256, 512), BatchNorm(512), LeakyReLU(0.3),
            Dense(512, n), BatchNorm(n), LeakyReLU(0.3), Tanh()]


def article_D(n):
    """The article's discriminator, section 5.2, up to its logit: 533,505 parameters for n = 784 pixels."""
    return [Dense(n, 512), LeakyReLU(0.3), Dropout(0.3),
            Dense(512, 256), LeakyReLU(0.3), Dropout(0.3),
            Dense(256, 1)]


def default_G(n_z, n):
    """The article's widths; nothing between the last Dense and tanh; no bias in front of a batch norm; slope 0.2."""
    return [Dense(n_z, 256, bias=False), BatchNorm(256), LeakyReLU(0.2),
            Dense(256, 512, bias=False), BatchNorm(512), LeakyReLU(0.2),
            Dense(512, n), Tanh()]


def default_D(n):
    """The article's discriminator with slope 0.2."""
    return [Dense(n, 512), LeakyReLU(0.2), Dropout(0.3),
            Dense(512, 256), LeakyReLU(0.2), Dropout(0.3),
            Dense(256, 1)]


RECIPES = {
    'article': Recipe(article_G, article_D, batch=32, learning_rate=1e-4, beta1=0.9, update='simultaneous'),
    'default': Recipe(default_G, default_D, batch=32, learning_rate=2e-4, beta1=0.5, update='alternating'),
}
