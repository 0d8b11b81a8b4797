"""The command line: arguments in, one command, an exit code and at most one line of error out.

What a command needs is imported late, so that Ctrl-C ends it in one line even while it imports.
"""

import os
import sys
import warnings
from contextlib import suppress


def main(arguments=None):
    """Run a command. Returns the exit code: 0, 1 after a failed check, 2 after bad input, 128 + n after signal n."""
    debug = '--debug' in (sys.argv[1:] if arguments is None else arguments)
    try:
        try:
            return _run(arguments)
        finally:
            if sys.stdout:
                sys.stdout.flush()  # what fails here could not be reported when Python ends
    except KeyboardInterrupt as stop:
        code, said = 128 + getattr(stop, 'signal', 2), str(stop) or 'interrupted'
    except BrokenPipeError:  # nobody reads on: minigan inspect RUN | head
        code, said = 141, None
    except (ValueError, OSError, ArithmeticError, MemoryError) as error:
        if debug:
            raise
        from minigan.training.overflow import NotFinite
        code, said = 1 if isinstance(error, NotFinite) else 2, f'error: {str(error) or "not enough memory"}'
    if said:
        with suppress(OSError):  # nobody may be listening
            print(f'minigan: {_one_line(said)}', file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        _let_go(stream)
    return code


def _run(arguments):
    """Parse the arguments and run their command."""
    from minigan.cli.options import parser
    from minigan.training.signals import signals_raised
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')  # a name that the terminal lacks is no reason to fail
    with signals_raised(), warnings.catch_warnings():
        warnings.showwarning = _warn
        options = vars(parser().parse_args(arguments))
        options.pop('debug', None)
        return options.pop('command')(**options)


def _warn(message, *_, **__):
    """A warning from Python's own mechanism, in one line."""
    if sys.stderr:
        with suppress(OSError):
            print(f'minigan: warning: {_one_line(str(message))}', file=sys.stderr)


def _let_go(stream):
    """Send what a stream cannot write to nowhere, or Python would complain about it at its end."""
    try:
        if stream:
            stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _one_line(text):
    return printable(' '.join(text.split()))[:2000]


def printable(text):
    """Text from a stranger's file, without what could command a terminal."""
    return ''.join(letter if letter.isprintable() or letter == '\n' else '?' for letter in text)
