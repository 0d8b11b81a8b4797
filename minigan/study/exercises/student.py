"""A student's file: where it lies, what it defines, and how its functions take the place of the package's."""

import inspect
import os
import shlex
import signal
import sys
import threading
import traceback
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path

from minigan import losses

FOLDER = Path('exercises')
AGAIN = 0.05  # seconds from one alarm to the next


class Unusable(ValueError):
    """A file without a function that can be called, in one line."""


class Endless(BaseException):
    """The time is over. Not an Exception, so that a student's own `except Exception` does not hold it up."""


def default(exercise):
    """Where the file of an exercise lies unless its user says so."""
    return FOLDER / f'{exercise.name}{exercise.suffix}'


def require_folder(folder):
    """Raises ValueError for what is not a folder."""
    if not folder.is_dir():
        raise ValueError(f'{folder}: {"expected a folder, got a file" if folder.exists() else "no such folder"}')


def command(exercise, path):
    """The command that checks a file."""
    where = '' if path == default(exercise) else f' {shlex.quote(str(path))}'
    return f'minigan exercise check {exercise.name}{where}'


def functions_of(path, names):
    """name -> function of a file. Raises Unusable in one line for a file that lacks one, or that raises.

    The package's own function, imported there, is none.
    """
    from minigan.gpu.kernelset import module_of
    try:
        module = module_of(path)
    except SyntaxError as error:
        where = f'{shown(error.filename)}, line {error.lineno}' if error.filename else shown(path)
        raise Unusable(f'{where}: {type(error).__name__}: {error.msg}') from error
    except (Exception, SystemExit) as error:
        said = raised(error, path)
        raise Unusable(said if said.startswith(str(shown(path))) else f'{shown(path)}: {said}') from error
    for name in names:
        if not inspect.isfunction(getattr(module, name, None)):
            raise Unusable(f'{path}: expected a function {name}, got none')
        if str(inspect.unwrap(getattr(module, name)).__module__).startswith('minigan.'):
            raise Unusable(f"{path}: expected a function {name} of your own, got the package's")
    return {name: getattr(module, name) for name in names}


def raised(error, path):
    """What was raised, and in which line of a student's file if it was raised there, in one line."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
             if os.path.abspath(frame.filename) == os.path.abspath(path)]
    where = f'{shown(path)}, line {lines[-1]}: ' if lines else ''
    return f'{where}{type(error).__name__}: {" ".join(str(error).split())}'


def shown(path):
    """A path as a user writes it: from the current folder, if it lies there."""
    with suppress(ValueError):
        return Path(path).relative_to(Path.cwd())
    return path


@contextmanager
def importable(folder):
    """A context in which a student's file can import its neighbours; at the end they are forgotten."""
    folder, known, path, bytecode = os.path.abspath(folder), set(sys.modules), sys.path.copy(), sys.dont_write_bytecode
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True  # they change from one check to the next
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = path, bytecode
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], '__file__', None)
            if file and os.path.dirname(os.path.abspath(file)) == folder:
                del sys.modules[name]


@contextmanager
def limited(seconds, over):
    """A context that raises Endless after some seconds, where there is a timer: not on Windows, nor in a thread.

    It goes on to raise it, because a bare `except:` may swallow the first. over: a list that gets the reason then.
    """
    if not hasattr(signal, 'setitimer') or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number, frame):
        over[:] = [f'It takes more than {seconds} seconds: an infinite loop?']
        raise Endless(*over)

    former = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
        finally:  # also where the last alarm raises
            signal.signal(signal.SIGALRM, former)


def guarded(function, over):
    """A function that raises Endless where it has swallowed it. over: as for `limited`."""
    @wraps(function)
    def called(*arguments, **keywords):
        returned = function(*arguments, **keywords)
        if over:
            raise Endless(*over)
        return returned
    return called


@contextmanager
def installed(functions):
    """A context in which the package calls the student's functions. functions: the package's -> the student's.

    A function may be known in several modules and classes, and in an objective; each gets its own back at the end.
    """
    changed, objectives = [], losses.OBJECTIVES.copy()
    try:
        for holder in holders():
            for name, value in list(vars(holder).items()):
                if inspect.isfunction(value) and value in functions:
                    changed.append((holder, name, value))
                    setattr(holder, name, functions[value])
        for name, objective in objectives.items():
            known = {field: functions[value] for field, value in objective._asdict().items()
                     if inspect.isfunction(value) and value in functions}
            losses.OBJECTIVES[name] = objective._replace(**known)
        yield
    finally:
        losses.OBJECTIVES.update(objectives)
        for holder, name, value in changed:
            setattr(holder, name, value)


def holders():
    """The modules of the package, and the classes that they define."""
    for module_name, module in list(sys.modules.items()):
        if module_name.partition('.')[0] == 'minigan' and module is not None:
            yield module
            yield from [value for value in list(vars(module).values())
                        if isinstance(value, type) and value.__module__ == module_name]
