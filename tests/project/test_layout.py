"""No file of the package is left out of what is built, checked or linted."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import test_security

ROOT = Path(__file__).parents[2]
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
    for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, copy)
    added = copy / 'minigan' / 'added' / 'below'
    added.mkdir(parents=True)
    for folder in (added, added.parent):
        (folder / '__init__.py').write_text('')
    for name in ('module.py', 'kernel.cu', 'header.h', 'README.md'):
        (added / name).write_text('')
    return copy


def test_an_installation_has_every_file_of_the_package(tree, tmp_path):
    assert {'added/below/kernel.cu', 'native/native.h'} <= files(tree / 'minigan')
    assert built(tree, tmp_path) == files(tree / 'minigan')


def test_every_folder_of_the_package_is_one_that_is_installed():
    folders = {path.parent for path in (ROOT / 'minigan').rglob('*') if path.suffix in ('.py', '.cu', '.h', '.md')}
    assert [str(folder) for folder in folders if not (folder / '__init__.py').is_file()] == []


def test_the_security_test_reads_every_module(tree):
    modules = {path for path in files(tree / 'minigan') if path.endswith('.py')}
    found = {path.relative_to(tree / 'minigan').as_posix() for path in test_security.sources(tree / 'minigan')}
    assert found == modules and 'added/below/module.py' in found


ORDER = ['core', 'variants', 'checks', 'gpu', 'storage', 'native', 'pictures', 'data', 'evaluation', 'parallel',
         'training', 'search', 'study', 'cli']
FACADE = {'__init__.py', '__main__.py', 'laws.py'}  # at the root: what `import minigan` offers, from every room
CORE = {'backend.py', 'streams.py', 'ops.py', 'losses.py', 'layers.py', 'net.py', 'optim.py', 'networks.py', 'gan.py'}


def room(path):
    """The folder of a module, 'core' for those at the root."""
    return path.parts[0] if len(path.parts) > 1 else 'core'


def imported(source, package):
    """The modules of the package that a source imports, wherever in it: paths relative to the package."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise ValueError(f'line {node.lineno}: expected absolute imports')
        names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        if isinstance(node, ast.ImportFrom):
            names = [f'{node.module}.{name}' for name in names]
        for name in names:
            first, *parts = name.split('.')
            if first == 'minigan' and parts != ['__version__']:  # the root is loaded before any of its rooms
                yield module(Path(*parts), package)


def module(path, package):
    """The module that a dotted name means, if it ends in a module or in something that a module defines."""
    for found in (path, path.parent):
        if (package / found).with_suffix('.py').is_file() and found != Path():
            return found.with_suffix('.py')
        if (package / found / '__init__.py').is_file():
            return found / '__init__.py'
    raise ValueError(f'{path}: no such module')


def backward(package):
    """Each import that goes against the order of the rooms, in words."""
    for path in sorted(package.rglob('*.py')):
        path = path.relative_to(package)
        if path.name in FACADE and len(path.parts) == 1:
            continue
        for target in imported((package / path).read_text(), package):
            facade = len(target.parts) == 1 and target.name in FACADE
            if facade and room(path) != 'cli' or ORDER.index(room(target)) > ORDER.index(room(path)):
                yield f'{path.as_posix()} imports {target.as_posix()}'


def test_every_room_imports_only_from_those_before_it():
    assert list(backward(ROOT / 'minigan')) == []


@pytest.mark.parametrize('path, line, found', [
    ('ops.py', 'from minigan.gpu import twins', 'ops.py imports gpu/twins.py'),
    ('net.py', '\n\ndef f():\n    from minigan.gpu.fusion import fuse', 'net.py imports gpu/fusion.py'),
    ('gan.py', 'import minigan.data', 'gan.py imports data/__init__.py'),
    ('gan.py', 'import minigan', 'gan.py imports __init__.py'),
    ('checks/gradcheck.py', 'from minigan import training', 'checks/gradcheck.py imports training/__init__.py'),
    ('storage/files.py', 'from minigan import Game', 'storage/files.py imports __init__.py'),
    ('training/run.py', 'from minigan.cli import main', 'training/run.py imports cli/__init__.py')])
def test_an_import_against_the_order_is_found(path, line, found, tree):
    with (tree / 'minigan' / path).open('a') as file:
        file.write(f'\n{line}\n')
    shutil.rmtree(tree / 'minigan' / 'added')
    assert list(backward(tree / 'minigan')) == [found]


def test_the_root_holds_the_algorithm_and_the_rooms_alone():
    package = ROOT / 'minigan'
    assert {path.name for path in package.glob('*.py')} == CORE | FACADE
    assert {path.parent.name for path in package.glob('*/__init__.py')} == set(ORDER) - {'core'}


def test_the_ten_files_of_the_algorithm_have_at_most_1600_lines():
    files = [ROOT / 'minigan' / name for name in sorted(CORE)] + [ROOT / 'minigan' / 'checks' / 'gradcheck.py']
    assert len(files) == 10 and sum(len(path.read_text().splitlines()) for path in files) <= 1600


def test_without_the_gpu_folder_the_core_still_learns_and_gradchecks(tree):
    """In a process of its own, on a copy of the package: minigan/gpu/ is deleted."""
    shutil.rmtree(tree / 'minigan' / 'gpu')
    shutil.copytree(ROOT / 'tests' / 'core', tree / 'tests' / 'core', ignore=shutil.ignore_patterns('__pycache__'))
    program = """if True:
        import numpy as np
        import minigan
        from minigan.checks.cases import cases
        assert 'minigan.gpu' not in __import__('sys').modules
        chosen = [(name, case) for name, case in cases() if not name.startswith(('article', 'goodfellow2014'))]
        wrong = [name for name, case in chosen if not case(0).ok]
        assert len(chosen) > 20 and not wrong, wrong
        print(minigan.__file__)"""
    done = subprocess.run([sys.executable, '-c', program], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tree)
    shutil.copy(ROOT / 'tests' / 'conftest.py', tree / 'tests')
    chosen = [str(path) for path in sorted((tree / 'tests' / 'core').glob('test_*.py')) if path.stem in CORE_TESTS]
    assert len(chosen) == len(CORE_TESTS)
    done = subprocess.run([sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '--rootdir', tree, *chosen],
                          cwd=tree, capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': str(tree)})
    assert done.returncode == 0, done.stdout


CORE_TESTS = {'test_ops', 'test_losses', 'test_layers', 'test_net', 'test_optim', 'test_gan', 'test_streams'}
