"""bench_gpu.py without a GPU: every part writes its results and its page, whatever happens to the others."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import bench_gpu
import candidates
import numpy as np
import pytest
from convolutions import Convolution
from on_gpu import clock, convolutions, correct, every_kernel, games, kernels, page, products, pytorch, step, train
from on_gpu.part import Settings
from support.driver import missing as driver_missing

from minigan import RECIPES as VARIANTS
from minigan.checks.row import Row
from minigan.data import DataError, Dataset
from minigan.gpu import compare, graph, roofline, twins
from minigan.networks import RECIPES, default_D, default_G
from minigan.training.build import build_game
from minigan.training.config import Config
from minigan.variants.dcgan import dcgan_D, dcgan_G

ROOT = Path(__file__).parents[2]
QUICK = Settings(rounds=1, seconds=1e-9, limit=1e6, batches=(4,), rows=(3,), runs=1)
CLEAN = '========= ERROR SUMMARY: 0 errors'
LAYERS = [Convolution((4, 4, 3), 5, k=4, stride=2, pad=1, transposed=one) for one in (False, True)]
TINY = [('dense', 1, 3, 5), ('dense_backward_input', 1, 3, 5), ('dense_backward_params_', 2, 4, 1)]


@pytest.fixture
def gpu(cupy, monkeypatch):
    """The real CuPy; short copies, and a call a graph."""
    for name, value in (('LONG', 2**10), ('SHORT', 2**8), ('CALLS', 1)):
        monkeypatch.setattr(clock, name, value)
    monkeypatch.setattr(kernels, 'WIDTH', 33)
    return cupy


@pytest.fixture
def small(gpu, monkeypatch):
    """Small networks, few products, no other framework, and short limits."""
    recipe = replace(RECIPES['default'], G=partial(default_G, widths=(4, 5)), D=partial(default_D, widths=(5, 4)))
    images = np.random.default_rng(0).integers(0, 256, (50, 16), np.uint8)
    dataset = Dataset('noise', (4, 4), images, images[:2], images[:2])
    dcgan = replace(VARIANTS['dcgan'], G=partial(dcgan_G, hidden=4, widths=(2, 3)),
                    D=partial(dcgan_D, channels=3, hidden=(4, 5)), batch=4)
    recipes = {'default': recipe, 'dcgan': dcgan}

    def game_of(network, m, xp):
        config = Config(network=network, batch=m, **candidates.PLAIN).resolve(recipes[network], dataset)
        return build_game(config, recipes[network], dataset, xp)

    for module in (games, step):
        monkeypatch.setattr(module, 'game_of', game_of)
        monkeypatch.setattr(module, 'RECIPES', {'default': recipe})
    games.products.cache_clear()
    monkeypatch.setattr(products, 'RECIPES', {'default': recipe})
    monkeypatch.setattr(products, 'CONVOLUTIONS', ())
    monkeypatch.setattr(step, 'VARIANTS', recipes)
    monkeypatch.setattr(convolutions, 'M', 1)
    monkeypatch.setattr(convolutions, 'LAYERS', LAYERS)
    monkeypatch.setattr(products, 'products', lambda network: TINY)
    monkeypatch.setattr(products, 'fused', lambda network: [('dense_leaky_relu_dropout', 1, 3, 5)])
    monkeypatch.setattr(step, 'ON_GPU', {})
    monkeypatch.setattr(step, 'limits', partial(clock.limits, n=8, long=2**10, short=2**8))
    yield gpu
    games.products.cache_clear()


@pytest.fixture
def outcomes(monkeypatch):
    """Self-test, tests and sanitizer without what they would run. The list is of the self-test's rows."""
    rows = [Row('adam_', 1e-7, 1e-6), Row('100 steps', 1e-5, 1e-3)]
    monkeypatch.setattr(compare, 'rows', lambda xp: iter(rows))
    monkeypatch.setattr(correct.whole_steps, 'rows', lambda xp: iter([]))
    monkeypatch.setattr(correct, 'output_of', lambda command, limit: (0, [CLEAN, '3 passed in 1.0s'], 1.0))
    monkeypatch.setattr(correct.shutil, 'which', lambda *_, **__: '/bin/compute-sanitizer')
    return rows


def run(monkeypatch, *arguments):
    """bench_gpu.main with these arguments, all parts in this process. Returns the exit code."""
    monkeypatch.setattr(bench_gpu, 'QUICK', QUICK)
    monkeypatch.setattr(sys, 'argv', ['bench_gpu', '--quick', '--rounds', '1', '--here', *map(str, arguments)])
    return bench_gpu.main()


def test_without_a_gpu_it_says_so_in_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, 'cupy', None)
    assert run(monkeypatch, '--out', tmp_path / 'new') == 2
    said = capsys.readouterr().err
    assert said.startswith("device 'cuda': CuPy is not installed") and said.count('\n') == 1
    assert not (tmp_path / 'new').exists()


def test_a_file_that_is_not_its_own_is_refused_in_one_line(gpu, monkeypatch, capsys, tmp_path):
    for content in ('3', '{"step"', '{"step": {}}', '{"format": 0, "step": {}}', '{"format": 1, "step": 3}'):
        (tmp_path / page.JSON).write_text(content)
        assert run(monkeypatch, '--out', tmp_path) == 2
        said = capsys.readouterr().err
        assert said.count('\n') == 1 and 'expected results of this version of the command' in said
    assert (tmp_path / page.JSON).read_text() == content


def test_every_part_writes_its_results_its_page_and_its_chart(small, outcomes, monkeypatch, capsys, tmp_path):
    load = train.data.load
    monkeypatch.setattr(train.data, 'load', lambda name, *X: refused() if name == 'mnist' else load(name, *X))
    monkeypatch.setattr(train, 'play', lambda source, epochs, out: trained(out))
    assert run(monkeypatch, '--out', tmp_path) == 0
    content, said = bench_gpu.load(tmp_path), capsys.readouterr().out
    text = (tmp_path / page.PAGE).read_text()
    assert list(content) == list(page.PARTS) and all(one['done'] and one['results'] for one in content.values())
    assert [one['error'] for one in content.values()] == [None] * len(page.PARTS)
    for part in page.PARTS.values():
        assert f'## {part.title}\n' in text
    for name in ('kernels', 'products', 'step', 'train'):
        assert (tmp_path / f'{name}.png').stat().st_size > 5000 and f']({name}.png)' in text
    verdict = text[text.index('## Verdict'):text.index('## Self-test')]
    assert ('**Correct: all 2 comparisons of the self-test hold; tests/gpu/test_gpu.py: 3 passed in 1.0s; '
            'compute-sanitizer finds nothing (memcheck, racecheck, initcheck, synccheck).**') in verdict
    assert 'Not checked' not in verdict and 'the time of cuBLAS includes waiting for the CPU' in verdict
    assert 'MNIST could not be loaded' in text and 'no download' not in text  # whose message names the user's folders
    assert [line.split()[1] for line in verdict.splitlines() if line.startswith('- ')] == [
        'Kernels', 'Products:', 'A', 'Training']
    assert verdict.splitlines()[2] in said and 'no GPU, but a stand-in' in text
    assert '`python bench/bench_gpu.py --out FOLDER --parts step --rounds 1 --quick`' in text
    names = [r['kernel'].split(',')[0] for r in content['kernels']['results']]
    assert len(names) == len(set(names))
    wanted = {name.split(',')[0] for name in compare.arguments(3, 3, 0)} | set(compare.DRAWS)
    assert set(names) == {name for name in wanted if not name.startswith('dense')}
    assert '"error"' not in json.dumps([one['results'] for name, one in content.items() if name != 'selftest'])


def refused():
    raise DataError('no download')


def trained(out):
    """A run of few steps on the CPU in place of one on the GPU. Returns some seconds."""
    train.training.train(Config(epochs=1, device='cpu', out=str(out)), quiet=True)
    return 1.5


def test_a_page_can_be_written_from_any_part_of_the_results(small, outcomes, monkeypatch, tmp_path):
    outcomes.append(Row('bits', float('nan'), 0, 'why it is wrong'))
    assert run(monkeypatch, '--out', tmp_path, '--parts', 'selftest', 'tests', 'kernels', 'products', 'step') == 1
    whole = bench_gpu.load(tmp_path)
    for name in whole:
        for length in (0, 1, 2):
            page.write(tmp_path, {name: {**whole[name], 'results': whole[name]['results'][:length]}})
        broken = [{key: r[key] for key in r if key in ('kernel', 'm', 'n', 'network', 'kind', 'rows', 'n_in', 'n_out',
                                                       'networks', 'limits')} | {'error': 'OutOfMemoryError'}
                  if 'm' in r or 'kind' in r else r for r in whole[name]['results']]
        page.write(tmp_path, {name: {**whole[name], 'results': broken, 'error': 'XError: the part', 'cut': True}})
        text = (tmp_path / page.PAGE).read_text()
        assert '**NOT CORRECT' in text and 'XError: the part' in text
        assert ('OutOfMemoryError' in text) == (name in ('kernels', 'products', 'step'))


CRASH = '''
import os
from on_gpu import correct
from support.driver.install import Driver
from minigan import RECIPES as VARIANTS
from minigan.checks.row import Row


def rows(xp):
    yield Row('before', 0.0, 1.0)
    os.write(2, b'illegal instruction')
    os._exit(3)


Driver()
correct.compare.rows = rows
'''


def test_a_part_whose_process_dies_keeps_its_results_and_the_others_go_on(tmp_path):
    if reason := driver_missing():
        pytest.skip(f'the real CuPy cannot run here: {reason}')
    (tmp_path / 'sitecustomize.py').write_text(CRASH)
    path = os.pathsep.join(map(str, (tmp_path, ROOT, ROOT / 'tests', ROOT / 'bench')))
    ended = subprocess.run([sys.executable, ROOT / 'bench' / 'bench_gpu.py', '--out', tmp_path / 'out', '--parts',
                            'selftest', 'sanitizer'], env={**os.environ, 'PYTHONPATH': path, 'PATH': '/nowhere'},
                           capture_output=True, text=True)
    assert ended.returncode == 1, ended.stderr
    content = bench_gpu.load(tmp_path / 'out')
    assert [r['name'] for r in content['selftest']['results']] == ['before']
    assert content['selftest']['error'] == 'its process ended with code 3: illegal instruction'
    assert content['sanitizer']['error'] is None and 'missing' in content['sanitizer']['results'][0]
    assert '- Self-test: its process ended with code 3' in (tmp_path / 'out' / page.PAGE).read_text()


def test_a_part_that_hangs_is_stopped_with_its_children(monkeypatch, tmp_path):
    monkeypatch.setattr(bench_gpu, 'STOP', 1)
    script = tmp_path / 'hang.py'
    script.write_text(f'import subprocess, sys, time\nchild = subprocess.Popen([sys.executable, "-c", "import time; '
                      f'time.sleep(60)"])\nopen("{tmp_path}/pid", "w").write(str(child.pid))\ntime.sleep(60)')
    monkeypatch.setattr(bench_gpu, '__file__', str(script))
    bench_gpu.in_a_process(tmp_path, 'tests', [])
    assert bench_gpu.load(tmp_path)['tests'] == {'error': 'stopped after 1 s'}
    state = Path(f'/proc/{(tmp_path / "pid").read_text()}/stat')
    deadline = time.monotonic() + 5
    while state.exists() and state.read_text().split()[2] != 'Z' and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not state.exists() or state.read_text().split()[2] == 'Z'


def test_an_error_ends_a_part_after_its_results_and_names_its_place(gpu, monkeypatch, tmp_path):
    def measure(xp, settings):
        yield {'missing': 'first'}
        raise MemoryError('the memory of the GPU\nis full')
    monkeypatch.setitem(page.PARTS, 'sanitizer', correct.SANITIZER._replace(measure=measure))
    assert run(monkeypatch, '--out', tmp_path, '--parts', 'sanitizer') == 1
    one = bench_gpu.load(tmp_path)['sanitizer']
    assert one['results'] == [{'missing': 'first'}] and one['done']
    assert one['error'].startswith('MemoryError: the memory of the GPU is full (test_bench_gpu.py:')


def test_a_part_begins_nothing_new_when_its_time_is_up(gpu, monkeypatch, tmp_path):
    monkeypatch.setitem(page.PARTS, 'sanitizer', correct.SANITIZER._replace(
        measure=lambda xp, settings: ({'missing': str(i)} for i in range(10**9))))
    monkeypatch.setattr(sys.modules[__name__], 'QUICK', QUICK._replace(limit=0))
    run(monkeypatch, '--out', tmp_path, '--parts', 'sanitizer')
    one = bench_gpu.load(tmp_path)['sanitizer']
    assert len(one['results']) == 1 and one['cut']


def test_a_run_that_is_stopped_leaves_a_page_that_says_so(gpu, monkeypatch, capsys, tmp_path):
    def measure(xp, settings):
        yield {'name': 'adam_', 'error': 0.0, 'allowed': 1.0, 'ok': True, 'why': ''}
        os.kill(os.getpid(), signal.SIGTERM)
        yield {}
    monkeypatch.setitem(page.PARTS, 'selftest', correct.SELFTEST._replace(measure=measure))
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert run(monkeypatch, '--out', tmp_path, '--parts', 'selftest', 'tests') == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    text = (tmp_path / page.PAGE).read_text()
    assert 'stopped; ' in capsys.readouterr().out and '**Results may be missing: stopped before its end.**' in text
    assert '**Not known to be correct' in text and list(bench_gpu.load(tmp_path)) == ['selftest']


def test_tf32_is_off_whatever_the_environment_says(gpu, outcomes, monkeypatch, tmp_path):
    for name in bench_gpu.TF32:
        monkeypatch.setenv(name, '1')
    run(monkeypatch, '--out', tmp_path, '--parts', 'selftest')
    assert not set(bench_gpu.TF32) & set(os.environ)


def test_other_parts_keep_their_results(gpu, outcomes, monkeypatch, tmp_path):
    run(monkeypatch, '--out', tmp_path, '--parts', 'tests')
    before = bench_gpu.load(tmp_path)['tests']
    run(monkeypatch, '--out', tmp_path, '--parts', 'selftest')
    assert bench_gpu.load(tmp_path)['tests'] == before and len(bench_gpu.load(tmp_path)) == 2


ENDED = {'error': None, 'done': True, 'cut': False, 'seconds': 1.0, 'about': {}}


@pytest.mark.parametrize('part, results, said', [
    (None, None, 'Not known to be correct'),
    ('selftest', [{'name': 'adam_', 'error': 2.0, 'allowed': 1e-6, 'ok': False, 'why': 'theta'}], 'adam_: 2.0e+00 of'),
    ('tests', [{'command': 'pytest', 'ok': False, 'code': 1, 'seconds': 1, 'lines': ['1 failed']}], '1 failed'),
    ('sanitizer', [{'command': 'x', 'ok': False, 'code': None, 'seconds': 1, 'lines': []}], 'x: STOPPED: it took too'),
    ('kernels', [{'kernel': 'bits', 'm': 64, 'n': 512, 'wrong': ['512 threads: WRONG']}],
     'bits, 64 rows: 512 threads: WRONG'),
    ('products', [{'kind': 'dense', 'rows': 32, 'n_in': 3, 'n_out': 5, 'difference': 2e-5}], '1e-05, got 2.0e-05'),
    ('products', [{'kind': 'dense', 'rows': 32, 'n_in': 3, 'n_out': 5, 'difference': float('nan')}], 'got nan'),
    ('step', [{'limits': {}}, {'network': 'default', 'm': 32, 'missing': {
        'JAX jit': "ValueError: expected minigan's gradients within 1e-05, got 1"}}], 'batch 32, JAX jit: ValueError'),
])
def test_the_verdict_names_what_is_wrong(part, results, said):
    content = {part or 'train': {**ENDED, 'results': results or []}}
    text = '\n'.join(page.verdict(content))
    assert said in text and 'Correct:' not in text and bool(page.faults(content)) == bool(part)


PASSED = {**ENDED, 'results': [{'name': 'adam_', 'error': 0.0, 'allowed': 1e-6, 'ok': True, 'why': ''}]}


@pytest.mark.parametrize('changes, why', [
    ({'results': []}, 'no results'), ({'done': False}, 'stopped before its end'),
    ({'cut': True, 'seconds': 361.2}, 'time was up after 361 s')])
def test_a_self_test_that_has_not_run_to_its_end_is_not_called_correct(changes, why):
    assert '**Correct: all 1 comparisons of the self-test hold.**' in list(page.verdict({'selftest': PASSED}))
    text = '\n'.join(page.verdict({'selftest': {**PASSED, **changes}}))
    assert 'Correct:' not in text and f'Self-test ({why})' in text and '**Not known to be correct' in text


def test_the_verdict_says_what_nobody_checked():
    missing = {**ENDED, 'results': [{'missing': 'pytest not installed: pip install pytest'}]}
    text = list(page.verdict({'selftest': PASSED, 'tests': missing}))
    assert text == ['**Correct: all 1 comparisons of the self-test hold.**', 'Not checked: Tests on the GPU (pytest '
                    'not installed: pip install pytest); compute-sanitizer (not run).']


def test_parts_of_different_machines_are_told_apart():
    content = {'selftest': {**PASSED, 'about': {'gpu': 'A'}}, 'tests': {**ENDED, 'results': [], 'about': {'gpu': 'B'}}}
    assert 'The parts ran on different machines, or with different versions.' in list(page.verdict(content))
    assert list(page.head(content)) == ['selftest:', '- gpu: A', 'tests:', '- gpu: B']


def test_a_framework_that_is_not_installed_is_no_fault():
    results = [{'limits': {}}, {'network': 'default', 'm': 32, 'missing': {'JAX jit': 'ModuleNotFoundError: jax'}}]
    assert page.faults({'step': {**ENDED, 'results': results}}) == []


# The clock

def test_a_graph_is_timed_by_the_call(gpu, driver, monkeypatch):
    called = []
    monkeypatch.setattr(gpu.cuda, 'get_elapsed_time', lambda start, end: 6.0)
    timer = clock.Replayed(gpu, lambda: called.append(1), calls=4)
    assert len(called) == 2 + 4  # before the capture, and in it
    assert timer.call('run', 12) == (None, pytest.approx(6e-3)) and driver.counts['replays'] == 3
    assert timer.call('run', 13) == (None, pytest.approx(6e-3 * 13 / 16))  # whole replays


def test_calls_wait_in_the_queue_before_the_clock_starts(gpu, monkeypatch):
    """While the GPU catches up, it gets more to do first."""
    seen, caught_up = [], iter([True, True, False])
    monkeypatch.setattr(gpu.cuda, 'get_elapsed_time', lambda start, end: 8.0)
    monkeypatch.setattr(gpu.cuda.Event, 'record', lambda self: seen.append('record'))
    monkeypatch.setattr(gpu.cuda.Event, 'done', property(lambda self: next(caught_up)), raising=False)
    timer = clock.Queued(gpu, lambda: seen.append('call'))
    timer.busy = lambda: seen.append('copy')
    assert timer.call('run', 2) == (None, pytest.approx(8e-3)) and timer.how == 'queue'
    tries = [['copy'] * n + ['record', 'call', 'call', 'record'] for n in (2, 4, 8)]
    assert seen == sum(tries, [])


def test_a_queue_that_the_gpu_always_catches_up_with_is_named(gpu, monkeypatch):
    called = []
    monkeypatch.setattr(gpu.cuda.Event, 'done', True)
    monkeypatch.setattr(gpu.cuda, 'get_elapsed_time', lambda start, end: 2.0)
    timer = clock.Queued(gpu, lambda: called.append(1))
    assert timer.call('run', 10**6) == (None, pytest.approx(2e-3 * 10**6 / clock.QUEUED))  # no longer queue than that
    assert timer.how == 'queue, waiting for the CPU' and timer.copies == clock.BUSY
    assert len(called) == 8 * clock.QUEUED  # with 2, 4, ..., 256 copies


def test_the_time_on_the_cpu_is_that_of_a_call(gpu, monkeypatch):
    """By a clock that advances by a second with each call, and by a minute while the GPU is waited for."""
    now = [0.0]
    monkeypatch.setattr(clock.time, 'perf_counter', lambda: now[0])
    monkeypatch.setattr(gpu.cuda.Event, 'synchronize', lambda self: now.__setitem__(0, now[0] + 60))
    found = clock.host_seconds(gpu, lambda: now.__setitem__(0, now[0] + 1), rounds=2, calls=5)
    assert found == pytest.approx([1, 1, 1])


def test_what_cannot_be_captured_is_queued_and_an_error_of_its_own_is_raised(gpu, monkeypatch):
    assert clock.timed(gpu, lambda: None).how == 'graph'
    monkeypatch.setattr(clock.graph, 'capture', lambda xp, function: refused())
    assert clock.timed(gpu, lambda: None).how == 'queue'
    with pytest.raises(DataError):
        clock.timed(gpu, refused)


def test_a_kernel_is_timed_though_the_others_fail(gpu, monkeypatch):
    found = {256: lambda: None, 'CuPy': refused}
    monkeypatch.setattr(kernels, 'candidates', lambda *_: (found, None, []))
    monkeypatch.setattr(kernels.pytorch, 'ReplayedByPyTorch', lambda function: function())
    r = kernels.of_kernel(gpu, 'adam_', 3, {}, {'adam_': refused}, QUICK)
    assert r['ratios'] == {} and all('DataError: no download' in r['how'][label] for label in ('CuPy', 'PyTorch'))
    assert 'CuPy: DataError' in kernels.cells({'kernel': 'adam_', 'm': 3, 'n': 512, **r})[-1]
    found[64] = refused
    assert 'DataError' in kernels.of_kernel(gpu, 'adam_', 3, {}, {}, QUICK)['error']


def test_a_kernel_of_columns_is_timed_with_several_lanes(gpu):
    given, hyper = compare.arguments(3, 33, 0, gpu)['batch_norm_leaky_relu_']
    found = kernels.variants(gpu, 'batch_norm_leaky_relu_', compare.to_device(given, gpu), hyper)
    columns, lanes = twins.compiled(gpu).tile
    assert [block // columns for block in found] == list(dict.fromkeys((lanes, *kernels.LANES)))
    for block, pair in found.items():
        assert kernels.compiled(gpu, *pair).tile == [columns, block // columns]


def test_the_limits_are_measured(gpu, driver, monkeypatch):
    moved = []
    monkeypatch.setattr(gpu.cuda, 'get_elapsed_time', lambda start, end: 2.0)
    monkeypatch.setattr(gpu, 'copyto', lambda target, source: moved.append(target.nbytes + source.nbytes))
    found = clock.limits(gpu, QUICK, n=32, long=2**12, short=2**10)
    medians = {name: quartiles[0] for name, quartiles in found.items()}  # a block has one replay, or one call
    assert medians == pytest.approx({'bytes/s': 2**12 / 2e-3, 'bytes/s, L2': 2**10 / 2e-3, 'FLOP/s': 2 * 32**3 / 2e-3,
                                     's/launch': 2e-3, 's/node': 2e-3 / 200})
    assert {2**12, 2**10} <= set(moved) and driver.counts['products'] > 0


# Kernels and products

@pytest.mark.parametrize('name', ['adam_', 'sum_parts', 'uniform', 'cross_entropy, target 1'])
def test_what_is_timed_are_blocks_of_that_size_a_copy_of_that_size_and_plain_functions(gpu, monkeypatch, name):
    launched, real = [], twins.Kernels.launch
    found, bytes_, wrong = kernels.candidates(gpu, name, 3, compare.arguments(3, 33, 0, gpu))
    monkeypatch.setattr(twins.Kernels, 'launch', lambda self, name, grid, block, *arguments: (
        launched.append((name, int(np.prod(block)))), real(self, name, grid, block, *arguments)))
    function = name.split(',')[0]
    assert wrong == [] and next(iter(found)) in (256, twins.compiled(gpu).threads)
    for label, run_ in found.items():
        launched.clear()
        run_()
        assert launched == ([(function, label)] if isinstance(label, int) else [])
    moved = []
    monkeypatch.setattr(gpu, 'copyto', lambda target, source: moved.append(target.nbytes + source.nbytes))
    found['copy']()
    assert moved == [bytes_ // 8 * 8] and bytes_ == int(roofline.TRAFFIC[function][0] * 3 * kernels.columns(name))


def test_a_kernel_without_traffic_is_not_compared_with_a_copy(gpu):
    found, bytes_, _ = kernels.candidates(gpu, 'advance_', 3, compare.arguments(3, 33, 0, gpu))
    assert bytes_ == 0 and 'copy' not in found


@pytest.mark.parametrize('name', ['batch_norm_moments', 'batch_norm_leaky_relu_sums'])
def test_sums_by_chunk_are_timed_with_the_chunks_of_training(gpu, name):
    _, hyper, _, _ = kernels.what_runs(gpu, name, 200 * 33, compare.arguments(200, 33, 0, gpu))
    assert hyper['rows'] == twins.chunks_of(200)[0]


def test_a_logit_is_one_number_of_each_row(gpu, monkeypatch):
    seen = {}
    monkeypatch.setattr(kernels, 'of_kernel', lambda xp, name, m, arguments, theirs, settings: seen.update(
        {name: arguments[name][0][0].shape}) or {} if name in arguments else {})
    results = list(kernels.measure(gpu, QUICK))
    assert {seen[name] for name in seen if name.startswith('cross_entropy')} == {(3, 1)} and seen['stack'] == (3, 33)
    assert {r['kernel'] for r in results if r['n'] == 1} == {name for name in seen if name.startswith('cross_entropy')}


def test_the_numbers_of_a_kernel_follow_from_the_times(gpu, monkeypatch):
    took = {'copy': 1.0, 'CuPy': 8.0, 256: 2.0, 64: 3.0}
    monkeypatch.setattr(kernels, 'candidates', lambda *_: (
        {label: label for label in (256, 64, 'CuPy', 'copy')}, 1200, []))
    monkeypatch.setattr(kernels, 'timed', lambda xp, label: type('T', (), {
        'rest': 0, 'how': 'graph', 'call': lambda self, method, steps: (None, steps * 1e-6 * took[label])})())
    monkeypatch.setattr(kernels, 'host_seconds', lambda xp, function, rounds: [5e-6] * 3)
    r = json.loads(json.dumps({'kernel': 'adam_', 'm': 10, 'n': kernels.WIDTH,
                               **kernels.of_kernel(gpu, 'adam_', 10, {}, {}, QUICK)}))
    assert r['seconds'] == pytest.approx([2e-6] * 3) and r['blocks'] == pytest.approx({'256': 2e-6, '64': 3e-6})
    assert kernels.fraction(r) == pytest.approx(0.5) and r['ratios']['CuPy'] == pytest.approx([4] * 3)
    assert kernels.cells(r)[:6] == ['adam_', '2.0 (2.0-2.0)', '5.0 (5.0-5.0)', '0.6', '50%', '4.00 (4.00-4.00)']


@pytest.mark.parametrize('label', ['64', '128'])
def test_a_kernel_that_is_wrong_with_some_size_of_block_is_named(gpu, monkeypatch, label):
    monkeypatch.setattr(compare, 'compare_twin', lambda kernels_, name, m, n, xp: Row(
        name, float(kernels_.block == int(label)), 1e-6))
    results = [{'kernel': 'adam_', 'm': 3, **kernels.of_kernel(gpu, 'adam_', 3, compare.arguments(3, 33, 0, gpu), {},
                                                               QUICK)}]
    wrong = [line.removeprefix('adam_, 3 rows: ') for line in kernels.wrong(results)]
    assert len(wrong) == 1 and wrong[0].startswith(f'{label} threads: adam_') and wrong[0].endswith('WRONG')


@pytest.mark.parametrize('kind', [*games.KINDS, 'dense_leaky_relu_dropout', 'dense_tanh'])
def test_a_product_is_computed_by_minigan_and_by_cublas(gpu, driver, kind):
    arrays = products.operands(kind, 6, 5, 4, gpu)
    results = []
    for name in twins.PRODUCTS:
        before = driver.counts['products']
        results.append(products.compute(gpu, name, kind, arrays).get())
        assert (driver.counts['products'] > before) == (name == 'cublas')
    assert results[0].shape == {'dense_backward_input': (6, 5), 'dense_backward_params_': (5, 4)}.get(kind, (6, 4))
    np.testing.assert_allclose(*results, atol=1e-5)
    assert twins.compiled(gpu).products == 'own'


@pytest.mark.parametrize('kind', games.KINDS)
def test_a_wrong_product_is_noticed(gpu, monkeypatch, kind):
    real = products.compute

    def wrong(xp, name, kind, arrays):
        result = real(xp, name, kind, arrays)
        if name == 'own':
            result[0] += 1
        return result
    monkeypatch.setattr(products, 'compute', wrong)
    r = products.of_product(gpu, kind, 6, 5, 4, QUICK)
    assert r['difference'] > products.ALLOWED
    assert 'got' in next(iter(products.wrong([{'kind': kind, 'rows': 6, 'n_in': 5, 'n_out': 4, **r}])))


def test_every_version_of_the_ladder_is_timed_in_the_forward_product(gpu):
    assert set(products.ladder(gpu)) < set(products.of_product(gpu, 'dense', 6, 5, 4, QUICK)['seconds'])
    assert set(products.of_product(gpu, 'dense_backward_input', 6, 5, 4, QUICK)['seconds']) == {'own', 'cuBLAS'}


# Convolutions

def test_a_wrong_convolution_is_noticed(small, monkeypatch):
    def wrong(kernels, name, function):
        result = real(kernels, name, function)
        if name == 'own':
            convolutions.parts(result)[0][...] += 1
        return result
    real = convolutions.with_products
    assert list(convolutions.wrong([{**WHERE, **convolutions.of_layer(small, LAYERS[0], 1, 1, QUICK)}])) == []
    monkeypatch.setattr(convolutions, 'with_products', wrong)
    for i, layer in enumerate(LAYERS):
        said = list(convolutions.wrong([{**WHERE, **convolutions.of_layer(small, layer, i, 1, QUICK)}]))
        assert len(said) == 1 and 'a forward, 1 images: expected a difference of at most 1e-05, got' in said[0]


WHERE = {'layer': 'a', 'direction': 'forward', 'm': 1, 'flops': 1}


def test_convolutions_are_compared_with_cudnns(small, monkeypatch):
    """Where PyTorch computes on the CPU."""
    torch = pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    from references import pytorch_convolutions
    monkeypatch.setattr(pytorch, 'missing', lambda: None)
    monkeypatch.setattr(pytorch, 'ReplayedByPyTorch', partial(clock.Called, small))
    monkeypatch.setattr(convolutions, 'of_pytorch', lambda layer, arrays: pytorch_convolutions.operations(
        layer, *(torch.tensor(array.get()) for array in arrays)))
    results = json.loads(json.dumps(list(convolutions.measure(small, QUICK))))
    assert len(results) == 8 and list(convolutions.wrong(results)) == []
    assert all(set(r['ratios']) == {'cublas', 'cuDNN'} for r in results)
    assert 'times as long as cuDNN, in the median of 8' in convolutions.verdict(results)
    text = '\n'.join(convolutions.page(results))
    assert 'takes no part' not in text and '| transposed 2x2x5 -> 4x4x3 k4 backward |' in text


# A step

def test_the_floor_has_the_products_of_a_step_and_the_traffic_of_adam():
    games.products.cache_clear()
    limit = {'bytes/s': 1e9, 'bytes/s, L2': 2e9, 'FLOP/s': 1e12}
    terms = games.floor('default', 32, limit)
    G, D = 100 * 256 + 256 * 512 + 512 * 784, 784 * 512 + 512 * 256 + 256
    first = 100 * 256, 784 * 512  # nobody reads the derivative of z, nor that of x in D's own step
    flops = 2 * 32 * (2 * G + G + (G - first[0]) + 3 * D + 2 * D + 2 * (D - first[1]) + D)
    assert terms['FLOPs / peak'] == pytest.approx(flops / 1e12)
    theta = sum(net.theta.size for game in [candidates.game(4)] for net in (game.G, game.D))
    arrays = sum(factor * 32 * (n_in + n_out) + n_in * n_out for _, factor, n_in, n_out in games.products('default'))
    assert terms['bytes / bandwidth'] == pytest.approx((28 * theta + 4 * arrays) / 2e9)


def test_the_fused_products_are_those_of_the_networks():
    assert list(games.fused('default')) == [('dense_tanh', 1, 512, 784), ('dense_leaky_relu_dropout', 2, 784, 512),
                                            ('dense_leaky_relu_dropout', 2, 512, 256)]


def test_each_form_of_a_step_is_what_it_says(small, driver):
    counts = {}
    layers = [type(layer).__name__ for net in step.Steps(small, 'default', 6, step.PLAIN).game.__dict__.values()
              if hasattr(net, 'layers_in_training') for layer in net.layers_in_training]
    assert layers.count('Dense') == 6  # none of them fused
    for form in (step.OURS, step.LAUNCHED, step.WITH_CUBLAS, step.PLAIN):
        steps = step.Steps(small, 'default', 6, form)
        steps.call('run', 1)
        steps.call('run', 2)  # a graph is captured in the third step
        driver.clear()
        steps.call('run', 2)
        assert steps.t == 5
        counts[form] = {name: number / 2 for name, number in driver.counts.items() if name != 'waits'}
    assert counts[step.OURS] == {'replays': 1, 'nodes': counts[step.LAUNCHED]['launches'] + 1}
    assert 'products' not in counts[step.LAUNCHED]
    multiplied = [one for one in games.products('default')
                  if one[0] != 'dense_backward_input' or one[3] > 1]  # D's last W has one column: ops.py scales it
    assert counts[step.WITH_CUBLAS]['products'] == counts[step.PLAIN]['products'] == len(multiplied) > 0
    assert counts[step.PLAIN]['launches'] > counts[step.WITH_CUBLAS]['launches']
    assert 0 < step.launches(small, 'default', 6) <= counts[step.LAUNCHED]['launches']  # of CuPy's functions too


def not_captured(self, t):
    self.remark = 'no CUDA graph'


def test_a_step_without_a_graph_is_not_called_one(small, monkeypatch):
    monkeypatch.setattr(graph.StepGraph, '_capture', not_captured)
    results = json.loads(json.dumps(list(step.measure(small, QUICK))))
    assert 'as one graph' not in step.verdict(results) and 'no CUDA graph' in step.verdict(results)
    assert 'default, batch 4: no CUDA graph' in list(step.page(results))


def test_a_reference_that_is_not_ready_in_time_is_missing():
    code = ('import time; from on_gpu import step; step.Reference = lambda *_: time.sleep(60); '
            'step.reference("JAX jit", 1, 0.1)')
    path = os.pathsep.join(map(str, (ROOT, ROOT / 'bench')))
    ended = subprocess.run([sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH': path}, capture_output=True,
                           text=True, timeout=50)
    assert ended.returncode == 1 and ended.stderr == 'not ready after 0 s\n'


def test_the_references_get_the_time_that_is_left_but_a_minute_at_least(small, monkeypatch):
    seen = []
    monkeypatch.setattr(step, 'of_step', lambda *arguments: seen.append(arguments[-1]) or {})
    for limit in (1000, 10):
        list(step.measure(small, QUICK._replace(limit=limit)))
    assert all(900 < one < 1000 for one in seen[:2]) and seen[2:] == [step.PATIENCE] * 2  # of two networks


class Framework:
    """A reference's process."""

    rest, missing, about = 0, None, {'gradient_error': 1e-7}

    def __init__(self, target, *arguments, threads):
        self.name = arguments[0]
        if self.name == 'PyTorch eager':
            self.missing = 'no PyTorch'

    def wait_until_ready(self):
        return self.missing is None

    def call(self, method, steps):
        return None, steps * (1e-9 if self.name == 'JAX jit' else 1e9)

    def close(self):
        pass


def test_the_fastest_framework_is_named(small, monkeypatch):
    monkeypatch.setattr(step, 'Worker', Framework)
    monkeypatch.setattr(step, 'ON_GPU', {'PyTorch eager': (), 'PyTorch compile': (), 'JAX jit': ()})
    results = json.loads(json.dumps(list(step.measure(small, QUICK))))
    assert 'The fastest framework, JAX jit, takes 0.00 times as long as minigan.' in step.verdict(results)
    text = '\n'.join(step.page(results))
    assert 'PyTorch eager: missing: no PyTorch' in text and 'JAX jit 1.0e-07' in text and step.CPU in text


def test_the_floor_of_a_graph_has_no_launches():
    r = {'terms': {'bytes / bandwidth': 1.0, 'FLOPs / peak': 2.0, 'kernels x time of a launch': 5.0,
                   'kernels x time in a graph': 3.0}}
    assert step.least(r, step.OURS) == ('kernels x time in a graph', 3.0)
    assert step.least(r, step.LAUNCHED) == ('kernels x time of a launch', 5.0)


# PyTorch

def test_pytorchs_functions_for_a_gpu_compute_the_same():
    pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    from references import pytorch_cuda
    arguments, fresh = compare.arguments(9, 33, 0), compare.arguments(9, 33, 0)
    for one in (arguments, fresh):  # off batch norm's kinks: PyTorch finds xhat again, by other roundings
        one['batch_norm_leaky_relu_'][0][2][...] += 0.01
    for name, f in pytorch_cuda.operations(arguments, 'cpu').items():
        if name in ('adam_', 'bias_leaky_relu_dropout'):  # in place, random
            f()
            continue
        given, keywords = fresh[name]
        result, expected = f(), compare.specifications()[name.split(',')[0]](*given, **keywords)
        result, expected = (one[0] if isinstance(one, tuple) else one for one in (result, expected))
        assert compare.difference(result.numpy(), expected) < 1e-5, name


def test_pytorch_gets_no_arrays_that_it_does_not_need():
    """An older PyTorch has no uint64, and a small GPU has no room for the arrays of all kernels."""
    pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    from references import pytorch_cuda
    arguments = compare.arguments(9, 33, 0)
    assert 'adam_' in pytorch_cuda.operations({name: arguments[name] for name in pytorch_cuda.USED}, 'cpu')


def test_pytorch_compiles_for_one_batch(monkeypatch):
    """Else its second batch would get slower code, for any batch."""
    torch = pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    from references.pytorch import PyTorch
    seen = []
    monkeypatch.setattr(torch, 'compile', lambda function, **options: seen.append(options) or function)
    for mode in ('compile', 'reduce-overhead'):
        PyTorch(candidates.start(candidates.game(4), torch.get_num_threads()), mode)
    assert seen == [{'mode': None, 'dynamic': False}] * 2 + [{'mode': 'reduce-overhead', 'dynamic': False}] * 2


def test_pytorch_is_not_slowed_down_by_a_default_device(monkeypatch):
    torch = pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    from references.pytorch import PyTorch
    modes = []
    monkeypatch.setattr(torch, 'set_default_device', modes.append)
    PyTorch(candidates.start(candidates.game(4), torch.get_num_threads()), 'eager')
    assert modes == [] and torch.overrides._get_current_function_mode_stack() == []


def test_a_step_makes_its_arrays_on_the_device_of_the_networks():
    """By PyTorch's device without memory: an array that lay elsewhere would raise."""
    torch = pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    from references.pytorch import Dropout, PyTorch
    one = PyTorch(replace(candidates.start(candidates.game(4), torch.get_num_threads()), device='meta'), 'eager')
    one.draw_and_step(torch.zeros(4, dtype=torch.long, device='meta'))
    assert all(w.grad.device.type == 'meta' for net in (one.G, one.D) for w in net.parameters())
    assert Dropout(0.3)(torch.zeros(2, device='meta')).device.type == 'meta'


def test_pytorchs_step_as_a_graph_has_minigans_gradients_and_runs(monkeypatch):
    """Where a replay calls the function again."""
    torch = pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    from references import pytorch_graph
    replayed = []

    def captured(function, times=1):
        for _ in range(3):
            function()
        return type('Graph', (), {'replay': lambda self: (function(), replayed.append(1))})()

    monkeypatch.setattr(pytorch_graph, 'captured', captured)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: None)
    monkeypatch.setattr(torch, 'set_num_threads', lambda number: None)
    one = candidates.Reference('PyTorch CUDA graph', 8, 1)
    assert one.about['gradient_error'] < 1e-5 and len(replayed) == 1 + 3  # the gradients; and steps to compile
    before = one.step.G[0].weight.detach().clone()
    one.run(2)
    assert len(replayed) == 6 and (one.step.G[0].weight != before).any()


def test_a_missing_pytorch_is_no_error(gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch', None)
    assert pytorch.missing().startswith('PyTorch is missing') and pytorch.operations({}) == {}
    assert products.of_cublas(gpu, 'dense', (), lambda: None).how == 'queue'


# Is it correct?

def program(path, code, said=CLEAN):
    path.write_text(f'#!/bin/sh\necho "$@"\necho "{said}"\nexit {code}\n')
    path.chmod(0o755)


def test_the_sanitizers_four_tools_watch_every_kernel(monkeypatch, tmp_path):
    program(tmp_path / 'compute-sanitizer', 0)
    monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    results = list(correct.sanitizer(None, QUICK))
    assert [r['command'] for r in results] == [
        f'compute-sanitizer --tool {tool} python bench/on_gpu/every_kernel.py' for tool in correct.TOOLS]
    assert all(r['ok'] for r in results) and correct.outputs_wrong(results) == []
    program(tmp_path / 'compute-sanitizer', 3, '========= Invalid __global__ read')
    results = list(correct.sanitizer(None, QUICK))
    assert not any(r['ok'] for r in results) and 'Invalid __global__ read' in '\n'.join(correct.outputs_page(results))
    assert len(correct.outputs_wrong(results)) == 4


@pytest.mark.parametrize('said, ok', [
    (CLEAN, True), ('========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)', True),
    ('========= RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)', False),
    ('========= Target application terminated before first instrumented API call', False), ('', False)])
def test_a_tool_that_did_not_say_that_it_found_nothing_has_not_passed(monkeypatch, said, ok):
    monkeypatch.setattr(correct, 'output_of', lambda command, limit: (0, ['x', said], 1.0))
    monkeypatch.setattr(correct.shutil, 'which', lambda *_, **__: '/bin/compute-sanitizer')
    results = list(correct.sanitizer(None, QUICK))
    assert [r['ok'] for r in results] == [ok] * 4


def test_without_pytest_the_tests_are_missing_and_not_wrong(monkeypatch):
    monkeypatch.setattr(correct, 'find_spec', lambda name: None)
    results = list(correct.tests(None, QUICK))
    assert correct.outputs_wrong(results) == [] and results[0]['missing'].endswith('pip install pytest hypothesis')
    assert list(correct.outputs_page(results)) == [results[0]['missing']]


@pytest.mark.parametrize('code, last, ok', [(0, '11 passed, 2 skipped in 3 s', True), (0, '1 skipped in 1 s', False),
                                            (1, '1 failed, 3 passed in 1 s', False), (None, '', False)])
def test_tests_that_are_skipped_or_fail_have_not_passed(monkeypatch, code, last, ok):
    monkeypatch.setattr(correct, 'output_of', lambda command, limit: (code, ['.....', last], 1.0))
    results = list(correct.tests(None, QUICK))
    assert [r['ok'] for r in results] == [ok] and len(correct.outputs_wrong(results)) == (not ok)


def test_a_command_that_takes_too_long_is_stopped_and_what_it_said_is_kept():
    command = [sys.executable, '-c', 'import time; print("begun", flush=True); time.sleep(60)']
    code, lines, seconds = correct.output_of(command, 2)
    assert code is None and lines == ['begun'] and seconds < 30


def test_the_sanitizer_watches_every_kernel_without_a_memory_pool(gpu, monkeypatch):
    seen, allocators = [], []
    for name in ('compare_twin', 'compare_draws'):
        monkeypatch.setattr(compare, name, lambda kernels_, name, *size, xp: seen.append(name) or Row(name, 0, 1))

    def steps_of(xp, steps, network, batch):
        assert steps > graph.WARM_UP  # else none is replayed
        seen.append(network)
        return Row(network, float('nan') if 'article' in seen else 0, 1)

    monkeypatch.setattr(every_kernel, 'compare_training', steps_of)
    gpu.cuda.set_allocator = allocators.append
    with pytest.raises(SystemExit, match='1'):
        every_kernel.main()
    assert allocators == [None] and set(seen) == {*compare.arguments(3, 3, 0), *compare.DRAWS, *RECIPES}
    monkeypatch.setattr(every_kernel, 'rows', lambda xp: [Row('a', 0, 1)])
    with pytest.raises(SystemExit, match='0'):
        every_kernel.main()


@pytest.mark.parametrize('names', [['mnist'], ['digits']])
def test_training_falls_back_to_the_digits(monkeypatch, names):
    monkeypatch.setattr(train.data, 'load', lambda name: name if name in names else refused())
    assert train.images() == (names[0], names[0])
