"""Fair timing: candidates run in processes of their own, in turn, and are compared by ratios of times of one round.

A machine's speed drifts by tens of per cent within minutes; the ratio of two times taken seconds apart hardly does.
A worker is a fresh process that reads requests and writes answers, one JSON object a line. While one computes, the
others sleep.
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentTypeError
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from minigan.storage.files import atomic_write

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / 'bench' / 'results'
README = ROOT / 'bench' / 'README.md'  # has the tables
REST = 0.1  # seconds to wait after a block on several threads: the threads of its libraries keep spinning for a while
OWN_CHOICE = 'OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE'  # workers have neither: they change OpenBLAS's kernels
PACKAGES = ('numpy', 'torch', 'jax', 'tensorflow-cpu', 'tensorflow', 'keras', 'cupy-cuda12x',
            'cupy-cuda13x')


class Worker:
    """A process with one candidate: what `target`, 'module:function', returns for the arguments.

    threads: the number that its libraries use; the process is pinned to as many cores. path: the copy of minigan that
    it imports. ours: it is minigan or its floor, not a framework. launcher: the command that starts it, such as
    mpiexec's; what it starts is not pinned.
    missing: why the candidate cannot run, or None. about: the candidate's attribute of that name.
    """

    def __init__(self, target, *arguments, threads=1, path=ROOT, ours=True, launcher=()):
        environment = {**os.environ, 'PYTHONPATH': str(Path(path).resolve()), 'TF_CPP_MIN_LOG_LEVEL': '3'}
        for name in ('OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'TF_NUM_INTRAOP_THREADS'):
            environment[name] = str(threads)
        for name in OWN_CHOICE:
            environment.pop(name, None)
        if ours:  # as the command minigan does: idle threads of OpenBLAS spin for 2^18 cycles, not 2^26, since native
            environment.setdefault('OPENBLAS_THREAD_TIMEOUT', '18')  # twins need the cores; no framework uses it
        if threads == 1:
            environment['XLA_FLAGS'] = '--xla_cpu_multi_thread_eigen=false'
        self._errors = tempfile.TemporaryFile('w+')
        pinned = 0 if launcher else threads
        self._process = subprocess.Popen([*launcher, sys.executable, __file__, target, str(pinned),
                                          json.dumps(arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=self._errors, text=True, env=environment)
        self.missing = self.about = None
        self.rest = REST if threads > 1 else 0

    def wait_until_ready(self):
        """Returns whether the candidate can run."""
        answer = self._answer()
        self.missing, self.about = answer.get('missing'), answer.get('about')
        return self.missing is None

    def call(self, method, *arguments):
        """Call candidate.method(*arguments) in the process. Returns its result and the seconds that it took."""
        print(json.dumps([method, arguments]), file=self._process.stdin, flush=True)
        answer = self._answer()
        if 'missing' in answer:
            raise SystemExit(f'{method}: {answer["missing"]}')
        return answer['result'], answer['seconds']

    def _answer(self):
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()
        return {'missing': f'its process ended with code {code}' + (f': {said[-1]}' if said else '')}

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()


def serve(target, pinned, arguments):
    """What the worker's process does: answer requests until its input ends. pinned: to how many cores; 0: to none."""
    channel = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what a library prints must not be taken for an answer

    def answer(**content):
        print(json.dumps(content), file=channel, flush=True)

    if pinned and hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:pinned])
    module, function = target.split(':')
    try:
        candidate = getattr(import_module(module), function)(*arguments)
    except Exception as error:  # whatever a framework raises, the other candidates go on
        return answer(missing=' '.join(f'{type(error).__name__}: {error}'.split())[:300])
    answer(about=getattr(candidate, 'about', None))
    for line in sys.stdin:
        method, arguments = json.loads(line)
        begin = time.perf_counter()
        result = getattr(candidate, method)(*arguments)
        answer(result=result, seconds=time.perf_counter() - begin)


class Entrant:
    """What is timed: run(steps, *arguments) of a worker. seconds: of a step, one entry a round."""

    def __init__(self, name, worker, *arguments):
        self.name, self.worker, self.arguments, self.seconds, self.steps = name, worker, arguments, [], 3

    def block(self):
        """Time one block. Returns its seconds a step."""
        seconds = self.worker.call('run', self.steps, *self.arguments)[1] / self.steps
        time.sleep(self.worker.rest)
        return seconds

    def ratio(self, reference):
        """Quartiles, over the rounds, of this entrant's seconds divided by the reference's."""
        return quartiles(np.divide(self.seconds, reference.seconds))

    def result(self, reference):
        """What goes into the JSON file."""
        return {'seconds': quartiles(self.seconds), 'ratio': self.ratio(reference), 'steps': self.steps}


def race(entrants, *, rounds, seconds):
    """Time every entrant `rounds` times, in turn, after three blocks of warm-up. Fills entrant.seconds.

    seconds: about how long a block lasts. None: the caller has set entrant.steps, and one block is enough to warm up.
    Each round begins with a different entrant.
    """
    for _ in range(3 if seconds else 1):  # compile, grow the buffers, and find how many steps make a block
        for entrant in entrants:
            took = entrant.block()
            if seconds:
                entrant.steps = max(1, round(seconds / took))
    for i in range(rounds):
        first = i % len(entrants)
        for entrant in entrants[first:] + entrants[:first]:
            entrant.seconds.append(entrant.block())


def positive(text):
    """argparse type: an integer of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f'expected an integer of at least 1, got {text!r}')
    return int(text)


def other_minigan(path):
    """argparse type: a folder with a copy of minigan."""
    if not (Path(path) / 'minigan' / '__init__.py').exists():
        raise ArgumentTypeError(f'expected a folder that contains minigan/__init__.py, got {path}')
    return path


def quartiles(values):
    """Median, lower and upper quartile."""
    return [float(q) for q in np.percentile(values, (50, 25, 75))]


def spread(median, lower, upper, digits=2):
    """'1.31 (1.29-1.35)'"""
    return f'{median:.{digits}f} ({lower:.{digits}f}-{upper:.{digits}f})'


def peak_memory():
    """The peak memory of this process, in MB."""
    import resource  # not on Windows
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024) / 1e6


def machine():
    """The processor, the system and the versions, for the results."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            pass
    blas = np.show_config(mode='dicts')['Build Dependencies']['blas']
    kernels = f' with kernels for {kernels_of_blas()}' if kernels_of_blas() else ''
    return {'processor': processor(), 'cores': os.cpu_count(), 'system': platform.system(),
            'python': platform.python_version(), 'blas': f"{blas['name']} {blas['version']}{kernels}",
            'dtype': 'float32', 'versions': versions, 'date': time.strftime('%Y-%m-%d')}


@cache
def kernels_of_blas():
    """The processor whose kernels OpenBLAS takes in a worker, such as SkylakeX; '' if nothing says so."""
    worker = Worker('harness:OpenBLAS')
    worker.wait_until_ready()
    worker.close()
    return worker.about or ''


class OpenBLAS:
    """about: see kernels_of_blas."""

    def __init__(self):
        from threadpoolctl import threadpool_info  # comes with scikit-learn
        self.about = next((found['architecture'] for found in threadpool_info() if 'architecture' in found), None)


def processor():
    """The processor's name and its widest vector instructions, on which speed depends."""
    try:
        lines = Path('/proc/cpuinfo').read_text().split('\n\n')[0].splitlines()
        info = {key.strip(): value.strip() for key, value in (line.split(':', 1) for line in lines)}
        widest = [name for name in ('avx512f', 'avx2') if name in info.get('flags', '').split()]
        return ' '.join([info['model name'], *widest[:1]])
    except (OSError, ValueError, KeyError):
        return platform.processor() or platform.machine()


def describe(about):
    """machine() in one line."""
    versions = ', '.join(f'{name} {number}' for name, number in about['versions'].items())
    return (f"{about['processor']}, {about['cores']} cores; {about['system']}, Python {about['python']}, {versions}, "
            f"NumPy's {about['blas']}; {about['dtype']}; {about['date']}")


def save(name, content):
    """Write bench/results/NAME.json: the content, and the machine. Returns what was written."""
    content = {'machine': machine(), **content}
    _write(name, content)
    return content


def _write(name, content):
    text = re.sub(r'\[[^][{}]*\]', lambda numbers: ' '.join(numbers[0].split()), json.dumps(content, indent=1))
    with atomic_write(RESULTS / f'{name}.json', 'w') as file:
        file.write(text + '\n')  # innermost lists on one line


def load(name):
    """The content of bench/results/NAME.json."""
    return json.loads((RESULTS / f'{name}.json').read_text())


def add_results(name, results):
    """Add results, a dict of dicts, to 'runs' in bench/results/NAME.json, each with the machine that it comes from.

    The file is read anew each time: a different process may have added to it, though not at the same moment.
    """
    kept = load(name)['runs'] if (RESULTS / f'{name}.json').exists() else {}
    on = describe(machine())
    _write(name, {'runs': {**kept, **{key: {**result, 'on': on} for key, result in results.items()}}})


def machines(content):
    """The machines and days that the runs in a file come from, one a paragraph."""
    return '\n\n'.join(f'*{on}.*' for on in dict.fromkeys(run['on'] for run in content['runs'].values()))


def markdown(head, rows):
    """A Markdown table."""
    return '\n'.join(f'| {" | ".join(map(str, row))} |' for row in (head, ['---'] * len(head), *rows))


def table_span(readme, name):
    """(start, end) of the text between a table's two markers in bench/README.md."""
    found = re.search(rf'<!-- {name} -->\n(.*?)<!-- /{name} -->', readme, re.DOTALL)
    return found.span(1)


def update_table(name, table):
    """Put a table into bench/README.md, between its markers."""
    text = README.read_text(encoding='utf-8')
    start, end = table_span(text, name)
    README.write_text(f'{text[:start]}{table}\n{text[end:]}', encoding='utf-8')


if __name__ == '__main__':
    serve(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
