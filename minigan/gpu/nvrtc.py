"""NVIDIA's runtime compiler without CUDA, a driver or a GPU: the wheel nvidia-cuda-nvrtc-cu12 is enough."""

import ctypes
import importlib.util
import re
from functools import cache
from pathlib import Path

ARCHITECTURES = ('sm_75', 'sm_80', 'sm_86', 'sm_89', 'sm_90', 'sm_100', 'sm_120')


@cache
def library():
    """The compiler, or None where its wheel is not installed."""
    package = importlib.util.find_spec('nvidia')
    for folder in package.submodule_search_locations if package else ():
        for path in sorted(Path(folder).glob('*/lib/libnvrtc.so.1?')):
            return ctypes.CDLL(str(path))
    return None


@cache
def resources(nvrtc, code, architecture):
    """Compile for an architecture such as 'sm_90' with CuPy's flags.

    Returns name -> (registers, bytes of shared memory, bytes in local memory: spilled, or on the stack) of each kernel.
    Raises ValueError with the compiler's words when it refuses the code.
    """
    text, found = _compiled(nvrtc, code, architecture, 'ProgramLog', '--ptxas-options=-v'), {}
    for part in re.split(r"Compiling entry function '", text)[1:]:
        spilled = sum(map(int, re.findall(r'(\d+) bytes (?:spill|stack)', part)))
        shared = re.search(r'(\d+) bytes smem', part)
        registers = int(re.search(r'Used (\d+) registers', part)[1])
        found[part.split("'")[0]] = registers, int(shared[1]) if shared else 0, spilled
    return found


def ptx(nvrtc, code, architecture):
    """name -> the assembly of each kernel. Raises ValueError when the compiler refuses the code."""
    parts = _compiled(nvrtc, code, architecture, 'PTX').split('.entry ')[1:]
    return {part.split('(')[0]: part for part in parts}


def _compiled(nvrtc, code, architecture, what, *more):
    """'ProgramLog' or 'PTX' of a program. more: flags after CuPy's."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b'kernels.cu', 0, None, None))
    flags = [f'-arch={architecture}', '--std=c++17', '-ftz=true', *more]
    status = nvrtc.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*map(str.encode, flags)))
    what = 'ProgramLog' if status else what
    _check(getattr(nvrtc, f'nvrtcGet{what}Size')(program, ctypes.byref(size)))
    text = ctypes.create_string_buffer(size.value)
    _check(getattr(nvrtc, f'nvrtcGet{what}')(program, text))
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if status:
        raise ValueError(text.value.decode())
    return text.value.decode()


def _check(status):
    if status:
        raise RuntimeError(f'NVRTC: status {status}')
