"""CUDA twins of operations in ops.py and of the random numbers in backend.py: same name, same signature, float32.

CuPy passes to a kernel whatever it is given: a Python float as a double, an array of another type or layout as if it
were right. So everything goes through Kernels.launch, which reads in kernels.cu what each kernel wants.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigan.backend import array_module

SOURCE = Path(__file__).with_suffix('.cu')
BLOCK = 256          # threads of a block that goes element by element
TILE = (32, 8)       # COLUMNS and LANES in kernels.cu
TYPES = {'float': np.float32, 'int': np.int32, 'long long': np.int64, 'u64': np.uint64, 'u16': np.uint16,
         'u8': np.uint8}


@dataclass(frozen=True)
class Parameter:
    """What a kernel takes at one place: an array or a number."""

    name: str
    dtype: type
    is_array: bool


def parameters(source):
    """name -> the Parameters of every kernel in the source."""
    kernels = {}
    for name, text in re.findall(r'extern "C" __global__ void (\w+)\((.*?)\)', source, re.DOTALL):
        found = [re.fullmatch(r'(?:const )?([\w ]+?)(\*?)(?: __restrict__)? (\w+)', ' '.join(one.split()))
                 for one in text.split(',')]
        kernels[name] = [Parameter(one[3], TYPES[one[1]], bool(one[2])) for one in found]
    return kernels


class Kernels:
    """The twins, compiled. module: the compiled source, as cupy.RawModule gives it."""

    def __init__(self, module, source):
        self.module, self.parameters = module, parameters(source)

    def launch(self, name, grid, block, *arguments):
        """Run a kernel. Numbers are cast to what it takes.

        Raises TypeError for another number of arguments, and for an array of another dtype or with gaps.
        """
        wanted = self.parameters[name]
        if len(arguments) != len(wanted):
            raise TypeError(f'{name}: expected {len(wanted)} arguments, got {len(arguments)}')
        for parameter, argument in zip(wanted, arguments):
            if parameter.is_array and not (argument.dtype == parameter.dtype and argument.flags.c_contiguous):
                raise TypeError(f'{name}: expected {parameter.name} as a contiguous array of '
                                f'{np.dtype(parameter.dtype)}, got {argument.dtype} of strides {argument.strides}')
        cast = [argument if parameter.is_array else parameter.dtype(argument)
                for parameter, argument in zip(wanted, arguments)]
        self.module.get_function(name)(grid, block, tuple(cast))

    def by_element(self, name, count, *arguments):
        """Launch a thread for each of `count` elements."""
        if count:
            self.launch(name, (-(-count // BLOCK),), (BLOCK,), *arguments)

    def by_column(self, name, n, *arguments):
        """Launch a tile for each 32 of n columns."""
        if n:
            self.launch(name, (-(-n // TILE[0]),), TILE, *arguments)

    def bits(self, out, *place):
        """Fill out with Draws.bits; place: draw, substep, step, seed, stream."""
        self.by_element('bits', -(-out.size // 16), out, out.size, *place)

    def uniform(self, out, *place):
        """Fill out with Draws.uniform."""
        self.by_element('uniform', -(-out.size // 8), out, out.size, *place)

    def normal(self, out, *place):
        """Fill out with Draws.normal."""
        self.by_element('normal', -(-out.size // 2), out, out.size, *place)

    def gather_images(self, images, rows, dtype):
        """See ops."""
        x = array_module(images).empty((len(rows), images.shape[1]), dtype)
        self.by_element('gather_images', x.size, images, rows, x, *x.shape)
        return x

    def leaky_relu(self, x, *, slope):
        """See ops."""
        y = array_module(x).empty_like(x)
        self.by_element('leaky_relu', x.size, x, y, x.size, slope)
        return y

    def leaky_relu_backward(self, dy, x, *, slope):
        """See ops."""
        dx = array_module(x).empty_like(x)
        self.by_element('leaky_relu_backward', x.size, dy, x, dx, x.size, slope)
        return dx

    def dropout(self, x, bits, *, rate):
        """See ops."""
        y, mask = array_module(x).empty_like(x), array_module(x).empty_like(x)
        dropped = int(rate * 2**16)
        self.by_element('dropout', x.size, x, bits, y, mask, x.size, dropped, 2**16 / (2**16 - dropped))
        return y, mask

    def tanh_backward(self, dy, y):
        """See ops."""
        dx = array_module(y).empty_like(y)
        self.by_element('tanh_backward', y.size, dy, y, dx, y.size)
        return dx

    def adam_(self, theta, dtheta, m, v, scratch, *, t, learning_rate, beta1, beta2, eps):
        """See ops; needs no scratch."""
        n1, n2 = (1 - beta1**t) / (1 - beta1), (1 - beta2**t) / (1 - beta2)
        self.by_element('adam_', theta.size, theta, dtheta, m, v, theta.size, beta1, beta2,
                        learning_rate * n2**0.5 / n1, eps * n2**0.5)

    def batch_norm(self, x, gamma, beta, *, eps):
        """See ops."""
        xp = array_module(x)
        y, xhat, (rstd, mu, var) = xp.empty_like(x), xp.empty_like(x), (xp.empty_like(gamma) for _ in range(3))
        self.by_column('batch_norm', x.shape[1], x, gamma, beta, y, xhat, rstd, mu, var, *x.shape, eps)
        return y, (xhat, rstd), (mu, var)

    def batch_norm_backward(self, dy, gamma, cache):
        """See ops."""
        xp = array_module(dy)
        dx, dgamma, dbeta = xp.empty_like(dy), xp.empty_like(gamma), xp.empty_like(gamma)
        self.by_column('batch_norm_backward', dy.shape[1], dy, gamma, *cache, dx, dgamma, dbeta, *dy.shape)
        return dx, dgamma, dbeta
