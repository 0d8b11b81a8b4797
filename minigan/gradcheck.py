"""Is a hand-written derivative right? A directional check that any layer, net or operation can be put through.

For y = f(a) with Jacobian J, a random tangent v and a random cotangent u, all float64:

    <u, J v>  by central differences:   (<u, f(a + h v)> - <u, f(a - h v)>) / 2h
    <J^T u, v>  by the derivative under test

are the same number. A cotangent of ones would not do: batch norm's dx is then 0 whatever the code computes.
"""

from dataclasses import dataclass

import numpy as np

from minigan.backend import Streams
from minigan.net import Net

STEP = 1e-6       # h: a central difference is off by about h^2 f'''/6, its rounding by about 1e-16 f / h
TOLERANCE = 1e-7  # relative, beyond that rounding
NUDGES = 5        # how often to move off a kink before giving up


@dataclass
class Row:
    """The outcome for one array: both numbers, their relative error, the verdict and, if wrong, the worst entry."""

    name: str
    differences: float
    derivative: float
    error: float
    verdict: str
    worst: str = ''


class Report(list):
    """The rows of a check; `assert report.ok, report` shows them when it fails."""

    @property
    def ok(self):
        """Whether every derivative is right."""
        return all(row.verdict == 'ok' for row in self)

    def __str__(self):
        lines = [f'{"":24} {"differences":>15} {"derivative":>15} {"error":>9}']
        for row in self:
            lines.append(f'{row.name:24} {row.differences:15.8g} {row.derivative:15.8g} {row.error:9.1e}  '
                         f'{row.verdict}{row.worst and f" (worst: {row.worst})"}')
        return '\n'.join(lines)


def gradcheck(layer, x, *, training=True, seed=0):
    """Check backward against forward for a Layer, or a float64 Net, at x (m, n): the input and each parameter.

    Parameters and state are moved away from their starting values first, since gamma = 1 or b = 0 would hide a
    wrong term, and put back afterwards. Dropout draws the same mask each time. Returns a Report.
    """
    streams = Streams(seed)
    net = layer if isinstance(layer, Net) else Net([layer], rng=streams.at('init', 0), dtype=np.float64)
    if net.dtype != np.float64:
        raise ValueError(f'{net.name}: expected a net of dtype float64, got {net.dtype}')
    kept = net.theta.copy(), net.state.copy()
    rng = np.random.default_rng(seed)
    net.theta += 0.1 * rng.standard_normal(net.theta.shape)
    start = net.state * (1 + rng.random(net.state.shape)) + rng.random(net.state.shape)  # variances stay positive
    x = np.array(x, np.float64)

    def forward(keep_cache=False):
        net.state[...] = start
        return net.forward(x, training=training, rng=streams.at('dropout', 0), keep_cache=keep_cache)

    def backward(u):
        forward(keep_cache=True)
        dx = net.backward(u)
        return {'x': dx, **_views(net.dtheta, net.slots)}

    try:
        return check(forward, backward, {'x': x, **_views(net.theta, net.slots)}, seed=seed)
    finally:
        net.theta[...], net.state[...] = kept


def check(forward, backward, inputs, *, seed=0):
    """The check itself, for any function of float64 arrays that can be changed in place.

    inputs: name -> array. forward() -> y from the arrays' present values; backward(u) -> {name: derivative of
    <u, y>}. Each array is restored to the last bit, unless the check had to move off a kink. Returns a Report.
    """
    rng = np.random.default_rng(seed)
    for _ in range(NUDGES):
        u = rng.standard_normal(np.shape(forward()))
        derivatives = {name: np.array(d) for name, d in backward(u).items()}
        report = Report(_check_one(name, a, derivatives[name], forward, u, rng) for name, a in inputs.items())
        if all(row.verdict != 'kink' for row in report):
            break
        for a in inputs.values():
            a += 1e-3 * rng.standard_normal(a.shape)
    return report


def _check_one(name, a, da, forward, u, rng):
    if da.shape != a.shape:
        return Row(name, np.nan, np.nan, np.inf, 'wrong', f'expected a derivative of shape {a.shape}, got {da.shape}')
    v = rng.standard_normal(a.shape)
    middle = np.array(forward())
    left, right = _either_side(a, v, forward)
    differences, derivative = np.sum(u * (right - left)) / (2 * STEP), np.sum(da * v)
    noise = 32 * np.finfo(np.float64).eps * np.linalg.norm(u * middle) / STEP
    gap = abs(differences - derivative)
    error = gap / max(abs(differences), abs(derivative), noise / TOLERANCE, np.finfo(float).tiny)
    if error <= TOLERANCE:
        return Row(name, differences, derivative, error, 'ok')
    bend = np.sum(abs(u * (right - 2 * middle + left))) / (2 * STEP)  # what kinks within the step can account for
    if gap <= bend:
        return Row(name, differences, derivative, error, 'kink')
    return Row(name, differences, derivative, error, 'wrong', _worst(a, da, forward, u, rng))


def _either_side(a, v, forward):
    """f(a - h v) and f(a + h v)."""
    kept, values = a.copy(), []
    for h in (-STEP, STEP):
        a[...] = kept + h * v
        values.append(np.array(forward()))  # a copy: y may be a itself
    a[...] = kept
    return values


def _worst(a, da, forward, u, rng):
    """The entry whose derivative is furthest off, of up to 500."""
    rows = []
    for i in rng.permutation(a.size)[:500]:
        index = np.unravel_index(i, a.shape)
        v = np.zeros(a.shape)
        v[index] = 1
        left, right = _either_side(a, v, forward)
        expected = np.sum(u * (right - left)) / (2 * STEP)
        rows.append((abs(expected - da[index]), index, expected))
    _, index, expected = max(rows)
    return f'[{", ".join(map(str, index))}] expected {expected:.6g}, got {da[index]:.6g}'


def _views(flat, slots):
    return {name: flat[start:start + int(np.prod(shape))].reshape(shape) for name, start, shape in slots}
