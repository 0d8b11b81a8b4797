"""A search tries the network's own settings first, prunes like with like, and reports what fresh seeds give."""

import json
import re
import signal
import sys
from pathlib import Path
from statistics import mean, stdev
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from minigan.cli import main
from minigan.evaluation import judge
from minigan.storage import archive
from minigan.training import Config, inspection, train
from minigan.training.folder import RunFolder
from minigan.training.log import as_rows
from minigan.training.run import Run
from minigan.training.signals import Stopped

optuna = pytest.importorskip('optuna', reason='Optuna is not installed')
from minigan.search import again, report, runs, search  # noqa: E402
from minigan.search.loop import Search  # noqa: E402
from minigan.search.runs import name_of, outcome_of  # noqa: E402

SMALL = {'data': 'small.npy', 'batch': 100, 'epochs': 2, 'quiet': True}  # three steps an epoch


@pytest.fixture(autouse=True)
def folder(tmp_path, tmp_path_factory, monkeypatch):
    """An empty folder to work in, with a few digits above it."""
    path = tmp_path_factory.getbasetemp() / 'small.npy'
    np.save(path, np.rint(load_digits().images[:400] * (255 / 16)).astype(np.uint8))
    monkeypatch.setitem(SMALL, 'data', str(path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_pictures(monkeypatch):
    """Runs without pictures, which take most of the time of a small run."""
    for name in ('draw_losses', 'animate', '_save'):
        monkeypatch.setattr(RunFolder, name, lambda *arguments: None)


@pytest.fixture(scope='module')
def searched(tmp_path_factory):
    """(folder, what was printed) of the command."""
    folder, output = tmp_path_factory.mktemp('searched'), []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr('builtins.print', lambda *words, **_: output.append(' '.join(map(str, words))))
        assert main(['search', *'--trials 4 --epochs 2 --batch 200 --seeds 2 --best 1'.split(),
                     '--over', 'learning_rate_G', 'learning_rate_D']) == 0
    return folder / 'runs' / 'search-digits-default', '\n'.join(output)


def found(folder):
    return json.loads((folder / 'results.json').read_text())


def test_the_networks_own_settings_are_trial_0_and_give_what_train_gives(searched):
    folder, _ = searched
    first = found(folder)['trials'][0]
    assert first['settings'] == {'learning_rate_G': 4e-3, 'learning_rate_D': 1e-3}
    train(Config(epochs=2, batch=200, out='alone'), quiet=True)
    rows = as_rows(archive.load('alone')[0]['run.log'])
    assert first['distance'] == rows[-1]['distance'] and first['spread'] == rows[-1]['spread']


def test_each_trial_is_a_run_that_other_commands_understand(searched, capsys):
    folder, _ = searched
    for trial in found(folder)['trials']:
        run = folder / name_of(trial['trial'])
        assert len(as_rows(archive.load(run)[0]['run.log'])) == trial['epochs'] and (run / 'losses.png').exists()
        assert json.loads((run / 'config.json').read_text())['config']['learning_rate_G'] == \
            trial['settings']['learning_rate_G']
    assert main(['inspect', str(run)]) == main(['sample', str(run), '--n', '4']) == 0
    assert main(['train', '--resume', str(run), '--epochs', '3']) == 0


def test_the_table_has_every_trial_and_the_settings_again_with_their_errors(searched):
    folder, text = searched
    result = found(folder)
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == list('0123')
    assert {line.split()[-1] for line in lines[1:5]} <= {'complete', 'pruned', 'collapsed'}
    assert max(map(len, lines[:5])) < 100
    best = result['again'][0]
    assert f'{best["distance"]["mean"]:.4g} ± {best["distance"]["standard_error"]:.2g}' in text
    assert ('may be no better' in text) + ('its distance is smaller by' in text) + \
        ("better than the network's own" in text) > 0


def test_what_is_reported_is_of_fresh_seeds_and_never_the_run_that_was_chosen(searched):
    folder, _ = searched
    result = found(folder)
    complete = [trial for trial in result['trials'][1:] if trial['outcome'] in ('complete', 'collapsed')]
    chosen = sorted(complete, key=lambda trial: trial['distance'])[:1]
    assert {one['trial'] for one in result['again']} == {0, *(trial['trial'] for trial in chosen)}
    for one in result['again']:
        assert [run['seed'] for run in one['runs']] == [1, 2]
        rows = [as_rows(archive.load(folder / name_of(one['trial'], seed))[0]['run.log'])[-1]
                for seed in (1, 2)]
        distances = [row['distance'] for row in rows]
        assert one['distance'] == {'mean': mean(distances), 'standard_error': stdev(distances) / 2 ** 0.5}
        assert result['trials'][one['trial']]['distance'] not in distances
    means = [one['distance']['mean'] for one in result['again']]
    assert means == sorted(means)
    run = folder / name_of(0, 1)
    assert judge.evaluate(run, quiet=True)['columns']['samples']['frechet'] == next(
        one for one in result['again'] if one['trial'] == 0)['runs'][0]['frechet']


def test_optunas_plots_are_drawn_in_full(searched):
    folder, _ = searched
    for name in ('history.png', 'importances.png'):
        pixels = np.asarray(Image.open(folder / name).convert('L'))
        assert min(pixels.shape) > 300 and pixels.std() > 10


def test_plots_are_drawn_whatever_backend_matplotlib_has(tmp_path):
    from matplotlib import pyplot
    study, before = optuna.create_study(), pyplot.get_backend()
    for x in (0.1, 0.2, 0.3):
        study.add_trial(optuna.trial.create_trial(value=x, params={'x': x}, distributions={
            'x': optuna.distributions.FloatDistribution(0, 1)}))
    pyplot.switch_backend('svg')
    try:
        with report.quiet(optuna):
            report._plots(study, tmp_path)
        assert pyplot.get_backend() == 'svg'
    finally:
        pyplot.switch_backend(before)
    assert {path.name for path in tmp_path.glob('*.png')} == {'history.png', 'importances.png'}


def test_the_command_for_the_best_settings_can_be_pasted(searched, monkeypatch):
    folder, text = searched
    best = found(folder)['again'][0]
    words = best['command'].split()
    assert words[:2] == ['minigan', 'train']
    assert main([*words[1:], '--seed', '1', '-o', 'pasted']) == 0
    assert as_rows(archive.load('pasted')[0]['run.log'])[-1]['distance'] == best['runs'][0]['distance']


def test_a_search_that_has_ended_plays_only_what_is_new(no_pictures, monkeypatch):
    over = ['learning_rate_G']
    first = search(over=over, trials=2, seeds=2, best=1, storage='s.db', **SMALL)
    played = []
    monkeypatch.setattr('minigan.search.runs.train', lambda config, **options: played.append(config.out) or
                        train(config, **options))
    assert search(over=over, trials=2, seeds=2, best=1, storage='s.db', **SMALL) == first and played == []
    more = search(over=over, trials=3, seeds=2, best=1, storage='s.db', **SMALL)
    assert more['trials'][:2] == first['trials'] and played[0] == 's/trial-0002'
    assert len({trial['settings']['learning_rate_G'] for trial in more['trials']}) == 3


def test_the_epochs_are_the_same_for_all_trials(no_pictures):
    result = search(over=['batch=80..300'], trials=3, best=1, seeds=2, storage='s.log', **SMALL)
    assert [trial['epochs'] for trial in result['trials']] == [2, 2, 2]
    assert [archive.load(f's/{name_of(n)}')[1]['config']['epochs'] for n in range(3)] == [2, 2, 2]
    assert len({trial['settings']['batch'] for trial in result['trials']}) == 3


def test_the_epochs_are_those_of_the_networks_own_settings():
    work = Search(optuna, ['batch'], 's.log', 0, {}, SimpleNamespace(say=print))
    assert work.config.epochs == work.own.epochs == 108


def test_numbers_that_overflow_are_an_outcome_and_count_as_worst(no_pictures):
    result = search(over=['learning_rate_D=1e-3,1e30'], trials=4, best=3, seeds=2, storage='s.db', **SMALL)
    outcomes = {trial['settings']['learning_rate_D']: trial['outcome'] for trial in result['trials']}
    assert outcomes[1e30].startswith('overflow: step ') and not outcomes[1e-3].startswith('overflow')
    told = optuna.load_study(study_name='minigan', storage='sqlite:///s.db').trials
    assert all((trial.state.name == 'PRUNED') == (trial.params['learning_rate_D'] == 1e30) for trial in told)
    assert all(one['settings']['learning_rate_D'] == 1e-3 for one in result['again'])
    assert 'overflow' in report.table(result)


def test_own_settings_that_overflow_are_reported_without_a_mean(no_pictures):
    result = search(over=['learning_rate_D=1e-3,1e30'], trials=8, best=1, seeds=2, storage='s.db', learning_rate_D=1e30,
                    **SMALL)
    assert [one['trial'] for one in result['again']][-1] == 0 and result['again'][-1]['distance'] is None
    text = report.table(result)
    assert 'overflow in 2 of 2' in text and "With the network's own settings, numbers overflow; with those of" in text


def test_settings_that_no_run_accepts_are_an_outcome(no_pictures):
    result = search(over=['batch=100,2000'], trials=4, best=1, seeds=2, storage='s.db', **SMALL)
    refused = [trial for trial in result['trials'] if trial['settings']['batch'] == 2000]
    assert refused and {trial['outcome'] for trial in refused} == {
        'refused: batch: expected between 1 and 320, the number of training images, got 2000'}
    assert {trial['epochs'] for trial in refused} == {0} and 'refused: batch' in report.table(result)


def test_what_no_trial_could_do_is_no_outcome(no_pictures, monkeypatch):
    """A missing GPU, or images that are gone, would otherwise spoil all trials that are left."""
    monkeypatch.setitem(sys.modules, 'cupy', None)
    with pytest.raises(ValueError, match="device 'cuda': CuPy is not installed"):
        search(over=['k'], trials=1, storage='s.db', device='cuda', **SMALL)
    data = Path(SMALL['data']).rename('moved.npy')

    def after_the_first(config, **options):
        folder = train(config, **options)
        Path('moved.npy').unlink(missing_ok=True)
        return folder
    monkeypatch.setattr('minigan.search.runs.train', after_the_first)
    same = {'over': ['learning_rate_G'], 'trials': 2, 'best': 1, 'seeds': 2, 'storage': 's.db'}
    with pytest.raises(ValueError, match='moved.npy.*which does not exist'):
        search(**same, **{**SMALL, 'data': str(data)})


def test_translations_are_searched_and_reported_without_a_frechet_distance(no_pictures):
    result = search(over=['cycle_weight'], trials=1, best=1, seeds=2, storage='s.db', network='cycle',
                    cycle='digits/plain', **{**SMALL, 'data': 'digits/inverted', 'batch': 400})
    again, = result['again']
    assert again['distance'] and again['frechet'] is None and 'digits/plain digits/inverted' in again['command']
    assert report.table(result)


def test_samples_that_are_all_alike_are_an_outcome(monkeypatch):
    rows = [{'epoch': 1, 'step': 3, 'spread': 0.39, 'distance': 3.0}]
    monkeypatch.setattr('minigan.search.runs._log', lambda folder: (rows, 1))
    monkeypatch.setattr('minigan.search.runs.train', lambda *_, **__: None)
    assert outcome_of(Config(out='run'))[0] == 'collapsed'
    rows[0]['spread'] = 0.41
    assert outcome_of(Config(out='run'))[0] == 'complete'


def pruner(distances, epochs=9, startup=5):
    """A search whose complete trials had these distances, an epoch each."""
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage)
    for row in distances:
        study.add_trial(optuna.trial.create_trial(value=row[-1], intermediate_values=dict(enumerate(row, 1))))
    return SimpleNamespace(prunes=True, study=study, optuna=optuna, pruner=optuna.pruners.MedianPruner(
        n_startup_trials=startup, n_warmup_steps=3))


def rows(*distances):
    return [{'epoch': epoch, 'distance': distance} for epoch, distance in enumerate(distances, 1)]


def test_a_trial_is_compared_at_the_same_epoch_with_the_median():
    falling = [[9.0 * scale * (10 - epoch) for epoch in range(1, 10)] for scale in (1, 2, 3, 4, 5)]
    work = pruner(falling)
    assert not Search._is_bad(work, rows(230, 210, 180), 9)  # though all others have ended far below
    assert Search._is_bad(work, rows(230, 210, 200), 9)
    assert not Search._is_bad(work, rows(230, 210), 9)  # too early
    assert not Search._is_bad(work, rows(*[500] * 9), 9)  # it has ended
    assert not Search._is_bad(pruner(falling[1:]), rows(230, 210, 200), 9)  # too few to compare with


@pytest.mark.parametrize('over, prunes', [
    (['learning_rate_G'], True), (['epochs'], False), (['batch', 'epochs'], False), (['schedule'], False),
    (['network=default,article'], False)])
def test_trials_are_pruned_unless_the_same_epoch_means_something_different(over, prunes):
    said = []
    work = Search(optuna, over, 's.log', 0, {'batch': 400, 'epochs': 2}, SimpleNamespace(say=said.append))
    assert work.prunes == prunes
    assert [text.split(', ')[0] for text in said] == (
        [] if prunes else [f'no trial is pruned: with a different {over[-1].split("=")[0]}'])


def test_a_pruned_trial_takes_fewer_steps_and_is_a_whole_run(no_pictures):
    """The network's own settings, and five times the same; then a rate at which G learns nothing."""
    over = ['learning_rate_G=1e-9,4e-3,4.1e-3,4.2e-3,4.3e-3,4.4e-3']
    result = search(over=over, trials=12, best=1, seeds=2, storage='s.log', **{**SMALL, 'epochs': 4})
    pruned = [trial for trial in result['trials'] if trial['outcome'] == 'pruned']
    assert pruned and all(trial['epochs'] < 4 for trial in pruned)
    assert 1e-9 in {trial['settings']['learning_rate_G'] for trial in pruned}
    run = f's/{name_of(pruned[0]["trial"])}'
    assert archive.load(run)[0]['run.t'] == 3 * pruned[0]['epochs'] and 'step' in inspection.describe(run)


def test_a_trial_killed_after_it_was_pruned_stays_pruned(no_pictures):
    config = Config(**{name: value for name, value in SMALL.items() if name != 'quiet'}, out='run')
    assert outcome_of(config, lambda run, row: True)[0] == 'pruned'
    outcome, last = outcome_of(config, is_over=lambda rows, epochs: len(rows) == 1 and epochs == 2)
    assert (outcome, last['epoch'], int(archive.load('run')[0]['run.t'])) == ('pruned', 1, 3)
    assert outcome_of(config)[1]['epoch'] == 2


@pytest.mark.parametrize('choices, said', [
    ({'trials': 0}, 'trials: expected at least 1, got 0'), ({'best': 0}, 'best: expected at least 1, got 0'),
    ({'seeds': 1}, 'seeds: expected at least 2, got 1'),
    ({'storage': 's.txt'}, 'storage: expected a name that ends in .db, .log, .journal, got s.txt'),
    ({'seed': -1}, 'seed: expected an integer in'), ({'out': 'run'}, 'out: expected none, as each trial has its own'),
    ({'data': 'nowhere'}, 'nowhere'), ({'batch': 5000}, 'batch: expected between 1 and'),
    ({'over': ['nothing']}, 'over: expected a setting')])
def test_bad_choices_are_refused_before_anything_is_written(choices, said, tmp_path):
    with pytest.raises(ValueError, match=said) as caught:
        search(quiet=True, **choices)
    assert '\n' not in str(caught.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('content', [b'nonsense', b'{"op_code": 99}\n', b'SQLite format 3\0' + bytes(100)])
@pytest.mark.parametrize('name', ['s.db', 's.log'])
def test_a_file_that_is_no_storage_is_refused_in_one_line(name, content, tmp_path, capsys):
    (tmp_path / name).write_bytes(content)
    arguments = ['search', '-o', name, '--trials', '1', '--batch', '700', '--epochs', '1']
    code, error = main(arguments), capsys.readouterr().err
    assert code == 2 and error.startswith(f"minigan: error: {name}: expected a search's storage") and \
        error.count('\n') == 1
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize('directions', [['maximize'], ['minimize', 'minimize']])
def test_a_study_with_a_different_goal_is_refused(directions):
    optuna.create_study(storage='sqlite:///s.db', study_name='minigan', directions=directions)
    with pytest.raises(ValueError, match="s.db: expected a search's storage, .*does not minimise one number"):
        search(storage='s.db', **SMALL)


def test_a_storage_may_have_any_name_and_goes_on(no_pictures, tmp_path):
    same = {'over': ['k'], 'trials': 1, 'best': 1, 'seeds': 2, 'storage': 'a ?b=#1%20.db', **SMALL}
    assert search(**same) == search(**same)
    assert {path.name for path in tmp_path.iterdir()} == {'a ?b=#1%20.db', 'a ?b=#1%20'}


def test_the_table_has_a_trial_that_another_process_has_just_begun(searched):
    result = found(searched[0])
    result['trials'][-1] |= {'settings': {}, 'outcome': 'running', 'distance': None}
    assert report.table(result).splitlines()[len(result['trials'])].split()[-1] == 'running'


def test_runs_of_something_else_are_refused(tmp_path):
    (tmp_path / 's').mkdir()
    (tmp_path / 's' / 'precious.txt').write_text('mine')
    with pytest.raises(ValueError, match='s: expected no folder, or an empty one, .* got one with precious.txt'):
        search(storage='s.db', quiet=True)
    assert sorted(path.name for path in tmp_path.rglob('*')) == ['precious.txt', 's']


def test_a_different_search_needs_a_different_storage(no_pictures):
    same = {'over': ['learning_rate_G'], 'trials': 1, 'best': 1, 'seeds': 2, 'storage': 's.db', **SMALL}
    search(**same)
    for change, what in (({'seed': 1}, 'the seed that .* a different one'), ({'epochs': 3}, 'epochs 2, got 3'),
                         ({'over': ['learning_rate_D']}, 'the over that .*'), ({'k': 2}, 'k unset, got 2'),
                         ({'over': ['learning_rate_G=1e-3..1e-2']}, 'the over that .*'),
                         ({'network': 'article'}, 'network default, got article'), ({'data': 'digits'}, 'data .*')):
        with pytest.raises(ValueError, match=f's.db: expected {what}; a new search needs a new --storage'):
            search(**{**same, **change})
    search(**same, device='numpy')
    np.save(SMALL['data'], 255 - np.load(SMALL['data']))
    with pytest.raises(ValueError, match='expected the images that this search began with, got a different one;'):
        search(**same)


def test_what_is_searched_keeps_its_order_on_which_the_settings_depend(no_pictures):
    same = {'trials': 1, 'best': 1, 'seeds': 2, 'storage': 's.db', **SMALL}
    search(over=['k', 'beta1'], **same)
    with pytest.raises(ValueError, match='expected the over that this search began with, got a different one;'):
        search(over=['beta1', 'k'], **same)


def test_what_a_stranger_wrote_into_a_storage_is_refused(no_pictures):
    same = {'over': ['learning_rate_G'], 'trials': 1, 'best': 1, 'seeds': 2, 'storage': 's.log', **SMALL}
    search(**same)
    backend = optuna.storages.journal.JournalFileBackend('s.log')
    study = optuna.load_study(study_name='minigan', storage=optuna.storages.JournalStorage(backend))
    for result in ('text', {'distance': 'text'}, {'distance': float('nan')}):
        study.set_user_attr('trial-0000-seed-1', result)
        with pytest.raises(ValueError, match='trial-0000-seed-1: expected the result of a run, got'):
            search(**same)
    study.add_trial(optuna.trial.create_trial(value=0.0, params={'seed': 3}, distributions={
        'seed': optuna.distributions.IntDistribution(0, 9)}))
    with pytest.raises(ValueError, match='s.log: trial 1 is not one of this search'):
        search(**same)
    study.set_user_attr('search', [1])
    with pytest.raises(ValueError, match='expected the over that this search began with, got a different one'):
        search(**same)


def test_without_optuna_one_line_says_how_to_install_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, 'optuna', None)
    monkeypatch.setattr('minigan.search.store.find_spec', lambda name: None)
    assert main(['search']) == 2
    assert capsys.readouterr().err == "minigan: error: search: Optuna is not installed; pip install -e '.[search]'\n"
    assert list(tmp_path.iterdir()) == []


def test_a_signal_ends_the_search_with_the_run_saved_and_the_same_command_goes_on(no_pictures, monkeypatch):
    same = {'over': ['learning_rate_G'], 'trials': 3, 'best': 1, 'seeds': 2, 'storage': 's.db', **SMALL}
    whole = search(**{**same, 'storage': 'whole.db'})
    step, steps = Run.step, []

    def stopping(run):
        steps.append(run.t)
        if len(steps) in (8, 20):
            signal.raise_signal(signal.SIGTERM)
        return step(run)
    monkeypatch.setattr(Run, 'step', stopping)
    for n, run in ((8, 's/trial-0001'), (20, 's/trial-0000-seed-1')):
        with pytest.raises(Stopped, match='stopped by SIGTERM; to go on: the same command'):
            search(**same)
        assert len(steps) == n and archive.load(run)[0]['run.t'] == 2
    assert search(**same)['trials'] == whole['trials'] and len(steps) == 3 * 6 + 4 * 6


def test_a_full_disk_ends_the_search_in_one_line(no_pictures, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, 'No space left on device', 's/trial-0000/last.npz')
    monkeypatch.setattr(RunFolder, 'save', full)
    assert main(['search', '-o', 's.db', '--trials', '1', '--batch', '700', '--epochs', '1']) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith('minigan: error: [Errno 28] No space left')


@pytest.mark.parametrize('method', ['set_trial_state_values', 'set_study_user_attr'])
def test_the_storage_on_a_full_disk_is_named_in_one_line(method, no_pictures, monkeypatch, capsys):
    def full(*_, **__):
        raise optuna.exceptions.StorageInternalError('database or disk is full')
    monkeypatch.setattr(optuna.storages.RDBStorage, method, full)
    assert main(['search', '-o', 's.db', '--trials', '1', '--batch', '700', '--epochs', '1']) == 2
    assert capsys.readouterr().err.splitlines()[-1] == \
        'minigan: error: s.db: database or disk is full; to go on: the same command'


def test_a_run_again_has_the_settings_of_complete_trials_once():
    def trial(number, state, value, k=None):
        return SimpleNamespace(number=number, value=value, state=SimpleNamespace(name=state),
                               params={'k': number if k is None else k})
    trials = [trial(0, 'COMPLETE', 3.0), trial(1, 'PRUNED', 1.0), trial(2, 'COMPLETE', 2.0), trial(3, 'PRUNED', None),
              trial(4, 'COMPLETE', 2.0), trial(5, 'COMPLETE', 1.5), trial(6, 'COMPLETE', 1.5, k=5),
              trial(7, 'COMPLETE', 1.0, k=0)]
    assert again.choose(trials, 2) == [0, 5, 2]


def repeated(trial, values):
    return {'trial': trial, 'command': 'minigan train', 'runs': [{'distance': value} for value in values],
            'distance': report._mean(values)}


@pytest.mark.parametrize('own, best, words', [
    ((5.3, 5.1, 5.4), (5.2, 4.6, 5.5), 'may be no better than .* smaller by 0.167 ± 0.18 .p = 0.2'),
    ((6.3, 6.1, 6.2), (5.0, 4.9, 4.9), 'is better than .* smaller by 1.27 ± 0.033 .p = 0.00'),
    ((4.0, 4.1, 4.2), (5.0, 5.2, 5.1), 'No settings were better')])
def test_a_difference_that_chance_explains_is_called_so(own, best, words):
    both = sorted([repeated(0, own), repeated(7, best)], key=lambda one: one['distance']['mean'])
    assert re.search(words, report._verdict({'again': both})[0])


def test_the_best_of_many_needs_a_clearer_difference():
    """As likely as one of them is better by chance: the p of a single t-test, which SciPy has, is multiplied."""
    own, best = repeated(0, (6.3, 6.1, 6.2)), repeated(7, (5.0, 4.9, 5.6))
    p = [float(re.search(r'p = ([\d.]+)', report._compared(best, own, others))[1]) for others in (1, 3, 1000)]
    assert p[1] == pytest.approx(3 * p[0], rel=0.1) and p[2] == 1
    assert p[0] < 0.05 < p[1] and [words in report._compared(best, own, others) for words, others in (
        ('is better', 1), ('may be no better', 3))] == [True, True]


def test_settings_that_need_too_much_memory_are_an_outcome(no_pictures, monkeypatch):
    def train(config, **_):
        if config.n_z > 100:
            raise MemoryError
        return trained(config, **_)
    trained = runs.train
    monkeypatch.setattr(runs, 'train', train)
    result = search(over=['n_z=100,1000'], trials=4, best=1, seeds=2, storage='s.log', **SMALL)
    assert {trial['outcome'] for trial in result['trials'] if trial['settings']['n_z'] == 1000} == {'not enough memory'}
