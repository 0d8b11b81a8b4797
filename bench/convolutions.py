"""The convolutions that bench_ops.py and bench_gpu.py time, by minigan: a product behind patches or before unpatches.

A row of x is a pixel, as between the layers of dcgan.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from minigan import ops
from minigan.backend import array_module
from minigan.variants.convolution import patches, places, unpatches


@dataclass(frozen=True)
class Convolution:
    """Of images of the shape (h, w, c) to n channels; if transposed, the derivative of that, as it takes images back.

    Then n is the channels that it reads, and (h, w, c) the shape that it returns.
    """

    shape: tuple
    n: int
    k: int
    stride: int
    pad: int
    transposed: bool = False

    @property
    def window(self):
        """The settings of patches."""
        return {'shape': self.shape, 'k': self.k, 'stride': self.stride, 'pad': self.pad}

    @property
    def small(self):
        """The shape on the side of the patches."""
        return *(places(n, self.k, stride=self.stride, pad=self.pad) for n in self.shape[:2]), self.n

    @property
    def ends(self):
        """The shapes of the images that it reads and that it returns."""
        return (self.small, self.shape) if self.transposed else (self.shape, self.small)

    def __str__(self):
        sizes = ' -> '.join('x'.join(map(str, shape)) for shape in self.ends)
        return f'{"transposed" if self.transposed else "convolution"} {sizes} k{self.k}'

    def flops(self, m):
        """Floating-point operations of a product for m images. Forward has one product, backward two."""
        return 2 * m * prod(self.small) * self.k**2 * self.shape[2]

    def traffic(self, m):
        """Bytes of m images and of their patches."""
        return 4 * m * (prod(self.shape) + prod(self.small[:2]) * self.k**2 * self.shape[2])

    def arrays(self, m, dtype=np.float32, xp=np):
        """x, dy, W and, unless it is transposed, b."""
        rng, (before, after) = np.random.default_rng(0), self.ends
        taps = self.k**2 * self.shape[2]
        shapes = [(m * prod(before[:2]), before[2]), (m * prod(after[:2]), after[2])]
        shapes += [(self.n, taps)] if self.transposed else [(taps, self.n), self.n]
        return [xp.asarray(rng.standard_normal(shape, np.float32).astype(dtype)) for shape in shapes]

    def operations(self, x, dy, W, b=None):
        """(forward, backward) without arguments: y, and (dx, dW) or (dx, dW, db)."""
        dW, window = array_module(W).empty_like(W), self.window
        if self.transposed:
            def backward():
                rows = patches(dy, **window)
                ops.dense_backward_params_(rows, x, dW)
                return ops.dense_backward_input(rows, W), dW
            return lambda: unpatches(ops.dense(x, W), **window), backward
        db, read = array_module(b).empty_like(b), patches(x, **window)  # which forward leaves for backward

        def backward():
            ops.dense_backward_params_(dy, read, dW, db)
            return unpatches(ops.dense_backward_input(dy, W), **window), dW, db
        return lambda: ops.dense(patches(x, **window), W, b), backward


DOWN = {'k': 4, 'stride': 2, 'pad': 1}
LAYERS = (Convolution((28, 28, 1), 32, **DOWN), Convolution((14, 14, 32), 64, **DOWN),
          Convolution((14, 14, 32), 32, k=3, stride=1, pad=1),
          Convolution((14, 14, 32), 64, **DOWN, transposed=True), Convolution((28, 28, 1), 32, **DOWN, transposed=True))
