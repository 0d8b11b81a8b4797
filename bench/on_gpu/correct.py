"""Is it correct on this GPU? minigan's self-test, the tests that need a GPU, and NVIDIA's sanitizer."""

import os
import re
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from harness import ROOT, markdown
from on_gpu.part import Part

from minigan.gpu import compare
from minigan.training import on_gpu as whole_steps

TOOLS = 'memcheck', 'racecheck', 'initcheck', 'synccheck'
PLACES = '/usr/local/cuda/bin', '/opt/cuda/bin'  # where NVIDIA's installers put the sanitizer
TOOL_LIMIT = 85  # seconds: all four end before time is up
LINES = 15  # of an output that are kept
NEEDED = 'pytest', 'hypothesis'  # by the tests
CLEAN = re.compile('SUMMARY: 0 (errors|hazards)')  # in a tool's last words, when it has watched and found nothing
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
    absent = [name for name in NEEDED if find_spec(name) is None]
    if absent:
        yield {'missing': f'{" and ".join(absent)} not installed: pip install {" ".join(absent)}'}
        return
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'tests/gpu/test_gpu.py']
    code, lines, seconds = output_of(command, settings.limit)
    ok = code == 0 and bool(lines) and re.search(r'\b\d+ passed', lines[-1]) is not None
    yield {'command': ' '.join(['python', *command[1:]]), 'ok': ok, 'code': code, 'seconds': seconds,
           'lines': lines[-LINES:]}


def sanitizer(xp, settings):
    """Yield what each tool of compute-sanitizer says about every kernel at small shapes, without CuPy's memory pool."""
    program = shutil.which('compute-sanitizer', path=os.pathsep.join([os.environ.get('PATH', ''), *PLACES]))
    if program is None:
        yield {'missing': "not installed: it comes with NVIDIA's CUDA toolkit"}
        return
    for tool in TOOLS:
        command = [program, '--tool', tool, '--error-exitcode', '3', sys.executable, str(CHECKED)]
        code, lines, seconds = output_of(command, TOOL_LIMIT)
        said = [line for line in lines if line.startswith('=========')]
        ends = [line for line in said if 'SUMMARY:' in line]
        ok = code == 0 and bool(ends) and all(map(CLEAN.search, ends))
        yield {'command': f'compute-sanitizer --tool {tool} python {CHECKED.relative_to(ROOT)}', 'ok': ok,
               'code': code, 'seconds': seconds, 'tool': tool,
               'lines': [*said[:LINES], *ends] if said[1:] else [*said, *lines[-LINES:]]}


def outputs_page(results):
    """Each command with the end of its output."""
    for r in results:
        if 'missing' in r:
            yield r['missing']
        else:
            yield f'`{r["command"]}`: {"ok" if r["ok"] else outcome(r)}, {r["seconds"]:.0f} s'
            yield '\n'.join(['```', *r['lines'], '```'])


def outcome(r):
    """How a command failed."""
    return 'STOPPED: it took too long' if r['code'] is None else f'FAILED with exit code {r["code"]}'


def outputs_wrong(results):
    """A line for each command that failed."""
    return [f'{r["command"]}: {"; ".join([outcome(r), *r["lines"][-1:]])}' for r in results
            if 'missing' not in r and not r['ok']]


def selftest_verdict(results):
    """How many comparisons hold, in a sentence."""
    return f'all {len(results)} comparisons of the self-test hold'


def tests_verdict(results):
    """What pytest says."""
    return f'tests/gpu/test_gpu.py: {results[0]["lines"][-1].strip("= ")}'


def sanitizer_verdict(results):
    """The tools that have watched, in a sentence."""
    return f'compute-sanitizer finds nothing ({", ".join(r["tool"] for r in results)})'


SELFTEST = Part('Self-test', selftest, selftest_page, None, selftest_verdict, selftest_wrong)
TESTS = Part('Tests on the GPU', tests, outputs_page, None, tests_verdict, outputs_wrong)
SANITIZER = Part('compute-sanitizer', sanitizer, outputs_page, None, sanitizer_verdict, outputs_wrong)
