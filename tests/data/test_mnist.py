"""MNIST comes over https, whole, checked against its SHA-256, from one of two mirrors; a failure leaves nothing."""

import gzip
import hashlib
import http.server
import os
import socket
import ssl
import threading

import pytest
import trustme
from support.images import idx, images, write_folder

from minigan import data
from minigan.data import DataError, mnist
from minigan.storage import files

IDX = idx(images(12))


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
        """A client that disconnects is not worth a traceback."""


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


FAULTS = {  # what a mirror answers, and what the error says about it
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
def test_after_a_faulty_mirror_the_next_one_is_tried(tmp_path, server, fault):
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


def test_a_mirror_may_redirect_to_a_different_https_address(server):
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


def test_a_user_without_a_home_is_told_how_to_name_a_cache(monkeypatch):
    for name in ('MINIGAN_DATA', 'XDG_CACHE_HOME', 'LOCALAPPDATA'):
        monkeypatch.delenv(name, raising=False)

    def no_home():
        raise RuntimeError('Could not determine home directory.')
    monkeypatch.setattr(files.Path, 'home', no_home)
    with pytest.raises(OSError, match=r'no cache folder: set \$MINIGAN_DATA'):
        data.load('mnist')


@pytest.mark.parametrize('cache', ['file', pytest.param('full', marks=pytest.mark.skipif(
    not os.path.exists('/dev/full'), reason='no /dev/full'))])
def test_a_download_that_cannot_be_kept_says_where_it_could_be(tmp_path, server, monkeypatch, cache):
    if cache == 'file':
        (tmp_path / 'mnist').write_text('')
    else:
        monkeypatch.setattr(files, 'open', lambda path, mode: open('/dev/full', 'wb'), raising=False)
    with pytest.raises(DataError, match=r'mnist: could not save the download \(.*set \$MINIGAN_DATA'):
        data.load('mnist')
