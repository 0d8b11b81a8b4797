"""Stacked digits: which triples there are, where they come from, and that a run takes them."""

import json
from dataclasses import replace

import numpy as np
import pytest

import minigan
from minigan import data
from minigan.cli import main
from minigan.data import DataError, mnist, stacked
from minigan.evaluation import modes, reader
from minigan.storage import archive
from minigan.training.config import Config
from minigan.training.run import resume, train

DIGITS = data.load('digits')


@pytest.fixture
def few(monkeypatch):
    """Triples enough for a test."""
    monkeypatch.setattr(stacked, 'TRIPLES', {'train': 120, 'validation': 20, 'test': 40})


@pytest.fixture
def in_place_of_mnist(few, monkeypatch, tmp_path):
    """`--data stacked-mnist` stacks the digits of 8 x 8 pixels; the cache folder is empty."""
    monkeypatch.setattr(mnist, 'load', lambda: replace(DIGITS, name='mnist'))
    monkeypatch.setenv('MINIGAN_DATA', str(tmp_path / 'cache'))


def test_each_colour_of_a_triple_is_an_image():
    images, rows = DIGITS.train, np.array([[0, 1, 2], [5, 5, 7]])
    triples = stacked.gather(images, rows)
    picture = triples.reshape(2, 8, 8, 3)
    for i in range(2):
        for colour in range(3):
            np.testing.assert_array_equal(picture[i, :, :, colour], images[rows[i, colour]].reshape(8, 8))
    np.testing.assert_array_equal(stacked.digits_of(triples), images[rows.ravel()])


def numbered(n):
    """n images of two pixels that hold their number."""
    return np.stack([np.arange(n) // 256, np.arange(n) % 256], axis=1).astype(np.uint8)


def rows_of(triples):
    """Which numbered images triples consist of: (m, 3)."""
    return (stacked.digits_of(triples) @ (256, 1)).reshape(-1, 3)


def test_each_split_has_triples_of_its_own_images_alone():
    """The splits of the numbered images differ in their largest number, and all images are used."""
    got = stacked.stack(replace(DIGITS, shape=(1, 2), train=numbered(1000), validation=numbered(10), test=numbered(50)))
    assert got.shape == (1, 2, 3) and got.name == 'stacked-digits' and got.labels is None
    for split, triples, images in (('train', 128_000, 1000), ('validation', 2_000, 10), ('test', 26_000, 50)):
        rows = rows_of(getattr(got, split))
        assert rows.shape == (triples, 3)
        for colour in range(3):
            assert set(rows[:, colour]) == set(range(images)), (split, colour)


def test_the_three_digits_are_drawn_independently_and_evenly():
    """Chi-squared of 1,000 equally frequent triples: its mean is 999 and its standard deviation 45."""
    got = stacked.stack(replace(DIGITS, shape=(1, 2), train=numbered(10), validation=numbered(10), test=numbered(10)))
    for split in ('train', 'test'):
        rows = rows_of(getattr(got, split))
        counts, expected = np.bincount(rows @ (100, 10, 1), minlength=1000), len(rows) / 1000
        assert 999 - 5 * 45 < ((counts - expected)**2 / expected).sum() < 999 + 5 * 45


def test_the_triples_are_always_the_same_and_those_of_different_splits_differ(few):
    one, two = stacked.stack(DIGITS), stacked.stack(DIGITS)
    assert data.digest(one) == data.digest(two) != data.digest(replace(one, train=one.train[::-1]))
    same = stacked.stack(replace(DIGITS, validation=DIGITS.train, test=DIGITS.train))
    assert not np.array_equal(same.train[:20], same.validation) and not np.array_equal(same.train[:40], same.test)


def test_stacked_mnist_is_made_of_mnist(in_place_of_mnist):
    got = data.load('stacked-mnist')
    assert got.name == 'stacked-mnist' and got.digits.name == 'mnist' and got.shape == (8, 8, 3)
    assert data.portable('stacked-mnist') == 'stacked-mnist'
    with pytest.raises(DataError, match="data: expected 'digits', 'mnist', 'stacked-mnist', a folder"):
        data.load('stacked')


def config(**choices):
    return Config(**{'data': 'stacked-mnist', 'batch': 20, 'epochs': 3, 'schedule': 'constant', **choices})


def test_a_run_trains_samples_resumes_and_is_measured_in_modes(in_place_of_mnist, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(reader, 'EPOCHS', 1)
    run = train(config(out=str(tmp_path / 'run')), quiet=True)
    again = resume(train(config(epochs=2, out=str(tmp_path / 'again')), quiet=True), epochs=3, quiet=True)
    theta, resumed = (archive.load(folder)[0]['G.theta'] for folder in (run, again))
    np.testing.assert_array_equal(resumed, theta)
    assert minigan.load(run).sample(5).shape == (5, 8, 8, 3)
    assert main(['sample', str(run), '--out', str(tmp_path / 'samples.png')]) == main(['inspect', str(run)]) == 0
    capsys.readouterr()
    assert main(['evaluate', str(run)]) == 0
    text = capsys.readouterr().out
    for title in modes.TITLES.values():
        assert f'\n{title}  ' in text
    assert '40 samples against the 40 test images of stacked-mnist' in text and '3.400' in text
    assert main(['evaluate', str(run), '--json', '--n', '30']) == 0
    result = json.loads(capsys.readouterr().out)
    assert result['samples'] == 30 and result['classifier'] == f'reader-{reader.VERSION}'


def test_a_run_refuses_triples_of_different_digits(in_place_of_mnist, monkeypatch, tmp_path):
    run = train(config(epochs=1, out=str(tmp_path / 'run')), quiet=True)
    monkeypatch.setattr(mnist, 'load', lambda: replace(DIGITS, train=255 - DIGITS.train))
    with pytest.raises(DataError, match='stacked-mnist: not the images that this run was trained with'):
        resume(run, epochs=2, quiet=True)
