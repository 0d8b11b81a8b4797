"""A device is taken only when it really computes."""

import sys
import types

import numpy as np
import pytest

from minigan.gpu import device


def test_the_cpu_is_numpy():
    assert device.select_device('cpu') == (np, 'NumPy on the CPU')


def fails(error):
    def ones(shape):
        raise error
    module = types.ModuleType('cupy')
    module.ones = ones
    return module


@pytest.mark.parametrize('module, reason', [
    (None, 'CuPy is not installed; pip install'),
    (fails(ZeroDivisionError('by zero')), 'CuPy cannot run a kernel here'),
    (fails(RuntimeError('cudaErrorInsufficientDriver: CUDA driver version\nis insufficient')), 'no NVIDIA driver'),
    (fails(RuntimeError('cudaErrorNoDevice: no CUDA-capable device')), 'there is no NVIDIA GPU'),
    (fails(RuntimeError('CuPy failed to load libnvrtc.so.12')), "NVRTC, CUDA's compiler, is missing")])
def test_without_a_working_gpu_auto_falls_back_and_cuda_says_why(monkeypatch, module, reason):
    monkeypatch.setitem(sys.modules, 'cupy', module)
    xp, line = device.select_device('auto')
    assert xp is np and reason in line and 'Error: ' in line and '\n' not in line
    with pytest.raises(ValueError, match=f"device 'cuda': .*{reason}"):
        device.select_device('cuda')


RULE, ADVICE = '=' * 70, 'Advice. ' * 60 + 'libnvrtc.so.12 is one of the libraries.'
BANNER = f'{RULE}\nFailed to import CuPy. {ADVICE}\n\nOriginal error:\n  %s\n{RULE}'
LIBRARY = '%s: cannot open shared object file: No such file or directory'
LISTING = 'libcublas.so.13 is not in nvidia/cu13/lib, which has libnvrtc.so.13'
UNKNOWN, DRIVER, COMPILER = 'does not know this GPU', 'there is no NVIDIA driver', "NVRTC, CUDA's compiler, is missing"


@pytest.mark.parametrize('kind, said, reason, quoted', [
    ('CompileException', 'nvrtc: error: invalid value for --gpu-architecture (-arch)', UNKNOWN, '-arch'),
    ('CUDARuntimeError', 'cudaErrorNoKernelImageForDevice: no kernel image', UNKNOWN, 'no kernel image'),
    ('CUDADriverError', 'CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the PTX', UNKNOWN, 'the PTX'),
    ('ImportError', BANNER % LIBRARY % 'libcudart.so.12', 'cudart, a library of CUDA, is missing', 'libcudart.so.12'),
    ('ImportError', LIBRARY % 'libcublas.so.12', 'cublas, a library of CUDA, is missing', 'libcublas.so.12'),
    ('ImportError', LIBRARY % 'libcublasLt.so.12', 'cublasLt, a library of CUDA, is missing', 'libcublasLt.so.12'),
    ('ImportError', LISTING, 'cublas, a library of CUDA, is missing', 'libcublas.so.13'),
    ('ImportError', LIBRARY % 'libcuda.so.1', DRIVER, 'libcuda.so.1'),
    ('RuntimeError', 'CuPy failed to load nvrtc64_120_0.dll: FileNotFoundError', COMPILER, 'nvrtc64_120_0.dll'),
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


def test_a_gpu_that_computes_is_taken_and_one_that_miscomputes_is_not(monkeypatch):
    module = types.ModuleType('cupy')
    module.ones, module.__version__ = np.ones, '14.2.0'
    monkeypatch.setitem(sys.modules, 'cupy', module)
    assert device.select_device('auto') == (module, 'CuPy 14.2.0 on the GPU')
    assert device.select_device('cuda')[0] is module
    module.ones = np.zeros
    assert device.select_device('auto')[0] is np


def test_an_unknown_device_raises():
    with pytest.raises(ValueError, match="device: expected one of .*, got 'tpu'"):
        device.select_device('tpu')
