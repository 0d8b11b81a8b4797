"""Grids and animations hold their images, pixel by pixel, and have a bounded size."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from minigan.pictures import grids


@pytest.mark.parametrize('shape', [(2, 3), (2, 3, 3)])
def test_a_grid_shows_each_image_once_in_reading_order(shape):
    values = np.linspace(0, 1, 9)
    images = values.reshape(-1, *(1 for _ in shape)) * np.ones(shape)
    grid = np.asarray(grids.grid(images, size=90)).astype(float)
    assert grid.shape == (3 * 20 + 2 * grids.GAP, 3 * 30 + 2 * grids.GAP, *shape[2:])  # each ten times as large
    for i, value in enumerate(values):
        top, left = i // 3 * (20 + grids.GAP), i % 3 * (30 + grids.GAP)
        np.testing.assert_allclose(grid[top:top + 20, left:left + 30], value * 255, atol=0.51)
    np.testing.assert_array_equal(grid[20:20 + grids.GAP], 128)


def test_a_grid_clips_what_no_screen_can_show_and_stays_grey_where_there_is_no_image():
    images = np.array([-7.0, 7.0, 0.5, 1.0, 1.0]).reshape(5, 1, 1)
    grid = np.asarray(grids.grid(images, size=1))
    step = 1 + grids.GAP
    assert grid.shape == (1 + step, 1 + 2 * step)
    assert [grid[0, 0], grid[0, step], grid[0, 2 * step], grid[step, 0], grid[step, step]] == [0, 255, 128, 255, 255]
    assert grid[step, 2 * step] == 128
    assert np.asarray(grids.grid(images, columns=5, size=1)).shape == (1, 1 + 4 * step)


def test_an_animation_shows_every_image_for_its_time(tmp_path):
    images = np.linspace(0, 1, 5).reshape(5, 1, 1) * np.ones((2, 2))
    grids.save_animation(tmp_path / 'walk.gif', images, seconds=0.1, size=8)
    with Image.open(tmp_path / 'walk.gif') as animation:
        assert (animation.n_frames, animation.size, animation.info['loop'], animation.info['duration']) == (
            5, (8, 8), 0, 100)
        for i, level in enumerate((0, 64, 128, 191, 255)):
            animation.seek(i)
            assert abs(int(np.asarray(animation.convert('L'))[4, 4]) - level) <= 1


@pytest.mark.parametrize('pixels, shown', [(2**26, [0, 50, 100, 150, 200]), (13, [0, 100, 200]), (1, [200])])
def test_pictures_become_an_animation_that_ends_with_the_last_and_has_a_bounded_size(
        pixels, shown, tmp_path, monkeypatch):
    monkeypatch.setattr(grids, 'PIXELS', pixels)
    pictures = [tmp_path / f'{i}.png' for i in range(5)]
    for i, path in enumerate(pictures):
        grids.save(path, Image.new('L', (2, 2), 50 * i))
    grids.animate(tmp_path / 'all.gif', pictures)
    with Image.open(tmp_path / 'all.gif') as animation:
        levels = []
        for i in range(animation.n_frames):
            animation.seek(i)
            levels.append(int(np.asarray(animation.convert('L'))[0, 0]))
    assert levels == shown


@pytest.mark.parametrize('shape, layout', [((8, 8), (8, 8, 10)), ((28, 28), (8, 8, 2)), ((1000, 1), (64, 1, 1)),
                                           ((1, 1000), (1, 64, 1)), ((60, 20, 3), (14, 5, 2))])
def test_neither_side_grows_with_the_other(shape, layout):
    columns, rows, zoom = grids.layout(64, shape)
    assert (columns, rows, zoom) == layout
    picture = grids.grid(np.zeros((64, *shape)))
    assert max(picture.size) <= max(640 + 64 * grids.GAP, *shape)
    assert picture.size == (columns * (shape[1] * zoom + grids.GAP) - grids.GAP,
                            rows * (shape[0] * zoom + grids.GAP) - grids.GAP)


def test_a_walk_of_few_long_rows_or_many_short_ones_is_no_larger_than_a_square_one():
    for points, steps in ((2, 100), (100, 2), (14, 14)):
        assert max(grids.grid(np.zeros((points * steps, 8, 8)), columns=steps, size=900).size) <= 900 + 100 * grids.GAP


@pytest.mark.parametrize('n, shape, said', [
    (10**9, (8, 8), 'picture: expected at most 67,108,864 pixels, got 1,000,000,000 images of 8 x 8'),
    (64, (2000, 2000), 'picture: expected at most 67,108,864 pixels, got 64 images of 2000 x 2000'),
    (0, (8, 8), 'n: expected at least 1 image, got 0')])
def test_a_picture_larger_than_memory_or_of_nothing_is_refused(n, shape, said):
    with pytest.raises(ValueError, match=said):
        grids.layout(n, shape)


@pytest.mark.parametrize('n, shape, said', [
    (2, (1, 70_000), 'GIF: expected images of at most 65,535 pixels a side, got 1 x 70000'),
    (2, (70_000, 1), 'GIF: expected images of at most 65,535 pixels a side, got 70000 x 1'),
    (10**8, (8, 8), 'GIF: expected at most 67,108,864 pixels, got 100,000,000 images of 8 x 8')])
def test_an_animation_that_a_gif_or_memory_cannot_hold_is_refused(n, shape, said):
    with pytest.raises(ValueError, match=said):
        grids.frame_zoom(n, shape)


def test_nothing_is_written_for_a_refused_animation(tmp_path):
    with pytest.raises(ValueError, match='GIF'):
        grids.save_animation(tmp_path / 'a.gif', np.zeros((2, 1, 70_000), np.float32))
    assert list(tmp_path.iterdir()) == []


def test_frames_are_enlarged_as_far_as_both_sides_and_all_frames_together_allow():
    assert [grids.frame_zoom(96, shape) for shape in ((8, 8), (28, 28), (4, 64), (64, 4), (300, 2))] == [16, 4, 2, 2, 1]
    assert grids.frame_zoom(100_000, (8, 8)) ** 2 * 100_000 * 64 <= grids.PIXELS


def test_images_are_drawn_without_matplotlib(tmp_path):
    program = """if True:
        import sys
        sys.modules['matplotlib'] = None
        import numpy as np
        from minigan.pictures import grids
        grids.save('a.png', grids.grid(np.zeros((4, 8, 8))))
        grids.save_animation('a.gif', np.zeros((2, 8, 8)))"""
    subprocess.run([sys.executable, '-c', program], cwd=tmp_path, check=True)
    assert {path.name for path in tmp_path.iterdir()} == {'a.png', 'a.gif'}
