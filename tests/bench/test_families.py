"""The layers that judge gradcheck are correct, by complex steps; their errors are real; gradcheck tells them apart."""

import sys

import bench_gradcheck
import families  # noqa: F401
import numpy as np
import pytest
from planted import FAMILIES, correct, planted, real, wrong

from minigan import Net, Streams

STEP = 1e-30     # the imaginary part has no difference to cancel in
ENTRIES = 60     # of each array, at most
DRAWS = 12


def bound(layer, dtype):
    return Net([layer], rng=Streams(3).at('init', 0), dtype=dtype)


def run(net, x):
    return net.forward(x, rng=Streams(3).at('dropout', 0), keep_cache=False)


def by_complex_steps(forward, a, chosen, u):
    """d<u, y>/da_j = Im <u, f(a + i h e_j)> / h for the chosen j."""
    found = []
    for j in chosen:
        kept, h = a.flat[j], STEP * max(abs(a.flat[j]), 1e-6)
        a.flat[j] = kept + 1j * h
        found.append(np.sum(u * forward().imag) / h)
        a.flat[j] = kept
    return np.array(found)


def excess(layer, twin, x, seed):
    """How far backward is from complex steps on a twin of the layer, beyond 1e-8 and the rounding error of y."""
    net, other = bound(layer, np.float64), bound(twin, np.complex128)
    z, rng, found = x.astype(complex), np.random.default_rng(seed), []
    y = run(net, x)
    u = rng.standard_normal(y.shape)
    np.testing.assert_allclose(run(other, z).real, y, rtol=1e-10, atol=1e-10 * abs(y).max())
    net.forward(x, rng=Streams(3).at('dropout', 0))
    dx = net.backward(u)
    for a, da in ((z, dx), (other.theta, net.dtheta)):
        chosen = rng.permutation(a.size)[:ENTRIES]
        expected = by_complex_steps(lambda: run(other, z), a, chosen, u)
        sizes = np.where(a.flat[chosen] == 0, abs(a).max(initial=0), abs(a.flat[chosen]))
        rounding = 1e-14 * np.linalg.norm(u * y) / np.where(sizes == 0, 1, sizes)
        found.append(abs(da.flat[chosen] - expected) - 1e-8 * abs(expected) - rounding)
    return np.concatenate(found).max()  # nan if any is


@pytest.mark.parametrize('name', FAMILIES)
def test_the_layer_is_correct(name):
    for draw in range(DRAWS):
        (layer, x), (twin, _) = correct(name, draw, 1), correct(name, draw, 1)
        assert excess(layer, twin, x, draw) <= 0, draw


def test_complex_steps_detect_a_wrong_layer():
    for name in set(FAMILIES) - {'leaky_relu_of_300_columns'}:  # its complex steps try few of the entries
        for what, methods in FAMILIES[name].errors.items():
            for draw in range(40):
                (layer, x), (twin, _) = planted(correct(name, draw, 2), methods), correct(name, draw, 2)
                if real(correct(name, draw, 2)[0], layer, x, 3):
                    assert not excess(layer, twin, x, draw) <= 0, (name, what, draw)
                    break


@pytest.mark.parametrize('name', FAMILIES)
def test_mixes_rows_says_whether_rows_reach_each_other(name):
    layer, x = correct(name, 0, 1)
    net, moved = bound(layer, np.float64), x.copy()
    moved[0] += np.linspace(1, 2, x.shape[1]) * abs(x).max()
    assert np.array_equal(run(net, x)[1:], run(net, moved)[1:]) != layer.mixes_rows


def test_a_draw_can_be_repeated():
    for name in ('batch_norm', 'attention', 'dropout'):
        (_, x, what), (_, again, the_same) = wrong(name, 5, 0), wrong(name, 5, 0)
        assert np.array_equal(x, again) and what == the_same


@pytest.mark.parametrize('name', FAMILIES)
def test_every_error_of_a_family_can_be_planted(name):
    for what, methods in FAMILIES[name].errors.items():
        def plantable(draw):
            return real(correct(name, draw, 2)[0], *planted(correct(name, draw, 2), methods))
        assert any(map(plantable, range(40))), what


def test_an_error_without_a_difference_is_not_planted():
    layer, x = correct('relu', 0, 0)
    identity = {'dx': lambda self, dy: dy.copy()}
    assert real(correct('relu', 0, 0)[0], *planted((layer, x), identity))
    layer, _ = correct('relu', 0, 0)
    assert not real(correct('relu', 0, 0)[0], *planted((layer, abs(x) + 1), identity))


@pytest.fixture(scope='module')
def outcomes():
    """About 150 correct layers and as many wrong ones."""
    return list(bench_gradcheck.trials(FAMILIES, range(3), 0))


@pytest.mark.parametrize('kind', ['correct', 'wrong'])
def test_gradcheck_passes_correct_layers_and_catches_wrong_ones(outcomes, kind):
    mistaken = [f'{name}, draw {draw}: {what}\n{report}' for name, draw, of, right, what, report in outcomes
                if of == kind and not right]
    assert not mistaken, '\n\n'.join([f'{len(mistaken)} of {len(outcomes) // 2} {kind} layers', *mistaken])


def test_the_bench_counts_false_alarms_and_misses(monkeypatch, capsys):
    says = {}
    monkeypatch.setattr(bench_gradcheck, 'judge', lambda layer, x, seed: (says['ok'], 'the report'))
    monkeypatch.setattr(sys, 'argv', ['bench_gradcheck.py', '--family', 'relu', '--layers', '2'])
    for says['ok'], mistakes, counts in ((True, 'miss: relu, draw 1', '2 0 2 2'),
                                         (False, 'false alarm: relu, draw 1', '2 2 2 0'),
                                         (None, 'false alarm: relu, draw 1', '2 2 2 2')):
        assert bench_gradcheck.main() == 1
        printed = capsys.readouterr().out
        assert mistakes in printed and printed.split('total')[1].split() == counts.split()


def test_an_error_inside_gradcheck_is_neither_ok_nor_a_catch(monkeypatch):
    def fails(*args, **how):
        raise KeyError('x')
    monkeypatch.setattr(bench_gradcheck, 'gradcheck', fails)
    assert bench_gradcheck.judge(None, None, 0) == (None, "KeyError: 'x'")
