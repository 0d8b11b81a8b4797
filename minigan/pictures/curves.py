"""The losses of a run, and of several runs next to each other."""

import math

from minigan.pictures.figures import MaxNLocator, drawn, saved


def loss_curves(path, rows, objective, *, probability=True):
    """Save the curves of a run's log, drawn by draw_losses. Raises OSError."""
    with saved(path, 11, 4.2) as figure:
        draw_losses(figure, rows, objective, probability=probability)


def draw_losses(figure, rows, objective, *, probability=True):
    """Draw the curves of a run's log: V, L_G and D's mean answers, with the equilibrium of Theorem 1 marked.

    rows: one dict an epoch, with the columns of log.csv. objective: its name. probability: whether D's answers are
    probabilities; otherwise its outputs are drawn, and -L_D for V. Where the curves of train and validation diverge, D
    has memorised its training images; samples belong to neither.
    """
    value, answer = figure.subplots(1, 2)
    V, epochs = _V(probability), [row['epoch'] for row in rows]
    for axes, column, style, label in ((value, 'train_V', 'C0-', f'{V}, train'),
                                       (value, 'validation_V', 'C0--', f'{V}, validation'),
                                       (value, 'validation_L_G', 'C1-', f'L_G {objective}'),
                                       (answer, 'train_D_x', 'C2-', 'D(x), train'),
                                       (answer, 'validation_D_x', 'C2--', 'D(x), validation'),
                                       (answer, 'validation_D_G_z', 'C3-', 'D(G(z))')):
        axes.plot(epochs, [row[column] for row in rows], style, label=label, linewidth=1.2, marker=_marker(rows))
    if probability:
        _mark_equilibrium(value)
        answer.axhline(0.5, color='grey', linestyle=':', label='D = 1/2')
        answer.set_ylim(-0.02, 1.02)
    value.set_title('Losses (they do not measure quality: look at the samples)', fontsize='medium')
    answer.set_title("D's mean answer" if probability else "D's mean output", fontsize='medium')
    for axes in (value, answer):
        axes.set_xlabel('epoch')
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize='small')


def compare(runs, *, probability=True):
    """The PIL image of several runs' V, L_G and distance, step by step, on validation images.

    runs: name -> rows of its log. probability: whether D's answers are probabilities in all of them.
    """
    def draw(figure):
        panels = (('validation_V', _V(probability)), ('validation_L_G', 'L_G'),
                  ('distance', 'distance of the samples from the data'))
        for axes, (column, title) in zip(figure.subplots(1, len(panels)), panels):
            for name, rows in runs.items():
                axes.plot([row['step'] for row in rows], [row[column] for row in rows], label=name, linewidth=1.2,
                          marker=_marker(rows))
            if column == 'validation_V' and probability:
                _mark_equilibrium(axes)
            axes.set_title(title, fontsize='medium')
            axes.set_xlabel('step')
            axes.legend(fontsize='small')
    return drawn(13, 4, draw)


def _V(probability):
    return 'V(D, G)' if probability else '-L_D'


def _marker(rows):
    return '.' if len(rows) < 50 else None


def _mark_equilibrium(axes):
    axes.axhline(-math.log(4), color='grey', linestyle=':', label='V = -log 4')
