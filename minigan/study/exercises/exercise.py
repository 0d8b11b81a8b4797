"""What an exercise is: a function of the package that a student writes, and what its author knows about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minigan.study.exercises import student, template, words
from minigan.study.exercises.calls import listed

M = 7  # rows of a case's minibatch, and no other size: a coefficient of 7 is a missing 1 / m; trials have 6 rows


def nothing(*arguments, **keywords):
    """What a function writes into, or its terms, by default."""
    return {}


@dataclass(frozen=True)
class Function:
    """A function of the package that a student writes.

    owner, name: where the package has it: a module or a class. cases(): a list of Case. returns: the names of the
    results, nested as they are. written(*arguments, **keywords): name -> array that the function writes into; moves:
    whether it moves what lies there, or assigns it. terms(*arguments, **keywords): name of a result -> its Terms, whose
    sum is the result (or the move). parts: the names of the arrays in a tuple argument. mistakes: known ones.
    """

    owner: Any
    name: str
    cases: Callable[[], list]
    returns: Any = ()
    written: Callable = nothing
    moves: bool = False
    terms: Callable = nothing
    parts: tuple = ()
    mistakes: tuple = ()

    @property
    def own(self):
        """The package's."""
        return getattr(self.owner, self.name)

    def explain(self, function):
        """Sentences on what is wrong with a student's function, none if nothing is."""
        return words.explain(self, function)

    def remarks(self, function):
        """What could be better in a function with which nothing is wrong, each to follow 'Correct, but '."""
        return []


@dataclass(frozen=True)
class Exercise:
    """Functions to write. difficulty: from 1, a line, to 5.

    hints: the idea first, then the equation, never the code. checks: title -> a function that returns what to add to
    'ok' and raises AssertionError for what is wrong; called with the student's functions in place of the package's.
    """

    name: str
    difficulty: int
    about: str
    functions: tuple
    hints: tuple
    checks: dict

    suffix = '.py'
    seconds = 10  # that a check may take

    def template(self, path):
        """The student's file, before any work. path: where it will lie."""
        names = [function.own for function in self.functions]
        imports = sorted({line for own in names for line in template.imports(own)})
        head = [f'# Write the body below each docstring. Then run: {student.command(self, path)}',
                *template.context(self.functions[0].owner, names), '', 'import numpy as np', '', *imports]
        bodies = [template.without_body(function.own, listed(function.returns)) for function in self.functions]
        return '\n\n\n'.join(['\n'.join(head).strip(), *bodies]) + '\n'

    def solution(self):
        """The package's own source."""
        return '\n\n\n'.join(template.source(function.own) for function in self.functions)

    def functions_of(self, path):
        """name -> the student's function. Raises Unusable."""
        return student.functions_of(path, [function.name for function in self.functions])

    def installed(self, functions):
        """A context in which the package uses the student's functions."""
        return student.installed({function.own: functions[function.name] for function in self.functions})
