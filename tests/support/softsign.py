"""softsign, an example for `minigan kernelcheck`: the specification, the twins, and what the check needs to know."""

import numpy as np

from minigan.checks.derivatives import check
from minigan.gpu.launch import Launcher


def softsign(x):
    """y = x / (1 + |x|)"""
    return x / (1 + abs(x))


def softsign_backward(dy, x):
    """Derivative of softsign.   dx = dy / (1 + |x|)^2"""
    return dy / (1 + abs(x))**2


class Softsign(Launcher):
    """The twins: same names, same signatures; new arrays come from empty_like."""

    def softsign(self, x):
        y = self.empty_like(x)
        self.by_element('softsign', x.size, x, y, x.size)
        return y

    def softsign_backward(self, dy, x):
        dx = self.empty_like(x)
        self.by_element('softsign_backward', x.size, dy, x, dx, x.size)
        return dx


def arguments(m, n, seed):
    """case -> (arguments, keywords)"""
    dy, x = np.random.default_rng(seed).standard_normal((2, m, n), np.float32)
    return {'softsign': ((x,), {}), 'softsign, large': ((1e6 * x,), {}), 'softsign_backward': ((dy, x), {})}


def _gradient(seed):
    x = np.random.default_rng(seed).standard_normal((5, 3))
    return check(lambda: softsign(x), lambda dy: {'x': softsign_backward(dy, x)}, {'x': x}, seed=seed)


RESOURCES = {'softsign': (16, 0), 'softsign_backward': (16, 0)}       # registers, bytes of shared memory
TRAFFIC = {'softsign': (8, 17), 'softsign_backward': (12, 18)}        # bytes and FLOPs of an element
GRADIENTS = {'softsign': _gradient}
