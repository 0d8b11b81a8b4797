"""How ranks scale: the model's formulas, what is fitted, what is counted, and the command under a real mpiexec."""

import importlib.util
import sys

import bench_scaling
import harness
import pytest
import scaling_model as model
import scaling_ranks
import scaling_report as report
from scaling_model import Law, Link
from scaling_worker import Steps

from minigan.parallel.in_turn import in_turn

LINK, ONE, RANK = Link(1e-5, 1e9), Law(6e-5, 2e-3), Law(8e-5, 3e-3)
CALLS = [['Allreduce', 2_000_000, 2], ['Allgather', 2_048, 4], ['bcast', 0, 1.1]]


@pytest.mark.parametrize('method, size, R, expected', [
    ('Allreduce', 8_000, 1, 0), ('bcast', 0, 1, 0),
    ('Allreduce', 8_000, 2, 1e-5 + 8e-6),  # one message each way
    ('Allreduce', 800, 4, 2 * (1e-5 + 8e-7)),  # doubling: two messages of all bytes
    ('Allreduce', 8_000_000, 4, 4e-5 + 1.5 * 8e-3),  # halving and doubling: 2 * 3/4 of the bytes in four messages
    ('Allreduce', 8_000_000, 3, 4e-5 + 4 / 3 * 8e-3),
    ('Allgather', 2_000, 4, 2e-5 + 3 * 2e-6), ('bcast', 0, 8, 2 * 3e-5)])
def test_a_collective_call_costs_its_messages(method, size, R, expected):
    assert model.cost(method, size, LINK, R) == pytest.approx(expected)
    starts = {'bcast': 2}.get(method, 1) * (R > 1)
    assert model.cost(method, size, LINK._replace(start=1.0), R) == pytest.approx(expected + starts)


def test_a_step_is_its_rows_what_is_not_divided_and_its_calls():
    c = 2 * (1e-5 + 2e-3) + 4 * (1e-5 + 2.048e-6) + 1.1 * 2e-5
    assert model.exchange(CALLS, LINK, 2) == pytest.approx(c)
    assert model.step(RANK, 100, 2, CALLS, LINK) == pytest.approx(50 * 8e-5 + 3e-3 + c)
    assert model.step(RANK, 100, 1, CALLS, LINK) == pytest.approx(100 * 8e-5 + 3e-3)


def test_fits_find_the_coefficients_again():
    assert model.fit_law([(m, RANK(m)) for m in (48, 192, 768)]) == pytest.approx(RANK)
    sizes = [2**k for k in range(10, 26)]
    points = [(size, model.cost('Allreduce', size, LINK, 2)) for size in sizes]
    assert model.fit_link(points) == pytest.approx(LINK)
    noisy = [(m, RANK(m) * (1 + error)) for m, error in zip((48, 192, 768), (0.01, -0.02, 0.01))]
    assert model.fit_law(noisy) == pytest.approx(RANK, rel=0.05)


@pytest.mark.parametrize('R', [2, 3, 16, 1024])
def test_from_the_least_batch_the_efficiency_is_a_half(R):
    m = model.least_batch(R, ONE, RANK, CALLS, LINK)
    efficiency = [ONE(n) / R / model.step(RANK, n, R, CALLS, LINK) for n in (m - R, m, 4 * m)]
    assert m % R == 0 and efficiency[0] < 0.5 <= efficiency[1] < efficiency[2]


def test_ranks_that_need_twice_the_time_for_a_row_never_pay_and_free_ones_need_a_row_each():
    assert model.least_batch(2, ONE, Law(2 * ONE.A, 0), [], LINK) is None
    assert model.least_batch(4, ONE, Law(ONE.A, 0), [], LINK) == 4


def test_the_law_of_a_gpu_is_near_what_was_measured_there():
    law = model.gpu()
    assert law(64) == pytest.approx(0.190e-3, rel=0.1) and law(512) == pytest.approx(0.491e-3, rel=0.1)


def test_the_calls_of_a_step_are_counted():
    """k = 1: an Allreduce for each player; two batch norms, forward with D's step and with G's, backward with G's."""
    def work(comm):
        comm.Barrier = lambda: comm.bcast(None)
        steps = Steps('default', fused=False, comm=comm)
        return steps.about['bytes'], steps.run(10, 12)['spent']
    sizes, spent = in_turn(2, work)[0]
    counted = {purpose: [(method, size, calls) for method, size, calls, _ in entries]
               for purpose, entries in spent.items()}
    assert counted['derivatives'] == [('Allreduce', size, 10) for size in sorted(sizes)]
    assert counted['batch norm'] == [('Allgather', 2 * 256 * 4, 20), ('Allgather', 2 * 512 * 4, 20),
                                     ('Allreduce', 2 * 256 * 4, 10), ('Allreduce', 2 * 512 * 4, 10)]
    assert counted['loop'] == [('Allgather', 8, 10), ('Allgather', 6 * 4, 3), ('bcast', 0, 11)]  # one look at 3 logits


def test_a_process_alone_exchanges_nothing_and_runs_fused_kernels(twins):
    fused, unfused = Steps('default'), Steps('default', fused=False)
    layers = [len(steps._run_of(12).game.D.layers_in_training) for steps in (fused, unfused)]
    assert layers[0] < layers[1]
    assert fused.run(1, 12)['spent']['derivatives'] == []


@pytest.fixture
def content():
    """Results that follow the model exactly, in three rounds."""
    def step(who, m):
        if who in report.RANKS.values():
            return model.step(RANK, m, int(who[0]), CALLS, LINK)
        return {report.ALONE: ONE(m), report.THREADS: ONE(m) / 1.6, report.UNFUSED: RANK(m)}[who]
    fractions = {'derivatives': 0.25, 'batch norm': 0.125, 'loop': 0.0625}
    points = [{'who': who, 'm': m, 'seconds': [step(who, m) * factor for factor in (1.1, 1.2, 1.3)],
               'fastest': step(who, m), 'fractions': fractions}
              for who in (report.ALONE, report.THREADS, report.UNFUSED, *report.RANKS.values())
              for m in (12, 48, 96, 192, 768)]
    result = {'bytes': [2_000_000, 2_000_000], 'mpi': 'some MPI', 'points': points, 'calls': CALLS,
              'allreduce': [[size, model.cost('Allreduce', size, LINK, 2)] for size in (2**10, 2**20)]}
    return {'machine': {**harness.machine(), 'cores': 2}, 'load': 0.0, 'networks': {'default': result}}


def test_the_model_has_no_error_where_the_steps_follow_it(content):
    result = content['networks']['default']
    assert report.here(content) == pytest.approx(LINK)
    assert report.errors(result, LINK, report.UNFUSED) == pytest.approx({96: 0, 768: 0}, abs=1e-9)
    unseen = dict.fromkeys((12, 48, 96, 192, 768), 0)
    assert report.errors(result, LINK, report.RANKS[2]) == pytest.approx(unseen, abs=1e-9)
    assert report.worst_factor(content) == pytest.approx(1)
    result['points'] = [{**p, 'fastest': 2 * p['fastest']} if p['who'] == report.RANKS[2] else p
                        for p in result['points']]
    assert report.errors(result, LINK, report.RANKS[2])[48] == pytest.approx(-0.5)
    result['allreduce'].append([2**15, 3 * model.cost('Allreduce', 2**15, report.here(content), 2)])
    assert 1.5 < report.worst_factor(content) < 3


def test_the_tables_have_ratios_of_one_round_efficiencies_and_fractions(content):
    two, four = (model.step(RANK, m, R, CALLS, LINK) for m, R in ((96, 2), (192, 4)))
    row = next(line for line in report.strong(content).splitlines() if line.startswith('| default, 96 |'))
    cells = [cell.strip() for cell in row.strip('|').split('|')]
    assert cells[1] == f'{1.2e3 * ONE(96):.1f}' and cells[2] == '0.62 (0.62-0.62)'
    assert cells[4].startswith(f'{two / ONE(96):.2f} (') and cells[7] == f'{100 * ONE(96) / (2 * two):.0f} %'
    assert cells[8:] == ['25 %', '12 %', '6 %']
    assert '| 2 ranks | 3 ranks * | 4 ranks * |' in report.strong(content)  # more than the two cores
    assert '| default, 48 |' not in report.weak(content)  # three ranks have not had 144 rows
    result = content['networks']['default']
    result['points'] = [p for p in result['points'] if p['who'] != report.RANKS[3]]
    row = next(line for line in report.weak(content).splitlines() if line.startswith('| default, 48 |'))
    cells = [cell.strip() for cell in row.strip('|').split('|')]
    assert cells[2].startswith(f'{two / ONE(48):.2f} (') and cells[3] == ''
    assert cells[4].startswith(f'{four / ONE(48):.2f} (')


def test_the_verdict_compares_two_ranks_with_two_threads(content):
    two = [model.step(RANK, m, 2, CALLS, LINK) / (ONE(m) / 1.6) for m in (48, 768)]
    assert [f'{one:.2f} (' in report.verdict(content) for one in two] == [True, True]


def test_the_chart_has_all_panels(content, tmp_path):
    report.chart(content, tmp_path / 'chart.png')
    assert (tmp_path / 'chart.png').stat().st_size > 10_000


def test_the_readmes_tables_are_what_was_measured():
    readme = harness.README.read_text(encoding='utf-8')
    start, end = harness.table_span(readme, 'bench_scaling_ranks')
    assert readme[start:end] == report.table(harness.load('scaling_ranks')) + '\n'


def test_without_mpiexec_the_command_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setattr(sys, 'executable', str(tmp_path / 'python'))
    with pytest.raises(SystemExit, match=r"^no mpiexec: pip install -e '\.\[mpi\]'$"):
        scaling_ranks.mpiexec()


@pytest.fixture(scope='module')
def mpiexec():
    """Its path; a test that needs it is skipped without it."""
    if not importlib.util.find_spec('mpi4py'):
        pytest.skip("no mpi4py: pip install -e '.[mpi]'")
    try:
        return scaling_ranks.mpiexec()
    except SystemExit as error:
        pytest.skip(str(error))


def test_a_quick_run_prints_the_tables(mpiexec, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['bench_scaling', '--ranks', '--quick'])
    monkeypatch.setitem(scaling_ranks.QUICK, 'rounds', 1)
    bench_scaling.main()
    printed = capsys.readouterr().out
    assert '| default, 96 |' in printed and '| 1024 |' in printed and 'Two ranks take ' in printed


def test_a_rank_that_fails_ends_all_of_them(mpiexec):
    worker = harness.Worker('scaling_worker:ranks', 'default', launcher=(mpiexec, '-n', '2'))
    assert worker.wait_until_ready() and len(worker.about['bytes']) == 2
    with pytest.raises(SystemExit, match='run: its process ended with code'):
        worker.call('run', 'many', 12)
    worker.close()
