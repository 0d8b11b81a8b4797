"""The layers that judge gradcheck are correct beyond doubt, by complex steps; then gradcheck is judged by some of them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from minigan import Net, Streams

sys.path.insert(0, str(Path(__file__).parents[1] / 'bench'))

import bench_gradcheck  # noqa: E402
import families  # noqa: E402, F401
from planted import FAMILIES, correct, planted, real, wrong  # noqa: E402

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
        for a, da in ((z, dx), (other.theta, net.dtheta))[:2 if net.slots else 1]:
            chosen = rng.permutation(a.size)[:ENTRIES]
            expected, got = by_complex_steps(lambda: run(other, z), a, chosen, u), da.flat[chosen]
            sizes = np.where(a.flat[chosen] == 0, abs(a).max(), abs(a.flat[chosen]))
            rounding = 1e-14 * np.linalg.norm(u * y) / np.where(sizes == 0, 1, sizes)
            wrong_by = abs(got - expected) - 1e-8 * abs(expected) - rounding
            i = wrong_by.argmax()
            assert wrong_by[i] <= 0, (draw, layer, a.flat[chosen[i]], expected[i], got[i], rounding[i])
            checked += len(chosen)
    assert checked


@pytest.mark.parametrize('name', FAMILIES)
def test_mixes_rows_says_whether_rows_reach_each_other(name):
    layer, x = correct(name, 0, 1)
    net, moved = bound(layer, np.float64), x.copy()
    moved[0] += np.linspace(1, 2, x.shape[1]) * abs(x).max()
    assert np.array_equal(run(net, x)[1:], run(net, moved)[1:]) != layer.mixes_rows


def test_a_draw_can_be_had_again():
    for name in ('batch_norm', 'attention', 'dropout'):
        (_, x, what), (_, again, the_same) = wrong(name, 5, 0), wrong(name, 5, 0)
        assert np.array_equal(x, again) and what == the_same


@pytest.mark.parametrize('name', FAMILIES)
def test_every_error_of_a_family_can_be_planted(name):
    for what, methods in FAMILIES[name].errors.items():
        assert any(real(correct(name, draw, 2)[0], *planted(correct(name, draw, 2), methods)) for draw in range(40)), what


def test_an_error_without_a_difference_is_not_planted():
    layer, x = correct('relu', 0, 0)
    identity = {'dx': lambda self, dy: dy.copy()}
    assert real(correct('relu', 0, 0)[0], *planted((layer, x), identity))
    layer, _ = correct('relu', 0, 0)
    assert not real(correct('relu', 0, 0)[0], *planted((layer, abs(x) + 1), identity))


def test_gradcheck_raises_no_false_alarm_and_misses_nothing():
    found = [outcome for outcome in bench_gradcheck.trials(FAMILIES, range(3), 0) if not outcome[3]]
    assert not found, '\n'.join(f'{name}, draw {draw}, {kind}, {what}\n{report}' for name, draw, kind, _, what, report in found)
