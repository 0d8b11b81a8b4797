"""Three layers that keep the size of signals in hand: PixelNorm, EqualisedDense and SpectralDense.

Karras et al. 2018, Progressive growing of GANs, sections 4.1 (EqualisedDense) and 4.2 (PixelNorm). Differences: a row
stands for a pixel and its columns for the feature maps. The authors' code has c = sqrt(1 / n_in) in front of D's logit
and of the pixels; here c is the same everywhere.

Miyato et al. 2018, Spectral normalization for GANs, section 2.1 and Algorithm 1. Differences: the paper holds u and v
fixed in the derivative, while here it goes through the power iteration, too; see SpectralDense. The paper's networks
are convolutional, slope 0.1, and its D moves up to 5 times per step of G.
"""

from dataclasses import replace
from math import prod

from minigan import ops
from minigan.backend import array_module
from minigan.layers import Dense, Layer, LeakyReLU
from minigan.networks import RECIPES as KNOWN


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
        """(dx, dv) for <dt, J v>, a product of r, y and mean(v y), each of which depends on x.   dr = -r^2 mean(y dx)"""
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


class SpectralDense(Dense):
    """Dense with W / sigma in place of W, where sigma estimates W's largest singular value: it stretches no x.

        v = W u / |W u|,   sigma = |v W|,   next u = v W / sigma        one power iteration, from the u of the last one
        y = x W / sigma + b

        dW = (x^T dy - lambda dsigma) / sigma,   lambda = sum of dy * (x W / sigma)
        dsigma = v (next u)^T + (W next u - sigma v) u^T / |W u|        the derivative of sigma with respect to W

    The first term of dsigma is the paper's, which holds v and the next u fixed. The second comes from their own
    dependence on W. It is 0 once the iteration has converged (W u = sigma v); with it, dW is the derivative of what
    forward computes at any u. Held fixed is u, the state. Every forward in training keeps the next u, also in a step of
    G, where W does not move; evaluation leaves u alone.
    """

    def __init__(self, n_in, n_out, *, bias=True):
        super().__init__(n_in, n_out, bias=bias)
        self.state_shapes = {'u': (n_out,)}

    def init(self, rng):
        super().init(rng)
        self.u[...] = rng.normal(self.u.shape, self.u.dtype)

    def forward(self, x, *, training, rng):
        self.check_width(x, self.n_in)
        Wu = self.W @ self.u
        length = norm(Wu)
        v = Wu / length
        vW = v @ self.W
        sigma = norm(vW)
        u = vW / sigma
        y = ops.dense(x, self.W) / sigma
        self.cache = x, y, sigma, ((v, u), ((self.W @ u - sigma * v) / length, self.u.copy()))
        if training:
            self.u[...] = u
        return y if self.b is None else y + self.b

    def backward(self, dy, *, param_grads, input_grad):
        x, y, sigma, _ = self.cache
        if param_grads:
            self._assign(dy, x, y)
            if self.b is not None:
                dy.sum(axis=0, out=self.db)
        return ops.dense_backward_input(dy, self.W) / sigma if input_grad else None

    def _assign(self, dy, x, y):
        """dW for <dy, y>, y = x W / sigma."""
        _, _, sigma, dsigma = self.cache
        ops.dense_backward_params_(dy, x, self.dW)
        for a, b in dsigma:
            self.dW -= (dy * y).sum() * a[:, None] * b
        self.dW /= sigma

    def tangent(self, v):
        """J v = v W / sigma"""
        return ops.dense(v, self.W) / self.cache[2]

    def tangent_backward(self, dt, v):
        """(dx, dv) for <dt, J v>: J does not depend on x, nor on b."""
        self._assign(dt, v, self.tangent(v))
        if self.b is not None:
            self.db[...] = 0
        return 0 * v, ops.dense_backward_input(dt, self.W) / self.cache[2]

    def __repr__(self):
        return f'Spectral{super().__repr__()}'


def norm(x):
    """The Euclidean norm of x (n,)."""
    return array_module(x).sqrt(x @ x)


def spectral_D(shape):
    """The default discriminator with W / sigma in every layer and no dropout: it changes no faster than its input."""
    return [SpectralDense(prod(shape), 512), LeakyReLU(0.2), SpectralDense(512, 256), LeakyReLU(0.2),
            SpectralDense(256, 1)]


RECIPES = {'spectral': replace(KNOWN['default'], D=spectral_D, objective='hinge')}
