"""The judge learns its classes, is kept, and is trained anew when what was kept is not to be trusted."""

from dataclasses import replace

import numpy as np
import pytest

from minigan import data
from minigan.evaluation import classifier

DIGITS = data.load('digits')


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cache')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MINIGAN_DATA', str(folder))
        yield folder


@pytest.fixture(scope='module')
def judge(cache):
    return classifier.load(DIGITS, quiet=True)


def test_it_is_right_on_images_that_it_has_not_seen(judge):
    x = DIGITS.test / np.float32(127.5) - 1
    features, p = judge(x)
    assert features.shape == (len(x), 256) and p.shape == (len(x), 10) and judge.classes == 10
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert judge.right == (p.argmax(axis=1) == DIGITS.labels[2]).mean() > 0.95
    np.testing.assert_allclose(p, classifier.ops.softmax(judge.net(x)), rtol=1e-5)


def test_rows_do_not_depend_on_each_other(judge, monkeypatch):
    x = DIGITS.test / np.float32(127.5) - 1
    features, p = judge(x)
    monkeypatch.setattr(classifier, 'ROWS', 7)
    np.testing.assert_allclose(judge(x)[0], features, rtol=1e-4, atol=1e-5)


def test_it_is_trained_once(judge, monkeypatch):
    monkeypatch.setattr(classifier, 'train', None)
    np.testing.assert_array_equal(classifier.load(DIGITS, quiet=True).net.theta, judge.net.theta)


@pytest.mark.parametrize('damage', [lambda content: content[:1000], lambda content: b'', lambda content: b'x' * 9])
def test_a_damaged_one_is_trained_anew(judge, cache, damage, monkeypatch):
    path, = cache.glob('classifier-*.npz')
    whole, calls = path.read_bytes(), []
    path.write_bytes(damage(whole))
    monkeypatch.setattr(classifier, 'train', lambda net, dataset, *, quiet: calls.append(dataset.name))
    classifier.load(DIGITS, quiet=True)
    assert calls == ['digits']
    path.write_bytes(whole)


def test_other_images_or_labels_have_a_classifier_of_their_own(judge, monkeypatch):
    calls = []
    monkeypatch.setattr(classifier, 'train', lambda net, dataset, *, quiet: calls.append(dataset.name))
    labels = tuple(np.where(split == 3, 4, split) for split in DIGITS.labels)
    for other in (replace(DIGITS, labels=labels), replace(DIGITS, train=255 - DIGITS.train)):
        classifier.load(other, quiet=True)
    assert calls == ['digits'] * 2


def test_images_without_labels_are_refused():
    with pytest.raises(ValueError, match='digits: expected labels to train a classifier with, got images alone'):
        classifier.load(replace(DIGITS, labels=None))
