"""The device that computes: the CPU, or a GPU on which the kernels compile and run."""

import os
import re
from contextlib import contextmanager
from hashlib import sha256

import numpy as np

from minigan import __version__
from minigan.gpu.twins import code, compiled

DEVICES = ('cpu', 'numpy', 'cuda', 'auto')
CPU = 'NumPy on the CPU'
INSTALL = 'pip install cupy-cuda12x[ctk] or cupy-cuda13x[ctk]'
CAUSES = {  # pattern in CuPy's error -> cause; the first match counts; \1 is what the pattern has in brackets
    r"No module named '?cupy\b(?!\.)|import of cupy halted": f'CuPy is not installed; {INSTALL}',
    r"No module named '?([\w.]+)": r'the package \1, which CuPy needs, is missing',
    r'gpu-architecture|NoKernelImage|no kernel image|UNSUPPORTED_PTX|UnsupportedPtx':
        'this CuPy, or its compiler NVRTC, does not know this GPU; a newer CuPy may',
    r'^CompileException: (\S+[/\\]include)[/\\]': rf'the headers in \1 are not those of this compiler; {INSTALL}',
    r'^CompileException': 'a kernel does not compile',
    r'InsufficientDriver|StubLibrary|libcuda\.so':
        'there is no NVIDIA driver, or it is older than what this CuPy needs',
    r'NoDevice|no CUDA-capable device': 'there is no NVIDIA GPU',
    r'DevicesUnavailable': 'the GPU is busy: another process has exclusive use of it',
    r'MemoryAllocation|OutOfMemory': 'the memory of the GPU is full',
    r'\blib(cu\w+|nv[-\w]+)\.so|\b(cu[a-z]+|nv[-A-Za-z]+)(?:64)?_\w+\.dll':  # the first name: a list may follow it
        rf'\1\2, a library of CUDA, is missing; {INSTALL}',
}
LENGTH = 200  # of what is quoted
NO_GPU = ('', '-1')  # values of $CUDA_VISIBLE_DEVICES with which a user hides every GPU
TF32 = ('CUPY_TF32', 'NVIDIA_TF32_OVERRIDE')  # in the environment: how cuBLAS multiplies float32


def select_device(name):
    """The array module for one of DEVICES, and one line that says what was chosen and why.

    'auto' takes the GPU when the kernels compile and one of them runs, else the CPU. It gives a reason for the CPU only
    if CuPy is installed and no $CUDA_VISIBLE_DEVICES hides the GPU.
    Raises ValueError for any other name, and for 'cuda' when no kernel runs.
    """
    if name not in DEVICES:
        raise ValueError(f"device: expected one of {DEVICES}, got {name!r}")
    if name in ('cpu', 'numpy') or name == 'auto' and os.environ.get('CUDA_VISIBLE_DEVICES') in NO_GPU:
        return np, CPU
    try:
        import cupy
        _require_a_kernel(cupy)
    except Exception as error:  # no CuPy, no driver, no compiler, no device: each raises a different error
        if name == 'cuda':
            raise ValueError(f"device 'cuda': {reason(error)}") from error
        without = isinstance(error, ModuleNotFoundError) and error.name == 'cupy'
        return np, CPU if without else f'{CPU}: {reason(error)}'
    return cupy, f'CuPy {cupy.__version__} on the GPU'


def identity(cupy):
    """name -> what the outcome of a self-test depends on: the GPU and all that is between it and the kernels."""
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {'gpu': properties['name'].decode(errors='replace'),
            'compute capability': f'{properties["major"]}.{properties["minor"]}',
            'driver': runtime.driverGetVersion(), 'compiler': '.'.join(map(str, cupy.cuda.nvrtc.getVersion())),
            'cupy': cupy.__version__,
            'minigan': __version__, 'kernels': sha256(code().encode()).hexdigest()}


def tf32():
    """The switches in the environment that let cuBLAS round float32 to TF32, such as CUPY_TF32=1."""
    return [f'{name}={os.environ[name]}' for name in TF32 if os.environ.get(name, '') not in ('', '0')]


@contextmanager
def gpu_errors():
    """Turn an error of CuPy within the block, or the decorated function, into OSError with the cause in one line."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition('.')[0] not in ('cupy', 'cupy_backends'):
            raise
        raise OSError(f'the GPU failed: {reason(error)}; --device cpu does without it') from error


def reason(error):
    """Why no kernel runs, in one line: the cause, if it is known, and the error's own words."""
    text = str(error).rpartition('Original error:')[2]  # a failed import of CuPy puts a page of advice first
    said = f'{type(error).__name__}: {" ".join(text.strip(" =").split())}'
    for pattern, cause in CAUSES.items():
        if found := re.search(pattern, said):
            return f'{found.expand(cause)} ({said[:LENGTH]})'
    return f'CuPy cannot run a kernel here ({said[:LENGTH]})'


def _require_a_kernel(cupy):
    """Compile the kernels and run one of them; multiply, if cuBLAS is to do it. Raises what CuPy raises."""
    kernels, x = compiled(cupy), cupy.asarray(np.arange(6, dtype=np.float32))
    if kernels.stack(x, x).get().tolist() != 2 * list(range(6)):
        raise RuntimeError('a kernel copied numbers wrongly')
    if kernels.products == 'cublas':
        cupy.matmul(x.reshape(2, 3), x.reshape(3, 2))
