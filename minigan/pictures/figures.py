"""Matplotlib figures that look the same whatever backend, style or LaTeX the user has set."""

import os
from contextlib import contextmanager
from io import BytesIO

from PIL import Image

from minigan.storage.files import replacing

try:
    import matplotlib
except ValueError:  # a notebook passes its MPLBACKEND on to programs that do not have that backend, nor need one
    os.environ.pop('MPLBACKEND', None)
    import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = ['MaxNLocator', 'drawn', 'saved']


@contextmanager
def saved(path, width, height):
    """A Figure of width x height inches to draw on, which becomes a PNG file when the block ends. Raises OSError."""
    with _as_by_default(width, height) as figure:
        yield figure
        with replacing(path) as file:
            figure.savefig(file, dpi=100, format='png')


def drawn(width, height, draw):
    """The PIL image of a Figure of width x height inches that draw(figure) has drawn on."""
    content = BytesIO()
    with _as_by_default(width, height) as figure:
        draw(figure)
        figure.savefig(content, dpi=80, format='png')
    return Image.open(content).convert('RGB').quantize(64)


@contextmanager
def _as_by_default(width, height):
    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        yield Figure(figsize=(width, height), layout='constrained')
