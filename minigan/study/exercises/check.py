"""Check a student's file: a line for each check, then what is wrong in words."""

import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

import numpy as np

from minigan.study.exercises import student, trials
from minigan.study.exercises.calls import Wrong

NUMBERS = "numbers, next to the package's"


class Line(NamedTuple):
    """One check. ok: None if it was skipped; said: what is wrong, why it was skipped, or a note."""

    title: str
    ok: bool | None
    said: str = ''

    def __str__(self):
        verdict = 'skipped' if self.ok is None else 'ok' if self.ok else 'wrong'
        return f'  {verdict:8}{self.title}{f" ({shorten(self.said, 90)})" if self.said else ""}'


class Outcome(NamedTuple):
    """What a check of a file found. words: sentences on what is wrong."""

    lines: list
    words: list

    @property
    def passed(self):
        """Whether nothing is wrong."""
        return not self.words


def check(exercise, path):
    """The Outcome for a student's file. Raises Unusable, in one line, for a file without the functions."""
    path = Path(path)
    if not path.is_file():
        raise student.Unusable(f'{path}: no such file; `minigan exercise start {exercise.name}` begins one')
    try:
        with student.limited(exercise.seconds):
            return _check(exercise, exercise.functions_of(path), path)
    except student.Endless as endless:
        return Outcome([Line(NUMBERS, False)], [f'It {endless}'])


def _check(exercise, functions, path):
    lines, words = [], []
    for function in exercise.functions:
        prefix = f'{function.name}: ' if len(exercise.functions) > 1 else ''
        try:
            words += [f'{prefix}{sentence}' for sentence in function.explain(functions[function.name])]
        except Wrong as wrong:
            return Outcome([Line(NUMBERS, False), *(Line(title, None, 'not run') for title in exercise.checks)],
                           [f'{prefix}{wrong}'])
    lines.append(Line(NUMBERS, not words))
    trials.prepare()
    silent = redirect_stdout(StringIO())  # the other checks call a function hundreds of times, and it may print
    with exercise.installed(functions), silent, np.errstate(all='ignore'):
        for title, run in exercise.checks.items():
            lines.append(_line(title, run, path))
    return Outcome(lines, words or [f'{line.title}: {line.said}' for line in lines if line.ok is False])


def _line(title, run, path):
    try:
        return Line(title, True, run() or '')
    except ImportError as error:
        return Line(title, None, f'{error.name} is not installed')
    except RecursionError:
        return Line(title, False, 'it calls itself without an end: does it use the function that it replaces?')
    except AssertionError as error:
        return Line(title, False, str(error))
    except Exception as error:  # whatever a wrong function makes the package raise
        return Line(title, False, student.raised(error, path))


def check_all(folder, exercises):
    """An entry for each exercise: whether its file in a folder is correct or missing, and what is wrong."""
    entries = []
    for exercise in exercises:
        path, words = folder / f'{exercise.name}{exercise.suffix}', []
        missing = not path.is_file()
        if not missing:
            try:
                with redirect_stdout(sys.stderr):  # what a student's code prints is no part of the report
                    words = check(exercise, path).words
            except (ValueError, OSError) as error:  # a file that cannot be read, or used
                words = [' '.join(str(error).split())]
        entries.append({'name': exercise.name, 'difficulty': exercise.difficulty, 'passed': not missing and not words,
                        'missing': missing, 'words': words})
    return entries
