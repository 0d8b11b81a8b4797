"""What an exercise is: a function of the package that a student writes, and what its author knows about it."""

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from minigan.study.exercises import student, words

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
    sum is the result (or the move). mistakes: known ones.
    """

    owner: Any
    name: str
    cases: Callable[[], list]
    returns: Any = ()
    written: Callable = nothing
    moves: bool = False
    terms: Callable = nothing
    mistakes: tuple = ()

    @property
    def own(self):
        """The package's."""
        return getattr(self.owner, self.name)

    @property
    def source(self):
        """The package's source text, without decorators."""
        text = dedent(inspect.getsource(inspect.unwrap(self.own)))
        return '\n'.join(text.splitlines()[ast.parse(text).body[0].lineno - 1:])

    def template(self):
        """The signature and the docstring, without the body."""
        docstring = ast.parse(self.source).body[0].body[0]
        return '\n'.join([*self.source.splitlines()[:docstring.end_lineno], '    # Write the body here.\n'])

    def imports(self):
        """The imports that the package's body needs, apart from NumPy."""
        own = inspect.unwrap(self.own)
        used = {node.id for part in ast.parse(self.source).body[0].body for node in ast.walk(part)
                if isinstance(node, ast.Name)}
        return [f'from {own.__globals__[name].__module__} import {name}'
                for name in sorted(used & own.__globals__.keys() - {'np'})]

    def explain(self, function):
        """Sentences on what is wrong with a student's function, none if nothing is."""
        return words.explain(self, function)


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
        command = student.command(self, path)
        imports = sorted({line for function in self.functions for line in function.imports()})
        head = [f'# Write the body below each docstring. Then run: {command}', '', 'import numpy as np', '', *imports]
        return '\n'.join(head).rstrip('\n') + ''.join(f'\n\n\n{function.template()}' for function in self.functions)

    def solution(self):
        """The package's own source."""
        return '\n\n\n'.join(function.source for function in self.functions)

    def functions_of(self, path):
        """name -> the student's function. Raises Unusable."""
        return student.functions_of(path, [function.name for function in self.functions])

    def installed(self, functions):
        """A context in which the package uses the student's functions."""
        return student.installed({function.own: functions[function.name] for function in self.functions})
