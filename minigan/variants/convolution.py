"""Convolution as a Dense layer over patches. Its derivative is the transposed convolution: patches of a Dense layer.

    convolution              y = P(x) W + b          dx = P^T(dy W^T)       dW = P(x)^T dy
    transposed convolution   y = P^T(x W)            dx = P(dy) W^T         dW = x^T P(dy)

P takes an image apart into its patches, a row for each. P^T puts patches together and adds where they overlap. Both are
linear, and each is the derivative of the other. So a convolution is Patches, then Dense, and a transposed one Dense,
then Unpatches:

    Patches((28, 28, 1), 4, stride=2, pad=1), Dense(4 * 4 * 1, 32)       (m, 28 28 1) -> (m 14 14, 32)
    Dense(64, 4 * 4 * 32, bias=False), Unpatches((14, 14, 32), 4, stride=2, pad=1)    (m 7 7, 64) -> (m 14 14, 32)

A row is a pixel and a column a channel (channels last), so BatchNorm and LeakyReLU need no change: batch norm is per
channel. A bias in front of Unpatches would be added once for each patch that covers a pixel: leave it out. As usual in
networks, the taps of W are not flipped: this is a cross-correlation.

Nearest upscaling and average pooling are such a pair, too, up to a factor. Dumoulin & Visin 2016, sections 2 and 4.
"""

from math import prod

from minigan.backend import array_module, number, twin
from minigan.layers import Layer


def places(n, k, *, stride, pad):
    """How many patches k pixels wide fit in n, with `pad` zeros on both sides.   floor((n + 2 pad - k) / stride) + 1

    Raises ValueError if none fits.
    """
    if n + 2 * pad < k:
        raise ValueError(f'patches: expected at least {k} pixels, got {n} with {pad} more on each side')
    return (n + 2 * pad - k) // stride + 1


@twin
def patches(x, *, shape, k, stride, pad):
    """P: every k x k window of each image, as a row.

        y_(r,s),(i,j,c) = x_(stride r + i - pad),(stride s + j - pad),c        (0 beyond the edge)

    x: m images of the shape (h, w, c), in rows of images or of pixels. Returns y (m oh ow, k k c), oh and ow: `places`.
    """
    xp, (h, w, c) = array_module(x), shape
    x = xp.pad(x.reshape(-1, h, w, c), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = xp.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))[:, ::stride, ::stride]
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, k * k * c)


@twin
def unpatches(y, *, shape, k, stride, pad):
    """P^T: the image in which every patch lies at its place. Where patches overlap, they are added.

        x_uvc = sum of y_(r,s),(i,j,c) over all stride r + i - pad = u and stride s + j - pad = v

    y: (m oh ow, k k c), as patches returns it. Returns x (m h w, c).
    """
    h, w, c = shape
    oh, ow = (places(n, k, stride=stride, pad=pad) for n in (h, w))
    y = y.reshape(-1, oh, ow, k, k, c)
    tall, wide = (-(-(n + 2 * pad) // stride) for n in (h, w))
    x = array_module(y).zeros((len(y), tall, stride, wide, stride, c), y.dtype)
    for i in range(0, k, stride):  # stride x stride taps at once: between them, they reach each pixel at most once
        for j in range(0, k, stride):
            taps = y[:, :, :, i:i + stride, j:j + stride].transpose(0, 1, 3, 2, 4, 5)
            a, b = i // stride, j // stride
            x[:, a:a + oh, :taps.shape[2], b:b + ow, :taps.shape[4]] += taps
    x = x.reshape(len(y), tall * stride, wide * stride, c)
    return x[:, pad:pad + h, pad:pad + w].reshape(-1, c)


def upscale(x, *, shape, factor):
    """Nearest upscaling: each pixel becomes factor x factor equal ones.

    x: m images of the shape (h, w, c), in rows of images or of pixels. Returns (m factor h factor w, c).
    """
    (h, w, c), m = shape, x.size // prod(shape)
    y = array_module(x).broadcast_to(x.reshape(m, h, 1, w, 1, c), (m, h, factor, w, factor, c))
    return y.reshape(-1, c)


def pool(x, *, shape, factor):
    """Average pooling: the mean of each factor x factor block. The derivative of upscale is factor^2 times that.

    x: m images of the shape (factor h, factor w, c), in rows of images or of pixels; shape: (h, w, c), of the result.
    Returns (m h w, c).
    """
    h, w, c = shape
    return x.reshape(-1, h, factor, w, factor, c).mean(axis=(2, 4)).reshape(-1, c)


class ImageMap(Layer):
    """A linear map of images, y = map(x, **settings), and its derivative, dx = derivative(dy, **settings).

    x: m images, in rows of `size` numbers or in rows of pixels with `channels` numbers each. y: in rows of pixels.
    Raises ValueError for a shape other than (h, w, c), for sizes below 1 and a pad below 0.
    """

    map = derivative = None

    def __init__(self, shape, **settings):
        sizes = {**settings, 'pad': settings.get('pad', 0) + 1}
        if len(shape) != 3 or min(*shape, *sizes.values()) < 1:
            raise ValueError(f'{type(self).__name__}: expected a shape (h, w, c), sizes of at least 1 and a pad of at '
                             f'least 0, got {", ".join(map(str, (shape, *settings.values())))}')
        self.settings = {'shape': shape, **{name: number(value) for name, value in settings.items()}}
        self.size, self.channels = prod(shape), shape[2]

    def fits(self, width):
        """Whether rows of this width are whole images or whole pixels."""
        return width in (self.size, self.channels)

    def forward(self, x, *, training, rng):
        if x.ndim != 2 or not self.fits(x.shape[1]) or x.size % self.size:
            raise ValueError(f'{self}: expected x of shape (m, {self.size}), or its pixels, got {x.shape}')
        self.cache = x.shape
        return self.map(x, **self.settings)

    def backward(self, dy, *, param_grads, input_grad):
        return self.derivative(dy, **self.settings).reshape(self.cache) if input_grad else None

    def tangent(self, v):
        """J v = map(v)"""
        return self.map(v, **self.settings)

    def tangent_backward(self, dt, v):
        """(dx, dv) for <dt, J v>: J does not depend on x."""
        return 0 * v, self.derivative(dt, **self.settings).reshape(v.shape)

    def __repr__(self):
        return f'{type(self).__name__}({", ".join(map(str, self.settings.values()))})'


class Patches(ImageMap):
    """y = P(x); see patches. x: (m, h w c) or (m h w, c), images of that shape. Raises ValueError if no patch fits."""

    map, derivative = staticmethod(patches), staticmethod(unpatches)

    def __init__(self, shape, k, *, stride=1, pad=0):
        super().__init__(shape, k=k, stride=stride, pad=pad)
        self.places = prod(places(n, k, stride=stride, pad=pad) for n in shape[:2])


class Unpatches(Patches):
    """x = P^T(y); see unpatches. y: (m oh ow, k k c) or (m, oh ow k k c); x: (m h w, c), images of that shape."""

    map, derivative = staticmethod(unpatches), staticmethod(patches)

    def __init__(self, shape, k, *, stride=1, pad=0):
        super().__init__(shape, k, stride=stride, pad=pad)
        self.channels = k * k * shape[2]
        self.size = self.places * self.channels


class Upscale(ImageMap):
    """y = upscale(x), from images of the shape (h, w, c)."""

    map = staticmethod(upscale)
    derivative = staticmethod(lambda dy, *, shape, factor: factor**2 * pool(dy, shape=shape, factor=factor))

    def __init__(self, shape, factor=2):
        super().__init__(shape, factor=factor)


class AveragePool(ImageMap):
    """y = pool(x), to images of the shape (h, w, c)."""

    map = staticmethod(pool)
    derivative = staticmethod(lambda dy, *, shape, factor: upscale(dy, shape=shape, factor=factor) / factor**2)

    def __init__(self, shape, factor=2):
        super().__init__(shape, factor=factor)
        self.size *= factor**2


class Rows(ImageMap):
    """Rows of n numbers, in the same order: n = h w c turns rows of pixels into rows of images, n = c back again."""

    map, derivative = staticmethod(lambda x, *, n: x.reshape(-1, n)), staticmethod(lambda dy, *, n: dy)

    def __init__(self, n):
        super().__init__((1, 1, n))
        self.settings = {'n': n}

    def fits(self, width):
        return width % self.size == 0 or self.size % width == 0
