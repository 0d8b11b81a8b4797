"""`minigan gradcheck`: every case is correct, and no layer, loss, network or optimiser is left out."""

from functools import cache

import pytest

import minigan
from minigan import Layer, losses
from minigan.checks import cases
from minigan.checks.derivatives import Report
from minigan.checks.differences import Finding
from minigan.cli import main
from minigan.gpu import kernelset
from minigan.networks import RECIPES
from minigan.variants import convolution

CASES = {name: cache(case) for name, case in cases.cases()}  # each report is made once


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('seed', [0, 1, 2])
def test_a_case_is_correct(name, seed):
    report = CASES[name](seed)
    assert report.ok, report
    assert len(report) >= 1 and all(not row.why for row in report if not redundant(name, row.name))


def redundant(case, row):
    """The article's biases in front of a batch norm, whose gradient is 0; and x and b in J v, if y is linear in x."""
    linear = case.startswith(('Pack', 'EqualisedDense', 'SpectralDense', 'Patches', 'Unpatches', 'Upscale',
                              'AveragePool', 'Rows'))
    return (case.startswith('article') and row in ('4.Dense.b', '7.Dense.b')
            or linear and row.startswith('J v by') and row.endswith((' x', '.b')))


def test_nothing_is_left_out():
    layers = [name for name in minigan.__all__ if isinstance(getattr(minigan, name), type)
              and issubclass(getattr(minigan, name), Layer) and name != 'Layer']
    of_images = convolution.ImageMap.__subclasses__() + convolution.Patches.__subclasses__()
    wanted = [f'{layer}(' for layer in (*layers, *(layer.__name__ for layer in of_images))]
    wanted += [f'{loss} {objective}' for objective in losses.OBJECTIVES for loss in ('L_D', 'L_G')]
    wanted += [f'{network} {player}, {mode}' for network in (*RECIPES, 'dcgan') for player in 'GD'
               for mode in ('training', 'evaluation')]
    wanted += ['L_D, smoothing', 'Adam', 'SGDMomentum', *(f'{network} L_G' for network in RECIPES)]
    assert len(layers) == 10
    for start in wanted:
        assert any(name.startswith(start) for name in CASES), start
    assert len(CASES) == len(list(cases.cases())), 'two cases with the same name'


def test_the_command_prints_every_case_and_its_exit_code_is_the_verdict(monkeypatch, capsys):
    fused = {name: cache(case) for name, case in kernelset.fused_cases()}
    monkeypatch.setattr(kernelset, 'fused_cases', fused.items)
    monkeypatch.setattr(cases, 'cases', CASES.items)
    assert main(['gradcheck']) == 0
    output = capsys.readouterr().out
    count = sum(len(case(0)) for case in (CASES | fused).values())
    assert all(f'{name}\n' in output for name in CASES) and output.endswith(f'All {count} derivatives are correct.\n')
    monkeypatch.setattr(kernelset, 'fused_cases', lambda: [])
    monkeypatch.setattr(cases, 'cases', lambda: [('broken', lambda seed: Report([Finding('x', 1, 2, 0.5, 'wrong')]))])
    assert main(['gradcheck', '--seed', '3']) == 1
    assert capsys.readouterr().out.endswith('WRONG: broken\n')
