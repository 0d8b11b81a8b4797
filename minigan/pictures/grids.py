"""Grids of images as PNG files, and sequences of them as GIF files. PIL draws them, so matplotlib is not needed."""

import math

import numpy as np
from PIL import Image

from minigan.storage.files import atomic_write

GAP = 4  # pixels between two images of a grid
PIXELS = 2**26  # the most in a picture, or in all frames of an animation
GIF_SIDE = 2**16 - 1  # pixels: the format has two bytes for each side


def layout(n, shape, *, columns=None, size=640):
    """(columns, rows, zoom) of a grid of n images of shape (height, width[, 3]).

    The longer side of the grid has about `size` pixels, or more if the images have more: they are never shrunk.
    columns None: the number that makes the grid about square. Raises ValueError for n < 1 and for more than PIXELS.
    """
    height, width, *_ = shape
    if n < 1:
        raise ValueError(f'n: expected at least 1 image, got {n}')
    columns = columns or min(n, math.isqrt((n * height - 1) // width) + 1)
    rows = -(-n // columns)
    zoom = max(1, size // max(columns * width, rows * height))
    if columns * (width * zoom + GAP) * rows * (height * zoom + GAP) > PIXELS:
        raise ValueError(f'picture: expected at most {PIXELS:,} pixels, got {n:,} images of {height} x {width}')
    return columns, rows, zoom


def grid(images, *, columns=None, size=640):
    """One PIL image of images (N, height, width[, 3]) in [0, 1], row by row, in the layout above.

    Small images are enlarged smoothly: a digit of 8 x 8 pixels is easier to read without the edges of its pixels.
    Raises ValueError when the picture would be too large.
    """
    columns, rows, zoom = layout(len(images), images.shape[1:], columns=columns, size=size)
    tiles = enlarge(images, zoom)
    width, height = tiles[0].width + GAP, tiles[0].height + GAP
    picture = Image.new(tiles[0].mode, (columns * width - GAP, rows * height - GAP), 'grey')
    for i, tile in enumerate(tiles):
        picture.paste(tile, (i % columns * width, i // columns * height))
    return picture


def rows(parts, *, most=16):
    """A grid with a row for each array of images (N, height, width[, 3]): the first ones of each."""
    shown = [images[:most] for images in parts]
    return grid(np.concatenate(shown), columns=len(shown[0]))


def enlarge(images, zoom):
    """A list of PIL images, each side `zoom` times as long."""
    size = images.shape[2] * zoom, images.shape[1] * zoom
    pixels = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    return [Image.fromarray(image).resize(size, Image.Resampling.BICUBIC) for image in pixels]


def save(path, picture):
    """Write a PIL image as PNG, whole or not at all. Raises OSError."""
    with atomic_write(path) as file:
        picture.save(file, 'PNG')


def frame_zoom(n, shape, *, size=128):
    """How many times to enlarge n frames of shape (height, width[, 3]): their longer side gets about `size` pixels.

    Raises ValueError for a side longer than a GIF can have, and for more than PIXELS in all.
    """
    height, width, *_ = shape
    if max(height, width) > GIF_SIDE:
        raise ValueError(f'GIF: expected images of at most {GIF_SIDE:,} pixels a side, got {height} x {width}')
    if n * height * width > PIXELS:
        raise ValueError(f'GIF: expected at most {PIXELS:,} pixels, got {n:,} images of {height} x {width}')
    return max(1, min(size // max(height, width), math.isqrt(PIXELS // (n * height * width))))


def save_animation(path, images, *, seconds=0.08, size=128):
    """Write images (N, height, width[, 3]) in [0, 1] as an endless GIF, each shown for `seconds`.

    Raises ValueError for what frame_zoom refuses, and OSError.
    """
    save_frames(path, enlarge(images, frame_zoom(len(images), images.shape[1:], size=size)), seconds=seconds)


def animate(path, pictures, *, seconds=0.5):
    """Write PNG files of one size as an endless GIF, each side half as long, to keep the file small.

    Of more files than PIXELS allow, it shows every second, third, ..., and always the last. Raises OSError.
    """
    with Image.open(pictures[-1]) as last:
        every = math.ceil(len(pictures) * last.width * last.height / PIXELS)
    frames = []
    for picture in pictures[::-1][::every][::-1]:
        with Image.open(picture) as image:
            frames.append(image.reduce(2))
    save_frames(path, frames, seconds=seconds)


def save_frames(path, frames, *, seconds):
    """Write PIL images as an endless GIF, each shown for `seconds`. Raises OSError."""
    first, *others = frames
    with atomic_write(path) as file:
        first.save(file, 'GIF', save_all=True, append_images=others, duration=round(1000 * seconds), loop=0)
