"""The emulator reports every race: both threads, both lines and the place, in every order; and nothing else."""

import functools
import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan.gpu import emulator
from minigan.gpu.compare import arguments, compare_draws, compare_twin
from minigan.gpu.emulator import COMPILER, HostModule
from minigan.gpu.twins import Kernels, code

pytestmark = pytest.mark.skipif(COMPILER is None, reason='no C++ compiler, or not Linux')
ORDERS = (0, 1, 2, 3)
CODE = code()
HEAD = '''__device__ float neighbour(float* s, float value) {
    s[threadIdx.x] = value;                                // put
    BARRIER
    float found = s[(threadIdx.x + 1) % blockDim.x];       // got
    SECOND
    return found;
}
extern "C" __global__ void f(float* y, const float* x, unsigned short* h, int n) {
    int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
    __shared__ float s[32];
'''.replace('SECOND', '__syncthreads();  // before the next call')
TREE = '''s[t] = x[t];                                           // leaf
    for (int half = 16; half > 0; half /= 2) {
        __syncthreads();
        if (t < half) s[t] += s[t + half];                 // add
    }
    if (t == 0) y[0] = s[0];                               // root'''
PLANTED = {  # what is planted: (grid, block, body without it, what is replaced, by what, where they meet, lines)
    'all threads add into one place': (1, 32, 'y[t] += x[t];  // sum', 'y[t]', 'y[0]', 'y[0]', 'sum'),
    'all blocks add into one place': (3, 1, 'y[i] += x[i];  // sum', 'y[i]', 'y[0]', 'y[0]', 'sum'),
    'all threads write the same mean': (1, 32, 'if (t == 0) y[0] = x[0] / n;  // mean', 'if (t == 0) ', '', 'y[0]',
                                        'mean'),
    'all blocks write the same mean': (2, 32, 'if (i == 0) y[0] = x[0] / n;  // mean', 'i == 0', 't == 0', 'y[0]',
                                       'mean'),
    'lanes write the same column': (1, (8, 4), 'if (threadIdx.y == 0) y[t] = x[t];  // sum', 'if (threadIdx.y == 0) ',
                                    '', 'y[', 'sum'),
    'no barrier before others read': (1, 32, 'y[t] = neighbour(s, x[t]);', 'BARRIER', '', 'shared', 'put got'),
    'no barrier before the next sum': (
        1, 32, 'y[t] = neighbour(s, x[t]); y[t] += neighbour(s, x[t]);', '__syncthreads();  // before', '// before',
        'shared', 'put got'),
    'no barrier in the tree': (1, 32, TREE, '__syncthreads();\n        if', 'if', 'shared', 'leaf add'),
    'a thread past the half adds too': (1, 32, TREE, 't < half', 't <= half && t < 16', 'shared', 'add'),
    'another thread takes the root': (1, 32, TREE, 't == 0', 't == 1', 'shared', 'add root'),
    'all threads set a shared number': (1, 32, '__shared__ float a; if (t == 0) a = x[0];  // set\n __syncthreads(); '
                                        'y[t] = a;', 'if (t == 0) ', '', 'shared', 'set'),
    'one shared number for all': (1, 32, 's[t] = x[t];  // set\n y[t] = s[t];', 's[t]', 's[0]', 'shared', 'set'),
    'shifted in place': (1, 32, 'float next = y[(t + 1) % 32];  // read\n __syncthreads();\n y[t] = next;  // write',
                         '__syncthreads();\n y[t]', 'y[t]', 'y[', 'read write'),
    'a barrier does not order blocks': (
        2, 16, 'float next = y[i / 16 * 16 + (t + 1) % 16];  // read\n __syncthreads();\n y[i] = next;  // write',
        'i / 16 * 16 + (t + 1) % 16', '(i + 1) % 32', 'y[', 'read write'),
    "a neighbour's column is written": (2, 16, 'y[i] = x[i];  // write', 'y[i]', 'y[i + (t == 15)]', 'y[',
                                        'write'),
    "another block's output is read": (2, 16, 'y[i] = x[i];  // write\n __syncthreads();\n h[i] = y[i];  // read',
                                       '= y[i]', '= y[(i + 16) % 32]', 'y[', 'write read'),
    'one of many readers writes': (1, 32, 'h[t] = y[0];  // read\n if (t == 5) y[t + 1] = 1;  // write', 't + 1',
                                   '0', 'y[0]', 'read write'),
    'what an earlier block has read': (
        2, 8, 'h[i] = y[i];  // read\n __syncthreads();\n if (i == 9) y[i] = 0;  // write', '= y[i];',
        '= y[t + 8];', 'y[9]', 'read write'),
    'two threads in one half word': (1, 32, 'h[t] = 1;  // bits', 'h[t]', 'h[t / 2]', 'h[', 'bits'),
    'a half word of the next block': (2, 16, 'h[i] = 1;  // bits', 'h[i]', 'h[i + t / 15]', 'h[16]', 'bits'),
    'a loop runs over its part': (1, 8, 'for (int j = 0; j < 4; ++j) y[4 * t + j] = x[0];  // part', 'j < 4', 'j < 5',
                                  'y[', 'part'),
}
REPORT = re.compile(r'f\d+: a race on (?P<place>.*): block (?P<block>\S+) thread (?P<thread>\S+) (?P<did>reads|writes) '
                    r'it \(line (?P<line>.*?)\), block (?P<block2>\S+) thread (?P<thread2>\S+) (?P<did2>read|wrote) it '
                    r'\(line (?P<line2>.*?)\), and (?P<why>no barrier is between them|blocks have no order)')


def source(body, text='', replacement='', number=''):
    """A kernel with its own function neighbour."""
    code = f'{HEAD}    {body}\n}}\n'.replace('neighbour(', f'neighbour{number}(').replace(' f(', f' f{number}(')
    assert text in code
    return code.replace(text, replacement).replace('BARRIER', '__syncthreads();')


def line_of(code, marker, number=''):
    """The number of the line that ends with the marker, in that kernel."""
    lines = code.splitlines()
    first = next(i for i, line in enumerate(lines) if f'neighbour{number}(float* s' in line)
    return next(str(i + 1) for i in range(first, len(lines)) if lines[i].endswith(f'// {marker}'))


@functools.cache
def planted(wrong, fma):
    """All of PLANTED in one source, since compiling takes most of the time; and its module."""
    code = ''.join(source(body, *(pair if wrong else ('', '')), number)
                   for number, (_, _, body, *pair, _, _) in enumerate(PLANTED.values()))
    return code, HostModule(code, fma=fma)


def launch(module, grid, block, order=0, number=''):
    y, x, h = np.ones(33, np.float32), np.ones(33, np.float32), np.ones(33, np.uint16)
    module.seed = order
    block = block if isinstance(block, tuple) else (block,)
    module.get_function(f'f{number}')((grid,), block, (y, x, h, np.int32(32)))
    return y


@pytest.mark.parametrize('fma', [False, True])
@pytest.mark.parametrize('order', ORDERS)
@pytest.mark.parametrize('name', PLANTED)
def test_a_race_is_reported_with_its_place_both_lines_and_both_threads(name, order, fma):
    grid, block, *_, place, markers = PLANTED[name]
    number, (code, module) = list(PLANTED).index(name), planted(True, fma)
    with pytest.raises(RuntimeError) as raised:
        launch(module, grid, block, order, number)
    found = REPORT.fullmatch(str(raised.value))
    assert found and place in found['place'], raised.value
    lines = {found['line'].split()[0], found['line2'].split()[0]}  # if a function is inlined, its call follows
    assert lines == {line_of(code, marker, number) for marker in markers.split()}
    assert (found['block'], found['thread']) != (found['block2'], found['thread2'])
    assert (found['block'] == found['block2']) == ('barrier' in found['why'])
    assert found['did'] == 'writes' or found['did2'] == 'wrote'


@pytest.mark.parametrize('fma', [False, True])
@pytest.mark.parametrize('name', PLANTED)
def test_without_the_race_nothing_is_reported(name, fma):
    reported = []
    for order in ORDERS:
        try:
            launch(planted(False, fma)[1], *PLANTED[name][:2], order, list(PLANTED).index(name))
        except RuntimeError as error:
            reported.append(str(error))
    assert reported == []


IN_THE_KERNELS = {  # what is planted: (case, text, replacement, where, the text of one of the lines that meet)
    'the first barrier of a sum removed': ('batch_norm_leaky_relu_backward_', '    __syncthreads();\n    float sum',
                                           '    float sum', 'shared', 'sum += part[lane]'),
    'the second barrier of a sum removed': ('batch_norm_leaky_relu_backward_', '__syncthreads();  // before',
                                            '// before', 'shared', 'part[threadIdx.y][threadIdx.x] = value'),
    'the barrier of the tree removed': ('cross_entropy, target 1', '        __syncthreads();\n        if', '        if',
                                        'shared', 'part[threadIdx.x] += part'),
    'every thread writes the same mean': ('cross_entropy, target 1', 'if (threadIdx.x == 0) *mean',
                                          '__syncthreads(); *mean', 'mean[0]', '*mean ='),
    'every lane writes the same dgamma': ('batch_norm_leaky_relu_backward_',
                                          'if (dgamma && blockIdx.y == 0 && threadIdx.y == 0)',
                                          'if (dgamma && blockIdx.y == 0)', 'dgamma[',
                                          'at(dgamma, column) = all.dh_xhat'),
    'every row of tiles writes db': ('dense_backward_params_', 'sum_b && blockIdx.x == 0 &&', 'sum_b &&', 'db[',
                                     'sum_b[split * columns'),
    'a tile is used before all of it is there': ('dense', '__syncthreads();\n    for (int k = begin',
                                                 'for (int k = begin', 'shared', 'tile[along(i)][line(i)] = held[i]'),
    'the tile in use is overwritten': ('dense', 'of_b.store(tiles.b[1 - now]);', 'of_b.store(tiles.b[now]);', 'shared',
                                       'tile[along(i)][line(i)] = held[i]'),
    'the barrier of each tile removed': ('dense', '        __syncthreads();\n    }\n    if (sums_b',
                                         '    }\n    if (sums_b', 'shared', '[k]['),
    'sums are read before they are there': ('dense', '    __syncthreads();\n    #pragma unroll', '    #pragma unroll',
                                            'shared', 'tiles.b[0][row + i / 4]'),
    'every lane moves the averages': ('batch_norm_leaky_relu_', ' && threadIdx.y == 0) {\n        at(rstd',
                                      ') {\n        at(rstd', 'rstd[', 'at(rstd, column) = r'),
    "the next block's column": ('batch_norm_leaky_relu_', 'rstd, column) = r', 'rstd, column - (column == 32)) = r',
                                'rstd[31]', 'rstd, column - '),
    "another column's output": ('batch_norm_leaky_relu_', 'at(gamma, column) * at(xhat, i)',
                                'at(gamma, column) * at(xhat, i / 2)', 'xhat[', 'at(xhat, i / 2)'),
    'one moment for all': ('adam_', 'v[i] = beta2 * v[i]', 'v[0] = beta2 * v[i]', 'v[0]', 'v[0] = beta2'),
    'a number of the next Philox block': ('bits', 'i < 16 &&', 'i < 17 &&', 'out[', 'out[16 * block + i] ='),
}


@pytest.mark.parametrize('name', IN_THE_KERNELS)
def test_a_race_planted_in_a_kernel_is_reported(name):
    case, text, replacement, place, line = IN_THE_KERNELS[name]
    code = CODE.replace(text, replacement)
    assert code != CODE
    lines = {str(i) for part in code.split('#line 1 "products.cu"\n') for i, one in enumerate(part.splitlines(), 1)
             if line in one}
    twins = Kernels(HostModule(code), code)
    for twins.module.seed, twins.block in itertools.product(ORDERS, (32, 256)):
        with pytest.raises(RuntimeError, match='a race on') as raised:
            compare_draws(twins, case, 100) if case == 'bits' else compare_twin(twins, case, 9, 70)
        assert place in str(raised.value).split(':')[1]
        assert lines & set(re.findall(r'line (\d+)', str(raised.value))), (lines, raised.value)


def test_a_function_that_was_inlined_is_named_with_its_call():
    code = source('y[t] = neighbour(s, x[t]);  // call', 'BARRIER', '').replace(
        '__device__', '__device__ __attribute__((always_inline)) inline')
    with pytest.raises(RuntimeError, match=f'line {line_of(code, "got")} called from {line_of(code, "call")}'):
        launch(HostModule(code), 1, 8)


def test_without_debug_information_the_rest_of_the_report_stands(monkeypatch):
    monkeypatch.setattr(emulator, 'ADDR2LINE', None)
    with pytest.raises(RuntimeError, match=r'y\[0\]: block 0,0 thread 1,0 (reads|writes) it \(line \?\)'):
        launch(HostModule(source('y[0] += x[t];')), 1, 8)


@pytest.mark.parametrize('body, message', [
    ('if (t < 4) __syncthreads();  // here', 'a barrier is not reached by every thread'),
    ('if (t < 4) { __syncthreads(); }\n else __syncthreads();  // here', 'threads wait at different barriers'),
    ('y[t + 30] = 1;  // here',
     r'memory outside an array is touched, y\[33\] of 33 elements: block 0,0 thread 3,0 writes it'),
    ('y[t] = x[t + 26];  // here', r'touched, x\[33\] of 33 elements: block 0,0 thread 7,0 reads it'),
    ('y[t] = __ldg(x + t + 26);  // here', r'touched, x\[33\] of 33 elements: block 0,0 thread 7,0 reads it'),
    ('h[5 * t] = 2;  // here', r'touched, h\[35\] of 33 elements: block 0,0 thread 7,0 writes it'),
    ('((float*)0)[t] = 2;  // here', 'a null pointer is touched, block 0,0 thread 0,0 writes it'),
    ('y[t] = ((float*)0)[2000 + t];  // here', 'a null pointer is touched, block 0,0 thread 0,0 reads it'),
    ('s[t] = x[0]; s[t + 30 * n] = 2;  // here', 'memory outside a shared array is touched, block'),
    ('((float*)x)[t] = 2;  // here', r'an input behind a const pointer is written, x\[0\]')])
def test_other_mistakes_are_reported_with_their_line(body, message):
    code = source(body)
    with pytest.raises(RuntimeError, match=f'{message}.*line {line_of(code, "here")}'):
        launch(HostModule(code), 1, 8)


@pytest.mark.parametrize('index', [-1, -2, -5])
def test_a_place_before_an_array_is_counted_back_from_its_begin(index):
    module = HostModule(source(f'y[t] = x[t + {index}];  // here'))
    with pytest.raises(RuntimeError, match=rf'touched, x\[{index}\] of 33 elements: block 0,0 thread 0,0 reads it'):
        launch(module, 1, 1, order=1)  # in this order, arrays begin at a page


def test_after_each_kind_of_failure_the_same_module_runs_again():
    module = HostModule(source('if (n == 1) y[0] += x[t];\n if (n == 2) y[t + 30] = 1;\n if (n == 3 && t < 4) '
                               '__syncthreads();\n if (n == 4) h[t / 2] = 1;\n y[t] = n;'))
    for n in (1, 0, 2, 0, 3, 0, 4, 0):
        y, x, h = np.ones(33, np.float32), np.ones(33, np.float32), np.ones(33, np.uint16)
        run = lambda: module.get_function('f')((2 if n == 4 else 1,), (8,), (y, x, h, np.int32(n)))  # noqa: E731
        if n:
            with pytest.raises(RuntimeError):
                run()
        else:
            run()
            assert not y[:8].any() and y[8:].all()


# Random programs: two arrays tell each thread what it reads and writes. All pairs of accesses tell whether any meet.

PROGRAM = '''
extern "C" __global__ void f(const int* kinds, const int* places, float* y, float* out, int stretches, int steps) {
    __shared__ float s[3];
    float v = 0;
    for (int p = 0; p < stretches; ++p) {
        for (int k = 0; k < steps; ++k) {
            int j = ((blockIdx.x * stretches + p) * blockDim.x + threadIdx.x) * steps + k, place = places[j];
            if (kinds[j] == 1) v += y[place];
            if (kinds[j] == 2) y[place] = v;
            if (kinds[j] == 3) v += s[place];
            if (kinds[j] == 4) s[place] = v;
        }
        __syncthreads();
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = v;
}
'''


built = functools.cache(lambda code, fma: HostModule(code, fma=fma))


def meet(kinds, places):
    """Whether any two accesses are a race. kinds, places: (blocks, stretches, threads, steps)."""
    accesses = [(*index[:3], kinds[index], places[index]) for index in np.ndindex(kinds.shape) if kinds[index]]
    for (b, p, t, kind, place), (b2, p2, t2, kind2, place2) in itertools.combinations(accesses, 2):
        shared = kind > 2
        if shared != (kind2 > 2) or place != place2 or kind % 2 and kind2 % 2:  # odd: it reads
            continue
        if b == b2 and p == p2 and t != t2 or b != b2 and not shared:
            return True
    return False


@given(shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 2)),
       density=st.sampled_from([0.2, 0.5, 1]), kinds=st.sampled_from([(1, 2), (3, 4), (1, 2, 3, 4), (1, 1, 1, 2)]),
       seed=st.integers(0, 2**32 - 1), order=st.integers(0, 9), fma=st.booleans())
@settings(max_examples=300)
def test_random_programs_race_when_two_of_their_accesses_do(shape, density, kinds, seed, order, fma):
    rng = np.random.default_rng(seed)
    places = rng.integers(0, 3, shape).astype(np.int32)
    kinds = np.where(rng.random(shape) < density, rng.choice(kinds, shape), 0).astype(np.int32)
    module = built(PROGRAM, fma)
    module.seed = order
    blocks, stretches, threads, steps = shape
    run = module.get_function('f')
    given = kinds, places, np.ones(3, np.float32), np.ones(blocks * threads, np.float32)
    try:
        run((blocks,), (threads,), (*given, np.int32(stretches), np.int32(steps)))
    except RuntimeError as error:
        assert 'a race on' in str(error) and meet(kinds, places), error
    else:
        assert not meet(kinds, places)


def test_neighbouring_bytes_and_half_words_are_not_accused():
    code = '''extern "C" __global__ void f(unsigned char* a, unsigned short* b, long long* c) {
        __shared__ unsigned char s[32];
        __shared__ unsigned short r[32];
        int t = threadIdx.x;
        s[t] = t; r[t] = t; a[t] = s[t]; b[t] = r[t]; c[t] = t;
    }'''
    module = HostModule(code)
    for module.seed in ORDERS:
        a, b, c = np.zeros(32, np.uint8), np.zeros(32, np.uint16), np.zeros(32, np.int64)
        module.get_function('f')((1,), (32,), (a, b, c))
        assert (a == np.arange(32)).all() and (b == a).all() and (c == a).all()


@pytest.mark.parametrize('first', ['s[t] = x[t];', '((char*)s)[4 * t + 3] = 1;'])
@pytest.mark.parametrize('second', ['y[t] = s[NEXT];', 'y[t] = ((char*)s)[4 * NEXT + 3];',
                                    'h[t] = ((short*)s)[2 * NEXT + 1];'])
@pytest.mark.parametrize('order', ORDERS)
def test_words_and_their_bytes_are_the_same_places(first, second, order):
    second = second.replace('NEXT', '((t + 1) % 32)')
    with pytest.raises(RuntimeError, match='a race on byte .* of shared memory'):
        launch(both(f'{first}\n {second}'), 1, 32, order)
    launch(both(f'{first}\n __syncthreads();\n {second}'), 1, 32, order)
    launch(both('((char*)s)[4 * t] = 1; ((char*)s)[(4 * t + 5) % 128] = 1;'), 1, 32, order)  # different bytes of a word


both = functools.cache(lambda body: HostModule(source(body)))


def test_every_case_has_its_arguments():
    assert {case for case, *_ in IN_THE_KERNELS.values()} <= {*arguments(2, 2, 0), 'bits'}
