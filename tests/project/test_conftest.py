"""How the tests run: with one BLAS thread, and on all cores unless somebody wants to watch them."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import conftest
import pytest
from threadpoolctl import threadpool_info

COUNT = ('import numpy; from threadpoolctl import threadpool_info; '
         'print(max(library["num_threads"] for library in threadpool_info()))')


def test_this_process_and_its_children_have_one_blas_thread():
    import numpy  # noqa: F401: loads BLAS
    assert {library['num_threads'] for library in threadpool_info() if library['user_api'] == 'blas'} == {1}
    assert subprocess.run([sys.executable, '-c', COUNT], capture_output=True, text=True).stdout == '1\n'


def options(**given):
    plain = {'numprocesses': None, 'dist': 'no', 'tx': [], 'capture': 'fd', 'usepdb': False, 'trace': False,
             'collectonly': False}
    return SimpleNamespace(**{**plain, **given})


@pytest.mark.parametrize('cores, expected', [(1, None), (2, 2), (96, 8)])
def test_folders_run_on_all_cores_but_not_on_hundreds(cores, expected, tmp_path):
    assert conftest.processes(options(), [tmp_path, tmp_path], cores) == expected


@pytest.mark.parametrize('given', [{'numprocesses': 0}, {'numprocesses': 5}, {'dist': 'loadscope'}, {'tx': ['popen']},
                                   {'capture': 'no'}, {'usepdb': True}, {'trace': True}, {'collectonly': True}])
def test_the_command_line_decides_and_what_is_watched_is_not_distributed(given, tmp_path):
    assert conftest.processes(options(**given), [tmp_path], 2) is None


def test_files_and_single_tests_are_not_distributed(tmp_path):
    assert conftest.processes(options(), [tmp_path, __file__], 2) is None
    assert conftest.processes(options(), [f'{__file__}::test'], 2) is None


def test_the_slowest_folders_come_first_and_others_stay_in_order():
    root = Path(__file__).parents[1]
    assert all(list((root / name).glob('test_*.py')) for name in conftest.SLOWEST)
    names = 'core/a', 'gpu/b', 'data/c', 'gpu/d', 'bench/e', 'checks/f'
    items = [SimpleNamespace(path=root / name) for name in names]
    conftest.pytest_collection_modifyitems(SimpleNamespace(workerinput={}), items)
    assert [item.path.name for item in items] == list('ebdfac')
    items.reverse()
    conftest.pytest_collection_modifyitems(SimpleNamespace(), items)  # in one process, the order stays as it is
    assert [item.path.name for item in items] == list('cafdbe')


@pytest.mark.parametrize('flags', [[], ['-x'], ['-s'], ['--pdb'], ['-p', 'no:xdist'], ['-n', '1']])
def test_plain_pytest_and_its_usual_flags_work(flags, tmp_path):
    """-p no:xdist: as without the package. In a folder of its own, with this project's conftest."""
    if '-n' in flags and not find_spec('xdist'):
        pytest.skip("pytest-xdist is not installed: pip install -e '.[test]'")
    shutil.copy(Path(conftest.__file__), tmp_path)
    (tmp_path / 'test_one.py').write_text('import os\ndef test():\n'
                                          '    open("worker", "w").write(os.environ.get("PYTEST_XDIST_WORKER", ""))\n')
    alone = {name: value for name, value in os.environ.items() if not name.startswith('PYTEST_')}
    done = subprocess.run([sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider', '--rootdir', tmp_path, *flags,
                           tmp_path], cwd=tmp_path, capture_output=True, text=True, env=alone)
    assert done.returncode == 0 and '1 passed' in done.stdout, done.stdout + done.stderr
    several = find_spec('xdist') and conftest.available_cores() > 1
    distributed = '-n' in flags or several and flags in ([], ['-x'])
    assert (tmp_path / 'worker').read_text().startswith('gw') == bool(distributed)
