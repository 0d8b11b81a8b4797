"""A search that is killed tries the same settings as one that is not; several processes share a search."""

import json
import multiprocessing
import os
import shutil
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from sklearn.datasets import load_digits

from minigan.storage.files import locked
from minigan.training.folder import RunFolder

optuna = pytest.importorskip('optuna', reason='Optuna is not installed')
from minigan.search import search, store  # noqa: E402
from minigan.search.loop import Search  # noqa: E402

KILLS = settings.default.max_examples // 10  # 4; thorough: 40
OVER = ['learning_rate_G', 'learning_rate_D=1e-4..1e15', 'k']
WRITES = ('create_new_trial', 'set_trial_param', 'set_trial_intermediate_value', 'set_trial_user_attr',
          'set_trial_state_values', 'set_study_user_attr', 'create_new_study', 'set_trial_system_attr')


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a few digits, and runs without pictures."""
    monkeypatch.chdir(tmp_path)
    few_digits()
    without_pictures(monkeypatch.setattr)


def few_digits():
    np.save('small.npy', np.rint(load_digits().images[:400] * (255 / 16)).astype(np.uint8))


def without_pictures(setattr):
    for name in ('draw_losses', 'animate', '_save'):
        setattr(RunFolder, name, lambda *arguments: None)


def small(storage, trials=13, **choices):
    """A search of which the last trials are chosen by what Optuna has learned from the first ten."""
    return search(storage=storage, over=OVER, trials=trials, best=1, seeds=2, data='small.npy', epochs=3, batch=100,
                  save_every=0.0, quiet=True, **choices)


def told(result):
    return result['trials'], result['again']


class Killed(BaseException):
    """In place of kill -9: it ends a search at a chosen moment, and nothing is saved on the way out."""


def die_after(patch, writes, names):
    """End the search right after it has written this often into its storage by these methods."""
    left = [writes]
    for name in names:
        write = getattr(optuna.storages.JournalStorage, name)

        def writing(*arguments, write=write, **options):
            done = write(*arguments, **options)
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return done
        patch.setattr(optuna.storages.JournalStorage, name, writing)


def lives(storage, writes, names=WRITES, **choices):
    """(result, number of lives) of a search that is killed again and again; writes: of each life, in turn."""
    for life in range(300):
        with pytest.MonkeyPatch.context() as patch:
            die_after(patch, writes[life % len(writes)], names)
            try:
                return small(storage, **choices), life
            except Killed:
                pass


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """The result of a search that is not killed. Its first trials are those of a search with fewer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp('whole'))
        few_digits()
        without_pictures(patch.setattr)
        return small('whole.log')


@pytest.mark.filterwarnings('error:The reported value is ignored')
def test_a_search_killed_after_nearly_every_write_into_its_storage_tries_the_same(whole):
    outcomes = [trial['outcome'].split(':')[0] for trial in whole['trials']]
    assert {'complete', 'overflow', 'refused'} <= {*outcomes} and {'overflow', 'refused'} <= {*outcomes[:5]}
    killed, count = lives('killed.log', (1, 2, 3), trials=5)  # with one each, it would repeat the same one for ever
    assert killed['trials'] == whole['trials'][:5] and count > 20


def test_a_search_killed_while_optuna_learns_tries_the_same(whole):
    killed, count = lives('killed.log', (1,), ['set_trial_param'])  # with some of a trial's settings, or all
    assert told(killed) == told(whole) and count == 13 * len(OVER)
    tried = [tuple(trial['settings'].values()) for trial in whole['trials']]
    assert len({*tried}) == len(tried)


def planted_seed(patch):
    """Optuna issue 3255: each life begins with the same random numbers."""
    sampler = Search._sampler
    patch.setattr(Search, '_sampler', lambda self, number, substep: self.__dict__.setdefault(
        'only', sampler(self, 0, 0)))


def planted_substep(patch):
    """A trial that was killed between two settings draws the second one with the first one's random number."""
    sampler, at = Search._sampler, {}

    def once(self, number, substep):
        if at.get('number') != number:
            at.update(number=number, sampler=sampler(self, number, 0))
        return at['sampler']
    patch.setattr(Search, '_sampler', once)


def planted_neglect(patch):
    """A killed trial is left alone, and counts as one that has failed."""
    claim = Search._claim

    def claiming(self, count):
        with self.store.alone():
            for trial in self.trials():
                if trial.state.name == 'RUNNING':
                    self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        return claim(self, count)
    patch.setattr(Search, '_claim', claiming)


@pytest.mark.parametrize('plant', [planted_seed, planted_substep, planted_neglect])
def test_this_finds(plant, whole, monkeypatch):
    plant(monkeypatch)
    killed, _ = lives('killed.log', (3,), trials=3)
    assert killed['trials'] != whole['trials'][:3]


def run_search(storage, trials, note=None):
    without_pictures(setattr)
    play = Search._play

    def playing(self, trial, bar):
        with open(note, 'a') as file:
            file.write(f'{os.getpid()} {trial.number}\n')
        play(self, trial, bar)
    if note:
        Search._play = playing
    small(storage, trials)


@pytest.fixture(scope='module')
def processes():
    """Starts processes that have imported all that a search needs."""
    spawn = multiprocessing.get_context('forkserver')
    spawn.set_forkserver_preload(['minigan.search', 'optuna.storages', 'optuna.visualization.matplotlib', 'alembic',
                                  'sqlalchemy', 'sklearn.datasets', 'sklearn.decomposition', 'hypothesis', __name__])

    def start(*arguments):
        one = spawn.Process(target=run_search, args=arguments)
        one.start()
        return one
    return start


def to_the_end(one):
    one.join(120)
    assert one.exitcode == 0


def results(folder):
    return told(json.loads((Path(folder) / 'results.json').read_text()))


@pytest.mark.skipif(os.name != 'posix', reason='kill -9')
def test_a_search_killed_at_any_moment_tries_the_same(processes):
    for _ in range(2):  # the first one also waits for the imports
        shutil.rmtree('whole', ignore_errors=True)
        Path('whole.db').unlink(missing_ok=True)
        started = time.monotonic()
        to_the_end(processes('whole.db', 4))
    duration, rng, stood = time.monotonic() - started, np.random.default_rng(0), []
    for _ in range(KILLS):
        one = processes('killed.db', 4)
        time.sleep(rng.uniform(0, 1.2 * duration / KILLS))
        one.kill()
        one.join()
        stood.append(max((path.name for path in Path('killed').glob('trial-*')), default='before the first trial'))
    to_the_end(processes('killed.db', 4))
    print(f'\n{KILLS} kills, during {stood}')
    assert results('killed') == results('whole')


@pytest.mark.skipif(os.name != 'posix', reason='locks as POSIX has them')
@pytest.mark.parametrize('storage', ['shared.db', 'shared.log'])
def test_two_processes_share_a_search_and_a_killed_ones_trial_goes_on_in_the_other(storage, processes):
    note = Path('note')
    both = [processes(storage, 6, 'note') for _ in range(2)]
    while len({line.split()[0] for line in note.read_text().splitlines()} if note.exists() else ()) < 2:
        time.sleep(0.01)
    both[0].kill()
    to_the_end(both[1])
    both[0].join()
    trials, again = results('shared')
    assert [trial['trial'] for trial in trials] == [0, 1, 2, 3, 4, 5] and again[0]['runs']
    assert all(trial['outcome'] != 'running' for trial in trials)
    tried = [tuple(trial['settings'].values()) for trial in trials]
    assert len({*tried}) == 6
    played = [line.split() for line in note.read_text().splitlines()]
    counts = Counter(number for _, number in played)
    twice = [number for number, count in counts.items() if count == 2]  # by the killed process and by the other
    assert max(counts.values()) <= 2 and len(twice) <= 1
    assert all({pid for pid, number in played if number == again} == {str(one.pid) for one in both} for again in twice)


@pytest.mark.skipif(os.name != 'posix', reason='locks as POSIX has them')
def test_a_claim_is_held_by_one_and_free_when_it_ends():
    kept = store.Store('s.log')
    kept.open(optuna)
    claim = kept.claim('trial-0000')
    assert claim and kept.claim('trial-0000') is None
    with kept.claim('trial-0001'):
        claim.close()
        with kept.claim('trial-0000'), pytest.raises(ValueError), locked('s/claims/trial-0000'):
            pass


def test_a_damaged_checkpoint_of_a_killed_trial_is_no_outcome():
    with pytest.MonkeyPatch.context() as patch:
        die_after(patch, 1, ['set_trial_intermediate_value'])
        with pytest.raises(Killed):
            small('s.log', trials=1)
    Path('s/trial-0000/last.npz').write_bytes(b'damaged')
    with pytest.raises(ValueError, match='last.npz: expected a whole .npz file'):
        small('s.log', trials=1)


def test_half_a_line_of_a_full_disk_is_dropped_from_a_journal():
    small('s.log', trials=1)
    whole = Path('s.log').read_bytes()
    Path('s.log').write_bytes(whole + b'{"op_code":8,"worker')
    small('s.log', trials=1)
    assert Path('s.log').read_bytes() == whole
