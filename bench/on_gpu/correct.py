"""Is it correct on this GPU? minigan's self-test, the tests that need a GPU, and NVIDIA's sanitizer."""

import os
import re
import shutil
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

from harness import ROOT, markdown
from on_gpu.part import Part

from minigan.gpu import compare
from minigan.training import on_gpu as whole_steps

TOOLS = 'memcheck', 'racecheck', 'initcheck', 'synccheck'
PLACES = '/usr/local/cuda/bin', '/opt/cuda/bin'  # where NVIDIA's installers put the sanitizer
TOOL_LIMIT = 110  # seconds: all four end before a part is stopped
LINES = 15  # of an output that are kept
CHECKED = Path(__file__).with_name('every_kernel.py')


def selftest(xp, settings):
    """Yield the rows of `minigan selftest`."""
    for row in chain(compare.rows(xp), whole_steps.rows(xp)):
        yield {'name': row.name, 'error': row.error, 'allowed': row.allowed, 'ok': bool(row.ok), 'why': row.why}


def selftest_page(results):
    """A table of the rows."""
    yield ('`minigan selftest`: each kernel against its specification in NumPy, then whole steps against the CPU. '
           'Difference: the largest, relative to the largest number of its array.')
    yield markdown(['', 'difference', 'allowed', ''],
                   [[r['name'], f'{r["error"]:.1e}', f'{r["allowed"]:.1e}', 'ok' if r['ok'] else f'WRONG: {r["why"]}']
                    for r in results])


def selftest_wrong(results):
    """A line for each wrong row."""
    return [f'self-test: {r["name"]}: {r["error"]:.1e} of {r["allowed"]:.1e}: {r["why"]}' for r in results
            if not r['ok']]


def output_of(command, limit):
    """Run a command in the root of the project. Returns its exit code (None: it took too long), lines and seconds."""
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(
        [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])}
    begin = time.perf_counter()
    try:
        run = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             timeout=limit)
        code, output = run.returncode, run.stdout
    except subprocess.TimeoutExpired as error:
        code, output = None, error.stdout or b''
    return code, output.decode(errors='replace').splitlines(), time.perf_counter() - begin


def tests(xp, settings):
    """Yield the outcome of the tests that need a GPU."""
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'tests/gpu/test_gpu.py']
    code, lines, seconds = output_of(command, settings.limit)
    ok = code == 0 and bool(lines) and re.search(r'\b\d+ passed', lines[-1]) is not None
    yield {'command': ' '.join(['python', *command[1:]]), 'ok': ok, 'code': code, 'seconds': seconds,
           'lines': lines[-LINES:]}


def sanitizer(xp, settings):
    """Yield what each tool of compute-sanitizer says about every kernel at small shapes, without CuPy's memory pool."""
    program = shutil.which('compute-sanitizer', path=os.pathsep.join([os.environ.get('PATH', ''), *PLACES]))
    if program is None:
        yield {'missing': "compute-sanitizer is not installed; it comes with NVIDIA's CUDA toolkit"}
        return
    for tool in TOOLS:
        command = [program, '--tool', tool, '--error-exitcode', '3', sys.executable, str(CHECKED)]
        code, lines, seconds = output_of(command, TOOL_LIMIT)
        said = [line for line in lines if line.startswith('=========')]
        yield {'command': f'compute-sanitizer --tool {tool} python {CHECKED.relative_to(ROOT)}', 'ok': code == 0,
               'code': code, 'seconds': seconds, 'lines': said[:LINES] if said[1:] else [*said, *lines[-LINES:]]}


def outputs_page(results):
    """Each command with the end of its output."""
    for r in results:
        if 'missing' in r:
            yield r['missing']
        else:
            failed = 'took too long' if r['code'] is None else f'FAILED with exit code {r["code"]}'
            yield f'`{r["command"]}`: {"ok" if r["ok"] else failed}, {r["seconds"]:.0f} s'
            yield '\n'.join(['```', *r['lines'], '```'])


def outputs_wrong(results):
    """A line for each command that failed."""
    return [f'{r["command"]}: {"it took too long" if r["code"] is None else "; ".join(r["lines"][-1:])}'
            for r in results if 'missing' not in r and not r['ok']]


def no_verdict(results):
    """What is wrong is said elsewhere."""


SELFTEST = Part('Self-test', selftest, selftest_page, None, no_verdict, selftest_wrong)
TESTS = Part('Tests on the GPU', tests, outputs_page, None, no_verdict, outputs_wrong)
SANITIZER = Part('compute-sanitizer', sanitizer, outputs_page, None, no_verdict, outputs_wrong)
