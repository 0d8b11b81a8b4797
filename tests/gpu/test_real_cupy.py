"""Processes with the real CuPy on a stand-in for CUDA: tests/support/driver."""

import shutil
from pathlib import Path

import pytest
from support import driver

if reason := driver.missing():
    pytest.skip(f'the real CuPy cannot run here: {reason}', allow_module_level=True)


def test_the_tests_for_a_gpu_pass():
    """All but seconds of work for a GPU, and the many steps that test_device.py and test_graph.py take."""
    done = driver.python('-m', 'pytest', '-q', '-p', 'support.driver.plugin', '-p', 'no:xdist', '-p',
                         'no:cacheprovider', '-k', 'not asked_for and not hundred and not replays',
                         Path(__file__).with_name('test_gpu.py'))
    assert done.returncode == 0 and ' passed' in done.stdout, done.stdout + done.stderr


def test_a_function_runs_in_a_process_of_its_own():
    assert driver.run('gpu.test_real_cupy:double', 3) == [6.0, {'cupy_add__float64_float_float64': 1}]
    with pytest.raises(RuntimeError, match="has no attribute 'nothing'"):
        driver.run('gpu.test_real_cupy:nothing')


def test_without_execution_launches_are_counted_and_compute_nothing():
    assert driver.run('gpu.test_real_cupy:double', 3, executes=False) == [3.0, {'cupy_add__float64_float_float64': 1}]


def double(stand_in, number):
    """For the tests above: runs in that process."""
    x = stand_in.cupy.asarray([float(number)])
    stand_in.clear()
    x += number
    return float(x[0]), stand_in.launched


OUTCOMES = '''
import ctypes
import pytest

def test_one(driver): pass
def test_two(driver): assert driver.cupy.ones(3).sum() == 4
def test_three(): pass
def test_four(driver): pytest.skip('because')
def test_five(driver): ctypes.string_at(0)
def test_six(driver): pass
'''


def test_failures_skips_and_crashes_in_the_child_are_reported(tmp_path):
    shutil.copy(Path(__file__).parents[1] / 'conftest.py', tmp_path)
    (tmp_path / 'test_outcomes.py').write_text(OUTCOMES)
    done = driver.python('-m', 'pytest', '-ra', '-p', 'no:xdist', '-p', 'no:cacheprovider', tmp_path, cwd=tmp_path)
    for line in ('SKIPPED [1] test_outcomes.py:8: because', 'FAILED test_outcomes.py::test_two - Assert',
                 'Segmentation fault', 'FAILED test_outcomes.py::test_five - the child process ended early',
                 'FAILED test_outcomes.py::test_six - the child process ended early', '3 failed, 2 passed, 1 skipped'):
        assert line in done.stdout, done.stdout
