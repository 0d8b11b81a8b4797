"""How the tests run: one BLAS thread per process, folders on all cores, Hypothesis profiles; and CuPy."""

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

for name in ('OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'VECLIB_MAXIMUM_THREADS'):
    os.environ[name] = '1'  # before NumPy is imported, for this process and its children

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

MOST_PROCESSES = 8
SLOWEST = 'bench', 'study', 'gpu', 'training', 'project', 'checks'  # folders; they start first

settings.register_profile('default', max_examples=40, deadline=None, derandomize=True, database=None)
settings.register_profile('thorough', max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile('default')
signal.signal(signal.SIGINT, signal.default_int_handler)  # `pytest &` in a script ignores it, and so would every child


@pytest.fixture(scope='session', autouse=True)
def _no_gpu():
    """Hide a GPU from `--device auto`, here and in child processes, so that every machine gives the same results.

    test_gpu.py has taken the GPU before, when it was collected.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('CUDA_VISIBLE_DEVICES', '')
        yield


@pytest.fixture(scope='session', autouse=True)
def _native_library():
    """Build the native library in the user's cache folder, where all test processes and their children find it.

    A process asks once, so it asks before a test changes $PATH or the cache folder.
    """
    with suppress(ModuleNotFoundError):  # a test takes folders of the package away
        from minigan.native.twins import native
        native()


@pytest.fixture(autouse=True)
def _no_native_twins():
    """A test begins without native twins, even if a fixture of its module has trained, and leaves none behind."""
    from minigan import backend
    backend.TWINS.pop('numpy', None)
    before = backend.TWINS.copy()
    yield
    backend.TWINS.clear()
    backend.TWINS.update(before)


@pytest.fixture(scope='module')  # those of a different module may have loaded the library anew
def twins():
    """The native twins; a test that needs them is skipped where no compiler is, and fails where they do not work."""
    from minigan.native import library
    from minigan.native.twins import native
    if not any(map(shutil.which, library.COMPILERS)):
        pytest.skip('no C++ compiler')
    found = native()
    assert not isinstance(found, str), found
    return found


@pytest.fixture
def filled(fresh, twins):
    """That cache folder with the library in it."""
    fresh.mkdir(mode=0o700, parents=True)
    shutil.copy(twins.library._name, fresh)
    return fresh


@pytest.fixture
def fresh(twins, monkeypatch, tmp_path):
    """A cache folder of its own, in a process that has not asked for native twins yet."""
    from minigan.native.twins import native
    monkeypatch.setenv('MINIGAN_DATA', str(tmp_path / 'cache'))
    native.cache_clear()
    yield tmp_path / 'cache' / 'native'
    native.cache_clear()


@pytest.fixture
def driver(request):
    """What stands in for CUDA below the real CuPy, as new; see tests/support/driver."""
    from support.driver import missing
    if reason := missing():
        pytest.skip(f'the real CuPy cannot run here: {reason}')
    request.config.driver.reset()
    return request.config.driver


@pytest.fixture
def cupy(driver, monkeypatch, tmp_path_factory):
    """The real CuPy, on a CPU; outcomes of its self-test are kept in a folder of this test."""
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    monkeypatch.setenv('MINIGAN_DATA', str(tmp_path_factory.mktemp('cache')))
    return driver.cupy


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Tests that ask for the real CuPy run in a process of their own."""
    if 'driver' in getattr(item, 'fixturenames', ()) and not hasattr(item.config, 'driver'):
        from support.driver import plugin
        return plugin.run(item, nextitem)


def available_cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def processes(option, paths, cores):
    """How many processes the tests of these paths run in; None: in this one, or in as many as the command line says.

    Folders are distributed if pytest-xdist is installed. Files, single tests, and runs with -s, --pdb or --trace are
    not.
    """
    if getattr(option, 'numprocesses', 1) is not None or option.dist != 'no' or option.tx:
        return None
    watched = option.capture == 'no' or option.usepdb or option.trace or option.collectonly
    if watched or cores < 2 or not all(Path(path).is_dir() for path in paths):
        return None
    return min(cores, MOST_PROCESSES)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Distribute whole files, so that the fixtures of a module are made once."""
    if hasattr(config, 'workerinput'):  # this is a worker, which starts no more
        return
    number = processes(config.option, config.args, available_cores())
    if number:
        config.option.numprocesses, config.option.dist, config.option.loadscopereorder = number, 'loadfile', False


def pytest_collection_modifyitems(config, items):
    """With several processes, begin with the slowest folders: the last files are then short, and all end together."""
    if hasattr(config, 'workerinput'):
        items.sort(key=lambda item: (*SLOWEST, item.path.parent.name).index(item.path.parent.name))
