"""Batch norm's kernels with many rows, in chunks: correct at any number of rows, in any order of blocks, in many
blocks."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan import ops
from minigan.gpu import compare
from minigan.gpu.emulator import COMPILER
from minigan.gpu.kernelcheck import NO_COMPILER, emulated
from minigan.gpu.kernelset import own
from minigan.gpu.twins import chunks_of

needs_compiler = pytest.mark.skipif(COMPILER is None, reason=NO_COMPILER)
CASES = [case for case in compare.arguments(3, 1, 0) if case.startswith('batch_norm')]


@functools.cache
def built(fma=False):
    return emulated(own(), fma=fma)


def in_float64(value):
    if isinstance(value, tuple):
        return tuple(map(in_float64, value))
    return value.astype(np.float64) if isinstance(value, np.ndarray) else value


@needs_compiler
@pytest.mark.parametrize('case', CASES)
@given(m=st.integers(3, 400), n=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), order=st.integers(0, 9),
       fma=st.booleans())
@settings(max_examples=15)
def test_in_chunks_a_kernel_equals_its_specification(case, m, n, seed, order, fma):
    built(fma).module.seed = order
    row = compare.compare_twin(built(fma), case, m, n, seed)
    assert row.ok, f'{row}; {row.why} {order=} {fma=}'


@needs_compiler
@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('m, n', [(63, 33), (64, 33), (65, 33), (127, 2), (128, 2), (129, 2), (8192, 1), (8193, 1),
                                  (10_000, 32)])
@pytest.mark.parametrize('fma', [False, True])
def test_many_rows_are_as_accurate_as_few(case, m, n, fma):
    """Against float64: in float32, NumPy adds the rows one by one, and y is off by 2e-5 for 10,000 of mean 20.

    What is allowed for a sum is relative to the sum of its terms' magnitudes.
    """
    name, arguments = case.split(',')[0], compare.arguments(m, n, m)[case]
    allowed = compare.allowed(name)
    if name == 'batch_norm_leaky_relu_sums':
        (dy, gamma, beta, xhat), keywords = in_float64(arguments[0]), arguments[1]
        terms = ops.leaky_relu_backward(dy, gamma * xhat + beta, slope=keywords['slope']) * xhat
        allowed *= max(1, abs(terms).sum(axis=0).max() / abs(terms.sum(axis=0)).max())
    built(fma).module.seed = m % 4
    row = compare.compare(case, getattr(built(fma), name), compare.specifications()[name], arguments,
                          (in_float64(arguments[0]), arguments[1]), allowed, settings=f'{m=} {n=}')
    assert row.ok, f'{row}; {row.why}'


def of_case(case, m, n):
    """What a twin returns, and its arguments afterwards."""
    given, keywords = compare.arguments(m, n, 0)[case]
    return getattr(built(), case.split(',')[0])(*given, **keywords), given


@needs_compiler
@pytest.mark.parametrize('case', CASES)
def test_the_order_of_blocks_and_threads_changes_no_bit(case):
    built().module.seed = 0
    first = of_case(case, 1000, 33)
    for built().module.seed in (1, 2, 3):
        assert compare.difference(of_case(case, 1000, 33), first) == 0


@pytest.mark.parametrize('m', [2, 3, 63, 64, 65, 128, 129, 8191, 8192, 8193, 10_000, 50_176, 2**22 + 1])
def test_chunks_hold_every_row_and_are_never_too_many(m):
    rows, chunks = chunks_of(m)
    assert rows * (chunks - 1) < m <= rows * chunks and chunks <= 128 and (chunks == 1) == (m <= 64)


@needs_compiler
@pytest.mark.parametrize('m, n, launches, blocks', [(64, 512, 1, 16), (65, 512, 2, 32), (512, 512, 2, 128),
                                                    (10_000, 32, 2, 127)])
@pytest.mark.parametrize('case', ['batch_norm_leaky_relu_', 'batch_norm_leaky_relu_backward_'])
def test_many_rows_run_in_many_blocks_and_few_in_one_launch(monkeypatch, case, m, n, launches, blocks):
    launched = []
    monkeypatch.setattr(built(), 'functions', dict.fromkeys(
        built().functions, lambda grid, block, arguments: launched.append(np.prod(grid))))
    of_case(case, m, n)
    assert launched == launches * [blocks]
