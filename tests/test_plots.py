"""Pictures hold what they are meant to show, pixel by pixel where it can be said."""

import numpy as np
import pytest
from matplotlib.image import imread

from minigan import plots


@pytest.mark.parametrize('shape', [(2, 3), (2, 3, 3)])
def test_a_grid_shows_each_image_once_in_reading_order(tmp_path, shape):
    values = np.linspace(-1, 1, 9)
    images = values[:, None] * np.ones(int(np.prod(shape)))
    plots.sample_grid(tmp_path / 'grid.png', images, shape, width=110)
    grid = imread(tmp_path / 'grid.png')
    assert grid.shape == (80, 110, 4)  # 3 x 2 rows and 2 borders, 3 x 3 columns and 2 borders, ten times as large
    shown = [grid[30 * row + 5, 40 * column + 5, 0] for row in range(3) for column in range(3)]
    np.testing.assert_allclose(shown, (values + 1) / 2, atol=1 / 255)
    np.testing.assert_allclose(grid[25, :, 0], 0.5, atol=1 / 255)


def test_a_grid_leaves_out_what_does_not_fill_a_square(tmp_path):
    plots.sample_grid(tmp_path / 'grid.png', np.zeros((8, 4)), (2, 2), width=5)
    assert imread(tmp_path / 'grid.png').shape[:2] == (5, 5)


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
    assert imread(tmp_path / 'losses.png').shape[:2] == (420, 1100)


Figure = plots.Figure
