"""A run in a notebook: the samples next to the curves, under the last row of the log, in one display."""

import io
import math
import time

from minigan.losses import OBJECTIVES
from minigan.training.folder import picture

SECONDS = 0.5  # at least, between two pictures: to draw one takes about as long as an epoch of the digits


class InPlace:
    """Shows a run below the cell that trains it, in place of what it showed before; outside a notebook, nothing.

    A run goes on when nobody can see it: after an error in showing it, no more is shown.
    """

    def __init__(self, progress):
        self._progress, self._shows, self._handle, self._shown_at = progress, progress.in_notebook, None, -math.inf

    def show(self, run):
        """Show the run after an epoch, unless SECONDS have not passed; always after the last one."""
        if not self._shows or run.t < run.last and time.perf_counter() - self._shown_at < SECONDS:
            return
        try:
            self._display(content(run))
            self._shown_at = time.perf_counter()
        except Exception as error:  # of drawing or of the notebook; neither is worth a run
            self._shows = False
            self._progress.say(f'the notebook shows no more of this run ({type(error).__name__}: {error})')

    def _display(self, content):
        from IPython.display import display  # late: there is a kernel, which has imported it
        if self._handle:
            self._handle.update(content, raw=True)
        else:
            self._handle = display(content, raw=True, display_id=True)


def content(run):
    """What a notebook shows of a run, by type: a picture, and text for where there are none."""
    from minigan.pictures import curves, figures  # matplotlib is slow to import
    rows, objective = run.monitor.rows, run.config.objective
    probability = OBJECTIVES[objective].probability
    text = in_words(rows[-1], run.config.epochs, probability=probability)

    def draw(figure):
        left, right = figure.subfigures(1, 2, width_ratios=(1, 2.8))
        axes = left.subplots()
        axes.imshow(picture(run).convert('RGB'))
        axes.set_axis_off()
        curves.draw_losses(right, rows, objective, probability=probability)
        for axes in right.axes:
            axes.set_xlim(0.5, run.config.epochs + 0.5)  # so that the curves grow into a frame that stays
        figure.suptitle(text, fontsize='medium')
    png = io.BytesIO()
    figures.drawn(13, 4, draw).save(png, 'PNG')
    return {'image/png': png.getvalue(), 'text/plain': text}


def in_words(row, epochs, *, probability):
    """A row of the log as a sentence or two."""
    V = 'V' if probability else '-L_D'
    return (f'Epoch {row["epoch"]} of {epochs}, after {row["seconds"]:.0f} s. '
            f'{V} is {row["train_V"]:.2f} on training and {row["validation_V"]:.2f} on validation images. '
            f'D(x) is {row["validation_D_x"]:.2f} and D(G(z)) is {row["validation_D_G_z"]:.2f}. '
            f'The distance of the samples from the data is {row["distance"]:.2f}.')
