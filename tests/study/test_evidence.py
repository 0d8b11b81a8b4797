"""What minigan/study/evidence.py says holds: the lines and tests exist, the tests pass, and with each bug they fail."""

import ast
import os

import pytest
from support import planting
from support.planting import ROOT, code_of, lines_of

from minigan.study.evidence import EVIDENCE, of

BUGS = [(line, bug) for line in EVIDENCE for bug in line.bugs]
TESTS = sorted({test for line in EVIDENCE for test in line.tests})
BROKEN = ['gan.py', 'draw_z', of('return draw_z(rng, self.prior, (m, self.n_z), self.G.dtype)').code]
ENTRIES = [(line.file, line.function, line.code, bug.wrong, [bug.caught_by]) for line, bug in BUGS] + [
    (*BROKEN, BROKEN[-1], TESTS), (*BROKEN, 'return (', TESTS), (*BROKEN, 'return rgn', TESTS)]
CAUGHT = 'AssertionError', 'RuntimeError', 'ValueError'  # a NameError would say that the bug is no program


def source(line):
    return (ROOT / 'minigan' / line.file).read_text(encoding='utf-8')


@pytest.fixture(scope='module')
def outcomes(tmp_path_factory):
    """[exit code of pytest, names of exceptions] for each of ENTRIES; about 20 s."""
    if not hasattr(os, 'fork'):
        pytest.skip('no fork on this system')
    return planting.outcomes(ENTRIES, tmp_path_factory.mktemp('planting'))


@pytest.mark.parametrize('number', range(len(BUGS)), ids=[f'{line.function}: {bug.words}' for line, bug in BUGS])
def test_a_planted_bug_makes_its_test_fail(outcomes, number):
    exit_code, raised = outcomes[number]
    assert exit_code == 1 and set(raised) <= {*CAUGHT}, (BUGS[number], exit_code, raised)


def test_without_a_bug_all_these_tests_pass(outcomes):
    assert outcomes[-3] == [0, []]


def test_a_line_that_is_no_program_does_not_count_as_caught(outcomes):
    assert outcomes[-2][0] not in (0, 1)
    assert outcomes[-1] == [1, ['NameError']]


@pytest.mark.parametrize('line', EVIDENCE, ids=lambda line: f'{line.function}: {line.code}')
def test_a_line_stands_once_in_its_function_and_has_two_bugs_that_its_tests_catch(line):
    assert len(lines_of(source(line), line.function, line.code)) == 1
    assert of(line.code) is line  # no two lines have the same code
    assert len({bug.wrong for bug in line.bugs} - {line.code}) == len(line.bugs) >= 2


@pytest.mark.parametrize('function', ['alternating', 'update_D', 'update_G'])
def test_no_line_of_a_step_is_left_out(function):
    text = (ROOT / 'minigan' / 'gan.py').read_text(encoding='utf-8')
    body, = (node.body for node in ast.walk(ast.parse(text)) if getattr(node, 'name', None) == function)
    lines = {code_of(text.splitlines()[number]) for number in range(body[1].lineno - 1, body[-1].end_lineno)}
    assert lines == {line.code for line in EVIDENCE if line.function == function}


@pytest.mark.parametrize('test', TESTS)
def test_a_test_that_is_named_exists(test):
    path, name = test.split('::')
    assert f'\ndef {name}(' in (ROOT / path).read_text(encoding='utf-8')


def test_a_line_without_evidence_has_none():
    assert of('return 42') is None
