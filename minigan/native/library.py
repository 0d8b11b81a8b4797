"""The kernels of kernels.cu as a library for this CPU. It is compiled once, and kept in the cache folder.

Its text is that of the CUDA kernels; native.h makes loops of them. FLAGS allow nothing that changes a result: no fused
multiply-add, no other order of additions.
"""

import ctypes
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import numpy as np

from minigan.gpu.launch import HEAD, signatures
from minigan.gpu.twins import SOURCES
from minigan.storage.files import atomic_write, cache_folder

COMPILERS = 'c++', 'g++', 'clang++'
FLAGS = ['-O3', '-march=native', '-std=c++17', '-ffp-contract=off', '-fno-math-errno', '-fno-trapping-math',
         '-fopenmp-simd', '-fvisibility=hidden', '-shared', *([] if os.name == 'nt' else ['-fPIC', '-pthread'])]
HEADER = Path(__file__).with_name('native.h')
CHECKED = [HEADER.parents[1] / name for name in (  # files that decide whether a library's results are NumPy's
    'ops.py', 'layers.py', 'streams.py', 'net.py', 'variants/convolution.py', 'gpu/fusion.py', 'gpu/twins.py',
    'gpu/launch.py', 'gpu/compare.py', 'native/twins.py', 'native/check.py')]
SECONDS = 30  # the limit of the compiler's time
BY_ELEMENT = ('scale_dropout', 'scale_dropout_backward', 'tanh_backward',
              'sigmoid_scale_backward', 'adam_', 'sgd_momentum_', 'moving_average_', 'bias_leaky_relu_dropout',
              'leaky_relu_dropout_backward')
BY_COLUMN = 'batch_norm_leaky_relu_', 'batch_norm_leaky_relu_backward_'
BY_ROW = {'patches': 'k * k * c', 'unpatches': 'w * c'}  # name -> the numbers of a row
FIXED = {'now': 'nullptr', 'elapsed': 'nullptr', 'splits': '1', 'chunks': '1'}  # arguments that no twin changes
GUARD = re.compile(r'if \(i (?:>= [\w *]+\) return;|< [\w *]+\) )')  # of a thread beyond the last element


def load(found_wrong):
    """The library. Raises OSError, in one line, when there is none and none can be made.

    found_wrong: is called with a newly compiled library; returns '' or one line, which rejects it for good.
    """
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise OSError(f'no C++ compiler: none of {", ".join(COMPILERS)} is in $PATH')
    if sys.byteorder != 'little':
        raise OSError('the order of bytes is not little-endian')
    kernels, launchers = kernels_text(), launchers_text()
    texts = [path.read_text() for path in (HEADER, *CHECKED)]
    key = (*texts, kernels, launchers, *FLAGS, *identity(compiler))
    name, place = sha256(repr(key).encode()).hexdigest()[:24], cache_folder() / 'native'
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_own(place)
    refusal = place / f'{name}.txt'
    if refusal.exists():
        raise OSError(f'{refusal.read_text()}, says {refusal}; delete it to try again')
    path = next(filter(whole, sorted(place.glob(f'{name}-*.so'))), None)
    if path is None:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            made = compiled(Path(folder), compiler, kernels, launchers)
            if wrong := found_wrong(ctypes.CDLL(str(made))):
                with atomic_write(refusal, 'w') as file:
                    file.write(wrong)
                raise OSError(wrong)
            made.chmod(0o700)  # whatever the umask says
            path = place / f'{name}-{digest(made)}.so'
            os.replace(made, path)
    require_own(path)
    return ctypes.CDLL(str(path))


def digest(path):
    """The hash of a library's content. It is part of the name: loading a damaged library ends the process."""
    return sha256(path.read_bytes()).hexdigest()[:24]


def whole(path):
    """Whether a library has the content that its name says."""
    return path.stem.endswith(f'-{digest(path)}')


def identity(compiler):
    """What a compiled library depends on besides its source: compiler, CPU, and the NumPy that it must equal."""
    found = os.stat(os.path.realpath(compiler))
    try:
        text = Path('/proc/cpuinfo').read_text().partition('\n\n')[0]
        cpu = re.findall(r'^(?:model name|flags|Features|CPU part)\s*:.*', text, re.MULTILINE)
    except OSError:
        cpu = [platform.processor(), platform.node()]
    return [np.__version__, compiler, found.st_size, found.st_mtime_ns, platform.machine(), *cpu]


def require_own(path):
    """Raises OSError for a library, or its folder, that other users may have written: loading it runs it."""
    if os.name == 'posix':
        found = path.stat()
        if found.st_uid not in (os.geteuid(), 0) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise OSError(f'{path}: other users may write to it')


def compiled(folder, compiler, kernels, launchers):
    """Compile the library in a folder. Returns its path. Raises OSError."""
    source, out = folder / 'native.cpp', folder / 'native.so'
    source.write_text(f'#include "native.h"\n{launchers}')
    (folder / 'kernels.inc').write_text(kernels)
    command = [compiler, *FLAGS, '-I', str(HEADER.parent), '-I', str(folder), str(source), '-o', str(out)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, errors='replace', timeout=SECONDS,
                             stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise OSError(f'{compiler} takes more than {SECONDS} seconds') from error
    if run.returncode:
        raise OSError(f'{compiler} failed: {" ".join(run.stderr.split())[:300]}')
    return out


def kernels_text():
    """The text of kernels.cu for the body of Thread: without extern "C" and a loop's guards, with one lane."""
    text = SOURCES[0].read_text().replace('extern "C" ', '')
    text = re.sub(r'#define (COLUMNS|LANES) \d+', r'#define \1 1', text)
    return '#line 1 "kernels.cu"\n' + GUARD.sub('', text)


def launchers_text():
    """A function for each kernel, with its parameters after the number of elements or columns."""
    source = SOURCES[0].read_text()
    declared = {name: declarations(text) for name, text in HEAD.findall(source)}
    names = {name: [argument.name for argument in arguments] for name, arguments in signatures(source).items()}
    return ''.join(launcher(name, declared[name], names[name]) for name in (*BY_ELEMENT, *BY_COLUMN, *BY_ROW))


def declarations(text):
    """A kernel's parameters, in one line, with the types of native.h."""
    return re.sub(r'\bu(8|16)\b', r'uint\1_t', ' '.join(re.sub(r'/\*.*?\*/', '', text).split()))


def launcher(name, declared, names):
    """The text of a kernel's function. Its loop is a function of its own, so that the compiler sees that no two of
    its arrays overlap."""
    call = f'thread.{name}({", ".join(FIXED.get(one, one) for one in names)})'
    body = f'[=](auto& thread) __attribute__((always_inline)) {{ {call}; }}'
    count = 'count'
    if name in BY_COLUMN:
        size, loop = 'columns(m)', f'by_column(first, last, {body})'
    elif name in BY_ROW:
        n = BY_ROW[name]
        count, size, loop = f'count / ({n})', f'rows({n})', f'by_row(first, last, {body})'
    else:
        row, draws = 'n' if 'n' in names else 'size', 'dropped' in names
        key = '{dropped > 0, draw, substep, step, seed, stream}' if draws else '{}'
        loop = f'by_element<{str(draws).lower()}>(first, last, {row}, {key}, {body})'
        size = 'DRAWING' if draws else 'PIECE'
    return (f'static __attribute__((noinline)) void loop_{name}(int first, int last, {declared}) {{ {loop}; }}\n'
            f'EXPORTED void {name}(int count, {declared}) {{\n    split({count}, {size}, [=](int first, int last) '
            f'{{ loop_{name}(first, last, {", ".join(names)}); }});\n}}\n')
