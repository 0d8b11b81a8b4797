"""The real CuPy on a stand-in for CUDA (tests/support/driver): files of tests that need a process of their own.

One file:  pytest -p support.driver.plugin tests/gpu/cupy_graphs.py  (with PYTHONPATH=tests)
"""

from pathlib import Path

import pytest
from support import driver

HERE = Path(__file__).parent
ELSEWHERE = {'test_gpu.py': 'not asked_for and not goodfellow2014'}  # seconds of work; minutes of small reductions
FILES = sorted(path.name for path in HERE.glob('cupy_*.py')) + sorted(ELSEWHERE)

if reason := driver.missing():
    pytest.skip(f'the real CuPy cannot run here: {reason}', allow_module_level=True)


@pytest.mark.parametrize('name', FILES)
def test_its_tests_pass(name):
    done = driver.python('-m', 'pytest', '-q', '-p', 'support.driver.plugin', '-p', 'no:xdist', '-p',
                         'no:cacheprovider', '-k', ELSEWHERE.get(name, ''), HERE / name)
    assert done.returncode == 0, done.stdout + done.stderr


def costs(stand_in):
    """For the test below: one launch."""
    return stand_in.costs(stand_in.cupy.ones(3).sum), stand_in.launched


def test_a_function_runs_in_a_process_of_its_own():
    assert driver.run('gpu.test_real_cupy:costs') == [{'launches': 1}, {'cupy_sum': 1}]
    with pytest.raises(RuntimeError, match="has no attribute 'nothing'"):
        driver.run('gpu.test_real_cupy:nothing')


def test_without_execution_launches_are_counted_and_compute_nothing():
    assert driver.run('gpu.test_real_cupy:without_execution', executes=False) == [{'launches': 1}, True]


def without_execution(stand_in):
    """For the test above: whether x + x is still what the memory held."""
    x = stand_in.cupy.asarray([1.0, 2.0])
    out = stand_in.cupy.zeros_like(x)
    return stand_in.costs(lambda: stand_in.cupy.add(x, x, out=out)), out.get().tolist() == [0, 0]
