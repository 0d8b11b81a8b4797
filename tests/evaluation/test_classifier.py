"""The classifier learns its classes, is kept, and is trained anew when what was kept cannot be trusted."""

import io
import sys
from dataclasses import replace

import numpy as np
import pytest

from minigan import data, ops
from minigan.evaluation import classifier
from minigan.evaluation.judge import Judge

DIGITS = data.load('digits')


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cache')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MINIGAN_DATA', str(folder))
        yield folder


@pytest.fixture(scope='module')
def trained(cache):
    return classifier.load(DIGITS, quiet=True)


def test_it_is_correct_on_images_that_it_has_not_seen(trained):
    x = DIGITS.test / np.float32(127.5) - 1
    features, p = trained(x)
    assert features.shape == (len(x), 256) and p.shape == (len(x), 10) and trained.classes == 10
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert Judge(DIGITS, trained).accuracy == (p.argmax(axis=1) == DIGITS.labels[2]).mean() > 0.95
    np.testing.assert_allclose(p, ops.softmax(trained.net(x)), rtol=1e-5)


def test_rows_do_not_depend_on_each_other(trained, monkeypatch):
    x = DIGITS.test / np.float32(127.5) - 1
    features, p = trained(x)
    monkeypatch.setattr(classifier, 'AT_ONCE', 7)
    np.testing.assert_allclose(trained(x)[0], features, rtol=1e-4, atol=1e-5)


def test_it_is_trained_once(trained, monkeypatch):
    monkeypatch.setattr(classifier, 'train', None)
    np.testing.assert_array_equal(classifier.load(DIGITS, quiet=True).net.theta, trained.net.theta)


@pytest.mark.parametrize('damage', [lambda content: content[:1000], lambda content: b'', lambda content: b'x' * 9])
def test_a_damaged_one_is_trained_anew(trained, cache, damage, monkeypatch):
    path, = cache.glob('classifier-*.npz')
    whole, calls = path.read_bytes(), []
    path.write_bytes(damage(whole))
    monkeypatch.setattr(classifier, 'train', lambda net, dataset, *, quiet: calls.append(dataset.name))
    classifier.load(DIGITS, quiet=True)
    assert calls == ['digits']
    path.write_bytes(whole)


def test_different_images_or_labels_have_a_classifier_of_their_own(trained, monkeypatch):
    calls = []
    monkeypatch.setattr(classifier, 'train', lambda net, dataset, *, quiet: calls.append(dataset.name))
    labels = tuple(np.where(split == 3, 4, split) for split in DIGITS.labels)
    for other in (replace(DIGITS, labels=labels), replace(DIGITS, train=255 - DIGITS.train)):
        classifier.load(other, quiet=True)
    assert calls == ['digits'] * 2


def test_images_without_labels_are_refused():
    with pytest.raises(ValueError, match='digits: expected labels to train .* with, got none: only some have'):
        classifier.load(replace(DIGITS, labels=None, unlabelled='only some have'))


def test_its_minibatches_are_those_of_seed_0(monkeypatch):
    """The order in which it reads is that of a run: cached classifiers stay valid."""
    read = []
    monkeypatch.setattr(classifier.ops, 'gather_images', lambda images, rows, dtype: read.append(rows) or images[rows])
    monkeypatch.setattr(classifier, 'EPOCHS', 2)
    net = classifier.untrained(DIGITS)
    monkeypatch.setattr(net, 'forward', lambda x, rng: np.zeros((len(x), 10), np.float32))
    monkeypatch.setattr(net, 'backward', lambda *arguments, **keywords: None)
    monkeypatch.setattr(classifier, 'Adam', lambda net, **keywords: type('', (), {'step': lambda self: None})())
    classifier.train(net, DIGITS, quiet=True)
    n, per_epoch = len(DIGITS.train), len(DIGITS.train) // 128
    assert len(read) == 2 * per_epoch
    for epoch in range(2):
        order = classifier.Streams(0).at('data', epoch).permutation(n)
        np.testing.assert_array_equal(np.concatenate(read[epoch * per_epoch:][:per_epoch]), order[:per_epoch * 128])


def no_folder(path, monkeypatch):
    """A file where the folder should be."""
    path.write_text('')
    monkeypatch.setenv('MINIGAN_DATA', str(path))


def below_a_file(path, monkeypatch):
    path.write_text('')
    monkeypatch.setenv('MINIGAN_DATA', str(path / 'below'))


def no_home(path, monkeypatch):
    """As in a container: a user without a name."""
    for name in ('MINIGAN_DATA', 'XDG_CACHE_HOME', 'HOME', 'LOCALAPPDATA'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('pathlib.Path.home', lambda: (_ for _ in ()).throw(RuntimeError('no home')))


def a_folder_in_its_place(path, monkeypatch):
    monkeypatch.setenv('MINIGAN_DATA', str(path))
    monkeypatch.setattr(classifier, 'digest', lambda arrays: 'x')
    (path / f'classifier-{classifier.VERSION}-x.npz').mkdir(parents=True)


def full_disk(path, monkeypatch):
    def save(*arguments):
        raise OSError(28, 'No space left on device', str(path))
    monkeypatch.setenv('MINIGAN_DATA', str(path))
    monkeypatch.setattr(classifier.archive, 'save', save)


@pytest.mark.parametrize('cannot', [no_folder, below_a_file, no_home, a_folder_in_its_place, full_disk])
def test_where_it_cannot_be_kept_it_is_used_and_one_warning_says_so(cannot, trained, tmp_path, monkeypatch):
    cannot(tmp_path / 'cache', monkeypatch)
    monkeypatch.setattr(classifier, 'train', lambda net, dataset, *, quiet: None)
    with pytest.warns(UserWarning, match='the classifier is not kept for the next evaluation: ') as warned:
        assert classifier.load(DIGITS, quiet=True).classes == 10
    assert len(warned) == 1 and '\n' not in str(warned[0].message)


class Full(io.StringIO):
    """A stream on a full disk, or one that nobody reads any more."""

    def write(self, text):
        raise OSError(28, 'No space left on device')


@pytest.mark.parametrize('stderr', [None, Full()])
def test_it_is_trained_where_stderr_is_closed_or_full(stderr, monkeypatch):
    monkeypatch.setattr(sys, 'stderr', stderr)
    monkeypatch.setattr(classifier, 'EPOCHS', 1)
    trained, expected = classifier.untrained(DIGITS), classifier.untrained(DIGITS)
    classifier.train(trained, DIGITS)
    classifier.train(expected, DIGITS, quiet=True)
    np.testing.assert_array_equal(trained.theta, expected.theta)
    assert not np.array_equal(trained.theta, classifier.untrained(DIGITS).theta)
