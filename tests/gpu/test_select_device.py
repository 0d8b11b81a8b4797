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


def test_a_gpu_that_computes_is_taken_and_one_that_miscomputes_is_not(monkeypatch):
    module = types.ModuleType('cupy')
    module.ones, module.__version__ = np.ones, '14.2.0'
    monkeypatch.setitem(sys.modules, 'cupy', module)
    assert device.select_device('auto') == (module, 'CuPy 14.2.0 on the GPU')
    assert device.select_device('cuda')[0] is module
    module.ones = np.zeros
    assert device.select_device('auto')[0] is np


def test_another_device_raises():
    with pytest.raises(ValueError, match="device: expected one of .*, got 'tpu'"):
        device.select_device('tpu')
