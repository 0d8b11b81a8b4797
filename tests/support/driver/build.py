"""Builds the two C libraries of the stand-in, where the emulator keeps its own."""

import ctypes
import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

from minigan.gpu import emulator

HERE = Path(__file__).parent
FLAGS = '-x', 'c', '-O2', '-std=gnu11', '-shared', '-fPIC', '-fvisibility=hidden', '-Wall', '-Wno-unused'
SONAME = 'libcublas.so.12'  # CuPy's module asks for this library, and for symbols with this version


def driver():
    """driver.c, whose functions may call Python."""
    return ctypes.PyDLL(str(_library((HERE / 'driver.c').read_text())))


def cublas(user):
    """cublas.c, loaded before `user`, the module of CuPy that needs it.

    Functions that only `user` names are added; they fail.
    """
    code = (HERE / 'cublas.c').read_text()
    wanted = {name.decode() for name in re.findall(rb'\bcublas[A-Z]\w+', user.read_bytes())}
    code += ''.join(f'int {name}(void) {{ return NOT_SUPPORTED; }}\n' for name in sorted(wanted)
                    if not re.search(rf'\b{name}\b', code))
    library = _library(code, '-fvisibility=default', f'-Wl,-soname,{SONAME}',
                       script=f'{SONAME} {{ global: *; }};')
    return ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def _library(code, *flags, script=''):
    """The shared library of a C source. script: the linker's, which gives symbols a version."""
    key = hashlib.sha256(repr((code, FLAGS, flags, script)).encode()).hexdigest()[:24]
    path = emulator.CACHE / f'{key}.so'
    if not path.exists():
        emulator.CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=emulator.CACHE) as folder:
            source, map, made = (Path(folder, name) for name in ('source.c', 'map', 'made.so'))
            source.write_text(code)
            map.write_text(script)
            more = [f'-Wl,--version-script={map}'] if script else []
            subprocess.run([emulator.COMPILER, *FLAGS, *flags, *more, str(source), '-o', str(made)], check=True)
            os.replace(made, path)
    return path
