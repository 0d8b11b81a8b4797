"""Optimisers: one step on a net's whole flat buffer.

A learning rate or a momentum is a number, or a schedule: a function of t = 0, 1, ..., the steps taken so far.
"""

import numpy as np

from minigan import ops
from minigan.backend import array_module

PIECE = 2**16  # parameters at a time on a CPU: from one pass to the next, what a step touches stays in a core's cache


class Adam:
    """Adam on net.theta; see ops.adam_.

    learning_rate > 0, beta1 and beta2 in [0, 1), eps > 0. Raises ValueError otherwise (for a schedule, at t = 0).
    m, v: (n,) the sums behind the moments; t: the number of steps taken.
    """

    buffers = ('m', 'v')  # what a checkpoint keeps beside t

    def __init__(self, net, *, learning_rate, beta1=0.9, beta2=0.999, eps=1e-8):
        _check(at(learning_rate, 0) > 0, 'learning_rate', '> 0', at(learning_rate, 0))
        _check(0 <= beta1 < 1, 'beta1', 'in [0, 1)', beta1)
        _check(0 <= beta2 < 1, 'beta2', 'in [0, 1)', beta2)
        _check(eps > 0, 'eps', '> 0', eps)
        self.net, self.t = net, 0
        self.hyper = {'learning_rate': learning_rate, 'beta1': beta1, 'beta2': beta2, 'eps': eps}
        self.m, self.v = array_module(net.theta).zeros((2, net.theta.size), net.dtype)
        self._scratch = _scratch(net)

    def step(self):
        """Move theta against dtheta."""
        hyper = {**self.hyper, 'learning_rate': at(self.hyper['learning_rate'], self.t)}
        self.t += 1
        _by_pieces(ops.adam_, self.net.theta, self.net.dtheta, self.m, self.v, self._scratch, t=self.t, **hyper)
        self.net.version += 1


class SGDMomentum:
    """Gradient descent with momentum on net.theta; see ops.sgd_momentum_.

    learning_rate > 0, momentum in [0, 1). Raises ValueError otherwise (for a schedule, at t = 0).
    velocity: (n,); t: the number of steps taken.
    """

    buffers = ('velocity',)

    def __init__(self, net, *, learning_rate, momentum=0.0):
        _check(at(learning_rate, 0) > 0, 'learning_rate', '> 0', at(learning_rate, 0))
        _check(0 <= at(momentum, 0) < 1, 'momentum', 'in [0, 1)', at(momentum, 0))
        self.net, self.t = net, 0
        self.hyper = {'learning_rate': learning_rate, 'momentum': momentum}
        self.velocity, self._scratch = array_module(net.theta).zeros(net.theta.size, net.dtype), _scratch(net)

    def step(self):
        """Move theta along the velocity, after the velocity has turned against dtheta."""
        hyper = {name: at(value, self.t) for name, value in self.hyper.items()}
        self.t += 1
        _by_pieces(ops.sgd_momentum_, self.net.theta, self.net.dtheta, self.velocity, self._scratch, **hyper)
        self.net.version += 1


def at(value, t):
    """A number as it is, or a schedule at t."""
    return value(t) if callable(value) else value


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
