"""The real CuPy on a stand-in for CUDA (tests/support/driver): files of tests that need a process of their own.

One file:  pytest -p support.driver.plugin tests/gpu/cupy_graphs.py  (with PYTHONPATH=tests)
"""

from pathlib import Path

import pytest
from support import driver

HERE = Path(__file__).parent
ELSEWHERE = {'test_gpu.py': 'not asked_for and not hundred'}  # asks for seconds of work; in cupy_training.py
FILES = sorted(path.name for path in HERE.glob('cupy_*.py')) + sorted(ELSEWHERE)

if reason := driver.missing():
    pytest.skip(f'the real CuPy cannot run here: {reason}', allow_module_level=True)


@pytest.mark.parametrize('name', FILES)
def test_its_tests_pass(name):
    done = driver.python('-m', 'pytest', '-q', '-p', 'support.driver.plugin', '-p', 'no:xdist', '-p',
                         'no:cacheprovider', '-k', ELSEWHERE.get(name, ''), HERE / name)
    assert done.returncode == 0, done.stdout + done.stderr


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
