"""Every source gives the same kind of Dataset; every fault gives one message and leaves nothing behind."""

import gzip
import hashlib
import http.server
import io
import socket
import ssl
import struct
import threading
import tracemalloc

import numpy as np
import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from support.damage import damaged

from minigan import Streams, data
from minigan.data import DataError, mnist


def images(n, height=4, width=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width), dtype=np.uint8)


def idx(array):
    return struct.pack(f'>BBBB{array.ndim}I', 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_folder(folder, train=60, test=10, compress=False):
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {'train-images-idx3-ubyte': images(train), 't10k-images-idx3-ubyte': images(test, seed=1),
              'train-labels-idx1-ubyte': np.arange(train).astype(np.uint8),
              't10k-labels-idx1-ubyte': np.arange(test).astype(np.uint8)}
    for name, array in arrays.items():
        content = idx(array)
        (folder / (name + '.gz' * compress)).write_bytes(gzip.compress(content, mtime=0) if compress else content)
    return arrays


def test_digits_come_with_scikit_learn():
    digits = data.load('digits')
    assert digits.shape == (8, 8) and digits.train.dtype == np.uint8
    assert [len(split) for split in (digits.train, digits.validation, digits.test)] == [1439, 179, 179]
    assert [len(labels) for labels in digits.labels] == [1439, 179, 179]
    assert digits.train.min() == 0 and digits.train.max() == 255
    assert set(digits.labels[0]) == set(digits.labels[1]) == set(digits.labels[2]) == set(range(10))
    assert len(np.unique(np.concatenate([digits.train, digits.validation, digits.test]), axis=0)) == 1797


@pytest.mark.parametrize('compress', [False, True])
def test_a_folder_of_idx_files(tmp_path, compress):
    arrays = write_folder(tmp_path / 'clothes', compress=compress)
    dataset = data.load(str(tmp_path / 'clothes'))
    train = arrays['train-images-idx3-ubyte'].reshape(60, 12)
    assert dataset.name == 'clothes' and dataset.shape == (4, 3)
    np.testing.assert_array_equal(dataset.train, train[:50])
    np.testing.assert_array_equal(dataset.validation, train[50:])
    np.testing.assert_array_equal(dataset.test, arrays['t10k-images-idx3-ubyte'].reshape(10, 12))
    np.testing.assert_array_equal(np.concatenate(dataset.labels), [*range(60), *range(10)])


def test_a_folder_with_training_images_alone_is_split(tmp_path):
    (tmp_path / 'emnist-train-images-idx3-ubyte').write_bytes(idx(images(50)))
    dataset = data.load(str(tmp_path))
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [40, 5, 5]
    assert dataset.labels is None


def test_a_plain_file_wins_over_its_gz(tmp_path):
    write_folder(tmp_path)
    (tmp_path / 'train-images-idx3-ubyte.gz').write_bytes(b'not even gzip')
    assert len(data.load(str(tmp_path)).train) == 50


@pytest.mark.parametrize('scale', [1, 255])
def test_numpy_files(tmp_path, scale):
    array = images(20)
    stored = array if scale == 1 else (array / 255).astype(np.float32)
    np.save(tmp_path / 'a.npy', stored)
    np.savez(tmp_path / 'b.npz', pictures=stored[..., None], other=np.arange(3))
    for name in ('a.npy', 'b.npz'):
        dataset = data.load(str(tmp_path / name))
        assert (dataset.shape, dataset.train.dtype, len(dataset.train)) == ((4, 3), np.uint8, 16)
        everything = np.concatenate([dataset.train, dataset.validation, dataset.test])
        np.testing.assert_array_equal(np.unique(everything, axis=0), np.unique(array.reshape(20, 12), axis=0))


def test_a_numpy_file_with_its_own_test_images_and_colours(tmp_path):
    train, test = (np.stack([images(n)] * 3, axis=-1) for n in (12, 4))
    np.savez(tmp_path / 'c.npz', x_train=train, x_test=test, y_train=np.arange(12))
    dataset = data.load(str(tmp_path / 'c.npz'))
    assert dataset.shape == (4, 3, 3) and len(dataset.train) == 10 and len(dataset.validation) == 2
    np.testing.assert_array_equal(dataset.test, test.reshape(4, 36))


IDX = idx(images(12))
BAD_IDX = {
    'empty': (b'', 'magic .*got an empty file'),
    'garbage': (b'hello world', 'got magic 68656c6c'),
    'floats': (b'\0\0\x0d\x03' + IDX[4:], 'got magic 00000d03'),
    'header cut off': (IDX[:9], 'expected 3 lengths in the header, got 5 bytes'),
    'truncated': (IDX[:-1], r'expected 144 bytes for shape \(12, 4, 3\), got 143'),
    'too long': (IDX + b'x', r'expected 144 bytes for shape \(12, 4, 3\), got more'),
    'absurd header': (b'\0\0\x08\x03' + b'\xff' * 12 + b'x',
                      r'expected at most 4294967296 bytes, got a header that claims 7922'),
    '2**31 images': (b'\0\0\x08\x03\x80\0\0\0' + IDX[8:], r'got a header that claims 25769803776 for shape'),
    'four axes': (b'\0\0\x08\x04' + b'\0\0\0\x01' * 4 + b'x', 'got magic 00000804'),
    'a bomb': (gzip.compress(IDX + bytes(10**8)), r'expected 144 bytes for shape \(12, 4, 3\), got more'),
    'truncated gzip': (gzip.compress(IDX)[:-9], 'expected a whole gzip file'),
    'damaged gzip': (gzip.compress(IDX)[:12] + b'\xff' * 9 + gzip.compress(IDX)[21:], 'expected a whole gzip file'),
    'gzip of garbage': (gzip.compress(b'hello world'), 'got magic 68656c6c'),
    'gzip of nothing': (gzip.compress(b''), 'got an empty file'),
    'labels in place of images': (idx(np.arange(5, dtype=np.uint8)),
                                  r'expected train-images of unsigned bytes with 3 axes, got shape \(5,\)'),
    'too few': (idx(images(5)), r'expected at least 10 images .* got 5'),
    'no pixels': (idx(images(20, 0)), r'of at least one pixel, got 20 of shape \(0, 3\)'),
}


@pytest.mark.parametrize('fault', BAD_IDX)
def test_bad_idx_files_are_refused(tmp_path, fault):
    content, message = BAD_IDX[fault]
    (tmp_path / 'train-images-idx3-ubyte').write_bytes(content)
    with pytest.raises(DataError, match=message):
        data.load(str(tmp_path))


@pytest.mark.parametrize('fault', ['absurd header', '2**31 images', 'a bomb'])
def test_what_claims_or_unpacks_to_gigabytes_allocates_nothing(tmp_path, fault):
    (tmp_path / 'train-images-idx3-ubyte').write_bytes(BAD_IDX[fault][0])
    tracemalloc.start()
    with pytest.raises(DataError):
        data.load(str(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


WHOLE = [IDX, gzip.compress(IDX, mtime=0), idx(np.arange(20, dtype=np.uint8))]


def npy_files():
    for array in (images(12), images(12) / 255, images(12).astype(np.float32), np.zeros((12, 4, 3, 3), bool)):
        for write in (np.save, np.savez, np.savez_compressed):
            file = io.BytesIO()
            write(file, array)
            yield file.getvalue()


@settings(max_examples=25 * settings.default.max_examples)
@given(st.sampled_from(['train-images-idx3-ubyte', 'train-labels-idx1-ubyte', 'images.npz']), st.data())
def test_any_content_gives_a_dataset_or_one_line_within_bounded_memory(tmp_path_factory, name, draws):
    """1,000 files; thorough: 10,000."""
    folder = tmp_path_factory.getbasetemp() / 'fuzzed'
    folder.mkdir(exist_ok=True)
    (folder / 'train-images-idx3-ubyte').write_bytes(idx(images(20)))
    (folder / name).write_bytes(draws.draw(damaged(list(npy_files()) if name == 'images.npz' else WHOLE)))
    tracemalloc.start()
    try:
        dataset = data.load(str(folder / name if name == 'images.npz' else folder))
        assert dataset.train.dtype == np.uint8 and dataset.train.shape[1] == np.prod(dataset.shape)
    except DataError as error:
        assert '\n' not in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        (folder / name).unlink()
    assert peak < 8 << 20


def test_folders_that_do_not_fit_together_are_refused(tmp_path):
    with pytest.raises(DataError, match='expected a file named like train-images-idx3-ubyte'):
        data.load(str(tmp_path))
    write_folder(tmp_path)
    (tmp_path / 'other-train-images-idx3-ubyte').write_bytes(IDX)
    with pytest.raises(DataError, match='expected one train-images file, got other-train.*, train-'):
        data.load(str(tmp_path))
    (tmp_path / 'other-train-images-idx3-ubyte').unlink()
    (tmp_path / 'train-labels-idx1-ubyte').write_bytes(idx(np.arange(3, dtype=np.uint8)))
    with pytest.raises(DataError, match='expected one label for each of 60 images, got 3'):
        data.load(str(tmp_path))
    (tmp_path / 'train-labels-idx1-ubyte').unlink()
    (tmp_path / 't10k-labels-idx1-ubyte').unlink()
    (tmp_path / 't10k-images-idx3-ubyte').write_bytes(idx(images(10, 5)))
    with pytest.raises(DataError, match=r'expected test images of shape \(4, 3\), got \(5, 3\)'):
        data.load(str(tmp_path))


BAD_ARRAYS = {
    'rank': (np.zeros((20, 12), np.uint8), r'expected images of shape .* got \(20, 12\)'),
    'channels': (np.zeros((20, 4, 3, 2), np.uint8), r'got \(20, 4, 3, 2\)'),
    'dtype': (np.zeros((20, 4, 3), np.int64), 'expected images of dtype uint8 or floats .* got dtype int64'),
    'range': (np.full((20, 4, 3), 255.0), r'expected floats in \[0, 1\], got values from 255.0 to 255.0'),
    'negative': (np.full((20, 4, 3), -0.5), r'got values from -0.5'),
    'nan': (np.full((20, 4, 3), np.nan), r'expected floats in \[0, 1\], got NaN'),
    'single image': (np.zeros((1, 4, 3), np.uint8), 'expected at least 10 images'),
    'none': (np.zeros((0, 4, 3)), 'expected at least 10 images'),
}


def test_bytes_come_from_floats_and_truth_values_without_many_times_their_memory(tmp_path):
    np.save(tmp_path / 'a.npy', np.ones((2500, 40, 40), bool))
    tracemalloc.start()
    dataset = data.load(str(tmp_path / 'a.npy'))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert dataset.train.min() == 255 and peak < 5 * 4_000_000


@pytest.mark.parametrize('fault', BAD_ARRAYS)
def test_bad_arrays_are_refused(tmp_path, fault):
    array, message = BAD_ARRAYS[fault]
    np.save(tmp_path / 'a.npy', array)
    with pytest.raises(DataError, match=message):
        data.load(str(tmp_path / 'a.npy'))


def test_bad_numpy_files_are_refused(tmp_path):
    np.save(tmp_path / 'objects.npy', np.array([{}] * 20), allow_pickle=True)
    np.savez(tmp_path / 'objects.npz', a=np.array([{}] * 20))
    (tmp_path / 'garbage.npy').write_bytes(b'hello')
    (tmp_path / 'empty.npz').write_bytes(b'')
    np.savez(tmp_path / 'whole.npz', a=images(20))
    (tmp_path / 'cut.npz').write_bytes((tmp_path / 'whole.npz').read_bytes()[:200])
    for name in ('objects.npy', 'objects.npz', 'garbage.npy', 'empty.npz', 'cut.npz'):
        with pytest.raises(DataError, match=f'{name}: expected a whole .np[yz] file'):
            data.load(str(tmp_path / name))
    np.savez(tmp_path / 'two.npz', a=images(20), b=images(20))
    with pytest.raises(DataError, match=r'expected one array of shape .* got a \(20, 4, 3\), b \(20, 4, 3\)'):
        data.load(str(tmp_path / 'two.npz'))
    np.savez(tmp_path / 'apart.npz', x_train=images(20), x_test=images(20, 5))
    with pytest.raises(DataError, match=r'expected test images of shape \(4, 3\), got \(5, 3\)'):
        data.load(str(tmp_path / 'apart.npz'))


@pytest.mark.parametrize('source, message', [('nowhere', "got 'nowhere', which does not exist"),
                                             (__file__, 'expected .* got .*test_data.py'),
                                             ('nowhere.npz', 'which does not exist')])
def test_another_source_is_refused(source, message):
    with pytest.raises(DataError, match=message):
        data.load(source)


class Server(http.server.ThreadingHTTPServer):
    """Two mirrors on this machine, with TLS, that answer each file as `answers` says: a function of (handler, content).

    address: as in MIRRORS. asked: the paths so far.
    """

    daemon_threads = True

    def __init__(self, folder, monkeypatch):
        super().__init__(('localhost', 0), Handler)
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert('localhost').configure_cert(context)
        authority.cert_pem.write_to_path(str(folder / 'authority.pem'))
        monkeypatch.setenv('SSL_CERT_FILE', str(folder / 'authority.pem'))
        monkeypatch.setenv('MINIGAN_DATA', str(folder))
        for name in ('http_proxy', 'https_proxy', 'all_proxy'):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.address = f'https://localhost:{self.server_port}'
        monkeypatch.setattr(mnist, 'MIRRORS', (f'{self.address}/first/', f'{self.address}/second/'))
        files = write_folder(folder / 'source')
        monkeypatch.setattr(mnist, 'FILES', {name: hashlib.sha256(idx(files[name])).hexdigest()
                                              for name in mnist.FILES})
        self.files = {f'{name}.gz': gzip.compress(idx(array)) for name, array in files.items()}
        self.answers, self.asked, self.stop = {'first': send, 'second': send}, [], threading.Event()

    def handle_error(self, request, client_address):
        """A client that leaves is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        _, mirror, name = self.path.split('/')
        self.server.answers[mirror](self, self.server.files[name])

    def log_message(self, *arguments):
        pass


def send(handler, content, status=200, length=None, **headers):
    handler.send_response(status)
    handler.send_header('Content-Length', str(len(content) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)


def trickle(handler, content):
    send(handler, content[:10], length=len(content))
    while not handler.server.stop.wait(0.05):
        handler.wfile.write(b'x')


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, 'ANSWER_WITHIN', 0.3)
    monkeypatch.setattr(mnist, 'DOWNLOAD_WITHIN', 0.6)
    with Server(tmp_path, monkeypatch) as one:
        thread = threading.Thread(target=one.serve_forever, args=(0.02,))
        thread.start()
        yield one
        one.stop.set()
        one.shutdown()
        thread.join()


def test_mnist_is_downloaded_once_checked_and_kept(tmp_path, server):
    dataset = data.load('mnist')
    assert (dataset.name, len(dataset.train), len(dataset.validation), len(dataset.test)) == ('mnist', 50, 10, 10)
    assert len(server.asked) == 4
    data.load('mnist')
    assert len(server.asked) == 4
    assert sorted(path.name for path in (tmp_path / 'mnist').iterdir()) == sorted(server.files)


FAULTS = {  # what a mirror answers, and what is said of it
    'not found': (lambda handler, content: send(handler, b'<html>404</html>', 404), 'HTTP Error 404'),
    'out of order': (lambda handler, content: send(handler, b'', 503), 'HTTP Error 503'),
    'an error page': (lambda handler, content: send(handler, b'<html>try later</html>'), 'got magic'),
    'nothing': (lambda handler, content: send(handler, b''), 'an empty file'),
    'half of it': (lambda handler, content: send(handler, content[:50], length=len(content)),
                   'expected a whole gzip file|IncompleteRead'),
    'cut short': (lambda handler, content: send(handler, content[:-20]), 'expected a whole gzip file'),
    'other content': (lambda handler, content: send(handler, gzip.compress(IDX)), 'expected content of SHA-256'),
    'too much': (lambda handler, content: send(handler, bytes(mnist.DOWNLOAD_LIMIT + 1)), 'expected at most 16777216'),
    'a bomb': (lambda handler, content: send(handler, gzip.compress(IDX + bytes(10**7))),
               'expected 144 bytes'),
    'no answer': (lambda handler, content: handler.server.stop.wait(), 'timed out'),
    'no end': (trickle, 'timed out|expected the whole file within 0.6 s'),
    'no connection': (lambda handler, content: handler.connection.shutdown(socket.SHUT_RDWR), 'Remote end closed|EOF'),
    'not HTTP': (lambda handler, content: handler.wfile.write(b'hello\r\n\r\n'), 'hello'),
    'a way out of https': (lambda handler, content: send(handler, b'', 302, Location='http://localhost/x'),
                           'unknown url type: http'),
    'a way to a file': (lambda handler, content: send(handler, b'', 302, Location='file:///etc/passwd'), 'file:'),
    'a circle': (lambda handler, content: send(handler, b'', 302, Location=handler.path), 'infinite loop'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_a_faulty_mirror_is_left_for_the_next(tmp_path, server, fault):
    answer, reason = FAULTS[fault]
    server.answers['first'] = answer
    assert len(data.load('mnist').train) == 50 and {path.split('/')[1] for path in server.asked} == {'first', 'second'}
    for path in (tmp_path / 'mnist').iterdir():
        path.unlink()
    server.answers['second'] = answer
    with pytest.raises(DataError, match=reason) as caught:
        data.load('mnist')
    assert not (tmp_path / 'mnist').exists() or list((tmp_path / 'mnist').iterdir()) == []
    for part in (*mnist.MIRRORS, str(tmp_path / 'mnist'), 'train-images-idx3-ubyte', 'MINIGAN_DATA', '--data digits'):
        assert part in str(caught.value)


def test_a_mirror_may_send_us_on_to_another_address_over_https(server):
    server.answers['first'] = lambda handler, content: send(
        handler, b'', 302, Location=handler.server.address + handler.path.replace('first', 'second'))
    assert len(data.load('mnist').train) == 50 and len(server.asked) == 8


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path, server, monkeypatch):
    trustme.CA().cert_pem.write_to_path(str(tmp_path / 'authority.pem'))
    with pytest.raises(DataError, match='CERTIFICATE_VERIFY_FAILED'):
        data.load('mnist')
    assert server.asked == [] and not (tmp_path / 'mnist').exists()


def test_only_https_is_spoken(monkeypatch, tmp_path):
    assert all(mirror.startswith('https://') for mirror in mnist.MIRRORS)
    for url in ('http://localhost/', 'file:///etc/', 'ftp://localhost/', 'data:,'):
        monkeypatch.setenv('MINIGAN_DATA', str(tmp_path))
        monkeypatch.setattr(mnist, 'MIRRORS', (url,))
        with pytest.raises(DataError, match='unknown url type'):
            data.load('mnist')


def test_a_cached_file_that_has_changed_is_refused(tmp_path, server):
    write_folder(tmp_path / 'mnist', train=61)
    with pytest.raises(DataError, match='train-images-idx3-ubyte: expected content of SHA-256'):
        data.load('mnist')


def test_the_cache_is_where_the_user_says_or_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv('MINIGAN_DATA', str(tmp_path))
    assert mnist.cache_folder() == tmp_path
    monkeypatch.delenv('MINIGAN_DATA')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'x'))
    monkeypatch.setattr(mnist.os, 'name', 'posix')
    assert mnist.cache_folder() == tmp_path / 'x' / 'minigan'


def test_minibatches_read_every_image_once_an_epoch_in_another_order():
    rows = np.arange(10, dtype=np.uint8)[:, None] * np.ones((1, 2), np.uint8)
    batch = data.Minibatches(rows, 5, Streams(0))

    def numbers(*js):
        return [int(round(float(x[0] + 1) * 127.5)) for j in js for x in batch(j)]
    assert batch.per_epoch == 2 and batch(0).dtype == np.float32 and batch(0).shape == (5, 2)
    assert sorted(numbers(0, 1)) == sorted(numbers(2, 3)) == list(range(10))
    assert numbers(0, 1) != numbers(2, 3)
    np.testing.assert_array_equal(data.Minibatches(rows, 5, Streams(0))(3), batch(3))  # no history
    assert not np.array_equal(data.Minibatches(rows, 5, Streams(1))(3), batch(3))


def test_what_does_not_fill_a_minibatch_waits_for_another_epoch():
    batch = data.Minibatches(np.zeros((10, 2), np.uint8), 4, Streams(0))
    assert batch.per_epoch == 2 and batch(1).shape == batch(2).shape == (4, 2)


@pytest.mark.parametrize('m', [0, -1, 11])
def test_a_minibatch_of_more_than_all_images_or_none_is_refused(m):
    with pytest.raises(DataError, match=f'batch: expected between 1 and 10, .* got {m}'):
        data.Minibatches(np.zeros((10, 2), np.uint8), m, Streams(0))
