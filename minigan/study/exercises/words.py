"""What is wrong with the results of a function, in words: which term, and where.

If no known mistake has the same results, they are regressed on the terms of the correct ones:

    got = c_1 term_1 + c_2 term_2 + ...     by least squares

If that fits, the coefficients that are not 1 say which term is missing (0), has the wrong sign (-1), and so on. What no
terms explain may still lack a factor, or have one too many, or be a different result.
"""

import inspect
from collections.abc import Callable
from copy import deepcopy
from itertools import combinations, combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np

from minigan.checks.derivatives import first_not_finite, place
from minigan.study.exercises.calls import Wrong, checked, in_float32, is_array, is_number_or_array, leaves, outcome

ALLOWED = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-5}  # relative to the largest entry of an array
ALIKE = 100  # times as far apart may be two results that come from the same mistake


class Term(NamedTuple):
    """A term of the correct result. formula: as the docstring has it; meaning: what it stands for, in words."""

    formula: str
    meaning: str
    value: Any


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


def alike(got, expected, times=1):
    """Whether two arrays are the same within rounding."""
    if got.shape != expected.shape or not np.array_equal(np.isfinite(got), np.isfinite(expected)):
        return False
    finite = np.isfinite(expected)
    size = np.max(abs(expected), where=finite, initial=0)
    gap = np.max(abs(np.where(finite, got, 0) - np.where(finite, expected, 0)), initial=0)
    return bool(gap <= times * ALLOWED[np.dtype(expected.dtype)] * size)


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
                f'in {name}[...] = or with +=.')
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


def coefficients(function, name, rows):
    """Sentences on the coefficients that are off, if the terms of the correct result explain what was got."""
    terms = [terms_of(function, name, row) for row in rows]
    columns, y = equations(terms, [row.got[name].value for row in rows], [row.correct[name].value for row in rows])
    there = columns.any(axis=0)
    columns, terms = columns[:, there], [term for term, used in zip(terms[0], there) if used]
    found, _, rank, _ = np.linalg.lstsq(columns, y, rcond=None)
    exact = 10 * ALIKE * ALLOWED[rows[0].correct[name].value.dtype]
    fits = rank == len(terms) and np.max(abs(columns @ found - y)) <= exact * max(1, np.max(abs(y)))
    if not fits or len(y) <= len(terms) > 1:  # as many equations as coefficients prove nothing
        return []
    case, moved = rows[0].case, 'The move of ' * (function.moves and rows[0].got[name].before is not None)
    shape = next(leaf for value in case.arguments if is_array(value) for leaf in leaves(value)).shape
    if np.ptp(found) < exact:  # all are off in the same way
        return [f'{moved}{name} {meaning(found[0], shape, case.keywords, exact, "is 0 everywhere")}.']
    return [f'{moved}{name}: {term.meaning} {meaning(c, shape, case.keywords, exact, "is missing")}: the term '
            f'{term.formula} has the coefficient {c + 0.0:.4g}, expected 1.'
            for c, term in zip(np.where(abs(found) < exact, 0, found), terms) if abs(c - 1) > exact]


def terms_of(function, name, row):
    """The terms of a result; itself, if its author has given none."""
    found = function.terms(*deepcopy(row.case.arguments), **deepcopy(row.case.keywords))
    return found.get(name, [Term(name, name, row.correct[name].value)])


def equations(terms, got, expected):
    """Columns, one for each term, and y: the entries of all cases, each relative to the largest one of its case."""
    scales = [1 / (np.max(abs(one)) or 1) for one in expected]
    columns = [np.concatenate([scale * np.ravel(term.value) for scale, term in zip(scales, column)])
               for column in zip(*terms)]
    y = np.concatenate([scale * np.ravel(one) for scale, one in zip(scales, got)])
    return np.array(columns, np.float64).T, y.astype(np.float64)


def by_column(function, name, row):
    """Sentences on the terms whose coefficients differ from column to column, if each column of got is explained."""
    terms, got = terms_of(function, name, row), row.got[name].value
    if got.ndim != 2 or got.shape[1] == 1 or len(got) <= len(terms):
        return []
    exact = 10 * ALIKE * ALLOWED[got.dtype]
    found = []
    for columns, y in zip(np.stack([term.value for term in terms]).transpose(2, 1, 0), got.T):
        c, _, rank, _ = np.linalg.lstsq(columns, y, rcond=None)
        if rank < len(terms) or np.max(abs(columns @ c - y)) > exact * max(1, np.max(abs(y))):
            return []
        found.append(c)
    arrays = {of: array for of, array in arrays_of(function, name, row).items() if array.shape == got.shape[1:]}
    return [f'{name}: {term.meaning} is off: its coefficient differs from column to column: '
            f'{power(c, arrays) or "a factor that belongs to a column is wrong"}. The term is {term.formula}.'
            for c, term in zip(np.transpose(found), terms) if np.max(abs(c - 1)) > exact]


def power(c, arrays):
    """Which power of an array is wrong in a term, from its coefficient in each column, or ''."""
    for of, array in arrays.items():
        for p, often in ((1, 'once'), (2, 'twice')):
            if np.max(abs(c * array**p - 1)) < 1e-6:
                return f'a power of {of} is wrong, and it lacks the factor {of}{"^2" * (p == 2)}'
            if np.max(abs(c / array**p - 1)) < 1e-6:
                return f'a power of {of} is wrong, and it has the factor {of} {often} too often'
    return ''


def meaning(c, shape, settings, exact, missing):
    """What a coefficient means. shape: of the first array of the case; settings: name -> number, of the case;
    missing: what 0 means."""
    m, n = (*shape, 1)[:2]
    numbers = {name: value for name, value in settings.items() if value}
    for value, text in ((0, missing), (-1, 'has the wrong sign'),
                        (m, 'is m times as large as it should be: a sum over the minibatch, where a mean is needed'),
                        (1 / m, 'is 1/m of what it should be: divided by m once too often'),
                        (-m, 'has the wrong sign, and is a sum over the minibatch, where a mean is needed'),
                        (m / (m - 1), 'is divided by m - 1 instead of m'),
                        *(((m / n, f'is divided by n = {n}, the number of columns, not by m = {m}, the rows'),
                           (n / m, f'is multiplied by n = {n}, the number of columns, not by m = {m}, the rows')
                           ) if n > 1 else ()),
                        *((value, f'is {name} times what it should be') for name, value in numbers.items()),
                        *((1 / value, f'lacks the factor {name}') for name, value in numbers.items())):
        if abs(c - value) < exact * max(1, abs(value)):
            return text
    return f'is {c:.4g} times what it should be'


def factors(function, name, rows):
    """A sentence if one or two arrays, arguments or results, are missing as factors or are factors too many, or ''."""
    arrays = [arrays_of(function, name, row) for row in rows]
    for count in (1, 2):
        for factor in combinations_with_replacement(arrays[0], count):
            for sign, text in ((1, 'lacks the factor'), (-1, 'has a factor too many,')):
                if all(proportional(row.got[name].value, row.correct[name].value, [one[of] for of in factor], sign)
                       for row, one in zip(rows, arrays)):
                    return f'{name} {text} {" * ".join(factor)}.'
    return ''


def arrays_of(function, name, row):
    """name -> array: the arguments of a case, also those within a tuple, and the other correct results."""
    found = {other: result.value for other, result in row.correct.items() if other != name}
    for argument, value in zip(inspect.signature(function.own).parameters, row.case.arguments):
        if is_array(value):
            found |= ({of: leaf for of, leaf in zip(function.parts, leaves(value))} if isinstance(value, tuple)
                      else {argument: value})
    return found


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
