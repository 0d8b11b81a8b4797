"""mpiexec, and programs for it in which something happens to one of the processes."""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

MPIEXEC = shutil.which('mpiexec', path=f'{Path(sys.executable).parent}{os.pathsep}{os.environ.get("PATH", "")}')
ROOT = Path(__file__).parents[2]


@contextmanager
def started(n, program, *arguments, ranks_stderr='2', **environment):
    """A program in n processes, none of which outlives the block. They inherit the write end of the pipe `open_ends`.

    environment: more variables.
    """
    command = [MPIEXEC, '-n', str(n), 'sh', '-c', f'exec "$@" 2>&{ranks_stderr}', 'sh', sys.executable, '-c', program]
    mark = f'minigan-test-{os.getpid()}-{time.monotonic_ns()}'
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'MARK': mark, **environment,
                   'MPIR_CVAR_ENABLE_HEAVY_YIELD': '1'}  # who waits sleeps, as other tests need the cores
    open_ends, end = os.pipe()
    with subprocess.Popen([*command, *arguments], env=environment, text=True, pass_fds=[end], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as run, open(open_ends) as run.open_ends:
        os.close(end)
        run.mark = mark
        try:
            yield run
        finally:
            for pid in alive(run):
                kill(pid)


def done(*arguments, **options):
    """(exit code, stdout, stderr) of such a program."""
    with started(*arguments, **options) as run:
        return ended(run)


def ended(run, seconds=60):
    """(exit code, stdout, stderr) of a program that ends within these seconds, and leaves no process behind."""
    last = time.monotonic() + seconds
    out, err = run.communicate(timeout=seconds)
    left, *_ = select.select([run.open_ends], [], [], max(0, last - time.monotonic()))  # its end: nobody can write
    assert left, f'a process is left: {alive(run)}'
    return run.returncode, out, err


def kill(pid):
    """kill -9, if the process has not ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def alive(run):
    """pid -> rank of what is left of a program: its ranks, and mpiexec's own processes, whose rank is None."""
    found = {}
    for process in Path('/proc').iterdir():
        if process.name.isdecimal():
            try:
                variables = (process / 'environ').read_bytes().split(b'\0')  # empty for what has ended already
            except OSError:
                continue
            if f'MARK={run.mark}'.encode() in variables:
                rank = [int(text[9:]) for text in variables if text.startswith(b'PMI_RANK=')]
                found[int(process.name)] = rank[0] if rank else None
    return found
