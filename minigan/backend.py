"""NumPy or CuPy: the module that computes, and the hook through which a kernel replaces an operation."""

from functools import wraps

import numpy as np

TWINS = {}  # module of an array -> function from it to its twins; gpu/twins.py adds 'cupy', native/twins.py 'numpy'


def on_gpu(x):
    """Whether x is an array on a GPU."""
    return _module_name(x) == 'cupy'


def _module_name(x):
    return type(x).__module__.partition('.')[0]


def array_module(x):
    """The module whose functions take the array x: numpy, or cupy for an array on a GPU."""
    if on_gpu(x):
        import cupy
        return cupy
    return np


def has_kernels(x):
    """Whether kernels compute with arrays like x."""
    return _module_name(x) in TWINS and eligible((x,))


def to_host(x):
    """x as a NumPy array; from a GPU it is copied, so the CPU waits until the GPU has computed it."""
    return x.get() if hasattr(x, 'get') else np.asarray(x)


def number(value):
    """A setting as a Python number: a NumPy scalar or 0-d array would turn float32 arrays into float64."""
    return value.item() if isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0 else value


def twin(specification):
    """Decorator of an operation: its twin of the same name runs instead, if TWINS has one for the module of its first
    argument and all arguments are eligible."""
    name = specification.__name__

    @wraps(specification)
    def chosen(*arguments, **keywords):
        given = (*arguments, *keywords.values())
        twins = TWINS.get(_module_name(given[0]))
        compute = twins and getattr(twins(array_module(given[0])), name, None)
        if compute is None or not eligible(given):
            compute = specification
        return compute(*arguments, **keywords)

    return chosen


def eligible(arguments):
    """Whether kernels can take the arguments: every array is contiguous and, if it is floating, float32.

    A tuple is checked part by part, a type must be float32, and None and numbers always pass.
    """
    for argument in arguments:
        if isinstance(argument, tuple):
            if not eligible(argument):
                return False
        elif isinstance(argument, (type, np.dtype)):
            if argument != np.float32:
                return False
        elif hasattr(argument, 'flags'):
            if argument.dtype.kind == 'f' and argument.dtype != np.float32 or not argument.flags.c_contiguous:
                return False
    return True
