"""No file of the package is left out of what is built, checked or linted."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import test_security

ROOT = Path(__file__).parents[1]
BUILD = 'import setuptools; setuptools.setup()'


def built(tree, out):
    """The files that an installation of the tree has."""
    command = [sys.executable, '-c', BUILD, '-q', 'build', '--build-base', out / 'base', '--build-lib', out / 'lib']
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    return files(out / 'lib' / 'minigan')


def files(package):
    return {path.relative_to(package).as_posix() for path in package.rglob('*')
            if path.is_file() and '__pycache__' not in path.parts}


@pytest.fixture
def tree(tmp_path):
    """A copy of what is built, with a folder of one more module, one more kernel and one more page."""
    copy = tmp_path / 'tree'
    shutil.copytree(ROOT / 'minigan', copy / 'minigan', ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE', 'MANIFEST.in'):
        shutil.copy(ROOT / name, copy)
    added = copy / 'minigan' / 'added' / 'below'
    added.mkdir(parents=True)
    for folder in (added, added.parent):
        (folder / '__init__.py').write_text('')
    for name in ('module.py', 'kernel.cu', 'header.h', 'README.md'):
        (added / name).write_text('')
    return copy


def test_an_installation_has_every_file_of_the_package(tree, tmp_path):
    assert 'added/below/kernel.cu' in files(tree / 'minigan')
    assert built(tree, tmp_path) == files(tree / 'minigan')


def test_every_folder_of_the_package_is_one_that_is_installed():
    folders = {path.parent for path in (ROOT / 'minigan').rglob('*') if path.suffix in ('.py', '.cu', '.h', '.md')}
    assert [str(folder) for folder in folders if not (folder / '__init__.py').is_file()] == []


def test_the_security_test_reads_every_module(tree):
    modules = {path for path in files(tree / 'minigan') if path.endswith('.py')}
    found = {path.relative_to(tree / 'minigan').as_posix() for path in test_security.sources(tree / 'minigan')}
    assert found == modules and 'added/below/module.py' in found
