"""DCGAN: convolutional players. D halves the image with its first layer; G doubles it twice with its last ones.

    G: z -> Dense, twice -> h/4 x w/4 with 64 channels -> h/2 x w/2 with 32 channels -> the image
    D: the image -> h/2 x w/2 with 16 channels -> Dense, three times -> the logit

Radford, Metz & Chintala 2016, sections 3 and 4. Differences: both players have hidden Dense layers, as those of Chen et
al. 2016 (InfoGAN) have: a convolution sees strokes, and a Dense layer the whole digit. D has one convolution, for with
two it wins, and samples become worse the longer both train. D has dropout, and noise on its input, in place of batch
norm. The rates are higher, beta1 is 0, and samples are drawn with an average of G.
"""

from math import prod

from minigan.layers import BatchNorm, Dense, Dropout, LeakyReLU, Tanh
from minigan.networks import Recipe
from minigan.variants.convolution import Patches, Rows, Unpatches

DOWN = {'k': 4, 'stride': 2, 'pad': 1}  # halves an even size exactly, and every pixel lies in 4 patches


def sizes(shape):
    """(the whole size, a half, a quarter, the channels) of an image, each size (h, w).

    Raises ValueError for a shape whose sides 4 does not divide.
    """
    if len(shape) not in (2, 3) or any(n % 4 for n in shape[:2]):
        raise ValueError(f'shape: expected images whose height and width 4 divides, got {shape}')
    h, w, c = (*shape, 1)[:3]
    return (h, w), (h // 2, w // 2), (h // 4, w // 4), c


def dcgan_G(n_z, shape, *, hidden=512, widths=(64, 32)):
    """z (m, n_z) -> x (m, h w c)"""
    whole, half, quarter, c = sizes(shape)
    a, b = widths
    return [Dense(n_z, hidden, bias=False), BatchNorm(hidden), LeakyReLU(0.2),
            Dense(hidden, prod(quarter) * a, bias=False), Rows(a), BatchNorm(a), LeakyReLU(0.2),
            Dense(a, 16 * b, bias=False), Unpatches((*half, b), **DOWN), BatchNorm(b), LeakyReLU(0.2),
            Dense(b, 16 * c, bias=False), Unpatches((*whole, c), **DOWN), Rows(prod(whole) * c), Tanh()]


def dcgan_D(shape, *, channels=16, hidden=(512, 256), rate=0.4):
    """x (m, h w c) -> logit (m, 1)"""
    whole, half, _, c = sizes(shape)
    n, (a, b) = prod(half) * channels, hidden
    return [Patches((*whole, c), **DOWN), Dense(16 * c, channels), LeakyReLU(0.2), Dropout(rate),
            Rows(n), Dense(n, a), LeakyReLU(0.2), Dropout(rate),
            Dense(a, b), LeakyReLU(0.2), Dropout(rate), Dense(b, 1)]


RECIPES = {'dcgan': Recipe(dcgan_G, dcgan_D, batch=64, learning_rate_G=1.2e-2, learning_rate_D=1.5e-3, beta1=0.0,
                           update='alternating', schedule='linear', average=1.0, input_noise=0.3)}
