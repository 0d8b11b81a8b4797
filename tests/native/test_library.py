"""A native library is built once, checked, and kept; where that cannot be, NumPy computes, without a word."""

import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minigan import backend
from minigan.cli import main
from minigan.gpu.twins import Kernels
from minigan.native import check, library
from minigan.native.twins import NAMES, Native, native, or_numpy, use

posix = pytest.mark.skipif(os.name != 'posix', reason='shell scripts and modes of files are those of POSIX')
REAL = next(filter(None, map(shutil.which, library.COMPILERS)), '')


def compiler(monkeypatch, folder, *lines):
    """Put a shell script in the place of every C++ compiler. $REAL is the real one."""
    monkeypatch.setenv('REAL', REAL)
    folder = folder / 'bin'
    folder.mkdir(exist_ok=True)
    (folder / 'c++').write_text('\n'.join(['#!/bin/sh', *lines, '']))
    (folder / 'c++').chmod(0o755)
    monkeypatch.setenv('PATH', f'{folder}{os.pathsep}{os.environ["PATH"]}')


def works(monkeypatch, tmp_path, *options):
    compiler(monkeypatch, tmp_path, f'exec "$REAL" "$@" {" ".join(options)}')


def missing(monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))


def fails(monkeypatch, tmp_path):
    compiler(monkeypatch, tmp_path, 'echo "native.cpp:1: fatal error" >&2', 'exit 1')


def says_no_text(monkeypatch, tmp_path):
    compiler(monkeypatch, tmp_path, r'printf "\377\376 bad" >&2', 'exit 1')


def hangs(monkeypatch, tmp_path):
    monkeypatch.setattr(library, 'SECONDS', 0.2)
    compiler(monkeypatch, tmp_path, 'exec sleep 60')


def makes_nothing(monkeypatch, tmp_path):
    compiler(monkeypatch, tmp_path, 'exit 0')


def makes_text(monkeypatch, tmp_path):
    compiler(monkeypatch, tmp_path, 'for last; do :; done', 'echo text > "$last"')


def makes_something_else(monkeypatch, tmp_path):
    """A library that has none of the functions."""
    compiler(monkeypatch, tmp_path, 'for last; do :; done', 'echo "int x;" > "$last.cpp"',
             'exec "$REAL" -shared -fPIC "$last.cpp" -o "$last"')


def is_no_program(monkeypatch, tmp_path):
    works(monkeypatch, tmp_path)
    (tmp_path / 'bin' / 'c++').write_bytes(b'\x7fELF, but no more')


def computes_wrongly(monkeypatch, tmp_path):
    """It makes a different text of a kernel."""
    compiler(monkeypatch, tmp_path, 'for last; do :; done', 'cd "$(dirname "$last")"',
             "sed -i 's/ - learning_rate \\* / + learning_rate * /' kernels.inc", 'exec "$REAL" "$@"')


def is_on_a_big_endian_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, 'byteorder', 'big')


def cache_is_a_file(monkeypatch, tmp_path):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('MINIGAN_DATA', str(tmp_path / 'file'))


def cache_is_below_a_file(monkeypatch, tmp_path):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('MINIGAN_DATA', str(tmp_path / 'file' / 'below'))


def cache_cannot_be_made(monkeypatch, tmp_path):
    monkeypatch.setenv('MINIGAN_DATA', '/proc/none/such')


def cache_is_read_only(monkeypatch, tmp_path):
    folder = Path(os.environ['MINIGAN_DATA']) / 'native'
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):  # root may write everywhere
        monkeypatch.setattr(library.tempfile, 'TemporaryDirectory', no_folder)


def no_folder(**_):
    raise PermissionError(13, 'Permission denied')


def there_is_no_home(monkeypatch, tmp_path):
    for name in ('MINIGAN_DATA', 'XDG_CACHE_HOME', 'HOME', 'LOCALAPPDATA'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('pathlib.Path.home', lambda: (_ for _ in ()).throw(RuntimeError('no home')))


def others_may_write_to_the_cache(monkeypatch, tmp_path):
    folder = Path(os.environ['MINIGAN_DATA']) / 'native'
    folder.mkdir(parents=True)
    folder.chmod(0o777)


CANNOT = {
    missing: 'no C++ compiler: none of', fails: 'failed: native.cpp:1: fatal error', says_no_text: 'c++ failed: ',
    hangs: 'takes more than 0.2 seconds', makes_nothing: 'native.so', makes_text: 'native.so',
    is_no_program: 'Exec format',
    makes_something_else: 'undefined symbol', computes_wrongly: 'other bits than NumPy: sgd_momentum_',
    is_on_a_big_endian_machine: 'little-endian', cache_is_a_file: 'file', cache_is_below_a_file: 'Not a directory',
    cache_cannot_be_made: '/proc/none', cache_is_read_only: 'Permission denied', there_is_no_home: 'no home',
    others_may_write_to_the_cache: 'other users may write to it'}


def kept(folder):
    return sorted(path.name for path in folder.rglob('*')) if folder.is_dir() else []


@posix
@pytest.mark.parametrize('cannot', CANNOT, ids=lambda cannot: cannot.__name__)
def test_where_there_can_be_none_numpy_computes_and_one_line_says_why(cannot, fresh, monkeypatch, tmp_path):
    cannot(monkeypatch, tmp_path)
    said = use(True)
    assert CANNOT[cannot] in said and '\n' not in said
    assert 'numpy' not in backend.TWINS
    assert [name for name in kept(fresh) if not name.endswith('.txt')] == []


def train(device, capsys):
    assert main(['train', '--device', device, '--epochs', '1', '--batch', '359', '--out', device]) == 0
    said = ''.join(capsys.readouterr()).replace(device, 'DEVICE')
    return [line for line in said.splitlines() if '\r' not in line and 'epoch' not in line]


@posix
@pytest.mark.parametrize('cannot', [missing, fails, hangs, makes_something_else, computes_wrongly, cache_is_a_file,
                                    cache_is_read_only, there_is_no_home, others_may_write_to_the_cache],
                         ids=lambda cannot: cannot.__name__)
def test_the_command_trains_with_numpy_without_a_word(cannot, fresh, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    expected = train('numpy', capsys)
    cannot(monkeypatch, tmp_path)
    assert train('cpu', capsys) == expected and 'numpy' not in backend.TWINS
    assert (Path('cpu') / 'samples' / 'epoch-0001.png').read_bytes() == (
        Path('numpy') / 'samples' / 'epoch-0001.png').read_bytes()


def test_a_library_is_built_once_and_nothing_else_is_kept(fresh, monkeypatch):
    assert use(True) == ''
    before = kept(fresh)
    assert len(before) == 1 and before[0].endswith('.so')
    native.cache_clear()
    monkeypatch.setattr(library, 'compiled', None)
    assert use(True) == '' and kept(fresh) == before


@posix
@pytest.mark.parametrize('umask', [0o000, 0o002])
def test_whatever_the_umask_the_library_is_the_users_alone(fresh, umask):
    before = os.umask(umask)
    try:
        assert use(True) == ''
    finally:
        os.umask(before)
    path, = fresh.iterdir()
    assert [stat.S_IMODE(one.stat().st_mode) & 0o022 for one in (path, fresh)] == [0, 0]


@pytest.mark.parametrize('relative', ['.', 'a b'])
def test_the_cache_folder_may_be_relative(fresh, monkeypatch, tmp_path, relative):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('MINIGAN_DATA', relative)
    assert use(True) == '' and len(kept(Path(relative) / 'native')) == 1


@posix
@pytest.mark.parametrize('whose', ['library', 'folder'])
@pytest.mark.parametrize('mode', [0o777, 0o775])
def test_a_library_that_others_may_write_is_not_loaded(filled, whose, mode, monkeypatch):
    path, = filled.iterdir()
    (path if whose == 'library' else filled).chmod(mode)
    monkeypatch.setattr(library.ctypes, 'CDLL', None)
    assert 'other users may write to it' in use(True) and 'numpy' not in backend.TWINS


@posix
def test_a_library_of_a_different_user_is_not_loaded(filled, monkeypatch):
    owner = os.geteuid()
    monkeypatch.setattr(library.os, 'geteuid', lambda: owner + 1)
    if owner:
        assert 'other users may write to it' in use(True)
    else:  # root's files are everybody's
        assert use(True) == ''


DAMAGE = {'empty': lambda content: b'', 'text': lambda content: b'text\n', 'cut': lambda content: content[:20_000],
          'cut in the head': lambda content: content[:1000], 'longer': lambda content: content + b'x',
          'one bit': lambda content: content[:9000] + bytes([content[9000] ^ 1]) + content[9001:],
          'zeros': lambda content: bytes(len(content))}


@pytest.mark.parametrize('damage', DAMAGE)
def test_a_damaged_library_is_recognised(filled, damage):
    path, = filled.iterdir()
    assert library.whole(path)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert not library.whole(path)


@pytest.mark.parametrize('damage', ['empty', 'cut'])
def test_a_damaged_library_is_built_anew(filled, damage):
    """In a child: loading a library that is cut short ends the process."""
    path, = filled.iterdir()
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    done = subprocess.run([sys.executable, '-c', 'from minigan.native.twins import use; print([use(True)])'],
                          capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "['']\n"), done.stderr
    assert all(map(library.whole, filled.iterdir()))


@pytest.mark.parametrize('number', [2, 5])
def test_processes_that_build_at_the_same_time(fresh, number):
    children = [subprocess.Popen([sys.executable, '-c', 'from minigan.native import check, twins; '
                                  'print([twins.use(True)], [row.name for row in check.rows(twins.native()) '
                                  'if not row.ok])'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for _ in range(number)]
    said = [child.communicate(timeout=300) for child in children]
    assert said == [("[''] []\n", '')] * number
    assert 1 <= len(list(fresh.iterdir())) <= number and all(map(library.whole, fresh.iterdir()))


@posix
def test_a_killed_build_leaves_no_library(fresh, monkeypatch, tmp_path):
    compiler(monkeypatch, tmp_path, f'touch {tmp_path}/begun', '"$REAL" "$@"', 'exec sleep 60')
    child = subprocess.Popen([sys.executable, '-c', 'from minigan.native.twins import native; native()'])
    until = time.monotonic() + 100
    while not (tmp_path / 'begun').exists() and time.monotonic() < until:
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert not list(fresh.glob('*.so'))
    works(monkeypatch, tmp_path)
    assert use(True) == ''


def names_of(monkeypatch):
    """The name of the file that load would load."""
    found = []

    def fake(folder, *_):
        (folder / 'native.so').write_bytes(b'x')
        return folder / 'native.so'
    monkeypatch.setattr(library, 'compiled', fake)
    monkeypatch.setattr(library.ctypes, 'CDLL', found.append)
    library.load(lambda loaded: None)
    return Path(found[-1]).name


@posix
def test_a_different_source_compiler_cpu_or_numpy_needs_a_different_library(fresh, monkeypatch, tmp_path):
    names = [names_of(monkeypatch)]
    for change in (
            lambda: monkeypatch.setattr(library, 'FLAGS', [*library.FLAGS, '-g']),
            lambda: monkeypatch.setattr(library, 'HEADER', copied(library.HEADER, tmp_path, '// more\n')),
            lambda: monkeypatch.setattr(library, 'SOURCES', [copied(library.SOURCES[0], tmp_path, '// more\n')]),
            lambda: monkeypatch.setattr(library, 'BY_ELEMENT', library.BY_ELEMENT[1:]),
            lambda: monkeypatch.setattr(library, 'CHECKED', [copied(library.CHECKED[0], tmp_path, '# more\n')]),
            lambda: monkeypatch.setattr(np, '__version__', '9.9'),
            lambda: monkeypatch.setattr(library.platform, 'machine', lambda: 'pdp11'),
            lambda: works(monkeypatch, tmp_path),
            lambda: works(monkeypatch, tmp_path, '-O2')):
        change()
        names.append(names_of(monkeypatch))
    assert len(set(names)) == len(names)
    assert names_of(monkeypatch) == names[-1]


def copied(path, folder, more):
    shutil.copy(path, folder)
    with (folder / path.name).open('a') as file:
        file.write(more)
    return folder / path.name


def test_every_kernel_that_is_compiled_has_a_twin_that_is_checked(twins):
    checked = {row.name.split(',')[0] for row in check.rows(twins)}
    assert checked >= {*NAMES}
    assert all(row.ok and row.error == 0 for row in check.rows(twins))


F = np.float32


@pytest.mark.parametrize('got, expected, number', [
    (F([0, 1]), F([-0.0, 1]), 1), (F([np.nan]), -F([np.nan]), 0), (F([np.nan, 1]), F([1, np.nan]), 2),
    (F([1, 2]), F([1, 2, 3]), 3), (F([]), F([1]), 1), (F([1]), F([]), 1), (F([1]), np.float64([1]), 1),
    ((F([1]), F([2])), (F([1]), F([3])), 1), (F([1e-45]), F([0]), 1), (None, None, 0), ((), (), 0),
    (F([[1, 2]]), F([[1], [2]]), 2), (np.uint16([1, 2]), np.uint16([1, 3]), 1), (F([]), F([]), 0)])
def test_bits_that_differ_are_counted(got, expected, number):
    assert check.differing(got, expected) == number


def test_a_twin_that_returns_nothing_or_too_little_is_wrong(twins):
    for returned in (None, (), (F([1]),)):
        with pytest.raises((ValueError, TypeError, AttributeError)):
            assert check.differing(returned, (F([1]), F([2]))) == 0


class Wrong:
    """Twins of which one computes with a different last bit."""

    def __init__(self, twins, name):
        self.twins, self.name = twins, name

    def __getattr__(self, name):
        twin = getattr(self.twins, name)
        return twin if name != self.name else lambda *arguments, **keywords: self.wrong(twin, arguments, keywords)

    def wrong(self, twin, arguments, keywords):
        returned = twin(*arguments, **keywords)
        first = returned if returned is not None else arguments
        while isinstance(first, tuple):
            first = first[0]
        first.flat[-1] = np.nextafter(first.flat[-1], F(9))
        return returned


@pytest.mark.parametrize('name', [*NAMES, 'dense_tanh', 'dense_leaky_relu_dropout'])
def test_one_wrong_bit_of_any_twin_is_found(twins, name):
    wrong = {row.name.split(',')[0] for row in check.rows(Wrong(twins, name)) if not row.ok}
    assert wrong - {'every group of layers'} == {name}


@pytest.mark.parametrize('count', [1, 3])
def test_a_library_that_is_wrong_only_with_threads_is_rejected(fresh, monkeypatch, count):
    monkeypatch.setattr('minigan.native.twins.threads', lambda: count)
    monkeypatch.setattr(check, 'rows', lambda twins: [check.Row(name, twins.wrong, 0) for name in NAMES])
    monkeypatch.setattr(Native, 'wrong', 0, raising=False)
    begin = Native.__init__

    def init(self, loaded, number, **options):
        begin(self, loaded, number, **options)
        self.wrong = int(number > 1)
    monkeypatch.setattr(Native, '__init__', init)
    assert 'other bits than NumPy: scale_dropout, ' in use(True)
    assert [Path(name).suffix for name in kept(fresh)] == ['.txt']


def spawned(_):
    return use(True)


def test_the_library_is_found_by_processes_of_every_kind(filled):
    assert use(True) == ''
    before = kept(filled)
    for method in {'fork', 'spawn'} & {*multiprocessing.get_all_start_methods()}:
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map_async(spawned, range(2)).get(timeout=100) == ['', '']
    assert kept(filled) == before


FAST = {'-Ofast': '-Ofast', 'fused multiply-add': '-ffp-contract=fast'}


@posix
@pytest.mark.parametrize('flag', FAST)
def test_a_compiler_that_rounds_in_its_own_way_is_rejected(fresh, monkeypatch, tmp_path, flag):
    """In a child: loading what -Ofast makes turns denormal numbers off for a whole process."""
    if 'fma' not in (Path('/proc/cpuinfo').read_text() if Path('/proc/cpuinfo').exists() else ''):
        pytest.skip('this CPU has no fused multiply-add')
    works(monkeypatch, tmp_path, FAST[flag])
    done = subprocess.run([sys.executable, '-c', 'from minigan.native.twins import use; print(use(True))'],
                          capture_output=True, text=True, timeout=100)
    assert 'other bits than NumPy' in done.stdout and not list(fresh.glob('*.so'))


def test_a_rejected_library_is_not_compiled_again_until_its_note_is_deleted(fresh, monkeypatch, tmp_path):
    computes_wrongly(monkeypatch, tmp_path)
    first = use(True)
    native.cache_clear()
    monkeypatch.setattr(library, 'compiled', None)
    note, = fresh.iterdir()
    assert use(True) == f'{first}, says {note}; delete it to try again'
    monkeypatch.undo()
    monkeypatch.setenv('MINIGAN_DATA', str(fresh.parent))
    native.cache_clear()
    assert use(True) == ''  # of the real compiler


def test_a_twin_that_refuses_its_arguments_is_found(fresh, monkeypatch):
    """Its specification, which would run instead, is not compared with itself."""
    right = Kernels.tanh_backward
    monkeypatch.setattr(Native, 'tanh_backward', or_numpy('tanh_backward', lambda self, dy, y: right(self, dy, y[1:])))
    assert 'expected arrays of one shape' in use(True) or 'elements, got' in use(True)


def test_a_kernel_that_no_case_checks_is_found(fresh, monkeypatch):
    rows = check.rows
    monkeypatch.setattr(check, 'rows', lambda twins: (row for row in rows(twins) if row.name.split(',')[0] != 'adam_'))
    assert 'other bits than NumPy: adam_' in use(True)


EDITED = {  # what a reader changes: file, text, replacement, what must differ
    'Adam': ('ops.py', 'scratch *= learning_rate * n2', 'scratch *= 2 * learning_rate * n2', 'adam_'),
    'a layer': ('layers.py', 'return ops.leaky_relu(x, slope=self.slope)', 'return ops.leaky_relu(x, slope=0.5)',
                'every group of layers'),
    'a new argument': ('ops.py', 'def tanh_backward(dy, y):', 'def tanh_backward(dy, y, *, power):', 'power'),
    'no twin': ('ops.py', '@twin\ndef tanh_backward(dy, y):', 'def tanh_backward(dy, y):', 'tanh_backward'),
    'the bits of dropout': ('streams.py', 'words = self._streams', 'words = ~self._streams', 'scale_dropout'),
}


@pytest.mark.parametrize('edited', EDITED)
def test_what_a_reader_writes_in_the_specification_is_what_is_computed(twins, fresh, tmp_path, edited):
    file, text, replacement, differs = EDITED[edited]
    shutil.copytree(library.HEADER.parents[1], tmp_path / 'minigan', ignore=shutil.ignore_patterns('__pycache__'))
    path = tmp_path / 'minigan' / file
    assert path.read_text().count(text) == 1
    path.write_text(path.read_text().replace(text, replacement))
    done = subprocess.run([sys.executable, '-c', 'from minigan.native.twins import use; print(use(True))'],
                          cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(tmp_path)}, capture_output=True, text=True,
                          timeout=100)
    assert 'NumPy: ' in done.stdout and differs in done.stdout, done
