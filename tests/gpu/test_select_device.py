"""A device is taken only when the kernels compile and compute; what is wrong is said in one line."""

import sys
import types

import numpy as np
import pytest

from minigan.gpu import device, twins


def test_the_cpu_is_numpy():
    assert device.select_device('cpu') == (np, 'NumPy on the CPU')


def fails(error):
    """A cupy that raises an error when it compiles."""
    def raise_it(**_):
        raise error
    module = types.ModuleType('cupy')
    module.RawModule = raise_it
    return module


@pytest.fixture(autouse=True)
def visible(monkeypatch):
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)


@pytest.mark.parametrize('error, reason', [
    (ZeroDivisionError('by zero'), 'CuPy cannot run a kernel here'),
    (RuntimeError('cudaErrorInsufficientDriver: CUDA driver version\nis insufficient'), 'no NVIDIA driver'),
    (RuntimeError('cudaErrorNoDevice: no CUDA-capable device'), 'there is no NVIDIA GPU'),
    (RuntimeError('CuPy failed to load libnvrtc.so.12'), 'nvrtc, a library of CUDA, is missing')])
def test_without_a_working_gpu_auto_falls_back_and_cuda_fails_and_both_say_why(monkeypatch, error, reason):
    monkeypatch.setitem(sys.modules, 'cupy', fails(error))
    xp, line = device.select_device('auto')
    assert xp is np and reason in line and 'Error: ' in line and '\n' not in line
    with pytest.raises(ValueError, match=f"device 'cuda': .*{reason}"):
        device.select_device('cuda')


def test_without_cupy_auto_has_nothing_to_say(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cupy', None)
    assert device.select_device('auto') == (np, 'NumPy on the CPU')
    with pytest.raises(ValueError, match="device 'cuda': CuPy is not installed; pip install"):
        device.select_device('cuda')


@pytest.mark.parametrize('value, hidden', [('', True), ('-1', True), ('0', False)])
def test_auto_does_not_try_a_gpu_that_the_user_hides(monkeypatch, value, hidden):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', value)
    monkeypatch.setitem(sys.modules, 'cupy', fails(RuntimeError('tried')))
    assert ('tried' in device.select_device('auto')[1]) != hidden
    with pytest.raises(ValueError, match='tried'):
        device.select_device('cuda')


RULE, ADVICE = '=' * 70, 'Advice. ' * 60 + 'libnvrtc.so.12 is one of the libraries.'
BANNER = f'{RULE}\nFailed to import CuPy. {ADVICE}\n\nOriginal error:\n  %s\n{RULE}'
LIBRARY = '%s: cannot open shared object file: No such file or directory'
LISTING = 'libcublas.so.13 is not in nvidia/cu13/lib, which has libnvrtc.so.13'
FINDING = 'Failure finding "%s": No such file: %s, listdir of nvidia/cu13/lib: libcudart.so.13 libcublas.so.13'
UNKNOWN, DRIVER = 'does not know this GPU', 'there is no NVIDIA driver'
COMPILER, CUBLASLT = 'nvrtc, a library of CUDA, is missing', 'cublasLt, a library of CUDA, is missing'


@pytest.mark.parametrize('kind, said, reason, quoted', [
    ('CompileException', 'nvrtc: error: invalid value for --gpu-architecture (-arch)', UNKNOWN, '-arch'),
    ('CompileException', '/tmp/x/y.cubin.cu(7): error: identifier "u64" is undefined', 'a kernel does not compile',
     'identifier'),
    ('CompileException', '/usr/local/cuda-13.0/include/cuda_fp8.hpp(1460): error: this declaration has no',
     'the headers in /usr/local/cuda-13.0/include are not those of this compiler; pip install', 'fp8'),
    ('CUDARuntimeError', 'cudaErrorNoKernelImageForDevice: no kernel image', UNKNOWN, 'no kernel image'),
    ('CUDADriverError', 'CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available', UNKNOWN, 'NO_BINARY'),
    ('CUDADriverError', 'CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the PTX', UNKNOWN, 'the PTX'),
    ('ImportError', BANNER % LIBRARY % 'libcudart.so.12', 'cudart, a library of CUDA, is missing', 'libcudart.so.12'),
    ('ImportError', LIBRARY % 'libcublas.so.12', 'cublas, a library of CUDA, is missing', 'libcublas.so.12'),
    ('ImportError', LIBRARY % 'libcublasLt.so.12', CUBLASLT, 'libcublasLt.so.12'),
    ('ImportError', LISTING, 'cublas, a library of CUDA, is missing', 'libcublas.so.13'),
    ('ImportError', FINDING % (2 * ('libcublasLt.so.13 or libcublasLt.so.12',)), CUBLASLT, 'libcublasLt.so.12'),
    ('ImportError', FINDING % (2 * ('libnvrtc.so.13',)), COMPILER, 'libnvrtc.so.13'),
    ('ImportError', LIBRARY % 'libcuda.so.1', DRIVER, 'libcuda.so.1'),
    ('CUDARuntimeError', 'cudaErrorStubLibrary: CUDA driver is a stub library', DRIVER, 'stub'),
    ('RuntimeError', 'CuPy failed to load nvrtc64_120_0.dll: FileNotFoundError', COMPILER, 'nvrtc64_120_0.dll'),
    ('RuntimeError', 'CuPy failed to load nvrtc-builtins64_129.dll', 'nvrtc-builtins, a library of CUDA', 'builtins64'),
    ('RuntimeError', 'CuPy failed to load cublas64_12.dll: FileNotFoundError', 'cublas, a library of CUDA', 'cublas64'),
    ('ImportError', BANNER % "No module named 'fastrlock'", 'the package fastrlock, which CuPy needs', 'fastrlock'),
    ('ModuleNotFoundError', "No module named 'cupy.cuda'", 'the package cupy.cuda, which CuPy needs', 'cupy.cuda'),
    ('ModuleNotFoundError', "No module named 'cupy'", 'CuPy is not installed', 'cupy'),
    ('OutOfMemoryError', 'Out of memory allocating 512 bytes', 'the memory of the GPU is full', '512'),
    ('CUDARuntimeError', 'cudaErrorMemoryAllocation: out of memory', 'the memory of the GPU is full', 'out of memory'),
    ('CUDARuntimeError', 'cudaErrorDevicesUnavailable: busy or unavailable', 'the GPU is busy', 'unavailable'),
    ('ImportError', BANNER % 'numpy.core.multiarray failed to import', 'CuPy cannot run a kernel', 'multiarray')])
def test_causes_are_told_apart_and_what_was_said_is_kept(monkeypatch, kind, said, reason, quoted):
    monkeypatch.setitem(sys.modules, 'cupy', fails(type(kind, (Exception,), {})(said)))
    with pytest.raises(ValueError) as caught:
        device.select_device('cuda')
    line = str(caught.value)
    cause, _, quote = line.partition(f' ({kind}: ')
    assert reason in cause and quoted in quote and 'Advice' not in quote and '\n' not in line and len(line) < 500


def test_a_broken_cupy_is_not_taken_for_a_missing_one(monkeypatch):
    error = ModuleNotFoundError("No module named 'fastrlock'", name='fastrlock')
    monkeypatch.setitem(sys.modules, 'cupy', fails(error))
    assert 'the package fastrlock, which CuPy needs, is missing' in device.select_device('auto')[1]


def test_a_gpu_that_computes_is_taken_and_one_that_miscomputes_is_not(cupy, monkeypatch):
    assert device.select_device('auto') == (cupy, f'CuPy {cupy.__version__} on the GPU')
    assert device.select_device('cuda')[0] is cupy
    monkeypatch.setattr(twins.Kernels, 'stack', lambda self, a, b: cupy.zeros(12, np.float32))
    assert device.select_device('auto')[0] is np
    with pytest.raises(ValueError, match='a kernel copied numbers wrongly'):
        device.select_device('cuda')


def test_a_missing_cublas_matters_only_where_it_is_needed(cupy, monkeypatch):
    def missing(*_, **__):
        raise ImportError(FINDING % (2 * ('libcublas.so.12',)))
    monkeypatch.setattr(cupy, 'matmul', missing)
    for products, needed in (('cublas', True), ('own', False)):
        monkeypatch.setattr(twins.compiled(cupy), 'products', products)
        xp, line = device.select_device('auto')
        assert (xp is np) == needed == ('cublas, a library of CUDA, is missing' in line)


def test_an_unknown_device_raises():
    with pytest.raises(ValueError, match="device: expected one of .*, got 'tpu'"):
        device.select_device('tpu')


def of_cupy(name, base, module):
    """A class of errors, as CuPy has them."""
    return type(name, (base,), {'__module__': module})


@pytest.mark.parametrize('error, said', [
    (of_cupy('OutOfMemoryError', MemoryError, 'cupy.cuda.memory')('Out of memory\nallocating 8'), 'memory of the GPU'),
    (of_cupy('CUDARuntimeError', RuntimeError, 'cupy_backends.cuda.api.runtime')('cudaErrorIllegalAddress'), 'Illegal'),
    (of_cupy('CompileException', Exception, 'cupy.cuda.compiler')('x.cu(3): error'), 'a kernel does not compile')])
def test_an_error_of_cupy_becomes_one_line_with_a_way_out(error, said):
    with pytest.raises(OSError, match=f'the GPU failed: .*{said}.*; --device cpu does without it') as caught:
        with device.gpu_errors():
            raise error
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('error', [ValueError('x'), MemoryError(), KeyboardInterrupt(), ArithmeticError('y')])
def test_other_errors_stay_as_they_are(error):
    with pytest.raises(type(error)) as caught:
        with device.gpu_errors():
            raise error
    assert caught.value is error


def test_the_errors_of_the_real_cupy_are_known():
    cupy = pytest.importorskip('cupy')
    for error in (cupy.cuda.runtime.CUDARuntimeError(700), cupy.cuda.memory.OutOfMemoryError(512, 0),
                  cupy.cuda.compiler.CompileException('error', '', 'kernels.cu', ()),
                  *(kind.__new__(kind) for kind in (cupy.cuda.driver.CUDADriverError, cupy.cuda.nvrtc.NVRTCError))):
        with pytest.raises(OSError, match='the GPU failed: '):
            with device.gpu_errors():
                raise error


def test_the_identity_of_a_gpu_changes_with_all_that_its_self_test_depends_on(cupy, monkeypatch):
    runtime, found = cupy.cuda.runtime, [device.identity(cupy)]
    properties = dict(runtime.getDeviceProperties(0))
    monkeypatch.setattr(runtime, 'getDeviceProperties', lambda number: properties)
    for change in (lambda: properties.update(name=b'a different one'), lambda: properties.update(major=8),
                   lambda: properties.update(minor=6),
                   lambda: monkeypatch.setattr(runtime, 'driverGetVersion', lambda: 13000),
                   lambda: monkeypatch.setattr(cupy.cuda.nvrtc, 'getVersion', lambda: (13, 5)),
                   lambda: monkeypatch.setattr(cupy, '__version__', '99'),
                   lambda: monkeypatch.setattr(device, '__version__', '99'),
                   lambda: monkeypatch.setattr(device, 'code', lambda: 'a different source')):
        change()
        found.append(device.identity(cupy))
    assert all(found[i] != found[j] for i in range(len(found)) for j in range(i))


@pytest.mark.parametrize('name', device.TF32)
def test_switches_that_change_what_cublas_computes_are_named(monkeypatch, name):
    for other in device.TF32:
        monkeypatch.delenv(other, raising=False)
    assert device.tf32() == []
    for value, expected in (('1', [f'{name}=1']), ('0', []), ('', [])):
        monkeypatch.setenv(name, value)
        assert device.tf32() == expected
