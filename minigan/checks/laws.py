"""Laws that every layer must obey: one line makes a property-based test of a layer of your own. Needs Hypothesis.

    test_swish = laws.hold_for(Swish, slope=st.floats(0, 0.9))

calls Swish(n, slope=...) for minibatches (m, n) of many shapes and scales and checks four laws: gradcheck passes in
both modes, the same seed gives the same layer, float32 agrees with float64 within rounding, and an x of a different
width is refused by name. When one fails, Hypothesis shrinks it to the smallest example.
"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan.checks.gradcheck import gradcheck
from minigan.net import Net, parts
from minigan.streams import Streams

__all__ = ['hold_for', 'indices', 'minibatches', 'scales', 'seeds']

seeds = st.integers(0, 2**32 - 1)
scales = st.sampled_from([1.0, 10.0, 0.1, 1e3, 1e-3, 1e6, 1e-6])  # Hypothesis shrinks towards the first
ROUNDING = 1e-6  # relative: what 16 roundings of float32 amount to
TINY = 1e-36     # what underflow in float32 may cost


@st.composite
def minibatches(draw, rows=st.integers(1, 6), widths=st.integers(1, 5), scales=scales, positive=False):
    """x (m, n) ~ scale * N(0, 1), half of the draws with ties and exact zeros. positive: scale * U(0.5, 2)."""
    shape, scale, rng = (draw(rows), draw(widths)), draw(scales), np.random.default_rng(draw(seeds))
    if positive:
        return scale * rng.uniform(0.5, 2, shape)
    x = rng.standard_normal(shape)
    return scale * (np.round(x) + 0.0 if draw(st.booleans()) else x)


@st.composite
def indices(draw, classes, rows=st.integers(1, 6)):
    """x (m,) of integers in [0, classes), for a layer that takes_integers."""
    return np.random.default_rng(draw(seeds)).integers(0, classes, draw(rows))


def hold_for(make, x=minibatches(), **hyper):
    """A test that make(n, **hyper) obeys every law at any x (m, n): assign it to a name that pytest collects.

    make: a Layer's class, or a function that returns a layer. n is the width of a row of x, or its shape if x has more
    axes. x: a strategy for minibatches; hyper: a strategy for each hyper-parameter.
    """
    @settings(deadline=None)
    @given(x=x, hyper=st.fixed_dictionaries(hyper), seed=seeds)
    def laws_hold(x, hyper, seed):
        n = x.shape[1] if x.ndim == 2 else x.shape[1:]
        for law in LAWS:
            law(lambda: make(n, **hyper), x, seed)
    return laws_hold


def derivatives_are_correct(make, x, seed):
    """gradcheck, in both modes; a layer that mixes rows is not trained with one row."""
    layer = make()
    gradcheck(layer, x, training=False if len(x) == 1 and layer.mixes_rows else None, seed=seed).assert_ok()


def the_same_seed_gives_the_same(make, x, seed):
    """Two layers that are made alike start alike and compute the same: they draw from rng alone."""
    first, second = (Run(make(), x, seed, np.float64) for _ in range(2))
    for name, expected in first.arrays.items():
        got = second.arrays[name]
        assert np.array_equal(got, expected, equal_nan=True), f'{first.layer}: {name} differs for the same seed'


def float32_agrees_with_float64(make, x, seed):
    """y, dx and the parameters' derivatives, within what rounding of x and of the parameters can change.

    To measure that, a run in float64 starts from x and parameters that are off by ROUNDING. Since terms may cancel, an
    error is also allowed relative to the size of the result under different random numbers, and to natural_size.
    """
    single, double = Run(make(), x, seed, np.float32), Run(make(), x, seed, np.float64)
    moved, other = Run(make(), x, seed, np.float64, off=ROUNDING), Run(make(), x, seed + 1, np.float64)
    for name, expected in double.arrays.items():
        size = max(largest(expected), largest(other.arrays[name]), double.natural_size(name))
        allowed = 4 * largest(moved.arrays[name] - expected) + 64 * ROUNDING * size + TINY
        error = largest(single.arrays[name] - expected)
        assert error <= allowed, (f'{single.layer}: {name} in float32 is off by {error:.2g} from float64, '
                                  f'expected at most {allowed:.2g}')


def another_width_is_refused_by_name(make, x, seed):
    """x of a different width works, or raises a ValueError that names that width and the layer, or one inside it."""
    if x.ndim != 2 or x.dtype.kind != 'f' or len(x) == 1:
        return
    wider, layer = np.concatenate([x, x[:, :1]], axis=1), make()
    names = [type(part).__name__ for part in dict(parts([layer])).values()]
    try:
        Run(layer, wider, seed, np.float64)
    except ValueError as error:
        said = str(error)
    except Exception as error:
        said = f'{type(error).__name__}: {error}'
    else:
        return
    assert any(name in said for name in names) and str(wider.shape[1]) in said, (
        f'{names[0]}: expected a ValueError that names it and the width of x {wider.shape}, as from '
        f'self.check_width(x, n), got: {said}')


LAWS = (derivatives_are_correct, the_same_seed_gives_the_same, float32_agrees_with_float64,
        another_width_is_refused_by_name)


class Run:
    """A forward and a backward pass of a fresh layer in one dtype; arrays: name -> result.

    off: how far x and the parameters are moved, relative to each entry. A single row runs in evaluation
    mode if the layer mixes rows.
    """

    def __init__(self, layer, x, seed, dtype, off=0.0):
        self.layer, rng = layer, np.random.default_rng([seed, 1])
        net = Net([layer], rng=Streams(seed).at('init', 0), dtype=dtype)
        training = len(x) > 1 or not layer.mixes_rows
        net.theta *= 1 + off * rng.choice([-1, 1], net.theta.shape)
        if not net.takes_integers:
            x = x.astype(np.float32).astype(dtype)  # the same numbers in both
            x *= 1 + off * rng.choice([-1, 1], x.shape)
        with np.errstate(all='ignore'):
            y = net.forward(x, training=training, rng=Streams(seed).at('dropout', 0) if training else None)
            self.dy = np.cos(np.arange(1, y.size + 1)).reshape(y.shape).astype(dtype)
            net.dtheta[...] = 0
            dx = net.backward(self.dy)
        self.arrays = {'y': y, 'dtheta': net.dtheta, 'theta': net.theta, **({} if net.takes_integers else {'dx': dx})}
        self.arrays = {name: np.array(a, np.float64) for name, a in self.arrays.items()}
        self.sizes = {'y': 1.0, 'dx': smallest(x), 'dtheta': smallest(net.theta)}
        self.size = max(largest(x), largest(y))

    def natural_size(self, name):
        """The size that the errors of an array are relative to: for y, the larger size of x and y.

        For a derivative, this over the size of its variable; for dtheta, which sums over the rows, times their number.
        """
        size = self.sizes.get(name)
        return self.size * (len(self.dy) if name == 'dtheta' else 1) / size if size else 0.0


def largest(a):
    """The largest entry, NaN if there is one."""
    return float(np.max(abs(np.asarray(a, np.float64)), initial=0))


def smallest(a):
    """The smallest size of an entry that is not 0; 0 if there is none."""
    a = np.asarray(a, np.float64)
    return float(abs(a[a != 0]).min()) if a.any() else 0.0
