"""NumPy or CuPy: the module that computes."""

import numpy as np

SIGNS = {  # in what CuPy raises, and what it means
    'ModuleNotFoundError': 'CuPy is not installed; pip install cupy-cuda12x[ctk] or cupy-cuda13x[ctk]',
    'InsufficientDriver': 'there is no NVIDIA driver, or it is older than what this CuPy needs',
    'NoDevice': 'there is no NVIDIA GPU',
    'nvrtc': "NVRTC, CUDA's compiler, is missing; pip install cupy-cuda12x[ctk] or cupy-cuda13x[ctk]",
}


def on_gpu(x):
    """Whether x is an array on a GPU."""
    return type(x).__module__.partition('.')[0] == 'cupy'


def array_module(x):
    """The module whose functions take the array x: numpy, or cupy for an array on a GPU."""
    if on_gpu(x):
        import cupy
        return cupy
    return np


def to_host(x):
    """x as a NumPy array; copies from the GPU, which waits for it."""
    return x.get() if hasattr(x, 'get') else np.asarray(x)


def select_device(name):
    """The array module for device 'cpu', 'cuda' or 'auto', and one line that says what was chosen and why.

    'auto' takes the GPU when a kernel really runs there, else the CPU.
    Raises ValueError for another name, and for 'cuda' when no kernel runs.
    """
    if name not in ('cpu', 'cuda', 'auto'):
        raise ValueError(f"device: expected 'cpu', 'cuda' or 'auto', got {name!r}")
    if name == 'cpu':
        return np, 'NumPy on the CPU'
    try:
        import cupy
        ones = cupy.ones((2, 2))
        if int((ones @ ones).sum()) != 8:  # allocates, compiles, asks cuBLAS, launches, copies back
            raise RuntimeError('a product of two matrices came out wrong')
    except Exception as error:  # no CuPy, no driver, no compiler, no device: each raises something else
        if name == 'cuda':
            raise ValueError(f"device 'cuda': {_reason(error)}") from error
        return np, f'NumPy on the CPU: {_reason(error)}'
    return cupy, f'CuPy {cupy.__version__} on the GPU'


def _reason(error):
    """Why no kernel runs, in one line: what is missing, where that can be told, and what was said."""
    said = f'{type(error).__name__}: {" ".join(str(error).split())}'
    missing = next((what for sign, what in SIGNS.items() if sign in said), 'CuPy cannot run a kernel here')
    return f'{missing} ({said[:200]})'


def keep_freed_memory():
    """Ask the C library to keep what is freed, up to 64 MiB, for the next step instead of handing it back.

    glibc returns freed blocks above 128 KiB to the kernel, and the next step pays for them in page faults. It stops
    doing so for blocks up to the largest that was ever freed, 32 MiB at most: free one. Nothing is written to it.
    """
    np.empty(2**25 - 2**13, np.uint8)
