"""The check of a function: correct derivatives pass at every scale, wrong ones are located, kinks are left alone."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan import Streams
from minigan.checks import derivatives
from minigan.checks.derivatives import LARGEST, check, place, spread
from minigan.checks.differences import Line, relative, settled

X = np.random.default_rng(0).standard_normal((6, 4))
TINY = float(np.finfo(np.float64).tiny)


def verdicts(report):
    return {row.name: row.verdict for row in report}


def check_map(f, backward, x, **options):
    """The check of y = f(x), with dx = backward(dy, x)."""
    x = np.array(x, np.float64)
    return check(lambda: f(x), lambda u: {'x': backward(u, x)}, {'x': x}, **options)


WRONG = {  # y, dx: each confuses u with x or v, or J with its transpose; it would pass if they were equal
    'gated by dy': (lambda x: np.maximum(x, .2 * x), lambda dy, x: dy * np.where(dy > 0, 1, .2)),
    'a square of dy': (lambda x: x * x, lambda dy, x: 2 * dy * dy),
    'the slope at dy': (np.tanh, lambda dy, x: dy * (1 - np.tanh(dy)**2)),
    'roll, not reversed': (lambda x: np.roll(x, 1, axis=1), lambda dy, x: np.roll(dy, 1, axis=1)),
    'cumsum, not reversed': (lambda x: np.cumsum(x, axis=1), lambda dy, x: np.cumsum(dy, axis=1)),
    'permuted forward': (lambda x: x[:, [1, 2, 3, 0]], lambda dy, x: dy[:, [1, 2, 3, 0]]),
    'a square matrix for its transpose': (lambda x: x @ X[:4], lambda dy, x: dy @ X[:4]),
}


@pytest.mark.parametrize('name', WRONG)
@pytest.mark.parametrize('same', [True, False])
def test_directions_are_independent_of_each_other_and_of_the_data(name, same):
    for seed in range(20):
        x = np.random.default_rng(seed if same else seed + 1000).standard_normal((5, 4))
        assert verdicts(check_map(*WRONG[name], x, seed=seed)) == {'x': 'wrong'}, seed


def test_one_direction_is_enough_for_an_error_everywhere():
    for name in WRONG:
        assert not check_map(*WRONG[name], X, directions=1).ok, name


def test_no_two_draws_are_the_same():
    """Tangents and cotangents differ, also from what a caller draws at the same seed from NumPy or from Streams."""
    drawn = []

    class Spy(Line):
        def __init__(self, forward, a, v, y):
            drawn.append(v / np.where(a, abs(a), 1))
            super().__init__(forward, a, v, y)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('minigan.checks.derivatives.Line', Spy)
        x, w = X.copy(), X + 1
        check(lambda: x * w, lambda u: drawn.append(u.copy()) or {'x': u * w, 'w': u * x}, {'x': x, 'w': w}, seed=5)
    drawn += [np.random.default_rng(5).standard_normal(X.shape)]
    drawn += [Streams(5).at(stream, 0).normal(X.shape, float) for stream in ('init', 'data', 'noise', 'dropout')]
    assert len(drawn) == 4 * 3 + 5
    for i, a in enumerate(drawn):
        for b in drawn[:i]:
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.9 and not np.isin(a, b).any()


@given(size=st.floats(-6, 6), m=st.integers(1, 5), n=st.integers(1, 5), seed=st.integers(0, 2**32 - 1),
       mixed=st.booleans())
def test_correct_derivatives_pass_at_every_scale_and_wrong_ones_do_not(size, m, n, seed, mixed):
    rng = np.random.default_rng(seed)
    x = 10**size * rng.uniform(0.5, 2, (m, n)) * (10.0**rng.integers(-3, 4, n) if mixed else 1)
    for f, slope in ((np.log, lambda x: 1 / x), (np.sqrt, lambda x: 0.5 / np.sqrt(x)), (np.square, lambda x: 2 * x),
                     (lambda x: x**3, lambda x: 3 * x**2), (lambda x: 1 / x, lambda x: -1 / x**2)):
        assert check_map(f, lambda u, x: u * slope(x), x, seed=seed).ok
        assert not check_map(f, lambda u, x: 1.001 * u * slope(x), x, seed=seed).ok
    i = rng.integers(m), rng.integers(n)

    def one_entry_wrong(u, x):
        dx = 2 * x * u
        dx[i] *= 1.01
        return dx

    assert not check_map(np.square, one_entry_wrong, x, seed=seed).ok  # however small that entry is next to the others


def attention(x, dy=None):
    """softmax(x x^T) x over the rows, and its derivative."""
    a = x @ x.T
    p = np.exp(a - a.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    if dy is None:
        return p @ x
    dp = dy @ x.T
    da = p * (dp - (dp * p).sum(axis=1, keepdims=True))
    return p.T @ dy + (da + da.T) @ x


@pytest.mark.parametrize('f, backward, x', [
    (lambda x: np.tanh(1e4 * x), lambda u, x: u * 1e4 * (1 - np.tanh(1e4 * x)**2), 1e-4 * X),
    (lambda x: np.tanh(1e4 * x), lambda u, x: u * 1e4 * (1 - np.tanh(1e4 * x)**2), X * [1e-4, 1e-3, 1, 1]),
    (attention, lambda u, x: attention(x, u), 10 * X), (attention, lambda u, x: attention(x, u), 30 * X),
    (lambda x: np.exp(30 * x), lambda u, x: u * 30 * np.exp(30 * x), X)])
def test_a_smooth_but_steep_function_is_no_kink(f, backward, x):
    for seed in range(5):
        assert verdicts(check_map(f, backward, x, seed=seed)) == {'x': 'ok'}
        assert verdicts(check_map(f, lambda u, x: 1.01 * backward(u, x), x, seed=seed)) == {'x': 'wrong'}


def gelu(x):
    from scipy.special import erf
    return 0.5 * x * (1 + erf(x / 2**0.5))


def gelu_backward(u, x):
    from scipy.special import erf
    return u * (0.5 * (1 + erf(x / 2**0.5)) + x * np.exp(-x * x / 2) / (2 * np.pi)**0.5)


@pytest.mark.parametrize('x', [-36, -20, -10, -9, -8.5, -8, -7.5, -7, -6.5, -6, -5.5, -5, -4, -1, 0, 3, 36])
def test_no_derivative_is_called_wrong_where_forward_has_few_digits_left_or_none(x):
    """1 + erf(x) cancels: at x = -6 seven digits are left, at -8 one."""
    for seed in range(10):
        row, = check_map(gelu, gelu_backward, np.full((2, 1), x), seed=seed)
        assert row.verdict == 'ok', (seed, row)
        assert (row.why == '0 within rounding') or x > -9
        if x > -6:
            assert not check_map(gelu, lambda u, x: 1.01 * gelu_backward(u, x), np.full((2, 1), x), seed=seed).ok


def test_the_derivative_of_a_constant_must_be_0():
    for factor, verdict in ((0, 'ok'), (1e-3, 'wrong')):
        assert verdicts(check_map(lambda x: 0 * x + 3, lambda u, x: factor * u, X)) == {'x': verdict}


@pytest.mark.parametrize('shape', [(1000, 1000), (300, 7)])
def test_a_million_units_of_which_some_are_near_a_kink_are_judged_by_the_others(shape):
    x = np.random.default_rng(1).standard_normal(shape)
    x[::3] = 0  # and many exactly on it

    def backward(u, x):
        return u * np.where(x > 0, 1, 0.2)

    before = x.copy()
    row, = check(lambda: np.maximum(x, 0.2 * x), lambda u: {'x': backward(u, x)}, {'x': x}, directions=2)
    assert row.verdict == 'ok' and row.expected and np.array_equal(x, before)
    x[0, 0] = 0.5
    row, = check(lambda: np.maximum(x, 0.2 * x), lambda u: {'x': u * np.where(x > 0, 0.2, 1)}, {'x': x}, directions=2)
    assert row.verdict == 'wrong'


@pytest.mark.parametrize('f, domain', [(np.log, 'positive'), (np.sqrt, 'positive'), (np.arctanh, 'below 1')])
def test_steps_that_leave_the_domain_do_not_count(f, domain):
    x = np.array([[1e-9, 1.0], [0.9999, 2e-8]]) if domain == 'below 1' else np.array([[1e-9, 1.0], [3, 2e-8]])
    x = np.minimum(x, 1 - 1e-6) if domain == 'below 1' else x
    slope = {np.log: lambda x: 1 / x, np.sqrt: lambda x: 0.5 / np.sqrt(x), np.arctanh: lambda x: 1 / (1 - x**2)}[f]
    assert check_map(f, lambda u, x: u * slope(x), x).ok
    assert not check_map(f, lambda u, x: 1.01 * u * slope(x), x).ok


def test_numbers_that_are_not_finite_are_named():
    row, = check_map(lambda x: np.where(x == X[2, 1], np.nan, x), lambda u, x: u, X)
    assert (row.verdict, row.name, row.why) == ('wrong', 'y', 'forward: expected finite numbers, got nan at [2, 1]')
    row, = check_map(lambda x: np.where(x == X[0, 3], np.inf, x), lambda u, x: u, X)
    assert row.why == 'forward: expected finite numbers, got inf at [0, 3]'

    def backward(u, x):
        u[1, 2] = -np.inf
        return u

    row, = check_map(np.copy, lambda u, x: backward(u.copy(), x), X)
    assert row.verdict == 'wrong' and row.why == '-inf at [1, 2]'
    said = r'inputs: expected x as a writable float64 array of finite numbers, got nan at \[0, 0\]'
    with pytest.raises(ValueError, match=said):
        check_map(np.copy, lambda u, x: u, [[np.nan]])


def test_one_wrong_entry_among_many_is_found():
    x = np.random.default_rng(1).standard_normal((100, 300))

    def backward(u):
        dx = u * np.cos(x)
        dx[71, 123] += 5
        return {'x': dx}

    row, = check(lambda: np.sin(x), backward, {'x': x})
    found = re.fullmatch(r'worst: \[71, 123\] expected (\S+), got (\S+)', row.why)
    assert found and abs(float(found[2]) - float(found[1]) - 5) < 1e-4


@pytest.mark.parametrize('factor, said', [(0.5, '0.5'), (-1, '-1'), (6, '6'), (0, '0'), (1 / 6, '0.16667')])
def test_a_forgotten_factor_is_pointed_out(factor, said):
    row, = check_map(np.sin, lambda u, x: factor * u * np.cos(x), X)
    assert row.verdict == 'wrong' and row.why.startswith(f'got / expected is {said} in every direction; worst: [')
    row, = check_map(np.sin, lambda u, x: u * np.cos(x) * [1, 1, 1, factor], X)
    assert row.verdict == 'wrong' and row.why.startswith('worst: [') and ', 3] expected' in row.why


def test_a_derivative_of_a_different_shape_or_dtype_is_wrong():
    row, = check_map(lambda x: 2 * x, lambda u, x: None, X)
    assert row.why == 'expected a derivative of shape (6, 4), got None'
    row, = report = check_map(lambda x: 2 * x, lambda u, x: 2 * u.T, X)
    assert not report.ok and (row.name, row.verdict, row.error) == ('x', 'wrong', np.inf)
    assert np.isnan(row.expected) and np.isnan(row.got)
    assert row.why == 'expected a derivative of shape (6, 4), got (4, 6)'
    row, = check_map(lambda x: 2 * x, lambda u, x: (2 * u).astype(np.float32), X)
    assert row.why == 'expected a derivative of dtype float64, got float32'


def test_what_is_missing_in_the_call_is_named():
    x = X.copy()
    for inputs, backward, message in (
            ({'x': x}, lambda u: {'y': u}, r"backward: expected a dict with the derivatives of \['x'\], got \['y'\]"),
            ({'x': x}, lambda u: u, r"backward: expected a dict with the derivatives of \['x'\], got ndarray"),
            ({'x': x}, lambda: {'x': x}, r'backward\(u\): expected a function to be called like this, got one with the '
                                         r'signature \(\): too many'),
            ({'x': x.astype(np.float32)}, lambda u: {'x': u}, 'expected x as a writable .* got dtype float32'),
            ({'x': 1.0}, lambda u: {'x': u}, 'expected x as a .* got float'),
            (x, lambda u: {'x': u}, r"inputs: expected a dict such as {'x': x}, got ndarray")):
        with pytest.raises(ValueError, match=message):
            check(lambda: x, backward, inputs)
    with pytest.raises(ValueError, match=r'forward\(\): expected .* got one with the signature \(x\): missing'):
        check(lambda x: x, lambda u: {'x': u}, {'x': x})
    frozen = X.copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match='expected x as a writable .* got a read-only one'):
        check(lambda: frozen, lambda u: {'x': u}, {'x': frozen})


def test_what_is_changed_in_place_is_named_with_its_place():
    x = X.copy()

    def doubles(a, result):
        a[1, 2] *= 2
        return result

    with pytest.raises(ValueError, match=r'forward changes x in place: \[1, 2\] was \S+, is \S+'):
        check(lambda: doubles(x, np.ones(1)), lambda u: {'x': x}, {'x': x})
    with pytest.raises(ValueError, match=r'backward changes dy in place: \[1, 2\] was'):
        check_map(lambda x: 2 * x, lambda u, x: doubles(u, u), X)
    with pytest.raises(ValueError, match=r'backward changes x in place: \[1, 2\] was'):
        check_map(lambda x: 2 * x, lambda u, x: doubles(x, u), X)


def test_y_must_be_float64_and_the_same_each_time():
    with pytest.raises(ValueError, match='forward: expected y of dtype float64, got ndarray of dtype float32'):
        check_map(lambda x: x.astype(np.float32), lambda u, x: u, X)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match='expected the same y at the same point, got a different one'):
        check_map(lambda x: x + rng.random(), lambda u, x: u, X)


def test_options():
    for step in (1e-3, 1e-5):
        assert check_map(np.sin, lambda u, x: u * np.cos(x), X, step=step).ok
    assert not check_map(lambda x: np.sin(1e3 * x), lambda u, x: 1e3 * u * np.cos(1e3 * x), X, step=0.1).ok
    slightly = (np.sin, lambda u, x: (1 + 1e-5) * u * np.cos(x), X)
    assert not check_map(*slightly).ok and check_map(*slightly, tolerance=1e-4).ok
    calls = []
    for directions in (1, 3):
        calls.append(0)

        def backward(u, x):
            calls[-1] += 1
            return u * np.cos(x)

        check_map(np.sin, backward, X, directions=directions)
    assert calls == [1, 3]


@pytest.mark.parametrize('options', [{'directions': 0}, {'directions': 2.5}, {'tolerance': -1}, {'step': 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match='expected directions = 1, 2, ..., tolerance > 0 and step > 0 or None, got'):
        check_map(np.sin, lambda u, x: u * np.cos(x), X, **options)


def test_a_loss_is_a_number_without_axes():
    x = X.copy()
    assert check(lambda: np.square(x).mean(), lambda u: {'x': 2 * u * x / x.size}, {'x': x}).ok
    row, = check(lambda: np.square(x).mean(), lambda u: {'x': 2 * u * x}, {'x': x})
    assert row.why.startswith('got / expected is 24 in every direction')
    assert check(lambda: np.square(x).mean(), lambda u: {'x': 2 * u * x / x.size}, {'x': x}, full=True).ok


def test_a_forward_that_reads_a_different_array_is_pointed_out():
    x = X.copy()
    row, = check(lambda: 2 * x, lambda u: {'x': 2 * u}, {'x': x.copy()})
    assert row.why.startswith('forward does not change with it: does it read this very array?')


def test_the_full_jacobian_names_output_and_input():
    x, W = X[:2].copy(), X[2:].copy()

    def backward(u, wrong=0):
        dx = u @ W.T
        dx[1, 2] += wrong * u[1, 3]
        return {'x': dx, 'W': x.T @ u}

    W = np.random.default_rng(3).standard_normal((4, 4))
    report = check(lambda: x @ W, backward, {'x': x, 'W': W}, full=True)
    assert report.ok and [row.name for row in report] == ['x', 'W']
    report = check(lambda: x @ W, lambda u: backward(u, 1), {'x': x, 'W': W}, full=True)
    assert verdicts(report) == {'x': 'wrong', 'W': 'ok'}
    found = re.search(r'worst: y\[1, 3\] by \[1, 2\] expected (\S+), got (\S+)', report[0].why)
    assert found and float(found[1]) == pytest.approx(W[2, 3], rel=1e-5)
    assert float(found[2]) == pytest.approx(W[2, 3] + 1, rel=1e-5)
    with pytest.raises(ValueError, match=f'full: expected a Jacobian of at most {LARGEST} entries, got 14400'):
        check_map(np.sin, lambda u, x: u, np.ones((30, 4)), full=True)


def test_the_same_seed_gives_the_same_check_and_a_different_seed_does_not():
    reports = [check_map(np.sin, lambda u, x: u * np.cos(x), X, **settings)
               for settings in ({}, {'seed': 0}, {'seed': 1})]
    assert reports[0] == reports[1] and reports[0] != reports[2]


def test_a_row_does_not_depend_on_the_others():
    x, w = X.copy(), X + 1
    right, wrong = (check(lambda: x * w, lambda u: {'x': factor * u * w, 'w': u * x}, {'x': x, 'w': w})
                    for factor in (1, 2))
    assert right[1] == wrong[1] and right[0] != wrong[0]


def test_a_point_on_a_kink_is_left_and_judged_next_to_it():
    x = np.zeros((20, 10))
    assert check(lambda: abs(x), lambda u: {'x': u * np.where(x > 0, 1, -1)}, {'x': x}).ok
    assert (x != 0).all() and abs(x).max() < 0.01 and x.min() < 0 < x.max()
    for total in (0.0, 1e-6, 1e6):
        x = np.array([[total, -total, 0.0], [3 * total, 0.0, 0.0]])
        args = (lambda: abs(x).sum(keepdims=True), {'x': x})  # one output: no other can be judged instead
        assert check(args[0], lambda u: {'x': u * np.where(x > 0, 1, -1)}, args[1]).ok
        assert not check(args[0], lambda u: {'x': u * np.where(x > 0, 1, -1.01)}, args[1]).ok


def test_next_to_a_kink_two_points_are_judged():
    """At one of them, an error may make no difference: here, where all entries lie on one side."""
    for seed in range(30):
        x, seen = np.zeros((2, 1)), set()

        def backward(u):
            seen.add(x.tobytes())
            return {'x': u * np.where(x > 0, 1, -1.5)}

        check(lambda: abs(x).sum(keepdims=True), backward, {'x': x}, seed=seed)
        assert len(seen) == 3
    x = np.ones((2, 1))
    assert check(lambda: abs(x), lambda u: {'x': u * np.where(x > 0, 1, -1.5)}, {'x': x}).ok and (x == 1).all()


@given(seed=st.integers(0, 2**32 - 1))
def test_kinks_within_the_step_on_both_sides_do_not_pass_for_a_slope(seed):
    """Their bends cancel in a sum, their effects on a long difference do not."""
    near = 3e-7
    x = np.zeros((1, 1))

    def forward():
        return np.array([abs(x - near).sum() - abs(x + near).sum()])

    for inside, ok in ((-2.0, True), (0.0, False), (-1.0, False)):  # between the kinks the slope is -2
        x[...] = 0
        assert check(forward, lambda u: {'x': u * np.where(abs(x) < near, inside, 0)}, {'x': x}, seed=seed).ok == ok


def test_a_function_that_is_all_kinks_does_not_pass():
    assert not check_map(lambda x: np.where(np.round(x * 1e12) % 2, x, 0), lambda u, x: u, X).ok
    for steps in (10, 1e3, 1e5):  # a staircase has no slope, however fine it is
        for seed in range(10):
            assert not check_map(lambda x: np.round(x * steps), lambda u, x: steps * u, X, seed=seed).ok


def test_check_restores_the_arrays_that_it_moves():
    x, W = X.copy(), np.ones((4, 2))
    assert check(lambda: x @ W, lambda u: {'x': u @ W.T, 'W': x.T @ u}, {'x': x, 'W': W}).ok
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(W, 1)
    calls = []

    def fails_in_a_step():
        calls.append(0)
        if len(calls) > 3:
            raise ZeroDivisionError
        return 2 * x

    with pytest.raises(ZeroDivisionError):
        check(fails_in_a_step, lambda u: {'x': 2 * u}, {'x': x})
    np.testing.assert_array_equal(x, X)


def test_a_failed_report_shows_the_whole_table():
    report = check_map(np.sin, lambda u, x: 2 * u * np.cos(x), X)
    with pytest.raises(AssertionError) as error:
        report.assert_ok()
    assert str(report) in str(error.value) and 'got / expected is 2' in str(error.value)
    assert check_map(np.sin, lambda u, x: u * np.cos(x), X).assert_ok() is None
    header, line = str(report).splitlines()
    assert header.split() == ['expected', 'got', 'error'] and line.split()[0] == 'x'


def test_the_spread_of_a_column_has_fallbacks():
    np.testing.assert_allclose(spread(np.array([[1.0, 0, 5], [3, 0, 5]])), [[1, 10**0.5, 5]] * 2)
    np.testing.assert_array_equal(spread(np.zeros((2, 3))), 1)
    np.testing.assert_array_equal(spread(np.array([[7.0, 2]])), [[7, 2]])
    assert spread(np.array(4.0)) == 4 and spread(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize('a, b, gap', [(1, 1, 0), (0, 0, 0), (1, -1, 2), (2, 1, 0.5), (0, 3, 1), (-4, -1, 0.75)])
def test_a_relative_gap(a, b, gap):
    assert relative(a, b) == relative(b, a) == gap


def test_the_step_that_settles_best_is_believed_and_no_chance_agreement_is():
    exact = {t: (1 + t**2 + 1e-13 / t, 1.0) for t in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)}
    t, doubt = settled(exact, 1e-6)
    assert t in (1e-4, 1e-5) and abs(exact[t][0] - 1) <= doubt < 1e-7
    chance = {1e-2: (2.0, 1), 1e-3: (2.0, 1), 1e-4: (1.0, 1), 1e-5: (5.0, 1)}  # the first two agree by chance
    assert settled(chance, 1e-9)[1] > 0.5 and settled(chance, 1)[1] > 0.05
    stairs = {1e-4: (1.0001, 1), 1e-5: (1.002, 1), 1e-6: (1.03, 1), 1e-7: (0.7, 1), 1e-8: (0.2, 1), 1e-9: (0.2, 1)}
    t, doubt = settled(stairs, 1e-6)  # rounding grows, until steps are too short to be seen at all
    assert t >= 1e-5 and abs(stairs[t][0] - 1) <= doubt < 0.1
    steep = {t: (1 / (t + 1e-8), 1e8) for t in (1e-2, 1e-4, 1e-6, 1e-8, 1e-9)}  # not settled yet
    t, doubt = settled(steep, 1e-6)
    assert doubt > abs(steep[t][0] - 1e8)
    bent = {1e-6: (100.0, 99.0), 1e-7: (99.1, 99.0), 1e-8: (99.091, 99.0), 1e-9: (99.0911, 99.0)}
    assert settled(bent, 1)[1] < 0.05


@pytest.mark.parametrize('radius, reached', [(1, (1e-4, 1e-2)), (1e-4, (1e-6, 1e-4)), (1e-6, (1e-8, 1e-6)),
                                             (0, (0, 0))])
def test_a_step_aside_stays_in_the_domain_of_forward(radius, reached):
    start = {'x': np.array([[2.0, -3.0], [0.0, 1.0]])}
    x = start['x'].copy()

    def forward():
        return np.where(abs(x - start['x']).max() <= radius, x, np.nan)

    derivatives._step_aside(forward, {'x': x}, start, Streams(0).at('check', 2))
    moved = abs(x - start['x'])
    assert reached[0] <= moved.max() <= reached[1] and (radius == 0 or (moved > 0).all())
    np.testing.assert_array_equal(np.sign(x[start['x'] != 0]), np.sign(start['x'][start['x'] != 0]))
    if radius == 1:
        z = Streams(0).at('check', 2).normal((2, 2), np.float64)
        np.testing.assert_allclose(x, start['x'] + 1e-3 * z * [[2, 3], [start['x'].std(axis=0)[0], 1]])


def test_the_full_jacobian_may_have_as_many_entries_as_stated():
    assert check_map(np.sin, lambda u, x: u * np.cos(x), np.ones((10, 10)), full=True).ok


def test_an_entry_of_zero_is_moved_by_its_columns_spread_in_a_full_jacobian():
    x = np.array([[0.0, 5.0], [3.0, 0.0]])
    assert check_map(np.sin, lambda u, x: u * np.cos(x), x, full=True).ok
    row, = check_map(np.sin, lambda u, x: u * np.where(x == 0, 2, np.cos(x)), x, full=True)
    assert row.verdict == 'wrong' and 'expected 1, got 2' in row.why


def test_places_are_written_as_in_python():
    assert place((2, 1)) == '[2, 1]' and place((np.int64(3),)) == '[3]' and place(()) == '[]'


def test_the_report_is_a_table_of_its_rows():
    x, W = X.copy(), np.ones((4, 2))
    report = check(lambda: x @ W, lambda u: {'x': u @ W.T, 'W': 2 * x.T @ u}, {'x': x, 'W': W})
    head, first, second = str(report).split('\n')
    assert head == f'{"":24} {"expected":>15} {"got":>15} {"error":>9}'
    row = report[0]
    assert first == f'{"x":24} {row.expected:15.8g} {row.got:15.8g} {row.error:9.1e}  ok'
    assert second.startswith(f'{"W":24} {report[1].expected:15.8g}') and second.endswith(f'  wrong ({report[1].why})')
    report[0] = replace(report[0], name=30 * 'n')
    assert str(report).split('\n')[0] == f'{"":30} {"expected":>15} {"got":>15} {"error":>9}'
    row, = check_map(np.copy, lambda u, x: None, X)
    assert str(row.line(24)) == f'{"x":24} {"":41}  wrong (expected a derivative of shape (6, 4), got None)'
    assert report.assert_ok.__self__ is report
    with pytest.raises(AssertionError) as error:
        report.assert_ok()
    assert str(error.value) == f'\n{report}'


def test_steps_longer_than_the_functions_scale_do_not_decide():
    """A row of zeros next to a row of millions, and a norm with a small eps: only steps of 1e-9 see its slope."""
    x, eps = np.array([[0.0, 0], [1e6, 2e6]]), 1e-5

    def norm():
        d = x - x.mean(axis=1, keepdims=True)
        rstd = 1 / np.sqrt((d * d).mean(axis=1, keepdims=True) + eps)
        return d * rstd, rstd

    def backward(u, factor=1.0):
        y, rstd = norm()
        return {'x': factor * rstd * (u - u.mean(axis=1, keepdims=True) - y * (u * y).mean(axis=1, keepdims=True))}

    for seed in range(20):
        assert check(lambda: norm()[0], backward, {'x': x}, seed=seed).ok
        assert not check(lambda: norm()[0], lambda u: backward(u, 1.01), {'x': x}, seed=seed).ok


def test_a_report_is_a_table_in_a_notebook_too():
    x = np.array([1.0, 2.0])
    report = check(lambda: x**2, lambda u: {'x<0>': 2 * u * x}, {'x<0>': x})
    assert repr(report) == str(report) and 'expected' in repr(report)
    html = report._repr_html_()
    assert html.startswith('<table><tr><td>') and html.count('<tr>') == html.count('</tr>') == 2
    assert '<td>x&lt;0&gt;</td>' in html and '<td>ok</td>' in html
    assert '<td>WRONG</td>' in check(lambda: x**2, lambda u: {'x': u * x}, {'x': x})._repr_html_()
