"""What would let a file from a stranger run code, or a download come over an open line, is nowhere in the source."""

import ast
from pathlib import Path

import pytest


def sources(package):
    return sorted(package.rglob('*.py'))


SOURCES = sources(Path(__file__).parents[1] / 'minigan')
FORBIDDEN = {'pickle', 'cPickle', 'marshal', 'shelve', 'dill', 'joblib', 'cloudpickle', 'eval', 'exec',
             '__import__', 'system', 'popen', 'subprocess', 'shell', 'extract', 'extractall', 'unpack_archive',
             'allow_pickle', 'urlopen', 'urlretrieve', 'load_pickle', 'HTTPHandler', 'FileHandler', 'FTPHandler'}
ALLOWED = {'emulator.py': {'subprocess'}}  # it calls the C++ compiler


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


def offences(source, allowed=frozenset()):
    return [f'line {node.lineno}: {name}' for name, node in names(ast.parse(source)) if name in FORBIDDEN - allowed]


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: path.relative_to(SOURCES[0].parent).as_posix())
def test_no_source_can_run_what_it_reads(path):
    assert offences(path.read_text(), ALLOWED.get(path.name, set())) == []


@pytest.mark.parametrize('source', [
    'import pickle', 'from os import system', 'np.load(p, allow_pickle=True)', 'eval(s)', 'subprocess.run(c)',
    'zipfile.ZipFile(p).extractall()', 'request.urlopen(u)'])
def test_this_check_can_fail(source):
    assert len(offences(source)) == 1


def test_numpys_own_reader_is_not_used():
    """np.load takes a header's word for the size, and unpickles where it is told to: files.read_arrays does neither."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == 'load':
                allowed = ('archive', 'data', 'mnist', 'classifier', 'generator', 'minigan')
                assert node.value.id in allowed, f'{path.name}: {node.lineno}'
