"""Files: written whole or not at all, and read with suspicion."""

import hashlib
import math
import os
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

UNFINISHED = '.unfinished'  # the suffix of a file that is being written
LIMIT = 4 << 30  # bytes that one file may become in memory: a small archive can claim, and unpack to, any number


@contextmanager
def replacing(path, mode='wb', **options):
    """A file to write that takes path's place when the block ends; until then, and after a failure, path is as it was.

    Raises OSError with the path's name, for instance for want of space.
    """
    path = Path(path)
    unfinished = path.with_name(f'{path.name}.{os.getpid()}{UNFINISHED}')  # two processes may write the same file
    try:
        with open(unfinished, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or a power failure may leave the new name with nothing behind it
        os.replace(unfinished, path)
        _sync_folder(path.parent)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _sync_folder(folder):
    if os.name == 'posix':  # elsewhere a folder cannot be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def alone(folder):
    """Within, no other process can be alone in this folder. Raises ValueError when one is. On Windows, does nothing."""
    descriptor = os.open(folder, os.O_RDONLY) if fcntl else None
    try:
        if fcntl:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go of it if this process dies
            except BlockingIOError as error:
                raise ValueError(f'{folder}: another process is at work in this folder') from error
        yield
    finally:
        if fcntl:
            os.close(descriptor)


def open_file(path):
    """The file, to read. Raises OSError for what is no file, a pipe for instance, which might never end."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(f'{path}: expected a file, got something else')
    return open(path, 'rb')


def read_at_most(file, n):
    """Up to n bytes, in pieces: a header that claims terabytes must not allocate them."""
    content = bytearray()
    while len(content) < n and (piece := file.read(min(n - len(content), 1 << 20))):
        content += piece
    return content


def read_arrays(path):
    """name -> array for each member of an .npz file; {'': array} for a .npy file. Never Python objects.

    Raises ValueError, in one line, for anything but a whole file of arrays with at most LIMIT bytes in all; OSError
    when the file cannot be opened.
    """
    with open_file(path) as file:
        try:
            if file.read(6) == b'\x93NUMPY':
                return {'': _read_array(file, os.path.getsize(path), LIMIT)}
            arrays, room = {}, LIMIT
            with zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    with archive.open(info) as member:
                        array = _read_array(member, info.file_size, room)  # to its end, where the CRC is compared
                    arrays[info.filename.removesuffix('.npy')], room = array, room - array.nbytes
            return arrays
        except Exception as error:  # zipfile, zlib, lzma and NumPy raise a dozen kinds for damaged content
            said = ' '.join(str(error).split())[:200]
            raise ValueError(f'{path}: expected a whole .npz or .npy file of arrays '
                             f'({type(error).__name__}: {said})') from error


def _read_array(file, size, room):
    """The array in a .npy file of size bytes. Its header is held to the size before anything is allocated."""
    file.seek(0)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):  # others are for tables, and their headers may take gigabytes
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
    with replacing(path) as file:
        np.save(file, array)


def append(path, content):
    """Add bytes to the end of a file, all or none: what a full disk takes of them is removed again. Raises OSError."""
    with open(path, 'ab', buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            while content:
                content = content[file.write(content):]
        except OSError as error:
            file.truncate(end)
            raise OSError(error.errno, error.strerror, str(path)) from error


def digest(arrays):
    """SHA-256 over names, dtypes, shapes and contents of a dict of arrays, as 32 bytes."""
    sha256 = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        sha256.update(repr((name, array.dtype.str, array.shape)).encode())
        sha256.update(np.ascontiguousarray(array).data)
    return np.frombuffer(sha256.digest(), np.uint8)
