"""Optimisers: one step on a net's whole flat buffer.

A learning rate or a momentum is a number, or a schedule: a function of t = 0, 1, ..., the steps taken so far.
"""

from collections.abc import Callable

from minigan import ops
from minigan.backend import array_module, has_kernels, number, on_gpu
from minigan.net import Net

CHUNK = 2**16  # parameters at a time in NumPy, so that all passes of a step find them in a core's cache
Schedule = float | Callable[[int], float]


class Optimizer:
    """What all optimisers share: a step moves net.theta against net.dtheta, in place.

    clip_norm: a gradient with a larger norm is first scaled down to it; None: no limit. t: the number of steps taken.
    Raises ValueError for settings out of range (for a schedule, at t = 0).
    """

    buffers = ()  # names of arrays (n,) that start at 0; a checkpoint keeps them and t

    def __init__(self, net: Net, clip_norm: float | None, **hyper: Schedule):
        learning_rate = value_at(hyper['learning_rate'], 0)
        _check(learning_rate > 0, 'learning_rate', '> 0', learning_rate)
        _check(clip_norm is None or clip_norm > 0, 'clip_norm', '> 0', clip_norm)
        self.net, self.clip_norm, self.hyper, self.t = net, number(clip_norm), hyper, 0
        xp, size = array_module(net.theta), net.theta.size
        for name in self.buffers:
            setattr(self, name, xp.zeros(size, net.dtype))
        in_chunks = not (on_gpu(net.theta) or has_kernels(net.theta))
        self._scratch = xp.empty(min(CHUNK, size) if in_chunks else size, net.dtype)

    def step(self):
        """Move theta against dtheta."""
        if self.clip_norm is not None:
            ops.clip_norm_(self.net.dtheta, limit=self.clip_norm)
        hyper = self.settings(self.t)
        self.t += 1
        arrays = [self.net.theta, self.net.dtheta, *(getattr(self, name) for name in self.buffers)]
        chunk = max(1, self._scratch.size)
        for start in range(0, self.net.theta.size, chunk):
            piece = [array[start:start + chunk] for array in arrays]
            self.update_(*piece, self._scratch[:piece[0].size], **hyper)
        self.net.version += 1

    def settings(self, t):
        """The hyper-parameters as numbers; a schedule gives its number after t steps."""
        return {name: value_at(value, t) for name, value in self.hyper.items()}

    def __repr__(self):
        settings = {**self.settings(self.t), 'clip_norm': self.clip_norm, 't': self.t}
        return f'{type(self).__name__}({self.net.name}, {", ".join(f"{name}={x}" for name, x in settings.items())})'


class Adam(Optimizer):
    """Adam, which divides the mean gradient by its root mean square; see ops.adam_.

        theta = theta - learning_rate * mhat / (sqrt(vhat) + eps)

    learning_rate > 0, beta1 and beta2 in [0, 1), eps > 0. m, v: (n,) the sums behind mhat and vhat; no m if beta1 is 0.
    """

    def __init__(self, net: Net, *, learning_rate: Schedule, beta1: float = 0.9, beta2: float = 0.999,
                 eps: float = 1e-8, clip_norm: float | None = None):
        _check(0 <= beta1 < 1, 'beta1', 'in [0, 1)', beta1)
        _check(0 <= beta2 < 1, 'beta2', 'in [0, 1)', beta2)
        _check(eps > 0, 'eps', '> 0', eps)
        self.buffers = ('m', 'v') if beta1 else ('v',)
        super().__init__(net, clip_norm, learning_rate=learning_rate, beta1=beta1, beta2=beta2, eps=eps)

    def update_(self, theta, dtheta, *moments, **hyper):
        """One step for a piece of theta; the paper counts steps from 1."""
        ops.adam_(theta, dtheta, *(moments if hyper['beta1'] else (None, *moments)), t=self.t, **hyper)


class SGDMomentum(Optimizer):
    """Gradient descent with momentum; see ops.sgd_momentum_.

        velocity = momentum * velocity - learning_rate * dtheta,   theta = theta + velocity

    learning_rate > 0, momentum in [0, 1). velocity: (n,).
    """

    buffers = ('velocity',)

    def __init__(self, net: Net, *, learning_rate: Schedule, momentum: Schedule = 0.0, clip_norm: float | None = None):
        _check(0 <= value_at(momentum, 0) < 1, 'momentum', 'in [0, 1)', value_at(momentum, 0))
        super().__init__(net, clip_norm, learning_rate=learning_rate, momentum=momentum)

    def update_(self, *arrays, **hyper):
        """One step for a piece of theta."""
        ops.sgd_momentum_(*arrays, **hyper)


def value_at(value, t):
    """A number as it is, or a schedule at t."""
    return number(value(t) if callable(value) else value)


def linear_decay(value, steps, *, warmup=0.0):
    """The schedule that falls from value to 0 in a straight line, over `steps` steps.

    warmup: the fraction of the steps in which it first rises from 0 to that line, nearly linearly. Without it, Adam's
    first step moves every parameter by the whole rate, however small its gradient. Goyal et al. 2017, section 2.2.
    """
    return lambda t: value * max(0, 1 - t / max(1, steps)) * min(1, (t + 1) / max(1, warmup * steps))


def _check(holds, name, expected, got):
    if not holds:
        raise ValueError(f'{name}: expected a number {expected}, got {got}')
