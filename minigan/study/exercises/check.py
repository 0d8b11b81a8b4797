"""Check a student's file: a line for each check, then what is wrong in words."""

import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import numpy as np

from minigan.study.exercises import student, trials
from minigan.study.exercises.calls import Wrong

NUMBERS = 'comparison with the package'
WIDTH = 110  # of a line of text


class Line(NamedTuple):
    """One check. ok: None if it was skipped; said: what is wrong, why it was skipped, or a note."""

    title: str
    ok: bool | None
    said: str = ''

    def __str__(self):
        verdict = 'skipped' if self.ok is None else 'ok' if self.ok else 'wrong'
        return fill(f'{self.title}{f" ({self.said})" if self.said else ""}', WIDTH, initial_indent=f'  {verdict:8}',
                    subsequent_indent=' ' * 10, break_long_words=False, break_on_hyphens=False)


class Outcome(NamedTuple):
    """What a check of a file found. words: sentences on what is wrong; remarks: what could be better if nothing is."""

    lines: list
    words: list
    remarks: list = []

    @property
    def passed(self):
        """Whether nothing is wrong."""
        return not self.words


def check(exercise, path):
    """The Outcome for a student's file. Raises Unusable, in one line, for a file without the functions."""
    path = Path(path)
    if path.is_dir():
        raise student.Unusable(f'{path}: expected a file, got a folder')
    if not path.is_file():
        where = '' if path.is_absolute() else ' in this folder'
        raise student.Unusable(f'{path}: no such file{where}; `minigan exercise start {exercise.name}` begins one')
    lines = []
    try:
        with student.importable(path.parent):
            return _check(exercise, path, lines)
    except student.Endless as endless:
        return _stopped(exercise, lines, str(endless))


def _stopped(exercise, lines, why):
    """The Outcome of a check that went no further than some lines: the next is wrong, and the others are skipped."""
    titles = [NUMBERS, *exercise.checks][len(lines):]
    return Outcome([*lines, Line(titles[0], False), *(Line(title, None, 'not run') for title in titles[1:])], [why])


def _check(exercise, path, lines):
    """The Outcome; its lines are added to a list one by one."""
    words, over = [], []
    with student.limited(exercise.seconds, over):
        functions = {name: student.guarded(own, over) for name, own in exercise.functions_of(path).items()}
        for function in exercise.functions:
            prefix = f'{function.name}: ' if len(exercise.functions) > 1 else ''
            try:
                words += [f'{prefix}{sentence}' for sentence in function.explain(functions[function.name])]
            except Wrong as wrong:
                return _stopped(exercise, lines, f'{prefix}{wrong}')
    lines.append(Line(NUMBERS, not words))
    trials.prepare()
    silent = redirect_stdout(StringIO())  # the other checks call a function hundreds of times, and it may print
    with exercise.installed(functions), silent, np.errstate(all='ignore'), student.limited(exercise.seconds, over):
        for title, run in exercise.checks.items():
            lines.append(_line(title, run, path))
        words = words or [f'{line.title}: {line.said}' for line in lines if line.ok is False]
        remarks = [] if words else [remark for function in exercise.functions
                                    for remark in function.remarks(functions[function.name])]
    return Outcome(lines, words, remarks)


def _line(title, run, path):
    try:
        return Line(title, True, run() or '')
    except ImportError as error:
        return Line(title, None, f'{error.name} is not installed')
    except RecursionError:
        return Line(title, False, 'it calls itself without an end: does it use the function that it replaces?')
    except AssertionError as error:
        return Line(title, False, str(error))
    except (Exception, SystemExit) as error:  # whatever a wrong function makes the package raise
        return Line(title, False, student.raised(error, path))


def check_all(folder, exercises):
    """An entry for each exercise: whether its file in a folder is correct or missing, and what is wrong.

    Raises ValueError without such a folder.
    """
    student.require_folder(folder)
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
            except Exception as error:  # a result that nobody expected; the report goes on
                words = [student.raised(error, path)]
        entries.append({'name': exercise.name, 'difficulty': exercise.difficulty, 'passed': not missing and not words,
                        'missing': missing, 'words': words})
    return entries
