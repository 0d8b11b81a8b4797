"""A result in the terms of the correct one: which are missing, or have the wrong sign or size.

    got = c_1 term_1 + c_2 term_2 + ...     by least squares

If that fits, the coefficients that are not 1 say which term is missing (0), has the wrong sign (-1), and so on. If it
does not, it may fit for each column by itself.
"""

import inspect
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from minigan.study.exercises.calls import is_array, leaves

ALLOWED = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-5}  # relative to the largest entry of an array
ALIKE = 100  # times as far apart may be two results that come from the same mistake


class Term(NamedTuple):
    """A term of the correct result. formula: as in the package's docstring; meaning: what it stands for, in words."""

    formula: str
    meaning: str
    value: Any


def alike(got, expected, times=1):
    """Whether two arrays are the same within rounding."""
    if got.shape != expected.shape or not np.array_equal(np.isfinite(got), np.isfinite(expected)):
        return False
    finite = np.isfinite(expected)
    size = np.max(abs(expected), where=finite, initial=0)
    gap = np.max(abs(np.where(finite, got, 0) - np.where(finite, expected, 0)), initial=0)
    return bool(gap <= times * ALLOWED[np.dtype(expected.dtype)] * size)


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
    exact, found = 10 * ALIKE * ALLOWED[got.dtype], []
    for columns, y in zip(np.stack([term.value for term in terms]).transpose(2, 1, 0), got.T):
        c, _, rank, _ = np.linalg.lstsq(columns, y, rcond=None)
        if rank < len(terms) or np.max(abs(columns @ c - y)) > exact * max(1, np.max(abs(y))):
            return []
        found.append(c)
    arrays = {of: array for of, array in arrays_of(function, name, row).items() if array.shape == got.shape[1:]}
    return [f'{name}: {term.meaning} is off. Its coefficient differs from column to column: '
            f'{power(c, arrays, term.formula)}.' if np.ptp(c) > exact else f'{name}: {term.meaning} '
            f'{meaning(c[0], got.shape, row.case.keywords, exact, "is missing")}.'
            for c, term in zip(np.transpose(found), terms) if np.max(abs(c - 1)) > exact]


def power(c, arrays, formula):
    """Which power of an array is wrong in a term, from its coefficient in each column."""
    for of, array in arrays.items():
        for factor, text in ((array, of), (array**2, f'{of}^2')):
            if np.allclose(c * factor, 1):
                return f'a power of {of} is wrong, and the term {formula} lacks the factor {text}'
            if np.allclose(c, factor):
                return f'a power of {of} is wrong, and the term {formula} has an extra factor {text}'
    return f'the term {formula} has an extra factor, or lacks one, that belongs to a column'


def meaning(c, shape, settings, exact, missing):
    """What a coefficient means.

    shape: of the first array of the case; settings: name -> number, of the case; missing: what 0 means.
    """
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


def arrays_of(function, name, row):
    """name -> array: the arguments of a case, also those within a tuple, and the other correct results."""
    found = {other: result.value for other, result in row.correct.items() if other != name}
    for argument, value in zip(inspect.signature(function.own).parameters, row.case.arguments):
        if is_array(value):
            found |= ({of: leaf for of, leaf in zip(function.parts, leaves(value))} if isinstance(value, tuple)
                      else {argument: value})
    return found
