"""kernels.cu without a GPU: NVIDIA's compiler accepts it for every architecture; on a CPU, every kernel equals its
specification in four orders of threads and more; planted bugs are caught."""

import functools
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minigan import backend, ops
from minigan.backend import eligible, twin
from minigan.gpu import nvrtc
from minigan.gpu.compare import DRAWS, arguments, compare_draws, compare_twin, large_key
from minigan.gpu.emulator import COMPILER, CompileError
from minigan.gpu.kernelcheck import NO_COMPILER, NO_NVRTC, comparisons, compiled, emulated
from minigan.gpu.kernelset import own
from minigan.gpu.launch import check_size, signatures
from minigan.gpu.nvrtc import ARCHITECTURES
from minigan.gpu.roofline import RESOURCES
from minigan.gpu.twins import Kernels, code

CODE = code()
NVRTC = nvrtc.library()
needs_nvrtc = pytest.mark.skipif(NVRTC is None, reason=NO_NVRTC)
needs_compiler = pytest.mark.skipif(COMPILER is None, reason=NO_COMPILER)
CASES = list(arguments(2, 2, 0))


@functools.cache
def built(code, fma=False):
    return emulated(replace(own(), code=code), fma=fma)


def assert_ok(row, **settings):
    assert row.ok, f'{row}; {row.why} {" ".join(f"{name}={value}" for name, value in settings.items())}'


@needs_compiler
@pytest.mark.parametrize('name', CASES)
@given(m=st.integers(3, 40), n=st.integers(1, 70), seed=st.integers(0, 2**32 - 1), order=st.integers(0, 9),
       block=st.sampled_from([32, 96, 256, 1024]), fma=st.booleans())
@settings(max_examples=20)
@example(m=90, n=784, seed=0, order=0, block=256, fma=True)
def test_a_kernel_equals_its_specification(name, m, n, seed, order, block, fma):
    """m >= 3: for two rows, batch norm's dx is all cancellation, in NumPy too."""
    twins = built(CODE, fma)
    twins.module.seed, twins.block = order, block
    assert_ok(compare_twin(twins, name, m, n, seed), order=order, block=block, fma=fma)


@needs_compiler
@pytest.mark.parametrize('name', DRAWS)
@given(size=st.integers(1, 3000), order=st.integers(0, 9), block=st.sampled_from([32, 96, 256, 1024]))
@settings(max_examples=15)
@example(size=70_000, order=0, block=256)
def test_random_numbers_are_those_of_the_cpu(name, size, order, block):
    built(CODE).module.seed, built(CODE).block = order, block
    assert_ok(compare_draws(built(CODE), name, size), order=order, block=block)


def check_all(code):
    """Every kernel in every order at a few awkward shapes; raises at the first that is not correct.

    Kernels that nothing has changed for are left out: a compiler takes seconds.
    """
    kernels = replace(own(), code=changed(code))
    there = signatures(kernels.code)
    cases = [case for case in kernels.arguments(2, 2, 0) if case.split(',')[0] in there]
    for row_of, where in comparisons(kernels, cases):
        assert_ok(row_of(), where=where)


PIECE = re.compile(r'^(extern "C"|__device__).*?\b(?!__)(\w+)\(([^\n]*}\n|.*?^}\n)',  # which kind, name
                   re.DOTALL | re.MULTILINE)
TOGETHER = ({'square_sums', 'clip_norm_', 'euclidean_norm'}, {'batch_norm_moments', 'batch_norm_leaky_relu_'},
            {'batch_norm_leaky_relu_sums', 'batch_norm_leaky_relu_backward_'})  # launched by one twin


def changed(code):
    """The source without the kernels that are as in CODE, call no function that is not, and are launched with none
    that does; the whole source if anything but kernels and functions differs, or nothing."""
    if PIECE.sub('', code) != PIECE.sub('', CODE) or code == CODE:
        return code
    touched = set()
    for piece in PIECE.finditer(code):  # a function stands before its callers
        if piece[0] not in CODE or any(re.search(rf'\b{name}\(', piece[0]) for name in touched):
            touched.add(piece[2])
    touched = touched.union(*(pair for pair in TOGETHER if pair & touched))
    return PIECE.sub(lambda piece: piece[0] if piece[1] == '__device__' or piece[2] in touched else '', code)


BARRIERS = CODE.split('#line')[0].count('__syncthreads();')  # test_products.py removes those of products.cu


def without_barrier(number):
    pieces = CODE.split('__syncthreads();')
    return '__syncthreads();'.join(pieces[:number + 1]) + ';' + '__syncthreads();'.join(pieces[number + 1:])


BUGS = {  # what is planted: (text, replacement); the first place where the text stands
    'one element too many': ('if (i < m * n) y[i] = tanhf', 'if (i <= m * n) y[i] = tanhf'),
    'one element too few': ('if (i < m * n) y[i] = tanhf', 'if (i < m * n - 1) y[i] = tanhf'),
    'the bias of a different column': ('m * n, i) + b[column_of(i, n)]);', 'm * n, i) + b[row_of(i, n)]);'),
    'the right-hand slope at the kink, after batch norm': ('fmaxf(h > 0, slope)', 'fmaxf(h >= 0, slope)'),
    'tanh, not its derivative': ('dx[i] = dy[i] * (1 - y[i] * y[i]);', 'dx[i] = dy[i] * (1 - y[i]);'),
    'images and rows mixed up': ('rows[i / n] * n', 'rows[i % m] * n'),
    'pixels not shifted': (' * (float)(1 / 127.5) - 1.0f', ' * (float)(1 / 127.5)'),
    'the second part begins one too early': ('b[i - size_a]', 'b[i - size_a + 1]'),
    'the sigmoid of the other sign': ('(x[i] > 0 ? 1 : e) - target', '(x[i] > 0 ? e : 1) - target'),
    'the step in 32 bits': ('c = substep, d = step', 'c = substep, d = (unsigned)step'),
    'eps taken for granted': ('sqrtf(var + eps)', 'sqrtf(var + 1e-3f)'),
    'a variance that cancels': ('Column d = at(x, row * n + column) - mean;\n        sum += d * d;',
                                'Column d = at(x, row * n + column);\n        sum += d * d - mean * mean;'),
    'a tree for many numbers only': ('half > 0; half /= 2)', 'half > 0 && half < size; half /= 2)'),
    'the seed in 32 bits': ('a = high_c ^ b ^ seed', 'a = high_c ^ b ^ (unsigned)seed'),
    'a row in 16 bits': ('rows[i / n] * n', '(u16)rows[i / n] * n'),
    'a size of blocks taken for granted': ('* blockDim.x +', '* 256 +'),
    'a shared array too small': ('part[THREADS];', 'part[THREADS / 2];'),
    'a gradient that cancels': ('scale * ((1 - target) * (x[i] > 0 ? 1 : e) - target * (x[i] > 0 ? e : 1)) / (1 + e)',
                                'scale * (1 / (1 + expf(-x[i])) - target)'),
    'a target of 1 or 0 alone': ('- target * (x[i] > 0 ? e : 1)', '- (target > 0) * (x[i] > 0 ? e : 1)'),
    'the loss of the other target': ('target * fmaxf(-x[i], 0) +', '(1 - target) * fmaxf(-x[i], 0) +'),
    'a loss that cancels': ('log1pf(expf(-fabsf(x[i])))', 'logf(1 + expf(-fabsf(x[i])))'),
    'a loss that overflows': ('target * fmaxf(-x[i], 0) + (1 - target) * fmaxf(x[i], 0) + log1pf(expf(-fabsf(x[i])))',
                              'log1pf(expf(x[i])) - target * x[i]'),
    'the mean over the threads': ('part[0] / size', 'part[0] / THREADS'),
    'half of the tree is not added': ('int half = THREADS / 2', 'int half = THREADS / 4'),
    'a thread past the half adds too': ('if (threadIdx.x < half)', 'if (threadIdx.x <= half)'),
    'eps inside the root': ('(sqrtf(v[i]) + eps)', 'sqrtf(v[i] + eps)'),
    'first moment forgotten': ('if (m) g = m[i] = ', 'if (m) m[i] = '),
    'v without the square': ('g * g;', 'g;'),
    'nine rounds': ('round < 10', 'round < 9'),
    'blocks counted from 0': ('philox(block + 1, draw', 'philox(block, draw'),
    'keys swapped': ('a = high_c ^ b ^ seed', 'a = high_c ^ b ^ stream'),
    'high half first': ('(i % 2 * 32)', '((1 - i % 2) * 32)'),
    'the last bits of a block run over': ('i < 16 && 16 * block + i < size', 'i < 16'),
    'an odd last normal is written beyond the end': ('if (h + i < size) out', 'out'),
    'sine and cosine swapped': ('radius * cosf(angle)', 'radius * sinf(angle)'),
    'a lane missing from the sum': ('lane < LANES; ++lane) sum', 'lane < LANES - 1; ++lane) sum'),
    'a lane too many in the sum': ('lane < LANES; ++lane) sum', 'lane <= LANES; ++lane) sum'),
    'a lane never writes its part': ('part[threadIdx.y][threadIdx.x] = value;',
                                     'if (threadIdx.y) part[threadIdx.y][threadIdx.x] = value;'),
    'a return before the barrier': ('bool inside = column < n;',
                                    'bool inside = true;\n    if (column >= n) return {};'),
    'a barrier for some threads only': ('    __syncthreads();\n    float sum',
                                        '    if (threadIdx.y) __syncthreads();\n    float sum'),
    'columns beyond the last are read': ('inside && row < last; row += LANES) sum += at',
                                         'row < last; row += LANES) sum += at'),
    'columns beyond the last are written': ('    if (column >= n) return;\n', ''),
    'rows of a different lane': ('row += LANES) {\n        Column d', 'row += LANES + 1) {\n        Column d'),
    'a race: the sum in one shared place': ('    float sum = 0;\n    for (int lane',
                                            '    __shared__ float sum; sum = 0;\n    for (int lane'),
    'a loop that does not end': ('row += LANES) sum += at', 'row += LANES / 16) sum += at'),
    'unbiased variance': ('var = all.deviations / (float)m', 'var = all.deviations / (float)(m - 1)'),
    'the statistic and its average swapped': ('weight * (mu', '(1 - weight) * (mu'),
    'averages moved by every lane': ('if (blockIdx.y == 0 && threadIdx.y == 0) {\n        at(rstd',
                                     'if (blockIdx.y == 0) {\n        at(rstd'),
    'dx without its third term': (' - at(xhat, i) * (all.dh_xhat / (float)m)', ''),
    'dgamma and dbeta swapped': ('at(dgamma, column) = all.dh_xhat', 'at(dgamma, column) = all.dh'),
    'the slope of the wrong side': ('fmaxf(h > 0, slope)', 'fmaxf(h <= 0, slope)'),
    'beta forgotten where h is recomputed': ('at(gamma, column) * at(xhat, i) + at(beta, column), slope',
                                             'at(gamma, column) * at(xhat, i), slope'),
}
BUGS |= {  # in what a CUDA graph and the 2014 networks need
    'the clock stands still': ('if (threadIdx.x == 0) *elapsed += 1;', ''),
    'every thread advances the clock': ('if (threadIdx.x == 0) *elapsed += 1;', '*elapsed += 1;'),
    'the settings of the step before': ('u64 t = first + *elapsed + 1;', 'u64 t = first + *elapsed;'),
    'the number of the step in 32 bits': ('u64 t = first + *elapsed + 1;', 'u64 t = (unsigned)(first + *elapsed + 1);'),
    'settings past the end of their table': ('settings[t % length * width + i]', 'settings[t * width + i]'),
    'always the first settings': ('settings[t % length * width + i]', 'settings[i]'),
    'the minibatches of one step overlap': ('u64 j = t * k + i / m;', 'u64 j = t + i / m;'),
    'the order of the other epoch': ('orders[j / per_epoch % 2 * n', 'orders[(j / per_epoch + 1) % 2 * n'),
    'rows past the end of an order': ('j % per_epoch * m + i % m]', 'j * m + i % m]'),
    'the same rows in every minibatch of an epoch': ('j % per_epoch * m + i % m]', 'i % m]'),
    'one block of parts left out of a norm': ('part < count; part += THREADS', 'part < count - 1; part += THREADS'),
    'a norm without the last numbers': ('i < size; i += count * THREADS', 'i < size - 1; i += count * THREADS'),
    'a sum of squares in float': ('sum += (double)x[i] * x[i];', 'sum += x[i] * x[i];'),
    'the largest number without the last block': ('i < count; i += THREADS) {\n        sum += sums[i];',
                                                  'i < count - 1; i += THREADS) {\n        sum += sums[i];'),
    'an exponent that is rounded to 0': ('(int)floorf(2 * exponent / 3.0f)', '2 * exponent / 3'),
    'the largest, not the largest magnitude': ('fmaxf(most, fabsf(x[i]))', 'fmaxf(most, x[i])'),
    'short gradients are stretched': ('if (i < size && norm > limit)', 'if (i < size)'),
    'a gradient is divided by its norm': ('(float)(limit / norm)', '(float)(1 / norm)'),
    'the velocity before the update': ('theta[i] += velocity[i];', 'theta[i] += momentum * velocity[i];'),
    'noise of the wrong size': ('x[h + i] + sigma * pair.second', 'x[h + i] + pair.second'),
    'the shift is forgotten': ('(a * x[i] + b) * mask', 'a * x[i] * mask'),
    'the mask of the next unit': ('mask[i] = mask_at(i, dropped', 'mask[i] = mask_at(i + 1, dropped'),
    'a derivative without the scale': ('a * (dy[i] * mask[i])', 'dy[i] * mask[i]'),
    'a derivative without the mask': ('a * (dy[i] * mask[i])', 'a * dy[i]'),
    'a derivative with the mask of a different unit': ('a * (dy[i] * mask[i])', 'a * (dy[i] * mask[size - 1 - i])'),
    'one piece is left out': ('piece = 1; piece < pieces; ++piece) largest = larger(largest, group',
                              'piece = 2; piece < pieces; ++piece) largest = larger(largest, group'),
    'equals do not share': ('dy[i] * mask[i] / count', 'dy[i] * mask[i]'),
    'the largest unit takes all, mask or not': ('dy[i] * mask[i] / count', 'dy[i] / count'),
    'the pieces of a different group': ('int start = row_of(i, n) * pieces * n + column_of(i, n)',
                                        'int start = row_of(i, n) * n + column_of(i, n) * pieces'),
    'a sigmoid that overflows': ('expf(fminf(x[i], 0)) / (1 + expf(-fabsf(x[i])))', 'expf(x[i]) / (1 + expf(x[i]))'),
    'half of a derivative': ('a * dy[i] * p[i] * (1 - p[i])', 'a * dy[i] * p[i]'),
}

BUGS |= {  # in updates, and where LeakyReLU and dropout share a factor
    'momentum taken for its weight': ('moving[i] += weight *', 'moving[i] += (1 - weight) *'),
    'an average that moves away': ('(statistic[i] - moving[i])', '(moving[i] - statistic[i])'),
    'an average of a different unit': ('(statistic[i] - moving[i])', '(statistic[size - 1 - i] - moving[i])'),
    'the sign of the factor is not taken off': ('dy[i] * fabsf(s[i])', 'dy[i] * s[i]'),
    'the slope of the wrong sign': ('s[i] > 0 ? 1.0f : slope', 's[i] < 0 ? 1.0f : slope'),
    'no slope for any sign': ('s[i] > 0 ? 1.0f : slope', '1.0f'),
    'the sign of a different unit': ('s[i] > 0 ? 1.0f : slope', 's[size - 1 - i] > 0 ? 1.0f : slope'),
    'the slope in place of the mask': ('dy[i] * fabsf(s[i]) *', 'dy[i] *'),
}

COUNT = '(float)min(rows, m - chunk * rows)'
BUGS |= {  # in the chunks of batch norm
    'a chunk left out of the mean': (f'chunk < chunks; chunk += LANES)\n        sum += {COUNT}',
                                     f'chunk < chunks - 1; chunk += LANES)\n        sum += {COUNT}'),
    'a chunk left out of the variance': ('chunk < chunks; chunk += LANES) {\n        Column d',
                                         'chunk < chunks - 1; chunk += LANES) {\n        Column d'),
    'a chunk left out of the sums': ('chunk < chunks; chunk += LANES) {\n        sum.dh',
                                     'chunk < chunks - 1; chunk += LANES) {\n        sum.dh'),
    'a chunk too many': ('chunk < chunks; chunk += LANES) {\n        sum.dh',
                         'chunk <= chunks; chunk += LANES) {\n        sum.dh'),
    'chunks of a different lane': ('chunk += LANES) {\n        Column d', 'chunk += LANES + 1) {\n        Column d'),
    'the last chunk counted as a full one in the mean': (f'sum += {COUNT} *', 'sum += (float)rows *'),
    'the last chunk counted as a full one in the variance': (f' + {COUNT} * d * d', ' + (float)rows * d * d'),
    'nothing between the chunks': (f' + {COUNT} * d * d', ''),
    'chunks of equal weight': (
        f'sum += {COUNT} * at(means, chunk * n + column);\n    Column mean = column_sum(sum) / (float)m',
        'sum += at(means, chunk * n + column);\n    Column mean = column_sum(sum) / (float)chunks'),
    'the count of rows of a chunk forgotten': ('column_sum(sum) / (float)(last - first)', 'column_sum(sum) / LANES'),
    'a chunk takes the first row of the next': ('min(first + rows, m), n, column);',
                                                'min(first + rows + 1, m), n, column);'),
    'a chunk without its last row': ('min(first + rows, m), n, column, slope);',
                                     'min(first + rows, m) - 1, n, column, slope);'),
    'the last chunk runs past the last row': ('min(first + rows, m), n, column);', 'first + rows, n, column);'),
    'the last chunk writes past the last row': ('last = min(first + rows, m);', 'last = first + rows;'),
    'every chunk writes to one place': ('at(means, blockIdx.y * n + column) =', 'at(means, column) ='),
    'sums of a different chunk': ('at(sums_dh, blockIdx.y * n', 'at(sums_dh, (chunks - 1 - blockIdx.y) * n'),
    'a chunk normalised by its own statistics': ('means ? merged(means, deviations, m, n, rows, chunks, column) : ',
                                                 ''),
    'dx from the sums of its own chunk': ('sums_dh ? added(', 'chunks < 1 ? added('),
    'averages moved by every block': ('if (blockIdx.y == 0 && threadIdx.y == 0) {\n        at(rstd',
                                      'if (threadIdx.y == 0) {\n        at(rstd'),
    'dgamma of the first chunk alone': ('at(dgamma, column) = all.dh_xhat;', 'at(dgamma, column) = sums_dh_xhat '
                                        '? sums_dh_xhat[column] : all.dh_xhat;'),
    'dgamma written by every block': ('if (dgamma && blockIdx.y == 0 &&', 'if (dgamma &&'),
    'a return before the barrier of a chunk': ('// no return: every thread must reach the barriers',
                                               '\n    if (!inside) return {};'),
}
BUGS |= {  # in patches, and where they are put together
    'patches begin a line too low': ('stride * r + tap - pad', 'stride * r + tap - pad + 1'),
    'patches begin a channel too far': ('(stride * s - pad - tap * k) * c', '(stride * s - pad - tap * k) * c + 1'),
    'patches without a stride across': ('(stride * s - pad - tap * k) * c', '(s - pad - tap * k) * c'),
    'patches of one channel': ('(stride * s - pad - tap * k) * c', 'stride * s - pad - tap * k'),
    'patches in the order of columns': ('s = patch % ow, r = patch / ow % oh', 's = patch / oh % ow, r = patch % oh'),
    'all patches of the first image': ('image = patch / ow / oh;', 'image = 0;'),
    'the line above in place of zeros': ('start + j >= 0 && start + j < w * c', 'start + j < w * c'),
    'the line below in place of zeros': ('start + j >= 0 && start + j < w * c', 'start + j >= 0'),
    'pixels above the image': ('line >= 0 && line < h', 'line < h'),
    'pixels below the image': ('line >= 0 && line < h', 'line >= 0'),
    'a number of patches too many': ('if (i >= m * oh * ow * k * k * c)', 'if (i > m * oh * ow * k * k * c)'),
    'padding left out': ('top = row % h + pad,', 'top = row % h,'),
    'padding on one side alone': ('left = part.first / c + pad', 'left = part.first / c'),
    'the uppermost patches are not added': ('r >= 0 && top', 'r > 0 && top'),
    'the leftmost patches are not added': ('s >= 0 && left', 's > 0 && left'),
    'patches above the first': ('r >= 0 && top', 'top'),
    'patches below the last': ('min(top / stride, oh - 1)', 'top / stride'),
    'patches beyond the last of a line': ('min(right / stride, ow - 1)', 'right / stride'),
    'a tap too many down': ('top - stride * r < k', 'top - stride * r <= k'),
    'a tap too many across': ('left - stride * s < k', 'left - stride * s <= k'),
    'taps are flipped': ('+ top - stride * r) * k * c', '+ k - 1 - top + stride * r) * k * c'),
    'the first patch alone': ('left - stride * s < k; --s)', 'left - stride * s < k; s = -1)'),
    'patches are added from left to right': (
        'int s = min(right / stride, ow - 1); s >= 0 && left - stride * s < k; --s)',
        'int s = 0; s < ow && left - stride * s >= 0; ++s) if (left - stride * s < k)'),
    'sums are not kept': ('    total.store();\n', ''),
}


@needs_compiler
def test_the_source_as_it_stands_passes_what_the_bugs_must_fail():
    check_all(CODE)


@needs_compiler
def test_the_cases_launch_every_kernel():
    launched = set()
    for m, n in ((9, 33), (3, 300)):
        for name in CASES:
            built(CODE)._launched.clear()
            compare_twin(built(CODE), name, m, n)
            launched |= built(CODE)._launched
    assert launched == set(signatures(CODE)) - set(DRAWS)


@needs_compiler
@pytest.mark.parametrize('bug', [*BUGS, *(f'barrier {i} removed' for i in range(BARRIERS))])
def test_a_planted_bug_is_caught(bug):
    code = CODE.replace(*BUGS[bug], 1) if bug in BUGS else without_barrier(int(bug.split()[1]))
    assert code != CODE
    with pytest.raises((AssertionError, RuntimeError)):
        check_all(code)


@needs_compiler
@pytest.mark.parametrize('name, text, replacement', [
    ('dense_leaky_relu_dropout', 'return h > 0', 'return h >= 0'),
    ('dense_leaky_relu_dropout, none dropped', 'return h > 0', 'return h >= 0'),
    ('dense_leaky_relu_dropout, hardly any', 'return h > 0', 'return h >= 0'),
    ('bias_leaky_relu_dropout', 'return h > 0', 'return h >= 0'),
    ('bias_leaky_relu_dropout, none dropped', 'return h > 0', 'return h >= 0'),
    ('bias_leaky_relu_dropout, hardly any', 'return h > 0', 'return h >= 0'),
    ('batch_norm_leaky_relu_backward_', 'fmaxf(h > 0', 'fmaxf(h >= 0'),
    ('batch_norm_leaky_relu_backward_, no dgamma', 'fmaxf(h > 0', 'fmaxf(h >= 0')])
@pytest.mark.parametrize('fma', [False, True])
def test_at_a_kink_the_wrong_side_is_seen_in_each_case_that_has_one(name, text, replacement, fma):
    assert text in CODE
    twins = built(CODE.replace(text, replacement), fma)
    assert all(not compare_twin(twins, name, m, n, seed).ok for m, n in ((9, 33), (32, 64)) for seed in range(5))


@needs_compiler
@pytest.mark.parametrize('name, text, replacement', [
    ('cross_entropy_backward, target 0.7', '(x[i] > 0 ? 1 : e)', '(x[i] >= 0 ? 1 : e)'),  # e = exp(0) = 1
    ('cross_entropy_backward, target 0.7', '(x[i] > 0 ? e : 1)', '(x[i] >= 0 ? e : 1)'),
    ('cross_entropy, target 0.7', 'fmaxf(-x[i], 0)', '(-x[i] >= 0 ? -x[i] : 0)'),  # 0 either way
    ('cross_entropy, target 0.7', 'fmaxf(x[i], 0)', '(x[i] >= 0 ? x[i] : 0)'),
    ('batch_norm_leaky_relu_', 'fmaxf(h, slope * h)', '(h >= 0 ? h : slope * h)'),
    ('leaky_relu_dropout_backward', '(s[i] > 0 ?', '(s[i] >= 0 ?')])  # dh = 0 where s = 0
def test_at_these_kinks_both_sides_give_the_same(name, text, replacement):
    assert text in CODE
    twins, changed = built(CODE), built(CODE.replace(text, replacement))
    for seed in range(5):
        row = compare_twin(twins, name, 9, 33, seed)
        assert row == compare_twin(changed, name, 9, 33, seed) and row.ok


@needs_compiler
def test_a_difference_is_reported_with_its_place_both_numbers_and_the_settings():
    twins = built(CODE.replace('at(dbeta, column) = all.dh;', 'at(dbeta, column) = all.dh + (column == 7);'))
    row = compare_twin(twins, 'batch_norm_leaky_relu_backward_', 9, 33, 5)
    found = re.fullmatch(r'dbeta\[7\]: expected (\S+), got (\S+); m=9 n=33 seed=5', row.why)
    assert float(found[2]) == pytest.approx(float(found[1]) + 1)
    with pytest.raises(AssertionError, match=r'WRONG; dbeta\[7\].* m=9 n=33 seed=5 order=2 block=96 fma=False'):
        assert_ok(row, order=2, block=96, fma=False)
    twins = built(CODE.replace('= (at(x, i) - mu) * r;', '= i == n + 2 ? 0 : (at(x, i) - mu) * r;'))
    row = compare_twin(twins, 'batch_norm_leaky_relu_', 9, 33, 5)
    assert row.why.startswith(('result[1][0][1, 2]: expected ', 'result[0][1, 2]: expected '))
    row = compare_draws(built(CODE.replace('i < 8 && 8', 'i < 8 - (block == 2) && 8')), 'uniform', 30)
    assert re.fullmatch(r'out\[23\]: expected 0\.\d+, got 0; size=30', row.why)


@needs_compiler
def test_a_nan_is_not_lost_in_maxout():
    x, dy, mask = np.ones((1, 6), np.float32), np.ones((1, 2), np.float32), np.full((1, 2), 2, np.float32)
    for place in range(6):
        x[0, place], unit = np.nan, place % 2
        y, _ = built(CODE).maxout_dropout(x, large_key(0), pieces=3, rate=0.0)
        dx = built(CODE).maxout_dropout_backward(dy, x, mask, pieces=3)
        assert np.isnan(y[0, unit]) and y[0, 1 - unit] == 1 and not np.isfinite(dx[0, unit::2]).any()
        x[0, place] = 1


@needs_compiler
def test_a_number_that_starts_undefined_does_not_compile():
    with pytest.raises(CompileError, match='uninitialized'):
        built(CODE.replace('Column sum = 0.0f;\n    for (int row = first', 'Column sum;\n    for (int row = first'))


@needs_compiler
def test_a_launch_refuses_what_the_kernel_would_misread():
    x, b = np.ones((1, 4, 6), np.float32), np.ones(6, np.float32)
    for wrong in (x.astype(np.float64), x[:, :, ::2], np.ones((6, 4, 1), np.float32).T):
        with pytest.raises(TypeError, match='bias_tanh: expected parts as a contiguous array of float32, got'):
            built(CODE).bias_tanh(wrong, b)
    with pytest.raises(ValueError, match=r'bias_tanh: expected b with n = 6 elements, got 4'):
        built(CODE).bias_tanh(x, b[:4])
    with pytest.raises(TypeError, match='tanh_backward: expected 4 arguments, got 2'):
        built(CODE).launch('tanh_backward', (1,), (1,), x, x)
    huge = SimpleNamespace(dtype=np.dtype(np.float32), flags=SimpleNamespace(c_contiguous=True), size=2**30)
    with pytest.raises(ValueError, match=r'm n: expected fewer than 2\*\*30 elements, got 1073741824'):
        built(CODE).launch('bias_tanh', (1,), (1,), huge, b, huge, 1, 2**15, 2**15)


@needs_compiler
@pytest.mark.parametrize('grid, block, said', [
    ((1,), (0,), r'block of 1 to \(1024, 1024, 64\) in each dimension, got \(0,\)'),
    ((1,), (1025,), r'block of 1 to \(1024, 1024, 64\) in each dimension, got \(1025,\)'),
    ((1,), (1, 1, 65), 'block of 1 to'), ((1,), (-1, -32), 'block of 1 to'), ((1,), (), 'block of 1 to'),
    ((1,), (33, 32), r'block of at most 1024 threads, got \(33, 32\): 1056'),
    ((0,), (32,), r'grid of 1 to \(2147483647, 65535, 65535\) in each dimension, got \(0,\)'),
    ((1, 65_536), (32,), r'grid of .* got \(1, 65536\)'), ((1, 1, 65_536), (32,), r'grid of'),
    ((2**31,), (32,), 'grid of'), ((1, 1, 1, 1), (32,), 'grid of'),
    ((1, 1, 2), (32,), r'at most two dimensions on a CPU, got grid \(1, 1, 2\), block \(32,\)')])
def test_a_launch_that_no_gpu_takes_is_refused(grid, block, said):
    x = np.ones(8, np.float32)
    with pytest.raises(ValueError, match=f'^tanh_backward: expected (a )?{said}'):
        built(CODE).launch('tanh_backward', grid, block, x, x, x.copy(), 8)


@needs_compiler
@pytest.mark.parametrize('grid, block', [((1,), (1024,)), ((1, 1, 1), (1024, 1, 1)), ((1, 65_535), (1,))])
def test_the_largest_launches_that_a_gpu_takes_pass(grid, block):
    x, dx = np.full((2, 1), 0.5, np.float32)
    if grid == (1, 65_535):
        check_size('f', grid, block)
    else:
        built(CODE).launch('tanh_backward', grid, block, x, x, dx, 1)
        assert dx == 0.375


@needs_compiler
def test_nothing_is_launched_for_an_empty_array(monkeypatch):
    x, b = np.ones((0, 5), np.float32), np.ones(5, np.float32)
    monkeypatch.setattr(Kernels, 'launch', lambda *_: pytest.fail('a launch of no block is an error on a GPU'))
    twins = built(CODE)
    assert twins.bias_tanh(x[None], b).shape == twins.tanh_backward(x, x).shape == (0, 5)
    twins.uniform(np.ones(0, np.float32), 0, 0, 0, 0, 0)
    assert twins.dense(x, np.ones((5, 3), np.float32)).shape == (0, 3)


@pytest.mark.parametrize('parameter', ['char rate', 'float* x /* n */', 'float* __restrict__ x', 'int n /* n */'])
def test_an_argument_that_cannot_be_read_is_named(parameter):
    with pytest.raises(ValueError, match=f'f: expected an argument such as .* got "{re.escape(parameter)}"'):
        signatures(f'extern "C" __global__ void f({parameter}, int n) {{')


def test_only_arrays_that_a_kernel_can_take_go_to_a_kernel():
    x = np.ones((4, 6), np.float32)
    assert eligible((x, None, 0.5, x.astype(np.uint8), np.float32, np.dtype('float32'), (x, x[:2])))
    for wrong in (x.astype(np.float64), x.astype(np.float16), x[:, ::2], x.T, np.float64, (x, x[:, 1:])):
        assert not eligible((x, wrong))


def test_a_twin_is_taken_for_arrays_on_a_gpu_alone(monkeypatch):
    class OnGPU(np.ndarray):
        __module__ = 'cupy'

    monkeypatch.setitem(backend.TWINS, 'cupy', lambda xp: SimpleNamespace(tanh=lambda x: 'kernel'))
    monkeypatch.setattr(ops, 'array_module', lambda x: np)
    monkeypatch.setattr(backend, 'array_module', lambda x: np)
    tanh, x = twin(ops.tanh), np.zeros((2, 3), np.float32)
    assert tanh(x.view(OnGPU)) == 'kernel' and tanh.__wrapped__ is ops.tanh
    for other in (x, np.float32(0), x.view(OnGPU).T, x.view(OnGPU).astype(np.float64)):
        np.testing.assert_array_equal(tanh(other), other)


@needs_nvrtc
def test_nvidias_compiler_accepts_every_kernel_for_every_architecture_and_spills_nothing():
    found, wrong = compiled(own())
    assert list(found) == list(ARCHITECTURES) and not wrong
    assert all(set(one) == set(signatures(CODE)) == set(RESOURCES) for one in found.values())
    assert [name for name, stated in RESOURCES.items() if len(stated) > 2] == ['normal', 'add_noise']


@needs_nvrtc
def test_the_compile_check_can_fail():
    with pytest.raises(ValueError, match='identifier "y" is undefined'):
        nvrtc.resources(NVRTC, 'extern "C" __global__ void f(float* x) { x[0] = y; }', 'sm_90')
    greedy = ''.join(f'float a{i} = x[{i}];' for i in range(200)) + '__syncthreads();' + ''.join(
        f'x[threadIdx.x + {i}] = a{i} * a{(i * 7 + 3) % 200};' for i in range(200))
    code = f'extern "C" __global__ void __launch_bounds__(1024) f(volatile float* x) {{ {greedy} }}'
    (registers, _, spilled), = nvrtc.resources(NVRTC, code, 'sm_90').values()
    assert registers <= 64 and spilled > 0


def test_a_planted_bug_is_compiled_with_what_it_touches_alone():
    assert [piece[2] for piece in PIECE.finditer(CODE) if piece[1] != '__device__'] == list(signatures(CODE))
    for text, touched in (('tanhf(sum_of_parts', ['bias_tanh']),
                          ('(at(x, i) - mu) * r', ['batch_norm_moments', 'batch_norm_leaky_relu_']),
                          ('d * d', ['batch_norm_moments', 'batch_norm_leaky_relu_']),
                          ('fmaxf(h > 0, slope)', ['batch_norm_leaky_relu_sums', 'batch_norm_leaky_relu_backward_'])):
        assert list(signatures(changed(CODE.replace(text, '0', 1)))) == touched
    for everything in (CODE, CODE.replace('#define THREADS 256', '#define THREADS 128')):
        assert changed(everything) == everything
