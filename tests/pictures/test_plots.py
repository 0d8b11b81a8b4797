"""Pictures hold what they are meant to show, pixel by pixel where it can be said."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from minigan.pictures import plots


@pytest.mark.parametrize('shape', [(2, 3), (2, 3, 3)])
def test_a_grid_shows_each_image_once_in_reading_order(shape):
    values = np.linspace(0, 1, 9)
    images = values.reshape(-1, *(1 for _ in shape)) * np.ones(shape)
    grid = np.asarray(plots.grid(images, width=90)).astype(float)
    assert grid.shape == (3 * 20 + 2 * plots.GAP, 3 * 30 + 2 * plots.GAP, *shape[2:])  # each ten times as large
    for i, value in enumerate(values):
        top, left = i // 3 * (20 + plots.GAP), i % 3 * (30 + plots.GAP)
        np.testing.assert_allclose(grid[top:top + 20, left:left + 30], value * 255, atol=0.51)
    np.testing.assert_array_equal(grid[20:20 + plots.GAP], 128)


def test_a_grid_clips_what_no_screen_can_show_and_stays_grey_where_there_is_no_image():
    images = np.array([-7.0, 7.0, 0.5, 1.0, 1.0]).reshape(5, 1, 1)
    grid = np.asarray(plots.grid(images, width=1))
    step = 1 + plots.GAP
    assert grid.shape == (1 + step, 1 + 2 * step)
    assert [grid[0, 0], grid[0, step], grid[0, 2 * step], grid[step, 0], grid[step, step]] == [0, 255, 128, 255, 255]
    assert grid[step, 2 * step] == 128
    assert np.asarray(plots.grid(images, columns=5, width=1)).shape == (1, 1 + 4 * step)


def test_an_animation_shows_every_image_for_its_time(tmp_path):
    images = np.linspace(0, 1, 5).reshape(5, 1, 1) * np.ones((2, 2))
    plots.save_animation(tmp_path / 'walk.gif', images, seconds=0.1, width=8)
    with Image.open(tmp_path / 'walk.gif') as animation:
        assert (animation.n_frames, animation.size, animation.info['loop'], animation.info['duration']) == (
            5, (8, 8), 0, 100)
        for i, level in enumerate((0, 64, 128, 191, 255)):
            animation.seek(i)
            assert abs(int(np.asarray(animation.convert('L'))[4, 4]) - level) <= 1


def test_the_curves_carry_the_logs_numbers_and_mark_the_equilibrium(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plots, 'Figure', lambda **size: figures.append(Figure(**size)) or figures[0])
    columns = ('train_V', 'validation_V', 'validation_L_G', 'train_D_x', 'validation_D_x', 'validation_D_G_z')
    rows = [{'epoch': epoch, **{column: epoch / 10 + i for i, column in enumerate(columns)}} for epoch in (1, 2, 3)]
    plots.loss_curves(tmp_path / 'losses.png', rows, 'minimax')
    lines = [line for axes in figures[0].axes for line in axes.lines]
    drawn = {line.get_label(): list(line.get_ydata()) for line in lines}
    assert drawn['V(D, G), train'] == [0.1, 0.2, 0.3] and drawn['L_G minimax'] == [2.1, 2.2, 2.3]
    assert drawn['D(x), validation'] == [4.1, 4.2, 4.3] and drawn['D(G(z))'] == [5.1, 5.2, 5.3]
    assert set(drawn['V = -log 4']) == {-np.log(4)} and set(drawn['D = 1/2']) == {0.5}
    assert Image.open(tmp_path / 'losses.png').size == (1100, 420)
