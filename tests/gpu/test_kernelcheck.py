"""`minigan kernelcheck`: whatever is left out of a kernel, or wrong in it, is named, for the package's kernels and for
those of an author (support/softsign.py)."""

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minigan import backend, ops
from minigan.checks import cases
from minigan.cli import main
from minigan.gpu import compare, emulator, fusion, kernelcheck, kernelset, launch, nvrtc, roofline, twins
from minigan.gpu.emulator import COMPILER
from minigan.gpu.kernelcheck import NO_COMPILER, NO_NVRTC
from minigan.gpu.nvrtc import ARCHITECTURES
from minigan.gpu.roofline import GPUS

SUPPORT = Path(__file__).parents[1] / 'support'
PARTS = ['specification', 'twin', 'kernel', 'arguments', 'resources', 'traffic', 'gradient check']
BOUNDS = '  memory', '  FLOPs'
needs_nvrtc = pytest.mark.skipif(nvrtc.library() is None, reason=NO_NVRTC)
needs_compiler = pytest.mark.skipif(COMPILER is None, reason=NO_COMPILER)


@pytest.fixture
def quick(monkeypatch):
    """Without compilers, and with three gradient checks, which call every operation of the package."""
    monkeypatch.setattr(kernelcheck, 'COMPILER', None)
    monkeypatch.setattr(nvrtc, 'library', lambda: None)
    few = {name: case for name, case in cases.cases() if name in ('Tanh(), training', 'L_D minimax')}
    monkeypatch.setattr(cases, 'cases', lambda: few.items())


@pytest.fixture
def example(tmp_path):
    """A function that copies the example, with changes (text, replacement) whose texts must occur in it, and returns
    the module's path."""
    def copy(*changes):
        python, cuda = ((SUPPORT / f'softsign.{kind}').read_text() for kind in ('py', 'cu'))
        for text, replacement in changes:
            assert text in python + cuda
            python, cuda = python.replace(text, replacement), cuda.replace(text, replacement)
        (tmp_path / 'softsign.py').write_text(python)
        (tmp_path / 'softsign.cu').write_text(cuda)
        return str(tmp_path / 'softsign.py')
    return copy


LEFT_OUT = {  # of the example: changes, and the lines that must be said
    'specification': ([('def softsign(x)', 'def _softsign(x)'), ('lambda: softsign(x)', 'lambda: _softsign(x)')],
                      ['softsign: no specification: expected a function softsign(x) in softsign.py',
                       'softsign: no gradient check: expected a case in GRADIENTS of softsign.py that calls softsign, '
                       'or a reason in EXEMPT of softsign.py']),
    'twin': ([('def softsign(self', 'def _softsign(self')],
             ['softsign: no twin: expected a method Softsign.softsign(x) in softsign.py']),
    'kernel': ([('void softsign(', 'void softsine(')],
               ['softsign: no kernel: expected extern "C" __global__ void softsign(...) in softsign.cu',
                'softsine: no specification: expected a function softsine(...) in softsign.py',
                'softsine: no twin: expected a method Softsign.softsine(...) in softsign.py',
                "softsine: no arguments: expected an entry 'softsine' in arguments of softsign.py",
                "softsine: no resources: expected an entry 'softsine': (registers, bytes of shared memory) in "
                'RESOURCES of softsign.py',
                "softsine: no traffic: expected an entry 'softsine': (bytes, FLOPs) in TRAFFIC of softsign.py",
                'softsine: no gradient check: expected a case in GRADIENTS of softsign.py that calls softsine, '
                'or a reason in EXEMPT of softsign.py']),
    'arguments': ([("'softsign_backward': ((dy, x), {})", '')],
                  ["softsign_backward: no arguments: expected an entry 'softsign_backward' in arguments of "
                   'softsign.py']),
    'resources': ([(", 'softsign_backward': (16, 0)", '')],
                  ["softsign_backward: no resources: expected an entry 'softsign_backward': (registers, bytes of "
                   'shared memory) in RESOURCES of softsign.py']),
    'traffic': ([("'softsign': (8, 17), ", '')],
                ["softsign: no traffic: expected an entry 'softsign': (bytes, FLOPs) in TRAFFIC of softsign.py"]),
    'gradient check': ([("{'x': softsign_backward(dy, x)}", "{'x': dy / (1 + abs(x))**2}")],
                       ['softsign_backward: no gradient check: expected a case in GRADIENTS of softsign.py that calls '
                        'softsign_backward, or a reason in EXEMPT of softsign.py']),
}


def problems(said):
    """The lines of the first paragraph."""
    return said.split('\n\n')[0].splitlines()


@pytest.mark.parametrize('part', PARTS)
def test_a_part_left_out_of_the_example_is_named(part, example, quick, capsys):
    changes, lines = LEFT_OUT[part]
    assert main(['kernelcheck', example(*changes)]) == 1
    said = capsys.readouterr().out
    assert sorted(problems(said)) == sorted(lines) and f'WRONG: {len(lines)} problem' in said


@pytest.mark.parametrize('table, change', [
    ('TRAFFIC', ("TRAFFIC = {", "TRAFFIC = {'softsine': (8, 17), ")),
    ('RESOURCES', ("RESOURCES = {", "RESOURCES = {'softsine': (8, 17), ")),
    ('arguments', ("return {'softsign'", "return {'softsine': ((), {}), 'softsign'"))])
def test_an_entry_for_nothing_is_named(table, change, example, quick, capsys):
    assert main(['kernelcheck', example(change)]) == 1
    assert problems(capsys.readouterr().out) == [
        f'softsine: an entry in {table} of softsign.py, but no specification, twin or kernel of that name']


def test_a_specification_or_a_twin_alone_lacks_all_the_rest(example, quick, capsys):
    path = example(('class Softsign', 'def relu(x):\n    return x\n\n\nclass Softsign'))
    assert main(['kernelcheck', path]) == 1
    lines = problems(capsys.readouterr().out)
    assert [line.split(': ')[1] for line in lines] == [f'no {part}' for part in PARTS[1:]]
    assert lines[0] == 'relu: no twin: expected a method Softsign.relu(x) in softsign.py'
    path = example(('class Softsign(Launcher):', 'class Softsign(Launcher):\n'
                    '    def relu(self, x, *, slope):\n        return x\n'))
    assert main(['kernelcheck', path]) == 1
    lines = problems(capsys.readouterr().out)
    assert [line.split(': ')[1] for line in lines] == [f'no {part}' for part in PARTS if part != 'twin']
    assert lines[0] == 'relu: no specification: expected a function relu(x, *, slope) in softsign.py'


def test_all_that_is_missing_is_said_at_once(example, quick, capsys):
    path = example(("TRAFFIC = {'softsign': (8, 17), ", 'TRAFFIC = {'), ('def softsign(self', 'def _softsign(self'),
                   ('softsign_backward(self, dy, x)', 'softsign_backward(self, dx, x)'))
    assert main(['kernelcheck', path]) == 1
    lines = problems(capsys.readouterr().out)
    assert [line[:24] for line in lines] == ['softsign: no twin: expec', 'softsign: no traffic: ex',
                                             'softsign_backward: a dif']
    assert lines[2] == ('softsign_backward: a different signature: expected a twin softsign_backward(dy, x), as its '
                        'specification, got softsign_backward(dx, x)')


def test_a_reason_exempts_and_a_reason_for_nothing_is_named(example, quick, capsys):
    changes, _ = LEFT_OUT['gradient check']
    exempt = ('GRADIENTS = {', "EXEMPT = {'gradient check': {'softsign_backward': 'none'}}\nGRADIENTS = {")
    assert main(['kernelcheck', example(*changes, exempt)]) == 0
    assert main(['kernelcheck', example(exempt, ("'softsign_backward': 'none'", "'softsine': 'none'"))]) == 1
    assert ('softsine: an entry in EXEMPT of softsign.py, but nothing of that name\n') in capsys.readouterr().out


def without(table, name):
    """A function like table, whose result lacks the cases of one name."""
    return lambda *arguments: {case: value for case, value in table(*arguments).items()
                               if case.split(',')[0] != name}


@pytest.mark.parametrize('part', PARTS)
def test_a_part_left_out_of_the_package_is_named(part, quick, monkeypatch, capsys):
    name = 'bias_tanh'
    code = twins.code()
    if part == 'specification':
        monkeypatch.setattr(fusion, name, fusion.bias_tanh.__wrapped__)
    elif part == 'twin':
        monkeypatch.delattr(twins.Kernels, name)
    elif part == 'kernel':
        monkeypatch.setattr(twins, 'code', lambda: code.replace('extern "C" __global__ void bias_tanh(', 'void f('))
    elif part == 'arguments':
        monkeypatch.setattr(compare, 'arguments', without(compare.arguments, name))
    elif part == 'gradient check':
        monkeypatch.setattr(kernelset, 'groups_case', dict(cases.cases())['L_D minimax'])
    else:
        monkeypatch.delitem(getattr(roofline, part.upper()), name)
    assert main(['kernelcheck', '--kernel', name]) == 1
    said = problems(capsys.readouterr().out)
    wanted = {'specification': 'a function bias_tanh(...) in ops.py, fusion.py, graph.py or variants/convolution.py, '
                               'with @twin',
              'twin': 'a method Kernels.bias_tanh(parts, b) in twins.py',
              'kernel': 'extern "C" __global__ void bias_tanh(...) in kernels.cu',
              'arguments': "an entry 'bias_tanh' in compare.arguments",
              'resources': "an entry 'bias_tanh': (registers, bytes of shared memory) in roofline.RESOURCES",
              'traffic': "an entry 'bias_tanh': (bytes, FLOPs) in roofline.TRAFFIC",
              'gradient check': 'a case in checks/cases.py that calls bias_tanh, or a reason in kernelset.EXEMPT'}[part]
    wanted = wanted.replace('(...) in ops', '(parts, b) in ops')
    assert f'bias_tanh: no {part}: expected {wanted}' in said and len(said) == 1 + (part == 'specification')


def test_a_new_specification_in_the_package_asks_for_all_the_rest(quick, monkeypatch, capsys):
    def softsign(x):
        return x / (1 + abs(x))

    monkeypatch.setattr(ops, 'softsign', backend.twin(softsign), raising=False)
    assert main(['kernelcheck', '--kernel', 'softsign']) == 1
    lines = problems(capsys.readouterr().out)
    assert [line.split(': ')[1] for line in lines] == [f'no {part}' for part in PARTS[1:]]
    assert lines[0] == 'softsign: no twin: expected a method Kernels.softsign(x) in twins.py'


def test_random_numbers_have_every_part_too(quick, monkeypatch, capsys):
    monkeypatch.setattr(compare, 'DRAWS', ('bits', 'uniform'))
    monkeypatch.setattr(ops, 'softsign', backend.twin(lambda x: x), raising=False)  # a kernel of an author's
    assert main(['kernelcheck', '--kernel', 'normal']) == 1
    assert problems(capsys.readouterr().out) == [
        'normal: no specification: expected a function normal(out, *key) in ops.py, fusion.py, graph.py or '
        'variants/convolution.py, with @twin',
        "normal: no arguments: expected an entry 'normal' in compare.arguments"]


@needs_compiler
def test_the_packages_kernels_are_complete_and_correct(capsys):
    assert main(['kernelcheck', '--gpu', 'T4']) == 0
    said = capsys.readouterr().out
    own = kernelset.own()
    for case in own.arguments(2, 2, 0):
        assert f'\n{case} ' in said
    table = [line.split()[0] for line in said[said.index('on one T4'):].splitlines() if line.endswith(BOUNDS)]
    assert set(table) == (set(own.specifications) | set(own.exempt['specification'])) - set(own.exempt['kernel'])
    skipped = '' if nvrtc.library() else f' as far as it was checked ({NO_NVRTC})'
    assert 'on one T4 at best' in said and said.endswith(f'Complete and correct{skipped}.\n')


@needs_compiler
@needs_nvrtc
def test_the_example_is_complete_and_correct(example, capsys):
    assert main(['kernelcheck', example()]) == 0
    said = capsys.readouterr().out
    assert said.count(' ok\n') == 3 and f'NVRTC, for {", ".join(ARCHITECTURES)}: 0 problems' in said
    row = next(line for line in said.splitlines() if line.startswith('softsign ') and 'memory' in line).split()
    assert row[2:] == ['100%', '0', '0', '8', '17', '0.129', '8.228', 'memory'] and 8 <= int(row[1]) <= 16
    assert main(['kernelcheck', example(), '--kernel', 'softsign_backward', '--gpu', 'L4']) == 0
    said = capsys.readouterr().out
    assert 'softsign_backward' in said and '\nsoftsign ' not in said and 'on one L4 at best' in said


@needs_compiler
def test_the_ladder_of_products_is_complete_and_correct_and_its_headers_count_right(capsys):
    path = Path(kernelcheck.__file__).with_name('ladder.py')
    assert main(['kernelcheck', str(path)]) == 0
    said = capsys.readouterr().out
    steps = [line.split() for line in said.splitlines() if line.endswith(BOUNDS)]
    assert [step[0] for step in steps] == ['one_number', 'shared_tile', 'register_block']
    assert len({(step[5], step[6]) for step in steps}) == 1  # the least that any of them needs
    code = path.with_suffix('.cu').read_text()
    for step, (rows, width) in zip(steps, ((1, 1), (16, 16), (32, 64))):  # FLOPs a byte, as the headers say
        intensity = 2 * rows * width / (4 * (rows + width))
        assert f'{intensity:.3g} FLOPs a byte' in code and f'{step[0]}(const float*' in code


WRONG = {  # changes to the example, and what must be said
    'another number': ([('x[i] / (1 +', 'x[i] / (2 +')], ' WRONG at 9 x 33, order 0, blocks of 256\n    result['),
    'an element left out': ([('if (i < size) y', 'if (i < size - 1) y')], 'nan   1.0e-06   WRONG at 9 x 33'),
    'wrong in small blocks alone': ([('* blockDim.x +', '* 256 +')], 'WRONG at 9 x 33, order 1, blocks of 96\n'),
    'beyond the end': ([('if (i < size) y', 'if (i <= size) y')],
                       'softsign: RuntimeError: softsign: memory outside an array is touched, x[297] of 297 elements: '
                       'block 1,0 thread 41,0 reads it (line 5), at 9 x 33'),
    'a grid one element short': ([("'softsign', x.size, x, y", "'softsign', x.size - 1, x, y")],
                                 'WRONG at 1537 x 1, order 0, blocks of 256\n    result[1536, 0]: expected'),
    'a grid rounded the wrong way': (
        [("self.by_element('softsign', x.size, x",
          "self.launch('softsign', ((x.size + 254) // 256,), (256,), x")],
        'nan   1.0e-06   WRONG at 1537 x 1, order 0'),
    'one column taken for two': ([("x.size, x, y, x.size)", "x.size, x, y, x.size) if x.shape[1] > 1 else None")],
                                 'RuntimeError: the twin does not launch a kernel softsign, at 1537 x 1'),
    'an array that NumPy made': ([('y = self.empty_like(x)', 'y = np.zeros(x.shape, np.float32)')],
                                 'softsign: TypeError: softsign: expected y from the arguments, self.empty or '
                                 'self.empty_like, got an array of NumPy, which a GPU cannot read, at 9 x 33'),
    'a launch with too few': ([("x.size, x, y, x.size)", "x.size, x, y)")],
                              'softsign: TypeError: softsign: expected 3 arguments, got 2, at 9 x 33'),
    'a twin without its kernel': ([("self.by_element('softsign', x.size, x, y, x.size)", 'y[...] = softsign(x)')],
                                  'softsign: RuntimeError: the twin does not launch a kernel softsign, at 9 x 33'),
    'a twin that does without its kernel at some shape': (
        [("self.by_element('softsign', x.size, x, y, x.size)",
          "self.by_element('softsign', x.size, x, y, x.size) if len(x) == 9 else np.copyto(y, softsign(x))")],
        'softsign: RuntimeError: the twin does not launch a kernel softsign, at 32 x 64'),
    'a kernel that does not compile': ([('if (i < size) y[i]', 'if (i < size) z[i]')], 'softsign.cu:5:'),
    'a wrong derivative': ([('return dy / (1 + abs(x))**2', 'return dy / (1 + abs(x))**3')],
                           'gradient check softsign: wrong\n'),
    'a gradient check that raises': ([("{'x': softsign_backward(dy, x)}", "{'y': softsign_backward(dy, x)}")],
                                     "gradient check softsign: ValueError: backward: expected a dict with"),
}


@needs_compiler
@pytest.mark.parametrize('name', WRONG)
def test_what_is_wrong_is_named(name, example, monkeypatch, capsys):
    monkeypatch.setattr(nvrtc, 'library', lambda: None)
    changes, said = WRONG[name]
    assert main(['kernelcheck', example(*changes)]) == 1
    assert said in capsys.readouterr().out


@needs_compiler
def test_a_case_runs_at_every_shape_in_every_order_with_fused_multiply_add_too():
    where = [where for _, where in kernelcheck.comparisons(kernelset.of_module(SUPPORT / 'softsign.py'), ['softsign'])]
    assert len(set(where)) == len(where) == 19 and sum('fused multiply-add' in one for one in where) == 3
    for text in ('9 x 33', '32 x 64', '90 x 784', '300 x 2', '1537 x 1', '3 x 1025', *(f'order {i}' for i in range(4)),
                 *(f'blocks of {block}' for block in (32, 96, 256, 1024))):
        assert any(text in one for one in where), text


@needs_compiler
def test_a_grid_one_block_short_is_caught_in_every_case(monkeypatch):
    def short(self, name, count, *arguments):
        called.add(name)
        whole(self, name, count - 1, *arguments)

    whole, called, own = launch.Launcher.by_element, set(), kernelset.own()
    monkeypatch.setattr(launch.Launcher, 'by_element', short)
    for case in own.arguments(2, 2, 0):
        # the first three are of one size at every shape, dense may end in sum_parts, images have whole pixels
        if not case.startswith(('bits, ', 'uniform, ', 'normal, ', 'dense')) and (
                'patches' not in case or 'single' in case):
            ok, line = kernelcheck.verdict(own, case)
            assert ok == (case.split(',')[0] not in called), line
    assert {'stack', 'adam_', 'bits', 'normal'} < called


COMMON = (  # CUDA that authors use, and what it gives for x = 0.25 and i = 3, in float32
    ('min(x, 1.0f)', 0.25), ('max(x, 1.0f)', 1), ('min(i, 2)', 2), ('max(i, 7u)', 7), ('min(x, 0.0f / 0)', 0.25),
    ('max(1ll << 40, 2ll) >> 40', 1), ('rsqrtf(x)', 2), ('__fdividef(x, 2)', 0.125), ('__ldg(p + 1)', 0.5),
    ('__saturatef(x - 1)', 0), ('table[1]', 6), ('twice(x)', 0.5), ('__expf(x)', np.exp(0.25)),
    ('__logf(x)', np.log(0.25)), ('__log2f(x)', -2), ('__log10f(x)', np.log10(0.25)), ('__powf(x, 2)', 0.0625),
    ('__sinf(x)', np.sin(0.25)), ('__cosf(x)', np.cos(0.25)), ('__tanf(x)', np.tan(0.25)))
MORE = '''__constant__ float table[2] = {5, 6};
static __device__ __forceinline__ float twice(float x) { return 2 * x; }
__device__ __noinline__ float thrice(float x) { return 3 * x; }  // extern "C" __global__ void none(int n) { }
extern "C" __global__ void __launch_bounds__(256) f(
        const float* __restrict__ p /* 2 */, float* __restrict__ y /* any */,  // what comes out
        int i) { float x = p[0];
%s}
extern "C" __global__
__launch_bounds__(128, 2) void g(float* __restrict__ y /* 1 */) { y[0] = 1; }
''' % ''.join(f'    y[{i}] = {text};\n' for i, (text, _) in enumerate(COMMON))


@needs_compiler
def test_common_cuda_gives_on_a_cpu_what_it_should():
    twins = launch.Launcher(emulator.HostModule(MORE), MORE)
    y, one = np.zeros(len(COMMON), np.float32), np.zeros(1, np.float32)
    twins.launch('f', (1,), (1,), np.float32([0.25, 0.5]), y, 3)
    twins.launch('g', (1,), (1,), one)
    assert one == 1 and list(twins.signatures) == ['f', 'g']
    for got, (text, expected) in zip(y, COMMON):
        assert got == pytest.approx(expected, rel=1e-6), text


@needs_compiler
def test_launch_bounds_hold_and_by_element_keeps_to_them():
    twins, y = launch.Launcher(emulator.HostModule(MORE), MORE), np.zeros(1, np.float32)
    with pytest.raises(ValueError, match=r'g: expected a block of at most 128 threads, got \(129,\): 129'):
        twins.launch('g', (1,), (129,), y)
    launched = []
    twins.launch = lambda name, grid, block, *_: launched.append((name, grid, block))
    for name in 'fg':
        for twins.block in (32, 1024):
            twins.by_element(name, 1000)
    assert launched == [('f', (32,), (32,)), ('f', (4,), (256,)), ('g', (32,), (32,)), ('g', (8,), (128,))]


@needs_nvrtc
def test_common_cuda_compiles_with_nvrtc():
    assert set(nvrtc.resources(nvrtc.library(), MORE, 'sm_90')) == {'f', 'g'}


@needs_compiler
@pytest.mark.parametrize('text, said', [
    ('atomicAdd(y, x[i]);', 'atomicAdd: the check on a CPU has no atomics'),
    ('x[i] + __shfl_down_sync(~0u, x[i], 1);', '__shfl_down_sync: the check on a CPU has no exchanges within a warp'),
    ('__activemask();', '__activemask: the check on a CPU has no exchanges within a warp'),
    ('extern __shared__ float s[];', 'extern __shared__: the check on a CPU has no dynamic shared memory'),
    ('int any = __syncthreads_or(i);', '__syncthreads_or: the check on a CPU has no barriers that count'),
    ('float4 v = ((float4*)x)[i];', 'float4: the check on a CPU has no vectors such as float4')])
def test_cuda_that_the_check_does_not_have_is_said_in_a_line(text, said, example, monkeypatch, capsys):
    monkeypatch.setattr(nvrtc, 'library', lambda: None)
    change = '// float4, atomicAdd\n    /* __shfl_sync\n */ int i = blockIdx'
    path = example(('float root', f'{text}\n    float root'))
    assert main(['kernelcheck', path]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f'softsign.cu:13: {said}' in lines and not any('error' in line for line in lines)
    assert main(['kernelcheck', example(('int i = blockIdx', change))]) == 0


@needs_compiler
@pytest.mark.parametrize('made', ['np.zeros_like(x)', 'self.empty(x, x.shape, x.dtype)', 'x.copy()', '(x + 1)[:]'])
def test_arrays_that_lie_where_the_arguments_do_pass(made, example):
    mine = kernelset.of_module(example(('y = self.empty_like(x)', f'y = {made}')))
    assert kernelcheck.verdict(mine, 'softsign')[0]


def test_the_twins_of_an_author_run_on_a_gpu_too(cupy, driver):
    mine = kernelset.of_module(SUPPORT / 'softsign.py')
    twins = mine.twins(cupy.RawModule(code=mine.code, options=('--std=c++17',)), mine.code)
    y = twins.softsign(cupy.asarray(np.float32([[1, -3]])))
    assert y.get().tolist() == [[0.5, -0.75]] and driver.launched == {'softsign': 1}


@needs_nvrtc
@pytest.mark.parametrize('stated, said', [
    ("(8, 0)", 'softsign: registers: expected at most 8, as in RESOURCES of softsign.py, got 1'),
    ("(16, 64)", 'softsign: bytes of shared memory: expected 64, as in RESOURCES of softsign.py, got 0 for ')])
def test_a_kernel_that_takes_more_than_its_table_says_is_named(stated, said, example, monkeypatch, capsys):
    monkeypatch.setattr(kernelcheck, 'COMPILER', None)
    assert main(['kernelcheck', example(("'softsign': (16, 0)", f"'softsign': {stated}"))]) == 1
    assert said in capsys.readouterr().out


@needs_nvrtc
def test_local_memory_must_be_stated_and_a_refusal_is_said(example, monkeypatch, capsys):
    monkeypatch.setitem(roofline.RESOURCES, 'normal', (56, 0))
    _, lines = kernelcheck.compiled(kernelset.own())
    assert len(lines) == 1 and lines[0].startswith('normal: bytes of local memory: expected at most 0, as in roofline')
    monkeypatch.setattr(kernelcheck, 'COMPILER', None)
    assert main(['kernelcheck', example(('if (i < size) y[i]', 'if (i < size) z[i]'))]) == 1
    assert 'softsign.cu: sm_75: softsign.cu(5): error: identifier "z" is undefined' in capsys.readouterr().out


def test_what_cannot_be_checked_is_said_and_is_no_failure(example, quick, capsys):
    assert main(['kernelcheck', example()]) == 0
    said = capsys.readouterr().out
    assert f'3 comparisons: skipped, {NO_COMPILER}' in said and f'compiling with NVRTC: skipped, {NO_NVRTC}' in said
    assert '\n*: as stated, not measured\n' in said and said.count('  16*') == 2
    assert said.endswith(
        f'Complete and correct as far as it was checked ({NO_COMPILER}; {NO_NVRTC}).\n')


@pytest.mark.parametrize('arguments, said', [
    (['nowhere.py'], 'nowhere.py: no such file; expected a .py file that describes kernels'),
    (['alone.py'], 'alone.cu: no such file; expected the kernels of alone.py, or SOURCE there'),
    (['two.py'], 'two.py: expected one subclass of Launcher, got 2'),
    (['--kernel', 'softsign'], 'kernel: expected one of bits, uniform, ')])
def test_what_is_no_kernel_gives_one_line(arguments, said, quick, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'alone.py').write_text('')
    (tmp_path / 'two.py').write_text('from minigan.gpu.launch import Launcher\nSOURCE = "alone.py"\n'
                                     'class A(Launcher): pass\nclass B(Launcher): pass\n')
    assert main(['kernelcheck', *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count('\n') == 1


def test_an_empty_module_lacks_everything_but_its_kernels(tmp_path, quick, capsys):
    (tmp_path / 'mine.py').write_text('')
    (tmp_path / 'mine.cu').write_text((SUPPORT / 'softsign.cu').read_text())
    assert main(['kernelcheck', str(tmp_path / 'mine.py'), '--kernel', 'softsign']) == 1
    lines = problems(capsys.readouterr().out)
    assert [line.split(': ')[1] for line in lines] == [f'no {part}' for part in PARTS if part != 'kernel']


def test_a_specification_alone_lacks_the_rest_and_nothing_else_is_said(tmp_path, quick, capsys):
    (tmp_path / 'mine.py').write_text('def relu(x):\n    return x\n')
    (tmp_path / 'mine.cu').write_text('')
    assert main(['kernelcheck', str(tmp_path / 'mine.py')]) == 1
    lines = problems(capsys.readouterr().out)
    assert [line.split(': expected')[0] for line in lines] == [f'relu: no {part}' for part in PARTS[1:]]
    assert lines[0] == 'relu: no twin: expected a method <a subclass of Launcher>.relu(x) in mine.py'


@pytest.mark.parametrize('name', ['tile', 'threads', 'block', 'module', 'functions', 'signatures', 'launch', 'empty',
                                  'by_element'])
@pytest.mark.parametrize('where', ['def softsign(x', 'void softsign(', 'def softsign(self'])
def test_a_reserved_name_is_refused_in_one_line(name, where, example, quick, capsys):
    path = example((where, where.replace('softsign', name)), *[('lambda: softsign(x)', f'lambda: {name}(x)')] * (
        where == 'def softsign(x'))
    assert main(['kernelcheck', path]) == 2
    error = capsys.readouterr().err
    assert f'{name}: a reserved name' in error and error.count('\n') == 1


@needs_compiler
def test_a_kernel_may_have_the_name_of_what_the_check_notes(example):
    path = Path(example())
    for file in (path, path.with_suffix('.cu')):
        file.write_text(file.read_text().replace('softsign', 'launched').replace('Softsign', 'Launched'))
    assert main(['kernelcheck', str(path)]) == 0


def test_the_tolerance_and_the_source_may_be_named(example, tmp_path):
    path = example(('GRADIENTS = {', "SOURCE, TOLERANCE = 'other.cu', {'softsign': 1e-3}\nGRADIENTS = {"))
    (tmp_path / 'softsign.cu').rename(tmp_path / 'other.cu')
    mine = kernelset.of_module(path)
    assert (mine.tolerance('softsign'), mine.tolerance('softsign_backward')) == (1e-3, 1e-6)
    assert mine.places['kernel'] == 'other.cu' and 'softsign_backward' in mine.code


def test_the_roofline_is_the_larger_of_two_times():
    card = roofline.Gpu(1e9, 1e12, 'sm_80', 100)
    seconds, bound = roofline.least_time(card, (8, 17), 1000)
    assert seconds == pytest.approx(8e-6) and bound == 'memory'
    seconds, bound = roofline.least_time(card, (8, 17_000), 1000)
    assert seconds == pytest.approx(17e-6) and bound == 'FLOPs'
    assert set(roofline.TRAFFIC) == set(roofline.RESOURCES)
    assert all(gpu.architecture in ARCHITECTURES for gpu in GPUS.values()) and list(roofline.ROOM) == [*ARCHITECTURES]


def test_the_traffic_of_a_product_depends_on_its_depth():
    bytes_, flops = roofline.per_element(roofline.TRAFFIC['dense'], 64, 512)
    assert bytes_ * 64 * 512 == 4 * (64 * 512 + 512 * 512 + 64 * 512) and flops * 64 * 512 == 2 * 64 * 512 * 512
    assert roofline.per_element((8, 17), 64, 512) == (8, 17)


@needs_nvrtc
def test_registers_are_marked_where_nvrtc_refuses_the_source(example, monkeypatch, capsys):
    monkeypatch.setattr(kernelcheck, 'COMPILER', None)
    main(['kernelcheck', example()])
    assert '*' not in capsys.readouterr().out
    main(['kernelcheck', example(('if (i < size) y[i]', 'if (i < size) z[i]'))])
    said = capsys.readouterr().out
    assert '  16*     100%      0*     0*' in said and '\n*: as stated, not measured\n' in said


@pytest.mark.parametrize('gpu, said', [
    ('L4', 'than the 58 multiprocessors of the L4, at 64 x 512 (products have 70 columns): cross_entropy 1\n'),
    ('A100', 'than the 108 multiprocessors of the A100, at 64 x 512 (products have 70 columns): cross_entropy 1\n')])
def test_kernels_with_fewer_blocks_than_multiprocessors_are_named(gpu, said):
    own = kernelset.own()
    text = '\n'.join(kernelcheck.table(own, ['tanh_backward', 'cross_entropy'], {}, gpu)) + '\n'
    assert said in text
    assert kernelcheck.blocks(own, ['cross_entropy', 'bias_tanh', 'batch_norm_leaky_relu_', 'bits', 'softsign']) == {
        'cross_entropy': 1, 'bias_tanh': 128, 'batch_norm_leaky_relu_': 16, 'bits': 8}


@pytest.mark.parametrize('architecture, registers, shared, block, blocks', [
    ('sm_80', 32, 0, 256, 8), ('sm_80', 33, 0, 256, 6), ('sm_80', 56, 0, 256, 4), ('sm_80', 255, 0, 256, 1),
    ('sm_89', 40, 0, 256, 6), ('sm_75', 64, 0, 256, 4), ('sm_80', 255, 0, 32, 8), ('sm_80', 8, 0, 32, 32),
    ('sm_86', 8, 0, 32, 16), ('sm_75', 32, 32 << 10, 128, 2), ('sm_80', 32, 40 << 10, 128, 4)])
def test_threads_registers_shared_memory_and_a_limit_say_how_many_blocks_fit(architecture, registers, shared, block,
                                                                             blocks):
    assert roofline.fitting(architecture, registers, shared, block=block) == blocks


@needs_nvrtc
def test_the_blocks_that_fit_are_printed_for_every_architecture():
    own = kernelset.own()
    measured, _ = kernelcheck.compiled(own)
    head, dense, tanh = list(kernelcheck.table_of_room(own, ['dense', 'tanh_backward'], measured))
    assert head.split()[-7:] == [*ARCHITECTURES] and len(dense.split('/')) == len(tanh.split('/')) == 8
    assert [int(one) for one in tanh.split()[3::3]] == [4, 8, 6, 6, 8, 8, 6]
    assert not list(kernelcheck.table_of_room(own, ['dense'], {}))


COMPILE = """if True:
    import sys
    from pathlib import Path
    from minigan.gpu import emulator
    emulator.CACHE, real, count = Path(sys.argv[1]), emulator._compile, 0
    def compile(*arguments):
        global count
        count += 1
        real(*arguments)
    emulator._compile = compile
    print('ready', flush=True)
    sys.stdin.readline()
    emulator.HostModule('extern "C" __global__ void f(float* y) { y[0] = 1; }')
    print(count, flush=True)"""


@needs_compiler
def test_two_processes_do_not_compile_the_same_source(tmp_path):
    pair = [subprocess.Popen([sys.executable, '-c', COMPILE, str(tmp_path)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.stdout.readline() for process in pair] == ['ready\n'] * 2
    for process in pair:
        process.stdin.write('go\n')
        process.stdin.flush()
    assert sorted(process.communicate()[0] for process in pair) == ['0\n', '1\n']
    assert [path.suffix for path in tmp_path.iterdir()] == ['.so']


@needs_compiler
def test_a_cache_that_cannot_be_written_is_replaced_by_a_private_folder(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    monkeypatch.setattr(emulator, 'CACHE', tmp_path / 'file' / '__pycache__')
    mine = kernelset.of_module(SUPPORT / 'softsign.py')
    twins = kernelcheck.emulated(replace(mine, code=mine.code + '\n// compiled anew\n'))
    x = np.float32([[1, -3]])
    assert twins.softsign(x).tolist() == [[0.5, -0.75]]
    folder = emulator.private_folder().name
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700 and len(list(Path(folder).glob('*.so'))) == 1


def test_the_readme_links_to_the_example_and_names_what_the_check_does_not_have():
    readme = (SUPPORT.parents[1] / 'minigan' / 'gpu' / 'README.md').read_text(encoding='utf-8')
    words = ' '.join(readme.split()).replace('`', '')
    assert ', '.join(emulator.MISSING) in words and all(kind in words for kind in launch.TYPES)
    for kind in ('py', 'cu'):
        assert f'(../../tests/support/softsign.{kind})' in readme and (SUPPORT / f'softsign.{kind}').exists()
