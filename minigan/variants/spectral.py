"""Spectral normalisation: no layer of D stretches its input, so the slopes of D are bounded without a penalty.

Miyato et al. 2018, Spectral normalization for generative adversarial networks, section 2.1 and Algorithm 1.
Differences: the paper holds u and v fixed in the derivative, while here it goes through the power iteration, too; see
SpectralDense. The paper's networks are convolutional, and its D moves up to 5 times per step of G; the recipe keeps the
default's settings, and of the paper's objectives it takes the hinge loss.
"""

from dataclasses import replace
from math import prod

from minigan import ops
from minigan.backend import array_module
from minigan.layers import Dense, LeakyReLU
from minigan.networks import RECIPES as KNOWN

TINY = 1e-12  # for W = 0


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
        Wu = self._times_W_T(self.u)
        length = norm(Wu)
        v = Wu / length
        vW = ops.dense(v[None], self.W)[0]
        sigma = norm(vW)
        u = vW / sigma
        y = ops.dense(x, self.W) / sigma
        self.cache = x, y, sigma, ((v, u), ((self._times_W_T(u) - sigma * v) / length, self.u.copy()))
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

    def _times_W_T(self, u):
        """W u"""
        return ops.dense_backward_input(u[None], self.W)[0]

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
    """The Euclidean norm of x (n,), but not 0."""
    xp = array_module(x)
    return xp.maximum(xp.sqrt((x**2).sum()), TINY)


def spectral_D(shape):
    """The default discriminator with W / sigma in every layer and no dropout: it changes no faster than its input."""
    return [SpectralDense(prod(shape), 512), LeakyReLU(0.2), SpectralDense(512, 256), LeakyReLU(0.2),
            SpectralDense(256, 1)]


RECIPES = {'spectral': replace(KNOWN['default'], D=spectral_D, objective='hinge')}
