"""Is <u, J v> what a hand-written derivative says? Central differences along a line, and how far they can be trusted.

A difference over a step t is off by about t^2 f''' / 6, and its rounding by 1e-16 f / t. No step suits every function,
so several are tried: a derivative is right as soon as one of them agrees with it, and wrong only if it lies farther
off than the differences lie from one another.
"""

from dataclasses import dataclass

import numpy as np

STEPS = tuple(10.0**-k for k in (5, 4, 3, 2, 6, 7, 8, 9))  # the most useful first; in units of the direction v
ROUNDING = 4 * np.finfo(np.float64).eps
NOISE = 1e-6       # more than this fraction of f is no rounding
ROUGH = 0.1        # differences that settle no better than this say nothing
ZERO = '0 within rounding'
NO_DERIVATIVE = 'no derivative here or nearby'
UNSETTLED = 'differences over shorter steps do not settle'


@dataclass
class Row:
    """The outcome for one array, or for one rule.

    verdict: 'ok'; 'wrong', and why then says where; 'kink' when f has no derivative at this point or near it.
    why: of an 'ok' row, that both numbers are 0, so nothing was checked, or how far the differences can be trusted.
    expected and got are NaN where there are no numbers to compare. step: of the difference that is shown.
    """

    name: str
    expected: float
    got: float
    error: float
    verdict: str
    why: str = ''
    step: float = 1e-5

    def line(self, width):
        """The row as a line of a table, whose names take `width` characters."""
        numbers = f'{self.expected:15.8g} {self.got:15.8g} {self.error:9.1e}'
        if np.isnan(self.expected) and np.isnan(self.got):
            numbers = ' ' * len(numbers)
        return f'{self.name:{width}} {numbers}  {self.verdict}{self.why and f" ({self.why})"}'


def broken(name, why):
    """The Row of what is wrong without two numbers to show."""
    return Row(name, np.nan, np.nan, np.inf, 'wrong', why)


class Line:
    """f along a + t v: forward() reads a, which is moved there and back; y is f(a). Each value is computed once."""

    def __init__(self, forward, a, v, y):
        self.forward, self.a, self.v, self.values = forward, a, v, {0: y}

    def at(self, t):
        """f(a + t v)."""
        if t not in self.values:
            kept = self.a.copy()
            try:
                self.a[...] = kept + t * self.v
                with np.errstate(all='ignore'):  # a step may leave the domain
                    self.values[t] = np.array(self.forward())  # a copy: y may be a itself
            finally:
                self.a[...] = kept
        return self.values[t]

    def numbers(self, u, da, t):
        """<u, J v> by a central difference, and <da, v>, both for what rounding leaves of the step."""
        moved = (self.a + t * self.v) - (self.a - t * self.v)
        change = np.sum(u * (self.at(t) - self.at(-t)), where=u != 0)
        return change / (2 * t), np.sum(da * moved) / (2 * t)

    def moves(self, t):
        """How many outputs change over a step: few, where it is shorter than what forward resolves."""
        return np.count_nonzero(self.at(t) != self.at(-t))

    def bends(self, t):
        """|f(a + t v) - 2 f(a) + f(a - t v)| / 2t of each output: shrinks with t, unless there is a kink at a."""
        return abs(self.at(t) - 2 * self.at(0) + self.at(-t)) / (2 * t)

    def kinked(self):
        """Which outputs have a kink at a, or so near that the shortest steps still meet it."""
        found = np.ones(self.at(0).shape, bool)
        for t in sorted(t for t in self.values if t > 0)[:4]:
            slope, rounding = abs(self.at(t) - self.at(-t)) / (2 * t), ROUNDING * abs(self.at(0)) / t
            found &= self.bends(t) > 1e-4 * slope + rounding
        return found


def compare(name, line, u, da, *, tolerance, steps=STEPS):
    """The Row for <u, J v> by differences and <da, v> by the derivative under test, da."""
    numbers = {}
    for t in steps:
        numbers[t] = expected, got = line.numbers(u, da, t)
        row = Row(name, expected, got, relative(expected, got), 'ok', step=t)
        if row.error <= tolerance:
            row.why = '' if expected or got else ZERO
            return row
    trusted = {t: pair for t, pair in numbers.items()
               if np.isfinite(pair[0]) and line.moves(t) >= line.moves(max(steps)) / 2}
    if len(trusted) < 2:
        return Row(name, np.nan, got, np.inf, 'kink', 'forward is not finite, or does not change, near this point')
    moving = line.at(max(steps)) != line.at(-max(steps))
    y_size = np.linalg.norm((u * line.at(0))[moving])
    t, doubt = settled(trusted, y_size)
    (expected, got), size = trusted[t], max(map(abs, trusted[t]))
    row = Row(name, expected, got, relative(expected, got), 'wrong', step=t)
    gap = abs(expected - got)
    unseen = ROUNDING / max(steps) * np.linalg.norm(u) * np.linalg.norm(line.v)  # a slope too small to be seen
    if abs(expected) <= doubt <= 1e-6 * y_size + unseen and abs(got) <= doubt + unseen:
        row.verdict, row.why = 'ok', ZERO
    elif gap <= tolerance * size + doubt:
        row.verdict, row.why = ('ok', f'to {doubt / size:.0e}') if doubt <= ROUGH * size else ('kink', UNSETTLED)
    elif line.kinked().any() or gap <= doubt + 1.001 * min(np.sum(abs(u) * line.bends(t)) for t in trusted):
        row.verdict, row.why = 'kink', NO_DERIVATIVE
    return row


def relative(expected, got):
    """The gap of two numbers over the larger of them; 0 if both are 0."""
    size = max(abs(expected), abs(got))
    return abs(expected - got) / size if size else 0.0


def settled(numbers, size):
    """The step whose gap between the two numbers can be trusted most, and by how much it may still be off.

    numbers: step -> (expected, got); size: of <u, f>. From one step to the next, ten times shorter, the gap changes by
    the truncation error of the longer and the rounding of the shorter. Later changes count too: rounding grows as the
    steps shrink, so scaled back to this step, or whole if they are too large for rounding. So no chance agreement of two
    differences is believed.
    """
    steps = sorted(numbers, reverse=True)
    gaps = [numbers[t][0] - numbers[t][1] for t in steps]
    changes = [abs(a - b) for a, b in zip(gaps, gaps[1:])]

    def doubt(k):
        return max(change * (t / steps[k + 1] if change * t <= NOISE * size else 1)
                   for change, t in zip(changes[k:], steps[k + 1:]))

    k = min(range(len(changes)), key=doubt)
    return steps[k], 2 * doubt(k) + ROUNDING * size / steps[k]
