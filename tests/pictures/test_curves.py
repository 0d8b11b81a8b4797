"""The curves of a run are those of its log, and look the same whatever the user's matplotlib is set to."""

import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from minigan.pictures import curves, figures

COLUMNS = ('train_V', 'validation_V', 'validation_L_G', 'train_D_x', 'validation_D_x', 'validation_D_G_z')
ROWS = [{'epoch': epoch, **{column: epoch / 10 + i for i, column in enumerate(COLUMNS)}} for epoch in (1, 2, 3)]


def test_the_curves_carry_the_logs_numbers_and_mark_the_equilibrium(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, 'Figure', lambda **size: drawn.append(Figure(**size)) or drawn[0])
    curves.loss_curves(tmp_path / 'losses.png', ROWS, 'minimax')
    lines = [line for axes in drawn[0].axes for line in axes.lines]
    labelled = {line.get_label(): list(line.get_ydata()) for line in lines}
    assert labelled['V(D, G), train'] == [0.1, 0.2, 0.3] and labelled['L_G minimax'] == [2.1, 2.2, 2.3]
    assert labelled['D(x), validation'] == [4.1, 4.2, 4.3] and labelled['D(G(z))'] == [5.1, 5.2, 5.3]
    assert set(labelled['V = -log 4']) == {-np.log(4)} and set(labelled['D = 1/2']) == {0.5}
    with Image.open(tmp_path / 'losses.png') as picture:
        assert picture.size == (1100, 420)


def test_runs_are_compared_step_by_step_each_under_its_name(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, 'Figure', lambda **size: drawn.append(Figure(**size)) or drawn[-1])
    rows = [{**row, 'step': 10 * row['epoch'], 'distance': -row['epoch']} for row in ROWS]
    for probability in (True, False):
        picture = curves.compare({'long': rows, 'short': rows[:2]}, probability=probability)
        assert picture.size == (1040, 320) and picture.mode == 'RGB'
        value, loss, distance = drawn[-1].axes
        for axes, numbers in ((value, [1.1, 1.2, 1.3]), (loss, [2.1, 2.2, 2.3]), (distance, [-1, -2, -3])):
            long, short, *marked = axes.lines
            assert (long.get_label(), list(long.get_xdata())) == ('long', [10, 20, 30])
            assert (short.get_label(), list(short.get_xdata())) == ('short', [10, 20])
            assert list(long.get_ydata()) == numbers and list(short.get_ydata()) == numbers[:2]
            assert [line.get_label() for line in marked] == ['V = -log 4'] * (axes is value and probability)
        assert value.get_title() == ('V(D, G)' if probability else '-L_D')


def test_a_users_style_latex_and_backend_change_nothing(tmp_path):
    curves.loss_curves(tmp_path / 'default.png', ROWS, 'minimax')
    user = {'text.usetex': True, 'backend': 'svg', 'figure.facecolor': 'red', 'savefig.dpi': 30, 'font.size': 20}
    with matplotlib.rc_context(user):
        curves.loss_curves(tmp_path / 'user.png', ROWS, 'minimax')
        assert {name: matplotlib.rcParams[name] for name in user} == user
    assert (tmp_path / 'user.png').read_bytes() == (tmp_path / 'default.png').read_bytes()


PROGRAM = """if True:
    from minigan.pictures import curves
    from test_curves import ROWS
    curves.loss_curves('losses.png', ROWS, 'minimax')"""


@pytest.mark.parametrize('backend', ['module://matplotlib_inline.backend_inline', 'module://no.such.module', 'nonsense',
                                     'Qt5Agg'])
def test_a_backend_that_a_notebook_passes_on_is_not_needed(backend, tmp_path):
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    subprocess.run([sys.executable, '-c', PROGRAM], check=True, cwd=tmp_path,
                   env={**os.environ, 'MPLBACKEND': backend, 'PYTHONPATH': path})
    curves.loss_curves(tmp_path / 'here.png', ROWS, 'minimax')
    assert (tmp_path / 'losses.png').read_bytes() == (tmp_path / 'here.png').read_bytes()


def test_a_matplotlibrc_of_the_users_changes_nothing(tmp_path):
    (tmp_path / 'matplotlibrc').write_text('text.usetex: True\nbackend: TkAgg\naxes.grid: True\n')
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    subprocess.run([sys.executable, '-c', PROGRAM], check=True, cwd=tmp_path,
                   env={**os.environ, 'PYTHONPATH': path, 'MPLCONFIGDIR': str(tmp_path)})
    curves.loss_curves(tmp_path / 'here.png', ROWS, 'minimax')
    assert (tmp_path / 'losses.png').read_bytes() == (tmp_path / 'here.png').read_bytes()


def test_in_a_notebook_its_backend_stays_chosen(tmp_path):
    """Where minigan is the first to import matplotlib, plt.show() must find what MPLBACKEND names."""
    program = "from minigan.pictures import figures; print(figures.matplotlib.rcParams['backend'])"
    done = subprocess.run([sys.executable, '-c', program], check=True, capture_output=True, text=True,
                          env={**os.environ, 'MPLBACKEND': 'svg', 'PYTHONPATH': os.pathsep.join(sys.path)})
    assert done.stdout == 'svg\n'
