"""products.cu without a GPU: products of any shape are those of float64 up to the rounding of float32 sums, and exact
where every sum is; parts of a split depth add up to the whole; planted bugs are caught."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_kernels import CODE, assert_ok, built, needs_compiler, needs_nvrtc

from minigan import ops
from minigan.gpu import fusion, kernelcheck, nvrtc, roofline, twins
from minigan.gpu.compare import arguments, exact, large_key
from minigan.gpu.emulator import CompileError
from minigan.gpu.kernelset import own
from minigan.gpu.launch import signatures
from minigan.gpu.nvrtc import ARCHITECTURES
from minigan.gpu.twins import BLOCKS, LEAST, PRODUCTS, WORTH, Kernels

UNIT = 2.0**-24  # half the distance from 1 to the next float32: the largest relative error of one operation
KERNEL = re.compile(r'^extern "C".*?^}\n', re.DOTALL | re.MULTILINE)
FUNCTIONS = 'dense', 'dense_backward_input', 'dense_backward_params_'
TILE = dict(re.findall(r'#define (TILE_\w+) (\d+)', CODE))
ROWS, COLUMNS, DEPTH = (int(TILE[f'TILE_{name}']) for name in ('ROWS', 'COLUMNS', 'DEPTH'))
SIZES = st.one_of(st.integers(1, 70), st.sampled_from([31, 32, 33, 63, 64, 65, 95, 96, 97, 127, 128, 129, 150, 200]))


def wrong(function, seed, *, m, n_in, n_out, draw, fma=False, order=0, splits=None):
    """How far a kernel is from float64, over what rounding may do: sums of `depth` products, in any order.

        |error| <= gamma sum |a b|,   gamma = n u / (1 - n u),   n = the additions and multiplications of a sum

    Higham 2002, Accuracy and stability of numerical algorithms, section 3.1.
    """
    rng, x64 = np.random.default_rng(seed), np.float64
    x, W, dy, b = (draw(rng, *shape) for shape in ((m, n_in), (n_in, n_out), (m, n_out), (n_out,)))
    kernels, found = built(CODE, fma), None
    kernels.module.seed = order
    with pytest.MonkeyPatch.context() as patch:
        if splits:
            patch.setattr(Kernels, '_splits', lambda *_: splits)
        if function == 'dense':
            depth, found = n_in, [(kernels.dense(x, W, b), (x, W), b)]
        elif function == 'dense_backward_input':
            depth, found = n_out, [(kernels.dense_backward_input(dy, W), (dy, W.T), 0)]
        else:
            depth, dW, db = m, np.full_like(W, np.nan), np.full_like(b, np.nan)
            kernels.dense_backward_params_(dy, x, dW, db)
            found = [(dW, (x.T, dy), 0), (db[None], (np.ones((1, m)), dy), 0)]
    n = (2 * depth + 20) * UNIT  # the parts, and the bias, add at most 20
    worst = 0
    for got, (left, right), bias in found:
        expected, size = x64(left) @ x64(right) + bias, abs(x64(left)) @ abs(x64(right)) + abs(bias)
        assert got.shape == expected.shape and np.isfinite(got).all()
        worst = max(worst, (abs(got - expected) / (n / (1 - n) * size + 1e-300)).max())
    return worst


def real(rng, *shape):
    return rng.standard_normal(shape, np.float32)


@needs_compiler
@pytest.mark.parametrize('function', FUNCTIONS)
@given(m=SIZES, n_in=SIZES, n_out=SIZES, seed=st.integers(0, 2**32 - 1), order=st.integers(0, 9), fma=st.booleans())
@settings(max_examples=15)
@example(m=1, n_in=1, n_out=1, seed=0, order=0, fma=False)
@example(m=ROWS, n_in=COLUMNS, n_out=COLUMNS, seed=0, order=1, fma=True)
@example(m=50, n_in=300, n_out=65, seed=0, order=2, fma=False)
@example(m=300, n_in=5, n_out=300, seed=0, order=3, fma=False)
def test_a_product_of_any_shape_is_that_of_float64_up_to_rounding(function, m, n_in, n_out, seed, order, fma):
    settings = {'m': m, 'n_in': n_in, 'n_out': n_out, 'order': order, 'fma': fma}
    assert wrong(function, seed, draw=real, **settings) <= 1
    assert wrong(function, seed, draw=exact, **settings) == 0


@needs_compiler
@pytest.mark.parametrize('n_in, n_out', [(9, 5), (40, 1)])
@pytest.mark.parametrize('function', FUNCTIONS)
def test_ten_thousand_rows_and_a_few_columns(function, n_in, n_out):
    for draw, most in ((real, 1), (exact, 0)):
        assert wrong(function, 0, m=10_000, n_in=n_in, n_out=n_out, draw=draw) <= most


@needs_compiler
@pytest.mark.parametrize('splits', [1, 2, 3, 7])
@pytest.mark.parametrize('function', FUNCTIONS)
def test_in_however_many_parts_the_depth_is_split_the_product_is_the_same(function, splits):
    """Seven tiles deep, the last of them not full."""
    deep = {'dense': 'n_in', 'dense_backward_input': 'n_out', 'dense_backward_params_': 'm'}[function]
    shape = {'m': 33, 'n_in': 33, 'n_out': 65, deep: 7 * DEPTH - 5}
    assert wrong(function, 1, draw=real, splits=splits, **shape) <= 1
    assert wrong(function, 1, draw=exact, splits=splits, **shape) == 0


@needs_compiler
@pytest.mark.parametrize('rate', [0, 0.4])
def test_one_launch_or_two_give_the_same_group(rate, monkeypatch):
    rng = np.random.default_rng(0)
    x, W, b = exact(rng, 40, 70), exact(rng, 70, 66), exact(rng, 66)
    found = []
    for splits in (1, 3):
        monkeypatch.setattr(Kernels, '_splits', lambda *_, splits=splits: splits)
        kernels = built(CODE)
        kernels._launched.clear()
        found.append((*kernels.dense_leaky_relu_dropout(x, W, b, large_key(0), slope=0.2, rate=rate),
                      kernels.dense_tanh(x / 16, W, b / 16)))
        assert ('bias_tanh' in kernels._launched) == ('dense_tanh' not in kernels._launched) == (splits > 1)
    for one, other in zip(*found):
        np.testing.assert_array_equal(one, other)


@given(rows=st.integers(1, 2000), columns=st.integers(1, 2000), depth=st.integers(0, 20_000))
def test_no_part_is_empty_and_all_of_the_depth_is_in_one(rows, columns, depth):
    kernels = Kernels.__new__(Kernels)
    kernels.defined = {name: int(number) for name, number in TILE.items()}
    splits, tiles = kernels._splits(rows, columns, depth), -(-depth // DEPTH)
    each = -(-tiles // splits)
    assert splits == 1 or (splits - 1) * each < tiles <= splits * each
    assert splits == 1 or each >= LEAST and tiles - each >= WORTH and splits * -(-rows // ROWS) * -(
        -columns // COLUMNS) < 3 * BLOCKS


@needs_compiler
def test_an_empty_minibatch_gives_empty_outputs_and_gradients_of_0():
    x, W, b, dy = (np.ones(shape, np.float32) for shape in ((0, 3), (3, 2), 2, (0, 2)))
    dW, db = np.full_like(W, np.nan), np.full_like(b, np.nan)
    kernels = built(CODE)
    assert kernels.dense(x, W, b).shape == kernels.dense_tanh(x, W, b).shape == (0, 2)
    assert kernels.dense_backward_input(dy, W).shape == (0, 3)
    kernels.dense_backward_params_(dy, x, dW, db)
    assert not dW.any() and not db.any()


@needs_compiler
def test_sizes_that_do_not_fit_are_refused():
    x, W, b = np.ones((4, 6), np.float32), np.ones((5, 3), np.float32), np.ones(3, np.float32)
    for run in (lambda kernels: kernels.dense(x, W, b), lambda kernels: kernels.dense_tanh(x, W, b)):
        with pytest.raises(ValueError, match='expected x with m n_in = 20 elements, got 24'):
            run(built(CODE))


@needs_compiler
@pytest.mark.parametrize('splits', [1, 2])
def test_steps_that_have_elapsed_count(splits, monkeypatch):
    """As those of a graph that is replayed."""
    monkeypatch.setattr(Kernels, '_splits', lambda *_: splits)
    rng = np.random.default_rng(0)
    x, W, b, kernels, found = exact(rng, 9, 70), exact(rng, 70, 5), exact(rng, 5), built(CODE), []
    for elapsed, step in ((None, 2**40 + 3), (np.uint64([3]), 2**40)):
        monkeypatch.setattr(Kernels, 'elapsed', elapsed)
        key = large_key(1)
        key.step = step
        found.append(kernels.dense_leaky_relu_dropout(x, W, b, key, slope=0.2, rate=0.5))
    np.testing.assert_array_equal(*(s for _, s in found))


@pytest.mark.parametrize('products', PRODUCTS)
def test_products_may_be_cublass(products, cupy, driver, monkeypatch):
    monkeypatch.setattr(Kernels, 'products', products)
    given = [arguments(40, 300, 0, xp)[name] for xp in (np, cupy) for name in (
        'dense', 'dense_backward_input', 'dense_backward_params_', 'dense_leaky_relu_dropout', 'dense_tanh')]
    driver.clear()
    for name, (ours, keywords), (theirs, theirs_keywords) in zip(
            ('dense', 'dense_backward_input', 'dense_backward_params_', 'dense_leaky_relu_dropout', 'dense_tanh'),
            given[:5], given[5:]):
        function = getattr(ops, name, None) or getattr(fusion, name)
        theirs = [cupy.asarray(one) if isinstance(one, np.ndarray) else one for one in theirs]
        expected, got = function(*ours, **keywords), function(*theirs, **theirs_keywords)
        pairs = [*zip(theirs, ours), *(zip(got, expected) if isinstance(got, tuple) else [(got, expected)])]
        for one, other in pairs:
            if isinstance(other, np.ndarray):
                np.testing.assert_allclose(one.get(), other, rtol=1e-6)
    assert driver.counts['products'] == (5 if products == 'cublas' else 0) and twins.compiled(cupy).products == products


# What is planted: (the kernels that are built, text, replacement).
ALL, INPUT, PARAMS = ((name, 'sum_parts') for name in FUNCTIONS)
GROUP, END = ('dense_leaky_relu_dropout',), ('bias_leaky_relu_dropout',)
BUGS = {
    'a line too many is loaded': (ALL, 'first + line(i) < lines', 'first + line(i) <= lines'),
    'a line too few is loaded': (ALL, 'first + line(i) < lines', 'first + line(i) + 1 < lines'),
    'a number too many of the depth': (ALL, 'begin + along(i) < end', 'begin + along(i) <= end'),
    'a number too few of the depth': (ALL, 'begin + along(i) < end', 'begin + along(i) + 1 < end'),
    'ones beyond the matrix': (ALL, ': 0.0f;', ': 1.0f;'),
    'the wrong end of the last tile': (ALL, 'end = min(depth, begin + each)', 'end = begin + each'),
    'a last tile that is not full is left out': (ALL, '((depth + TILE_DEPTH - 1) /', '(depth /'),
    'parts that overlap': (ALL, 'begin = split * each,', 'begin = split * (each - TILE_DEPTH),'),
    'a gap between parts': (ALL, 'min(depth, begin + each)', 'min(depth, begin + each - TILE_DEPTH * (splits > 1))'),
    'every part is the first': (ALL, 'begin = split * each,', 'begin = 0 * each,'),
    'rows of the next tile': (ALL, 'blockIdx.x * TILE_ROWS,', 'blockIdx.x * (TILE_ROWS + 1),'),
    'columns of the next tile': (ALL, '% across * TILE_COLUMNS', '% across * (TILE_COLUMNS - 1)'),
    'the next tile is used too early': (ALL, 'multiply(tiles.a[now], tiles', 'multiply(tiles.a[1 - now], tiles'),
    'the next tile lies in the other buffer': (ALL, 'of_a.store(tiles.a[1 - now])', 'of_a.store(tiles.a[now])'),
    'the buffers are never swapped': (ALL, 'now = 1 - now)', 'now = now)'),
    'a tile is skipped': (ALL, 'of_b.load(k + TILE_DEPTH, end)', 'of_b.load(k + 2 * TILE_DEPTH, end)'),
    'the last number of a tile is not multiplied': (ALL, 'k < TILE_DEPTH; ++k', 'k < TILE_DEPTH - 1; ++k'),
    'a block of registers transposed': (ALL, 'p[i / 4] * q[i % 4]', 'p[i % 4] * q[i / 4]'),
    'sums are left transposed': (ALL, 'tiles.b[0][row + i / 4][column + i % 4]',
                                 'tiles.b[0][row + i % 4][column + i / 4]'),
    'two warps share their columns': (ALL, 't / 32 % 2 * 32 +', 't / 32 % 2 * 16 +'),
    'the first barrier removed': (ALL, '__syncthreads();\n    for (int k', 'for (int k'),
    'the barrier of each tile removed': (ALL, '        __syncthreads();\n    }\n    if (sums_b',
                                         '    }\n    if (sums_b'),
    'the barrier before the sums are read removed': (ALL, '__syncthreads();\n    #pragma unroll 4', ''),
    'rows beyond the last are written': (ALL, 'if (r < rows && c < columns)', 'if (c < columns)'),
    'columns beyond the last are written': (ALL, 'if (r < rows && c < columns)', 'if (r < rows)'),
    'the place within the tile': (ALL, '(split * rows + r) * columns + c, c,', 'i, c,'),
    'all parts in one place': (ALL, 'use((split * rows + r)', 'use((0 * rows + r)'),
    'the bias of a different column': (ALL, 'sum + b[column] : sum', 'sum + b[i / n_out] : sum'),
    'the bias of no pointer': (ALL, 'y[i] = b ? sum + b[column] : sum;', 'y[i] = sum + b[column];'),
    'the bias in each part': (ALL, 'b ? sum + b[column_of', 'b ? sum + splits * b[column_of'),
    'the first part is added twice': (ALL, 'int split = 1; split < splits', 'int split = 0; split < splits'),
    'the second part is left out': (ALL, 'int split = 1; split < splits', 'int split = 2; split < splits'),
    'the last part is left out': (ALL, 'int split = 1; split < splits', 'int split = 1; split < splits - 1'),
    'W not transposed': (INPUT, 'product<true, true>', 'product<true, false>'),
    'n_in and n_out swapped': (INPUT, 'dy, W, m, n_in, n_out', 'dy, W, m, n_out, n_in'),
    'x and dy swapped': (PARAMS, 'x, dy, n_in, n_out', 'dy, x, n_in, n_out'),
    'db of the other buffer': (PARAMS, 'tiles.b[now][i][t]', 'tiles.b[1 - now][i][t]'),
    'db of every row of tiles': (PARAMS, 'sum_b && blockIdx.x == 0', 'sum_b'),
    'db of no row of tiles': (PARAMS, 'blockIdx.x == 0', 'blockIdx.x == 1'),
    'db of half a tile': (PARAMS, 't < TILE_COLUMNS;', 't < TILE_COLUMNS / 2;'),
    'db beyond the last column': (PARAMS, 'first_column + t < columns) sum_b', '1) sum_b'),
    'db of no pointer': (PARAMS, 'sum_b && blockIdx', 'blockIdx'),
    'all parts of db in one place': (PARAMS, 'sum_b[split * columns + ', 'sum_b['),
    'the last number of a tile is not in db': (PARAMS, 'TILE_DEPTH; ++i) total', 'TILE_DEPTH - 1; ++i) total'),
    'dropout by the place in the tile': (GROUP, '(h, i, dropped', '(h, threadIdx.x, dropped'),
    'the right-hand slope at the kink': (GROUP, 'return h > 0', 'return h >= 0'),
    'the sign of the factor lost': (GROUP, 'mask : -mask', 'mask : mask'),
    'the sign of the other side': (GROUP, 'mask : -mask', '-mask : mask'),
    'an output with the sign of its factor': (GROUP, '* fabsf(s[i])', '* s[i]'),
    'the slope forgotten': (GROUP, 'fmaxf(h, slope * h)', 'h'),
    'a factor of 0 where nothing is dropped': (GROUP, ': 1.0f;\n    return h', ': 0.0f;\n    return h'),
    'one unit too many is dropped': (GROUP, '>= dropped', '> dropped'),
    'the mask not scaled': (GROUP, '? scale : 0.0f', '? 1.0f : 0.0f'),
    'the bits of the next block': (GROUP, 'philox(i / 16 + 1,', 'philox(i / 16 + 2,'),
    'the number of the draw forgotten': (GROUP, 'i / 16 + 1, draw', 'i / 16 + 1, 0'),
    'the output in place of its factor': (END, 'y[i] = fmaxf', 's[i] = y[i] = fmaxf'),
    'an index in 16 bits': (END, 'm * n, i) + b[column_of(i, n)];', 'm * n, i & 0xFFFF) + b[column_of(i, n)];'),
    'an input is written': (END, 'y[i] = fmaxf', '((float*)parts)[i] = y[i] = fmaxf'),
}


def check(code, kept):
    """The first of the kernels that are kept, with every case, as kernelcheck does; raises where it is not correct."""
    code = KERNEL.sub(lambda found: found[0] if set(signatures(found[0])) & set(kept) else '', code)
    kernels, name = replace(own(), code=code), kept[0]
    cases = [case for case in kernels.arguments(2, 2, 0) if case.split(',')[0] == name]
    for row_of, where in kernelcheck.comparisons(kernels, cases):
        if name in built(CODE).functions and not needs_split(name, where):
            assert_ok(row_of(), where=where)


def needs_split(name, where):
    """Whether a group needs kernels at that shape which are not built for its bugs."""
    return name == 'dense_leaky_relu_dropout' and not where.startswith(('9 x 33', '32 x 64', '300 x 2', '1537 x 1'))


@needs_compiler
@pytest.mark.parametrize('kept', [ALL, INPUT, PARAMS, GROUP, END])
def test_the_source_as_it_stands_passes_what_the_bugs_must_fail(kept):
    check(CODE, kept)


@needs_compiler
@pytest.mark.parametrize('bug', BUGS)
def test_a_planted_bug_is_caught(bug):
    kept, text, replacement = BUGS[bug]
    assert text in CODE
    with pytest.raises((AssertionError, RuntimeError)):
        check(CODE.replace(text, replacement), kept)


@needs_compiler
@pytest.mark.parametrize('text, replacement, why', [
    ('float sum = 0.0f + parts[i];', 'float sum;', 'uninitialized'),
    ('held[i] = inside', 'hold[i] = inside', 'products.cu:'),
    ('// Adds the product', 'atomicAdd // Adds', r'^products\.cu:\d+: atomicAdd: the check on a CPU has no atomics')])
def test_what_does_not_compile_is_said_with_its_file(text, replacement, why):
    with pytest.raises(CompileError, match=why):
        built(CODE.replace(text, replacement))


@needs_compiler
def test_a_barrier_that_some_threads_miss_is_named_with_its_file():
    text = '__syncthreads();\n    #pragma unroll 4'
    line = 1 + CODE.split('#line 1 "products.cu"\n')[1].split(text)[0].count('\n')
    kernels = built(CODE.replace(text, f'if (t < 99) {text}'))
    with pytest.raises(RuntimeError, match=rf'a barrier is not reached by .* \(line {line} of products.cu\)$'):
        kernels.dense(*arguments(9, 33, 0)['dense'][0])


@needs_nvrtc
def test_shared_memory_is_read_four_numbers_at_a_time():
    """ld.shared.v4: four times as many instructions would take longer than the multiplications."""
    code = KERNEL.sub(lambda found: found[0] if set(signatures(found[0])) & set(FUNCTIONS) else '', CODE)
    found = nvrtc.ptx(nvrtc.library(), code, 'sm_90')
    assert {name: text.count('ld.shared.v4.f32') for name, text in found.items()} == dict.fromkeys(FUNCTIONS, 2 * DEPTH)


@needs_nvrtc
@pytest.mark.parametrize('architecture', [ARCHITECTURES[0], ARCHITECTURES[-1]])  # with the least room; most registers
def test_at_least_two_blocks_of_a_product_fit_on_a_multiprocessor(architecture):
    code = KERNEL.sub(lambda found: found[0] if set(signatures(found[0])) & set(FUNCTIONS) else '', CODE)
    for registers, shared, spilled in nvrtc.resources(nvrtc.library(), code, architecture).values():
        assert roofline.fitting(architecture, registers, shared, block=128) >= 2 and not spilled
