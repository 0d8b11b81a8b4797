"""CUDA twins of operations in ops.py, fusion.py and variants/convolution.py, and of the random numbers in streams.py.

A twin has the name and the signature of its specification, and takes float32.
"""

from functools import cache
from math import prod
from pathlib import Path

import numpy as np

from minigan import backend, ops
from minigan.gpu.launch import Launcher
from minigan.variants.convolution import places

SOURCES = [Path(__file__).with_name(name) for name in ('kernels.cu', 'products.cu')]
PRODUCTS = 'own', 'cublas'
BLOCKS = 128  # that a product should have, to fill a large GPU
LEAST = 2     # tiles of the depth that a part has, where the depth of a product is split
WORTH = 4     # tiles of the depth that a block must save: in their time, a second launch adds the parts


def code():
    """The source of all kernels."""
    first, *others = SOURCES
    return first.read_text() + ''.join(f'#line 1 "{source.name}"\n{source.read_text()}' for source in others)


@cache
def compiled(xp):
    """The twins, compiled for the GPU by xp, which is cupy; None for numpy: see native/twins.py."""
    if xp is np:
        return None
    return Kernels(xp.RawModule(code=code(), options=('--std=c++17',)), code())


def adam_settings(*, t, learning_rate, beta1, beta2, eps):
    """What the kernel adam_ needs of ops.adam_'s settings: (rate, eps), see there."""
    n1, n2 = (1 - beta1**t) / (1 - beta1), (1 - beta2**t) / (1 - beta2)
    return learning_rate * n2**0.5 / n1, eps * n2**0.5


def chunks_of(m):
    """The rows of a chunk, and the number of chunks, for m rows of any width: from m alone, so that every GPU adds in
    the same order; at most 128, because every block of the second kernel reads the sums of all chunks."""
    rows = max(64, -(-m // 128))
    return rows, -(-m // rows)


class Kernels(Launcher):
    """The twins of kernels.cu and products.cu.

    products: 'own', or 'cublas' for CuPy's matrix products; may be changed between launches.
    elapsed, now: what kernels read from the GPU while a CUDA graph is captured, arrays; None in plain launches.
    """

    products, elapsed, now, chunks_of = 'own', None, None, staticmethod(chunks_of)

    def bits(self, out, *key):
        """Fill `out` with Rng.bits; key: draw, substep, step, seed, stream."""
        self.by_element('bits', -(-out.size // 16), out, out.size, *key, self.elapsed)

    def uniform(self, out, *key):
        """Fill `out` with Rng.uniform."""
        self.by_element('uniform', -(-out.size // 8), out, out.size, *key, self.elapsed)

    def normal(self, out, *key):
        """Fill `out` with Rng.normal."""
        self.by_element('normal', -(-out.size // 2), out, out.size, *key, self.elapsed)

    def gather_images(self, images, rows, dtype):
        """See ops."""
        x = self.empty(images, (len(rows), images.shape[1]), dtype)
        self.by_element('gather_images', x.size, images, rows, x, *x.shape)
        return x

    def stack(self, a, b):
        """See ops."""
        out = self.empty(a, (len(a) + len(b), *a.shape[1:]), a.dtype)
        self.by_element('stack', out.size, a, b, out, a.size, b.size)
        return out

    def tanh_backward(self, dy, y):
        """See ops."""
        dx = self.empty_like(y)
        self.by_element('tanh_backward', y.size, dy, y, dx, y.size)
        return dx

    def cross_entropy(self, logit, *, target):
        """See ops."""
        mean = self.empty(logit, (), logit.dtype)
        self.launch('cross_entropy', (1,), (self.threads,), logit, mean, logit.size, target)
        return mean

    def cross_entropy_backward(self, logit, *, target):
        """See ops."""
        dlogit = self.empty_like(logit)
        self.by_element('cross_entropy_backward', logit.size, logit, dlogit, logit.size, target, 1 / len(logit))
        return dlogit

    def adam_(self, theta, dtheta, m, v, scratch, *, t, learning_rate, beta1, beta2, eps):
        """See ops; needs no scratch."""
        settings = adam_settings(t=t, learning_rate=learning_rate, beta1=beta1, beta2=beta2, eps=eps)
        self.by_element('adam_', theta.size, theta, dtheta, m, v, theta.size, beta1, beta2, *settings, self.now)

    def moving_average_(self, moving, statistic, *, momentum):
        """See ops."""
        self.by_element('moving_average_', moving.size, moving, statistic, moving.size, 1 - momentum)

    def sgd_momentum_(self, theta, dtheta, velocity, scratch, *, learning_rate, momentum):
        """See ops; needs no scratch."""
        self.by_element('sgd_momentum_', theta.size, theta, dtheta, velocity, theta.size, learning_rate, momentum,
                        self.now)

    def euclidean_norm(self, x):
        """See ops."""
        if not x.size:
            return ops.euclidean_norm.__wrapped__(x)
        length, s = (self.empty(x, (), x.dtype) for _ in range(2))
        sums, largest = self._square_sums(x)
        self.launch('euclidean_norm', (1,), (self.threads,), sums, largest, length, s, sums.size)
        return length, s

    def clip_norm_(self, dtheta, *, limit):
        """See ops."""
        if dtheta.size:
            sums, _ = self._square_sums(dtheta)
            grid = (-(-dtheta.size // self.threads),)
            self.launch('clip_norm_', grid, (self.threads,), dtheta, sums, dtheta.size, sums.size, limit)

    def _square_sums(self, x):
        """Parts of the sum of squares, and of the largest |x|: of up to 128 blocks."""
        count = min(-(-x.size // self.threads), 128)
        sums, largest = self.empty(x, (count,), np.float64), self.empty(x, (count,), np.float32)
        self.launch('square_sums', (count,), (self.threads,), x, sums, largest, x.size, count)
        return sums, largest

    def scale_dropout(self, x, rng, *, a, b, rate):
        """See fusion; draws the bits itself."""
        y, mask = self.empty_like(x), self.empty_like(x)
        self.by_element('scale_dropout', x.size, x, y, mask, x.size, a, b, *self._dropout(rate, rng.next_key()))
        return y, mask

    def scale_dropout_backward(self, dy, mask, *, a):
        """See fusion."""
        dx = self.empty_like(dy)
        self.by_element('scale_dropout_backward', dy.size, dy, mask, dx, dy.size, a)
        return dx

    def maxout_dropout(self, x, rng, *, pieces, rate):
        """See fusion; draws the bits itself."""
        shape = len(x), x.shape[1] // pieces
        y, mask = (self.empty(x, shape, x.dtype) for _ in range(2))
        self.by_element('maxout_dropout', y.size, x, y, mask, *shape, pieces, *self._dropout(rate, rng.next_key()))
        return y, mask

    def maxout_dropout_backward(self, dy, x, mask, *, pieces):
        """See fusion."""
        dx = self.empty_like(x)
        self.by_element('maxout_dropout_backward', dy.size, dy, x, mask, dx, *dy.shape, pieces)
        return dx

    def sigmoid_scale(self, x, *, a, b):
        """See fusion."""
        y, p = self.empty_like(x), self.empty_like(x)
        self.by_element('sigmoid_scale', x.size, x, y, p, x.size, a, b)
        return y, p

    def sigmoid_scale_backward(self, dy, p, *, a):
        """See fusion."""
        dx = self.empty_like(dy)
        self.by_element('sigmoid_scale_backward', dy.size, dy, p, dx, dy.size, a)
        return dx

    def add_noise(self, x, rng, *, sigma):
        """See fusion; draws the noise itself."""
        y = self.empty_like(x)
        self.by_element('add_noise', -(-x.size // 2), x, y, x.size, sigma, self.now, *rng.next_key(), self.elapsed)
        return y

    def patches(self, x, *, shape, k, stride, pad):
        """See variants/convolution.py."""
        oh, ow = (places(n, k, stride=stride, pad=pad) for n in shape[:2])
        m = -(-x.size // prod(shape))  # a part of an image is refused
        y = self.empty(x, (m * oh * ow, k * k * shape[2]), x.dtype)
        self.by_element('patches', y.size, x, y, m, *shape, oh, ow, k, stride, pad)
        return y

    def unpatches(self, y, *, shape, k, stride, pad):
        """See variants/convolution.py."""
        (h, w, c), (oh, ow) = shape, (places(n, k, stride=stride, pad=pad) for n in shape[:2])
        m = -(-y.size // (oh * ow * k * k * c))
        x = self.empty(y, (m * h * w, c), y.dtype)
        self.by_element('unpatches', x.size, y, x, m, *shape, oh, ow, k, stride, pad)
        return x

    def advance_(self, elapsed, now, rows, settings, orders, *, m, per_epoch, first):
        """See graph."""
        length, width = settings.shape
        self.launch('advance_', (1,), (self.threads,), elapsed, now, rows, settings, orders, width, length,
                    len(rows) // m, m, orders.shape[1], per_epoch, first)

    def dense(self, x, W, b=None):
        """See ops."""
        if self.products == 'cublas':
            return ops.dense.__wrapped__(x, W, b)
        if self._splits(len(x), W.shape[1], len(W)) > 1:
            return self.sum_parts(self._parts(x, W), b)
        y = self.empty(x, (len(x), W.shape[1]), x.dtype)
        self._by_tile('dense', *y.shape, 1, x, W, b, y, len(x), *W.shape, 1)
        return y

    def dense_leaky_relu_dropout(self, x, W, b, rng, *, slope, rate):
        """See fusion; draws the bits itself."""
        if self.products == 'cublas' or self._splits(len(x), W.shape[1], len(W)) > 1:
            return self.bias_leaky_relu_dropout(self._parts(x, W), b, rng, slope=slope, rate=rate)
        y, s = (self.empty(x, (len(x), W.shape[1]), x.dtype) for _ in range(2))
        self._by_tile('dense_leaky_relu_dropout', *y.shape, 1, x, W, b, y, s, len(x), *W.shape, slope,
                      *self._dropout(rate, rng.next_key() if rate else [0] * 5))
        return y, s

    def dense_tanh(self, x, W, b):
        """See fusion."""
        if self.products == 'cublas' or self._splits(len(x), W.shape[1], len(W)) > 1:
            return self.bias_tanh(self._parts(x, W), b)
        y = self.empty(x, (len(x), W.shape[1]), x.dtype)
        self._by_tile('dense_tanh', *y.shape, 1, x, W, b, y, len(x), *W.shape)
        return y

    def dense_backward_input(self, dy, W):
        """See ops."""
        if self.products == 'cublas':
            return ops.dense_backward_input.__wrapped__(dy, W)
        (m, n_out), n_in = dy.shape, len(W)
        splits = self._splits(m, n_in, n_out)
        dx = self.empty(dy, (splits, m, n_in), dy.dtype)
        self._by_tile('dense_backward_input', m, n_in, splits, dy, W, dx, m, n_in, n_out, splits)
        return self.sum_parts(dx) if splits > 1 else dx[0]

    def dense_backward_params_(self, dy, x, dW, db=None):
        """See ops."""
        if self.products == 'cublas':
            return ops.dense_backward_params_.__wrapped__(dy, x, dW, db)
        shape, outputs = (len(x), *dW.shape), [dW, db]
        splits = self._splits(*dW.shape, len(x))
        if splits > 1:
            outputs = [out if out is None else self.empty(out, (splits, *out.shape), out.dtype) for out in outputs]
        self._by_tile('dense_backward_params_', *dW.shape, splits, dy, x, *outputs, *shape, splits)
        for parts, out in zip(outputs, (dW, db)):
            if parts is not out:
                self.by_element('sum_parts', out.size, parts, None, out, splits, 1, out.size)

    def sum_parts(self, parts, b=None):
        """See fusion."""
        y = self.empty(parts, parts.shape[1:], parts.dtype)
        self.by_element('sum_parts', y.size, parts, b, y, *parts.shape)
        return y

    def bias_leaky_relu_dropout(self, parts, b, rng, *, slope, rate):
        """See fusion; draws the bits itself."""
        y, s = (self.empty(parts, parts.shape[1:], parts.dtype) for _ in range(2))
        self.by_element('bias_leaky_relu_dropout', y.size, parts, b, y, s, *parts.shape, slope,
                        *self._dropout(rate, rng.next_key() if rate else [0] * 5))
        return y, s

    def leaky_relu_dropout_backward(self, dy, s, *, slope):
        """See fusion."""
        dh = self.empty_like(dy)
        self.by_element('leaky_relu_dropout_backward', dy.size, dy, s, dh, dy.size, slope)
        return dh

    def bias_tanh(self, parts, b):
        """See fusion."""
        y = self.empty(parts, parts.shape[1:], parts.dtype)
        self.by_element('bias_tanh', y.size, parts, b, y, *parts.shape)
        return y

    def _dropout(self, rate, key):
        """What dropout's kernels take: dropped, scale, the key of the bits, elapsed."""
        dropped = int(rate * 2**16)
        return dropped, 2**16 / (2**16 - dropped), *key, self.elapsed

    def _parts(self, x, W):
        """The parts (splits, m, n_out) of x W."""
        if self.products == 'cublas':
            return (x @ W)[None]
        m, n_in, n_out = len(x), *W.shape
        splits = self._splits(m, n_out, n_in)
        parts = self.empty(x, (splits, m, n_out), x.dtype)
        self._by_tile('dense', m, n_out, splits, x, W, None, parts, m, n_in, n_out, splits)
        return parts

    def _splits(self, rows, columns, depth):
        """How many parts the depth of a product is split into; it depends on the shape alone. No part is empty."""
        tiles = -(-depth // self.defined['TILE_DEPTH'])
        each = max(LEAST, tiles * prod(self._tiles(rows, columns)) // BLOCKS)
        return -(-tiles // each) if tiles - each >= WORTH else 1

    def _tiles(self, rows, columns):
        """How many tiles a product has down and across."""
        return -(-rows // self.defined['TILE_ROWS']), -(-columns // self.defined['TILE_COLUMNS'])

    def _by_tile(self, name, rows, columns, splits, *arguments):
        """Launch a block for every tile of each part of a product."""
        down, across = self._tiles(rows, columns)
        if down and across:
            self.launch(name, (down, across * splits), (self.defined['TILE_THREADS'],), *arguments)

    def batch_norm_moments(self, x, *, rows):
        """See fusion."""
        return self._by_chunk('batch_norm_moments', rows, x)

    def batch_norm_leaky_relu_(self, x, gamma, beta, moving_mean, moving_var, *, eps, momentum, slope):
        """See fusion."""
        y, xhat, rstd = self.empty_like(x), self.empty_like(x), self.empty_like(gamma)
        rows, chunks = self.chunks_of(len(x))
        parts = self.batch_norm_moments(x, rows=rows) if chunks > 1 else (None, None)
        self.by_column('batch_norm_leaky_relu_', x.shape[1], x, gamma, beta, *parts, moving_mean, moving_var, y, xhat,
                       rstd, *x.shape, rows, chunks, eps, 1 - momentum, slope, chunks=chunks)
        return y, (xhat, rstd)

    def batch_norm_leaky_relu_sums(self, dy, gamma, beta, xhat, *, slope, rows):
        """See fusion."""
        return self._by_chunk('batch_norm_leaky_relu_sums', rows, dy, gamma, beta, xhat, numbers=(slope,))

    def batch_norm_leaky_relu_backward_(self, dy, gamma, beta, cache, dgamma, dbeta, *, slope):
        """See fusion."""
        dx, (rows, chunks) = self.empty_like(dy), self.chunks_of(len(dy))
        parts = (None, None)
        if chunks > 1:
            parts = self.batch_norm_leaky_relu_sums(dy, gamma, beta, cache[0], slope=slope, rows=rows)
        self.by_column('batch_norm_leaky_relu_backward_', dy.shape[1], dy, gamma, beta, *cache, *parts, dx, dgamma,
                       dbeta, *dy.shape, rows, chunks, slope, chunks=chunks)
        return dx

    def _by_chunk(self, name, rows, x, *arrays, numbers=()):
        """Launch a kernel that computes two arrays (chunks, n) from x (m, n) and others."""
        (m, n), chunks = x.shape, -(-len(x) // rows)
        parts = [self.empty(x, (chunks, n), x.dtype) for _ in range(2)]
        self.by_column(name, n, x, *arrays, *parts, m, n, rows, chunks, *numbers, chunks=chunks)
        return tuple(parts)


backend.TWINS['cupy'] = compiled
