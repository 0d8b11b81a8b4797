"""The layers that judge gradcheck are correct beyond doubt, by complex steps; then gradcheck is judged by some of them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from minigan import Net, Streams

sys.path.insert(0, str(Path(__file__).parents[1] / 'bench'))

import bench_gradcheck  # noqa: E402
import families  # noqa: E402, F401
from planted import FAMILIES, correct, errors_of, real, wrong  # noqa: E402

STEP = 1e-30     # the imaginary part has no difference to cancel in
ENTRIES = 60     # of each array, at most
DRAWS = 12


def bound(layer, dtype):
    return Net([layer], rng=Streams(3).at('init', 0), dtype=dtype)


def run(net, x):
    return net.forward(x, rng=Streams(3).at('dropout', 0), keep_cache=False)


def by_complex_steps(forward, a, chosen, u):
    """d<u, y>/da_i = Im <u, f(a + i h e_i)> / h for the chosen i, and how many roundings of y that is worth."""
    found = []
    for i in chosen:
        kept, h = a.flat[i], STEP * max(abs(a.flat[i]), 1e-6)
        a.flat[i] = kept + 1j * h
        found.append(np.sum(u * forward().imag) / h)
        a.flat[i] = kept
    return np.array(found)


def smooth(x, y_at, at):
    """Whether the point is off a kink: where x has no two equal numbers and no zeros."""
    return len(np.unique(x)) == x.size and (x != 0).all()


@pytest.mark.parametrize('name', FAMILIES)
def test_the_layer_is_correct(name):
    checked = 0
    for draw in range(DRAWS):
        (layer, x), (twin, _) = correct(name, draw, 1), correct(name, draw, 1)
        net, other = bound(layer, np.float64), bound(twin, np.complex128)
        z, rng = x.astype(complex), np.random.default_rng(draw)
        y = run(net, x)
        u = rng.standard_normal(y.shape)
        np.testing.assert_allclose(run(other, z).real, y, rtol=1e-10, atol=1e-10 * abs(y).max())
        net.forward(x, rng=Streams(3).at('dropout', 0))
        net.dtheta[...] = np.nan
        dx = net.backward(u)
        for a, da in ((z, dx), (other.theta, net.dtheta)):
            chosen = rng.permutation(a.size)[:ENTRIES]
            expected, got = by_complex_steps(lambda: run(other, z), a, chosen, u), da.flat[chosen]
            rounding = 1e-14 * np.linalg.norm(u * y) / np.maximum(abs(a.flat[chosen]), 1e-300)
            gap = abs(got - expected)
            worst = np.argmax(gap - rounding) if len(gap) else 0
            assert (gap <= 1e-8 * abs(expected) + np.minimum(rounding, 1e-12 * abs(da).max(initial=0) + 1e-15)).all(), (
                draw, layer, a.flat[chosen][worst], expected[worst], got[worst], rounding[worst])
            checked += len(chosen)
    assert checked
