"""MNIST: its files in the cache folder, downloaded once."""

import http.client
import io
import time
import urllib.request

from minigan.data.dataset import DataError, hold_out
from minigan.data.idx import parse, read_idx
from minigan.storage.files import atomic_write, cache_folder

FILES = {  # name -> SHA-256 of the uncompressed file
    'train-images-idx3-ubyte': 'ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db',
    'train-labels-idx1-ubyte': '65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5',
    't10k-images-idx3-ubyte': '0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7',
    't10k-labels-idx1-ubyte': 'ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2',
}
MIRRORS = ('https://ossci-datasets.s3.amazonaws.com/mnist/', 'https://storage.googleapis.com/cvdf-datasets/mnist/')
DOWNLOAD_LIMIT = 16 << 20  # bytes; the largest of the four is 9.9 MB
ANSWER_WITHIN, DOWNLOAD_WITHIN = 30, 600  # seconds, for the next bytes and for a whole file


def load():
    """The 70,000 digits of 28 x 28 pixels: 50,000 / 10,000 / 10,000. Raises DataError and OSError."""
    folder = cache_folder() / 'mnist'
    images, labels, test, test_labels = (read_idx(_file(folder, name), sha256) for name, sha256 in FILES.items())
    return hold_out('mnist', images, test, labels, test_labels)


def _file(folder, name):
    """The path of one of the files, plain or .gz, which is downloaded if it is missing."""
    path, compressed = folder / name, folder / f'{name}.gz'
    if not path.exists() and not compressed.exists():
        _download(compressed, FILES[name])
    return path if path.exists() else compressed


def _download(path, sha256):
    """Download a file from the first mirror that has the correct content; a failure leaves nothing behind."""
    tried = []
    for mirror in MIRRORS:
        try:
            content = _fetch(mirror + path.name)
            parse(path.name, io.BytesIO(content), sha256)
        except (OSError, http.client.HTTPException, DataError) as error:
            tried.append(f'{mirror}{path.name} ({error})')
        else:
            return _keep(path, content)
    raise DataError(f'mnist: could not download {" or ".join(tried)}. Put the files {", ".join(FILES)}, plain or .gz, '
                    f'into {path.parent} (or into mnist/ under $MINIGAN_DATA). `--data digits` needs no download.')


def _keep(path, content):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise DataError(f'mnist: could not save the download ({error}); set $MINIGAN_DATA to a folder') from error


def _fetch(url):
    """The content at an https address, which may redirect to a different https address only.

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
