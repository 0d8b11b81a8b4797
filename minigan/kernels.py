"""CUDA twins of operations in ops.py and of the random numbers in streams.py: same name, same signature, float32.

CuPy passes to a kernel whatever it is given: a Python float as a double, an array of another type or layout as if it
were right. So everything goes through Kernels.launch, which reads in kernels.cu what each kernel wants.
"""

import re
from functools import cache, wraps
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigan.backend import array_module, on_gpu

SOURCE = Path(__file__).with_suffix('.cu')
TYPES = {'float': np.float32, 'int': np.int32, 'long long': np.int64, 'u64': np.uint64, 'u16': np.uint16,
         'u8': np.uint8}
NULL = np.uintp(0)
BLOCK, GRID = (1024, 1024, 64), (2**31 - 1, 65_535, 65_535)  # the most of each dimension that a GPU takes
THREADS = 1024  # of a block at most
HEAD = re.compile(r'extern\s+"C"\s+__global__\s+{0}void\s+{0}(\w+)\s*\((.*?)\)'.format(
    r'(?:__launch_bounds__\s*\([^()]*\)\s*)?'), re.DOTALL)  # of a kernel: its name, its parameters
BOUNDS = re.compile(r'__launch_bounds__\s*\(\s*(\d+)[^()]*\)\s*(?:void\s+)?(\w+)\s*\(')  # most threads, kernel


class Parameter(NamedTuple):
    """What a kernel takes at one place: a number, or an array of so many elements, such as 'm n'."""

    name: str
    dtype: np.dtype
    elements: str


class Sizes(dict):
    """Numbers by name; sums of products of them, such as 'm n' or 'a + b', are found when first asked for.

    Raises ValueError for one that an int cannot hold, with room for the threads of a last block.
    """

    def __missing__(self, text):
        terms = text.split(' + ')
        size = int(text) if text.isdigit() else sum(prod(self[name] for name in term.split()) for term in terms)
        if size >= 2**30:
            raise ValueError(f'{text}: expected fewer than 2**30 elements, got {size}')
        self[text] = size
        return size


def parameters(source):
    """name -> the Parameters of every kernel in the source. Raises ValueError for one that it cannot read."""
    kernels = {}
    for name, text in HEAD.findall(re.sub('//[^\n]*', '', source)):
        kernels[name] = []
        for one in (' '.join(part.split()) for part in text.split(',')):
            found = re.fullmatch(r'(const )?([\w ]+?)(\* __restrict__)? (\w+)(?: /\* ([\w +]+) \*/)?', one)
            if not found or found[2] not in TYPES or bool(found[3]) != bool(found[5]):
                raise ValueError(f'{name}: expected a parameter such as "float eps" or "const float* __restrict__ x '
                                 f'/* m n */", of {", ".join(TYPES)}, got "{one}"')
            kernels[name].append(Parameter(found[4], np.dtype(TYPES[found[2]]), found[5]))
    return kernels


def check_size(name, grid, block, threads=THREADS):
    """Raises ValueError for a launch that no GPU takes. threads: of a block at most."""
    for what, size, most in (('block', block, BLOCK), ('grid', grid, GRID)):
        if not (1 <= len(size) <= 3 and all(1 <= one <= limit for one, limit in zip(size, most))):
            raise ValueError(f'{name}: expected a {what} of 1 to {most} in each dimension, got {tuple(size)}')
    if prod(block) > threads:
        raise ValueError(f'{name}: expected a block of at most {threads} threads, got {tuple(block)}: {prod(block)}')


def twin(specification):
    """Decorates an operation: its twin in Kernels runs instead where all arrays lie on a GPU, without gaps, and none
    is of another floating type than float32. None and numbers go with either."""
    name = specification.__name__

    @wraps(specification)
    def chosen(*arguments, **keywords):
        if not on_gpu(arguments[0]) or not fit(arguments):
            return specification(*arguments, **keywords)
        return getattr(loaded(array_module(arguments[0])), name)(*arguments, **keywords)

    return chosen


def fit(arguments):
    """Whether kernels can take the arguments; tuples are looked into, and types must be float32."""
    for argument in arguments:
        if isinstance(argument, tuple):
            if not fit(argument):
                return False
        elif isinstance(argument, (type, np.dtype)):
            if argument != np.float32:
                return False
        elif hasattr(argument, 'flags'):
            if argument.dtype.kind == 'f' and argument.dtype != np.float32 or not argument.flags.c_contiguous:
                return False
    return True


@cache
def loaded(xp):
    """The twins, compiled for the GPU by xp, which is cupy."""
    code = SOURCE.read_text()
    return Kernels(xp.RawModule(code=code, options=('--std=c++17',)), code)


class Launcher:
    """What every set of twins inherits. module: the compiled source, as cupy.RawModule gives it.

    block: threads of a block that goes element by element. A source defines THREADS, of a block that makes one number,
    and COLUMNS and LANES, of a block that goes down the columns, if it has such kernels.
    """

    def __init__(self, module, source, *, block=256):
        self.module, self.parameters, self.block = module, parameters(source), block
        self.functions = {name: module.get_function(name) for name in self.parameters}
        self.most = dict.fromkeys(self.parameters, THREADS) | {name: int(most) for most, name in BOUNDS.findall(source)}
        defined = dict(re.findall(r'#define (THREADS|COLUMNS|LANES) (\d+)', source))
        self.threads, *self.tile = (int(defined.get(name, 0)) for name in ('THREADS', 'COLUMNS', 'LANES'))

    def empty(self, x, shape, dtype):
        """A new array where x lies."""
        return array_module(x).empty(shape, dtype)

    def empty_like(self, x):
        """A new array like x."""
        return array_module(x).empty_like(x)

    def launch(self, name, grid, block, *arguments):
        """Run a kernel. Numbers are cast to what it takes; None is a null pointer.

        Raises TypeError for another number of arguments, and for an array of another dtype or with gaps; ValueError
        for one of another size, or with more elements than an int can count, and for a grid or a block of a size that
        no GPU takes.
        """
        check_size(name, grid, block, self.most[name])
        pairs = list(zip(self.parameters[name], arguments))
        if len(arguments) != len(self.parameters[name]):
            raise TypeError(f'{name}: expected {len(self.parameters[name])} arguments, got {len(arguments)}')
        sizes, cast = Sizes({one.name: number for one, number in pairs if one.elements is None}), []
        for one, argument in pairs:
            if one.elements is None:
                argument = one.dtype.type(argument)
            elif argument is None:
                argument = NULL
            elif argument.dtype != one.dtype or not argument.flags.c_contiguous:
                raise TypeError(f'{name}: expected {one.name} as a contiguous array of {one.dtype}, got '
                                f'{argument.dtype} of strides {argument.strides}')
            elif one.elements != 'any' and argument.size != sizes[one.elements]:
                raise ValueError(f'{name}: expected {one.name} with {one.elements} = {sizes[one.elements]} elements, '
                                 f'got {argument.size}')
            cast.append(argument)
        self.functions[name](grid, block, tuple(cast))

    def by_element(self, name, count, *arguments):
        """Launch a thread for each of `count` elements, in blocks of no more than the kernel's launch bounds."""
        if count:
            block = min(self.block, self.most[name])
            self.launch(name, (-(-count // block),), (block,), *arguments)

    def by_column(self, name, n, *arguments):
        """Launch a tile for each COLUMNS of n columns."""
        if not all(self.tile):
            raise ValueError(f'{name}: expected "#define COLUMNS" and "#define LANES" with numbers in the source')
        if n:
            self.launch(name, (-(-n // self.tile[0]),), tuple(self.tile), *arguments)


RESERVED = frozenset(dir(Launcher(None, '')))  # names that no twin may have


class Kernels(Launcher):
    """The twins of kernels.cu."""

    def bits(self, out, *place):
        """Fill out with Draws.bits; place: draw, substep, step, seed, stream."""
        self.by_element('bits', -(-out.size // 16), out, out.size, *place)

    def uniform(self, out, *place):
        """Fill out with Draws.uniform."""
        self.by_element('uniform', -(-out.size // 8), out, out.size, *place)

    def normal(self, out, *place):
        """Fill out with Draws.normal."""
        self.by_element('normal', -(-out.size // 2), out, out.size, *place)

    def dense_backward_input(self, dy, W):
        """See ops; cuBLAS reads both as they lie, for few rows too."""
        return dy @ W.T

    def gather_images(self, images, rows, dtype):
        """See ops."""
        x = self.empty(images, (len(rows), images.shape[1]), dtype)
        self.by_element('gather_images', x.size, images, rows, x, *x.shape)
        return x

    def stack(self, a, b):
        """See ops."""
        out = self.empty(a, (len(a) + len(b), *a.shape[1:]), a.dtype)
        self.by_element('stack', out.size, a, b, out, a.size, b.size)
        return out

    def tanh_backward(self, dy, y):
        """See ops."""
        dx = self.empty_like(y)
        self.by_element('tanh_backward', y.size, dy, y, dx, y.size)
        return dx

    def cross_entropy(self, logit, *, target):
        """See ops."""
        mean = self.empty(logit, (), logit.dtype)
        self.launch('cross_entropy', (1,), (self.threads,), logit, mean, logit.size, target)
        return mean

    def cross_entropy_backward(self, logit, *, target):
        """See ops."""
        dlogit = self.empty_like(logit)
        self.by_element('cross_entropy_backward', logit.size, logit, dlogit, logit.size, target, 1 / len(logit))
        return dlogit

    def adam_(self, theta, dtheta, m, v, scratch, *, t, learning_rate, beta1, beta2, eps):
        """See ops; needs no scratch."""
        n1, n2 = (1 - beta1**t) / (1 - beta1), (1 - beta2**t) / (1 - beta2)
        self.by_element('adam_', theta.size, theta, dtheta, m, v, theta.size, beta1, beta2,
                        learning_rate * n2**0.5 / n1, eps * n2**0.5)

    def bias_leaky_relu_dropout(self, x, b, rng, *, slope, rate):
        """See ops; draws the bits itself."""
        y, s, dropped = self.empty_like(x), self.empty_like(x), int(rate * 2**16)
        place = rng.next_place() if rate else [0] * 5
        self.by_element('bias_leaky_relu_dropout', x.size, x, b, y, s, *x.shape, slope, dropped,
                        2**16 / (2**16 - dropped), *place)
        return y, s

    def bias_leaky_relu_dropout_backward_(self, dy, s, db):
        """See ops."""
        dx = self.empty_like(dy)
        self.by_column('bias_leaky_relu_dropout_backward_', dy.shape[1], dy, s, dx, db, *dy.shape)
        return dx

    def bias_tanh(self, x, b):
        """See ops."""
        y = self.empty_like(x)
        self.by_element('bias_tanh', x.size, x, b, y, *x.shape)
        return y

    def bias_tanh_backward_(self, dy, y, db):
        """See ops."""
        dx = self.empty_like(dy)
        self.by_column('bias_tanh_backward_', dy.shape[1], dy, y, dx, db, *dy.shape)
        return dx

    def batch_norm_leaky_relu_(self, x, gamma, beta, moving_mean, moving_var, *, eps, momentum, slope):
        """See ops."""
        y, xhat, rstd = self.empty_like(x), self.empty_like(x), self.empty_like(gamma)
        self.by_column('batch_norm_leaky_relu_', x.shape[1], x, gamma, beta, moving_mean, moving_var, y, xhat, rstd,
                       *x.shape, eps, momentum, slope)
        return y, (xhat, rstd)

    def batch_norm_leaky_relu_backward_(self, dy, gamma, beta, cache, dgamma, dbeta, *, slope):
        """See ops."""
        dx = self.empty_like(dy)
        self.by_column('batch_norm_leaky_relu_backward_', dy.shape[1], dy, gamma, beta, *cache, dx, dgamma, dbeta,
                       *dy.shape, slope)
        return dx
