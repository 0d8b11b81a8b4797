"""Is a hand-written derivative right? A directional check that any layer, net or operation can be put through.

For y = f(a) with Jacobian J, a random tangent v and a random cotangent u, all float64:

    <u, J v>  by central differences:   (<u, f(a + h v)> - <u, f(a - h v)>) / 2h
    <J^T u, v>  by the derivative under test

are the same number. A cotangent of ones would not do: batch norm's dx is then 0 whatever the code computes.
The first is printed as `expected`, the second as `got`.
"""

from dataclasses import dataclass, replace

import numpy as np

from minigan.net import Net
from minigan.streams import Streams

STEP = 1e-6       # h for arrays of size 1: a central difference is off by about h^2 f'''/6, its rounding by 1e-16 f / h
TOLERANCE = {     # relative. float64: a derivative against differences; float32: a float32 result against float64
    'float64': {'any': 1e-7},
    'float32': {'any': 1e-6, 'Dense': 1e-5, 'BatchNorm': 1e-5},
}
NUDGES = 5        # how often to move off a kink before giving up


@dataclass
class Row:
    """The outcome for one array.

    verdict: 'ok'; 'wrong', and why then says where; 'kink' when f has no derivative at this point or near it.
    why: of an 'ok' row, whether both numbers are 0: either there is nothing to learn, or x does not reach the array.
    """

    name: str
    expected: float
    got: float
    error: float
    verdict: str
    why: str = ''


class Report(list):
    """The rows of a check; `assert report.ok, report` shows them when it fails."""

    @property
    def ok(self):
        """Whether every derivative is right."""
        return all(row.verdict == 'ok' for row in self)

    def __str__(self):
        lines = [f'{"":24} {"expected":>15} {"got":>15} {"error":>9}']
        for row in self:
            lines.append(f'{row.name:24} {row.expected:15.8g} {row.got:15.8g} {row.error:9.1e}  '
                         f'{row.verdict}{row.why and f" ({row.why})"}')
        return '\n'.join(lines)


def gradcheck(layer, x, *, training=True, seed=0):
    """Check backward against forward for a Layer, or a float64 Net, at x (m, n): the input and each parameter.

    training: the mode to check. Parameters and state are moved away from their starting values first, since
    gamma = 1 or b = 0 would hide a wrong term, and put back afterwards. Random layers draw the same numbers each
    time. Returns a Report. Raises ValueError as check does, and for x of another rank or a Net of another dtype.
    """
    streams, x = Streams(seed), np.array(x, np.float64)
    if x.ndim != 2:
        raise ValueError(f'expected x of shape (m, n), got {x.shape}')
    net = layer if isinstance(layer, Net) else Net([layer], rng=streams.at('init', 0), dtype=np.float64)
    if net.dtype != np.float64:
        raise ValueError(f'{net.name}: expected Net(..., dtype=np.float64), got {net.dtype}')
    kept = net.theta.copy(), net.state.copy()
    rng = np.random.default_rng(seed)
    net.theta += 0.1 * rng.standard_normal(net.theta.shape)
    start = net.state * (1 + rng.random(net.state.shape)) + rng.random(net.state.shape)  # variances stay positive

    def forward(keep_cache=False):
        net.state[...] = start
        return net.forward(x, training=training, rng=streams.at('dropout', 0), keep_cache=keep_cache)

    def backward(u, **which):
        forward(keep_cache=True)
        net.dtheta[...] = np.nan  # derivatives are assigned: what lay there before must not matter
        dx = net.backward(u, **which)
        return {'x': dx, **views(net.dtheta, net.slots)}

    def input_alone(u):
        return {'x': backward(u, param_grads=False)['x']}

    try:
        report = check(forward, backward, {'x': x, **views(net.theta, net.slots)}, seed=seed)
        if net.slots and report.ok:  # the way through D in a G step
            report += [replace(row, name='x alone') for row in check(forward, input_alone, {'x': x}, seed=seed)]
        return report
    finally:
        net.theta[...], net.state[...] = kept


def check(forward, backward, inputs, *, seed=0):
    """The check itself, for any function of float64 arrays that can be changed in place.

    inputs: name -> array. forward() -> y from the arrays' present values; backward(u) -> {name: derivative of
    <u, y>}. Each array is restored to the last bit, unless the check had to move off a kink. Returns a Report.
    Raises ValueError when y is not float64 or changes from call to call, or when an argument is changed in place.
    """
    rng = np.random.default_rng(seed)
    for _ in range(NUDGES):
        before = {name: a.copy() for name, a in inputs.items()}
        y = np.array(forward())
        if y.dtype != np.float64:
            raise ValueError(f'forward: expected y of dtype float64, got {y.dtype}')
        u = rng.standard_normal(y.shape)
        derivatives = backward(u_given := u.copy())
        for name, a, kept in [('dy', u_given, u), *((name, a, before[name]) for name, a in inputs.items())]:
            if not np.array_equal(a, kept, equal_nan=True):
                raise ValueError(f'forward or backward changes {name} in place')
        if not np.array_equal(forward(), y, equal_nan=True):
            raise ValueError('forward: expected the same y at the same point, got another; random numbers must '
                             'come from rng')
        report = Report(_check_one(name, a, derivatives[name], forward, u, np.random.default_rng([seed, i]))
                        for i, (name, a) in enumerate(inputs.items()))
        if all(row.verdict != 'kink' for row in report):
            break
        for a in inputs.values():
            a += 1e-3 * rng.standard_normal(a.shape)
    return report


def compare(name, expected, got, noise=0.0):
    """The Row for two numbers that ought to agree, where the expected one is off by up to about `noise`."""
    gap, size = abs(expected - got), max(abs(expected), abs(got))
    row = Row(name, expected, got, gap / size if size else 0.0, 'wrong')
    if gap <= TOLERANCE['float64']['any'] * size + noise:
        row.verdict, row.why = 'ok', '' if size > noise else '0 within rounding'
    return row


def _check_one(name, a, da, forward, u, rng):
    if np.shape(da) != a.shape:
        got = 'None' if da is None else np.shape(da)
        return Row(name, np.nan, np.nan, np.inf, 'wrong', f'expected a derivative of shape {a.shape}, got {got}')
    da, h, v = np.array(da), STEP * max(1, abs(a).max(initial=0)), rng.standard_normal(a.shape)
    middle = np.array(forward())
    left, right = _either_side(a, h * v, forward)
    expected, got = np.sum(u * (right - left)) / (2 * h), np.sum(da * v)
    noise = 32 * np.finfo(np.float64).eps * np.linalg.norm(u * middle) / h
    row = compare(name, expected, got, noise)
    if row.verdict == 'ok':
        return row
    if np.isnan(got):
        return replace(row, why='nan: a derivative must be assigned, as in dW[...] =, and not added to')
    gap = abs(expected - got)
    bend = np.sum(abs(u * (right - 2 * middle + left))) / (2 * h)  # what one kink within the step can account for
    left, right = _either_side(a, h / 16 * v, forward)  # of several, most lie outside a shorter step
    change = abs(np.sum(u * (right - left)) / (2 * h / 16) - expected)
    if gap <= 1.001 * bend or change > gap / 2 + 16 * noise:
        return replace(row, verdict='kink', why='no derivative here or nearby')
    return replace(row, why=_worst(a, da, h, forward, u, rng))


def _either_side(a, step, forward):
    """f(a - step) and f(a + step)."""
    kept, values = a.copy(), []
    for moved in (kept - step, kept + step):
        a[...] = moved
        values.append(np.array(forward()))  # a copy: y may be a itself
    a[...] = kept
    return values


def _worst(a, da, h, forward, u, rng):
    """The entry whose derivative is furthest off, in the part of the array that is: halve it until 32 are left."""
    tangent, da = rng.standard_normal(a.size), da.ravel()

    def numbers(part, tangent):
        v = np.zeros(a.size)
        v[part] = tangent[part]
        left, right = _either_side(a, h * v.reshape(a.shape), forward)
        expected, got = np.sum(u * (right - left)) / (2 * h), np.sum(da[part] * tangent[part])
        return abs(expected - got), expected, got

    part = np.arange(a.size)
    while len(part) > 32:
        part = max(np.array_split(part, 2), key=lambda half: numbers(half, tangent)[0])
    i = max(part, key=lambda i: numbers([i], np.ones(a.size))[0])
    _, expected, got = numbers([i], np.ones(a.size))
    return f'worst: [{", ".join(map(str, np.unravel_index(i, a.shape)))}] expected {expected:.6g}, got {got:.6g}'


def views(flat, slots):
    """name -> the part of a flat buffer that the slot describes, in its own shape."""
    return {name: flat[start:start + int(np.prod(shape))].reshape(shape) for name, start, shape in slots}
