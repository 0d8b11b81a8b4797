"""Is a hand-written derivative correct? The check, for any function of arrays.

For y = f(a) with Jacobian J, random tangents v and random cotangents u, all float64:

    <u, J v>  by central differences (differences.py), printed as `expected`
    <J^T u, v>  by the derivative under test, printed as `got`

must be the same number. A cotangent of ones would not do: batch norm's dx is then 0, whatever the code computes. With
u = v, no check could tell J from its transpose. So both come from a stream that nothing else draws from.
"""

import inspect
from collections.abc import Callable
from dataclasses import replace
from html import escape

import numpy as np

from minigan.checks.differences import NO_DERIVATIVE, STEPS, ZERO, Line, broken, compare
from minigan.streams import Streams

TOLERANCE = {     # relative. float64: a derivative against differences; float32: a float32 result against float64
    'float64': {'any': 1e-7},
    'float32': {'any': 1e-6, 'Dense': 1e-5, 'BatchNorm': 1e-5},
}
DIRECTIONS = 4    # one of each kind; see check
NUDGES = 5        # points to try when there is a kink
LARGEST = 10_000  # entries of a full Jacobian
TANGENTS, COTANGENTS, ASIDE, WORST, PARAMETERS, STATE, DIRECTION = range(7)  # what is drawn from the stream 'check'


class Report(list):
    """The Findings of a check, one for each array. In a test, report.assert_ok() shows them all."""

    @property
    def ok(self):
        """Whether every derivative is correct and no rule is broken."""
        return all(row.verdict == 'ok' for row in self)

    def assert_ok(self):
        """Raises AssertionError with the whole table unless ok."""
        if not self.ok:
            raise AssertionError(f'\n{self}')

    def __str__(self):
        width = max([24, *(len(row.name) for row in self)])
        head = f'{"":{width}} {"expected":>15} {"got":>15} {"error":>9}'
        return '\n'.join([head, *(row.line(width) for row in self)])

    __repr__ = __str__

    def _repr_html_(self):  # what a notebook shows
        table = [('', 'expected', 'got', 'error', 'verdict', '')]
        for row in self:
            verdict = row.verdict if row.verdict == 'ok' else row.verdict.upper()
            table.append((row.name, f'{row.expected:.8g}', f'{row.got:.8g}', f'{row.error:.1e}', verdict, row.why))
        lines = ('<td>' + '</td><td>'.join(map(escape, cells)) + '</td>' for cells in table)
        return '<table><tr>' + '</tr><tr>'.join(lines) + '</tr></table>'


def check(forward: Callable, backward: Callable, inputs: dict[str, np.ndarray], *, seed: int = 0,
          directions: int = DIRECTIONS, tolerance: float = TOLERANCE['float64']['any'], step: float | None = None,
          full: bool = False) -> Report:
    """Check the derivative of any function of float64 arrays that can be changed in place.

        <u, (y(a + t v) - y(a - t v)) / 2t> = <backward(u), v>   for random u and v, and small t

    inputs: name -> array. forward() -> y from the arrays' present values. backward(u) -> {name: derivative of <u, y>}.
    directions: the number of random pairs (u, v). There are four kinds, in turn: v moves each entry by its own size or
    by the spread of its column, and u weighs all outputs alike or gives small ones more weight. full: check every entry
    of the Jacobian instead, for small arrays. tolerance: relative. step: t; None: the best of several.
    Each array is restored to the last bit, unless the check had to move off a kink. Returns a Report.
    Raises ValueError when y is not float64 or changes from call to call, when an argument is changed in place, or when
    forward, backward or inputs are not as above.
    """
    _check_arguments(forward, backward, inputs, directions, tolerance, step)
    streams, steps, reports = Streams(seed), STEPS if step is None else (step, step / 10, step / 100), []
    tangents = {name: streams.at('check', TANGENTS, i) for i, name in enumerate(inputs)}
    cotangents, aside = streams.at('check', COTANGENTS), streams.at('check', ASIDE)
    start = {name: a.copy() for name, a in inputs.items()}
    for attempt in range(NUDGES):
        y = _value(forward, inputs)
        if first_not_finite(y):
            return Report([broken('y', f'forward: expected finite numbers, got {first_not_finite(y)}')])
        if full:
            trials = _unit_trials(forward, inputs, y)
        else:
            trials = _random_trials(forward, inputs, y, directions, tangents, cotangents)
        report = _check_here(trials, backward, inputs, tolerance, steps)
        if all(row.verdict != 'kink' for row in report):
            reports.append(report)
            if attempt == 0 or len(reports) == 2:  # next to a kink, one point shows only one side of it
                break
        _step_aside(forward, inputs, start, aside)
    rows = zip(*(reports or [report]))
    return Report(max(found, key=lambda row: (row.verdict == 'wrong', row.error)) for found in rows)


def _check_here(trials, backward, inputs, tolerance, steps):
    """The Report at the point where the arrays are now."""
    outcomes = {name: [] for name in inputs}
    for u, lines in trials:
        for name, outcome in _outcomes(u, lines, backward, inputs, tolerance, steps):
            outcomes[name].append(outcome)
    return Report(_summary(name, found) for name, found in outcomes.items())


def _check_arguments(forward, backward, inputs, directions, tolerance, step):
    if not (isinstance(directions, int) and directions > 0 and tolerance > 0 and (step is None or step > 0)):
        raise ValueError('expected directions = 1, 2, ..., tolerance > 0 and step > 0 or None, got '
                         f'{directions!r}, {tolerance!r} and {step!r}')
    if not isinstance(inputs, dict):
        raise ValueError(f"inputs: expected a dict such as {{'x': x}}, got {type(inputs).__name__}")
    for name, function, arguments in (('forward()', forward, ()), ('backward(u)', backward, (None,))):
        try:
            inspect.signature(function).bind(*arguments)
        except TypeError as error:
            raise ValueError(f'{name}: expected a function to be called like this, got one with the signature '
                             f'{inspect.signature(function)}: {error}') from error
    for name, a in inputs.items():
        got = type(a).__name__ if not isinstance(a, np.ndarray) else f'dtype {a.dtype}' if a.dtype != np.float64 else (
            'a read-only one' if not a.flags.writeable else first_not_finite(a))
        if got:
            raise ValueError(f'inputs: expected {name} as a writable float64 array of finite numbers, got {got}')


def _step_aside(forward, inputs, start, draws):
    """Move each entry from its start by about a thousandth of its size, or by less if that leaves forward's domain."""
    moves = {name: normal(draws, a.shape) * sizes(a) for name, a in start.items()}
    for size in (1e-3, 1e-5, 1e-7, 0):
        for name, a in inputs.items():
            a[...] = start[name] + size * moves[name]
        with np.errstate(all='ignore'):
            if np.isfinite(forward()).all():
                break


def _value(forward, inputs):
    """f at this point; raises ValueError unless it is a float64 array, the same each time, and inputs are untouched."""
    before = {name: a.copy() for name, a in inputs.items()}
    y = np.array(forward())
    _check_untouched('forward', inputs, before)
    if y.dtype != np.float64:
        raise ValueError(f'forward: expected y of dtype float64, got {type(forward()).__name__} of dtype {y.dtype}')
    if not np.array_equal(forward(), y, equal_nan=True):
        raise ValueError('forward: expected the same y at the same point, got a different one; random numbers must '
                         'come from rng')
    return y


def _check_untouched(function, arrays, before):
    for name, a in arrays.items():
        if not np.array_equal(a, before[name]):
            i = tuple(np.argwhere(a != before[name])[0])
            raise ValueError(f'{function} changes {name} in place: {place(i)} was {before[name][i]!s}, is {a[i]!s}')


def _random_trials(forward, inputs, y, directions, tangents, cotangents):
    """(u, name -> [the line to go along]) for each direction."""
    for kind in range(directions):
        u, lines = normal(cotangents, y.shape), {}
        if kind % 4 in (1, 2):
            size = abs(y) + 1e-3 * np.sqrt((y**2).mean(axis=0 if y.ndim else None)) + 1e-6 * abs(y).max()
            u /= np.where(size > 1e-200, size, 1)
        for name, a in inputs.items():
            v = normal(tangents[name], a.shape) * (spread(a) if kind % 2 else abs(a))
            lines[name] = [Line(forward, a, v, y)]
        yield u, lines


def _unit_trials(forward, inputs, y):
    """(u, name -> lines) for each output: u picks it, and a line leads along each entry of each array."""
    size = y.size * sum(a.size for a in inputs.values())
    if size > LARGEST:
        raise ValueError(f'full: expected a Jacobian of at most {LARGEST} entries, got {size}')
    lines = {name: [Line(forward, a, v.reshape(a.shape), y) for v in np.diag(sizes(a).ravel())]
             for name, a in inputs.items()}
    for u in np.eye(y.size):
        yield u.reshape(y.shape), lines


def normal(draws, shape):
    """Normal numbers in float64."""
    return draws.normal(shape, np.float64)


def sizes(a):
    """The size of each entry, or its column's spread where it is 0."""
    return np.where(a, abs(a), spread(a))


def spread(a):
    """For each entry, the first that is not 0 of: its column's standard deviation, its own size, the RMS of all, 1."""
    found = np.broadcast_to(a.std(axis=0), a.shape) if a.ndim and a.size else abs(a)
    for size in (abs(a), np.sqrt(np.sum(a**2) / max(1, a.size)), 1):
        found = np.where(found, found, size)
    return found


def _outcomes(u, lines, backward, inputs, tolerance, steps):
    """(name, (row, u, derivative, line)) for each line. Outputs with a kink here are left out, unless most have one.

    If others then seem wrong, the cause may be a kink that bends no line, as in the median of three equal numbers.
    """
    for masked in (False, True):
        derivatives, rows, kinked = _derivatives(backward, u, inputs), [], np.zeros(u.shape, bool)
        for name, a in inputs.items():
            da = derivatives[name]
            wrong = _unusable(name, a, da)
            for line in lines[name]:
                row = broken(name, wrong) if wrong else compare(name, line, u, da, tolerance=tolerance, steps=steps)
                if masked and row.verdict == 'wrong':
                    row = replace(row, verdict='kink', why=NO_DERIVATIVE)
                rows.append((name, (row, u, da, line)))
                if row.verdict == 'kink':
                    kinked |= line.kinked()
        if not kinked.any() or kinked.mean() > 0.5:
            break
        u = np.where(kinked, 0, u)
    return rows


def _derivatives(backward, u, inputs):
    """name -> derivative; raises ValueError where one is missing, or an argument is changed in place."""
    given, before = u.copy(), {name: a.copy() for name, a in inputs.items()}
    derivatives = backward(given)
    _check_untouched('backward', {'dy': given, **inputs}, {'dy': u, **before})
    if not isinstance(derivatives, dict) or not inputs.keys() <= derivatives.keys():
        got = list(derivatives) if isinstance(derivatives, dict) else type(derivatives).__name__
        raise ValueError(f'backward: expected a dict with the derivatives of {list(inputs)}, got {got}')
    return {name: None if da is None else np.array(da) for name, da in derivatives.items()}


def _unusable(name, a, da):
    """What is wrong with a derivative, apart from its numbers, or ''."""
    if da is None or da.shape != a.shape:
        return f'expected a derivative of shape {a.shape}, got {None if da is None else da.shape}'
    if da.dtype != np.float64:
        return f'expected a derivative of dtype float64, got {da.dtype}'
    if np.isnan(da).any() and name != 'x':
        return f'{first_not_finite(da)}: never assigned, or added to? assign it, as in dW[...] ='
    return first_not_finite(da)


def first_not_finite(a):
    """The first nan or inf of an array and its place, in words, or ''."""
    if np.isfinite(a).all():
        return ''
    i = tuple(np.argwhere(~np.isfinite(a))[0])
    return f'{a[i]} at {place(i)}'


def _summary(name, outcomes):
    """One Finding for an array: the worst of what was found in all directions."""
    rows = [row for row, *_ in outcomes]
    wrong = [outcome for outcome in outcomes if outcome[0].verdict == 'wrong']
    if wrong:
        row, u, da, line = max(wrong, key=lambda outcome: outcome[0].error)
        return replace(row, why=row.why or factor(rows) + worst(line, da, u, row.step))
    for verdict, whys in (('kink', (NO_DERIVATIVE,)), ('ok', ('',)), ('ok', None), ('kink', None)):
        found = [row for row in rows if row.verdict == verdict and (row.why in whys if whys else row.why != ZERO)]
        if found:
            return max(found, key=lambda row: row.error)
    return rows[0]


def factor(rows):
    """A note that the two numbers have the same ratio in every direction, or ''."""
    if not any(row.expected for row in rows):
        return 'forward does not change with it: does it read this very array? '
    ratios = [row.got / row.expected for row in rows if row.expected and row.why != ZERO]
    if len(ratios) < 2 or np.ptp(ratios) > 1e-4 * abs(np.mean(ratios)):
        return ''
    return f'got / expected is {np.mean(ratios):.5g} in every direction; '


def worst(line, da, u, step):
    """The entry whose derivative is furthest off: keep the half that is further off until 32 entries are left."""
    a, size = line.a, sizes(line.a).ravel()
    weights = size * normal(Streams(0).at('check', WORST), a.size)

    def numbers(part, tangent):
        v = np.zeros(a.size)
        v[part] = tangent[part]
        return Line(line.forward, a, v.reshape(a.shape), line.at(0)).numbers(u, da, step)

    def gap(part, tangent):
        return abs(np.subtract(*numbers(part, tangent)))

    part = np.arange(a.size)
    while len(part) > 32:
        part = max(np.array_split(part, 2), key=lambda half: gap(half, weights))
    i = max(part, key=lambda i: gap([i], size))
    expected, got = np.divide(numbers([i], size), size[i])
    of = f'y{place(np.argwhere(u)[0])} by ' if np.count_nonzero(u) == 1 < u.size else ''
    return f'worst: {of}{place(np.unravel_index(i, a.shape))} expected {expected:.6g}, got {got:.6g}'


def place(index):
    """An index in words: [2, 1]."""
    return f'[{", ".join(map(str, index))}]'
