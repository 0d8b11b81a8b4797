"""Images to learn from: digits (embedded), MNIST, a folder of IDX files, an .npz or .npy file; and minibatches of them.

Images stay uint8 in memory, (N, n) with one row an image; a minibatch is scaled to [-1, 1] when it is drawn.
"""

import gzip
import hashlib
import http.client
import math
import os
import re
import struct
import tempfile
import time
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigan import ops
from minigan.storage import files
from minigan.storage.files import LIMIT, open_file, read_arrays, read_at_most
from minigan.streams import Streams

NAMES = ('digits', 'mnist')  # of data that is no file
MNIST = {  # SHA-256 of the uncompressed file
    'train-images-idx3-ubyte': 'ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db',
    'train-labels-idx1-ubyte': '65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5',
    't10k-images-idx3-ubyte': '0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7',
    't10k-labels-idx1-ubyte': 'ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2',
}
MIRRORS = ('https://ossci-datasets.s3.amazonaws.com/mnist/', 'https://storage.googleapis.com/cvdf-datasets/mnist/')
DOWNLOAD_LIMIT = 16 << 20  # bytes; the largest of the four is 9.9 MB
ANSWER_WITHIN, DOWNLOAD_WITHIN = 30, 600  # seconds, for the next bytes and for a whole file


class DataError(ValueError):
    """Data that cannot be had or read; the message says what was expected and what came."""


@dataclass(frozen=True)
class Dataset:
    """Images split into train, validation and test, each (N, n) uint8; shape: (height, width) or (height, width, 3).

    labels: the same three splits of class numbers, or None. Training never looks at them.
    """

    name: str
    shape: tuple
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    labels: tuple = None


def load(source):
    """The Dataset for 'digits', 'mnist', a folder of IDX files, or a .npz or .npy file.

    Raises DataError with one message that says what is wrong with the source.
    """
    if source == 'digits':
        return _digits()
    if source == 'mnist':
        return _mnist()
    path = Path(source)
    if path.is_dir():
        return _idx_folder(path, path.resolve().name)
    if path.suffix in ('.npz', '.npy') and path.is_file():
        return _numpy_file(path)
    raise DataError(f"data: expected 'digits', 'mnist', a folder of IDX files or a .npz or .npy file, got {source!r}"
                    f'{"" if path.exists() else ", which does not exist"}')


def digest(dataset):
    """SHA-256, in hexadecimal digits, of what a run learns from and is watched with: not of test images and labels."""
    return files.digest({'shape': np.array(dataset.shape, np.int64), 'train': dataset.train,
                         'validation': dataset.validation}).tobytes().hex()


class Minibatches:
    """The j-th minibatch of m images is a function of (seed, j): each epoch reads them all in a new random order.

    What is left over at the end of an epoch, fewer than m images, waits for another order.
    Raises DataError when there are fewer than m images.
    """

    def __init__(self, images, m, streams, *, dtype=np.float32):
        if not 1 <= m <= len(images):
            raise DataError(f'batch: expected between 1 and {len(images)}, the number of training images, got {m}')
        self.images, self.m, self.streams, self.dtype = streams.xp.asarray(images), m, streams, dtype
        self.per_epoch = len(images) // m
        self._epoch = None

    def __call__(self, j):
        """x (m, n) in [-1, 1]."""
        return ops.gather_images(self.images, self.rows(j), self.dtype)

    def rows(self, j):
        """Where the images of the j-th minibatch lie: (m,) indices."""
        epoch, i = divmod(j, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self.streams.at('data', epoch).permutation(len(self.images))
        return self._order[i * self.m:(i + 1) * self.m]


def cache_folder():
    """Where downloaded data lies: $MINIGAN_DATA, else the user's cache directory."""
    if os.environ.get('MINIGAN_DATA'):
        return Path(os.environ['MINIGAN_DATA'])
    if os.name == 'nt':
        return Path(os.environ.get('LOCALAPPDATA', Path.home())) / 'minigan'
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'minigan'


def read_idx(path, sha256=None):
    """The array in an IDX file of unsigned bytes, plain or gzip (by content, not by name).

    The header says: two zero bytes, type 8 (uint8), the number of axes; then the length of each, big-endian.
    Raises DataError for another type, for more or fewer bytes than the header says, and for a SHA-256 of the
    uncompressed file other than the one given.
    """
    try:
        with open_file(path) as file:
            compressed = file.read(2) == b'\x1f\x8b'
        with (gzip.open if compressed else open)(path, 'rb') as file:
            return _parse_idx(path, file, sha256)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f'{path}: expected a whole gzip file, got a damaged one ({error})') from error


def _parse_idx(path, file, sha256):
    magic = file.read(4)
    if magic not in (b'\0\0\x08\x01', b'\0\0\x08\x03'):
        raise DataError(f'{path}: expected an IDX file of bytes (magic 00000801 or 00000803), '
                        f'got {"magic " + magic.hex() if magic else "an empty file"}')
    lengths = file.read(4 * magic[3])
    if len(lengths) < 4 * magic[3]:
        raise DataError(f'{path}: expected {magic[3]} lengths in the header, got {len(lengths)} bytes of them')
    shape = struct.unpack(f'>{magic[3]}I', lengths)
    size = math.prod(shape)
    if size > LIMIT:
        raise DataError(f'{path}: expected at most {LIMIT} bytes, got a header that claims {size} for shape {shape}')
    content = read_at_most(file, size + 1)
    if len(content) != size:
        raise DataError(f'{path}: expected {size} bytes for shape {shape}, '
                        f'got {len(content) if len(content) < size else "more"}')
    if sha256:
        digest = hashlib.sha256(magic + lengths)
        digest.update(content)
        if digest.hexdigest() != sha256:
            raise DataError(f'{path}: expected content of SHA-256 {sha256}, got {digest.hexdigest()}')
    return np.frombuffer(content, np.uint8).reshape(shape)


def _idx_folder(folder, name, checksums=None):
    """The images and labels of a folder; checksums: file name -> SHA-256 of the uncompressed file."""
    def read(part, axes):
        pattern = re.compile(part + r'.idx[13]-ubyte(\.gz)?$')
        found = sorted((path for path in folder.iterdir() if pattern.search(path.name)),
                       key=lambda path: path.suffix == '.gz')  # a plain file wins over its .gz
        if len({path.name.removesuffix('.gz') for path in found}) > 1:
            raise DataError(f'{folder}: expected one {part} file, got {", ".join(path.name for path in found)}')
        if not found:
            return None
        array = read_idx(found[0], (checksums or {}).get(found[0].name.removesuffix('.gz')))
        if array.ndim != axes:
            raise DataError(f'{found[0]}: expected {axes} axes, got shape {array.shape}')
        return array

    images, labels = read('train-images', 3), read('train-labels', 1)
    test, test_labels = read('(t10k|test)-images', 3), read('(t10k|test)-labels', 1)
    if images is None:
        raise DataError(f'{folder}: expected a file named like train-images-idx3-ubyte or '
                        f'train-images-idx3-ubyte.gz, got none')
    for x, y in ((images, labels), (test, test_labels)):
        if x is not None and y is not None and len(x) != len(y):
            raise DataError(f'{folder}: expected one label for each of {len(x)} images, got {len(y)}')
    return _split(name, images, labels) if test is None else _hold_out(name, images, test, labels, test_labels)


def _numpy_file(path):
    """The image array of a .npy file, or of an .npz file: x_train and x_test, or the only array with 3 or 4 axes."""
    try:
        arrays = read_arrays(path)
    except ValueError as error:
        raise DataError(str(error)) from error
    names = list(arrays) if '' in arrays else [name for name in arrays if arrays[name].ndim in (3, 4)]
    if {'x_train', 'x_test'} <= set(names):
        return _hold_out(path.stem, *(_as_bytes(path, arrays[name]) for name in ('x_train', 'x_test')))
    if len(names) != 1:
        got = ', '.join(f'{name} {array.shape}' for name, array in arrays.items())
        raise DataError(f'{path}: expected one array of shape (N, height, width) or (N, height, width, 3), or '
                        f'x_train and x_test, got {got or "no array"}')
    return _split(path.stem, _as_bytes(path, arrays[names[0]]))


def _as_bytes(path, images):
    """Images as uint8 (N, height, width[, 3]); floats must lie in [0, 1]."""
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if not (images.ndim == 3 or images.ndim == 4 and images.shape[3] == 3):
        raise DataError(f'{path}: expected images of shape (N, height, width) or (N, height, width, 3), '
                        f'got {images.shape}')
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in 'fb':
        raise DataError(f'{path}: expected images of dtype uint8 or floats in [0, 1], got dtype {images.dtype}')
    if not (images.min(initial=0) >= 0 and images.max(initial=0) <= 1):  # false for NaN too
        got = 'NaN' if np.isnan(images).any() else f'values from {images.min()} to {images.max()}'
        raise DataError(f'{path}: expected floats in [0, 1], got {got}')
    pixels = np.empty(images.shape, np.uint8)
    for i in range(0, len(images), 100):  # as floats, all at once would take several times their memory
        pixels[i:i + 100] = np.rint(images[i:i + 100] * 255.0)
    return pixels


def _split(name, images, labels=None):
    """Eight tenths to train on, one to validate, one to test, after a shuffle that is the same for everyone."""
    order = Streams(0).at('data', 0).permutation(len(images))
    cuts = len(images) - 2 * (len(images) // 10), len(images) - len(images) // 10
    return _dataset(name, np.split(images[order], cuts), labels if labels is None else np.split(labels[order], cuts))


def _hold_out(name, images, test, labels=None, test_labels=None):
    """Images that come with a test set: the last sixth of them is for validation, the rest to train on."""
    if test.shape[1:] != images.shape[1:]:
        raise DataError(f'{name}: expected test images of shape {images.shape[1:]}, got {test.shape[1:]}')
    n = len(images) - len(images) // 6
    known = labels is not None and test_labels is not None
    return _dataset(name, (images[:n], images[n:], test), (labels[:n], labels[n:], test_labels) if known else None)


def _dataset(name, splits, labels=None):
    if min(map(len, splits)) == 0 or 0 in splits[0].shape:
        raise DataError(f'{name}: expected at least 10 images of at least one pixel, '
                        f'got {sum(map(len, splits))} of shape {splits[0].shape[1:]}')
    rows = (np.ascontiguousarray(images).reshape(len(images), -1) for images in splits)
    return Dataset(name, splits[0].shape[1:], *rows, labels)


def _digits():
    """The 1,797 handwritten digits of 8 x 8 pixels with 17 grey levels that scikit-learn carries."""
    from sklearn.datasets import load_digits
    digits = load_digits()
    return _split('digits', np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target)


def _mnist():
    """The 70,000 digits of 28 x 28 pixels, from the cache folder or a mirror: 50,000 / 10,000 / 10,000."""
    folder = cache_folder() / 'mnist'
    for name, sha256 in MNIST.items():
        if not (folder / name).exists() and not (folder / f'{name}.gz').exists():
            _download(folder, f'{name}.gz', sha256)
    return _idx_folder(folder, 'mnist', MNIST)


def _download(folder, name, sha256):
    """Fetch folder/name from the first mirror that gives the right content; a failure leaves nothing behind."""
    tried = []
    for mirror in MIRRORS:
        try:
            content = _fetch(mirror + name)
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as unfinished:
                (Path(unfinished) / name).write_bytes(content)
                read_idx(Path(unfinished) / name, sha256)
                os.replace(Path(unfinished) / name, folder / name)
            return
        except (OSError, http.client.HTTPException, DataError) as error:
            tried.append(f'{mirror}{name} ({error})')
    raise DataError(f'mnist: could not download {" or ".join(tried)}. Put the files {", ".join(MNIST)}, plain or .gz, '
                    f'into {folder} (or into mnist/ under $MINIGAN_DATA). `--data digits` needs no download.')


def _fetch(url):
    """The content at an https address, which may send us on to another one, but to nothing else.

    Raises OSError or HTTPException, also for more bytes or seconds than allowed.
    """
    opener, request = urllib.request.OpenerDirector(), urllib.request
    for handler in (request.ProxyHandler, request.HTTPSHandler, request.HTTPDefaultErrorHandler,
                    request.HTTPRedirectHandler, request.HTTPErrorProcessor, request.UnknownHandler):
        opener.add_handler(handler())
    content, until = bytearray(), time.monotonic() + DOWNLOAD_WITHIN
    with opener.open(url, timeout=ANSWER_WITHIN) as response:
        while piece := response.read1(1 << 16):
            content += piece
            if len(content) > DOWNLOAD_LIMIT:
                raise OSError(f'expected at most {DOWNLOAD_LIMIT} bytes, got more')
            if time.monotonic() > until:
                raise TimeoutError(f'expected the whole file within {DOWNLOAD_WITHIN} s, got {len(content)} bytes')
    return content
