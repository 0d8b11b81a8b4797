"""Files are written whole or not at all, and read with suspicion."""

import errno
import hashlib
import io
import math
import os
import re
import zipfile
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LIMIT = 4 << 30  # bytes of arrays in one file: a small archive can claim any number, and unpack to it
UNSUPPORTED = {  # errors of a file system that does not support a call
    errno.EACCES, errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextmanager
def atomic_write(path, mode='wb', **options):
    """Open a new file, which replaces path when the block ends. Until then, and after a failure, path is unchanged.

    If path is a link, the link is replaced, not the file that it leads to.
    Raises OSError with the path's name, for example when the disk is full.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f'{path}: no such folder: {path.parent}')
    unfinished = path.with_name(f'{path.name}.{os.getpid()}.unfinished')  # two processes may write the same file
    try:
        unfinished.unlink(missing_ok=True)  # a killed process with this id left it, or it is a stranger's link
        with open(unfinished, mode.replace('w', 'x'), **options) as file:
            yield file
            file.flush()
            with _if_supported():
                os.fsync(file.fileno())  # or a power failure may leave an empty file with the new name
        os.replace(unfinished, path)
        _sync_folder(path.parent)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            named = (error.errno, error.strerror, str(path)) if error.errno else (f'{path}: {error}',)
            raise OSError(*named) from error
        raise


def leftovers(folder, names):
    """The files that killed processes left in a folder while atomic_write was at work: NAME.PID.unfinished.

    names: patterns of the names that minigan writes there, such as 'epoch-*.png'; only these can have leftovers.
    """
    found = ((path, re.fullmatch(r'(.+)\.\d+\.unfinished', path.name)) for path in Path(folder).iterdir())
    return [path for path, match in found
            if match and any(fnmatchcase(match[1], name) for name in names) and not path.is_dir()]


def make_folder(path):
    """Make a folder within one of minigan's own. Raises ValueError for a link, which may lead to a user's files."""
    path = Path(path)
    if path.is_symlink():
        raise ValueError(f'{path}: expected a folder, got a link to {os.readlink(path)}')
    path.mkdir(exist_ok=True)
    return path


def cache_folder():
    """The folder of what all runs share: $MINIGAN_DATA, or one in the user's cache. Raises OSError without a home."""
    if os.environ.get('MINIGAN_DATA'):
        return Path(os.environ['MINIGAN_DATA'])
    folder = os.environ.get('LOCALAPPDATA' if os.name == 'nt' else 'XDG_CACHE_HOME')
    try:
        return Path(folder or Path.home() / ('' if os.name == 'nt' else '.cache')) / 'minigan'
    except RuntimeError as error:  # no home
        raise OSError('no cache folder: set $MINIGAN_DATA to one, as this user has no home folder') from error


@contextmanager
def locked(folder):
    """Lock a folder for the block. Raises ValueError when a different process has locked it.

    Does nothing on Windows, nor on a file system without locks.
    """
    descriptor = os.open(folder, os.O_RDONLY) if fcntl else None
    try:
        if fcntl:
            try:
                with _if_supported():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the lock ends with the process
            except BlockingIOError as error:
                raise ValueError(f'{folder}: another process is at work in this folder') from error
        yield
    finally:
        if fcntl:
            os.close(descriptor)


def _sync_folder(folder):
    if os.name == 'posix':  # elsewhere a folder cannot be opened
        with _if_supported():
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


@contextmanager
def _if_supported():
    """Ignore, within the block, that the file system lacks a call: locks and syncs are precautions."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def open_file(path):
    """Open a file to read bytes. Raises OSError for anything else: a pipe, for example, might never end."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(f'{path}: expected a file, got something else')
    return open(path, 'rb')


def read_at_most(file, n):
    """Read up to n bytes, in pieces: a header that claims terabytes must not allocate them."""
    content = bytearray()
    while len(content) < n and (piece := file.read(min(n - len(content), 1 << 20))):
        content += piece
    return content


def read_array(path):
    """The array in a .npy file, never Python objects. Raises what read_arrays raises."""
    with open_file(path) as file, _one_line(f'{path}: expected a whole .npy file'):
        return _read_array(file, os.path.getsize(path), LIMIT)


def read_arrays(path):
    """name -> array for each member of an .npz file, never Python objects.

    Raises ValueError, in one line, for anything but a whole file whose arrays have at most LIMIT bytes together, and
    OSError when the file cannot be opened.
    """
    arrays, room = {}, LIMIT
    with open_file(path) as file, _one_line(f'{path}: expected a whole .npz file of arrays'):
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                with archive.open(info) as member:
                    array = _read_array(member, info.file_size, room)  # to its end, where the CRC is compared
                arrays[info.filename.removesuffix('.npy')], room = array, room - array.nbytes
    return arrays


@contextmanager
def _one_line(message):
    """Turn the dozen kinds of errors that zipfile, zlib, lzma and NumPy raise for damaged content into ValueError."""
    try:
        yield
    except Exception as error:
        said = ' '.join(str(error).split())[:200]
        raise ValueError(f'{message} ({type(error).__name__}: {said})') from error


def _read_array(file, size, room):
    """The array in a .npy file of `size` bytes. Its header must fit that size before anything is allocated."""
    file.seek(0)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):  # other versions are for tables, and their headers may take gigabytes
        raise ValueError(f'expected version 1.0 of the .npy format, got {version}')
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject:
        raise ValueError('expected numbers, got Python objects')
    n = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or n != size - file.tell():
        raise ValueError(f'expected {n} bytes for shape {shape} and dtype {dtype}, got {size - file.tell()}')
    if n > room:
        raise ValueError(f'expected at most {LIMIT} bytes of arrays, got more')
    content = read_at_most(file, n)
    if len(content) != n:
        raise ValueError(f'expected {n} bytes, got {len(content)}')
    return np.frombuffer(content, dtype).reshape(shape, order='F' if by_columns else 'C')


def save_array(path, array):
    """Write a .npy file. Raises OSError."""
    array = np.asarray(array, order='C')
    with atomic_write(path) as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)  # np.save does not say why it cannot write


def save_arrays(path, arrays):
    """Write an .npz file of arrays by name. Raises OSError."""
    content = io.BytesIO()  # on a full disk, Python 3.10's ZipFile adds a traceback to the one line of error
    np.savez(content, **arrays)
    with atomic_write(path) as file:
        file.write(content.getbuffer())


def append(path, content):
    """Add bytes to the end of a file, all or none: if the disk is full, what it took is removed. Raises OSError."""
    with open(path, 'ab', buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            while content:
                content = content[file.write(content):]
        except OSError as error:
            file.truncate(end)
            raise OSError(error.errno, error.strerror, str(path)) from error


def digest(arrays):
    """SHA-256 over names, dtypes, shapes and contents of a dict of arrays, in hexadecimal digits."""
    sha256 = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        sha256.update(repr((name, array.dtype.str, array.shape)).encode())
        sha256.update(np.ascontiguousarray(array).data)
    return sha256.hexdigest()
