"""Is <u, J v> what a hand-written derivative says? Central differences along a line, and how far they can be trusted.

A difference over a step t is off by about t^2 f''' / 6, and its rounding by 1e-16 f / t. No step suits every function,
so several are tried. A derivative is correct as soon as one of them agrees with it. It is wrong only if it is farther
from the differences than they are from each other.
"""

from dataclasses import dataclass

import numpy as np

STEPS = tuple(10.0**-k for k in (5, 4, 3, 2, 6, 7, 8, 9, 10, 11, 12))  # in units of v; the most useful first
FINE = 1e-9        # over shorter steps, y changes by so few units of rounding that wrong numbers may agree
ROUNDING = 4 * np.finfo(np.float64).eps
UNDERFLOW = 1e-290  # below which numbers lose digits
NEGLIGIBLE = 1e-9  # a fraction of f
NOISE = 1e-6       # a change by more than this fraction of f is not rounding
ROUGH = 0.1        # if differences agree no better than this, they say nothing
ZERO = '0 within rounding'
NO_DERIVATIVE = 'no derivative here or nearby'
UNSETTLED = 'differences do not settle as the steps shrink, or are not finite'


@dataclass(frozen=True)
class Finding:
    """The outcome for one array, or for one rule.

    verdict: 'ok'; 'wrong', and why then says where; 'kink' when f has no derivative at this point or near it.
    why, for 'ok': that both numbers are 0, so that nothing was checked, or how far the differences can be trusted.
    expected and got are NaN if there are no numbers to compare. step: that of the difference shown.
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
    """The Finding for a fault that has no two numbers to show."""
    return Finding(name, np.nan, np.nan, np.inf, 'wrong', why)


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
        """<u, J v> by a central difference, and <da, v>, both along the step that rounding leaves."""
        moved = (self.a + t * self.v) - (self.a - t * self.v)
        change = np.sum(u * (self.at(t) - self.at(-t)), where=u != 0)
        return change / (2 * t), np.sum(da * moved) / (2 * t)

    def steps(self):
        """The steps tried so far, the shortest first."""
        return sorted(t for t in self.values if t > 0)

    def moves(self, t):
        """How many outputs change over a step: few, if it is too short for forward to resolve."""
        return np.count_nonzero(self.at(t) != self.at(-t))

    def moved(self):
        """Which outputs have changed in any step."""
        return np.any([value != self.at(0) for value in self.values.values()], axis=0)

    def bends(self, t):
        """|f(a + t v) - 2 f(a) + f(a - t v)| / 2t of each output: shrinks with t, unless there is a kink at a."""
        return abs(self.at(t) - 2 * self.at(0) + self.at(-t)) / (2 * t)

    def kinked(self):
        """Which outputs have a kink at a, or so near that even the shortest steps meet it."""
        found = np.ones(self.at(0).shape, bool)
        for t in [t for t in self.steps() if t >= FINE][:4]:
            slope, rounding = abs(self.at(t) - self.at(-t)) / (2 * t), ROUNDING * abs(self.at(0)) / t
            found &= self.bends(t) > 1e-4 * slope + rounding
        return found


def compare(name, line, u, da, *, tolerance, steps=STEPS):
    """The Finding for <u, J v> by differences and <da, v> by the derivative under test, da."""
    numbers = {}
    for t in steps:
        numbers[t] = expected, got = line.numbers(u, da, t)
        error = relative(expected, got)
        if error <= tolerance and t >= min(FINE, max(steps)):
            return Finding(name, expected, got, error, 'ok', '' if expected or got else ZERO, t)
    longest = max(steps)
    trusted = {t: pair for t, pair in numbers.items()
               if np.isfinite(pair[0]) and line.moves(t) >= line.moves(longest) / 2}
    if len(trusted) < 2:
        (expected, got), t, doubt, moving = numbers[longest], longest, np.inf, 0
    else:
        moving = np.linalg.norm((u * line.at(0))[line.moved()])  # rounding is relative to this
        rounding = NOISE * moving + 16 * ROUNDING * np.linalg.norm(u) * abs(line.a).max()  # of f, and of x inside f
        t, doubt = settled(trusted, rounding)
        doubt += ROUNDING * moving / t
        expected, got = trusted[t]
        if any(abs(expected) * still > rounding / 10 for still in numbers.keys() - trusted.keys()):
            doubt = np.inf  # forward has steps of its own, larger than rounding
    verdict, why = judge(line, u, (expected, got), doubt, moving, curved(numbers), tolerance)
    return Finding(name, expected, got, relative(expected, got), verdict, why, t)


def curved(numbers):
    """Whether the longest steps show a smooth curve. They show jumps where most digits have cancelled.

    numbers: step -> (expected, got).
    """
    fine, middle, coarse = (numbers[t][0] for t in sorted(numbers)[-3:])
    return NOISE * abs(fine) < abs(coarse - middle) < abs(fine) / 2 and abs(middle - fine) < abs(coarse - middle) / 10


def judge(line, u, pair, doubt, moving, smooth, tolerance):
    """(verdict, why) for two numbers that differ: pair, the expected one and the one got.

    doubt: how far the expected one may be off; moving: the size of the outputs that move; smooth: whether they move
    along a curve.
    """
    (expected, got), y, gap = np.abs(pair), np.linalg.norm(u * line.at(0)), abs(pair[0] - pair[1])
    size, floor = max(expected, got), 256 * ROUNDING * y + UNDERFLOW
    if not np.isfinite(gap):
        return 'kink', UNSETTLED
    unseen = ROUNDING / max(STEPS) * np.linalg.norm(u) * np.linalg.norm(line.v)  # a slope too small for any step
    if size <= floor:
        return 'ok', ZERO
    if y / 100 <= size <= unseen and not smooth:  # y is what is left of larger numbers: no digit is correct
        return 'ok', ZERO
    if expected <= doubt <= NOISE * moving + unseen and got <= doubt + unseen:
        return 'ok', ZERO
    if gap <= floor:
        return 'ok', f'to {gap / size:.0e}'
    if gap <= tolerance * size + doubt:
        if doubt <= ROUGH * size:
            return 'ok', f'to {doubt / size:.0e}'
        return ('ok', ZERO) if size <= NEGLIGIBLE * y else ('kink', UNSETTLED)
    if line.kinked().any() or gap <= doubt + 1.001 * min(np.sum(abs(u) * line.bends(t)) for t in line.steps()):
        return 'kink', NO_DERIVATIVE
    return 'wrong', ''


def relative(expected, got):
    """The gap of two numbers over the larger of them; 0 if both are 0."""
    size = max(abs(expected), abs(got))
    return abs(expected - got) / size if size else 0.0


def settled(numbers, most):
    """The step whose gap between the two numbers can be trusted most, and by how much it may still be off.

    numbers: step -> (expected, got); most: how far rounding may move <u, f>. Each step is a tenth of the one before.
    From one to the next, the gap changes by the truncation error of the longer step, which falls with the
    square of the step, and by the rounding error of the shorter one, which grows as steps shrink. A change that is
    larger than the previous one counts as rounding, if rounding can be so large. Every change adds doubt to every step,
    so that two steps that agree by chance are not believed.
    """
    steps = sorted(numbers, reverse=True)
    gaps = [numbers[t][0] - numbers[t][1] for t in steps]
    changes = [abs(a - b) for a, b in zip(gaps, gaps[1:])]
    rounding = [change * t <= most for change, t in zip(changes, steps[1:])]

    def doubt(k):
        found = [changes[k - 1] * (steps[k] / steps[k - 1])**2] if k else []
        for j, change in enumerate(changes):
            grown = j > 0 and change > changes[j - 1]
            if j >= k or rounding[j] and grown:
                found.append(change * steps[j + 1] / steps[k + (j >= k)] if rounding[j] else change)
        return max(found)

    k = min(range(len(changes) - 1, -1, -1), key=doubt)
    return steps[k], 2 * doubt(k)
