"""The paper's claims hold in numbers; and each check can fail."""

import numpy as np
import pytest
from PIL import Image

from minigan import losses, ops
from minigan.checks.row import Row
from minigan.cli import main
from minigan.study import claims


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """(rows, folder) of one call."""
    folder = tmp_path_factory.mktemp('theory') / 'new'
    return list(claims.check(folder)), folder


def test_every_check_holds(run):
    assert len(run[0]) == 55
    for row in run[0]:
        assert row.ok, row


def test_the_command_prints_them_and_names_what_fails(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(claims, 'check', lambda out, seed: iter(run[0]))
    assert main(['theory', '-o', str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert all(str(row) in text for row in run[0]) and 'All 55 checks hold.' in text
    monkeypatch.setattr(claims, 'check', lambda out, seed: iter([*run[0], Row('wrong', 2.0, 1.0)]))
    assert main(['theory', '-o', str(tmp_path)]) == 1
    assert 'WRONG: wrong' in capsys.readouterr().out


def test_its_pictures_are_pictures(run):
    with Image.open(run[1] / 'theory.png') as picture:
        assert picture.size == (1100, 700) and len(picture.convert('L').getcolors()) > 50
    with Image.open(run[1] / 'ring.png') as picture:
        assert picture.size == (1100, 240) and len(picture.convert('L').getcolors()) > 50
    with Image.open(run[1] / 'critics.png') as picture:
        assert picture.size == (1100, 550) and len(picture.convert('L').getcolors()) > 50
    with Image.open(run[1] / 'figure1.gif') as animation:
        assert animation.n_frames == 60
        first = np.array(animation.convert('L'))
        animation.seek(59)
        assert (first != np.array(animation.convert('L'))).mean() > 0.01


def test_a_wrong_loss_is_noticed(monkeypatch):
    wrong = losses.OBJECTIVES['minimax']._replace(L_D=lambda real, fake: ops.softplus(-real).mean())
    monkeypatch.setitem(losses.OBJECTIVES, 'minimax', wrong)
    assert not all(row.ok for row in claims.theorem_1())


@pytest.mark.parametrize('target, weight', [(0.9, 1), (1, 2)])
def test_a_D_of_a_different_objective_is_noticed(monkeypatch, target, weight):
    backward = losses.cross_entropy_backward
    monkeypatch.setattr(losses, 'L_D_backward', lambda real, fake: (
        backward(real, target=target), weight * backward(fake, target=0)))
    assert not all(row.ok for row in claims.proposition_1()[0])


def test_the_saturating_loss_in_place_of_the_other_is_noticed(monkeypatch):
    monkeypatch.setitem(losses.OBJECTIVES, 'nonsaturating', losses.OBJECTIVES['minimax'])
    assert [row.ok for row in claims.saturation_rows(claims.saturation())] == [True, True, False]
