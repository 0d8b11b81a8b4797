"""Optimisers: one step on a net's whole flat buffer at once."""

from minigan import ops
from minigan.backend import array_module


class Adam:
    """Adam on net.theta; see ops.adam_.

    learning_rate > 0, beta1 and beta2 in [0, 1), eps > 0. Raises ValueError otherwise.
    m, v: (n,) the moments; t: the number of steps taken.
    """

    def __init__(self, net, *, learning_rate, beta1=0.9, beta2=0.999, eps=1e-8):
        _check(learning_rate > 0, 'learning_rate', '> 0', learning_rate)
        _check(0 <= beta1 < 1, 'beta1', 'in [0, 1)', beta1)
        _check(0 <= beta2 < 1, 'beta2', 'in [0, 1)', beta2)
        _check(eps > 0, 'eps', '> 0', eps)
        self.net, self.t = net, 0
        self.hyper = {'learning_rate': learning_rate, 'beta1': beta1, 'beta2': beta2, 'eps': eps}
        self.m, self.v, self._scratch = array_module(net.theta).zeros((3, net.theta.size), net.dtype)

    def step(self):
        """Move theta against dtheta."""
        self.t += 1
        ops.adam_(self.net.theta, self.net.dtheta, self.m, self.v, self._scratch, t=self.t, **self.hyper)
        self.net.version += 1


class SGDMomentum:
    """Gradient descent with momentum on net.theta; see ops.sgd_momentum_.

    learning_rate > 0, momentum in [0, 1). Raises ValueError otherwise. velocity: (n,).
    """

    def __init__(self, net, *, learning_rate, momentum=0.0):
        _check(learning_rate > 0, 'learning_rate', '> 0', learning_rate)
        _check(0 <= momentum < 1, 'momentum', 'in [0, 1)', momentum)
        self.net = net
        self.hyper = {'learning_rate': learning_rate, 'momentum': momentum}
        self.velocity, self._scratch = array_module(net.theta).zeros((2, net.theta.size), net.dtype)

    def step(self):
        """Move theta along the velocity, after the velocity has turned against dtheta."""
        ops.sgd_momentum_(self.net.theta, self.net.dtheta, self.velocity, self._scratch, **self.hyper)
        self.net.version += 1


def _check(holds, name, expected, got):
    if not holds:
        raise ValueError(f'{name}: expected a number {expected}, got {got}')
