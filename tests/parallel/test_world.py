"""How a process finds out that it is one of many, with a stand-in for mpi4py."""

import os
import sys
from types import ModuleType, SimpleNamespace

import pytest

from minigan.parallel import world

FIXED = 'OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS'
VARIABLES = *world.SIZE, *world.RANK, 'SLURM_NTASKS', world.GPUS, *FIXED
MPICH = {'PMI_SIZE': '2', 'PMI_RANK': '0', 'PMI_FD': '7'}
OPEN_MPI = {'OMPI_COMM_WORLD_SIZE': '2', 'OMPI_COMM_WORLD_RANK': '0', 'PMIX_RANK': '0'}


def joined():
    """What together() gives."""
    with world.together() as ranks:
        return ranks


class Ended(BaseException):
    """Abort has been called."""


class World:
    """A communicator of whose ranks only one exists. patience: how often Test says no."""

    def __init__(self, rank, size, patience=0):
        self.rank, self.size, self.patience = rank, size, patience

    def Split_type(self, kind):
        return self

    def allgather(self, value):
        return [value] * self.size

    def Dup(self):
        return World(self.rank, self.size)

    def Ibarrier(self):
        def test():
            self.patience -= 1
            return self.patience < 0
        return SimpleNamespace(Test=test)

    def Abort(self, code):
        raise Ended(code)


@pytest.fixture
def environment(monkeypatch):
    """Sets the variables of a launcher, and no others that matter."""
    monkeypatch.setattr(os, 'environ', {name: text for name, text in os.environ.items() if name not in VARIABLES})
    monkeypatch.setattr(sys, 'stdout', sys.stdout)
    monkeypatch.setattr(sys, 'stderr', sys.stderr)
    return os.environ.update


@pytest.fixture
def mpi(monkeypatch):
    """Puts a stand-in for mpi4py in place, of one rank among some, and returns it."""
    def install(rank, size, library='MPICH Version:      5.0.2\nMPICH Release date: today', patience=0):
        package, module = ModuleType('mpi4py'), ModuleType('mpi4py.MPI')
        package.rc, package.MPI = SimpleNamespace(), module
        vars(module).update(COMM_WORLD=World(rank, size, patience), COMM_TYPE_SHARED=1, Is_initialized=lambda: False,
                            Init_thread=lambda: None, Get_library_version=lambda: library)
        monkeypatch.setitem(sys.modules, 'mpi4py', package)
        monkeypatch.setitem(sys.modules, 'mpi4py.MPI', module)
        limits = []
        monkeypatch.setattr('threadpoolctl.threadpool_limits', lambda *given: limits.append(given))
        module.limits = limits
        return module
    return install


@pytest.mark.parametrize('given', [
    {}, {'SLURM_NTASKS': '4', 'SLURM_STEP_NUM_TASKS': '4'}, {'PMI_SIZE': '1', 'PMI_RANK': '0'},
    {'OMPI_COMM_WORLD_SIZE': '1', 'PMIX_RANK': '0'}])
def test_one_process_is_alone_and_imports_nothing(given, environment, monkeypatch):
    environment(given)
    monkeypatch.setitem(sys.modules, 'mpi4py', None)  # its import would fail
    assert joined() is world.ALONE


@pytest.mark.parametrize('given, library', [(MPICH, 'MPICH Version: 5'), (OPEN_MPI, 'Open MPI v5.0.11, package: P'),
                                            ({'PMIX_RANK': '0'}, 'Open MPI v5.0.11, package: P')])
def test_a_process_of_a_launcher_has_its_rank(given, library, environment, mpi):
    environment(given)
    mpi(0, 2, library)
    ranks = joined()
    assert (ranks.rank, ranks.size) == (0, 2)


@pytest.mark.parametrize('given', [MPICH, OPEN_MPI, {'PMIX_RANK': '0'}])
def test_without_mpi4py_one_line_says_what_to_install(given, environment, monkeypatch):
    environment(given)
    monkeypatch.setitem(sys.modules, 'mpi4py', None)
    with pytest.raises(ValueError, match=r"expected mpi4py .*pip install -e '.\[mpi\]'") as raised:
        joined()
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize('name', ['PMI_RANK', 'OMPI_COMM_WORLD_RANK', 'PMIX_RANK'])
def test_only_the_first_process_of_a_launcher_speaks(name, environment):
    environment({name: '0'})
    world.silence()
    assert sys.stdout and sys.stderr
    environment({name: '1'})
    world.silence()
    assert sys.stdout is None and sys.stderr is None


def test_without_a_library_one_line_says_what_to_install(environment, mpi, monkeypatch):
    environment(MPICH)

    class NoLibrary(ModuleType):
        def __getattr__(self, name):
            raise RuntimeError('cannot load MPI library\nlibmpi.so: no such file')

    package = NoLibrary('mpi4py')
    package.rc = SimpleNamespace()
    monkeypatch.setitem(sys.modules, 'mpi4py', package)
    with pytest.raises(ValueError, match='pip install .*got cannot load MPI library$'):
        joined()


@pytest.mark.parametrize('given', [MPICH, {'PMIX_RANK': '0', 'SLURM_STEP_NUM_TASKS': '2'}])
def test_an_mpiexec_of_a_different_mpi_is_refused(given, environment, mpi):
    environment(given)
    mpi(0, 1, 'Open MPI v5.0.11, package: P')
    with pytest.raises(ValueError, match='mpiexec: expected that of .* Open MPI v5.0.11, got that of a different MPI$'):
        joined()


@pytest.mark.parametrize('shown, first, last', [
    (None, '0', '2'), ('4,5,6', '4', '6'), ('4,5', '4', ''), ('', '', ''), ('-1', '-1', '-1')])
def test_each_rank_sees_a_gpu_of_its_own(shown, first, last, environment, mpi):
    for rank, one in ((0, first), (2, last)):
        os.environ.pop(world.GPUS, None)
        environment({'PMI_SIZE': '3', 'PMI_RANK': str(rank)} | ({} if shown is None else {world.GPUS: shown}))
        mpi(rank, 3)
        joined()
        assert os.environ[world.GPUS] == one


def test_gpus_that_a_launcher_has_divided_stay_so(environment, mpi, monkeypatch):
    environment({'PMI_SIZE': '2', 'PMI_RANK': '1', world.GPUS: '1'})
    mpi(1, 2)
    monkeypatch.setattr(World, 'allgather', lambda self, value: ['0', value])
    joined()
    assert os.environ[world.GPUS] == '1'


def test_mpich_is_not_initialised_under_the_mpiexec_of_open_mpi(environment, mpi):
    environment(OPEN_MPI)
    mpi(0, 1).Init_thread = lambda: pytest.fail('MPICH ends the process here')
    with pytest.raises(ValueError, match='mpiexec: expected that of .* MPICH Version: 5.0.2, got'):
        joined()


@pytest.mark.parametrize('size, cores, threads', [(2, 8, 4), (3, 8, 2), (4, 2, 1)])
def test_ranks_on_a_host_divide_its_cores(size, cores, threads, environment, mpi, monkeypatch):
    environment({**MPICH, 'PMI_SIZE': str(size)})
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(cores)), raising=False)
    limits = mpi(0, size).limits
    joined()
    assert limits == [(threads, 'blas')] and os.environ['OPENBLAS_NUM_THREADS'] == str(threads)


def test_a_rank_that_is_bound_to_cores_of_its_own_uses_them(environment, mpi, monkeypatch):
    environment(MPICH)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0, 1, 2}, raising=False)
    monkeypatch.setattr(World, 'allgather', lambda self, mine: [mine, {3, 4, 5} if type(mine) is set else mine])
    limits = mpi(0, 2).limits
    joined()
    assert limits == [(3, 'blas')]


@pytest.mark.parametrize('name', FIXED)
def test_the_environment_fixes_the_threads(name, environment, mpi):
    environment({**MPICH, name: '3'})
    limits = mpi(0, 2).limits
    joined()
    assert limits == [] and {os.environ.get(name) for name in FIXED} == {'3', None}


def test_an_exception_of_one_process_is_its_own(environment):
    with pytest.raises(KeyError), world.together():
        raise KeyError('a bug')


def test_an_exception_of_all_ranks_is_raised_on_each(environment, mpi, capsys):
    environment(MPICH)
    mpi(0, 2, patience=3)
    with pytest.raises(OSError, match='disk'), world.together():
        raise OSError('disk')
    assert capsys.readouterr().err == ''


class Stop(KeyboardInterrupt):
    signal = 15


@pytest.mark.parametrize('error, code, said', [
    (ValueError('a\nb'), 1, "ValueError('a\\nb')"), (KeyboardInterrupt(), 130, 'interrupted'),
    (Stop('stopped by SIGTERM'), 143, 'stopped by SIGTERM')])
def test_an_exception_of_one_rank_ends_all_with_its_code(error, code, said, environment, mpi, monkeypatch, tmp_path):
    environment(MPICH)
    mpi(1, 2, patience=10 ** 9)
    monkeypatch.setattr(world, 'PATIENCE', .02)
    with (tmp_path / 'err').open('w') as stream, pytest.raises(Ended) as raised:
        monkeypatch.setattr(sys, '__stderr__', stream)
        with world.together():
            raise error
    assert raised.value.args == (code,)
    assert (tmp_path / 'err').read_text() == f'\nminigan: rank 1 of 2 ends all: {said}\n'


def test_a_second_signal_during_the_wait_ends_all(environment, mpi, monkeypatch):
    environment(MPICH)
    mpi(0, 2, patience=10 ** 9)
    monkeypatch.setattr(sys, '__stderr__', None)

    def interrupted(seconds):
        raise Stop

    monkeypatch.setattr(world.time, 'sleep', interrupted)
    with pytest.raises(Ended), world.together():
        raise ValueError('first')
