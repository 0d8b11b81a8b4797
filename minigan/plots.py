"""Every picture: grids of samples, curves of a run."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

GAP = 4  # pixels between two images of a grid


def sample_grid(path, images, shape, *, width=640):
    """Save images (N, n) in [-1, 1] as a square grid about `width` pixels wide, as many as fill it.

    shape: of one image, (height, width) or (height, width, 3). Small images are enlarged smoothly: eight pixels
    across, a digit is easier to read without the edges of its pixels.
    """
    side = math.isqrt(len(images))
    zoom = max(1, width // (side * shape[1]))
    size = shape[1] * zoom, shape[0] * zoom
    step = size[0] + GAP, size[1] + GAP
    grid = Image.new('L' if len(shape) == 2 else 'RGB', (side * step[0] - GAP, side * step[1] - GAP), 'grey')
    tiles = np.rint((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8).reshape(-1, *shape)
    for i in range(side * side):
        tile = Image.fromarray(tiles[i]).resize(size, Image.Resampling.BICUBIC)
        grid.paste(tile, (i % side * step[0], i // side * step[1]))
    grid.save(path)


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
    figure.savefig(path, dpi=100)
