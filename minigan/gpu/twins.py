"""CUDA twins of operations in ops.py and fusion.py and of the random numbers in streams.py.

A twin has the name and the signature of its specification, and takes float32.
"""

from functools import cache
from pathlib import Path

import numpy as np

from minigan import backend
from minigan.gpu.launch import Launcher

SOURCE = Path(__file__).with_name('kernels.cu')


@cache
def compiled(xp):
    """The twins, compiled for the GPU by xp, which is cupy; None for numpy, which has none."""
    if xp is np:
        return None
    return Kernels(xp.RawModule(code=code(), options=('--std=c++17',)), code())


def code():
    """The whole source."""
    return SOURCE.read_text()


def adam_settings(*, t, learning_rate, beta1, beta2, eps):
    """What the kernel adam_ needs of ops.adam_'s settings: (rate, eps), see there."""
    n1, n2 = (1 - beta1**t) / (1 - beta1), (1 - beta2**t) / (1 - beta2)
    return learning_rate * n2**0.5 / n1, eps * n2**0.5


class Kernels(Launcher):
    """The twins of kernels.cu.

    elapsed, now: what kernels read from the GPU while a CUDA graph is captured, arrays; None in plain launches.
    """

    elapsed = now = None

    products = 'cublas'  # who multiplies matrices

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

    def sgd_momentum_(self, theta, dtheta, velocity, scratch, *, learning_rate, momentum):
        """See ops; needs no scratch."""
        self.by_element('sgd_momentum_', theta.size, theta, dtheta, velocity, theta.size, learning_rate, momentum,
                        self.now)

    def clip_norm_(self, dtheta, *, limit):
        """See ops."""
        blocks = -(-dtheta.size // self.threads)
        if blocks:
            parts = self.empty(dtheta, (min(blocks, 128),), np.float64)
            self.launch('square_sums', parts.shape, (self.threads,), dtheta, parts, dtheta.size, parts.size)
            self.launch('clip_norm_', (blocks,), (self.threads,), dtheta, parts, dtheta.size, parts.size, limit)

    def scale_dropout(self, x, rng, *, a, b, rate):
        """See fusion; draws the bits itself."""
        y, s, dropped = self.empty_like(x), self.empty_like(x), int(rate * 2**16)
        self.by_element('scale_dropout', x.size, x, y, s, x.size, a, b, dropped, 2**16 / (2**16 - dropped),
                        *rng.next_key(), self.elapsed)
        return y, s

    def maxout_dropout(self, x, rng, *, pieces, rate):
        """See fusion; draws the bits itself."""
        shape, dropped = (len(x), x.shape[1] // pieces), int(rate * 2**16)
        y, mask = (self.empty(x, shape, x.dtype) for _ in range(2))
        self.by_element('maxout_dropout', y.size, x, y, mask, *shape, pieces, dropped, 2**16 / (2**16 - dropped),
                        *rng.next_key(), self.elapsed)
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

    def advance_(self, elapsed, now, rows, settings, orders, *, m, per_epoch, first):
        """See graph."""
        length, width = settings.shape
        self.launch('advance_', (1,), (self.threads,), elapsed, now, rows, settings, orders, width, length,
                    len(rows) // m, m, orders.shape[1], per_epoch, first)

    def bias_leaky_relu_dropout(self, x, b, rng, *, slope, rate):
        """See fusion; draws the bits itself."""
        y, s, dropped = self.empty_like(x), self.empty_like(x), int(rate * 2**16)
        key = rng.next_key() if rate else [0] * 5
        self.by_element('bias_leaky_relu_dropout', x.size, x, b, y, s, *x.shape, slope, dropped,
                        2**16 / (2**16 - dropped), *key)
        return y, s

    def bias_leaky_relu_dropout_backward_(self, dy, s, db):
        """See fusion."""
        dx = self.empty_like(dy)
        self.by_column('bias_leaky_relu_dropout_backward_', dy.shape[1], dy, s, dx, db, *dy.shape)
        return dx

    def bias_tanh(self, x, b):
        """See fusion."""
        y = self.empty_like(x)
        self.by_element('bias_tanh', x.size, x, b, y, *x.shape)
        return y

    def bias_tanh_backward_(self, dy, y, db):
        """See fusion."""
        dx = self.empty_like(dy)
        self.by_column('bias_tanh_backward_', dy.shape[1], dy, y, dx, db, *dy.shape)
        return dx

    def batch_norm_leaky_relu_(self, x, gamma, beta, moving_mean, moving_var, *, eps, momentum, slope):
        """See fusion."""
        y, xhat, rstd = self.empty_like(x), self.empty_like(x), self.empty_like(gamma)
        self.by_column('batch_norm_leaky_relu_', x.shape[1], x, gamma, beta, moving_mean, moving_var, y, xhat, rstd,
                       *x.shape, eps, momentum, slope)
        return y, (xhat, rstd)

    def batch_norm_leaky_relu_backward_(self, dy, gamma, beta, cache, dgamma, dbeta, *, slope):
        """See fusion."""
        dx = self.empty_like(dy)
        self.by_column('batch_norm_leaky_relu_backward_', dy.shape[1], dy, gamma, beta, *cache, dx, dgamma, dbeta,
                       *dy.shape, slope)
        return dx


backend.TWINS['cupy'] = compiled
