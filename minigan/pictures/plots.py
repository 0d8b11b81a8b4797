"""Every picture: grids of samples, curves of a run, what theory says."""

import math
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from minigan.storage.files import atomic_write

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
    with atomic_write(path) as file:
        picture.save(file, 'PNG')


def save_animation(path, images, *, seconds=0.08, width=128):
    """Write images (N, height, width[, 3]) in [0, 1] as an endless GIF, each shown for `seconds`. Raises OSError."""
    first, *others = enlarge(images, max(1, width // images.shape[2]))
    with atomic_write(path) as file:
        first.save(file, 'GIF', save_all=True, append_images=others, duration=round(1000 * seconds), loop=0)


def loss_curves(path, rows, objective):
    """Save the curves of a run's log: V, L_G and D's mean answers, with the equilibrium of Theorem 1 marked.

    rows: one dict an epoch, with the columns of log.csv. objective: the name of L_G. Where train and validation part,
    D has learned its training images by heart; samples belong to neither.
    """
    figure = Figure(figsize=(11, 4.2), layout='constrained')
    value, answer = figure.subplots(1, 2)
    epochs = [row['epoch'] for row in rows]
    for axes, column, style, label in ((value, 'train_V', 'C0-', 'V(D, G), train'),
                                       (value, 'validation_V', 'C0--', 'V(D, G), validation'),
                                       (value, 'validation_L_G', 'C1-', f'L_G {objective}'),
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
    with atomic_write(path) as file:
        figure.savefig(file, dpi=100, format='png')


def theory(path, pairs, measured):
    """Save what minigan theory has found: trained discriminators beside D*, and the two derivatives of L_G.

    pairs: name -> (x, p_data, p_g, D, D*), each on x; measured: what theory.saturation returned.
    """
    figure = Figure(figsize=(11, 7), layout='constrained')
    grid = figure.subplots(2, 3)
    for axes, (name, (x, p_data, p_g, D, best)) in zip(grid.flat, pairs.items()):
        axes.fill_between(x, p_data, color='C2', alpha=0.25, label='p_data')
        axes.fill_between(x, p_g, color='C1', alpha=0.25, label='p_g')
        axes.plot(x, D, 'C0-', label='D, trained')
        axes.plot(x, best, 'k:', label='D* = p_data / (p_data + p_g)')
        axes.set(xlim=(-5, 5), ylim=(-0.03, 1.03))
        axes.set_title(name, fontsize='medium')
    grid[0, 1].legend(fontsize='small', loc='upper right')
    answer, norm = grid.flat[4:]
    answer.semilogy(measured['step'], measured['D_G_z'], 'C3-')
    answer.set_title('D(G(z)), while D learns and G stays', fontsize='medium')
    for name, colour in (('minimax', 'C4'), ('nonsaturating', 'C1')):
        norm.semilogy(measured['step'], measured[name], colour, label=f'L_G {name}')
    norm.set_title('norm of dL_G / dtheta_G', fontsize='medium')
    norm.legend(fontsize='small')
    for axes in (answer, norm):
        axes.set_xlabel('steps of D')
    with atomic_write(path) as file:
        figure.savefig(file, dpi=100, format='png')


def figure_1(path, x, p_data, moments, *, seconds=0.1):
    """Save a GIF after the paper's Figure 1: p_data, p_g and D over x, and below them how G sends z to x.

    p_data: on x; moments: (t, D on x, p_g on x, samples, z) in the order of time.
    """
    frames = []
    for t, D, p_g, samples, z in moments:
        figure = Figure(figsize=(5, 3.6), layout='constrained')
        axes, arrows = figure.subplots(2, 1, height_ratios=(3, 1))
        axes.plot(x, p_data, 'k:', label='p_data')
        axes.plot(x, p_g, 'C2-', label='p_g')
        axes.plot(x, D, 'C0--', label='D(x)')
        axes.set_ylim(0, 1.6)
        axes.set_title(f'step {t}', fontsize='medium')
        axes.legend(loc='upper right', fontsize='small')
        arrows.plot([z, samples], np.repeat([[0], [1]], len(z), axis=1), 'k-', linewidth=0.5)
        arrows.set_yticks([0, 1], ['z', 'x = G(z)'])
        for one in (axes, arrows):
            one.set_xlim(-4, 4)
        frames.append(_rendered(figure))
    first, *others = frames
    with atomic_write(path) as file:
        first.save(file, 'GIF', save_all=True, append_images=others, duration=round(1000 * seconds), loop=0)


def scatter(path, clouds, *, columns=5):
    """Save a panel for each cloud of samples in the plane. clouds: title -> (centres of the data, samples)."""
    rows = -(-len(clouds) // columns)
    figure = Figure(figsize=(2.2 * columns, 2.4 * rows), layout='constrained')
    for axes, (title, (centres, samples)) in zip(figure.subplots(rows, columns, squeeze=False).flat, clouds.items()):
        axes.scatter(*np.transpose(centres), s=60, color='C2', alpha=0.4, linewidths=0)
        axes.scatter(*np.transpose(samples), s=2, color='C0', linewidths=0)
        reach = 1.3 * np.abs(centres).max()
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect='equal')
        outside = (np.abs(samples).max(axis=1) > reach).mean()
        axes.set_title(title + (f', {outside:.0%} outside' if outside else ''), fontsize='medium')
    with atomic_write(path) as file:
        figure.savefig(file, dpi=100, format='png')


def _rendered(figure):
    """A figure as a PIL image."""
    content = BytesIO()
    figure.savefig(content, dpi=80, format='png')
    return Image.open(content).convert('RGB').quantize(64)
