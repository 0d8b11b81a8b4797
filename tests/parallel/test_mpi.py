"""Real processes under mpiexec: they find each other, and end together."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('mpi4py', reason="needs mpi4py: pip install -e '.[mpi]'")
MPIEXEC = shutil.which('mpiexec', path=f'{Path(sys.executable).parent}{os.pathsep}{os.environ.get("PATH", "")}')
pytestmark = pytest.mark.skipif(MPIEXEC is None, reason='needs mpiexec')
ROOT = Path(__file__).parents[2]
THREADS = 'OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS'
HEAD = """if True:
    import os, signal, sys, time
    import numpy as np
    from minigan import cli
    from minigan.parallel import world
    from minigan.training.signals import Stopped
    def command():
        ranks = world.join()
        from mpi4py import MPI
        with world.leaving(ranks):
"""
TAIL = """
    cli._run = lambda arguments: command() or 0
    sys.exit(cli.main([]))"""


def run(body, n=2, head=HEAD, tail=TAIL, **environment):
    program = head + '\n'.join(12 * ' ' + line for line in body.splitlines()) + tail
    kept = {name: text for name, text in os.environ.items() if name not in THREADS}
    done = subprocess.run([MPIEXEC, '-n', str(n), sys.executable, '-c', program], timeout=60, text=True,
                          capture_output=True, env={**kept, 'PYTHONPATH': str(ROOT), **environment})
    return done.returncode, done.stdout, done.stderr


def test_ranks_find_each_other_and_only_the_first_says_something():
    code, out, err = run("""total = MPI.COMM_WORLD.allreduce(ranks.rank + 1)
print(ranks.rank, ranks.size, total)
print('err', file=sys.stderr)""", 3)
    assert (code, out, err) == (0, '0 3 6\n', 'err\n')


def test_cores_are_divided_among_the_ranks():
    code, out, err = run("""from threadpoolctl import threadpool_info
from minigan.native import twins
blas = {one['num_threads'] for one in threadpool_info() if one['user_api'] == 'blas'}
cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
assert twins.threads() == min(16, max(1, cores // 2)), twins.threads()
assert all(1 <= one <= max(1, cores // 2) for one in blas), blas""")
    assert (code, err) == (0, '')


@pytest.mark.parametrize('failure, code, said', [
    ("ValueError('batch: expected 4')", 2, 'minigan: error: batch: expected 4\n'),
    ("Stopped(15, 'go on')", 143, 'minigan: stopped by SIGTERM; to go on: go on\n')])
def test_what_ends_all_ranks_is_said_once(failure, code, said):
    assert run(f'raise {failure}') == (code, '', said)


def test_ranks_that_fail_one_after_the_other_end_in_order():
    assert run("time.sleep(ranks.rank)\nraise OSError(f'full disk of {ranks.rank}')") == (
        2, '', 'minigan: error: full disk of 0\n')


@pytest.mark.parametrize('rank', [0, 1])
def test_a_rank_that_fails_alone_ends_all_and_is_named(rank):
    code, out, err = run(f"if ranks.rank == {rank}:\n    raise KeyError('a bug')\nMPI.COMM_WORLD.Barrier()")
    assert code == 1 and out == ''
    assert err == f"minigan: rank {rank} of 2 has failed, and ends all: KeyError('a bug')\n"


def test_a_rank_that_is_killed_ends_all():
    code, _, err = run('if ranks.rank:\n    os.kill(os.getpid(), signal.SIGKILL)\nMPI.COMM_WORLD.Barrier()')
    assert code and 'Traceback' not in err


def test_one_process_needs_no_mpi():
    code, out, err = run("assert ranks is world.ALONE", 1, HEAD.replace(
        'from mpi4py import MPI', "assert 'mpi4py' not in sys.modules"))
    assert (code, out, err) == (0, '', '')
