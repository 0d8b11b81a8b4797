"""IDX files, the format of MNIST and its successors, and folders of them."""

import filecmp
import gzip
import hashlib
import math
import re
import struct
import zlib

import numpy as np

from minigan.data.dataset import DataError, explain, hold_out, split
from minigan.storage import files

TYPES = {8: 'u1', 9: 'i1', 11: '>i2', 12: '>i4'}  # code in the header -> dtype
FORM = r'[-. _]idx\d-(ubyte|byte|short|int)(\.gz)?'
NAME = re.compile(rf'(?P<prefix>.*?)(train|t10k|test)-(images|labels){FORM}')


def read_idx(path, sha256=None):
    """The array in an IDX file of whole numbers, plain or gzip (by content, not by name).

    The header holds two zero bytes, the type, the number of axes, and the length of each axis, big-endian.
    Raises DataError for a type that is not in TYPES, for more or fewer bytes than the header says, and when the
    SHA-256 of the uncompressed file is not the one given.
    """
    with files.open_file(path) as file:
        return parse(path, file, sha256)


def parse(path, file, sha256=None):
    """The array in an open IDX file, as read_idx reads it. path: the name of the file in errors."""
    try:
        compressed = file.read(2) == b'\x1f\x8b'
        file.seek(0)
        return _parse(path, gzip.GzipFile(fileobj=file) if compressed else file, sha256)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f'{path}: expected a whole gzip file, got a damaged one ({error})') from error


def _parse(path, file, sha256):
    magic = file.read(4)
    if not (len(magic) == 4 and magic[:2] == b'\0\0' and magic[2] in TYPES and 1 <= magic[3] <= 3):
        raise DataError(f'{path}: expected an IDX file of whole numbers with 1 to 3 axes (images: magic 00000803), '
                        f'got {"magic " + magic.hex() if magic else "an empty file"}')
    lengths = file.read(4 * magic[3])
    if len(lengths) < 4 * magic[3]:
        raise DataError(f'{path}: expected {magic[3]} lengths in the header, got {len(lengths)} bytes of them')
    shape, dtype = struct.unpack(f'>{magic[3]}I', lengths), np.dtype(TYPES[magic[2]])
    size = math.prod(shape) * dtype.itemsize
    if size > files.LIMIT:
        raise DataError(f'{path}: expected at most {files.LIMIT} bytes, '
                        f'got a header that claims {size} for shape {shape}')
    content = files.read_at_most(file, size + 1)
    if len(content) != size:
        raise DataError(f'{path}: expected {size} bytes for shape {shape}, '
                        f'got {len(content) if len(content) < size else "more"}')
    if sha256:
        digest = hashlib.sha256(magic + lengths)
        digest.update(content)
        if digest.hexdigest() != sha256:
            raise DataError(f'{path}: expected content of SHA-256 {sha256}, got {digest.hexdigest()}')
    return np.frombuffer(content, dtype).reshape(shape)


def read_folder(folder, prefix=None):
    """The Dataset of the IDX files in a folder. Raises DataError, OSError.

    prefix: only files whose names begin with it are read. EMNIST's folder, for example, holds six sets.
    """
    images, labels = _read_images(folder, prefix, 'train'), _read(folder, prefix, 'train-labels')
    test = _read_images(folder, prefix, 't10k', 'test')
    test_labels = _read(folder, prefix, 't10k-labels', 'test-labels')
    if images is None:
        name = f'{prefix or ""}train-images-idx3-ubyte'
        raise DataError(f'{folder}: expected a file named like {name} or {name}.gz, got {_seen(folder)}')
    name = (prefix or '').rstrip('-_. ') or folder.resolve().name
    dataset = split(name, images, labels) if test is None else hold_out(name, images, test, labels, test_labels)
    names = [path.name for path in folder.iterdir() if path.name.startswith(prefix or '')]
    return explain(dataset, [name for name in names if 'label' in name and name[0] != '.' and not NAME.fullmatch(name)])


def _read_images(folder, prefix, *splits):
    images = _read(folder, prefix, *(f'{split}-images' for split in splits))
    if images is not None and (images.ndim != 3 or images.dtype != np.uint8):
        raise DataError(f'{folder}: expected {splits[0]}-images of unsigned bytes with 3 axes, '
                        f'got shape {images.shape} and dtype {images.dtype}')
    return images


def _read(folder, prefix, *parts):
    path = _find(folder, prefix, parts)
    return path and read_idx(path)


def _find(folder, prefix, parts):
    """The file of a part, or None. parts: its names, such as t10k-images and test-images.

    The file may lie in a folder of its own name. A plain file wins over its .gz; files of equal content count as one.
    """
    pattern = re.compile(f'{".*" if prefix is None else re.escape(prefix)}({"|".join(parts)}){FORM}')
    found = {}
    for path in sorted(folder.iterdir(), key=lambda path: (path.suffix == '.gz', path.is_dir(), path.name)):
        if not pattern.fullmatch(path.name) or path.name.startswith('.'):  # macOS's ._ companions
            continue
        if path.is_dir():
            path /= path.name
            if not path.is_file():
                continue
        first = found.setdefault(re.sub('.idx', '-idx', path.name.removesuffix('.gz')), path)
        if path != first and _differ(first, path):
            raise DataError(f'{folder}: expected one {parts[0]} file, got {first.name} and {path.name}, which differ')
    if len(found) > 1:
        got = ', '.join(path.name for path in found.values())
        raise DataError(f'{folder}: expected one {parts[0]} file, got {got}. To choose a set, pass its file of '
                        'training images as --data in place of the folder')
    return next(iter(found.values()), None)


def _differ(first, path):
    if first.suffix != '.gz' and path.suffix == '.gz':  # the plain file counts
        return False
    return not filecmp.cmp(first, path, shallow=False)


def _seen(folder):
    """What the folder holds in place of the training images, for a message."""
    for pattern in ('*/*train-images*', '*/*/*train-images*'):
        for path in folder.glob(pattern):
            return f'none; there is one in {path.parent}'
    names = sorted(path.name for path in folder.iterdir())
    return ', '.join(names[:5]) + ', ...' * (len(names) > 5) or 'an empty folder'
