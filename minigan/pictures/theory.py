"""Pictures of the theory: D next to D*, the paper's Figure 1, clouds of points."""

import numpy as np

from minigan.pictures.figures import drawn, saved
from minigan.pictures.grids import save_frames


def claims(path, pairs, measured):
    """Save trained discriminators next to D*, and the norms of the derivatives of both L_G. Raises OSError.

    pairs: name -> (x, p_data, p_g, D, D*), each on x; measured: what claims.saturation returned.
    """
    with saved(path, 11, 7) as figure:
        panels = figure.subplots(2, 3)
        for axes, (name, (x, p_data, p_g, D, D_star)) in zip(panels.flat, pairs.items()):
            axes.fill_between(x, p_data, color='C2', alpha=0.25, label='p_data')
            axes.fill_between(x, p_g, color='C1', alpha=0.25, label='p_g')
            axes.plot(x, D, 'C0-', label='D, trained')
            axes.plot(x, D_star, 'k:', label='D* = p_data / (p_data + p_g)')
            axes.set(xlim=(-5, 5), ylim=(-0.03, 1.03))
            axes.set_title(name, fontsize='medium')
        panels[0, 1].legend(fontsize='small', loc='upper right')
        answer, norm = panels.flat[4:]
        answer.semilogy(measured['step'], measured['D_G_z'], 'C3-')
        answer.set_title('D(G(z)), while D learns and G stays', fontsize='medium')
        for name, colour in (('minimax', 'C4'), ('nonsaturating', 'C1')):
            norm.semilogy(measured['step'], measured[name], colour, label=f'L_G {name}')
        norm.set_title('norm of dL_G / dtheta_G', fontsize='medium')
        norm.legend(fontsize='small')
        for axes in (answer, norm):
            axes.set_xlabel('steps of D')


def critics(path, curves, weights):
    """Save how D's value and the distance W1 of samples and data go over runs, and histograms of D's weights.

    curves: title -> (steps, value, distance); weights: title -> (n,). Raises OSError.
    """
    with saved(path, 11, 5.5) as figure:
        above, below = figure.subplots(2, max(len(curves), len(weights)), squeeze=False)
        for axes, (title, (steps, value, distance)) in zip(above, curves.items()):
            axes.plot(steps, value, 'C0-', label='value (left)')
            axes.tick_params(axis='y', labelcolor='C0')
            right = axes.twinx()
            right.plot(steps, distance, 'C1-', label='W1 (right)')
            right.set_ylim(0)
            right.tick_params(axis='y', labelcolor='C1')
            axes.set_title(title, fontsize='medium')
            axes.set_xlabel('steps of G')
            axes.legend(handles=[*axes.lines, *right.lines], fontsize='small', loc='upper right')
        for axes, (title, values) in zip(below, weights.items()):
            axes.hist(values, bins=100, color='C0')
            axes.set_yscale('log')
            axes.set_title(title, fontsize='medium')


def figure_1(path, x, p_data, moments, *, seconds=0.1):
    """Save a GIF after the paper's Figure 1: p_data, p_g and D over x, and below them how G sends z to x.

    p_data: on x; moments: (t, D on x, p_g on x, samples, z) in the order of time. Raises OSError.
    """
    def draw(figure, t, D, p_g, samples, z):
        axes, arrows = figure.subplots(2, 1, height_ratios=(3, 1))
        axes.plot(x, p_data, 'k:', label='p_data')
        axes.plot(x, p_g, 'C2-', label='p_g')
        axes.plot(x, D, 'C0--', label='D(x)')
        axes.set_ylim(0, 1.6)
        axes.set_title(f'step {t}', fontsize='medium')
        axes.legend(loc='upper right', fontsize='small')
        arrows.plot([z, samples], np.repeat([[0], [1]], len(z), axis=1), 'k-', linewidth=0.5)
        arrows.set_yticks([0, 1], ['z', 'x = G(z)'])
        axes.set_xlim(-4, 4)
        arrows.set_xlim(-4, 4)

    frames = [drawn(5, 3.6, lambda figure: draw(figure, *moment)).quantize(64) for moment in moments]
    save_frames(path, frames, seconds=seconds)


def scatter(path, clouds, *, columns=5):
    """Save a panel for each cloud of samples in the plane. Raises OSError.

    clouds: title -> (centres of the data, samples).
    """
    rows = -(-len(clouds) // columns)
    with saved(path, 2.2 * columns, 2.4 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, (title, (centres, samples)) in zip(panels.flat, clouds.items()):
            axes.scatter(*np.transpose(centres), s=60, color='C2', alpha=0.4, linewidths=0)
            axes.scatter(*np.transpose(samples), s=2, color='C0', linewidths=0)
            reach = 1.3 * np.abs(centres).max()
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect='equal')
            outside = (np.abs(samples).max(axis=1) > reach).mean()
            axes.set_title(title + (f', {outside:.0%} outside' if outside else ''), fontsize='small')
        for axes in panels.flat[len(clouds):]:
            axes.set_axis_off()
