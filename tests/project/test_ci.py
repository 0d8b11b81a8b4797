"""The CI script works on a clone: it changes nothing in the checkout, deletes what it made, and names what failed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUBS = {  # in place of what takes minutes
    'python3': 'mkdir -p "$3/bin"; touch "$3/bin/activate"',  # -m venv FOLDER
    'minigan': 'mkdir -p runs/digits-default; echo picture > runs/digits-default/losses.png',
    'pip': '', 'mpiexec': '', 'pytest': '', 'flake8': '', 'chromium': '', 'chromedriver': '',
}
CALLS = ['python3', 'pip', 'pip', 'minigan', 'pip', 'mpiexec', 'pip', 'minigan', 'pip', 'pytest', 'flake8']


@pytest.fixture
def checkout(tmp_path):
    """A repository with .ci/run, and with the developer's environment and trained run."""
    if not shutil.which('git') or not shutil.which('bash'):
        pytest.skip('git or bash is not installed')
    tree = tmp_path / 'checkout'
    for name in ('.ci/run', 'README.md', 'minigan/parallel/README.md', 'minigan/search/README.md', '.gitignore'):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    for command in (['init', '-q'], ['add', '-A'], ['commit', '-q', '-m', 'all']):
        subprocess.run(['git', '-c', 'user.name=a', '-c', 'user.email=a@b', *command], cwd=tree, check=True)
    for name in ('.venv/pyvenv.cfg', 'runs/digits-default/last.npz', 'new.py'):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text('mine')
    return tree


def ci(tree, path=os.environ['PATH'], **stubs):
    """Run it with stubs that note where they were called. Returns the process and [(command, arguments, folder)].

    A stub that is None is missing.
    """
    bin, calls = tree.parent / 'bin', tree.parent / 'calls'
    bin.mkdir()
    for name, script in {**STUBS, **stubs}.items():
        if script is None:
            continue
        (bin / name).write_text(f'#!/bin/bash\necho "{name}|$*|$PWD|$PYTHONPATH" >> "{calls}"\n{script}\n')
        (bin / name).chmod(0o755)
    (tree.parent / 'tmp').mkdir()
    environment = {**os.environ, 'PATH': f'{bin}:{path}', 'TMPDIR': str(tree.parent / 'tmp'),
                   'PYTHONPATH': str(tree)}
    done = subprocess.run(['bash', tree / '.ci' / 'run'], capture_output=True, text=True, env=environment, cwd=tree)
    return done, [line.split('|') for line in calls.read_text().splitlines()] if calls.exists() else []


def contents(tree):
    return {path.relative_to(tree): path.read_bytes() for path in tree.rglob('*')
            if path.is_file() and '.git' not in path.parts}


def test_it_runs_the_readmes_commands_in_a_clone_and_leaves_nothing(checkout):
    before = contents(checkout)
    done, calls = ci(checkout)
    assert done.returncode == 0, done.stderr
    assert [name for name, *_ in calls] == CALLS
    assert {arguments for _, arguments, *_ in calls} >= {
        'install -e .', 'train', 'install -e .[mpi]', '-n 2 minigan train --epochs 3', 'install -e .[test]'}
    (folder, path), = {(folder, path) for name, _, folder, path in calls if name != 'python3'}
    assert folder.startswith(str(checkout.parent / 'tmp')) and path == ''
    assert contents(checkout) == before and list((checkout.parent / 'tmp').iterdir()) == []
    assert 'only what is committed is checked' in done.stderr
    assert done.stdout.count('took') == 11 and '+ pip install -e . && minigan train\n' in done.stdout


@pytest.mark.parametrize('stub, script, step', [
    ('pip', 'exit 3', 'packages that tests compare with'),
    ('minigan', 'exit 3', 'pip install -e . && minigan train'),
    ('minigan', '', 'the run has its pictures'),
    ('pytest', 'exit 3', "pip install -e '.[test]' && pytest"),
    ('pytest', 'touch litter', '.gitignore covers what was written'),
    ('flake8', 'exit 3', 'flake8')])
def test_it_names_the_step_that_failed(checkout, stub, script, step):
    done, _ = ci(checkout, **{stub: script})
    assert done.returncode == (3 if script == 'exit 3' else 1)
    assert done.stderr.splitlines()[-1] == f'FAILED (exit code {done.returncode}): {step}'
    assert list((checkout.parent / 'tmp').iterdir()) == []


@pytest.mark.parametrize('more', ['', '\n```sh\nls\n```\n'])
def test_it_expects_two_commands(checkout, more):
    text = (checkout / 'README.md').read_text()
    text = text + more if more else text.replace('```sh', '```bash')
    (checkout / 'README.md').write_text(text)
    commit = ['git', '-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-qam', 'x']
    subprocess.run(commit, cwd=checkout, check=True)
    done, _ = ci(checkout)
    assert done.returncode == 1
    assert done.stderr.endswith(f'FAILED (exit code 1): expected two commands in README.md, got {3 if more else 0}\n')


def test_git_ignores_what_the_readmes_commands_leave(checkout):
    written = ['runs/digits-default/last.npz', 'samples.png', 'interpolation.png', 'interpolation.gif',
               'theory/theory.png', 'study.html', 'exercises/dense.py', 'minigan.egg-info/PKG-INFO', '.hypothesis/x',
               'minigan/gpu/__pycache__/x.so']
    command = ['git', 'check-ignore', *written, 'minigan/study/theory/figures.py', 'samples.py']
    assert subprocess.run(command, cwd=checkout, capture_output=True, text=True).stdout.splitlines() == written


def test_it_checks_an_archive_without_its_history_too(checkout):
    shutil.rmtree(checkout / '.git')
    before = contents(checkout)
    done, calls = ci(checkout)
    assert done.returncode == 0, done.stderr
    assert [name for name, *_ in calls] == CALLS
    assert contents(checkout) == before and list((checkout.parent / 'tmp').iterdir()) == []


@pytest.mark.parametrize('user, apt, installs', [('0', 'exit 100', True), ('1000', '', False), ('0', None, False)])
def test_without_a_browser_it_tries_to_install_one_and_goes_on(user, apt, installs, checkout):
    tools = checkout.parent / 'tools'  # all that is installed here, but for what is asked for
    tools.mkdir()
    for path in (path for folder in ('/usr/bin', '/bin') for path in Path(folder).iterdir()):
        if path.name not in {*STUBS, 'apt-get', 'id'} and not (tools / path.name).exists():
            (tools / path.name).symlink_to(path)
    done, calls = ci(checkout, str(tools), chromium=None, chromedriver=None, id=f'echo {user}', **{'apt-get': apt})
    assert done.returncode == 0, done.stderr
    assert ('apt-get', '-qq update') in [(name, arguments) for name, arguments, *_ in calls] or not installs
    assert 'note: no chromium or chromedriver' in done.stderr
    assert [name for name, *_ in calls].count('apt-get') == 2 * installs
