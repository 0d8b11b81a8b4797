"""Launch CUDA kernels: every argument is checked against the kernel's signature in the source, and cast to its type.

CuPy passes to a kernel whatever it is given: a Python float as a double, an array of a wrong type or layout as if it
were correct. So every launch goes through Launcher.launch.
"""

import re
from functools import lru_cache
from itertools import compress
from math import prod
from typing import NamedTuple

import numpy as np

from minigan.backend import array_module

TYPES = {'float': np.float32, 'double': np.float64, 'int': np.int32, 'long long': np.int64, 'u64': np.uint64,
         'u16': np.uint16, 'u8': np.uint8}
NULL = np.uintp(0)
uint64 = lru_cache(1024)(np.uint64)
BLOCK, GRID = (1024, 1024, 64), (2**31 - 1, 65_535, 65_535)  # the largest size of each dimension on a GPU
THREADS = 1024  # at most, in a block
HEAD = re.compile(r'extern\s+"C"\s+__global__\s+{0}void\s+{0}(\w+)\s*\((.*?)\)'.format(
    r'(?:__launch_bounds__\s*\([^()]*\)\s*)?'), re.DOTALL)  # of a kernel: its name, its parameters
BOUNDS = re.compile(r'__launch_bounds__\s*\(\s*(\d+)[^()]*\)\s*(?:void\s+)?(\w+)\s*\(')  # most threads, kernel


class Argument(NamedTuple):
    """One argument that a kernel takes: a number, or an array with a number of elements such as 'm n'."""

    name: str
    dtype: np.dtype
    elements: str


class Sizes(dict):
    """Numbers by name; sums of products of them, such as 'm n' or 'a + b', are computed when first asked for.

    Raises ValueError for a size that an int cannot hold, with room for the threads of the last block.
    """

    def __missing__(self, text):
        terms = text.split(' + ')
        size = int(text) if text.isdigit() else sum(prod(self[name] for name in term.split()) for term in terms)
        if size >= 2**30:
            raise ValueError(f'{text}: expected fewer than 2**30 elements, got {size}')
        self[text] = size
        return size


def signatures(source):
    """name -> the Arguments of every kernel in the source. Raises ValueError for an argument that it cannot read."""
    kernels = {}
    for name, text in HEAD.findall(re.sub('//[^\n]*', '', source)):
        kernels[name] = []
        for declared in (' '.join(part.split()) for part in text.split(',')):
            found = re.fullmatch(r'(const )?([\w ]+?)(\* __restrict__)? (\w+)(?: /\* ([\w +]+) \*/)?', declared)
            if not found or found[2] not in TYPES or bool(found[3]) != bool(found[5]):
                raise ValueError(f'{name}: expected an argument such as "float eps" or "const float* __restrict__ x '
                                 f'/* m n */", of {", ".join(TYPES)}, got "{declared}"')
            kernels[name].append(Argument(found[4], np.dtype(TYPES[found[2]]), found[5]))
    return kernels


def check_size(name, grid, block, threads=THREADS):
    """Raises ValueError for a launch that no GPU takes. threads: of a block at most."""
    for what, size, most in (('block', block, BLOCK), ('grid', grid, GRID)):
        if not (1 <= len(size) <= 3 and all(1 <= n <= limit for n, limit in zip(size, most))):
            raise ValueError(f'{name}: expected a {what} of 1 to {most} in each dimension, got {tuple(size)}')
    if prod(block) > threads:
        raise ValueError(f'{name}: expected a block of at most {threads} threads, got {tuple(block)}: {prod(block)}')


class Plan:
    """How a kernel's arguments are checked and cast. What depends on numbers alone is done once for each set of them.

    most: threads of a block. null, number, key: how a null pointer, a number and a key of random numbers are passed.
    """

    null, key = NULL, staticmethod(uint64)

    @staticmethod
    def number(dtype, value):
        """A number as the kernel takes it."""
        return dtype.type(value)

    def __init__(self, name, arguments, most):
        self.name, self.arguments, self.most = name, arguments, most
        numbers = [i for i, wanted in enumerate(arguments) if wanted.elements is None]
        self.keys = [i for i in numbers if arguments[i].dtype == np.uint64]  # of random numbers: others every time
        self.numbers = [i for i in numbers if i not in self.keys]
        self.is_number = [i in self.numbers for i in range(len(arguments))]
        self.arrays = [(i, wanted.dtype) for i, wanted in enumerate(arguments) if wanted.elements is not None]
        self.prepared = lru_cache(256)(self._prepare)

    def _prepare(self, grid, block, *numbers):
        """A list with each number, cast, in its place; and the size of each array, None where any size will do."""
        check_size(self.name, grid, block, self.most)
        sizes, cast = Sizes(), [self.null] * len(self.arguments)
        for i, given in zip(self.numbers, numbers):
            sizes[self.arguments[i].name], cast[i] = given, self.number(self.arguments[i].dtype, given)
        texts = [self.arguments[i].elements for i, _ in self.arrays]
        return cast, [None if text == 'any' else sizes[text] for text in texts]

    def cast(self, grid, block, given):
        """The arguments as the kernel takes them, in a list; see Launcher.launch."""
        if len(given) != len(self.arguments):
            raise TypeError(f'{self.name}: expected {len(self.arguments)} arguments, got {len(given)}')
        cast, sizes = self.prepared(grid, block, *compress(given, self.is_number))
        cast = cast.copy()
        for i in self.keys:
            cast[i] = self.key(given[i])
        for (i, dtype), size in zip(self.arrays, sizes):
            array = given[i]
            if array is None:
                continue
            if array.dtype is not dtype and array.dtype != dtype or not array.flags.c_contiguous:
                raise TypeError(f'{self.name}: expected {self.arguments[i].name} as a contiguous array of {dtype}, got '
                                f'{array.dtype} of strides {array.strides}')
            if size is not None and array.size != size:
                raise ValueError(f'{self.name}: expected {self.arguments[i].name} with {self.arguments[i].elements} = '
                                 f'{size} elements, got {array.size}')
            cast[i] = array
        return cast


class Launcher:
    """What every set of twins inherits. module: the compiled source, as cupy.RawModule gives it.

    block: the threads of a block that goes element by element. If a source has kernels of other kinds, it defines
    THREADS, for a block that computes one number, or COLUMNS and LANES, for a block that goes down the columns.
    """

    def __init__(self, module, source, *, block=256):
        self.module, self.signatures, self.block = module, signatures(source), block
        self.functions = {name: module.get_function(name) for name in self.signatures}
        most = {name: int(threads) for threads, name in BOUNDS.findall(source)}
        self.plans = {name: Plan(name, wanted, most.get(name, THREADS)) for name, wanted in self.signatures.items()}
        self.defined = {name: int(number) for name, number in re.findall(r'#define (\w+) (\d+)', source)}
        self.threads, *self.tile = (self.defined.get(name, 0) for name in ('THREADS', 'COLUMNS', 'LANES'))

    def empty(self, x, shape, dtype):
        """A new array where x lies."""
        return array_module(x).empty(shape, dtype)

    def empty_like(self, x):
        """A new array like x."""
        return array_module(x).empty_like(x)

    def launch(self, name, grid, block, *arguments):
        """Run a kernel. Numbers are cast to what it takes; None is a null pointer.

        Raises TypeError for a wrong number of arguments, and for an array of a wrong dtype or with gaps; ValueError for
        an array of a wrong size or with more elements than an int can count, and for a grid or a block that no GPU
        takes.
        """
        self.functions[name](grid, block, tuple(self.plans[name].cast(grid, block, arguments)))

    def by_element(self, name, count, *arguments):
        """Launch a thread for each of `count` elements, in blocks within the kernel's launch bounds."""
        if count:
            block = min(self.block, self.plans[name].most)
            self.launch(name, (-(-count // block),), (block,), *arguments)

    def by_column(self, name, n, *arguments, chunks=1):
        """Launch a block of COLUMNS x LANES threads for every COLUMNS of n columns and each chunk of their rows."""
        if not all(self.tile):
            raise ValueError(f'{name}: expected "#define COLUMNS" and "#define LANES" with numbers in the source')
        if n:
            self.launch(name, (-(-n // self.tile[0]), chunks), tuple(self.tile), *arguments)


RESERVED = frozenset(dir(Launcher(None, '')))  # names that no twin may have
