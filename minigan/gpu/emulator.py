"""cupy.RawModule for NumPy arrays: compiles CUDA C with the host's C++ compiler and runs every thread (emulator.h).

Arrays lie between two pages that fault on any access, directly next to one of them, so that touching the first byte
beyond an array is noticed. Every access is watched for races (emulator_races.h), which takes most of the time: a long
training is quicker without it. An array behind a const pointer must come back unchanged.
"""

import ctypes
import hashlib
import mmap
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

from minigan.gpu.launch import HEAD

COMPILER = sys.platform == 'linux' and (shutil.which('c++') or shutil.which('g++') or shutil.which('clang++')) or None
ADDR2LINE = shutil.which('addr2line') or shutil.which('llvm-addr2line')
FLAGS = ['-O1', '-std=c++17', '-fPIC', '-c', '-ffp-contract=off', '-U_FORTIFY_SOURCE', '-Wno-unused',
         '-Werror=uninitialized', '-Werror=maybe-uninitialized',
         '-fsanitize=bounds', '-fsanitize-undefined-trap-on-error',  # an index beyond a shared array
         '-fno-threadsafe-statics', '-g1']
WATCH = ['-fsanitize=thread']  # calls the functions in emulator_races.h
FAST = ['-O3']  # for long training: in a third of the time, but the compiler takes longer
FMA = ['-O2', '-ffp-contract=fast', *(['-mfma'] if platform.machine() in ('x86_64', 'AMD64') else [])]
HEADERS = [Path(__file__).with_name(name) for name in ('emulator.h', 'emulator_races.h')]
CACHE = Path(__file__).with_name('__pycache__')  # ignored by git, and nobody else can write to it
PAGE = mmap.PAGESIZE
LINE = re.compile(r'#line 1 "(.*)"\n')
SOURCE = 'kernels.cu'  # what a source is called, and what follows a LINE in it
MISSING = {  # what emulator.h lacks -> what it looks like in a source
    'atomics': r'\batomic(?:Add|Sub|Exch|Min|Max|Inc|Dec|CAS|And|Or|Xor)\w*',
    'exchanges within a warp': r'\b__(?:shfl|match|reduce)_\w+|\b__(?:all|any|ballot)_sync|\b__activemask',
    'barriers that count': r'\b__syncthreads_\w+',
    'dynamic shared memory': r'\bextern\s+(?:__align__\s*\(\d+\)\s*)?__shared__',
    'vectors such as float4': r'\b(?:make_)?(?:float|double|u?(?:char|short|int|long|longlong))[1-4]\b',
    'half precision': r'\b__half2?\b|\b__nv_bfloat16\b', 'PTX': r'\b(?:__)?asm(?:__)?\b',
}


class CompileError(Exception):
    """What the C++ compiler said, or what a source uses that emulator.h lacks."""


class Array(ctypes.Structure):
    """races::Array of emulator_races.h."""

    _fields_ = [('begin', ctypes.c_void_p), ('bytes', ctypes.c_size_t), ('item', ctypes.c_uint),
                ('written', ctypes.c_uint), ('name', ctypes.c_char_p), ('cells', ctypes.c_void_p)]


class HostModule:
    """A compiled source. seed: the order of blocks and threads, see emulator.h; may be changed between launches.

    fma: multiply and add in one rounding wherever the compiler finds both, as NVIDIA's compiler does.
    watched: for races.
    """

    def __init__(self, code, *, fma=False, watched=True):
        self.parameters = parameter_names(code)
        self.path = compiled(code, self.parameters, (FMA if fma else []) + (WATCH if watched else FAST))
        self.library, self.seed = ctypes.CDLL(str(self.path)), 0

    def get_function(self, name):
        """The kernel of that name."""
        return HostKernel(self, name)


class HostKernel:
    """One kernel; called as CuPy's are."""

    def __init__(self, module, name):
        self.module, self.name, self.parameters = module, name, module.parameters[name]
        self._launch = getattr(module.library, f'launch_{name}')
        self._launch.restype = ctypes.c_char_p
        signature = getattr(module.library, f'signature_{name}')
        signature.restype = ctypes.c_char_p
        self.signature = signature().decode().split()

    def __call__(self, grid, block, args):
        if len(args) != len(self.signature):
            raise TypeError(f'{self.name}: expected {len(self.signature)} arguments, got {len(args)}')
        if any(size != 1 for size in (*grid[2:], *block[2:])):
            raise ValueError(f'{self.name}: expected at most two dimensions on a CPU, got grid {grid}, block {block}')
        values, copies, watched = [], [], [Array()]  # the first stands for shared memory
        for name, argument, wanted in zip(self.parameters, args, self.signature):
            self._check(name, argument, wanted)
            if not isinstance(argument, np.ndarray):
                values.append(np.array(argument))
                continue
            copy, const = guarded(argument, at_end=self.module.seed % 2 == 0), wanted.startswith('c')
            values.append(np.array(copy.ctypes.data, np.uintp))
            copies.append((name, argument, copy, const))
            watched.append(Array(copy.ctypes.data, copy.nbytes, copy.itemsize, not const, name.encode()))
        self._run(grid, block, values, watched)
        for name, argument, copy, const in copies:
            if not const:
                argument[...] = copy
            elif copy.tobytes() != argument.tobytes():
                raise RuntimeError(f'{self.name}: an input behind a const pointer is written, {name}')

    def _check(self, name, argument, wanted):
        """Raises TypeError for what CUDA would misread."""
        got = f'{argument.dtype.kind}{argument.dtype.itemsize}'
        if isinstance(argument, np.ndarray):
            if got != wanted.strip('c*') or '*' not in wanted or not argument.flags.c_contiguous:
                raise TypeError(f'{self.name}: {name}: expected {wanted}, contiguous, got {argument.dtype} of strides '
                                f'{argument.strides}')
        elif got != wanted and not ('*' in wanted and isinstance(argument, np.uintp) and argument == 0):
            raise TypeError(f'{self.name}: {name}: expected {wanted}, got {argument!r}')

    def _run(self, grid, block, values, watched):
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        shape = [(ctypes.c_uint * 2)(*(tuple(n) + (1,))[:2]) for n in (grid, block)]
        error = self._launch(*shape, pointers, ctypes.c_uint(self.module.seed), (Array * len(watched))(*watched),
                             ctypes.c_uint(len(watched)))
        if error:
            raise RuntimeError(f'{self.name}: {with_lines(error.decode(), self.module.path)}')


def parameter_names(code):
    """kernel -> the names of its parameters."""
    return {name: [re.findall(r'\w+', declared)[-1] for declared in text.split(',') if declared.strip()]
            for name, text in HEAD.findall(without_comments(code))}


def without_comments(code):
    """The code without comments, with the same number of lines."""
    return re.sub(r'/\*.*?\*/|//[^\n]*', lambda found: ' ' + '\n' * found[0].count('\n'), code, flags=re.DOTALL)


def refuse_missing(code):
    """Raises CompileError for CUDA that emulator.h lacks: a line for each kind."""
    code, lines = without_comments(code), []
    for what, pattern in MISSING.items():
        if found := re.search(pattern, code):
            file, line = place(code, found.start())
            lines.append(f'{file}:{line}: {" ".join(found[0].split())}: the check on a CPU has no {what}')
    if lines:
        raise CompileError('\n'.join(lines))


def place(code, start):
    """The file and the line of a position in a source of one file or more, each after a LINE but for the first."""
    *_, (file, after) = [(SOURCE, 0), *((found[1], found.end()) for found in LINE.finditer(code, 0, start))]
    return file, 1 + code.count('\n', after, start)


def with_lines(text, library):
    """text, with each place in the library's code (@ and a hexadecimal number) replaced by its line in the source.

    For an inlined function, the line of the call follows. A file other than kernels.cu is named.
    """
    def line(found):
        if ADDR2LINE is None:
            return '?'
        where = [ADDR2LINE, '-i', '-e', str(library), hex(int(found[1], 16) - 1)]  # in the instruction before
        lines = re.findall(r'(\w+\.cu):(\d+)', subprocess.run(where, capture_output=True, text=True).stdout)
        return ' called from '.join(number + f' of {file}' * (file != SOURCE) for file, number in lines) or '?'

    return re.sub('@([0-9a-f]+)', line, text)


def compiled(code, names, more):
    """The shared library of a source, compiled unless it has been before. Raises CompileError."""
    refuse_missing(code)
    source = f'#include "{HEADERS[0]}"\n#line 1 "{SOURCE}"\n{code}\n#line 1 "launchers"\n' + ''.join(
        f'static void run_{name}(void** a) {{ host::Kernel<decltype(&{name})>::run<&{name}>(a); }}\n'
        f'extern "C" const char* launch_{name}(unsigned* grid, unsigned* block, void** a, unsigned seed, '
        f'races::Array* watched, unsigned count)\n'
        f'{{ return host::launch(run_{name}, grid, block, a, seed, watched, count); }}\n'
        f'extern "C" const char* signature_{name}()\n'
        f'{{ static std::string s = host::Kernel<decltype(&{name})>::signature(); return s.c_str(); }}\n'
        for name in names)
    headers = ''.join(header.read_text() for header in HEADERS)
    key = hashlib.sha256((source + headers + ' '.join(FLAGS + more)).encode()).hexdigest()[:24]
    try:
        return _library(CACHE, key, source, more)
    except OSError:  # the folder of an installed package may be read-only
        return _library(Path(private_folder().name), key, source, more)


@cache
def private_folder():
    """A folder that only this user may enter (mode 0700); it is removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix='minigan-')


def _library(place, key, source, more):
    """The library of that key in a folder, compiled unless it is there or another process is about to put it there."""
    library = place / f'{key}.so'
    if not library.exists():
        place.mkdir(exist_ok=True)
        with only_one(place / f'{key}.lock'):
            if not library.exists():
                _compile(source, more, library)
    return library


@contextmanager
def only_one(path):
    """A context that only one process at a time can enter for a path."""
    import fcntl  # not on Windows, where nothing is compiled
    with open(path, 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _compile(source, more, library):
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        path = Path(folder) / 'kernels.cpp'
        path.write_text(source)
        for command in ([COMPILER, *FLAGS, *more, str(path), '-o', f'{folder}/kernels.o'],
                        [COMPILER, '-shared', f'{folder}/kernels.o', '-o', f'{folder}/kernels.so']):
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                raise CompileError(run.stderr)
        os.replace(f'{folder}/kernels.so', library)


def guarded(array, *, at_end):
    """A copy between two pages that nobody may touch; it ends at the second, or begins at the first."""
    size = -(-max(array.nbytes, 1) // PAGE) * PAGE
    memory = mmap.mmap(-1, size + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for page in (start, start + PAGE + size):
        if protect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0):
            raise OSError(ctypes.get_errno(), 'mprotect')
    offset = PAGE + (size - array.nbytes if at_end else 0)
    copy = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    return copy
