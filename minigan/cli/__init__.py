"""The command line: arguments in, one command, an exit code and at most one line of error out."""

import os
import signal
import sys
import warnings
from contextlib import nullcontext, suppress

if sys.orig_argv[1:3] == ['-m', 'minigan'] or os.path.basename(sys.argv[0]) == 'minigan':
    # OpenBLAS reads this when NumPy is imported. Its idle threads spin for 2^26 cycles, unless this says for how many,
    # and keep the cores from other threads.
    os.environ.setdefault('OPENBLAS_THREAD_TIMEOUT', '18')
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # so that Ctrl-C during imports leaves no traceback


def main(arguments=None):
    """Run a command. Returns the exit code: 0, 1 after a failed check, 2 after bad input, 128 + n after signal n."""
    arguments = sys.argv[1:] if arguments is None else arguments
    code, said = _outcome(arguments)
    if said and sys.stderr:  # None if closed: print would use stdout instead
        with suppress(OSError):  # nobody may be listening
            print(f'minigan: {_one_line(said)}', file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        _let_go(stream)
    return code


def _outcome(arguments):
    """(exit code, what to say on stderr or None) of a command."""
    try:
        try:
            return _run(arguments), None
        finally:
            if sys.stdout:
                sys.stdout.flush()  # or it would fail when Python ends, too late to be reported
    except KeyboardInterrupt as stop:
        return 128 + getattr(stop, 'signal', signal.SIGINT), str(stop) or 'interrupted'
    except BrokenPipeError:  # nobody reads on: minigan inspect RUN | head
        return 141, None
    except (ValueError, OSError, ArithmeticError, MemoryError) as error:
        if '--debug' in arguments:
            raise
        from minigan.training.overflow import NotFinite
        return 1 if isinstance(error, NotFinite) else 2, f'error: {str(error) or "not enough memory"}'


def _run(arguments):
    """Parse the arguments and run their command."""
    from minigan.cli.options import parser
    from minigan.parallel.world import launched, silence
    from minigan.training.signals import signals_raised
    silence()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')  # a name that the terminal lacks is no reason to fail
    with nullcontext() if launched() else signals_raised(), warnings.catch_warnings():  # see `together`
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
    """Discard what a stream cannot write, or Python would complain about it at exit."""
    try:
        if stream:
            stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _one_line(text):
    return printable(' '.join(text.split()))[:2000]


def printable(text):
    """Text from a stranger's file, with ? for each character that could control a terminal."""
    return ''.join(letter if letter.isprintable() or letter == '\n' else '?' for letter in text)
