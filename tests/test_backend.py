"""A device is taken only when it really computes."""

import platform
import subprocess
import sys
import types

import numpy as np
import pytest

from minigan import backend


def test_the_array_module_follows_the_array():
    assert backend.array_module(np.ones(1)) is np


def test_to_host_copies_from_a_device():
    host = np.ones(2)
    assert backend.to_host(host) is host
    assert backend.to_host(types.SimpleNamespace(get=lambda: host)) is host


def test_the_cpu_is_numpy():
    assert backend.select_device('cpu') == (np, 'NumPy on the CPU')


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
    xp, line = backend.select_device('auto')
    assert xp is np and reason in line and 'Error: ' in line and '\n' not in line
    with pytest.raises(ValueError, match=f"device 'cuda': .*{reason}"):
        backend.select_device('cuda')


def test_a_gpu_that_computes_is_taken_and_one_that_miscomputes_is_not(monkeypatch):
    module = types.ModuleType('cupy')
    module.ones, module.__version__ = np.ones, '14.2.0'
    monkeypatch.setitem(sys.modules, 'cupy', module)
    assert backend.select_device('auto') == (module, 'CuPy 14.2.0 on the GPU')
    assert backend.select_device('cuda')[0] is module
    module.ones = np.zeros
    assert backend.select_device('auto')[0] is np


def test_another_device_raises():
    with pytest.raises(ValueError, match="device: expected 'cpu', 'cuda' or 'auto', got 'tpu'"):
        backend.select_device('tpu')


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='a habit of glibc')
def test_freed_memory_is_kept_for_the_next_step():
    program = """if True:
        import resource, sys
        import numpy as np
        from minigan.backend import keep_freed_memory

        def faults():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(100):
                a, b = np.ones(300_000), np.ones(300_000)  # 1,200 pages, taken and freed together
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        sys.argv[1:] and keep_freed_memory()
        faults()
        print(faults())
        """
    kept, given_back = (int(subprocess.run([sys.executable, '-c', program, *argument], capture_output=True, text=True,
                                           check=True).stdout) for argument in (['keep'], []))
    assert kept < 1000 < given_back
