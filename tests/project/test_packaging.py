"""pip installs just what the code imports, each with a least version; a source distribution can run its tests."""

import ast
import configparser
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = {'sklearn': 'scikit-learn', 'PIL': 'pillow'}  # module -> package, where they differ
OPTIONAL = {'cupy', 'tensorboard', 'hypothesis', 'IPython', 'mpi4py', 'optuna', 'sqlalchemy'}  # only where needed


def requirements():
    """extra ('' for none) -> package -> requirement."""
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    lists = {'': config['options']['install_requires'], **config['options.extras_require']}
    return {extra: {re.split(r'[<>=!~\[; ]', line)[0]: line for line in lines.split('\n') if line}
            for extra, lines in lists.items()}


def test_every_library_that_is_imported_is_declared_and_no_other():
    imported = set()
    for path in (ROOT / 'minigan').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
                imported |= {module.split('.')[0] for module in modules}
    libraries = imported - set(sys.stdlib_module_names) - {'minigan'} - OPTIONAL
    assert {NAMES.get(library, library) for library in libraries} == requirements()[''].keys()


def test_every_requirement_has_a_least_version():
    assert [line for extra in requirements().values() for line in extra.values() if '>=' not in line] == []


def test_a_source_distribution_has_the_whole_package_and_no_part_of_the_tests(tmp_path):
    """Without a manifest, setuptools packs every tests/test*.py, and nothing that they need."""
    tree = tmp_path / 'tree'
    for folder in ('minigan', 'tests', 'bench'):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns('__pycache__', '.*'))
    for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, tree)
    files = {path.relative_to(tree).as_posix() for path in tree.rglob('*') if path.is_file()}
    command = [sys.executable, '-c', 'import setuptools; setuptools.setup()', '-q', 'sdist', '-d', tmp_path / 'out']
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    archive, = (tmp_path / 'out').iterdir()
    with tarfile.open(archive) as content:
        packed = {name.partition('/')[2] for name in content.getnames()}
    assert {file for file in files if file.startswith('minigan/')} <= packed
    assert [name for name in packed if name.startswith(('tests/', 'bench/'))] == []
