"""The measure of modes: by hand, for a perfect sampler, and with a reader that never errs."""

from dataclasses import replace

import numpy as np
import pytest

from minigan import data
from minigan.data import stacked
from minigan.evaluation import modes, reader
from minigan.evaluation.modes import ModeJudge, measures

DIGITS = data.load('digits')


def measured(found, k):
    return measures(found, np.ones(len(found), bool), k)


def test_modes_by_hand():
    assert measured(np.array([2] * 5), 8) == {'modes': 1, 'modes_kl': pytest.approx(np.log(8)), 'clear': 1,
                                              'clear_modes': 1}
    assert measured(np.arange(8), 8) == {'modes': 8, 'modes_kl': pytest.approx(0), 'clear': 1, 'clear_modes': 0}
    got = measured(np.array([0] * 4 + [3] * 5 + [7]), 8)
    kl = sum(p * np.log(8 * p) for p in (0.4, 0.5, 0.1))
    assert got == {'modes': 3, 'modes_kl': pytest.approx(kl), 'clear': 1, 'clear_modes': 1}


def test_a_sample_that_is_not_clear_counts_in_the_published_measure_alone():
    found = np.array([0] * 6 + [3] * 5)
    unclear = np.isin(np.arange(11), (0, 10))
    assert measures(found, ~unclear, 8) == {**measured(found, 8), 'clear': 9 / 11, 'clear_modes': 1}


def test_a_uniform_sampler_has_the_kl_of_its_finite_number():
    """999 / 52,000 = 0.0192, with a standard deviation of 0.0009."""
    got = measured(np.random.default_rng(0).integers(0, 1000, 26_000), 1000)
    assert got['modes'] == got['clear_modes'] == 1000 and got['modes_kl'] == pytest.approx(999 / 52_000, abs=0.003)


class Exact:
    """In place of a classifier: reads images of three pixels, whose middle one holds the class. A 4 is unclear."""

    classes = 10

    def __call__(self, x):
        labels = np.rint((x[:, 1] + 1) * 127.5).astype(int)
        return None, np.where(labels == 4, 0.94, 0.95)[:, None] * np.eye(10)[labels]


def marked(labels):
    """Images of three pixels, whose middle one holds the label and the last is noise."""
    return np.stack([0 * labels, labels, np.arange(len(labels)) % 256], axis=1).astype(np.uint8)


@pytest.fixture
def judge(monkeypatch):
    monkeypatch.setattr(reader, 'load', lambda digits, *, quiet: Exact())
    monkeypatch.setattr(stacked, 'TRIPLES', {'train': 10, 'validation': 10, 'test': 5000})
    splits = dict(zip(('train', 'validation', 'test'), map(marked, DIGITS.labels)))
    return ModeJudge(stacked.stack(replace(DIGITS, shape=(1, 3), **splits)))


def test_it_reads_each_colour_of_each_sample(judge, monkeypatch):
    labels = np.random.default_rng(1).integers(0, 10, (300, 3))
    triples = np.stack([marked(labels[:, c]) for c in range(3)], axis=2).reshape(300, 9) / np.float32(255)
    read = []
    monkeypatch.setattr(modes, 'measures', lambda *arguments: read.append(arguments))
    for at_once in (7, 1000):
        monkeypatch.setattr(modes, 'AT_ONCE', at_once)
        judge(triples)
        found, clear, k = read.pop()
        np.testing.assert_array_equal(found, 100 * labels[:, 0] + 10 * labels[:, 1] + labels[:, 2])
        np.testing.assert_array_equal(clear, (labels != 4).all(axis=1))
        assert k == 1000


def test_a_reader_that_never_errs_finds_ten_modes_in_ten_and_all_in_real_images(judge):
    assert judge.accuracy == 1 and judge.left_out(100) == {}
    got = judge.comparisons(5000)
    assert got['ten modes'] == {'modes': 10, 'modes_kl': pytest.approx(np.log(100)), 'clear': 0.7, 'clear_modes': 7}
    assert got['real images']['modes'] > 950 and got['real images']['modes_kl'] < 0.3
    assert got['DCGAN'] == {'modes': 99, 'modes_kl': 3.4}


def test_the_ten_modes_vary_within_each_class_and_have_every_digit(judge):
    triples = judge._ten_modes(2000)
    labels = stacked.digits_of(triples)[:, 1].reshape(-1, 3)
    assert all(set(labels[:, c]) == set(range(10)) for c in range(3))
    of_first = stacked.digits_of(triples[::10])[::3]
    tests = judge.digits.test[judge.digits.labels[2] == of_first[0, 1]]
    assert {*map(bytes, of_first)} == {*map(bytes, tests)}


def test_misread_digits_invent_modes_and_clear_samples_do_not(tmp_path, monkeypatch):
    monkeypatch.setenv('MINIGAN_DATA', str(tmp_path))
    monkeypatch.setattr(reader, 'EPOCHS', 30)  # enough steps for so few images
    monkeypatch.setattr(stacked, 'TRIPLES', {'train': 10, 'validation': 10, 'test': 5000})
    judge = ModeJudge(stacked.stack(DIGITS), quiet=True)
    assert 0.95 < judge.accuracy < 1
    one = judge(np.repeat(judge.dataset.test[:1], 100, axis=0) / np.float32(255))
    assert one['modes'] == 1 and one['modes_kl'] == pytest.approx(np.log(1000))
    real, ten, _ = judge.comparisons(5000).values()
    assert ten['modes'] > 15 > ten['clear_modes'] > 5
    assert real['modes'] > 900 and real['clear_modes'] > 50 and real['modes_kl'] < 0.4 < 4 < ten['modes_kl']
