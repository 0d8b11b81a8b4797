"""The losses of a run."""

import math

from minigan.pictures.figures import MaxNLocator, saved


def loss_curves(path, rows, objective, *, probability=True):
    """Save the curves of a run's log: V, L_G and D's mean answers, with the equilibrium of Theorem 1 marked.

    rows: one dict an epoch, with the columns of log.csv. objective: its name. probability: whether D's answers are
    probabilities; otherwise its outputs are drawn, and -L_D for V. Where the curves of train and validation diverge, D
    has memorised its training images; samples belong to neither. Raises OSError.
    """
    V = 'V(D, G)' if probability else '-L_D'
    with saved(path, 11, 4.2) as figure:
        value, answer = figure.subplots(1, 2)
        epochs = [row['epoch'] for row in rows]
        for axes, column, style, label in ((value, 'train_V', 'C0-', f'{V}, train'),
                                           (value, 'validation_V', 'C0--', f'{V}, validation'),
                                           (value, 'validation_L_G', 'C1-', f'L_G {objective}'),
                                           (answer, 'train_D_x', 'C2-', 'D(x), train'),
                                           (answer, 'validation_D_x', 'C2--', 'D(x), validation'),
                                           (answer, 'validation_D_G_z', 'C3-', 'D(G(z))')):
            axes.plot(epochs, [row[column] for row in rows], style, label=label, linewidth=1.2,
                      marker='.' if len(rows) < 50 else None)
        if probability:
            value.axhline(-math.log(4), color='grey', linestyle=':', label='V = -log 4')
            answer.axhline(0.5, color='grey', linestyle=':', label='D = 1/2')
            answer.set_ylim(-0.02, 1.02)
        value.set_title('Losses (they do not measure quality: look at the samples)', fontsize='medium')
        answer.set_title("D's mean answer" if probability else "D's mean output", fontsize='medium')
        for axes in (value, answer):
            axes.set_xlabel('epoch')
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend(fontsize='small')
