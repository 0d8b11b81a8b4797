"""The benchmarks check every reference's gradients, time in turn, and print what they measured."""

import inspect
import re
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import bench_changes
import bench_cycle
import bench_mixtures
import bench_native
import bench_ops
import bench_quality
import bench_ranks
import bench_scaling
import bench_step
import bench_train
import bench_variants
import candidates
import convolutions
import described
import harness
import numpy as np
import pytest

from minigan import RECIPES, BatchNorm, Dense, Maxout, Net, Streams, backend, ops
from minigan.gpu import roofline
from minigan.native import twins
from minigan.optim import CHUNK
from minigan.variants.minibatch import InBlocks

ROOT = Path(__file__).parents[2]


class Same:
    """A reference that is minigan, except for a factor on one gradient of one player."""

    def __init__(self, begin, player=None, factor=1.0):
        self.begin, self.player, self.factor = begin, player, factor

    def gradients(self, x, z_D, z_G):
        game = candidates.game(self.begin.m, check=True)
        game.update_D(x, z_D, None)
        game.update_G(z_G, None)
        views = {name: [slot.of(net.dtheta) for slot in net.slots] for name, net in (('D', game.D), ('G', game.G))}
        if self.player:
            views[self.player][-1] = views[self.player][-1] * self.factor
        return views['D'], views['G']

    def run(self, rows):
        """Nothing is timed."""


@pytest.mark.parametrize('player', ['D', 'G'])
def test_a_reference_with_other_gradients_is_not_timed(player, monkeypatch):
    monkeypatch.setattr(candidates, 'import_module', lambda name: sys.modules[__name__])
    monkeypatch.setitem(candidates.REFERENCES, 'same', ('', 'Same'))
    monkeypatch.setitem(candidates.REFERENCES, 'other', ('', 'Same', player, 1 + 1e-4))
    assert candidates.Reference('same', 8, 1).about == {'gradient_error': 0}
    with pytest.raises(ValueError, match="expected minigan's gradients within 1e-05, got 0.0001"):
        candidates.Reference('other', 8, 1)


@pytest.mark.parametrize('name, network', [
    *((name, 'default') for name in candidates.REFERENCES),
    *((name, 'dcgan') for name in ('PyTorch eager', 'Keras tf.function', 'JAX jit'))])
def test_each_reference_has_minigans_gradients_and_runs(name, network):
    worker = harness.Worker('candidates:Reference', name, 4, 1, 'cpu', network)
    if not worker.wait_until_ready() and worker.missing.startswith('ModuleNotFoundError'):
        pytest.skip(f'{worker.missing}: pip install -e ".[bench]"')
    assert worker.missing is None and worker.about['gradient_error'] < 1e-5
    assert worker.call('run', 3)[1] > 0
    worker.close()


def test_pytorchs_own_dropout_drops_as_many_units_as_minigans():
    """The comparison of gradients is without dropout."""
    torch = pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    from references.pytorch_layers import Dropout
    y = Dropout(0.3)(torch.ones(400, 400))
    assert set(y.unique().tolist()) == {0, np.float32(2**16 / (2**16 - int(0.3 * 2**16)))}
    assert abs(float((y == 0).float().mean()) - 0.3) < 0.01


@pytest.mark.parametrize('network, m', [('default', 32), ('default', 100), ('dcgan', 2)])
def test_the_floor_has_the_products_of_a_step(network, m, monkeypatch):
    monkeypatch.setattr(backend, 'TWINS', {})
    floor, counts = candidates.Floor(m, network), {}
    one = candidates.game(m, network=network)
    for f, arrays in floor.products:
        counts[f.__name__] = counts.get(f.__name__, 0) + 1
    G, D = (sum(type(layer) is Dense for layer in net.layers) for net in (one.G, one.D))
    of_input = (G - 1) + D + (D - (network == 'default'))  # dcgan has patches in front of D's first Dense
    assert counts == {'dense': 2 * (G + D), 'dense_backward_params_': G + D, 'dense_backward_input': of_input}
    assert [arrays[0].shape for f, arrays in floor.products][0] == (m, 100)
    parameters = one.G.theta.size + one.D.theta.size
    assert floor.moved == pytest.approx(28 * parameters, rel=1e-5) and len(floor.copies) == 2
    floor.run(1)


@pytest.fixture
def native(monkeypatch):
    """Native twins, which are in use only during the test."""
    monkeypatch.setattr(backend, 'TWINS', {})
    if without := candidates.use_native(True):
        pytest.skip(f'no native twins: {without}')
    return twins.native()


def test_minigan_is_timed_with_native_twins_and_without(native):
    assert candidates.Minigan(4, 'step').about is None and backend.TWINS
    assert candidates.Minigan(4, 'step', False).about is None and not backend.TWINS


@pytest.mark.parametrize('older', [False, True])
def test_minigan_says_why_it_has_no_native_twins(older, monkeypatch):
    monkeypatch.setattr(twins, 'use', lambda wanted: 'no C++ compiler' if wanted else '')
    if older:
        monkeypatch.setitem(sys.modules, 'minigan.native.twins', None)
    expected = 'this minigan has no native twins' if older else 'no C++ compiler'
    assert candidates.Minigan(4, 'step').about == {'without': expected}
    assert candidates.Minigan(4, 'step', False).about is None
    result = {'seconds': [0.001] * 3, 'ratio': [1] * 3, 'without': expected}
    assert bench_step.report(4, 1, {'minigan': result}).endswith(f'1.000 (1.000-1.000)   NumPy alone: {expected}')


@pytest.mark.parametrize('without', [False, True])
def test_the_floor_and_the_yardstick_copy(without, monkeypatch):
    monkeypatch.setattr(backend, 'TWINS', {})
    if without:
        monkeypatch.setattr(candidates, 'use_native', lambda wanted: 'no C++ compiler')
    source, target = np.arange(300_000, dtype=np.float32), np.zeros(300_000, np.float32)
    copy = candidates.copying(target, source)
    assert (copy.func is np.copyto) == bool(without or not backend.TWINS)
    copy()
    assert (target == source).all()


@pytest.mark.parametrize('without', [False, True])
def test_a_full_run_is_kept_only_with_native_twins(without, monkeypatch):
    result, written = {'seconds': [1, 1, 1], 'ratio': [1, 1, 1]}, []
    results = dict.fromkeys([*bench_step.PARTS, *candidates.REFERENCES, 'floor'], result)
    monkeypatch.setattr(bench_step, 'measure', lambda m, threads, **settings: {
        **results, 'minigan': {**result, **({'without': 'no C++ compiler'} if without else {})}})
    monkeypatch.setattr(bench_step, 'save', lambda name, content: written.append(name))
    monkeypatch.setattr(bench_step, 'load', lambda name: {'runs': [{'m': 2, 'threads': 1, 'results': results}],
                                                          'machine': harness.machine()})
    monkeypatch.setattr(bench_step, 'chart', lambda content, path: written.append(path.name))
    monkeypatch.setattr(bench_step, 'update_table', lambda name, table: written.append(table.splitlines()[3]))
    monkeypatch.setattr(sys, 'argv', ['bench_step'])
    bench_step.main()
    assert written == ([] if without else ['step', 'step.png', '| minigan, NumPy alone | 1.00 |'])


@pytest.mark.parametrize('ours, given, timeout', [(True, None, '18'), (True, '20', '20'), (False, None, None)])
def test_libraries_choose_their_own_kernels_in_a_worker(ours, given, timeout, monkeypatch):
    for name in harness.OWN_CHOICE:
        monkeypatch.setenv(name, '512')
    monkeypatch.delenv('OPENBLAS_THREAD_TIMEOUT', raising=False)
    if given:
        monkeypatch.setenv('OPENBLAS_THREAD_TIMEOUT', given)
    worker = harness.Worker('builtins:__import__', 'os', ours=ours)
    assert worker.wait_until_ready()
    seen = [worker.call('getenv', name)[0] for name in (*harness.OWN_CHOICE, 'OPENBLAS_THREAD_TIMEOUT')]
    worker.close()
    assert seen == [None, None, timeout]


def test_the_results_name_the_kernels_that_openblas_takes_in_a_worker(monkeypatch):
    """Prescott's run on every processor of that kind."""
    pytest.importorskip('threadpoolctl')
    own = harness.kernels_of_blas()
    monkeypatch.setenv('OPENBLAS_CORETYPE', 'Prescott')
    assert harness.kernels_of_blas.__wrapped__() == own
    monkeypatch.setattr(harness, 'kernels_of_blas', lambda: 'Zen')
    assert 'with kernels for Zen; float32;' in harness.describe(harness.machine())
    monkeypatch.setattr(harness, 'kernels_of_blas', lambda: '')
    assert 'kernels' not in harness.describe(harness.machine())


def test_a_missing_framework_is_reported_and_a_dead_process_too():
    worker = harness.Worker('no_such_framework:Step')
    assert not worker.wait_until_ready() and 'no_such_framework' in worker.missing
    worker.close()
    worker = harness.Worker('sys:exit', 3)
    assert not worker.wait_until_ready() and worker.missing == 'its process ended with code 3'
    worker.close()
    worker = harness.Worker('candidates:Minigan', 8, 'step')
    assert worker.wait_until_ready()
    with pytest.raises(SystemExit, match="run: its process ended with code 1: TypeError: .* 'str'"):
        worker.call('run', 'many')
    worker.close()


class Clock:
    """A worker that takes the given seconds a step and remembers when it was asked."""

    rest = 0

    def __init__(self, name, seconds, log):
        self.name, self.seconds, self.log = name, seconds, log

    def call(self, method, steps):
        self.log.append((self.name, steps))
        return None, steps * self.seconds


def test_a_race_times_in_turn_and_compares_neighbours():
    log = []
    a, b = (harness.Entrant(name, Clock(name, seconds, log)) for name, seconds in (('a', 0.01), ('b', 0.03)))
    harness.race([a, b], rounds=4, seconds=0.3)
    assert log[:2] == [('a', 3), ('b', 3)] and log[6:] == [('a', 30), ('b', 10), ('b', 10), ('a', 30)] * 2
    np.testing.assert_allclose(b.ratio(a), [3, 3, 3])
    assert len(a.seconds) == 4
    b.seconds = [0.01, 0.02, 0.04, 0.05]
    np.testing.assert_allclose(b.ratio(a), [3, 1.75, 4.25])


def test_every_operation_is_benchmarked_on_the_cpu_or_as_a_kernel_and_checked():
    named = set(bench_ops.operations(bench_ops.arrays(2, 1)))
    public = {name for name, f in inspect.getmembers(ops, inspect.isfunction) if f.__module__ == 'minigan.ops'}
    public -= {'to_unit', 'from_unit', 'norm'}  # no step calls them; norm is part of clip_norm_
    assert public - named <= set(roofline.TRAFFIC)
    fused = {name for name in bench_native.TWINS if not hasattr(ops, name)}
    assert named - public - fused == {'bits and dropout', 'bits', 'uniform', 'normal', *bench_ops.convolved()}
    apart = {'dense_leaky_relu_dropout', 'dense_tanh'}  # a product and a row; a tanh
    assert set(bench_native.TWINS) - named == apart | {'patches', 'unpatches'}  # convolved() names their shapes
    assert all(any(name in one for one in named) for name in ('patches', 'unpatches'))
    right = np.ones((2, 3), np.float32)
    bench_ops.compare('tanh', right, np.ones((2, 3)))
    for wrong in (right * np.float32(1.0001), right * np.nan):
        with pytest.raises(ValueError, match='tanh: .* differ'):
            bench_ops.compare('tanh', wrong, right)
    with pytest.raises(ValueError, match='shorter|argument'):
        bench_ops.compare('tanh', (right, right), (right,))


def test_minigans_convolutions_are_pytorchs():
    torch = pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    from references import pytorch_convolutions
    for layer in convolutions.LAYERS:
        arrays = layer.arrays(2, np.float64)
        theirs = pytorch_convolutions.operations(layer, *map(torch.from_numpy, arrays))
        for one, other in zip(layer.operations(*arrays), theirs, strict=True):
            right = other()
            bench_ops.compare(str(layer), one(), right)
            with pytest.raises(ValueError, match='differ'):
                bench_ops.compare(str(layer), one(), tuple(1.001 * part for part in right) if isinstance(right, tuple)
                                  else 1.001 * right)


def test_a_convolution_counts_its_products_its_images_and_its_patches():
    layer = convolutions.Convolution((6, 8, 3), 5, k=4, stride=2, pad=1)
    assert layer.small == (3, 4, 5) and str(layer) == 'convolution 6x8x3 -> 3x4x5 k4'
    x, dy, W, b = layer.arrays(2)
    names = [str(layer), f'{layer} backward', str(layer).replace('convolution', 'patches')]
    bench_ops.convolved().update(dict.fromkeys(names, layer))
    try:
        products = 2 * (2 * 3 * 4) * W.size
        assert [bench_ops.flops(name, 2) for name in names] == [products, 2 * products, 0]
        assert bench_ops.traffic(names[2], 2) == x.nbytes + 4 * 2 * 3 * 4 * len(W)
    finally:
        for name in names:
            del bench_ops.convolved()[name]


def test_an_older_minigan_has_no_convolutions(monkeypatch):
    monkeypatch.setitem(sys.modules, 'convolutions', None)
    assert bench_ops.convolved.__wrapped__() == {}


@pytest.mark.parametrize('layer', [Maxout(2), InBlocks(BatchNorm(4), 2)])
def test_a_layer_that_the_references_lack_is_named(layer):
    net = Net([Dense(3, 4), layer], rng=Streams(0).at('init', 0), name='D')
    with pytest.raises(ValueError, match=f'D: the references have no layer such as {re.escape(str(layer))}'):
        described.describe(net)


def test_a_net_is_described_as_layers_of_images():
    layers = RECIPES['dcgan'].D((8, 12))
    found = described.describe(Net(layers, rng=Streams(0).at('init', 0), name='D'))
    assert [one.kind for one in found if one.kind in ('reshape', 'convolution', 'transposed')] == [
        'reshape', 'convolution', 'reshape']
    assert found[0].settings == {'shape': (8, 12, 1)} and found[1].settings == {'k': 4, 'stride': 2, 'pad': 1}
    found = described.describe(Net(RECIPES['dcgan'].G(5, (8, 12)), rng=Streams(0).at('init', 0), name='G'))
    assert found[4].settings == {'shape': (2, 3, 64)} and found[-2].settings == {'shape': (96,)}
    assert [one.kind for one in found][7:8] == ['transposed']


def test_speeds_are_work_over_time():
    def timed(**seconds):
        entrants = {name.replace('_', ' '): harness.Entrant(name, None) for name in seconds}
        for entrant, one in zip(entrants.values(), seconds.values()):
            entrant.seconds = [one]
        return entrants
    entrants = {'': timed(dense=1e-3, product=2.0, tanh=4e-6, copy_8192=1e-6), 'PyTorch': timed(tanh=8e-6),
                'the other': timed(tanh=2e-6)}
    entrants['']['tanh, native'] = timed(tanh=2e-6)['tanh']
    dense, tanh = (bench_ops.judge(name, 2, entrants) for name in ('dense', 'tanh'))
    assert dense['PyTorch'] is None and tanh['PyTorch'] == pytest.approx([2, 2, 2])
    assert dense['speed'] == pytest.approx(2 * 2 * 784 * 512 / 1e-3 / 1e9) and dense['unit'] == 'GFLOP/s'
    assert dense['fraction'] == pytest.approx(dense['speed'] / (1024**3 * 2 / 2.0 / 1e9))
    assert tanh['speed'] == pytest.approx(8192 / 4e-6 / 1e9) and tanh['fraction'] == pytest.approx(0.25)
    native = bench_ops.judge('tanh, native', 2, entrants)
    assert native['PyTorch'] == pytest.approx([4, 4, 4]) and native['fraction'] == pytest.approx(0.5)
    assert tanh['the other'] == pytest.approx([0.5] * 3) and native['the other'] is None


def test_a_native_twin_has_a_row_of_its_own_and_runs_there_alone(native):
    names = bench_ops.rows(['tanh', 'adam_'])
    assert names == ['tanh', 'adam_', 'adam_, native']
    ours, used = bench_ops.Minigan(2, 1, names), []
    assert ours.about == {'names': names, 'wrong': []}
    for name in names:
        ours.operations[name] = lambda: used.append(bool(backend.TWINS))
        ours.run(1, name)
    assert used == [False, False, True]


def test_operations_run_where_there_are_no_native_twins(monkeypatch):
    monkeypatch.setattr(bench_ops, 'use_native', lambda wanted: 'no C++ compiler' if wanted else '')
    ours = bench_ops.Minigan(2, 1, ['adam_', 'adam_, native'])
    assert ours.about == {'names': ['adam_'], 'wrong': ['no native twins: no C++ compiler']}


def test_an_operation_that_an_older_minigan_lacks_has_no_row_there(monkeypatch):
    monkeypatch.delattr(ops, 'tanh')
    ours = bench_ops.Minigan(2, 1, ['tanh', 'leaky_relu'])
    assert ours.about['names'] == ['leaky_relu']


def test_every_native_twin_of_a_step_is_left_out_in_a_row(native, monkeypatch):
    class Asked:
        def __getattr__(self, name):
            if hasattr(native, name):
                names.add(name)
            return getattr(native, name, None)
    one, names = candidates.game(4), set()
    monkeypatch.setitem(backend.TWINS, 'numpy', lambda xp: Asked())
    one.step(0)
    left_out = [set(twins) for row, twins in bench_native.ROWS.items() if row != 'NumPy alone']
    assert names and names <= set.union(*left_out) <= set(bench_native.TWINS)
    assert all(names & twins for twins in left_out if twins)


def test_a_step_has_the_same_bits_whatever_is_left_out(native, monkeypatch):
    seen, counts = {}, []
    monkeypatch.setattr(native.library, 'set_threads', counts.append)
    monkeypatch.setattr(bench_native, 'threads', lambda: 2)
    for row, left_out in bench_native.ROWS.items():
        ablation = bench_native.Ablation(40)
        ablation.run(2, row)
        seen[row] = b''.join(net.theta.tobytes() for net in (ablation.game.G, ablation.game.D))
        kept = backend.TWINS['numpy'](np)
        assert {name for name in bench_native.TWINS if not hasattr(kept, name)} == set(left_out)
        assert (ablation.game.optimizer_D._scratch.size == CHUNK) == ('adam_' in left_out)
    assert len(set(seen.values())) == 1
    assert counts == [1 if row == 'one thread' else 2 for row in bench_native.ROWS]


def test_without_native_twins_there_is_nothing_to_leave_out(monkeypatch):
    monkeypatch.setattr(bench_native, 'use_native', lambda wanted: 'no C++ compiler')
    with pytest.raises(ValueError, match='no native twins: no C[+][+] compiler'):
        bench_native.Ablation(2)


def test_a_row_without_threads_to_leave_out_is_empty():
    result = {'seconds': [0.0025, 0, 0], 'ratio': [1.25, 1.2, 1.3]}
    runs = [{'threads': 1, 'm': 32, 'results': {row: result for row in bench_native.ROWS if row != 'one thread'}},
            {'threads': 2, 'm': 32, 'results': dict.fromkeys(bench_native.ROWS, result)}]
    lines = bench_native.table({'runs': runs, 'machine': harness.machine()}).splitlines()
    assert lines[:3] == ['| threads, batch | 1, 32 | 2, 32 |', '| --- | --- | --- |',
                         '| all native twins, ms | 2.5 | 2.5 |']
    assert '| one thread |  | 1.25 |' in lines and '| without Adam | 1.25 | 1.25 |' in lines
    assert 'without Adam                  1.250 (1.200-1.300)' in bench_native.report(32, 1, runs[0]['results'])


def test_only_the_chosen_operations_are_timed_next_to_what_they_are_compared_with(monkeypatch):
    raced = []
    monkeypatch.setattr(bench_ops, 'Worker', lambda target, m, count, names, **how: Ready(names))
    monkeypatch.setattr(bench_ops, 'race', lambda entrants, **how: raced.extend(entrants))
    monkeypatch.setattr(bench_ops, 'judge', lambda name, m, entrants: list(entrants))
    names = ['tanh', 'dense', 'scale, native']
    results, remarks = bench_ops.measure(2, 1, names, rounds=1, seconds=None, against='.')
    assert [entrant.name for entrant in raced] == ['copy 8192', 'product', *(name for name in names for _ in range(3))]
    assert results == dict.fromkeys(names, ['', 'PyTorch', 'the other'])
    assert remarks == ['slow', 'slow', 'the other: slow']


class Ready:
    """A worker that has these operations."""

    def __init__(self, names):
        self.missing, self.about = None, {'names': names, 'wrong': ['slow']}

    def wait_until_ready(self):
        return True

    def close(self):
        pass


def test_against_times_the_minigan_of_the_other_folder(tmp_path):
    (tmp_path / 'minigan').mkdir()
    (tmp_path / 'minigan' / '__init__.py').write_text('raise ImportError("this is the other one")')
    with pytest.raises(SystemExit, match=f'minigan at {tmp_path}: .*ImportError: this is the other one'):
        bench_ops.measure(2, 1, ['tanh'], rounds=1, seconds=None, against=str(tmp_path))


@pytest.mark.parametrize('script, arguments, says', [
    (bench_ops, ['--only', 'cosine'], "invalid choice: 'cosine'"),
    (bench_ops, ['--against', 'nowhere'], 'expected a folder that contains minigan/__init__.py, got nowhere'),
    (bench_step, ['--against', 'nowhere'], 'expected a folder that contains minigan/__init__.py, got nowhere'),
    (bench_native, ['--batches', '1'], 'expected at least 2 images'),
    (bench_changes, ['--epochs', '0'], "expected an integer of at least 1, got '0'")])
def test_a_wrong_argument_is_refused_in_one_line(script, arguments, says, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [script.__name__, *arguments])
    with pytest.raises(SystemExit) as stopped:
        script.main()
    assert stopped.value.code == 2 and says in capsys.readouterr().err.splitlines()[-1]


def test_the_networks_that_scale_are_the_default_ones():
    default = RECIPES['default']
    for width in (1, 0.5):
        recipe = bench_scaling.recipe(width)
        assert replace(recipe, G=default.G, D=default.D) == default
        shape = 28, 28
        for ours, theirs in ((recipe.G(100, shape), default.G(100, shape)), (recipe.D(shape), default.D(shape))):
            inner = [layer.n_out for layer in theirs if hasattr(layer, 'n_out')][:-1]
            assert [layer.n_out for layer in ours if hasattr(layer, 'n_out')][:-1] == [width * n for n in inner]
            assert width != 1 or list(map(repr, ours)) == list(map(repr, theirs))


@pytest.mark.parametrize('fails', [False, True])
def test_a_changed_recipe_is_known_only_while_it_trains(fails, monkeypatch):
    def train(config, quiet):
        seen.append(RECIPES[config.network])
        if fails:
            raise ValueError
        Path(config.out, 'log.csv').write_text('train_D_x,train_D_G_z\n0.5,0.4\n')
    seen, before = [], dict(RECIPES)
    monkeypatch.setattr(bench_changes, 'train', train)
    monkeypatch.setattr(bench_changes.minigan, 'load', lambda folder: SimpleNamespace(sample=lambda n: np.ones((n, 4))))
    monkeypatch.setattr(bench_changes, 'judge', lambda images, judging: (9.0, 3.0))
    with pytest.raises(ValueError) if fails else nullcontext():
        assert bench_changes.play('the recipe', None, 'digits', 1, 0) == (0.5, 0.4, 9.0, 3.0)
    assert seen == ['the recipe'] and RECIPES == before


@pytest.mark.parametrize('arguments, written', [(['--data', 'mnist', '--epochs', '8'], True),
                                                (['--data', 'mnist', '--epochs', '2'], False), ([], False)])
def test_only_the_published_settings_change_the_table_in_the_readme(arguments, written, monkeypatch, capsys, tmp_path):
    tables, images = [], SimpleNamespace(train=np.zeros((3, 4), np.uint8))
    monkeypatch.setattr(bench_changes.data, 'load', lambda source: images)
    monkeypatch.setattr(bench_changes.classifier, 'load', lambda dataset: None)
    monkeypatch.setattr(bench_changes, 'Judge', lambda *given: None)
    monkeypatch.setattr(bench_changes, 'judge', lambda images, judging: (9.0, 3.0))
    monkeypatch.setattr(bench_changes, 'play', lambda recipe, judging, source, epochs, seed: (0.5 + seed, 0.25, 8, 7))
    monkeypatch.setattr(bench_changes, 'update_table', lambda name, table: tables.append((name, table)))
    monkeypatch.setattr(sys, 'argv', ['bench_changes', *arguments, '--seeds', '2'])
    bench_changes.main()
    table = capsys.readouterr().out.rstrip('\n')
    assert tables == ([('bench_changes', table)] if written else [])
    assert '| the article | 1 ± 0.7 | 0.25 ± 0 | 8 ± 0 | 7 ± 0 |' in table
    assert table.endswith('| real training images |  |  | 9 | 3 |')


def test_a_run_is_compared_with_its_steps_and_with_numpy_alone(monkeypatch):
    class Timed(Ready):
        def __init__(self, target, source, *device, threads):
            self.seconds = {('Run', 'cpu'): 2, ('Steps',): 1, ('Run', 'numpy'): 3}[(target.split(':')[1], *device)]

    def race(entrants, **how):
        for entrant in entrants:
            entrant.seconds = [entrant.worker.seconds]
    monkeypatch.setattr(bench_train, 'Worker', Timed)
    monkeypatch.setattr(bench_train, 'race', race)
    result = bench_train.overhead('digits', 1, {'epochs': 1, 'rounds': 1})
    assert result == {'ratio': [2] * 3, 'seconds': [2] * 3, 'numpy': [1.5] * 3}


def test_the_laws_of_scaling_are_found_again():
    points = [{'m': m, 'width': width, 'N': N, 'P': 1e6 * width**2} for m, width, N in
              ((16, 1, 10_000), (64, 1, 10_000), (512, 1, 10_000), (64, 3, 10_000), (64, 1, 90_000))]
    for p in points:
        p['ms'] = 2e-7 * p['m'] * p['P'] + 3e-6 * p['P']
        p['MB'] = 70 + 0.05 * p['m'] + (16 * p['P'] + 784 * p['N']) / 1e6
    for p in bench_scaling.expect(points):
        assert p['expected ms'] == pytest.approx(p['ms']) and p['expected MB'] == pytest.approx(p['MB'])


@pytest.mark.parametrize('name, module, results', [
    ('bench_step', bench_step, ['step']), ('bench_step_dcgan', bench_step, ['step_dcgan']),
    ('bench_native', bench_native, ['native']), ('bench_scaling', bench_scaling, ['scaling']),
    ('bench_train', bench_train, ['train-digits', 'train-mnist']), ('bench_quality', bench_quality, ['quality']),
    ('bench_mixtures', bench_mixtures, ['mixtures']), ('bench_variants', bench_variants, ['variants']),
    ('bench_cycle', bench_cycle, ['cycle']), ('bench_ranks', bench_ranks, ['ranks'])])
def test_the_readmes_table_is_what_was_measured(name, module, results):
    readme = harness.README.read_text(encoding='utf-8')
    start, end = harness.table_span(readme, name)
    if not all((harness.RESULTS / f'{one}.json').exists() for one in results):
        assert readme[start:end] == ''
        pytest.skip(f'{name} has not been measured yet')
    assert readme[start:end] == module.table(*map(harness.load, results)) + '\n'


def test_results_are_added_to_those_of_another_process_and_lists_of_numbers_stay_on_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(harness, 'RESULTS', tmp_path)
    harness.add_results('some', {'a 0': {'curve': [[1.5, 2], [3, 4]], 'modes': 3}})
    harness.add_results('some', {'b 0': {'modes': 5}})
    on = {'on': harness.describe(harness.machine())}
    assert harness.load('some')['runs'] == {'a 0': {'curve': [[1.5, 2], [3, 4]], 'modes': 3, **on},
                                            'b 0': {'modes': 5, **on}}
    assert harness.machines(harness.load('some')) == f"*{on['on']}.*"
    assert '[ 1.5, 2 ]' in (tmp_path / 'some.json').read_text()


class Ticks:
    """A clock of CPU time that advances by 1 s each time it is read."""

    def __init__(self):
        self.now = 0.0

    def process_time(self):
        self.now += 1
        return self.now


def test_what_is_spent_on_measuring_does_not_count_as_training(monkeypatch):
    clock = Ticks()
    monkeypatch.setattr(bench_quality, 'time', clock)
    judge = type('Judge', (), {'parzen': lambda self, images: {'parzen': 5}})
    monkeypatch.setattr(bench_quality, 'judge_of', judge)
    monkeypatch.setattr(bench_quality.Stopwatch, 'frechet', lambda self, images: 7)
    watch = bench_quality.Stopwatch()

    def samples():
        clock.now += 100
    for _ in range(3):
        clock.now += 10
        watch.look({'a': samples, 'b': samples})
    for name in 'ab':
        assert [point[0] for point in watch.curves[name]] == pytest.approx([11, 22, 33], abs=3)
        assert [point[1:] for point in watch.curves[name]] == [(7, 5)] * 3


def test_the_peer_has_its_authors_layers_and_losses_and_learns():
    torch = pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    from references.pytorch_gan import PyTorchGAN
    images = np.random.default_rng(0).choice(np.float32([-0.8, -0.7]), (640, 4))
    gan = PyTorchGAN(images, 0, eps=1e-5)
    assert [layer.out_features for layer in gan.G if isinstance(layer, torch.nn.Linear)] == [128, 256, 512, 1024, 4]
    assert [layer.out_features for layer in gan.D if isinstance(layer, torch.nn.Linear)] == [512, 256, 1]
    assert [layer.eps for layer in PyTorchGAN(images, 0).G if isinstance(layer, torch.nn.BatchNorm1d)] == [0.8] * 3
    before = gan.samples(1000)
    for _ in range(150):
        gan.train(0)
    for training in (False, True):
        after = gan.samples(1000, training=training)
        assert after.shape == (1000, 4) and abs(after.mean() - 0.125) < 0.05 < abs(before.mean() - 0.125)


@pytest.mark.parametrize('kind', ['RecipeInPyTorch', 'DCGAN2016'])
def test_a_dcgan_in_pytorch_learns(kind):
    pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    from references import pytorch_dcgan
    gan = getattr(pytorch_dcgan, kind)(np.full((256, 784), -0.8, np.float32), 0)
    before, state = gan.samples(100).mean(), {name: w.clone() for name, w in gan.G.state_dict().items()}
    for training in (False, True):
        assert gan.samples(100, training=training).shape == (100, 784)
    assert all((state[name] == w).all() for name, w in gan.G.state_dict().items())  # sampling changes nothing
    for done in np.linspace(0.1, 0.9, 16):
        gan.train(done)
    after = gan.samples(100, training=True).mean()
    assert abs(after - 0.1) < abs(before - 0.1)


def test_the_recipe_in_pytorch_has_minigans_schedule_and_average():
    pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    from references.pytorch_dcgan import RecipeInPyTorch
    gan, recipe = RecipeInPyTorch(np.zeros((64, 784), np.float32), 0), RECIPES['dcgan']
    states, expected = [], None
    for _ in range(24):
        gan.train(0.5)
        states.append(gan.state()[0].clone())
    for n, state in enumerate(states[7::8], start=1):
        w = (recipe.average + 1) / (n + recipe.average)
        expected = state if expected is None else (1 - w) * expected + w * state
    np.testing.assert_allclose(gan.average[0].numpy(), expected.numpy(), atol=1e-6)
    for adam, rate in ((gan.adam_G, recipe.learning_rate_G), (gan.adam_D, recipe.learning_rate_D)):
        assert adam.param_groups[0]['lr'] == pytest.approx(rate * (0.5 if recipe.schedule == 'linear' else 1))


def test_a_recipe_that_pytorch_cannot_follow_is_refused(monkeypatch):
    pytest.importorskip('torch', reason='PyTorch is not installed: pip install -e ".[bench]"')
    from references.pytorch_dcgan import RecipeInPyTorch
    monkeypatch.setitem(RECIPES, 'dcgan', replace(RECIPES['dcgan'], label_smoothing=0.1))
    with pytest.raises(ValueError, match='dcgan in PyTorch: expected label_smoothing 0, got 0.1'):
        RecipeInPyTorch(np.zeros((64, 784), np.float32), 0)


@pytest.mark.parametrize('better', [False, True])
def test_the_better_mode_of_a_peers_samples_is_kept(better, monkeypatch, tmp_path):
    """The Frechet distance is replaced by the distance from 1. For 0 seconds, nothing is trained."""
    gan = type('GAN', (), {'samples': lambda self, n, training=False: np.full((n, 4), 1 if training == better else 3)})
    monkeypatch.setattr(bench_quality, 'judge_of', type('Judge', (), {'parzen': lambda self, images: {'parzen': 5}}))
    monkeypatch.setattr(bench_quality.Stopwatch, 'frechet', lambda self, images: abs(images.mean() - 1))
    peer = bench_quality.Peer.__new__(bench_quality.Peer)
    peer.name, peer.gan = 'PyTorch', gan()
    curves = peer.train(tmp_path / 'samples.npz', seconds=0)
    assert len(curves['PyTorch']) == bench_quality.LOOKS
    with np.load(tmp_path / 'samples.npz') as samples:
        assert samples['PyTorch'].shape == (bench_quality.N, 4) and (samples['PyTorch'] == 1).all()


def test_a_peer_needs_the_seconds_of_the_default(monkeypatch):
    monkeypatch.setattr(bench_quality, 'load', lambda name: {'runs': {}})
    with pytest.raises(SystemExit, match='default, which has no result for seed 7 yet'):
        next(bench_quality.play('PyTorch', 7))


def test_a_cell_is_a_mean_and_its_standard_error_over_the_seeds():
    content = {'runs': {'a b 0': {'modes': 6}, 'a b 1': {'modes': 8}, 'a 0': {'modes': 1}}}
    measured = bench_quality.cells(bench_quality.runs_of(content, 'a b'), bench_mixtures.PLANE)
    assert list(measured) == ['7.0 ± 1.0', '', '']
    assert list(bench_quality.cells(bench_quality.runs_of(content, 'a'), {'modes': ('', 2)})) == ['1.00']


@pytest.mark.parametrize('command', ['bench_step.py --quick --threads 1 --only none',
                                     'bench_ops.py --quick --rounds 1'])
def test_a_quick_look_prints_its_table_and_writes_nothing(command):
    before = {path: path.read_bytes() for path in (ROOT / 'bench' / 'results').rglob('*.*')}
    script, *arguments = command.split()
    run = subprocess.run([sys.executable, ROOT / 'bench' / script, *arguments], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert ('floor' if 'step' in command else 'batch_norm_backward') in run.stdout
    assert before == {path: path.read_bytes() for path in (ROOT / 'bench' / 'results').rglob('*.*')}


@pytest.mark.parametrize('script', sorted(path.name for path in (ROOT / 'bench').glob('bench_*.py')))
def test_each_benchmark_says_how_it_is_used(script):
    run = subprocess.run([sys.executable, ROOT / 'bench' / script, '--help'], capture_output=True, text=True)
    assert run.returncode == 0 and f'python bench/{script}' in run.stdout
