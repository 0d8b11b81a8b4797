"""The reader sees each image bent, as its docstring says, and reads new digits; it is trained once."""

from dataclasses import replace

import numpy as np
import pytest

from minigan import data
from minigan.data.dataset import Dataset
from minigan.evaluation import classifier, reader
from minigan.evaluation.reader import Warp
from minigan.net import Net
from minigan.streams import Streams

DIGITS = data.load('digits')


class Given:
    """In place of random numbers: w (2 * m, FREQUENCIES^2), the weights along y of every image, then those along x."""

    def __init__(self, w):
        self.w = np.asarray(w, np.float32)

    def normal(self, shape):
        assert shape == self.w.shape
        return self.w


def image(h, w, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (1, h * w)).astype(np.float32)


@pytest.mark.parametrize('axis', [0, 1])
@pytest.mark.parametrize('pixels', [1, -2])
def test_frequency_zero_moves_an_image_by_whole_pixels(axis, pixels):
    h, w = 9, 12
    warp, x, weights = Warp((h, w)), image(h, w), np.zeros((2, reader.FREQUENCIES**2))
    weights[axis, 0] = pixels / warp.waves[0, 0]
    bent = warp(x, Given(weights)).reshape(h, w)
    inside = tuple(slice(max(0, -pixels), (h, w)[i] - max(0, pixels)) if i == axis else slice(None) for i in range(2))
    expected = np.roll(x.reshape(h, w), -pixels, axis)
    np.testing.assert_allclose(bent[inside], expected[inside], atol=5e-3)  # its last pixels end a thousandth early
    beyond = bent[-1] if axis == 0 and pixels > 0 else None
    if beyond is not None:
        np.testing.assert_allclose(beyond, x.reshape(h, w)[-1], atol=5e-3)


def test_between_pixels_it_interpolates_linearly():
    h, w = 6, 7
    warp, weights = Warp((h, w)), np.zeros((2, reader.FREQUENCIES**2))
    weights[0, 0], weights[1, 0] = 0.25 / warp.waves[0, 0], 0.5 / warp.waves[0, 0]
    x = image(h, w)
    p, bent = x.reshape(h, w), warp(x, Given(weights)).reshape(h, w)
    expected = (0.75 * (p[2, 3] + p[2, 4]) + 0.25 * (p[3, 3] + p[3, 4])) / 2
    assert bent[2, 3] == pytest.approx(expected, abs=1e-5)


def test_each_displacement_is_the_sum_of_cosines_of_its_docstring():
    h, w, n = 5, 8, reader.FREQUENCIES
    a, b = np.mgrid[:n, :n]
    waves = Warp((h, w)).waves.reshape(n, n, h, w)
    for i, j in ((0, 0), (3, 5), (4, 1)):
        expected = reader.FALL ** (a + b) * np.cos(np.pi * a * (i + 0.5) / h) * np.cos(np.pi * b * (j + 0.5) / w)
        np.testing.assert_allclose(waves[:, :, i, j] / waves[0, 0, i, j], expected, atol=1e-6)
    assert np.sqrt((waves**2).sum(axis=(0, 1)).mean()) == pytest.approx(reader.DISTANCE * h)


def test_each_image_is_bent_by_itself_and_stays_within_its_own_pixels():
    warp, x = Warp((8, 8)), DIGITS.train[:50] / np.float32(127.5) - 1
    bent = warp(x, Streams(0).at('sample', 0))
    assert bent.dtype == np.float32 and bent.shape == x.shape
    assert (bent.min(axis=1) >= x.min(axis=1) - 1e-6).all() and (bent.max(axis=1) <= x.max(axis=1) + 1e-6).all()
    same = warp(np.repeat(x[:1], 50, axis=0), Streams(0).at('sample', 0))
    assert len(np.unique(same, axis=0)) == 50
    np.testing.assert_array_equal(same[0], bent[0])
    np.testing.assert_allclose(warp(x, Given(np.zeros((100, reader.FREQUENCIES**2)))), x, atol=5e-3)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and enough steps for so few images."""
    monkeypatch.setenv('MINIGAN_DATA', str(tmp_path))
    monkeypatch.setattr(reader, 'EPOCHS', 30)
    return tmp_path


def test_it_reads_digits_that_it_has_not_seen_and_is_trained_once(cache, monkeypatch):
    trained = reader.load(DIGITS, quiet=True)
    x = DIGITS.test / np.float32(127.5) - 1
    features, p = trained(x)
    assert features.shape == (len(x), reader.HIDDEN) and (p.argmax(axis=1) == DIGITS.labels[2]).mean() > 0.97
    monkeypatch.setattr(reader, 'train', None)
    np.testing.assert_array_equal(reader.load(DIGITS, quiet=True).net.theta, trained.net.theta)
    monkeypatch.setattr(classifier, 'train', lambda net, dataset, *, quiet: None)
    classifier.load(DIGITS, quiet=True)
    assert {path.name.partition('-')[0] for path in cache.glob('*.npz')} == {'reader', 'classifier'}


@pytest.fixture
def calls(monkeypatch):
    """The name of each reader's data, when it is trained."""
    names = []
    monkeypatch.setattr(reader, 'train', lambda net, dataset, *, quiet: names.append(dataset.name))
    return names


def test_readers_of_a_different_version_lie_next_to_each_other(cache, calls, monkeypatch):
    reader.load(DIGITS, quiet=True)
    first, = cache.iterdir()
    assert first.name.startswith(f'reader-{reader.VERSION}-')
    assert reader.load(DIGITS, quiet=True).name == f'reader-{reader.VERSION}'
    content = first.read_bytes()
    monkeypatch.setattr(reader, 'VERSION', reader.VERSION + 1)
    reader.load(DIGITS, quiet=True)
    assert calls == ['digits'] * 2 and first.read_bytes() == content and len([*cache.iterdir()]) == 2


@pytest.mark.parametrize('damage', [lambda content, other: content[:1000], lambda content, other: other])
def test_a_damaged_one_and_one_of_a_different_net_are_trained_anew(cache, calls, damage, monkeypatch):
    monkeypatch.setattr(classifier, 'train', lambda net, dataset, *, quiet: None)
    classifier.load(DIGITS, quiet=True)
    other, = (path.read_bytes() for path in cache.iterdir())
    reader.load(DIGITS, quiet=True)
    path, = cache.glob('reader-*')
    path.write_bytes(damage(path.read_bytes(), other))
    reader.load(DIGITS, quiet=True)
    reader.load(DIGITS, quiet=True)
    assert calls == ['digits'] * 2


def of_shape(*shape):
    """A Dataset of a few noisy images, each with one of three classes."""
    images = np.random.default_rng(0).integers(0, 256, (12, np.prod(shape)), np.uint8)
    return Dataset('noise', shape, images, images, images, labels=3 * (np.arange(12) % 3,))


@pytest.mark.parametrize('shape', [(4, 4), (5, 6), (8, 8), (9, 9), (11, 7), (28, 28)])
def test_images_of_any_size_are_read_to_the_last_pixel(shape):
    net, x = reader.untrained(of_shape(*shape)), image(*shape)
    each = x + 0.1 * np.eye(x.size, dtype=np.float32)
    assert net(x).shape == (1, 3) and (net(each) != net(x)).any(axis=1).all()
    halves = [layer.settings['shape'][:2] for layer in net.layers if 'shape' in getattr(layer, 'settings', {})]
    assert halves == [shape, (shape[0] // 2, shape[1] // 2)]
    before = net.theta.copy()
    reader.train(net, of_shape(*shape), quiet=True)
    assert not np.array_equal(net.theta, before) and np.isfinite(net.theta).all()


@pytest.mark.parametrize('dataset, message', [
    (of_shape(3, 9), r'noise: expected grey images of at least 4x4 pixels to read, got the shape \(3, 9\)'),
    (of_shape(8, 8, 3), r'noise: expected grey images of at least 4x4 pixels to read, got the shape \(8, 8, 3\)'),
    (replace(of_shape(8, 8), labels=None), 'noise: expected labels to train a classifier with, got none: the data')])
def test_what_it_cannot_read_is_refused_in_a_line(dataset, message):
    with pytest.raises(ValueError, match=message) as error:
        reader.load(dataset, quiet=True)
    assert '\n' not in str(error.value)


def test_in_each_step_of_its_training_every_image_is_bent_anew(monkeypatch):
    steps, read = [], []

    class Recorded(Warp):
        def __call__(self, x, rng):
            steps.append(rng.step)
            return super().__call__(x, rng)
    net, forward = reader.untrained(DIGITS), Net.forward
    monkeypatch.setattr(reader, 'Warp', Recorded)
    monkeypatch.setattr(reader, 'EPOCHS', 2)
    monkeypatch.setattr(Net, 'forward', lambda net, x, **keywords: read.append(x) or forward(net, x, **keywords))
    reader.train(net, DIGITS, quiet=True)
    per_epoch = len(DIGITS.train) // classifier.BATCH
    assert steps == [*range(2 * per_epoch)]
    rows = classifier.Order(len(DIGITS.train), classifier.BATCH, Streams(0)).rows(1)
    x = DIGITS.train[rows] * np.float32(1 / 127.5) - 1
    np.testing.assert_allclose(read[1], Warp(DIGITS.shape)(x, Streams(0).at('sample', 1)), atol=1e-6)
