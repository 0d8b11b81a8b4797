"""Two layers that keep the size of signals in hand: PixelNorm and EqualisedDense.

Karras et al. 2018, Progressive growing of GANs, sections 4.2 (PixelNorm) and 4.1 (EqualisedDense). Differences: a row
stands for a pixel and its columns for the feature maps. The authors' code has c = sqrt(1 / n_in) in the layers that
give D's output and the pixels; here c is the same everywhere.
"""

from minigan import ops
from minigan.backend import array_module
from minigan.layers import Dense, Layer


class PixelNorm(Layer):
    """Scale each row to a root mean square of 1, so that no player can win by larger and larger signals.

        y = r x,   r = 1 / sqrt(mean(x^2) + eps),   dx = r (dy - y mean(dy y)),   means over a row
    """

    def __init__(self, *, eps=1e-8):
        self.eps = eps

    def forward(self, x, *, training, rng):
        r = 1 / array_module(x).sqrt(mean(x**2) + self.eps)
        y = r * x
        self.cache = y, r
        return y

    def backward(self, dy, *, param_grads, input_grad):
        return self.tangent(dy) if input_grad else None  # J is symmetric

    def tangent(self, v):
        """J v = r (v - y mean(v y))"""
        y, r = self.cache
        return r * (v - y * mean(v * y))

    def tangent_backward(self, dt, v):
        """(dx, dv) for <dt, J v>, a product of r, y and mean(v y), each of which depends on x; dr = -r^2 mean(y dx)."""
        y, r = self.cache
        a, b, c = mean(dt * v), mean(dt * y), mean(v * y)
        return -r**2 * (y * (a - 3 * b * c) + dt * c + v * b), self.tangent(dt)


def mean(x):
    """The mean of each row, (m, 1)."""
    return x.mean(axis=1, keepdims=True)


class EqualisedDense(Dense):
    """Dense with c W in place of W, for an equalised learning rate.

        y = c x W + b,   c = sqrt(2 / n_in),   dW = c x^T dy,   dx = c dy W^T

    W is drawn from N(0, 1), so c W starts as He et al. 2015 have it; b starts at 0. Adam moves every entry by about its
    learning rate, whatever the gradient's size. As all entries have the same size here, all layers learn equally fast.
    """

    def __init__(self, n_in, n_out, *, bias=True):
        super().__init__(n_in, n_out, bias=bias)
        self.c = (2 / n_in) ** 0.5

    def init(self, rng):
        super().init(rng)
        self.W[...] = rng.normal(self.W.shape, self.W.dtype)

    def forward(self, x, *, training, rng):
        return super().forward(self.c * x, training=training, rng=rng)

    def backward(self, dy, *, param_grads, input_grad):
        dx = super().backward(dy, param_grads=param_grads, input_grad=input_grad)
        return self.c * dx if input_grad else None

    def tangent(self, v):
        """J v = c v W"""
        return ops.dense(self.c * v, self.W)

    def tangent_backward(self, dt, v):
        """(dx, dv) for <dt, J v>: J does not depend on x, nor on b."""
        ops.dense_backward_params_(dt, self.c * v, self.dW)
        if self.b is not None:
            self.db[...] = 0
        return 0 * v, self.c * ops.dense_backward_input(dt, self.W)

    def __repr__(self):
        return f'Equalised{super().__repr__()}'
