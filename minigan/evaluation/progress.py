"""What training prints on stderr: a progress bar, and a line now and then."""

import sys
from contextlib import suppress

SECONDS, SECONDS_IN_A_FILE = 0.2, 30  # between two updates of the bar


class Forgiving:
    """A stream that drops what it cannot write: a run goes on when nobody reads its progress."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        """Write the text if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self):
        """Flush the stream if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name):
        return getattr(self._stream, name)


def kernel_runs():
    """Whether this process executes the cells of a notebook. It imports nothing: a kernel has imported IPython."""
    IPython = sys.modules.get('IPython')
    return IPython is not None and hasattr(IPython.get_ipython(), 'kernel')


class Progress:
    """A bar and lines on stderr, or in a notebook; nothing when quiet, or when stderr is closed.

    in_notebook: whether what is shown appears in a notebook.
    """

    def __init__(self, quiet):
        from tqdm.auto import tqdm  # late: it imports asyncio
        self._tqdm, self._silent = tqdm, quiet or sys.stderr is None
        self.in_notebook = not self._silent and kernel_runs()  # where tqdm draws its own bar only on stderr itself
        self._stream = sys.stderr if self.in_notebook or self._silent else Forgiving(sys.stderr)
        self._seconds = SECONDS if self.in_notebook or not self._silent and sys.stderr.isatty() else SECONDS_IN_A_FILE

    def bar(self, total, initial=0, name=None, unit='step'):
        """tqdm's bar over the steps of training, or over other units."""
        return self._tqdm(total=total, initial=initial, desc=name, disable=self._silent, file=self._stream, unit=unit,
                          mininterval=self._seconds, maxinterval=max(10, self._seconds))

    def say(self, text):
        """A line above the bar."""
        if not self._silent:
            self._tqdm.write(f'minigan: {text}', file=self._stream)
