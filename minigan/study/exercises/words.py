"""What is wrong with the results of a function, in words: which term, and where.

A known mistake may have the same results. If none has, the terms of the correct results may explain them (terms.py);
if not, a factor may be missing or extra, or a result may be a different one.
"""

import dis
import inspect
from collections.abc import Callable
from itertools import combinations, combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np

from minigan.checks.derivatives import first_not_finite, place
from minigan.study.exercises.calls import Wrong, checked, in_float32, is_number_or_array, outcome
from minigan.study.exercises.terms import ALIKE, alike, arrays_of, by_column, coefficients


class Mistake(NamedTuple):
    """A function that makes a known mistake, and the sentence for a student whose results are the same as its."""

    says: str
    function: Callable


class Row(NamedTuple):
    """A case, and what came back: name -> Result of the student's function and of the package's."""

    case: Any
    got: dict
    correct: dict

    def off(self, name):
        """Whether a result is wrong."""
        return not alike(self.got[name].value, self.correct[name].value)


def explain(function, student):
    """Sentences on what is wrong with a student's function; none if its results are those of the package's.

    Raises Wrong for a function with which nothing else can be checked.
    """
    expected_signature, signature = inspect.signature(function.own), inspect.signature(student)
    if list(signature.parameters) != list(expected_signature.parameters):
        raise Wrong(f'Expected the arguments {expected_signature}, got {signature}.')
    if not function.returns and is_empty(inspect.unwrap(student)):
        raise Wrong(f'The body is empty: {function.name} writes into its arguments.')
    cases, student, rows = function.cases(), checked(function, student), []
    try:
        for case in cases:
            correct = outcome(function, function.own, case)
            rows.append(Row(case, outcome(function, student, case, correct), correct))
    except Wrong:
        if not (found := of_rows(function, rows)):  # what an earlier case shows says more
            raise
        return found
    again = outcome(function, student, cases[0])
    if any(not np.array_equal(one.value, again[name].value, equal_nan=True) for name, one in rows[0].got.items()):
        raise Wrong('Two calls with the same arguments give different results: random numbers must come from the '
                    'arguments.')
    if not (found := of_rows(function, rows)):
        for case in [in_float32(case) for case in cases if all(map(is_number_or_array, case.arguments))]:
            outcome(function, student, case, outcome(function, function.own, case))
    return found


def is_empty(function):
    """Whether a function does nothing, as the one that `minigan exercise start` writes."""
    return {one.opname for one in dis.get_instructions(function)} <= {
        'RESUME', 'NOP', 'LOAD_CONST', 'RETURN_CONST', 'RETURN_VALUE'}


def of_rows(function, rows):
    """Sentences on results: the one of a known mistake that explains them all, or those on each that is wrong."""
    names, found, vague, first = list(rows[0].correct) if rows else [], [], [], []
    off = chosen([row for row in rows if any(map(row.off, row.correct))])
    if off and (says := known(function, names, off)):
        name = next(name for name in off[0].correct if off[0].off(name))
        return [where(off, rows) + says, worst(name, function.moves, off[0])]
    if pair := exchanged_pair(off):
        first = [where(off, rows) + f'The results {pair[0]} and {pair[1]} are exchanged.']
    for name in [name for name in names if name not in pair]:
        there = [row for row in rows if name in row.correct]
        if off := chosen([row for row in there if row.off(name)]):
            why = sentences(function, name, off)
            (found if why else vague).extend([*(where(off, there) + one for one in why or [differs(name, off[0])]),
                                              worst(name, function.moves, off[0])])
    if first:
        return list(dict.fromkeys(first + found + vague))
    return list(dict.fromkeys(found or vague))  # what is vague may follow from what is not


def exchanged_pair(rows):
    """Two results each of which is what the other should be, or ()."""
    for one, other in combinations(rows[0].correct if rows else (), 2):
        if all(row.off(one) and all(other in row.correct and alike(row.got[a].value, row.correct[b].value, ALIKE)
                                    for a, b in ((one, other), (other, one))) for row in rows):
            return one, other
    return ()


def where(off, rows):
    """What is special about the first row that is off, if not all are."""
    return f'With {off[0].case.where}: ' if off[0].case.where and len(off) < len(rows) else ''


def chosen(off):
    """Of the rows that are off, those to explain: special cases may fail for a second reason."""
    return [row for row in off if not row.case.where] or off


def sentences(function, name, rows):
    """Sentences on why a result is wrong, none if nobody knows."""
    found = (unassigned(name, function.moves, rows) or known(function, [name], rows) or not_finite(name, rows)
             or exchanged(name, rows) or coefficients(function, name, rows) or factors(function, name, rows)
             or by_column(function, name, rows[0]))
    return [found] if isinstance(found, str) and found else found or []


def differs(name, row):
    """The sentence for a result of which nothing is known."""
    got, correct = row.got[name].value, row.correct[name].value
    count = np.count_nonzero(~np.isclose(got, correct, rtol=1e-9, atol=0))
    return f'{name} differs{f" in {count} of {got.size} entries" * (got.size > 1)}.'


def known(function, names, rows):
    """The sentence of the known mistake with the same results of these names, or ''."""
    for mistake in function.mistakes:
        try:
            theirs = [outcome(function, mistake.function, row.case) for row in rows]
        except (Wrong, ArithmeticError, ValueError, RuntimeError, TypeError):  # it cannot be this one
            continue
        if all(alike(row.got[name].value, one[name].value, ALIKE)
               for row, one in zip(rows, theirs) for name in names if name in one):
            return mistake.says
    return ''


def not_finite(name, rows):
    """A sentence on the first inf or NaN, or ''."""
    found = [first_not_finite(np.atleast_1d(row.got[name].value)) for row in rows]
    return f'{name} is not finite: {found[0]}.' if found[0] else ''


def unassigned(name, moves, rows):
    """A sentence for an array that is untouched, moved though it must not, or added to, or ''."""
    pairs = [(row.got[name], row.correct[name].value) for row in rows if row.got[name].before is not None]
    if not pairs:
        return ''
    if all(np.array_equal(got.value, 0 * got.before if moves else got.before) for got, _ in pairs):
        if name[-2:] in ('_D', '_G'):
            return f'{name} does not move.'
        return (f'{name} is not touched: `{name} = ...` would only give the name a new value; write into the array, as '
                f'in {name}[...] ={" or with +=" * moves}.')
    if moves and not any(correct.any() for _, correct in pairs):
        return f'{name} moves, and it must stay.'
    if not moves and all(alike(got.value, got.before + correct, ALIKE) for got, correct in pairs):
        return (f'{name} is added to what lay there: assign the derivative, as in {name}[...] =; a step would follow '
                'the sum of all gradients so far.')
    return ''


def exchanged(name, rows):
    """A sentence if a result is what a different one should be, or ''."""
    for other in rows[0].correct:
        if other != name and all(alike(row.got[name].value, row.correct[other].value, ALIKE) for row in rows):
            return f'{name} is what {other} should be.'
    return ''


def factors(function, name, rows):
    """A sentence if one or two arrays, arguments or results, are missing as factors or are extra factors, or ''."""
    arrays = [arrays_of(function, name, row) for row in rows]
    for count in (1, 2):
        for factor in combinations_with_replacement(arrays[0], count):
            for sign, text in ((1, 'lacks the factor'), (-1, 'has an extra factor')):
                if all(proportional(row.got[name].value, row.correct[name].value, [one[of] for of in factor], sign)
                       for row, one in zip(rows, arrays)):
                    return f'{name} {text} {" * ".join(factor)}.'
    return ''


def proportional(got, correct, factor, sign):
    """Whether got * factor is correct (sign 1), or correct * factor is got (-1)."""
    left, right = (got, correct) if sign == 1 else (correct, got)
    for one in factor:
        if one.shape not in (left.shape, left.shape[1:]):
            return False
        left = left * one
    return alike(left, right, ALIKE)


def worst(name, moves, row):
    """The entry that is furthest off."""
    got, correct = np.atleast_1d(row.got[name].value), np.atleast_1d(row.correct[name].value)
    gap = abs(got - correct)
    i = tuple(np.unravel_index(np.argmax(np.where(np.isnan(gap), np.inf, gap)), gap.shape))
    at = place(i) if row.correct[name].value.ndim else ''
    return (f'The worst entry{" of the move" * (moves and row.got[name].before is not None)} is {name}{at}: '
            f'expected {correct[i]:.6g}, got {got[i] + 0.0:.6g}.')
