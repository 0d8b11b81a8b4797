"""What a part of bench_gpu.py is, and how its page writes numbers."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from harness import spread

LENGTH = 300  # of an error


class Settings(NamedTuple):
    """rounds: of a race; seconds: of a block; limit: seconds after which a part begins nothing new.

    batches: of products and steps. rows: of the arrays that the kernels are timed with. runs: of training.
    """

    rounds: int = 7
    seconds: float = 0.01
    limit: float = 360
    batches: tuple = (32, 64, 128, 256, 512)
    rows: tuple = (64, 16_384)
    runs: int = 3


class Part(NamedTuple):
    """measure(xp, settings) yields results, a dict each; page(results) yields paragraphs of Markdown.

    chart(results, figure) draws them, and returns whether there is anything to draw; or it is None. verdict(results):
    one sentence for the top of the page, or None. wrong(results): a line for each result that is not correct.
    """

    title: str
    measure: Callable
    page: Callable
    chart: Callable | None
    verdict: Callable
    wrong: Callable
    timed: bool = False  # in rounds


def in_words(error):
    """An error in one line, and the place that raised it, which helps whoever reads the page elsewhere."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f'{" ".join(f"{type(error).__name__}: {error}".split())[:LENGTH]} ({Path(last.filename).name}:{last.lineno})'


def in_order(batches):
    """The batches, with those first that must not be missing when time is short."""
    return sorted(batches, key=lambda m: m not in (32, 256))


def label_powers(axes, values, label):
    """Make the x axis logarithmic, with these values written at it."""
    axes.set_xscale('log', base=2)
    axes.set_xticks(sorted(values), map(str, sorted(values)))
    axes.set_xlabel(label)


def median(values):
    """The median as a float, for JSON."""
    return float(np.median(values))


def microseconds(quartiles):
    """Seconds as '12.3 (12.1-12.9)', in microseconds."""
    return spread(*(1e6 * seconds for seconds in quartiles), digits=1)


def milliseconds(quartiles):
    """Seconds as '1.234 (1.230-1.241)', in milliseconds."""
    return spread(*(1e3 * seconds for seconds in quartiles), digits=3)


ratio = spread
