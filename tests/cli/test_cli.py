"""The commands as a user types them."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

import minigan
from minigan.cli import main
from minigan.cli.options import parser
from minigan.storage import archive, files
from minigan.training.config import Config, flag


def run(*arguments, cwd=None):
    return subprocess.run([sys.executable, '-m', 'minigan', *arguments], capture_output=True, text=True, cwd=cwd)


def test_version_and_help():
    assert run('--version').stdout == f'minigan {minigan.__version__}\n'
    text = run('--help').stdout
    assert 'train' in text and 'gan' in text
    text = ' '.join(run('train', '--help').stdout.split())
    for name in ('--network', '--data', '--epochs', '--batch', '-k', '--learning-rate-G', '--learning-rate-D',
                 '--beta1', '--objective', '--update', '--seed', '--device', '--samples-every', '--out', '--n-z',
                 '--save-every', '--tensorboard', '--resume'):
        description = text[text.rindex(f' {name} '):]
        assert 'default:' in description[:500], f'{name} does not say its default'
    for command in ('', 'train', 'sample', 'evaluate', 'kernelcheck', 'exercise check'):
        text = run(*command.split(), '--help').stdout
        assert not any(word in text for word in ('None', 'SUPPRESS', 'False')), command


def test_train_leaves_a_run_and_says_where(tmp_path):
    result = run('train', '--epochs', '1', '-k', '2', '--seed', '3', '-o', 'here', cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert 'here/samples' in result.stdout and (tmp_path / 'here' / 'last.npz').exists()


def test_bad_input_gives_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['train', '--batch', '0']) == 2
    assert capsys.readouterr().err == 'minigan: error: batch: expected a number >= 1 and <= 1,000,000,000, got 0\n'
    with pytest.raises(ValueError, match='batch: expected'):
        main(['train', '--batch', '0', '--debug'])


def test_a_folder_that_cannot_be_made_gives_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').write_text('')
    assert main(['train', '--epochs', '1', '-o', 'file/run']) == 2
    assert capsys.readouterr().err.startswith('minigan: error: ')


@pytest.mark.parametrize('arguments, said', [
    ([], 'required: COMMAND (minigan --help'), (['dance'], "invalid choice: 'dance'"),
    (['train', '--network', 'vgg'], "invalid choice: 'vgg'"),
    (['train', '--epochs', 'many'], "invalid int value: 'many'"),
    (['train', '--epochs', '1e3'], "invalid int value: '1e3'"), (['sample'], 'required: RUN (minigan sample --help'),
    (['train', '--dance', '2'], 'unrecognized arguments: --dance 2 (minigan train --help')])
def test_unknown_words_give_one_line_and_exit_code_2(arguments, said, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    error = capsys.readouterr().err
    assert caught.value.code == 2 and error.startswith('minigan: error: ') and error.count('\n') == 1 and said in error


@pytest.mark.parametrize('flags, said', [
    ('--batch 0', 'batch: expected a number >= 1'), ('--batch 1440', 'batch: expected between 1 and 1439'),
    ('--batch 1', 'batch: expected at least 2 images, which BatchNorm(256) in G needs'), ('-k 0', 'k: expected'),
    ('--learning-rate-G -1', 'learning_rate_G: expected'), ('--learning-rate-D nan', 'learning_rate_D: expected'),
    ('--seed 18446744073709551616', 'seed: expected an integer in [0, 2**64)'), ('--seed -1', 'got -1'),
    ('--n-z 0', 'n_z: expected a number >= 1'), ('--beta1 1', 'beta1: expected'), ('--epochs 0', 'epochs: expected'),
    ('--data nowhere', 'nowhere'), ('--data empty', 'empty: expected a file named like train-images'),
    ('--data .', 'expected a file named like'), ('-o occupied', 'out: expected a new or empty folder, got occupied'),
    ('-o occupied/precious.txt', 'got occupied/precious.txt, which is neither'),
    ('-o occupied/precious.txt/run', 'Not a directory'), ('--device cuda', "device 'cuda': "),
    ('--save-every -1', 'save_every: expected'),
    ('--resume nowhere', 'nowhere: no such folder'),
    ('--resume empty', 'empty: not the folder of a run: it has no last.npz'),
    ('--resume occupied --batch 3 --seed 1', '--resume: --batch, --seed are fixed by the run; only --data,')])
def test_bad_choices_give_one_line_and_exit_code_2_and_write_nothing(flags, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'occupied').mkdir()
    (tmp_path / 'occupied' / 'precious.txt').write_text('mine')
    monkeypatch.setitem(sys.modules, 'cupy', None)
    assert main(['train', *flags.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith('minigan: error: ') and error.count('\n') == 1 and said in error
    assert sorted(path.name for path in tmp_path.rglob('*')) == ['empty', 'occupied', 'precious.txt']


def test_a_folder_that_may_not_be_written_gives_one_line(tmp_path, capsys):
    if not Path('/proc/version').exists():
        pytest.skip('no /proc, which not even root can write')
    assert main(['train', '--epochs', '1', '-o', '/proc/run']) == 2
    error = capsys.readouterr().err
    assert error.startswith('minigan: error: ') and error.count('\n') == 1 and '/proc/run' in error


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs') / 'run'
    assert main(['train', '--epochs', '1', '--batch', '32', '-o', str(folder)]) == 0
    return folder


def test_samples_as_a_picture_and_as_an_array(trained, tmp_path, capsys):
    assert main(['sample', str(trained), '--n', '9', '--seed', '1', '-o', str(tmp_path / 'grid.png')]) == 0
    assert main(['sample', str(trained / 'best.npz'), '--n', '9', '--seed', '1', '-o', str(tmp_path / 'a.npy')]) == 0
    assert f'{tmp_path}/grid.png: 9 images\n' in capsys.readouterr().out
    images = np.load(tmp_path / 'a.npy')
    assert images.shape == (9, 8, 8) and images.dtype == np.float32
    np.testing.assert_array_equal(images, minigan.load(trained).sample(9, seed=1))
    pixels = np.asarray(Image.open(tmp_path / 'grid.png'))
    assert pixels.shape == (3 * 208 + 2 * 4, 3 * 208 + 2 * 4)
    assert abs(pixels[:208, :208].mean() - 255 * images[0].mean()) < 2
    assert main(['sample', str(trained), '--training', '-o', str(tmp_path / 'b.npy')]) == 0
    assert not np.allclose(np.load(tmp_path / 'b.npy')[:9], images, atol=0.05)


@pytest.mark.parametrize('name', ['S.PNG', 'A.NPY'])
def test_a_suffix_in_capitals_is_the_same(name, trained, tmp_path):
    assert main(['sample', str(trained), '--n', '2', '-o', str(tmp_path / name)]) == 0
    assert len(np.load(tmp_path / name) if name == 'A.NPY' else Image.open(tmp_path / name).size) == 2


def test_samples_can_be_trained_on(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(['sample', str(trained), '--n', '100', '-o', 'a.npy']) == 0
    assert main(['train', '--data', 'a.npy', '--epochs', '1', '-o', 'again']) == 0


def test_an_interpolation_is_a_strip_and_an_animation(trained, tmp_path, capsys):
    assert main(['interpolate', str(trained), '--points', '3', '--steps', '4', '-o', str(tmp_path / 'walk')]) == 0
    strip, animation = Image.open(tmp_path / 'walk.png'), Image.open(tmp_path / 'walk.gif')
    side = 900 // (4 * 8) * 8
    assert strip.size == (4 * side + 3 * 4, 3 * side + 2 * 4) and animation.n_frames == 12
    for i in (0, 7, 11):
        animation.seek(i)
        left, top = i % 4 * (side + 4), i // 4 * (side + 4)
        tile = strip.crop((left, top, left + side, top + side)).resize((128, 128))
        assert abs(np.asarray(animation.convert('L'), float) - np.asarray(tile, float)).mean() < 3


def test_a_step_is_traced_as_text_and_as_json(trained, capsys):
    assert main(['trace', str(trained), '--step', '1']) == 0
    text = capsys.readouterr().out
    assert text.startswith('digits, network default, step 1 of 0 to ') and '# for k steps do\n' in text
    assert max(map(len, text.splitlines())) <= 100
    assert main(['trace', str(trained)]) == 0
    assert 'This run has ended' in capsys.readouterr().out
    assert main(['trace', '--json', '--network', 'article', '--batch', '7']) == 0
    found = json.loads(capsys.readouterr().out)
    assert found['t'] == 0 and found['lines'][0]['method'] == 'simultaneous'
    assert found['lines'][0]['values']['z']['shape'] == [7, 100]


def test_json_of_a_step_is_json_even_when_numbers_overflow(capsys):
    assert main(['trace', '--json', '--step', '2', '--learning-rate-G', '1e30', '--learning-rate-D', '1e30']) == 0
    text = capsys.readouterr().out
    json.loads(text, parse_constant=lambda name: pytest.fail(f'{name} is no JSON'))
    assert 'null' in text


def test_a_step_that_cannot_be_traced_gives_one_line(trained, capsys):
    for arguments, said in ((['--step', '-1'], 'step: expected 0 to 3023, the last one of this run, got -1'),
                            (['nowhere'], 'nowhere: no such file'),
                            ([str(trained), '--seed', '3'], '--seed: expected none with a run')):
        assert main(['trace', *arguments]) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]


def test_inspect_prints_and_ends_quietly_when_nobody_reads_on(trained):
    assert f'{trained}/last.npz: step 44\n' in run('inspect', str(trained)).stdout
    command = f'"{sys.executable}" -m minigan gradcheck | head -1'
    result = subprocess.run(['bash', '-c', command], capture_output=True, text=True)
    assert result.stdout.startswith('expected:') and result.stderr == ''


@pytest.mark.parametrize('arguments, said', [
    (['sample', 'RUN', '--n', '0'], 'n: expected at least 1 image, got 0'),
    (['sample', 'RUN', '-o', 'a.jpg'], 'out: expected a name that ends in .png or .npy, got a.jpg'),
    (['sample', 'RUN', '--seed', '-1'], 'seed: expected'), (['sample', 'nowhere'], 'nowhere'),
    (['sample', 'RUN/log.csv'], 'log.csv: expected a whole .npz'), (['interpolate', 'RUN', '--points', '1'], 'points'),
    (['sample', 'RUN', '-o', 'no/where.png'], 'no/where.png: no such folder: no\n'),
    (['sample', 'RUN', '-o', 'no/where.npy'], 'no such folder: no\n'),
    (['interpolate', 'RUN', '-o', 'no/walk'], 'no such folder: no\n'), (['inspect', 'RUN/config.json'], 'config'),
    (['interpolate', 'RUN', '--steps', '0'], 'steps: expected at least 2, got 0')])
def test_what_cannot_be_drawn_gives_one_line_and_leaves_nothing(arguments, said, trained, tmp_path, monkeypatch,
                                                                capsys):
    monkeypatch.chdir(tmp_path)
    assert main([argument.replace('RUN', str(trained)) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith('minigan: error: ') and error.count('\n') == 1 and said in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='no /dev/full')
def test_a_run_needs_no_reader_of_its_output(tmp_path):
    for i, redirect in enumerate(('2>&-', '2>&1 | head -c 1', '>&- 2>&-')):
        command = f'"{sys.executable}" -m minigan train --epochs 1 --batch 300 -o run{i} {redirect}'
        subprocess.run(['bash', '-c', command], capture_output=True, cwd=tmp_path)
        assert (tmp_path / f'run{i}' / 'last.npz').exists()
    assert (tmp_path / 'run0' / 'losses.png').exists()


def test_a_terminal_without_the_letters_of_a_name_is_no_reason_to_fail(tmp_path):
    arguments = ['train', '--epochs', '1', '--batch', '300', '-o', 'bücher']
    result = subprocess.run([sys.executable, '-m', 'minigan', *arguments], capture_output=True, text=True,
                            cwd=tmp_path, env={**os.environ, 'PYTHONIOENCODING': 'ascii'})
    assert result.returncode == 0 and 'b\\xfccher' in result.stdout


def test_what_a_stranger_wrote_does_not_command_the_terminal(trained, tmp_path, capsys):
    arrays, about = archive.load(trained)
    archive.save(tmp_path / 'a.npz', arrays, {**about, 'versions': {'a': '\x1b]0;owned\x07'}})
    assert main(['inspect', str(tmp_path / 'a.npz')]) == 0
    archive.save(tmp_path / 'b.npz', arrays, {**about, 'format': '\x1b[31m' * 10_000})
    assert main(['inspect', str(tmp_path / 'b.npz')]) == 2
    output, error = capsys.readouterr()
    assert '?]0;owned?' in output and '\x1b' not in output + error and len(error) < 2100


def test_too_little_memory_gives_one_line(trained, monkeypatch, capsys):
    monkeypatch.setattr(minigan, 'load', lambda run: (_ for _ in ()).throw(MemoryError()))
    assert main(['sample', str(trained)]) == 2 and capsys.readouterr().err == 'minigan: error: not enough memory\n'


def test_import_minigan_needs_numpy_alone():
    program = ('import sys; before = set(sys.modules); import numpy; '
               'sys.meta_path.insert(0, type("Stop", (), {"find_spec": lambda self, name, *_: '
               '(_ for _ in ()).throw(ImportError(name)) if name.split(".")[0] in '
               '("sklearn", "matplotlib", "tqdm", "cupy", "scipy", "torch") else None})()); '
               'import minigan; print(len(minigan.__all__))')
    result = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout == f'{len(minigan.__all__)}\n', result.stderr


def test_every_choice_of_a_run_is_a_flag_with_its_help_and_its_type():
    text = ' '.join(run('train', '--help').stdout.split())
    for option in fields(Config):
        assert f' {flag(option.name)} ' in text and ' '.join(option.metadata['help'].split())[:40] in text
        types = option.type, *get_args(option.type)
        text_or_number = 'x' if str in types else '1'
        value = next(iter(option.metadata.get('choices', [text_or_number])))
        given = [flag(option.name), *[value] * option.metadata.get('nargs', option.type is not bool)]
        options = vars(parser().parse_args(['train', *given]))
        assert set(options) == {'command', option.name}
        found = options[option.name]
        assert found == [value, value] if 'nargs' in option.metadata else type(found) in types


def test_the_advice_after_a_run_can_be_pasted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['train', '--epochs', '1', '--batch', '300', '-o', 'my run']) == 0
    assert "minigan sample 'my run' draws more" in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(signal, 'SIGHUP'), reason='signals as POSIX has them')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, getattr(signal, 'SIGHUP', None)])
@pytest.mark.parametrize('command', ['sample RUN -o s.png', 'sample RUN -o a.npy', 'interpolate RUN', 'theory'])
def test_a_signal_while_a_file_is_written_leaves_nothing_of_it(number, command, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write = os.fsync

    def interrupted(descriptor):
        signal.raise_signal(number)
        write(descriptor)
    monkeypatch.setattr(os, 'fsync', interrupted)
    monkeypatch.setattr('minigan.study.claims.check', lambda out, seed: files.save_array('theory.npy', np.zeros(3)))
    assert main(command.replace('RUN', str(trained)).split()) == 128 + number
    assert list(tmp_path.iterdir()) == [] and signal.getsignal(number) is not interrupted
    assert capsys.readouterr().err == f'minigan: stopped by {signal.Signals(number).name}\n'


@pytest.mark.skipif(os.name != 'posix', reason='signals as POSIX has them')
def test_an_interrupt_while_numpy_is_imported_leaves_no_traceback(tmp_path):
    (tmp_path / 'numpy.py').write_text('import signal, time; signal.raise_signal(signal.SIGINT); time.sleep(9)')
    result = subprocess.run([sys.executable, '-m', 'minigan', 'inspect', 'x'], capture_output=True, text=True,
                            env={**os.environ, 'PYTHONPATH': f'{tmp_path}:{Path(minigan.__file__).parents[1]}'})
    assert (result.returncode, result.stderr) == (-signal.SIGINT, '')


def test_importing_minigan_leaves_other_programs_their_signals():
    program = 'import signal, minigan; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)'
    assert subprocess.run([sys.executable, '-c', program], capture_output=True, text=True).stdout == 'True\n'


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='no /dev/full')
@pytest.mark.parametrize('command', ['inspect RUN', 'sample RUN -o a.npy', '--help', 'train --help', '--version'])
def test_output_that_cannot_be_written_is_reported(command, trained, tmp_path):
    command = f'"{sys.executable}" -m minigan {command.replace("RUN", str(trained))}'
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONUNBUFFERED'}
    result = subprocess.run(['bash', '-c', f'{command} >/dev/full'], capture_output=True, text=True, cwd=tmp_path,
                            env=environment)
    assert result.returncode == 2 and result.stderr.count('\n') == 1 and 'No space left' in result.stderr
    result = subprocess.run(['bash', '-c', f'{command} | true; exit ${{PIPESTATUS[0]}}'], capture_output=True,
                            text=True, cwd=tmp_path, env=environment)
    assert result.returncode in (0, 141) and result.stderr == ''


@pytest.mark.skipif(os.name != 'posix', reason='a pipe without a reader')
def test_a_run_goes_on_when_nobody_reads_its_progress(tmp_path):
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run([sys.executable, '-m', 'minigan', 'train', '--epochs', '1', '--batch', '300', '-o', 'run'],
                            stdout=subprocess.PIPE, stderr=write, text=True, cwd=tmp_path)
    os.close(write)
    assert result.returncode == 0 and result.stdout.startswith('Done.')
