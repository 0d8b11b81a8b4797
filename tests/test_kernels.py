"""kernels.cu without a GPU: NVIDIA's compiler takes it for every architecture; run on a CPU, every kernel equals its
specification in four orders of threads and more; planted bugs are caught."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import nvrtc
from support.host_cuda import COMPILER, HostModule

from minigan import kernels, ops
from minigan.backend import STREAMS, Streams
from minigan.gradcheck import TOLERANCE
from minigan.kernels import SOURCE, TILE, Kernels, parameters

ORDERS = (0, 1, 2, 3)  # as they stand, from the last to the first, two shuffles
CODE = SOURCE.read_text()
ARCHITECTURES = ('sm_75', 'sm_80', 'sm_86', 'sm_89', 'sm_90', 'sm_100', 'sm_120')
SHARED = {'batch_norm': 1024, 'batch_norm_backward': 1024}  # bytes; all others use none
REGISTERS = 64  # at most: 256 threads of a block then fit four times into the 65,536 of a multiprocessor
NVRTC = nvrtc.library()
needs_nvrtc = pytest.mark.skipif(NVRTC is None, reason='no NVRTC: pip install nvidia-cuda-nvrtc-cu12')
needs_compiler = pytest.mark.skipif(COMPILER is None, reason='no C++ compiler, or not Linux')


@pytest.fixture(autouse=True)
def undefined_outputs(monkeypatch):
    """What a twin allocates starts as NaN, so that an element left out shows."""
    undefined = SimpleNamespace(empty=lambda shape, dtype: np.full(shape, np.nan, dtype),
                                empty_like=lambda a: np.full_like(a, np.nan))
    monkeypatch.setattr(kernels, 'array_module', lambda x: undefined)


@pytest.fixture(scope='module')
def built():
    return Kernels(HostModule(CODE), CODE)


def assert_same(name, got, expected):
    """Equal within float32's tolerance, relative to the largest entry of each array."""
    layer = 'BatchNorm' if name.startswith('batch_norm') else 'any'
    for one, other in zip(flat(got), flat(expected), strict=True):
        assert one.shape == other.shape
        scale = abs(other).max(initial=0) or 1
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE['float32'].get(layer) * scale, err_msg=name)


def flat(result):
    return [a for part in result for a in flat(part)] if isinstance(result, tuple) else [result]


def cases(m, n, seed):
    """name -> (arguments, keywords) of each operation that has a twin, float32."""
    rng = np.random.default_rng(seed)
    x, dy, y = rng.standard_normal((3, m, n), np.float32)
    at_kink, bits = x * (rng.random((m, n)) > 0.1), rng.integers(0, 2**16, (m, n), np.uint16)
    bits.flat[::7] = int(0.3 * 2**16)  # the first that stays
    gamma, beta = rng.standard_normal((2, n), np.float32)
    cache = ops.batch_norm(x, gamma, beta, eps=1e-3)[1]
    theta, dtheta, mean, square = rng.standard_normal((4, m * n), np.float32)
    images, rows = rng.integers(0, 256, (m + 3, n), np.uint8), rng.integers(0, m + 3, m)
    adam = {'t': 3, 'learning_rate': 0.1, 'beta1': 0.5, 'beta2': 0.9, 'eps': 1e-3}
    return {'gather_images': ((images, rows, np.float32), {}),
            'leaky_relu': ((x, ), {'slope': 0.2}),
            'leaky_relu_backward': ((dy, at_kink.astype(np.float32)), {'slope': 0.2}),
            'dropout': ((x, bits), {'rate': 0.3}),
            'tanh_backward': ((dy, np.tanh(y)), {}),
            'adam_': ((theta, dtheta, mean, square**2, np.empty_like(theta)), adam),
            'batch_norm': ((x, gamma, beta), {'eps': 1e-3}),
            'batch_norm_backward': ((dy, gamma, cache), {})}


def assert_twin(twins, name, m, n, seed):
    """Run an operation and its twin on the same arguments; an operation in place is judged by its arguments."""
    (args, keywords), (copies, _) = cases(m, n, seed)[name], cases(m, n, seed)[name]
    got, expected = getattr(twins, name)(*copies, **keywords), getattr(ops, name)(*args, **keywords)
    if name.endswith('_'):
        got, expected = copies[:4], args[:4]  # not the scratch
    assert_same(name, got, expected)


NAMES = list(cases(2, 2, 0))
PLACE = (5, 7, 11, 2**63 + 13, STREAMS.index('dropout'))  # draw, substep, step, seed, stream


def assert_draws(twins, name, size):
    """A kernel's numbers and Streams' own."""
    draws = Streams(PLACE[3]).at('dropout', PLACE[2], PLACE[1])
    draws._draw = PLACE[0]
    expected = getattr(draws, name)((size,))
    out = np.empty_like(expected)
    getattr(twins, name)(out, *PLACE)
    if name == 'normal':
        np.testing.assert_allclose(out, expected, rtol=2e-5, atol=2e-6)
    else:
        np.testing.assert_array_equal(out, expected)


@needs_compiler
@pytest.mark.parametrize('name', NAMES)
@given(m=st.integers(2, 40), n=st.integers(1, 70), seed=st.integers(0, 2**32 - 1), order=st.integers(0, 9))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_kernel_equals_its_specification(built, name, m, n, seed, order):
    built.module.seed = order
    assert_twin(built, name, m, n, seed)


@needs_compiler
@pytest.mark.parametrize('name', ['bits', 'uniform', 'normal'])
@given(size=st.integers(1, 3000), order=st.integers(0, 9))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_numbers_are_those_of_the_cpu(built, name, size, order):
    built.module.seed = order
    assert_draws(built, name, size)


def test_every_kernel_has_a_twin_and_a_case():
    assert set(parameters(CODE)) == set(NAMES) | {'bits', 'uniform', 'normal'}
    assert all(hasattr(ops, name) for name in NAMES)
    columns, lanes = (int(CODE.split(f'#define {name} ')[1].split()[0]) for name in ('COLUMNS', 'LANES'))
    assert TILE == (columns, lanes)


def check_all(code):
    """Every kernel in every order at a few awkward shapes; raises at the first that is not right."""
    twins = Kernels(HostModule(code), code)
    for twins.module.seed in ORDERS:
        for name in NAMES:
            for m, n in ((9, 33), (32, 64), (2, 1)):
                assert_twin(twins, name, m, n, 0)
        for name in ('bits', 'uniform', 'normal'):
            for size in (1, 15, 16, 17, 300):
                assert_draws(twins, name, size)


BARRIERS = CODE.count('__syncthreads();')


def without_barrier(number):
    pieces = CODE.split('__syncthreads();')
    return '__syncthreads();'.join(pieces[:number + 1]) + ';' + '__syncthreads();'.join(pieces[number + 1:])


BUGS = {  # what is planted: (text, replacement)
    'one element too many': ('if (i < size) y[i] = fmaxf', 'if (i <= size) y[i] = fmaxf'),
    'one element too few': ('if (i < size) y[i] = fmaxf', 'if (i < size - 1) y[i] = fmaxf'),
    'the right slope at the kink': ('x[i] > 0 ?', 'x[i] >= 0 ?'),
    'slope forgotten': ('dy[i] : slope * dy[i]', 'dy[i] : dy[i]'),
    'a unit more is dropped': ('bits[i] >= dropped', 'bits[i] > dropped'),
    'mask not scaled': ('? scale : 0.0f', '? 1.0f : 0.0f'),
    'an input is written': ('y[i] = x[i] * mask[i];', 'y[i] = x[i] * mask[i]; ((float*)x)[i] = 0;'),
    'tanh, not its derivative': ('1 - y[i] * y[i]', '1 - y[i]'),
    'images and rows mixed up': ('rows[i / n] * n', 'rows[i % m] * n'),
    'pixels not shifted': (' * (float)(1 / 127.5) - 1.0f', ' * (float)(1 / 127.5)'),
    'eps inside the root': ('(sqrtf(v[i]) + eps)', 'sqrtf(v[i] + eps)'),
    'first moment forgotten': ('rate * m[i]', 'rate * g'),
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
    'a return before the barrier': ('// no return here: every thread must reach the barriers',
                                    '\n    if (!inside) return;'),
    'a barrier for some threads only': ('    __syncthreads();\n    float sum',
                                        '    if (threadIdx.y) __syncthreads();\n    float sum'),
    'columns beyond the last are read': ('inside && row < m; row += LANES) sum += x',
                                         'row < m; row += LANES) sum += x'),
    'columns beyond the last are written': ('    if (!inside) return;\n', ''),
    'rows of another lane': ('row += LANES) {\n        float d', 'row += LANES + 1) {\n        float d'),
    'a race: the sum in one shared place': ('    float sum = 0;\n    for (int lane',
                                            '    __shared__ float sum; sum = 0;\n    for (int lane'),
    'unbiased variance': ('column_sum(sum) / m, r', 'column_sum(sum) / (m - 1), r'),
    'dx without its third term': (' - xhat[i] * (sum_xhat / m)', ''),
    'dgamma and dbeta swapped': ('dgamma[column] = sum_xhat', 'dgamma[column] = sum'),
}


@needs_compiler
def test_the_source_as_it_stands_passes_what_the_bugs_must_fail():
    check_all(CODE)


@needs_compiler
@pytest.mark.parametrize('bug', [*BUGS, *(f'barrier {i} removed' for i in range(BARRIERS))])
def test_a_planted_bug_is_caught(bug):
    code = CODE.replace(*BUGS[bug]) if bug in BUGS else without_barrier(int(bug.split()[1]))
    assert code != CODE
    with pytest.raises((AssertionError, RuntimeError)):
        check_all(code)


@needs_compiler
def test_a_launch_refuses_what_the_kernel_would_misread(built):
    x = np.ones((4, 6), np.float32)
    for wrong in (x.astype(np.float64), x[:, ::2], np.ones((6, 4), np.float32).T):
        with pytest.raises(TypeError, match='leaky_relu: expected x as a contiguous array of float32'):
            built.leaky_relu(wrong, slope=0.2)
    with pytest.raises(TypeError, match='tanh_backward: expected 4 arguments, got 2'):
        built.launch('tanh_backward', (1,), (1,), x, x)


@needs_nvrtc
@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_nvidias_compiler_takes_every_kernel_and_spills_nothing(architecture):
    found = nvrtc.resources(NVRTC, CODE, architecture)
    assert set(found) == set(parameters(CODE))
    for name, (registers, shared, spilled) in found.items():
        assert registers <= REGISTERS and shared == SHARED.get(name, 0) and spilled == 0, name


@needs_nvrtc
def test_the_compile_check_can_fail():
    with pytest.raises(ValueError, match='identifier "y" is undefined'):
        nvrtc.resources(NVRTC, 'extern "C" __global__ void f(float* x) { x[0] = y; }', 'sm_90')
    greedy = ''.join(f'float a{i} = x[{i}];' for i in range(200)) + '__syncthreads();' + ''.join(
        f'x[threadIdx.x + {i}] = a{i} * a{(i * 7 + 3) % 200};' for i in range(200))
    code = f'extern "C" __global__ void __launch_bounds__(1024) f(volatile float* x) {{ {greedy} }}'
    (registers, _, spilled), = nvrtc.resources(NVRTC, code, 'sm_90').values()
    assert registers <= 64 and spilled > 0
