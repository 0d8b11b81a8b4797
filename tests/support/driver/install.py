"""Imports the real CuPy on the stand-in: function pointers, compiler, sort."""

import ctypes
import importlib
import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from support.driver import build

from minigan.gpu import emulator
from minigan.gpu.twins import compiled

COUNTS = ('launches', 'replays', 'nodes', 'uploads', 'downloads', 'copies', 'memsets', 'allocations', 'frees',
          'host_allocations', 'waits')  # the fields of `counts` in driver.c
MEMORY = 2**34  # bytes of the device
PROPERTIES = {'name': b'no GPU, but a stand-in', 'major': 9, 'minor': 0, 'multiProcessorCount': 132, 'warpSize': 32,
              'maxThreadsPerBlock': 1024, 'maxThreadsPerMultiProcessor': 2048, 'sharedMemPerBlock': 49152,
              'totalGlobalMem': MEMORY, 'uuid': bytes(16)}
SPEED = ['-O3', '-fno-sanitize=bounds']
# a loop over all elements that looks at its thread, or that leaves at the first one (CuPy has a macro that returns)
NEEDS_ITS_GRID = re.compile('__syncthreads|threadIdx|blockIdx|no_thread_divergence|__global__.*return', re.DOTALL)
TYPES = {'int': ctypes.c_int, 'unsigned int': ctypes.c_uint, 'size_t': ctypes.c_size_t, 'float': ctypes.c_float,
         'intptr_t': ctypes.c_ssize_t, 'PyObject *': ctypes.py_object}


class Kernel(ctypes.Structure):
    """Kernel of driver.c."""


Kernel._fields_ = [('next', ctypes.POINTER(Kernel)), ('name', ctypes.c_char_p), ('launches', ctypes.c_long)]


class Driver:
    """The stand-in of this process; cupy: the package that runs on it.

    executes: whether kernels run; without, they are only counted.
    fma: whether sources that are compiled from now on multiply and add in one rounding.
    """

    def __init__(self, *, executes=True):
        self.library, self.fma = build.driver(), False
        backends = importlib.import_module('cupy_backends.cuda.api.runtime'), importlib.import_module(
            'cupy_backends.cuda.api.driver')
        for module in backends:
            self._replace(module)
        runtime = backends[0]
        runtime.getDeviceProperties = lambda number: dict(PROPERTIES)
        self._value('runtime_error', ctypes.py_object).value = runtime.CUDARuntimeError
        self._value('executes', ctypes.c_int).value = executes
        self.cublas = _load_cublas()
        ctypes.c_int.in_dll(self.cublas, 'cublas_executes').value = executes
        self.cupy = importlib.import_module('cupy')
        importlib.import_module('cupy_backends.cuda.libs.cublas')  # else CuPy looks for the real library first
        self.cupy._core.set_reduction_accelerators([])
        self.cupy._core.set_routine_accelerators([])
        self.cupy.cuda.compiler._compile_module_with_cache = self._compile
        self.cupy.cuda.thrust.argsort = _argsort if executes else lambda *_: None
        self.reset()
        if executes:
            _make_new_arrays_undefined(self.cupy)

    @property
    def counts(self):
        """What happened since the last clear(), without zeros; 'products': calls of cuBLAS that compute."""
        numbers = dict(zip(COUNTS, self._value('counts', ctypes.c_long * len(COUNTS))))
        return +Counter(numbers, products=ctypes.c_long.in_dll(self.cublas, 'cublas_calls').value)

    @property
    def launched(self):
        """How often each kernel ran since the last clear(), by launches and by replays."""
        return +sum((Counter({kernel.name.decode(): kernel.launches}) for kernel in self._kernels()), Counter())

    def clear(self):
        """Set the counts to zero."""
        numbers = self._value('counts', ctypes.c_long * len(COUNTS))
        ctypes.memset(numbers, 0, ctypes.sizeof(numbers))
        ctypes.c_long.in_dll(self.cublas, 'cublas_calls').value = 0
        for kernel in self._kernels():
            kernel.launches = 0

    def reset(self):
        """Undo what a test changed: settings, counts, and kernels that were compiled with other settings."""
        self.fma = False
        self.set(memory=MEMORY, order=0)
        self.clear()
        compiled.cache_clear()

    def costs(self, function, *arguments):
        """The counts of one call."""
        self.clear()
        function(*arguments)
        return self.counts

    def set(self, **numbers):
        """memory: the device's, in bytes; order: of threads and blocks, see emulator.h."""
        for name, number in numbers.items():
            self._value(name, {'memory': ctypes.c_size_t, 'order': ctypes.c_uint}[name]).value = number

    def used(self):
        """Bytes that are allocated."""
        return self._value('used', ctypes.c_size_t).value

    def _value(self, name, kind):
        return kind.in_dll(self.library, name)

    def _kernels(self):
        kernel = self._value('kernels', ctypes.POINTER(Kernel))
        while kernel:
            yield kernel.contents
            kernel = kernel.contents.next

    def _replace(self, module):
        """Point the module's table, and the functions that Python code calls, at driver.c."""
        table = module.__pyx_capi__
        for name, capsule in list(table.items()):
            function = getattr(self.library, f'fake_{name}', None)
            if function is not None:
                signature = _name_of(capsule)
                table[name] = _new_capsule(ctypes.cast(function, ctypes.c_void_p), signature, None)
                setattr(module, name, _for_python(function, ctypes.string_at(signature).decode()))

    def _compile(self, source, options=(), **_):
        """In place of cupy.cuda.compiler._compile_module_with_cache: the module of a library for the host."""
        from cupy.cuda import compiler, function
        names = [found[0] for found in emulator.HEAD.findall(emulator.without_comments(source))]
        if 'CUPY_FOR' in source and not NEEDS_ITS_GRID.search(source):
            source += '\nextern "C" { int one_thread_will_do = 1; }\n'
        include = Path(self.cupy.__file__).parent / '_core' / 'include'
        flags = [*(emulator.FMA if self.fma else []), *SPEED, '-include', str(build.HERE / 'device.h'),
                 f'-I{build.HERE / "headers"}', f'-I{include}']
        try:
            path = emulator.compiled(source, names, flags)
        except emulator.CompileError as error:
            raise compiler.CompileException(str(error), source, 'kernels.cu', options, 'nvrtc') from None
        module = function.Module()
        module.load(str(path).encode())
        return module


def _load_cublas():
    from scipy.linalg import cython_blas
    folder = Path(find_spec('cupy_backends.cuda.libs').origin).parent
    library = build.cublas(next(folder.glob('cublas.*.so')))
    for name in ('sgemm', 'dgemm', 'sgemv', 'dgemv', 'sdot', 'ddot'):
        capsule = cython_blas.__pyx_capi__[name]
        ctypes.c_void_p.in_dll(library, f'blas_{name}').value = _pointer_of(capsule, _name_of(capsule))
    return library


def _python_api(name, result, *parameters):
    function = getattr(ctypes.pythonapi, name)
    function.restype, function.argtypes = result, parameters
    return function


_name_of = _python_api('PyCapsule_GetName', ctypes.c_void_p, ctypes.py_object)
_pointer_of = _python_api('PyCapsule_GetPointer', ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
_new_capsule = _python_api('PyCapsule_New', ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


def _for_python(function, signature):
    """The function, without the arguments that Cython adds. signature: 'int (int, int __pyx_skip_dispatch)'."""
    result, parameters = re.fullmatch(r'(.*?) ?\((.*)\)', signature).groups()
    kinds = [part for part in parameters.split(', ') if part != 'void']
    added = sum('__pyx_' in kind for kind in kinds)
    function.restype = TYPES[result]
    function.argtypes = [TYPES[kind] for kind in kinds[:len(kinds) - added]] + [ctypes.c_void_p] * added
    return lambda *arguments: function(*arguments, *[None] * added)


def _make_new_arrays_undefined(cupy):
    """Fill every block that CuPy's pool hands out with 0xFF: the pool reuses memory, which still has its numbers."""
    class Undefined(cupy.cuda.MemoryHook):
        name = 'Undefined'

        def malloc_postprocess(self, device_id, size, mem_size, mem_ptr, pmem_id):
            if mem_ptr:  # else there was no memory
                ctypes.memset(mem_ptr, 0xFF, mem_size)

    Undefined().__enter__()


def _argsort(dtype, index, data, keys, shape):
    """cupy.cuda.thrust.argsort along the last axis. data: a copy that may be changed."""
    kind = np.ctypeslib.as_ctypes_type(dtype)
    count = int(np.prod(shape))
    given = np.ctypeslib.as_array((kind * count).from_address(data)).reshape(shape)
    found = np.ctypeslib.as_array((ctypes.c_longlong * count).from_address(index)).reshape(shape)
    found[...] = np.argsort(given, axis=-1, kind='stable')
