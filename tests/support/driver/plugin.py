"""Pytest's part: tests that ask for the fixture `driver` or `cupy` run in a child process, on the stand-in.

pytest -p support.driver.plugin FILE runs them in this process, for a debugger or for tests that ask for neither.
"""

import contextlib
import os
import pickle
import tempfile

import pytest
from support import driver

REPORTS = 'MINIGAN_TEST_REPORTS'  # in the environment of a child: the file where it puts them
CHILDREN = {}  # file of tests -> what its child said


def pytest_configure(config):
    """With -p, CuPy must be on the stand-in before any test is imported."""
    from support.driver.install import Driver
    config.driver = Driver()


def pytest_runtest_logreport(report):
    """In a child: pass the report on."""
    if REPORTS in os.environ:
        with open(os.environ[REPORTS], 'ab') as file:
            pickle.dump(report._to_json(), file)


def run(item, nextitem):
    """Report what a test did in the child, which runs all selected tests of the file when the first is due.

    Returns whether there was a child.
    """
    if driver.missing():
        return None  # the fixture skips the test
    session = item.session
    if item.path not in CHILDREN:
        CHILDREN[item.path] = _child([one for one in session.items if one.path == item.path and
                                      'driver' in getattr(one, 'fixturenames', ())])
    reports, output = CHILDREN[item.path]
    found = reports.get(item.nodeid, [])
    if not found or found[-1].when != 'teardown':
        found.append(pytest.TestReport(item.nodeid, item.location, {}, 'failed',
                                       f'the child process ended early:\n{output}', 'call'))
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in found:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    session._setupstate.teardown_exact(nextitem)  # of the tests before it
    return True


def _child(items):
    """({test: its reports}, what else was written) for these tests of one file."""
    root = items[0].config.rootpath
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'reports')
        done = driver.python('-m', 'pytest', '-q', '-p', __name__, '-p', 'no:xdist', '-p', 'no:cacheprovider',
                             f'--rootdir={root}', *(item.nodeid for item in items), cwd=root, **{REPORTS: path})
        reports = {}
        for report in _read(path):
            reports.setdefault(report.nodeid, []).append(report)
    return reports, done.stdout + done.stderr


def _read(path):
    with contextlib.suppress(FileNotFoundError, EOFError), open(path, 'rb') as file:
        while True:
            yield pytest.TestReport._from_json(pickle.load(file))
