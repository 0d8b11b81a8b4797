"""Pictures hold what they are meant to show, pixel by pixel where it can be said."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from minigan import plots


@pytest.mark.parametrize('shape', [(2, 3), (2, 3, 3)])
def test_a_grid_shows_each_image_once_in_reading_order(tmp_path, shape):
    values = np.linspace(-1, 1, 9)
    images = values[:, None] * np.ones(int(np.prod(shape)))
    plots.sample_grid(tmp_path / 'grid.png', images, shape, width=90)
    grid = np.asarray(Image.open(tmp_path / 'grid.png')).astype(float)
    assert grid.shape == (3 * 20 + 2 * plots.GAP, 3 * 30 + 2 * plots.GAP, *shape[2:])  # each ten times as large
    for i, value in enumerate(values):
        top, left = i // 3 * (20 + plots.GAP), i % 3 * (30 + plots.GAP)
        np.testing.assert_allclose(grid[top:top + 20, left:left + 30], (value + 1) * 127.5, atol=0.51)
    np.testing.assert_array_equal(grid[20:20 + plots.GAP], 128)


def test_a_grid_clips_what_no_screen_can_show_and_leaves_out_what_does_not_fill_a_square(tmp_path):
    images = np.array([[-7.0], [7.0], [0.0], [1.0], [1.0]])
    plots.sample_grid(tmp_path / 'grid.png', images, (1, 1), width=1)
    grid = np.asarray(Image.open(tmp_path / 'grid.png'))
    assert grid.shape == (2 + plots.GAP, 2 + plots.GAP)
    assert (grid[0, 0], grid[0, -1], grid[-1, 0], grid[-1, -1]) == (0, 255, 128, 255)


def test_the_curves_carry_the_logs_numbers_and_mark_the_equilibrium(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plots, 'Figure', lambda **size: figures.append(Figure(**size)) or figures[0])
    columns = ('train_V', 'validation_V', 'validation_L_G', 'train_D_x', 'validation_D_x', 'validation_D_G_z')
    rows = [{'epoch': epoch, **{column: epoch / 10 + i for i, column in enumerate(columns)}} for epoch in (1, 2, 3)]
    plots.loss_curves(tmp_path / 'losses.png', rows)
    lines = [line for axes in figures[0].axes for line in axes.lines]
    drawn = {line.get_label(): list(line.get_ydata()) for line in lines}
    assert drawn['V(D, G) = -L_D, train'] == [0.1, 0.2, 0.3]
    assert drawn['D(x), validation'] == [4.1, 4.2, 4.3] and drawn['D(G(z))'] == [5.1, 5.2, 5.3]
    assert set(drawn['V = -log 4']) == {-np.log(4)} and set(drawn['D = 1/2']) == {0.5}
    assert Image.open(tmp_path / 'losses.png').size == (1100, 420)
