"""`minigan selftest` passes if everything is correct, and fails if one kernel is wrong; it runs on the stand-in."""

import re

import numpy as np
import pytest

from minigan.checks.row import Row
from minigan.cli import main
from minigan.gpu import compare, twins
from minigan.networks import RECIPES
from minigan.streams import Streams
from minigan.training import on_gpu


def test_without_a_gpu_it_says_why_and_exits_with_2(monkeypatch, capsys):
    monkeypatch.setitem(__import__('sys').modules, 'cupy', None)
    assert main(['selftest']) == 2
    said = capsys.readouterr().err
    assert said.startswith("minigan: error: device 'cuda': ")
    assert said.endswith('; minigan kernelcheck checks the kernels without a GPU\n')


def test_it_passes_on_the_stand_in(cupy, monkeypatch, capsys):
    monkeypatch.setattr(on_gpu, 'STEPS', 3)
    assert main(['selftest']) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [*compare.arguments(2, 2, 0), *compare.DRAWS,
             *(f'3 steps of {network}, {how}' for network in RECIPES for how in ('launched', 'replayed'))]
    assert lines[-1] == f'All {len(names)} are correct.'
    rows = [line for line in lines if line.endswith(' ok')]
    assert len(rows) == len(names) and all(row.startswith(name) for row, name in zip(rows, names))


def test_a_wrong_kernel_fails_it(cupy, monkeypatch, capsys):
    monkeypatch.setattr(on_gpu, 'STEPS', 2)
    code = twins.code()
    wrong = code.replace('sum.dh_xhat += dh * at(xhat, i);', 'sum.dh_xhat += dh;')
    assert wrong != code
    monkeypatch.setattr(twins, 'code', lambda: wrong)
    assert main(['selftest']) == 1
    said = capsys.readouterr().out
    assert ('WRONG: batch_norm_leaky_relu_sums; batch_norm_leaky_relu_backward_; batch_norm_leaky_relu_backward_, no '
            'dgamma; 2 steps') in said
    assert 'adam_' not in said.splitlines()[-1]
    lines = said.splitlines()
    whys = [lines[i + 1] for i, line in enumerate(lines) if line.endswith('WRONG')]
    assert len(whys) == said.count('expected ') and all(re.fullmatch(
        r'    \w+( \w+)?(\[[\d, ]+\])*: expected \S+, got \S+(; m=\d+ n=\d+ seed=0)?', why) for why in whys)


@pytest.mark.parametrize('products, wrong', [('cublas', True), ('cublas', False), ('own', True)])
def test_it_names_a_switch_that_changes_cublas_and_blames_it_only_where_cublas_computes(
        cupy, monkeypatch, capsys, products, wrong):
    monkeypatch.setattr(compare, 'rows', lambda xp: [Row('adam_', float(wrong), 1e-6)])
    monkeypatch.setattr(on_gpu, 'rows', lambda xp: [])
    monkeypatch.setattr(twins.compiled(cupy), 'products', products)
    monkeypatch.delenv('NVIDIA_TF32_OVERRIDE', raising=False)
    for switch, named in (('0', False), ('1', True)):
        monkeypatch.setenv('CUPY_TF32', switch)
        assert main(['selftest']) == int(wrong)
        head, _, verdict = capsys.readouterr().out.partition('allowed')
        assert ('CUPY_TF32=1: cuBLAS may round' in head) == named
        assert ('CUPY_TF32=1 may be why' in verdict) == (named and wrong and products == 'cublas')


@pytest.mark.parametrize('got, expected, difference', [
    ((np.ones(3), np.ones(2)), (np.ones(3), np.ones(2)), 0),
    (np.array([1, 2, 3.5]), np.array([1, 2, 4.0]), 0.125), (np.ones(3), np.ones(2), np.inf),
    ((np.ones(3), (None, np.zeros(2))), (np.ones(3), (None, np.zeros(2))), 0),
    (np.array([1, np.nan]), np.array([1, 2.0]), np.nan), (np.array([]), np.array([]), 0)])
def test_the_difference_is_relative_to_the_largest_entry(got, expected, difference):
    np.testing.assert_equal(compare.difference(got, expected), difference)


@pytest.mark.parametrize('got, expected, where', [
    (np.array([[1, 2, 3.5]]), np.array([[1, 2, 4.0]]), 'result[0, 2]: expected 4, got 3.5'),
    ((np.ones(3), (np.array(2.0),)), (np.ones(3), (np.array(1.0),)), 'result[1][0]: expected 1, got 2'),
    (np.array([9, np.nan, 1]), np.ones(3), 'result[1]: expected 1, got nan'),
    ((np.ones(2), np.ones((2, 1))), (np.zeros(2), np.ones(2)), 'result[1]: expected shape (2,), got (2, 1)')])
def test_a_difference_says_where_it_is(got, expected, where):
    assert compare.largest_difference(got, expected).where == where


def test_one_wrong_shape_is_not_hidden_by_the_others(cupy, monkeypatch):
    for wrong in (np.nan, 0.5):
        monkeypatch.setattr(compare, 'compare_twin', lambda twins, name, m, n, xp: Row(
            name, wrong if (m, n) == compare.SHAPES[1] else 1e-9, 1e-6))
        assert not next(compare.rows(cupy)).ok


def test_what_was_drawn_counts_too():
    drawn, fresh = Streams(0).at('noise', 0), Streams(0).at('noise', 0)
    drawn.uniform(3)
    assert compare.difference((drawn,), (fresh,)) == np.inf
    assert compare.difference((Streams(0).at('noise', 0),), (Streams(0).at('noise', 0),)) == 0


def test_an_error_of_nan_is_not_ok():
    assert Row('x', 1e-7, 1e-6).ok and Row('x', 0, 0).ok
    assert not Row('x', np.nan, 1e-6).ok and not Row('x', 2e-6, 1e-6).ok
    with pytest.raises(ValueError):
        compare.difference((np.ones(1),), (np.ones(1), np.ones(1)))
