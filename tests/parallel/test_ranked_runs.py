"""A run on R ranks is a run like any other: the same files, resumed by any number of ranks, ended together."""

import csv
import os
import signal
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from bench_ranks import described

import minigan
from minigan.evaluation import judge
from minigan.parallel.in_turn import in_turn
from minigan.parallel.ranks import Ranks
from minigan.parallel.share import share
from minigan.storage import archive, checkpoint, files
from minigan.training import Config, folder, inspection, resume, run, train
from minigan.training.build import build_game
from minigan.training.monitor import Monitor
from minigan.training.overflow import NotFinite
from minigan.training.signals import Stopped
from minigan.training.state import Run

CHOICES = {'epochs': 3, 'batch': 120, 'schedule': 'constant', 'seed': 5, 'device': 'numpy', 'out': 'run'}  # 33 steps


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def train_on(size, *, quiet=True, after_epoch=None, **choices):
    """Train on `size` ranks. Returns what train returns on each."""
    config = Config(**{**CHOICES, **choices})
    return in_turn(size, lambda comm: train(config, quiet=quiet, after_epoch=after_epoch, ranks=Ranks(comm)))


def resume_on(size, place='run', **options):
    return in_turn(size, lambda comm: resume(place, **{'quiet': True, **options}, ranks=Ranks(comm)))


def each(size, work):
    """[the exception that work(Ranks) raises on each rank, or None]"""
    def caught(comm):
        try:
            work(Ranks(comm))
        except (Exception, KeyboardInterrupt) as error:
            return error
    return in_turn(size, caught)


def content(place, name='last.npz'):
    """Everything in a checkpoint but the seconds."""
    arrays, _ = archive.load(Path(place) / name)
    del arrays['run.seconds']
    return {**arrays, 'run.log': arrays['run.log'][:, :-1]}


def assert_same(ours, theirs, name='last.npz'):
    ours, theirs = ({key: array.tobytes() for key, array in content(place, name).items()} for place in (ours, theirs))
    assert ours == theirs


def names(place):
    return sorted(str(path.relative_to(place)) for path in Path(place).rglob('*'))


def log(place):
    with open(Path(place) / 'log.csv', newline='') as file:
        return list(csv.DictReader(file))


def step_of(place):
    return int(archive.load(place)[0]['run.t'])


@pytest.fixture(scope='module')
def one(tmp_path_factory):
    """The run of a single process."""
    path = tmp_path_factory.mktemp('one') / 'run'
    return train(Config(**{**CHOICES, 'out': str(path)}), quiet=True)


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    """The run of 2 ranks."""
    path = tmp_path_factory.mktemp('two') / 'run'
    assert train_on(2, out=str(path)) == [path, path]
    return path


def test_two_ranks_write_what_one_process_writes(one, two):
    assert names(two) == names(one)
    assert [row.keys() for row in log(two)] == [row.keys() for row in log(one)] and len(log(two)) == 3
    ours, theirs = content(two), content(one)
    assert {name: (array.shape, array.dtype) for name, array in ours.items()} == {
        name: (array.shape, array.dtype) for name, array in theirs.items()}
    for column in ('step', 'epoch'):
        assert [row[column] for row in log(two)] == [row[column] for row in log(one)]
    for row, other in zip(log(two)[:1], log(one)):  # later, the game has enlarged the rounding errors of float32
        for column in row.keys() - {'seconds'}:
            assert float(row[column]) == pytest.approx(float(other[column]), rel=0.02, abs=0.02), column
    (_, ours), (_, theirs) = (archive.load(place) for place in (two, one))
    assert ours.pop('device') == f'{theirs.pop("device")}, in 2 processes' and ours == theirs


def test_its_folder_is_sampled_evaluated_and_inspected(two):
    images = minigan.load(two).sample(30)
    assert images.shape == (30, 8, 8) and 0 <= images.min() < images.max() <= 1
    assert 'last.npz: step 33' in inspection.describe(two)
    assert judge.evaluate(two, n=60, quiet=True)['columns']['samples']


@pytest.mark.parametrize('size', [1, 2, 3])
def test_it_goes_on_with_any_number_of_ranks(two, size):
    """With the same number to the same bits, with another as far as rounding goes."""
    train_on(2, after_epoch=lambda run, row: row['epoch'] == 1)
    assert step_of('run') == 11 and len(log('run')) == 1
    assert resume_on(size) == [Path('run')] * size
    assert step_of('run') == 33 and len(log('run')) == 3 and names('run') == names(two)
    if size == 2:
        assert_same('run', two)
        assert_same('run', two, 'best.npz')
        for name in names(two):
            if name.endswith('.png'):
                assert (Path('run') / name).read_bytes() == (two / name).read_bytes()
    else:
        np.testing.assert_array_equal(content('run')['run.log'][0], content(two)['run.log'][0])
    assert resume_on(1, epochs=4) == [Path('run')] and step_of('run') == 44


def test_what_one_process_began_ranks_go_on_with(one):
    train(Config(**CHOICES), quiet=True, after_epoch=lambda run, row: row['epoch'] == 1)
    resume_on(2)
    assert names('run') == names(one) and step_of('run') == 33


@pytest.mark.parametrize('network', ['default', 'wgan'])
def test_with_a_different_number_of_ranks_it_ends_where_one_process_does(network):
    """In float64, which checkpoints of a run do not have: 10 steps on 2 ranks, 10 on 3, 10 on one, of 30."""
    def steps(size, begin, end, arrays=None):
        def work(comm):
            game = build_game(*described(network, 12), dtype=np.float64)
            if size > 1:
                share(game, Ranks(comm))
            if arrays:
                checkpoint.restore(game, arrays)
            for t in range(begin, end):
                game.step(t)
            return checkpoint.snapshot(game)
        return in_turn(size, work)[-1]  # of any rank: they have the same bits
    whole, changing = steps(1, 0, 30), None
    for number, size in enumerate((2, 3, 1)):
        changing = steps(size, 10 * number, 10 * number + 10, changing)
    assert changing.keys() == whole.keys()
    for name, array in whole.items():
        np.testing.assert_allclose(changing[name], array, rtol=0, atol=1e-12, err_msg=name)


def test_rank_0_alone_writes_evaluates_draws_and_speaks(monkeypatch, capsys):
    at_work = []

    def watched(owner, name):
        method = getattr(owner, name)

        def called(*arguments, **options):
            at_work.append(name)
            return method(*arguments, **options)
        monkeypatch.setattr(owner, name, called)
    for owner, methods in ((folder.RunFolder, ('begin', 'add_epoch', 'draw_losses', 'animate', 'save_best')),
                           (Monitor, ('look', 'end_epoch')), (archive, ('save',)), (run, ('create', 'locked'))):
        for name in methods:
            watched(owner, name)
    train_on(1, out='alone', quiet=False)
    alone, said = list(at_work), capsys.readouterr().err
    at_work.clear()
    train_on(3, quiet=False)
    assert at_work == alone and {'begin', 'add_epoch', 'animate', 'look', 'end_epoch', 'save', 'create'} <= {*at_work}
    assert capsys.readouterr().err.count('minigan: ') <= said.count('minigan: ') + 1


def test_each_rank_has_its_rows_and_rank_0_looks_at_those_of_all(monkeypatch):
    look, seen, m = Monitor.look, [], []
    monkeypatch.setattr(Monitor, 'look', lambda self, logits: seen.append([*map(len, logits)]) or look(self, logits))
    train_on(3, epochs=1, after_epoch=lambda run, row: m.append(run.game.m))
    assert m == [40] * 3 and seen == [[120] * 3] * 2  # after steps 1 and 11


def test_after_epoch_is_called_on_each_rank_with_the_same_row_and_its_true_ends_all(two):
    seen = []

    def after_epoch(run, row):
        seen.append((run.ranks.rank, row))
        return row['epoch'] == 2
    train_on(2, after_epoch=after_epoch)
    assert step_of('run') == 22 and len(log('run')) == 2
    for epoch in (1, 2):
        rows = {rank: row for rank, row in seen if row['epoch'] == epoch}
        assert rows.keys() == {0, 1} and rows[0] == rows[1]
    resume_on(2)
    assert_same('run', two)


@pytest.mark.parametrize('rank', [0, 1])
def test_after_epoch_ends_all_ranks_even_if_it_returns_true_on_one(rank):
    config = Config(**CHOICES)

    def work(comm):
        after_epoch = (lambda run, row: True) if comm.rank == rank else None
        return train(config, quiet=True, after_epoch=after_epoch, ranks=Ranks(comm))
    assert in_turn(2, work) == [Path('run')] * 2 and step_of('run') == 11


@pytest.mark.parametrize('rank', [0, 1])
def test_a_signal_to_one_rank_stops_all_after_the_same_step(rank, two, monkeypatch):
    step, play, received = Run.step, run.play, {0: [], 1: []}

    def step_and_signal(self):
        logits = step(self)
        if (self.ranks.rank, self.t) == (rank, 7):
            received[rank].append(signal.SIGTERM)
        return logits

    def play_with_signals(of, *arguments):  # only the main thread may set handlers; the ranks take turns
        monkeypatch.setattr(run, 'signals_received', lambda: nullcontext(received[of.ranks.rank]))
        return play(of, *arguments)
    monkeypatch.setattr(run, 'play', play_with_signals)
    monkeypatch.setattr(Run, 'step', step_and_signal)
    config = Config(**CHOICES)
    errors = each(2, lambda ranks: train(config, quiet=True, ranks=ranks))
    assert [type(error) for error in errors] == [Stopped, Stopped] and step_of('run') == 7
    assert {str(error) for error in errors} == {'stopped by SIGTERM; to go on: minigan train --resume run'}
    received[rank].clear()
    resume_on(2)
    assert_same('run', two)


def test_a_full_disk_of_rank_0_ends_all_ranks_and_leaves_a_whole_checkpoint(monkeypatch):
    save, saved = archive.save, []

    def full(path, *arguments):
        saved.append(path)
        if len(saved) == 3:  # that of step 2
            raise OSError(28, 'No space left on device')
        save(path, *arguments)
    config = Config(**CHOICES, save_every=0.0)
    with monkeypatch.context() as patch:
        patch.setattr(archive, 'save', full)
        errors = each(3, lambda ranks: train(config, quiet=True, ranks=ranks))
    assert [type(error) for error in errors] == [OSError] * 3 and len(saved) == 3 and step_of('run') == 1
    assert [*map(str, errors)] == [
        f'[Errno 28] No space left on device. {safe} go on: minigan train --resume run'
        for safe in ('Step 1 is safe; to', 'To', 'To')]  # the others do not know
    assert not files.leftovers(Path('run'), folder.FILES)


def test_numbers_that_overflow_are_explained_by_a_single_process_on_all_ranks():
    config = Config(**{**CHOICES, 'learning_rate_D': 1e30, 'save_every': 0.0})
    errors = each(2, lambda ranks: train(config, quiet=True, ranks=ranks))
    assert [type(error) for error in errors] == [NotFinite] * 2 and len({*map(str, errors)}) == 1
    assert 'step ' in str(errors[0]) and 'layer ' in str(errors[0]) and 'run/last.npz holds step' in str(errors[0])
    assert np.isfinite(content('run')['D.theta']).all()


def test_ranks_that_diverge_are_noticed_at_the_end_of_the_epoch(monkeypatch):
    step = Run.step

    def step_and_err(self):
        logits = step(self)
        if (self.ranks.rank, self.t) == (1, 3):
            self.game.D.theta[5] += np.float32(1e-7)
        return logits
    monkeypatch.setattr(Run, 'step', step_and_err)
    config = Config(**CHOICES)
    errors = each(3, lambda ranks: train(config, quiet=True, ranks=ranks))
    assert [type(error) for error in errors] == [OSError] * 3 and step_of('run') == 0
    assert {str(error).split('. ')[0] for error in errors} == {
        'step 11: the parameters are no longer the same in all 3 processes: expected machines and libraries that round '
        'alike'}


@pytest.mark.parametrize('choices, message', [
    ({'network': 'semisupervised'}, 'SemiSupervisedGame takes means over a whole minibatch: expected one process, got'),
    ({'batch': 121}, 'batch: expected a multiple of 2, the number of processes, got 121'),
    ({'data': 'nowhere.npz'}, "data: expected .*'nowhere.npz', which does not exist")])
def test_what_does_not_fit_is_refused_on_all_ranks_before_anything_is_written(choices, message):
    config = Config(**{**CHOICES, **choices})
    errors = each(2, lambda ranks: train(config, quiet=True, ranks=ranks))
    for error in errors:
        assert type(error).__mro__[-4:] == ValueError.__mro__[-4:] and '\n' not in str(error)
        with pytest.raises(ValueError, match=message):
            raise error
    assert os.listdir() == []


def test_a_number_of_ranks_that_does_not_divide_the_batch_is_refused_when_it_is_resumed():
    train_on(2, epochs=1)
    before = Path('run/last.npz').read_bytes()
    errors = each(7, lambda ranks: resume('run', epochs=2, quiet=True, ranks=ranks))
    assert {*map(str, errors)} == {'batch: expected a multiple of 7, the number of processes, got 120'}
    assert Path('run/last.npz').read_bytes() == before
