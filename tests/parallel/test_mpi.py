"""Real processes under mpiexec: they find each other, and end together."""

import os

import pytest
from support import mpi

pytest.importorskip('mpi4py', reason="needs mpi4py: pip install -e '.[mpi]'")
pytestmark = [pytest.mark.skipif(mpi.MPIEXEC is None, reason='needs mpiexec'),
              pytest.mark.skipif(not os.path.exists('/proc/self/environ'), reason='reads /proc')]
HEAD = """
import os, signal, sys, time
sys.argv[0] = 'minigan'
import minigan
from minigan.cli import main
from minigan.parallel import world
from minigan.training.signals import Stopped, signals_received
rank = int(os.environ.get('PMI_RANK', 0))
def kill(number):
    os.kill(os.getpid(), number)
"""
BODY = """
def train(ranks):
    {}
    return 'run'
minigan.train = train
sys.exit(main(['train']))"""
DONE = 'Done. Look at run/samples, run/losses.png and run/log.csv; minigan sample run draws more.\n'


def run(body, n=2, head=HEAD, **environment):
    """What `mpiexec -n N minigan train` returns when this is done instead of training."""
    return mpi.done(n, head + BODY.format(body.replace('\n', '\n    ')), **environment)


def test_ranks_find_each_other_and_only_the_first_says_something():
    code, out, err = run("""print(ranks.rank, ranks.size, ranks.comm.allreduce(rank + 1))
print('err', file=sys.stderr)""", 3)
    assert (code, out, err) == (0, f'0 3 6\n{DONE}', 'err\n')


def test_two_ranks_on_two_cores_have_a_thread_each():
    code, out, err = run("""from threadpoolctl import threadpool_info
from minigan.native import twins
blas = {one['num_threads'] for one in threadpool_info() if one['user_api'] == 'blas'}
assert (blas, twins.threads()) == ({1}, 1), (blas, twins.threads())""", head=f"""
import os
os.sched_setaffinity(0, [*os.sched_getaffinity(0)][:2])
{HEAD}""", **dict.fromkeys(['OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS'], ''))
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
    code, out, err = run(f"if rank == {rank}:\n    raise KeyError('a bug')\nranks.comm.Barrier()")
    assert (code, out, err) == (1, '', f"\nminigan: rank {rank} of 2 ends all: KeyError('a bug')\n")


def test_a_rank_that_fails_when_the_others_have_ended_ends_all():
    code, out, err = run('if rank == 1:\n    sys.exit(3)')
    assert (code, out, err) == (1, DONE, '\nminigan: rank 1 of 2 ends all: SystemExit(3)\n')


def test_a_rank_that_cannot_join_the_others_ends_all():
    assert run('ranks.comm.Barrier()', head=f"""{HEAD}
def fail(host):
    raise OSError('no cores')
if rank == 1:
    world._divide_cores = fail""") == (1, '', "\nminigan: rank 1 of 2 ends all: OSError('no cores')\n")


def test_a_rank_that_is_killed_ends_all():
    code, _, err = run('if rank:\n    kill(signal.SIGKILL)\nranks.comm.Barrier()')
    assert code and 'Traceback' not in err


def test_a_signal_before_a_rank_meets_the_others_ends_all():
    code, _, err = run('ranks.comm.Barrier()', head=f"""{HEAD}
initialised = world._initialised
def signaled():
    if rank:
        kill(signal.SIGTERM)
    return initialised()
world._initialised = signaled""")
    assert code and 'Traceback' not in err


def test_a_signal_to_the_rank_that_the_others_wait_for_ends_all():
    assert run('ranks.on_first(lambda: kill(signal.SIGTERM))') == (
        143, '', '\nminigan: rank 0 of 2 ends all: stopped by SIGTERM\n')


def test_all_ranks_agree_on_a_signal_that_any_of_them_receives():
    code, out, err = run("""agreed = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    for receiver in (0, 1):
        with signals_received() as received:
            if rank == receiver:
                kill(number)
            agreed += ranks.agreed(received)
print(ranks.comm.gather(agreed))""")
    assert (code, out, err) == (0, f'{[[2, 2, 15, 15, 1, 1]] * 2}\n{DONE}', '')


def test_one_process_needs_no_mpi():
    head = f'{HEAD}sys.modules["mpi4py"] = None  # its import would fail'
    assert run('ranks is world.ALONE or sys.exit(1)', 1, head) == (0, DONE, '')
