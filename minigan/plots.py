"""Every picture: grids of samples, curves of a run."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from minigan.files import replacing

GAP = 4  # pixels between two images of a grid


def grid(images, *, columns=None, width=640):
    """A PIL image, about `width` pixels wide, of images (N, height, width[, 3]) in [0, 1], row by row.

    columns None: as square as N allows. Small images are enlarged smoothly: eight pixels across, a digit is easier
    to read without the edges of its pixels.
    """
    columns = columns or math.isqrt(len(images) - 1) + 1
    tiles = enlarge(images, max(1, width // (columns * images.shape[2])))
    step = tiles[0].width + GAP, tiles[0].height + GAP
    rows = -(-len(tiles) // columns)
    whole = Image.new(tiles[0].mode, (columns * step[0] - GAP, rows * step[1] - GAP), 'grey')
    for i, tile in enumerate(tiles):
        whole.paste(tile, (i % columns * step[0], i // columns * step[1]))
    return whole


def enlarge(images, zoom):
    """A list of PIL images, each side `zoom` times as long."""
    size = images.shape[2] * zoom, images.shape[1] * zoom
    pixels = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    return [Image.fromarray(image).resize(size, Image.Resampling.BICUBIC) for image in pixels]


def save(path, picture):
    """Write a PIL image as PNG, whole or not at all. Raises OSError."""
    with replacing(path) as file:
        picture.save(file, 'PNG')


def save_animation(path, images, *, seconds=0.08, width=128):
    """Write images (N, height, width[, 3]) in [0, 1] as an endless GIF, each shown for `seconds`. Raises OSError."""
    first, *others = enlarge(images, max(1, width // images.shape[2]))
    with replacing(path) as file:
        first.save(file, 'GIF', save_all=True, append_images=others, duration=round(1000 * seconds), loop=0)


def loss_curves(path, rows):
    """Save the curves of a run's log: V, L_G and D's mean answers, with the equilibrium of Theorem 1 marked.

    rows: one dict an epoch, with the columns of log.csv. Where train and validation part, D has learned its
    training images by heart; samples belong to neither.
    """
    figure = Figure(figsize=(11, 4.2), layout='constrained')
    value, answer = figure.subplots(1, 2)
    epochs = [row['epoch'] for row in rows]
    for axes, column, style, label in ((value, 'train_V', 'C0-', 'V(D, G) = -L_D, train'),
                                       (value, 'validation_V', 'C0--', 'V(D, G) = -L_D, validation'),
                                       (value, 'validation_L_G', 'C1-', 'L_G'),
                                       (answer, 'train_D_x', 'C2-', 'D(x), train'),
                                       (answer, 'validation_D_x', 'C2--', 'D(x), validation'),
                                       (answer, 'validation_D_G_z', 'C3-', 'D(G(z))')):
        axes.plot(epochs, [row[column] for row in rows], style, label=label, linewidth=1.2,
                  marker='.' if len(rows) < 50 else None)
    value.axhline(-math.log(4), color='grey', linestyle=':', label='V = -log 4')
    answer.axhline(0.5, color='grey', linestyle=':', label='D = 1/2')
    answer.set_ylim(-0.02, 1.02)
    value.set_title('Losses (they do not measure quality: look at the samples)', fontsize='medium')
    answer.set_title("D's mean answer", fontsize='medium')
    for axes in (value, answer):
        axes.set_xlabel('epoch')
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize='small')
    with replacing(path) as file:
        figure.savefig(file, dpi=100, format='png')
