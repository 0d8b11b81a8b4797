"""minigan train under mpiexec: its runs equal those of the stand-in, and whatever ends one ends it whole."""

import shutil
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from support import mpi

from minigan.parallel.in_turn import in_turn
from minigan.parallel.ranks import Ranks
from minigan.storage import archive
from minigan.storage.files import locked
from minigan.training import Config, resume, train

pytest.importorskip('mpi4py', reason="needs mpi4py: pip install -e '.[mpi]'")
pytestmark = [pytest.mark.skipif(mpi.MPIEXEC is None, reason='needs mpiexec'),
              pytest.mark.skipif(not Path('/proc/self/environ').exists(), reason='reads /proc')]
KILLS = settings.default.max_examples // 20  # 2; thorough: 20
FLAGS = '--epochs', '2', '--batch', '120', '--schedule', 'constant', '--seed', '5'  # 11 steps per epoch
BOARD = find_spec('tensorboard') is not None
COMMAND = """
import os, sys, time
sys.argv[0] = 'minigan'
from minigan import cli
from minigan.storage import files
from minigan.training.state import Run
rank, step = int(os.environ['PMI_RANK']), Run.step
def step_and(run):
    logits = step(run)
    after(run.t)
    return logits
def after(t):
    {}
Run.step = step_and
sys.exit(cli.main(sys.argv[1:]))"""


def minigan(*arguments, after='pass', n=2, **options):
    """What `mpiexec -n N minigan train` returns, if this happens after each step."""
    return mpi.done(n, COMMAND.format(after), 'train', *arguments, **options)


def stand_in(size, work):
    """work(ranks) in as many threads, which are ranks of one run."""
    in_turn(size, lambda comm: work(Ranks(comm)))


def small(**choices):
    return Config(**{'epochs': 2, 'batch': 120, 'schedule': 'constant', 'seed': 5, **choices})


def content(folder, name='last.npz'):
    """All that must be the same, as bytes: everything but the seconds."""
    arrays, _ = archive.load(Path(folder) / name)
    del arrays['run.seconds']
    arrays['run.log'] = arrays['run.log'][:, :-1]
    return {name: array.tobytes() for name, array in arrays.items()}


def assert_same_run(folder, whole):
    assert content(folder) == content(whole) and content(folder, 'best.npz') == content(whole, 'best.npz')
    for name in ('samples/epoch-0002.png', 'samples.gif', 'losses.png'):
        assert (Path(folder) / name).read_bytes() == (Path(whole) / name).read_bytes()
    assert not list(Path(folder).rglob('*.unfinished'))


def last_line(text):
    return text.splitlines()[-1]


def step_of(folder):
    return int(archive.load(folder)[0]['run.t'])


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The folder that all these tests work in, as they share runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp('runs'))
        yield Path()


@pytest.fixture(scope='module')
def whole(folder):
    """What an uninterrupted run of 2 processes says, and leaves in the folder `whole`."""
    return minigan(*FLAGS, *['--tensorboard'][:BOARD], '-o', 'whole')


@pytest.fixture(scope='module')
def full(folder):
    """What is said when the disk is full for rank 0 after 15 steps; the run is in the folder `full`."""
    return minigan(*FLAGS, '--save-every', '0', '-o', 'full', after="""if (rank, t) == (0, 15):
        files.open = lambda path, mode, **options: open('/dev/full', 'w' + mode[1:], **options)""")


def test_two_processes_write_what_one_writes_and_compute_what_the_stand_in_computes(whole):
    code, out, err = whole
    assert (code, out) == (0, 'Done. Look at whole/samples, whole/losses.png and whole/log.csv; minigan sample whole '
                           'draws more.\n')
    assert err.count('in 2 processes') == 1 and '22/22' in err and 'Traceback' not in err
    train(small(out='one', tensorboard=BOARD), quiet=True)
    names = [sorted(path.relative_to(run).as_posix() for path in Path(run).rglob('*') if 'tfevents' not in path.name)
             for run in ('whole', 'one')]
    assert names[0] == names[1]
    assert len(list(Path('whole').rglob('*tfevents*'))) == BOARD
    stand_in(2, lambda ranks: train(small(out='stand-in'), quiet=True, ranks=ranks))
    assert_same_run('stand-in', 'whole')


def test_a_signal_to_any_process_stops_all_after_a_step_and_the_run_goes_on_to_the_same_bytes(whole):
    to_rank_1 = """if (rank, t) == (1, 5):
        try:
            files.locked('run').__enter__()
        except ValueError as error:
            open('locked', 'w').write(str(error))
        os.kill(os.getpid(), 15)"""
    code, out, err = minigan(*FLAGS, '-o', 'run', after=to_rank_1)
    assert (code, out, step_of('run')) == (143, '', 5)
    assert last_line(err) == 'minigan: stopped by SIGTERM; to go on: minigan train --resume run'
    assert Path('locked').read_text() == 'run: another process is at work in this folder'
    slow = "if t > 8: open('ready', 'w').close(), time.sleep(.2)"
    with mpi.started(2, COMMAND.format(slow), 'train', '--resume', 'run') as run:
        while not Path('ready').exists():
            assert run.poll() is None
            time.sleep(.01)
        run.send_signal(signal.SIGINT)  # to mpiexec
        code, _, err = mpi.ended(run)  # mpiexec itself says on stdout that it was interrupted
    assert code == 130, err
    assert last_line(err) == 'minigan: stopped by SIGINT; to go on: minigan train --resume run'
    assert 9 <= step_of('run') < 22
    code, out, err = minigan('--resume', 'run', ranks_stderr='-')  # closed
    assert (code, out[:5], err) == (0, 'Done.', '')
    assert_same_run('run', 'whole')


def test_a_disk_that_is_full_for_rank_0_ends_all_and_the_run_goes_on_to_the_same_bytes(whole, full):
    code, out, err = full
    assert (code, out) == (2, '')
    assert 'No space left on device' in last_line(err) and 'Traceback' not in err
    assert last_line(err).endswith('Step 14 is safe; to go on: minigan train --resume full')
    assert step_of('full') == 14
    shutil.copytree('full', 'again')
    stand_in(2, lambda ranks: resume('again', quiet=True, ranks=ranks))
    assert_same_run('again', 'whole')


def test_a_rank_that_runs_out_of_memory_ends_all_and_the_run_goes_on_to_the_same_bytes(whole):
    code, out, err = minigan(*FLAGS, '--save-every', '0', '-o', 'memory', after="""if (rank, t) == (1, 7):
        raise MemoryError""")
    assert (code, out) == (1, '')
    assert last_line(err) == 'minigan: rank 1 of 2 ends all: MemoryError()'
    assert step_of('memory') in (6, 7)
    stand_in(2, lambda ranks: resume('memory', quiet=True, ranks=ranks))
    assert_same_run('memory', 'whole')


def test_a_run_of_two_goes_on_in_three_processes_and_in_one(full):
    for name in ('in-3', 'stand-in-of-3', 'in-1'):
        shutil.copytree('full', name)
    code, _, err = minigan('--resume', 'in-3', n=3)
    assert code == 0, err
    stand_in(3, lambda ranks: resume('stand-in-of-3', quiet=True, ranks=ranks))
    assert_same_run('in-3', 'stand-in-of-3')
    resume('in-1', quiet=True)
    assert step_of('in-1') == step_of('in-3') == 22


def test_what_is_refused_is_said_once_and_nothing_is_written(full):
    """One start for all of them, since a start takes longest."""
    refused = {
        ('--batch', '121', '-o', 'new'): 'batch: expected a multiple of 2, the number of processes, got 121',
        ('--network', 'feature-matching', '-o', 'new'):
            'FeatureMatchingGame takes means over a whole minibatch: expected one process, got 2',
        ('--data', 'none.npy', '-o', 'new'): 'none.npy',
        ('-o', 'full'): 'out: expected a new or empty folder, got full, which is neither',
        ('--resume', 'nowhere'): 'nowhere: no such folder',
        ('--resume', 'full', '--batch', '60'): '--resume: --batch is fixed by the run',
        ('--resume', 'full'): 'full: another process is at work in this folder'}
    program = f"""
import sys
sys.argv[0] = 'minigan'
from minigan import cli
print([cli.main(['train', *arguments]) for arguments in {list(refused)}])"""
    before = content('full'), sorted(Path().rglob('*'))
    with locked('full'):
        code, out, err = mpi.done(2, program)
    assert (code, out) == (0, f'{[2] * len(refused)}\n')
    for line, said in zip(err.splitlines(), refused.values(), strict=True):
        assert line.startswith('minigan: error: ') and said in line
    assert (content('full'), sorted(Path().rglob('*'))) == before


def test_a_run_of_which_any_process_is_killed_at_any_moment_goes_on_to_the_same_bytes(whole):
    """A checkpoint after each step, so that most of the time goes into writing. `-s` shows where it was killed."""
    rng, stood, longest = np.random.default_rng(0), [], 0

    def go_on():
        begin = ('--resume', 'killed') if Path('killed/last.npz').exists() else (*FLAGS, '-o', 'killed')
        return mpi.started(2, COMMAND.format('pass'), 'train', *begin, '--save-every', '0')
    for _ in range(KILLS):
        with go_on() as run:
            time.sleep(rng.uniform(0, 5))
            ranks = [pid for pid, rank in mpi.alive(run).items() if rank is not None]
            for pid in rng.permutation(ranks)[:1]:
                mpi.kill(pid)
            killed = time.monotonic()
            code, *_ = mpi.ended(run, 10)
            longest = max(longest, time.monotonic() - killed)
        stood.append(step_of('killed') if Path('killed/last.npz').exists() else 'before the first checkpoint')
        if code == 0:  # it ended before it could be killed
            assert_same_run('killed', 'whole')
            shutil.rmtree('killed')
    with go_on() as run:
        assert mpi.ended(run)[0] == 0
    assert_same_run('killed', 'whole')
    print(f'\n{KILLS} kills, at step {stood}; all processes were gone after {longest:.2f} s')
