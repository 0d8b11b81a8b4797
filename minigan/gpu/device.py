"""The device that computes: the CPU, or a GPU on which a kernel really runs."""

import numpy as np

DEVICES = ('cpu', 'cuda', 'auto')
CAUSES = {  # in what CuPy raises, and what it means
    'ModuleNotFoundError': 'CuPy is not installed; pip install cupy-cuda12x[ctk] or cupy-cuda13x[ctk]',
    'InsufficientDriver': 'there is no NVIDIA driver, or it is older than what this CuPy needs',
    'NoDevice': 'there is no NVIDIA GPU',
    'nvrtc': "NVRTC, CUDA's compiler, is missing; pip install cupy-cuda12x[ctk] or cupy-cuda13x[ctk]",
}


def select_device(name):
    """The array module for device 'cpu', 'cuda' or 'auto', and one line that says what was chosen and why.

    'auto' takes the GPU when a kernel really runs there, else the CPU.
    Raises ValueError for another name, and for 'cuda' when no kernel runs.
    """
    if name not in DEVICES:
        raise ValueError(f"device: expected one of {DEVICES}, got {name!r}")
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
    missing = next((what for sign, what in CAUSES.items() if sign in said), 'CuPy cannot run a kernel here')
    return f'{missing} ({said[:200]})'
