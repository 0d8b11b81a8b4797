"""Statements and equations in the source."""

import ast
import inspect
import linecache
from functools import lru_cache
from pathlib import Path
from textwrap import dedent

from minigan.study.record import Line


def reread():
    """Forget what has changed on disk: a notebook may have reloaded a module."""
    linecache.checkcache()
    numbers.cache_clear()


def statement(file, method, number):
    """The Line of the statement that begins there. In Algorithm 1, its comment is the paper's line."""
    lines = [linecache.getline(file, at).strip() for at, begin in numbers(file, method).items() if begin == number]
    code, paper = ' '.join(lines), ''
    if method == 'alternating':
        code, _, paper = code.partition('  # ')
    return Line(method, Path(file).name, number, code.rstrip(), paper)


@lru_cache
def numbers(file, method):
    """The lines of the methods of that name in a file: number -> number of the line at which its statement begins.

    A docstring is none. A compound statement has only the lines of its head.
    """
    found = {}
    for function in ast.walk(ast.parse(''.join(linecache.getlines(file)) or 'pass')):
        if isinstance(function, ast.FunctionDef) and function.name == method:
            for statement in ast.walk(function):
                if isinstance(statement, ast.stmt) and statement is not function:
                    body = getattr(statement, 'body', None)
                    end = body[0].lineno - 1 if body else statement.end_lineno
                    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                        found |= dict.fromkeys(range(statement.lineno, end + 1), statement.lineno)
    return found


def formula(function):
    """The equation in a docstring: its indented lines, or what follows three spaces in the first line; '' if unknown.

    It is read from the source, as Python 3.13 removes indentation from docstrings.
    """
    try:
        source = dedent(inspect.getsource(function))
    except OSError:
        return ''
    first, *lines = (ast.get_docstring(ast.parse(source).body[0], clean=False) or '').splitlines() or ['']
    return ' '.join(line.strip() for line in lines if line.startswith(' ' * 8)) or first.rpartition('   ')[2]
