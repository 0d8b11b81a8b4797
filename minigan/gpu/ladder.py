"""The product of ladder.cu, step by step, as `minigan kernelcheck minigan/gpu/ladder.py` takes it."""

import numpy as np

from minigan.checks.derivatives import check
from minigan.gpu import roofline
from minigan.gpu.launch import Launcher


def one_number(x, W):
    """y = x W, a thread for each number of y.   x: (m, n_in), W: (n_in, n_out)"""
    return x @ W


def shared_tile(x, W):
    """y = x W, through tiles in shared memory."""
    return x @ W


def register_block(x, W):
    """y = x W, through tiles in shared memory and 4 x 4 sums in a thread's registers."""
    return x @ W


class Ladder(Launcher):
    """The twins."""

    def one_number(self, x, W):
        """See above."""
        y = self.empty(x, (len(x), W.shape[1]), x.dtype)
        self.by_element('one_number', y.size, x, W, y, len(x), *W.shape)
        return y

    def shared_tile(self, x, W):
        """See above."""
        side = self.defined['SIDE']
        return self._by_tile('shared_tile', x, W, (side, side), (side, side))

    def register_block(self, x, W):
        """See above."""
        rows, width, across, down = (self.defined[name] for name in ('ROWS', 'WIDTH', 'ACROSS', 'DOWN'))
        return self._by_tile('register_block', x, W, (rows, width), (across, down))

    def _by_tile(self, name, x, W, tile, block):
        y = self.empty(x, (len(x), W.shape[1]), x.dtype)
        self.launch(name, tuple(-(-n // side) for n, side in zip(y.shape, tile)), block, x, W, y, len(x), *W.shape)
        return y


STEPS = one_number, shared_tile, register_block


def arguments(m, n, seed):
    """name -> (arguments, keywords)"""
    rng = np.random.default_rng(seed)
    x, W = (rng.standard_normal(shape, np.float32) for shape in ((m, n), (n, min(1 + n // 2, 70))))
    return {step.__name__: ((x, W), {}) for step in STEPS}


def _gradient(step):
    """The gradient check of a step: dx = dy W^T, dW = x^T dy."""
    def case(seed):
        rng = np.random.default_rng(seed)
        x, W = rng.standard_normal((3, 4)), rng.standard_normal((4, 5))
        return check(lambda: step(x, W), lambda dy: {'x': dy @ W.T, 'W': x.T @ dy}, {'x': x, 'W': W}, seed=seed)

    return case


RESOURCES = {'one_number': (56, 0), 'shared_tile': (48, 2048), 'register_block': (64, 6400)}
TRAFFIC = {step.__name__: roofline.product for step in STEPS}  # what is needed, counted once
GRADIENTS = {step.__name__: _gradient(step) for step in STEPS}
TOLERANCE = {step.__name__: 1e-5 for step in STEPS}  # as allowed for a dense layer: a sum of n numbers
