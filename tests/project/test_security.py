"""Nothing in the source lets a stranger's file run code, or a download come over an unencrypted connection."""

import ast
from pathlib import Path

import pytest


def sources(package):
    return sorted(package.rglob('*.py'))


PACKAGE = Path(__file__).parents[2] / 'minigan'
SOURCES = sources(PACKAGE)
FORBIDDEN = {'pickle', 'cPickle', 'marshal', 'shelve', 'dill', 'joblib', 'cloudpickle', 'eval', 'exec', 'runpy',
             '__import__', 'import_module', 'spec_from_file_location', 'system', 'popen', 'subprocess', 'shell',
             'extract', 'extractall', 'unpack_archive', 'allow_pickle', 'load_pickle', 'urlopen', 'urlretrieve',
             'HTTPHandler', 'FileHandler', 'FTPHandler',
             'CDLL', 'cdll', 'LoadLibrary', 'PyDLL', 'WinDLL',  # to load a library is to run it
             'fromfile', 'memmap', 'loadtxt', 'genfromtxt'}  # a second way to read: files.py is the one that is tested
ALLOWED = {'gpu/emulator.py': {'subprocess', 'CDLL'},        # it calls the C++ compiler, and loads what that makes
           'native/library.py': {'subprocess', 'CDLL'},      # so does this, from a folder that is the user's alone
           'gpu/nvrtc.py': {'CDLL'},                         # CUDA's compiler, from an installed package
           'gpu/kernelset.py': {'spec_from_file_location'}}  # kernelcheck imports the module that its user names
# Modules whose load is minigan's own.
LOADERS = {'archive', 'classifier', 'data', 'generator', 'library', 'minigan', 'mnist', 'reader', 'translator'}


def names(tree):
    """Every name, attribute, keyword and imported module of a source."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id, node
        elif isinstance(node, ast.Attribute):
            yield node.attr, node
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg, node
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                for part in (*(getattr(node, 'module', None) or '').split('.'), *alias.name.split('.')):
                    yield part, node


def foreign_loads(tree):
    """Uses of a load that is not minigan's own.

    np.load trusts the size in a header, and unpickles if it is told to; files.read_arrays does neither.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ('load', 'loads'):
            owner = ast.unparse(node.value)
            if owner not in LOADERS and (owner, node.attr) != ('json', 'loads'):
                yield f'{owner}.{node.attr}', node
        elif isinstance(node, ast.ImportFrom) and not node.module.startswith('minigan'):
            yield from (('load', node) for alias in node.names if alias.name in ('load', 'loads'))


def offences(source, allowed=frozenset()):
    tree = ast.parse(source)
    found = [(name, node) for name, node in names(tree) if name in FORBIDDEN - allowed] + [*foreign_loads(tree)]
    return [f'line {node.lineno}: {name}' for name, node in found]


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_source_can_run_what_it_reads(path):
    assert offences(path.read_text(), ALLOWED.get(path.relative_to(PACKAGE).as_posix(), set())) == []


@pytest.mark.parametrize('source', [
    'import pickle', 'from os import system', 'np.loads(p)', 'f(allow_pickle=True)', 'eval(s)', 'subprocess.run(c)',
    'zipfile.ZipFile(p).extractall()', 'request.urlopen(u)', 'np.load(p)', 'from numpy import load', 'self.f.load(p)',
    'yaml.load(p)', 'from json import load', 'x.np.load', 'ctypes.CDLL(p)',
    'import importlib; importlib.import_module(name)'])
def test_this_check_can_fail(source):
    assert len(offences(source)) == 1


def test_what_is_allowed_is_still_needed():
    """An exception for a file that has moved, or no longer needs it, would open a door for the next one."""
    for path, allowed in ALLOWED.items():
        assert {line.split(': ')[1] for line in offences((PACKAGE / path).read_text())} == allowed
    owners = {ast.unparse(node.value) for path in SOURCES for node in ast.walk(ast.parse(path.read_text()))
              if isinstance(node, ast.Attribute) and node.attr == 'load'}
    assert owners == LOADERS
