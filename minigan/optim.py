"""Optimisers: one step on a net's whole flat buffer.

A learning rate or a momentum is a number, or a schedule: a function of t = 0, 1, ..., the steps taken so far.
"""

import numpy as np

from minigan import ops
from minigan.backend import array_module

PIECE = 2**16  # parameters at a time on a CPU: from one pass to the next, what a step touches stays in a core's cache


class Optimizer:
    """What optimisers share: net.theta moved by net.dtheta, in place, with what is in buffers and hyper.

    clip_norm > 0: a longer gradient is cut to this norm first; None: not. t: the number of steps taken.
    Raises ValueError for settings out of range (for a schedule, at t = 0).
    """

    buffers = ()  # names of arrays (n,), all 0 at first: what a checkpoint keeps beside t

    def __init__(self, net, clip_norm, **hyper):
        _check(clip_norm is None or clip_norm > 0, 'clip_norm', '> 0', clip_norm)
        self.net, self.clip_norm, self.hyper, self.t = net, clip_norm, hyper, 0
        for name in self.buffers:
            setattr(self, name, array_module(net.theta).zeros(net.theta.size, net.dtype))
        self._scratch = _scratch(net)

    def step(self):
        """Move theta against dtheta."""
        if self.clip_norm is not None:
            ops.clip_norm_(self.net.dtheta, limit=self.clip_norm)
        hyper = {name: at(value, self.t) for name, value in self.hyper.items()}
        self.t += 1
        buffers = [getattr(self, name) for name in self.buffers]
        _by_pieces(self.update_, self.net.theta, self.net.dtheta, *buffers, self._scratch, **hyper)
        self.net.version += 1


class Adam(Optimizer):
    """Adam; see ops.adam_.

    learning_rate > 0, beta1 and beta2 in [0, 1), eps > 0. m, v: (n,) the sums behind the moments.
    """

    buffers = ('m', 'v')

    def __init__(self, net, *, learning_rate, beta1=0.9, beta2=0.999, eps=1e-8, clip_norm=None):
        _check(at(learning_rate, 0) > 0, 'learning_rate', '> 0', at(learning_rate, 0))
        _check(0 <= beta1 < 1, 'beta1', 'in [0, 1)', beta1)
        _check(0 <= beta2 < 1, 'beta2', 'in [0, 1)', beta2)
        _check(eps > 0, 'eps', '> 0', eps)
        super().__init__(net, clip_norm, learning_rate=learning_rate, beta1=beta1, beta2=beta2, eps=eps)

    def update_(self, *arrays, **hyper):
        """One step of a piece."""
        ops.adam_(*arrays, t=self.t, **hyper)


class SGDMomentum(Optimizer):
    """Gradient descent with momentum; see ops.sgd_momentum_.

    learning_rate > 0, momentum in [0, 1). velocity: (n,).
    """

    buffers = ('velocity',)

    def __init__(self, net, *, learning_rate, momentum=0.0, clip_norm=None):
        _check(at(learning_rate, 0) > 0, 'learning_rate', '> 0', at(learning_rate, 0))
        _check(0 <= at(momentum, 0) < 1, 'momentum', 'in [0, 1)', at(momentum, 0))
        super().__init__(net, clip_norm, learning_rate=learning_rate, momentum=momentum)

    def update_(self, *arrays, **hyper):
        """One step of a piece."""
        ops.sgd_momentum_(*arrays, **hyper)


class Average:
    """A moving average of a net's parameters and state, in another net of the same layers: what samples are drawn with.

        theta_bar_n = (1 - w) theta_bar_(n-1) + w theta,   w = (eta + 1) / (n + eta)

    for n = 1, 2, ..., one in EVERY steps. eta 0 weighs all steps alike; the larger it is, the more the late ones count:
    those of about the last 1 / (eta + 1) of the run, however long that is. It takes out what single minibatches have
    moved theta by, hither and thither. Shamir & Zhang 2013, section 4; for GANs Yazici et al. 2019.
    """

    EVERY = 8

    def __init__(self, net, averaged, *, eta):
        _check(eta >= 0, 'eta', '>= 0', eta)
        self.net, self.averaged, self.eta = net, averaged, eta
        averaged.theta[...], averaged.state[...] = net.theta, net.state

    def update(self, t):
        """After step t = 0, 1, ..."""
        if (t + 1) % self.EVERY == 0:
            momentum = 1 - (self.eta + 1) / ((t + 1) // self.EVERY + self.eta)
            ops.moving_average_(self.averaged.theta, self.net.theta, momentum=momentum)
            ops.moving_average_(self.averaged.state, self.net.state, momentum=momentum)


def at(value, t):
    """A number as it is, or a schedule at t."""
    return value(t) if callable(value) else value


def linear_decay(value, steps, *, warmup=0.0):
    """The schedule that falls from value to 0 in a straight line, over `steps` steps.

    warmup: the fraction of the steps in which it first rises from 0 to that line, nearly linearly: in Adam's first step
    every parameter moves by the whole rate, however small its gradient. Goyal et al. 2017, section 2.2.
    """
    return lambda t: value * max(0, 1 - t / max(1, steps)) * min(1, (t + 1) / max(1, warmup * steps))


def _scratch(net):
    """Room for one piece; a GPU takes theta whole, since each piece would cost it a launch."""
    xp = array_module(net.theta)
    return xp.empty(min(PIECE, net.theta.size) if xp is np else net.theta.size, net.dtype)


def _by_pieces(update_, *arrays, **hyper):
    """update_ on one piece of the arrays after the other; the last array is scratch, as long as a piece."""
    *arrays, scratch = arrays
    for start in range(0, arrays[0].size, max(1, scratch.size)):
        piece = [array[start:start + scratch.size] for array in arrays]
        update_(*piece, scratch[:piece[0].size], **hyper)


def _check(holds, name, expected, got):
    if not holds:
        raise ValueError(f'{name}: expected a number {expected}, got {got}')
