"""Matplotlib figures that look the same whatever backend, style or LaTeX the user has set up."""

import os
import sys
from contextlib import contextmanager, suppress
from io import BytesIO

from PIL import Image

from minigan.storage.files import atomic_write

try:  # a notebook hands its MPLBACKEND to every program, and a matplotlib without that backend does not import
    backend, first = os.environ.pop('MPLBACKEND', None), 'matplotlib' not in sys.modules
    import matplotlib
    if backend and first:
        with suppress(ValueError):
            matplotlib.rcParams['backend'] = backend  # as matplotlib does; no figure here needs it
finally:
    if backend is not None:
        os.environ['MPLBACKEND'] = backend
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = ['MaxNLocator', 'drawn', 'saved']


@contextmanager
def saved(path, width, height):
    """A Figure of width x height inches to draw on, which becomes a PNG file when the block ends. Raises OSError."""
    with _default_figure(width, height) as figure:
        yield figure
        with atomic_write(path) as file:
            figure.savefig(file, dpi=100, format='png')


def drawn(width, height, draw):
    """The PIL image, in RGB, of a Figure of width x height inches that draw(figure) has drawn on."""
    content = BytesIO()
    with _default_figure(width, height) as figure:
        draw(figure)
        figure.savefig(content, dpi=80, format='png')
    return Image.open(content).convert('RGB')


@contextmanager
def _default_figure(width, height):
    settings = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != 'backend'}
    with matplotlib.rc_context(settings):  # restores all but the backend
        yield Figure(figsize=(width, height), layout='constrained')
