"""The real CuPy on a CPU: the installed package, on a stand-in for CUDA's driver, runtime and cuBLAS.

CuPy itself is unchanged, so arguments, dtypes, memory pool, streams, graphs and errors are those of a GPU. Its compiled
modules call the runtime and the driver through tables of function pointers (`__pyx_capi__`). Driver (install.py) loads
the two lowest modules, points their tables at driver.c, and only then imports the rest. What happens below that:

    a source (RawModule, or one that CuPy generated)    minigan.gpu.emulator builds it with the host's C++ compiler and
                                                        CuPy's own headers; the "cubin" is the path of that library
    launchKernel                                        calls the library's kernel, every thread of it, with the very
                                                        bytes that cuLaunchKernel would get
    malloc                                              the host's memory, filled with 0xFF: undefined floats are NaN
    a stream in a capture                               records launches, copies and memsets; graphLaunch replays them
    cuBLAS                                              SciPy's BLAS (cublas.c)
    Thrust's argsort                                    NumPy's

Driver.counts says how many launches, copies, allocations, waits, ... there were, and Driver.launched which kernels ran.
A process has either a GPU or this, so whatever uses it runs in a process of its own:

    a test that asks for the fixture `driver` or `cupy` (plugin.py); with pytest -p support.driver.plugin, every test
    run('module:function', ...), which returns what that function returns, given the Driver
    python -m support.driver.host_time, the host's time of a step, with kernels that do not run

It lacks, and refuses with an error that names it: complex numbers, float16, a third dimension of blocks, dynamic shared
memory, what minigan.gpu.emulator lists as MISSING, captures of several streams, managed memory, memory pools of CUDA
itself, and all of cuBLAS but GemmEx, gemm, gemv and dot for float32 and float64.
It cannot show: time on a GPU; a missing wait, since everything is done when its call returns; memory that CuPy's pool
reuses too early; kernels of CUB, which CuPy prefers for some sums (switched off here: CuPy's own kernels run).
"""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from minigan.gpu import emulator

PACKAGE, VERSION = 'cupy-cuda12x', '14.2.0'  # the function pointers differ from version to version
TESTS = Path(__file__).parents[2]


def missing():
    """Why it cannot run here, or None."""
    if emulator.COMPILER is None:
        return 'no C++ compiler, or not Linux'
    try:
        found = version(PACKAGE)
    except PackageNotFoundError:
        return f'{PACKAGE} {VERSION} is not installed'
    return None if found == VERSION else f'expected {PACKAGE} {VERSION}, got {found}'


def python(*arguments, cwd=None, **environment):
    """Run Python with the tests' modules on its path. Returns the finished process, with its output."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get('PYTHONPATH', '')])
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=cwd,
                          env={**os.environ, 'PYTHONPATH': path, **environment})


def run(function, *arguments, executes=True):
    """What module:function returns for (driver, *arguments), in a process of its own; both travel as JSON.

    executes: whether kernels run. Raises RuntimeError with what the process wrote if it fails.
    """
    done = python('-m', 'support.driver', function, json.dumps(arguments), int(executes))
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return json.loads(done.stdout.splitlines()[-1])
