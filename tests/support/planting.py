"""Plant bugs in the source of the package, and run tests on the package with each of them.

    python -m support.planting < JSON       JSON: [[file, function, code, wrong, tests], ...]

In minigan/`file`, `function` executes `wrong` in place of the line `code`; the same line twice plants no bug. tests: a
list of ids. For each entry, in order, prints [pytest's exit code, names of the exceptions that the tests raised].

Each entry has a process of its own, forked from this one before anything imports minigan; what takes long to import is
loaded once. The source changes on its way from the file to the compiler, so no file changes.
"""

import ast
import gc
import json
import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

ROOT = Path(__file__).parents[2]
OPTIONS = ('-x', '-oaddopts=', '-pno:terminal', '-pno:xdist', '-pno:cacheprovider', '-pno:unraisableexception',
           '--hypothesis-profile=first')


def code_of(line):
    """A line of source, stripped and without its comment."""
    return line.split('  #')[0].strip()


def lines_of(source, function, code):
    """The numbers, from 0, of the lines in a function of a source that have this code."""
    lines = source.splitlines()
    functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    return [number for node in functions if node.name == function
            for number in range(node.lineno, node.end_lineno) if code_of(lines[number]) == code]


def planted(source, function, code, wrong):
    """The source with `wrong` in place of the one line of a function that has this code."""
    lines = source.splitlines(keepends=True)
    number, = lines_of(source, function, code)
    lines[number] = lines[number].replace(code, wrong)
    return ''.join(lines)


def plant(file, *change):
    """From now on, an import of minigan/`file` compiles the changed source."""
    path, get_code = ROOT / 'minigan' / file, SourceFileLoader.get_code

    def changed(loader, name):
        if Path(loader.path) != path:
            return get_code(loader, name)
        return compile(planted(path.read_text(encoding='utf-8'), *change), str(path), 'exec')

    SourceFileLoader.get_code = changed


class Raised(list):
    """A plugin of pytest: the names of the exceptions that tests raised."""

    def pytest_exception_interact(self, call):
        self.append(call.excinfo.typename)


def outcome(file, function, code, wrong, tests):
    """[pytest's exit code, names of exceptions]; plants the bug in this process."""
    import pytest
    plant(file, function, code, wrong)
    raised = Raised()
    exit_code = pytest.main([*OPTIONS, *(f'{ROOT / test}' for test in tests)], plugins=[raised])
    return [int(exit_code), raised]


def outcomes(entries, folder):
    """What the command above prints for these entries, in a list; it runs in a folder."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / 'tests')))
    done = subprocess.run([sys.executable, '-m', 'support.planting'], input=json.dumps(entries), text=True, check=True,
                          stdout=subprocess.PIPE, env=os.environ | {'PYTHONPATH': path}, cwd=folder)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(entries)
    return found


def main():
    import hypothesis.strategies  # noqa: F401
    import scipy.stats  # noqa: F401
    from hypothesis import Phase, settings
    settings.register_profile('first', max_examples=40, deadline=None, derandomize=True, database=None,
                              phases=[Phase.generate])  # the first example that fails will do
    assert 'minigan' not in sys.modules
    gc.freeze()
    for entry in json.load(sys.stdin):
        if os.fork() == 0:
            print(json.dumps(outcome(*entry)), flush=True)
            os._exit(0)
        os.wait()


if __name__ == '__main__':
    main()
