"""Call a student's function as the package calls its own, and see whether what comes back can be compared."""

import inspect
from copy import deepcopy
from typing import NamedTuple

import numpy as np

from minigan.checks.derivatives import place
from minigan.study.exercises.student import raised


class Wrong(Exception):
    """A sentence: what is wrong with what a function returns, or with how it treats its arguments."""


class Case(NamedTuple):
    """Arguments to call a function with. where: what is special about them, such as 'b = None'."""

    arguments: tuple
    keywords: dict = {}
    where: str = ''


class Result(NamedTuple):
    """An array that a function returned, or that it wrote into; then `before` is what lay there."""

    value: np.ndarray
    before: np.ndarray | None = None


def checked(function, student):
    """The student's function, which raises Wrong for what it raises and for arguments that it changes in place."""
    def called(*arguments, **keywords):
        names = list(inspect.signature(function.own).parameters)
        given = {**dict(zip(names, arguments)), **keywords}
        writable = {id(array) for array in function.written(*arguments, **keywords).values()}
        before = deepcopy({name: value for name, value in given.items() if is_array(value)})
        try:
            returned = student(*arguments, **keywords)
        except Wrong:
            raise
        except (Exception, SystemExit) as error:
            raise Wrong(f'{raised(error, path_of(student))}. It was called with {described(given)}.') from error
        for name, value in before.items():
            for old, new in zip(leaves(value), leaves(given[name])):
                if old.shape != new.shape:
                    raise Wrong(f'The argument {name} is changed in place: its shape was {old.shape} and is '
                                f'{new.shape}. Use reshape, which returns a new array.')
                if id(new) not in writable and not np.array_equal(old, new, equal_nan=True):
                    i = tuple(np.argwhere(old != new)[0])
                    raise Wrong(f'The argument {name} is changed in place: {name}{place(i) if i else ""} was '
                                f'{old[i]:.4g} and is {new[i]:.4g}. Compute a new array.')
        return returned
    return called


def path_of(function):
    """The file of a student's function."""
    return getattr(getattr(inspect.unwrap(function), '__code__', None), 'co_filename', '')


def is_array(value):
    """Whether an argument is an array, or a tuple of them."""
    return isinstance(value, np.ndarray) or isinstance(value, tuple) and all(map(is_array, value))


def is_number_or_array(value):
    """Whether an argument can be had in float32."""
    return value is None or isinstance(value, (int, float)) or is_array(value)


def leaves(value):
    """The arrays of an argument."""
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple) else [value]


def described(given):
    """Arguments in words: arrays by their shapes, and numbers."""
    def text(value):
        if isinstance(value, tuple) and is_array(value):
            return f'({", ".join(map(text, value))})'
        return f'of shape {value.shape}' if isinstance(value, np.ndarray) else f'= {value}'
    return ', '.join(f'{name} {text(value)}' for name, value in given.items() if is_number_or_array(value))


def outcome(function, call, case, expected=None):
    """name -> Result of calling a function with a copy of a case's arguments. Raises Wrong for a wrong structure.

    expected: the outcome whose shapes and dtypes it must have.
    """
    arguments, keywords = deepcopy((case.arguments, case.keywords))
    before = {name: array.copy() for name, array in function.written(*arguments, **keywords).items()}
    with np.errstate(all='ignore'):
        returned = call(*arguments, **keywords)
    results = {name: Result(value) for name, value in named(returned, function.returns).items()}
    for name, array in function.written(*arguments, **keywords).items():
        if name != 'scratch':
            results[name] = Result(array - before[name] if function.moves else array, before[name])
    for name, wanted in (expected or {}).items():
        require_alike(name, results[name].value, wanted.value)
        require_dtype(name, results[name].value, wanted.value, next(iter(inspect.signature(function.own).parameters)))
    return results


def named(value, names):
    """name -> array of what was returned. Raises Wrong for None and for a different structure."""
    if not names:
        return {}
    if value is None:
        raise Wrong(f'It returns None, expected {listed(names)}: is the body empty, or does its return lack a value?')
    if isinstance(names, str):
        if not isinstance(value, (np.ndarray, np.generic, float, int)):
            raise Wrong(f'{names}: expected an array, got {"None" if value is None else type(value).__name__}.')
        if (array := np.asarray(value)).dtype.kind not in 'fiub':
            raise Wrong(f'{names}: expected real numbers, got {type(value).__name__} of dtype {array.dtype}.')
        return {names: array}
    if isinstance(value, list):
        raise Wrong(f'It returns a list, expected a tuple: {listed(names)}.')
    if not isinstance(value, tuple) or len(value) != len(names):
        got = f'{len(value)} values' if isinstance(value, tuple) else 'one value'
        raise Wrong(f'It returns {got}, expected {len(names)}: {listed(names)}.')
    return {name: array for part, inner in zip(value, names) for name, array in named(part, inner).items()}


def in_float32(case):
    """A case with the precision in which networks train."""
    def single(value):
        if isinstance(value, tuple):
            return tuple(map(single, value))
        return value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype == np.float64 else value
    return case._replace(arguments=single(case.arguments))


def listed(names):
    """Names of results as in a return statement."""
    return names if isinstance(names, str) else ', '.join(
        one if isinstance(one, str) else f'({listed(one)})' for one in names)


def require_alike(name, got, expected):
    """Raises Wrong for a different shape."""
    if got.shape != expected.shape:
        reduced = {'the transpose of what is expected': expected.T, 'summed over the minibatch': expected.sum(axis=0),
                   'averaged over the minibatch': expected.mean(axis=0)} if expected.ndim == 2 else {}
        why = [text for text, value in reduced.items() if got.shape == value.shape and np.allclose(got, value)]
        raise Wrong(f'{name}: expected the shape {expected.shape}, got {got.shape}{": it is " * bool(why)}'
                    f'{"".join(why[:1])}.')


def require_dtype(name, got, expected, argument):
    """Raises Wrong for a different dtype. argument: the name of an array that has the expected one."""
    if got.ndim and got.dtype != expected.dtype:  # Python's numbers take any
        cure = ('' if got.dtype != np.float64 else ' np.where with Python numbers, np.zeros and np.ones give float64: '
                f'multiply, or use .astype({argument}.dtype).')
        raise Wrong(f'{name}: expected the dtype {expected.dtype}, as the arguments have, got {got.dtype}. Networks '
                    f'train in float32, and one array of a different dtype changes all that follow.{cure}')
