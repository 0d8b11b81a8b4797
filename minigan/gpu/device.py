"""The device that computes: the CPU, or a GPU on which a kernel really runs."""

import re

import numpy as np

DEVICES = ('cpu', 'cuda', 'auto')
INSTALL = 'pip install cupy-cuda12x[ctk] or cupy-cuda13x[ctk]'
CAUSES = {  # pattern in CuPy's error -> cause; the first match counts; \1 is what the pattern has in brackets
    r"No module named '?cupy\b(?!\.)|import of cupy halted": f'CuPy is not installed; {INSTALL}',
    r"No module named '?([\w.]+)": r'the package \1, which CuPy needs, is missing',
    r'InsufficientDriver|libcuda\.so': 'there is no NVIDIA driver, or it is older than what this CuPy needs',
    r'NoDevice|no CUDA-capable device': 'there is no NVIDIA GPU',
    r'DevicesUnavailable': 'the GPU is busy: another process has exclusive use of it',
    r'MemoryAllocation|OutOfMemory': 'the memory of the GPU is full',
    r'NoKernelImage|UNSUPPORTED_PTX|UnsupportedPtx|CompileException':
        'this CuPy, or its compiler NVRTC, does not know this GPU; a newer CuPy may',
    r'\blib(cu\w+|nv(?!rtc)\w+)\.so|\b(cu[a-z]+)64_\w+\.dll': rf'\1\2, a library of CUDA, is missing; {INSTALL}',
    r'\b(?:lib)?nvrtc[-\w]*\.(?:so|dll)': f"NVRTC, CUDA's compiler, is missing; {INSTALL}",
}
LENGTH = 200  # of what is quoted


def select_device(name):
    """The array module for device 'cpu', 'cuda' or 'auto', and one line that says what was chosen and why.

    'auto' takes the GPU when a kernel really runs there, else the CPU.
    Raises ValueError for any other name, and for 'cuda' when no kernel runs.
    """
    if name not in DEVICES:
        raise ValueError(f"device: expected one of {DEVICES}, got {name!r}")
    if name == 'cpu':
        return np, 'NumPy on the CPU'
    try:
        import cupy
        ones = cupy.ones((2, 2))
        if int((ones @ ones).sum()) != 8:  # allocates, compiles, calls cuBLAS, launches, copies back
            raise RuntimeError('a product of two matrices came out wrong')
    except Exception as error:  # no CuPy, no driver, no compiler, no device: each raises a different error
        if name == 'cuda':
            raise ValueError(f"device 'cuda': {_reason(error)}") from error
        return np, f'NumPy on the CPU: {_reason(error)}'
    return cupy, f'CuPy {cupy.__version__} on the GPU'


def _reason(error):
    """Why no kernel runs, in one line: the cause, if it is known, and the error's own words."""
    text = str(error).rpartition('Original error:')[2]  # a failed import of CuPy puts a page of advice first
    said = f'{type(error).__name__}: {" ".join(text.strip(" =").split())}'
    for pattern, cause in CAUSES.items():
        if found := re.search(pattern, said):
            return f'{found.expand(cause)} ({said[:LENGTH]})'
    return f'CuPy cannot run a kernel here ({said[:LENGTH]})'
