"""The commands as a user types them."""

import subprocess
import sys

import pytest

import minigan
from minigan.cli import main


def run(*arguments, cwd=None):
    return subprocess.run([sys.executable, '-m', 'minigan', *arguments], capture_output=True, text=True, cwd=cwd)


def test_version_and_help():
    assert run('--version').stdout == f'minigan {minigan.__version__}\n'
    text = run('--help').stdout
    assert 'train' in text and 'gan' in text
    text = ' '.join(run('train', '--help').stdout.split())
    for flag in ('--network', '--data', '--epochs', '--batch', '-k', '--learning-rate-G', '--learning-rate-D',
                 '--beta1', '--objective', '--update', '--seed', '--device', '--samples-every', '--out'):
        description = text[text.rindex(f' {flag} '):]
        assert 'default:' in description[:350], f'{flag} does not say its default'
    assert 'None' not in text and 'SUPPRESS' not in text


def test_train_leaves_a_run_and_says_where(tmp_path):
    result = run('train', '--epochs', '1', '-k', '2', '--seed', '3', '-o', 'here', cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert 'here/samples' in result.stdout and (tmp_path / 'here' / 'generator.npz').exists()


def test_bad_input_gives_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['train', '--batch', '0']) == 2
    assert capsys.readouterr().err == ('minigan: error: batch: expected between 1 and 1439, the number of training '
                                       'images, got 0\n')
    with pytest.raises(ValueError, match='batch: expected'):
        main(['train', '--batch', '0', '--debug'])


def test_a_folder_that_cannot_be_made_gives_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').write_text('')
    assert main(['train', '--epochs', '1', '-o', 'file/run']) == 2
    assert capsys.readouterr().err.startswith('minigan: error: ')


@pytest.mark.parametrize('arguments', [[], ['dance'], ['train', '--network', 'vgg'], ['train', '--epochs', 'many']])
def test_unknown_words_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and 'usage: minigan' in capsys.readouterr().err


def test_import_minigan_needs_numpy_alone():
    program = ('import sys; before = set(sys.modules); import numpy; '
               'sys.meta_path.insert(0, type("Stop", (), {"find_spec": lambda self, name, *_: '
               '(_ for _ in ()).throw(ImportError(name)) if name.split(".")[0] in '
               '("sklearn", "matplotlib", "tqdm", "cupy", "scipy", "torch") else None})()); '
               'import minigan; print(len(minigan.__all__))')
    result = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout == f'{len(minigan.__all__)}\n', result.stderr
