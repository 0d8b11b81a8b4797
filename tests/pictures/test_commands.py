"""The commands that draw refuse a picture that is too large before they draw its images, and write nothing."""

import pytest

from minigan.cli import main
from minigan.storage.generator import Generator
from minigan.training.config import Config
from minigan.training.run import train


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return train(Config(epochs=1, batch=300, out=str(tmp_path_factory.mktemp('runs') / 'run')), quiet=True)


@pytest.mark.parametrize('arguments, said', [
    (['sample', '--n', '1000000', '-o', 'new.png'], 'expected at most 67,108,864 pixels, got 1,000,000 images'),
    (['sample', '--n', '0', '-o', 'new.png'], 'n: expected at least 1 image, got 0'),
    (['interpolate', '--points', '1000', '--steps', '1000', '-o', 'new'], 'expected at most 67,108,864 pixels'),
    (['interpolate', '--points', '2', '--steps', '200000', '-o', 'new'], None)])
def test_too_large_a_picture_is_refused_before_it_is_drawn(arguments, said, run, tmp_path, monkeypatch, capsys):
    def draw(*_, **__):
        raise ValueError('drawn')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Generator, 'sample', draw)
    monkeypatch.setattr(Generator, 'path', draw)
    assert main([arguments[0], str(run), *arguments[1:]]) == 2
    assert (said or 'drawn') in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('points, steps', [('1', '9'), ('9', '1'), ('0', '0'), ('-1', '5')])
def test_a_walk_of_too_few_points_or_steps_is_refused(points, steps, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['interpolate', str(run), '--points', points, '--steps', steps]) == 2
    error = capsys.readouterr().err
    assert 'expected at least' in error and error.count('\n') == 1 and list(tmp_path.iterdir()) == []
