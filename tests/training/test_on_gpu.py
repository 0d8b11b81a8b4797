"""`--device auto` takes a GPU that has passed a short self-test; what a GPU does to a run is said in one line."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minigan import data, gan
from minigan.checks.row import Row
from minigan.cli import main
from minigan.gpu import compare, device, twins
from minigan.gpu.device import CPU
from minigan.storage import archive, files
from minigan.training import build, on_gpu, state
from minigan.training.config import Config
from minigan.training.run import resume, train, without_kernels
from minigan.variants.convolution import AveragePool, Upscale

GOOD, BAD = Row('adam_', 0, 1e-6), Row('stack', 0.5, 1e-6, 'result[3]: expected 4, got 2')


@pytest.fixture
def trial(cupy, tmp_path, monkeypatch):
    """A self-test with the rows that a test wants; what is said; and choose, which uses both."""
    trial = SimpleNamespace(said=[], rows=[GOOD], cupy=cupy)
    trial.choose = lambda name='auto': on_gpu.choose_device(name, trial.said.append)
    monkeypatch.setenv('MINIGAN_DATA', str(tmp_path / 'not' / 'yet'))
    monkeypatch.setattr(on_gpu, 'short_rows', lambda xp: iter(trial.rows))
    return trial


def outcomes():
    return sorted(files.cache_folder().glob('selftest-*.json'))


def test_auto_is_the_default():
    assert Config().device == 'auto'


def test_the_short_self_test_passes_where_the_kernels_are_correct(cupy):
    said = []
    xp, words = on_gpu.choose_device('auto', said.append)
    assert xp is cupy and words == f'CuPy {cupy.__version__} on the GPU, which has passed the self-test'
    assert len(said) == 1 and 'comparing this GPU with NumPy' in said[0]


def broken(self, theta, *_, **__):
    """An adam_ that does nothing."""


@pytest.mark.parametrize('only_training', [False, True])
def test_one_wrong_kernel_is_enough_for_the_cpu(cupy, monkeypatch, only_training):
    if only_training:
        monkeypatch.setattr(on_gpu.compare, 'rows', lambda *_: [])
    monkeypatch.setattr(twins.Kernels, 'adam_', broken)
    xp, words = on_gpu.choose_device('auto', lambda _: None)
    where = r'4 steps of \w+, replayed: .*' if only_training else r'adam_: \w+\[\d+\]: '
    assert xp is np and re.fullmatch(rf'{CPU}: the self-test of the GPU failed: {where}expected \S+, got .*', words)


def test_the_short_self_test_has_a_row_for_each_kernel_and_each_network(cupy, monkeypatch):
    monkeypatch.setattr(on_gpu, 'compare_training', lambda xp, steps, network: Row(f'{steps} steps of {network}', 0, 1))
    names = [row.name.split(',')[0] for row in on_gpu.short_rows(cupy)]
    assert {*names} >= {*compare.specifications(), *compare.DRAWS}
    assert [name for name in names if 'steps' in name] == [f'4 steps of {network}' for network in on_gpu.RECIPES]


def test_it_runs_once(trial):
    assert trial.choose()[0] is trial.cupy and len(trial.said) == 1
    trial.rows = [BAD]
    xp, words = trial.choose()
    assert xp is trial.cupy and 'has passed the self-test' in words and len(trial.said) == 1


def test_a_failure_is_kept_too_and_the_line_says_where(trial):
    trial.rows = [GOOD, BAD]
    assert trial.choose() == (np, f'{CPU}: the self-test of the GPU failed: stack: result[3]: expected 4, got 2; '
                                  '`minigan selftest` shows more')
    trial.rows = [GOOD]
    xp, words = trial.choose()
    file, = outcomes()
    assert xp is np and len(trial.said) == 1
    assert f'stack: result[3]: expected 4, got 2, says {file}; delete it to test again' in words
    file.unlink()
    assert trial.choose()[0] is trial.cupy


def test_an_exception_is_a_failure_but_only_this_time(trial):
    def rows():
        yield GOOD
        raise MemoryError('Out of memory allocating 8 bytes')
    trial.rows = rows()
    xp, words = trial.choose()
    assert xp is np and 'self-test of the GPU failed: ' in words and 'Out of memory' in words and outcomes() == []
    trial.rows = [GOOD]
    assert trial.choose()[0] is trial.cupy and len(trial.said) == 2


@pytest.mark.parametrize('name', ['cpu', 'cuda'])
def test_who_names_a_device_gets_it_without_a_self_test(trial, name):
    trial.rows = [BAD]
    xp, words = trial.choose(name)
    assert (xp is np) == (name == 'cpu') and 'self-test' not in words and not trial.said and outcomes() == []


def test_it_runs_again_when_something_is_new(trial, monkeypatch):
    for source in ('one', 'two', 'one'):
        monkeypatch.setattr(device, 'code', lambda: source)
        trial.choose()
    assert len(trial.said) == len(outcomes()) == 2


def a_folder(file):
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize('damage', [
    a_folder, lambda file: file.write_text(''), lambda file: file.write_bytes(b'\xff\xfe{'),
    lambda file: file.write_text('[]'), lambda file: file.write_text('{}'), lambda file: file.write_text('[' * 50_000),
    lambda file: file.write_text(file.read_text()[:-5]), lambda file: file.write_text(' ' * 2**17 + file.read_text()),
    lambda file: file.write_text(json.dumps({**json.loads(file.read_text()), 'wrong': 0})),
    lambda file: file.write_text(json.dumps({**json.loads(file.read_text()), 'gpu': 'a different one'}))])
def test_a_damaged_outcome_is_not_believed(trial, damage):
    trial.choose()
    damage(outcomes()[0])
    assert trial.choose()[0] is trial.cupy and len(trial.said) == 2


def no_home(path, monkeypatch):
    for name in ('MINIGAN_DATA', 'XDG_CACHE_HOME', 'LOCALAPPDATA'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('pathlib.Path.home', lambda: (_ for _ in ()).throw(RuntimeError('no home')))


def a_file(path, monkeypatch):
    path.write_text('')
    monkeypatch.setenv('MINIGAN_DATA', str(path))


def full_disk(path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(on_gpu, 'atomic_write', refuse)


@pytest.mark.parametrize('cannot', [no_home, a_file, full_disk])
def test_where_nothing_can_be_kept_the_self_test_runs_every_time(trial, tmp_path, monkeypatch, cannot):
    cannot(tmp_path / 'cache', monkeypatch)
    for n in (1, 2):
        assert trial.choose()[0] is trial.cupy and len(trial.said) == n


def small(**choices):
    return Config(**{'epochs': 1, 'batch': 700, 'schedule': 'constant', 'out': 'run', **choices})


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_run_names_the_gpu_and_the_first_one_also_the_self_test(trial, here, capsys):
    for out, lines in (('a', 2), ('b', 1)):
        train(small(out=out))
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith('minigan: ')]
        assert said[-1] == f'minigan: CuPy {trial.cupy.__version__} on the GPU, which has passed the self-test'
        assert len(said) == lines


def test_without_cupy_nothing_is_said(here, monkeypatch, capsys):
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES')
    monkeypatch.setitem(sys.modules, 'cupy', None)
    train(small())
    resume('run', epochs=2)
    _, about = archive.load('run')
    assert about['config']['device'] == 'auto' and about['device'] == CPU
    assert 'minigan: ' not in capsys.readouterr().err


def test_a_run_that_moves_to_a_different_kind_of_device_says_so(trial, here, monkeypatch, capsys):
    train(small(), quiet=True)
    assert archive.load('run')[1]['device'].startswith('CuPy ')
    moved = 'this run has moved from {} to {}, where numbers are rounded differently'
    for module, line in ((trial.cupy, None), (None, moved.format('a GPU', 'the CPU')), (None, None),
                         (trial.cupy, moved.format('the CPU', 'a GPU'))):
        monkeypatch.setitem(sys.modules, 'cupy', module)
        resume('run', epochs=archive.load('run')[1]['config']['epochs'] + 1)
        said = capsys.readouterr().err
        assert (line in said) if line else ('moved' not in said)


def test_a_run_that_was_begun_on_the_cpu_by_choice_stays_there(trial, here, capsys):
    train(small(device='cpu'), quiet=True)
    resume('run', epochs=2)
    assert archive.load('run')[1]['device'] == CPU and 'minigan: ' not in capsys.readouterr().err


class OutOfMemoryError(MemoryError):
    """CuPy's."""

    __module__ = 'cupy.cuda.memory'


def test_a_gpu_that_fails_in_training_gives_one_line_with_the_saved_step_and_how_to_go_on(here, monkeypatch, capsys):
    step = gan.Game.step

    def fail(game, t):
        if t == 3:
            raise OutOfMemoryError('Out of memory allocating 4,096 bytes (allocated so far: 0 bytes).')
        return step(game, t)
    with monkeypatch.context() as patch:
        patch.setattr(gan.Game, 'step', fail)
        assert main('train --epochs 3 --batch 700 --save-every 0 -o run'.split()) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == ('minigan: error: the GPU failed: the memory of the GPU is full (OutOfMemoryError: Out of memory '
                    'allocating 4,096 bytes (allocated so far: 0 bytes).); --device cpu does without it. Step 3 is '
                    'safe; to go on: minigan train --resume run')
    assert main('train --resume run --device cpu'.split()) == 0
    assert archive.load('run')[0]['run.t'] == 6


def test_a_gpu_that_fails_before_training_gives_one_line_and_leaves_nothing(here, monkeypatch, capsys):
    def fail(*_):
        raise OutOfMemoryError('Out of memory')
    monkeypatch.setattr(state, 'build_game', fail)
    assert main('train -o run'.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith('minigan: error: the GPU failed: the memory of the GPU is full') and said.count('\n') == 1
    assert not Path('run').exists()


def test_what_has_no_kernels_is_named():
    config, digits = Config(network='dcgan'), data.load('digits')
    recipe = build.recipe_of(config, digits)
    assert without_kernels(build.build_game(config.resolve(recipe, digits), recipe, digits)) == []
    pooled = replace(recipe, D=lambda shape: [AveragePool((4, 4, 1)), Upscale((4, 4, 1)), *recipe.D(shape)])
    game = build.build_game(config.resolve(pooled, digits), pooled, digits)
    assert without_kernels(game) == ['AveragePool', 'Upscale']
