"""DCGAN: both players convolutional. Every other pixel is left out on the way down, and comes back on the way up.

    G: z -> Dense -> h/4 x w/4, 64 channels -> h/2 x w/2, 32 channels -> the image
    D: the image -> h/2 x w/2, 32 channels -> h/4 x w/4, 64 channels -> Dense -> logit

Radford, Metz & Chintala 2016, sections 3 and 4.
"""

from minigan.layers import BatchNorm, Dense, Dropout, LeakyReLU, Tanh
from minigan.networks import Recipe
from minigan.variants.convolution import Patches, Rows, Unpatches

DOWN = {'k': 4, 'stride': 2, 'pad': 1}  # halves an even size exactly, and every pixel lies in 4 patches


def sizes(shape):
    """(the whole size, a half, a quarter, the channels) of an image, each size (h, w).

    Raises ValueError for a shape whose sides 4 does not divide.
    """
    if len(shape) not in (2, 3) or any(n % 4 for n in shape[:2]):
        raise ValueError(f'dcgan: expected images whose height and width 4 divides, got the shape {shape}')
    h, w, c = (*shape, 1)[:3]
    return (h, w), (h // 2, w // 2), (h // 4, w // 4), c


def dcgan_G(n_z, shape, *, widths=(64, 32)):
    """z (m, n_z) -> x (m, h w c)"""
    whole, half, quarter, c = sizes(shape)
    a, b = widths
    size = quarter[0] * quarter[1] * a
    return [Dense(n_z, size, bias=False), Rows(a), BatchNorm(a), LeakyReLU(0.2),
            Dense(a, 16 * b, bias=False), Unpatches((*half, b), **DOWN), BatchNorm(b), LeakyReLU(0.2),
            Dense(b, 16 * c, bias=False), Unpatches((*whole, c), **DOWN), Rows(whole[0] * whole[1] * c), Tanh()]


def dcgan_D(shape, *, widths=(32, 64), hidden=256):
    """x (m, h w c) -> logit (m, 1)"""
    whole, half, quarter, c = sizes(shape)
    a, b = widths
    size = quarter[0] * quarter[1] * b
    return [Patches((*whole, c), **DOWN), Dense(16 * c, a), LeakyReLU(0.2),
            Patches((*half, a), **DOWN), Dense(16 * a, b), LeakyReLU(0.2),
            Rows(size), Dropout(0.2), Dense(size, hidden), LeakyReLU(0.2), Dropout(0.2), Dense(hidden, 1)]


RECIPES = {'dcgan': Recipe(dcgan_G, dcgan_D, batch=64, learning_rate_G=2e-3, learning_rate_D=5e-4, beta1=0.0,
                           update='alternating', schedule='linear', average=1.0)}
