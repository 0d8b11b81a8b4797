"""Native twins: operations that run as compiled kernels on NumPy arrays, with the same bits as their specifications.

They run only while they are in use, for float32 arrays; what the kernels refuse stays with NumPy.
"""

import ctypes
import os
from functools import cache, wraps

import numpy as np

from minigan import backend, ops
from minigan.gpu import fusion
from minigan.gpu.launch import Plan, signatures
from minigan.gpu.twins import SOURCES, Kernels
from minigan.native import check, library
from minigan.native.library import BY_COLUMN, BY_ELEMENT, BY_ROW
from minigan.streams import Rng
from minigan.variants import convolution

NAMES = *BY_ELEMENT, *BY_COLUMN, *BY_ROW
NUMBERS = {'f4': ctypes.c_float, 'i4': ctypes.c_int, 'u8': ctypes.c_uint64}
ONE = (1,)
MOST = 16  # threads
THREADS = 'OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS'  # what says how many NumPy's products take
pointer = (ctypes.c_char * 0).from_buffer  # takes a fifth of the time of array.ctypes.data


OPTIONAL = 'now', 'elapsed', 'm', 'means', 'deviations', 'sums_dh', 'sums_dh_xhat', 'dgamma', 'dbeta'  # may be None


class NativePlan(Plan):
    """A Plan whose arguments are as ctypes takes them. It checks more than a GPU's: NumPy would broadcast or copy."""

    null, key = None, ctypes.c_uint64

    def __init__(self, name, arguments, most):
        super().__init__(name, arguments, most)
        places = {}
        for i, _ in self.arrays:
            places.setdefault(arguments[i].elements, []).append(i)
        self.required = [i for i, _ in self.arrays if arguments[i].name not in OPTIONAL]
        self.alike = [(first, i) for first, *others in places.values() for i in others]  # arrays of the same elements
        self.together = [i for i, one in enumerate(arguments) if one.name in ('dgamma', 'dbeta')]

    @staticmethod
    def number(dtype, value):
        """A number as a ctypes object."""
        return NUMBERS[dtype.str[1:]](value)

    def cast(self, grid, block, given):
        """Pointers in place of arrays. Raises TypeError for None in the place of an array, and for arrays of different
        shapes, that are not aligned, or read-only."""
        cast = super().cast(grid, block, given)
        if any(cast[i] is None for i in self.required) or len({cast[i] is None for i in self.together}) > 1:
            raise TypeError(f'{self.name}: expected an array, got None')
        for first, i in self.alike:
            if cast[first] is not None and cast[i] is not None and cast[first].shape != cast[i].shape:
                raise TypeError(f'{self.name}: expected arrays of one shape, got {cast[first].shape}, {cast[i].shape}')
        for i, _ in self.arrays:
            array = cast[i]
            if array is not None:
                if not array.flags.aligned:
                    raise TypeError(f'{self.name}: expected an aligned array')
                cast[i] = pointer(array)
        return cast


def specification(name):
    """The operation of that name, without its twins."""
    function = next(getattr(module, name) for module in (ops, fusion, convolution) if hasattr(module, name))
    return getattr(function, '__wrapped__', function)


def or_numpy(name, twin):
    """The twin of that name; its specification runs instead, with the same random numbers, for what it refuses."""
    @wraps(twin)
    def native(self, *arguments, **keywords):
        states = [(one, vars(one).copy()) for one in (*arguments, *keywords.values()) if isinstance(one, Rng)]
        try:
            return twin(self, *arguments, **keywords)
        except (TypeError, ValueError, AttributeError):  # the last: a number in the place of an array
            if self.strict:
                raise
            for rng, state in states:  # the twin may have drawn before it refused
                vars(rng).update(state)
            return specification(name)(*arguments, **keywords)

    return native


class Native:
    """The twins. library: as library.load returns it; threads: how many share a large array, at most.

    strict: raise for what a twin refuses, so that a check does not compare the specification with itself.
    """

    now = elapsed = None

    def __init__(self, library, threads, *, strict=False):
        self.library, self.strict, source = library, strict, SOURCES[0].read_text()
        self.plans = {name: NativePlan(name, wanted, 1) for name, wanted in signatures(source).items()}
        self.functions = {name: getattr(library, name) for name in NAMES}
        library.set_threads(threads)

    empty, empty_like = staticmethod(lambda x, shape, dtype: np.empty(shape, dtype)), staticmethod(np.empty_like)
    _dropout, chunks_of = Kernels._dropout, staticmethod(lambda m: (m, 1))

    def by_element(self, name, count, *arguments):
        """Run a kernel for each of `count` elements. Raises what Launcher.launch raises."""
        if count:
            self.functions[name](count, *self.plans[name].cast(ONE, ONE, arguments))

    def by_column(self, name, n, *arguments, chunks):
        """Run a kernel for each of n columns. NumPy adds up a single column in a different order."""
        if n == 1:
            raise ValueError(f'{name}: expected at least 2 columns, got 1')
        self.by_element(name, n, *arguments)

    def bias_leaky_relu_dropout(self, parts, b, rng, *, slope, rate):
        """See fusion. The kernel adds no parts here, as NumPy's products have one."""
        if len(parts) > 1:
            return specification('bias_leaky_relu_dropout')(parts, b, rng, slope=slope, rate=rate)
        return Kernels.bias_leaky_relu_dropout(self, parts, b, rng, slope=slope, rate=rate)

    def dense_leaky_relu_dropout(self, x, W, b, rng, *, slope, rate):
        """See fusion."""
        return self.bias_leaky_relu_dropout((x @ W)[None], b, rng, slope=slope, rate=rate)

    def dense_tanh(self, x, W, b):
        """See fusion."""
        y = specification('dense')(x, W, b)
        return np.tanh(y, out=y)


for name in NAMES:
    setattr(Native, name, or_numpy(name, vars(Native).get(name) or getattr(Kernels, name)))


def threads():
    """How many threads: as many as NumPy's products take, if the environment says so, or one for each core."""
    for name in THREADS:
        if (text := os.environ.get(name, '')).isdecimal() and (number := int(text)):  # 0 says nothing, as for OpenBLAS
            return min(number, MOST)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return min(cores, MOST)


@cache
def native():
    """The twins of this process, or one line that says why there are none."""
    try:
        return Native(library.load(found_wrong), threads())
    except (OSError, AttributeError) as error:  # the latter: a library without one of the functions
        return ' '.join(str(error).split())


def found_wrong(loaded):
    """'' or, in one line, in which of a library's results any bit differs from NumPy's, or what cannot be checked."""
    for count in (1, max(2, threads())):  # the next process may have more threads than this one
        try:
            rows = list(check.rows(Native(loaded, count, strict=True)))
        except Exception as error:  # whatever an edited specification raises
            return f'the compiled kernels cannot be compared with NumPy: {type(error).__name__}: {error}'
        wrong = [row.name for row in rows if not row.ok]
        wrong += sorted({*NAMES} - {row.name.split(',')[0] for row in rows})  # nothing has checked it
        if wrong:
            return f'compiled here, kernels give other bits than NumPy: {", ".join(wrong)}'
    return ''


def use(wanted):
    """Run native twins on NumPy arrays from now on, or no longer. Returns '' or one line: why there are none."""
    found = native() if wanted else ''
    if isinstance(found, str):
        backend.TWINS.pop('numpy', None)
        return found
    backend.TWINS['numpy'] = lambda xp: found
    return ''
