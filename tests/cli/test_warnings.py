"""A warning of a command is one line on standard error, and never part of what the command prints."""

import subprocess
import sys

import numpy as np
import pytest

from minigan.cli import main


@pytest.fixture
def dark(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save('dark.npy', np.random.default_rng(0).integers(0, 2, (60, 4, 3), dtype=np.uint8))


def test_a_warning_is_one_line(dark, capsys):
    for command in ('train --data dark.npy --epochs 1 -o run', 'evaluate run --n 10 --json'):
        assert main(command.split()) == 0
        lines = [line for line in capsys.readouterr().err.splitlines() if 'warning' in line]
        assert lines == ['minigan: warning: dark: the brightest pixel is 1 of 255; if it stands for white, multiply '
                         'all pixels by 255 / 1']


def test_without_standard_error_a_warning_goes_nowhere(dark):
    program = 'import sys; sys.stderr = None; from minigan.cli import main; sys.exit(main(sys.argv[1:]))'
    done = subprocess.run([sys.executable, '-c', program, 'train', '--data', 'dark.npy', '--epochs', '1', '-o', 'run'],
                          stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout
    assert 'brightest' not in done.stdout
