"""A file is written whole or not at all; any file gives arrays or one line of error, in bounded memory."""

import errno
import io
import os
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.damage import damaged

from minigan.storage import files

FUZZED = 25 * settings.default.max_examples  # 1,000; thorough: 10,000


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / 'a.txt'
    with files.atomic_write(path, 'w') as file:
        file.write('new')
        assert not path.exists()
    assert path.read_text() == 'new' and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('error', [ValueError('no'), KeyboardInterrupt(), OSError(28, 'No space left on device')])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(type(error)):
        with files.atomic_write(path, 'w') as file:
            file.write('half')
            raise error
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_disk_names_the_file(tmp_path):
    for error, said in ((OSError(28, 'No space left on device'), r'\[Errno 28\] No space left on device: .*a.txt'),
                        (OSError('encoder error'), 'a.txt: encoder error')):
        with pytest.raises(OSError, match=said):
            with files.atomic_write(tmp_path / 'a.txt', 'w'):
                raise error


def test_what_is_written_is_synced_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    monkeypatch.setattr(os, 'fsync', lambda descriptor: events.append('sync'))
    replace = os.replace
    monkeypatch.setattr(os, 'replace', lambda a, b: (events.append('replace'), replace(a, b)))
    files.save_array(tmp_path / 'a.npy', np.zeros(3))
    assert events == ['sync', 'replace', 'sync'][:2 + (os.name == 'posix')]


def fails(number):
    def call(*arguments, **options):
        raise OSError(number, os.strerror(number))
    return call


@pytest.mark.parametrize('number', [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_synchronisation_is_written_to(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, 'fsync', fails(number))
    files.save_array(tmp_path / 'a.npy', np.zeros(3))
    assert list(tmp_path.iterdir()) == [tmp_path / 'a.npy']


def test_a_disk_that_fails_while_it_is_synchronised_is_not_ignored(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'fsync', fails(errno.EIO))
    with pytest.raises(OSError, match='a.npy'):
        files.save_array(tmp_path / 'a.npy', np.zeros(3))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_be_written_but_not_read_is_written_to(tmp_path, monkeypatch):
    opened = os.open
    monkeypatch.setattr(os, 'open', lambda path, *rest: (
        fails(errno.EACCES)() if path == tmp_path else opened(path, *rest)))
    files.save_array(tmp_path / 'a.npy', np.zeros(3))
    assert (tmp_path / 'a.npy').exists()


@pytest.mark.skipif(files.fcntl is None, reason='no locks on Windows')
@pytest.mark.parametrize('number', [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EBADF])
def test_a_folder_on_a_file_system_without_locks_can_be_used(tmp_path, monkeypatch, number):
    monkeypatch.setattr(files.fcntl, 'flock', fails(number))
    with files.locked(tmp_path):
        files.save_array(tmp_path / 'a.npy', np.ones(3))
    np.testing.assert_array_equal(files.read_array(tmp_path / 'a.npy'), 1)


@pytest.mark.skipif(not hasattr(os, 'symlink') or os.name != 'posix', reason='no links')
class TestLinks:
    def test_a_link_is_replaced_and_what_it_leads_to_stays(self, tmp_path):
        (tmp_path / 'theirs').write_text('precious')
        (tmp_path / 'a.npy').symlink_to('theirs')
        files.save_array(tmp_path / 'a.npy', np.zeros(3))
        assert (tmp_path / 'theirs').read_text() == 'precious' and len(files.read_array(tmp_path / 'a.npy')) == 3

    def test_a_link_with_the_name_of_the_unfinished_file_is_not_written_through(self, tmp_path):
        (tmp_path / 'theirs').write_text('precious')
        (tmp_path / f'a.npy.{os.getpid()}.unfinished').symlink_to('theirs')
        files.save_array(tmp_path / 'a.npy', np.zeros(3))
        assert (tmp_path / 'theirs').read_text() == 'precious' and len(files.read_array(tmp_path / 'a.npy')) == 3

    @pytest.mark.parametrize('target', ['theirs', 'nowhere'])
    def test_a_link_is_not_taken_for_one_of_our_folders(self, tmp_path, target):
        (tmp_path / 'theirs').mkdir()
        (tmp_path / 'samples').symlink_to(target)
        with pytest.raises(ValueError, match=f'samples: expected a folder, got a link to {target}'):
            files.make_folder(tmp_path / 'samples')
        assert files.make_folder(tmp_path / 'new').is_dir() and files.make_folder(tmp_path / 'new').is_dir()


def test_a_file_of_a_killed_process_with_the_same_number_is_no_obstacle(tmp_path):
    (tmp_path / f'a.npy.{os.getpid()}.unfinished').write_bytes(b'half')
    files.save_array(tmp_path / 'a.npy', np.zeros(3))
    assert list(tmp_path.iterdir()) == [tmp_path / 'a.npy']


def test_only_files_that_minigan_may_have_begun_are_leftovers(tmp_path):
    ours = {'last.npz.123.unfinished', 'epoch-0001.png.7.unfinished'}
    theirs = {'novel.unfinished', 'last.npz.unfinished', 'last.npz.x.unfinished', 'essay.txt.12.unfinished',
              'last.npz.12.unfinished.bak', 'last.npz', '12.unfinished', 'my-last.npz.12.unfinished'}
    for name in ours | theirs:
        (tmp_path / name).write_text('')
    (tmp_path / 'last.npz.99.unfinished').mkdir()
    (tmp_path / 'below').mkdir()
    (tmp_path / 'below' / 'last.npz.1.unfinished').write_text('')
    assert {path.name for path in files.leftovers(tmp_path, ('last.npz', 'epoch-*.png'))} == ours


@pytest.mark.skipif(os.name != 'posix', reason='no limits on the size of files')
def test_an_array_without_room_names_its_file_and_the_reason(tmp_path):
    """As on a disk that fills up in the middle of the array."""
    program = ('import resource, sys, numpy as np; from minigan.storage import files\n'
               'resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n'
               'try: files.save_array(sys.argv[1], np.zeros(100_000))\n'
               'except OSError as error: print(error)')
    done = subprocess.run([sys.executable, '-c', program, tmp_path / 'a.npy'], stdout=subprocess.PIPE, text=True)
    assert 'File too large' in done.stdout and 'a.npy' in done.stdout and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('array', [np.zeros((3, 0)), np.array(7), np.arange(6.0).reshape(2, 3).T, np.arange(4)[::2]])
def test_an_array_that_was_saved_comes_back_as_numpy_reads_it(tmp_path, array):
    files.save_array(tmp_path / 'a.npy', array)
    for found in (np.load(tmp_path / 'a.npy'), files.read_array(tmp_path / 'a.npy')):
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype and found.shape == array.shape


@pytest.mark.skipif(files.fcntl is None, reason='no locks on Windows')
def test_one_process_alone_works_in_a_folder_and_a_dead_one_does_not_count(tmp_path):
    program = ('import sys, time; from minigan.storage.files import locked\n'
               'with locked(sys.argv[1]): print("in", flush=True); time.sleep(60)')
    with files.locked(tmp_path):
        pass
    with subprocess.Popen([sys.executable, '-c', program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == 'in\n'
        with pytest.raises(ValueError, match='another process is at work in this folder'):
            with files.locked(tmp_path):
                pass
        other.kill()
    with files.locked(tmp_path):
        pass


ARRAYS = {'a': np.arange(12, dtype=np.float32).reshape(3, 4), 'empty': np.zeros((0, 3)), 'number': np.array(7),
          'columns': np.asfortranarray(np.arange(6.0).reshape(2, 3)), 'bytes': np.frombuffer(b'hello', np.uint8)}


@pytest.mark.parametrize('write', [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path, write):
    write(tmp_path / 'a.npz', **ARRAYS)
    found = files.read_arrays(tmp_path / 'a.npz')
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    np.save(tmp_path / 'a.npy', ARRAYS['columns'])
    np.testing.assert_array_equal(files.read_array(tmp_path / 'a.npy'), ARRAYS['columns'])


def npy(shape, content=b'', dtype='<f4'):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {'descr': dtype, 'fortran_order': False, 'shape': shape})
    return file.getvalue() + content


def archive(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as whole:
        for name, content in members.items():
            whole.writestr(name, content)
    return file.getvalue()


READ = {'.npy': files.read_array, '.npz': files.read_arrays}


def bad_files():
    yield 'nothing', b'', 'BadZipFile'
    yield 'garbage', b'hello world', 'BadZipFile'
    yield 'a claimed terabyte', npy((2**38,)), 'expected 1099511627776 bytes .* got 0'
    yield 'a claimed terabyte in an archive', archive(a=npy((2**38,))), 'expected 1099511627776 bytes'
    yield 'a negative length', npy((-1, -1), b'1234'), 'expected 4 bytes .* got 4'
    yield 'less than it says', npy((3,), b'1234'), 'expected 12 bytes .* got 4'
    yield 'more than it says', archive(a=npy((1,), b'12345678')), 'expected 4 bytes .* got 8'
    yield 'another version', b'\x93NUMPY\x02\x00\x00\x00\x00\x60' + b' ' * 90, r'expected version 1.0 .* got \(2, 0\)'
    yield 'no array', archive(a=b'hello world'), 'ValueError'
    yield 'an expression', npy((1,), b'1234').replace(b"'<f4'", b"exit("), 'Error:'
    objects = io.BytesIO()
    np.savez(objects, a=np.array([{}]))
    yield 'objects', objects.getvalue(), 'expected numbers, got Python objects'


@pytest.mark.parametrize('content, message', [pytest.param(*rest, id=name) for name, *rest in bad_files()])
def test_a_bad_file_is_refused_in_one_line(tmp_path, content, message):
    kind = '.npy' if content[1:6] == b'NUMPY' else '.npz'
    path = tmp_path / f'a{kind}'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        READ[kind](path)
    assert str(caught.value).startswith(f'{path}: expected a whole {kind} file') and '\n' not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no named pipes')
def test_what_is_no_file_is_refused_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / 'pipe.npz')
    for path in (tmp_path / 'pipe.npz', '/dev/zero', tmp_path):
        with pytest.raises(OSError, match='expected a file, got something else'):
            files.read_arrays(path)


def test_two_writers_of_one_file_do_not_meet(tmp_path, monkeypatch):
    with files.atomic_write(tmp_path / 'a.txt', 'w') as ours:
        ours.write('ours')
        monkeypatch.setattr(os, 'getpid', lambda: 1)
        with files.atomic_write(tmp_path / 'a.txt', 'w') as theirs:
            theirs.write('theirs')
        assert (tmp_path / 'a.txt').read_text() == 'theirs'
    assert (tmp_path / 'a.txt').read_text() == 'ours' and len(list(tmp_path.iterdir())) == 1


def test_an_archive_that_unpacks_to_more_than_the_limit_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'LIMIT', 3 << 20)
    bomb = archive(a=npy((1 << 18,), b'\0' * (1 << 20)), b=npy((1 << 20,), b'\0' * (4 << 20)))
    (tmp_path / 'bomb.npz').write_bytes(bomb)
    assert len(bomb) < 10_000
    tracemalloc.start()
    with pytest.raises(ValueError, match='expected at most 3145728 bytes of arrays, got more'):
        files.read_arrays(tmp_path / 'bomb.npz')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_the_limit_is_for_all_arrays_together(tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'LIMIT', 3 << 20)
    for name, count in (('two.npz', 2), ('four.npz', 4)):
        np.savez_compressed(tmp_path / name, **{f'a{i}': np.zeros(1 << 20, np.uint8) for i in range(count)})
    assert len(files.read_arrays(tmp_path / 'two.npz')) == 2
    with pytest.raises(ValueError, match='expected at most 3145728 bytes of arrays, got more'):
        files.read_arrays(tmp_path / 'four.npz')


@pytest.mark.parametrize('write', [np.savez, np.savez_compressed])
@pytest.mark.parametrize('name', ARRAYS)
def test_the_checksum_of_every_member_is_compared(tmp_path, write, name):
    write(tmp_path / 'a.npz', **ARRAYS)
    with zipfile.ZipFile(tmp_path / 'a.npz') as archive:
        checksum = archive.getinfo(f'{name}.npy').CRC.to_bytes(4, 'little')
    content = (tmp_path / 'a.npz').read_bytes()
    assert checksum in content
    (tmp_path / 'a.npz').write_bytes(content.replace(checksum, bytes(4)))
    with pytest.raises(ValueError, match=f'Bad CRC-32 for file .{name}.npy'):
        files.read_arrays(tmp_path / 'a.npz')


def whole_files():
    for write in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        write(file, **ARRAYS)
        yield file.getvalue()
    file = io.BytesIO()
    np.save(file, ARRAYS['a'])
    yield file.getvalue()


@settings(max_examples=FUZZED)
@given(content=damaged(list(whole_files())) | st.binary(max_size=300))
def test_any_content_gives_arrays_or_one_line_within_bounded_memory(content, tmp_path_factory):
    kind = '.npy' if content[1:6] == b'NUMPY' else '.npz'
    path = tmp_path_factory.getbasetemp() / f'fuzzed{kind}'
    path.write_bytes(content)
    tracemalloc.start()
    try:
        found = READ[kind](path)
        assert all(array.dtype != object for array in (found.values() if kind == '.npz' else [found]))
    except ValueError as error:
        assert '\n' not in str(error) and str(error).startswith(str(path))
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8 << 20, f'{peak} bytes for {len(content)}'


def test_the_cache_is_where_the_user_says_or_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv('MINIGAN_DATA', str(tmp_path))
    assert files.cache_folder() == tmp_path
    monkeypatch.delenv('MINIGAN_DATA')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'x'))
    monkeypatch.setattr(files.os, 'name', 'posix')
    assert files.cache_folder() == tmp_path / 'x' / 'minigan'
