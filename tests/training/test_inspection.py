"""`minigan inspect` shows what a checkpoint holds, and its numbers are correct."""

import numpy as np
import pytest

from minigan.storage import archive
from minigan.training import Config, compare, inspection, train


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return train(Config(epochs=7, batch=200, seed=9, out=str(tmp_path_factory.mktemp('runs') / 'run')), quiet=True)


def test_config_log_and_parameters_are_shown(run):
    text = inspection.describe(run)
    lines = text.splitlines()
    assert lines[0] == f'{run}/last.npz: step 49'
    for facts in (('config.seed', '9'), ('config.batch', '200'), ('images.shape', '[8, 8]'),
                  ('versions.numpy', np.__version__)):
        assert any(line.split(maxsplit=1) == list(facts) for line in lines), facts
    arrays, _ = archive.load(run)
    shown = [line.split() for line in lines if line.split()[:1] in (['3'], ['4'], ['5'], ['6'], ['7'])]
    assert [int(row[1]) for row in shown] == [21, 28, 35, 42, 49]  # the last five epochs
    assert float(shown[-1][2]) == pytest.approx(arrays['run.log'][-1][4], rel=1e-5)
    W = arrays['G.theta'][:25600].astype(float)
    row = next(line.split() for line in lines if line.startswith('1.Dense.W'))
    assert row[1:5] == ['100', 'x', '256', '25600']
    np.testing.assert_allclose([float(number) for number in row[5:]],
                               [np.linalg.norm(W), np.sqrt((W ** 2).mean()), abs(W).max()], rtol=1e-3)
    together = [line.split() for line in lines if line.startswith('together')]
    assert [int(row[1]) for row in together] == [arrays[name].size for name in ('G.theta', 'G.state', 'D.theta')]


def test_a_run_that_went_wrong_says_so(tmp_path, run):
    arrays, about = archive.load(run)
    log = np.array(arrays['run.log'])
    log[:, 1] *= 100
    log[:, -2] = 0.01
    archive.save(tmp_path / 'bad.npz', {**arrays, 'run.log': log}, about)
    assert 'warning: the samples have collapsed: for 1400 steps' in inspection.describe(tmp_path / 'bad.npz')
    assert 'warning' not in inspection.describe(run)


def test_a_checkpoint_of_step_0_has_no_log_yet(tmp_path, run):
    arrays, about = archive.load(run)
    empty = {**arrays, 'run.log': arrays['run.log'][:0], 'run.t': np.array(0)}
    archive.save(tmp_path / 'new.npz', empty, about)
    assert 'new.npz: step 0\n' in inspection.describe(tmp_path / 'new.npz')


def test_arrays_that_do_not_fit_are_refused_by_name(tmp_path, run):
    arrays, about = archive.load(run)
    archive.save(tmp_path / 'odd.npz', {**arrays, 'run.log': np.zeros((3, 2))}, about)
    with pytest.raises(ValueError, match='odd.npz: run.log: expected an array of shape'):
        inspection.describe(tmp_path / 'odd.npz')


def test_runs_are_compared_by_the_logs_of_their_checkpoints(tmp_path, run, monkeypatch):
    given = []
    monkeypatch.setattr('minigan.pictures.curves.compare', lambda logs, *, probability: given.append(
        ({name: [(row['step'], row['distance']) for row in rows] for name, rows in logs.items()}, probability)))
    arrays, about = archive.load(run)
    critic = {**about, 'config': {**about['config'], 'objective': 'wasserstein'}}
    archive.save(tmp_path / 'critic.npz', {**arrays, 'run.log': arrays['run.log'][:2]}, critic)
    rows = [(row[1], row[-3]) for row in arrays['run.log']]
    compare({'whole': run, 'same': str(run)})
    compare({'critic': tmp_path / 'critic.npz', 'whole': run})
    assert given == [({'whole': rows, 'same': rows}, True), ({'critic': rows[:2], 'whole': rows}, False)]


def test_a_checkpoint_that_cannot_be_compared_is_refused_by_name(tmp_path, run):
    arrays, about = archive.load(run)
    archive.save(tmp_path / 'odd.npz', {**arrays, 'run.log': np.zeros((3, 2))}, about)
    with pytest.raises(ValueError, match='odd.npz: run.log: expected an array of shape'):
        compare({'whole': run, 'odd': tmp_path / 'odd.npz'})
    with pytest.raises(ValueError, match='compare: expected at least one run, got none'):
        compare({})
