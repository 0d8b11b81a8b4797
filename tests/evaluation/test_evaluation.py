"""minigan evaluate: real images score as they should, samples worse, and what cannot be measured says so."""

import json
from dataclasses import replace

import numpy as np
import pytest

import minigan
from minigan import data
from minigan.cli import main
from minigan.evaluation import classifier, metrics
from minigan.evaluation.judge import PUBLISHED, TITLES, Judge, evaluate, table
from minigan.training.config import Config
from minigan.training.run import train

DIGITS = data.load('digits')


@pytest.fixture(scope='module', autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MINIGAN_DATA', str(tmp_path_factory.mktemp('cache')))
        yield


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return train(Config(epochs=2, out=str(tmp_path_factory.mktemp('runs') / 'run')), quiet=True)


@pytest.fixture(scope='module')
def result(run):
    return evaluate(run, quiet=True)


def test_real_images_are_near_themselves_and_samples_of_two_epochs_are_not(result):
    ours, real = result['columns']['samples'], result['columns']['real images']
    for measure in ('parzen', 'score', 'precision', 'recall', 'density', 'coverage'):
        assert ours[measure] < real[measure], measure
    for measure in ('frechet', 'kl', 'memorisation'):
        assert ours[measure] > real[measure], measure
    assert real['memorisation'] == 0 and real['coverage'] > 0.8 and real['score'] > 8.5
    assert sum(real['histogram']) == pytest.approx(1) and len(real['histogram']) == 10


def test_under_parzen_cluster_centres_are_better_than_as_many_real_images(result):
    centres = len(DIGITS.train) // 5
    real = Judge(DIGITS, None).parzen(DIGITS.train[:centres] / np.float32(255))
    assert result['columns']['k-means']['parzen'] > real['parzen'] + 5


def test_the_samples_are_the_generators(run, result):
    judge = Judge(DIGITS, classifier.load(DIGITS))
    samples = minigan.load(run).sample(len(DIGITS.train)).reshape(len(DIGITS.train), -1)
    assert judge(samples) == result['columns']['samples']
    assert result['samples'] == len(DIGITS.train) and result['step'] == 2 * (len(DIGITS.train) // 50)


def test_each_measure_is_of_the_right_images():
    """Classes and distances are compared with the training images, the rest with test; sigma is from validation."""
    judge, ours = Judge(DIGITS, classifier.load(DIGITS)), 0.9 * DIGITS.test[:200] / np.float32(255)
    train, validation, test = (images / 255 for images in (DIGITS.train, DIGITS.validation, DIGITS.test))
    features, p = judge.classifier(2 * ours - 1)
    real, _ = judge.classifier((2 * test - 1).astype(np.float32))
    got = judge(ours)
    assert (got['parzen'], got['parzen_standard_error'], got['parzen_sigma']) == pytest.approx(
        metrics.parzen(ours, validation, test), rel=1e-5)
    assert got['frechet'] == pytest.approx(metrics.frechet(features, real), rel=1e-4)
    shares = np.bincount(DIGITS.labels[0]) / len(train)
    assert got['kl'] == pytest.approx(metrics.class_divergence(p, shares)[0], rel=1e-6)
    assert got['memorisation'] == pytest.approx(
        metrics.median_distance(ours, train) / metrics.median_distance(test, train), rel=1e-5)
    assert metrics.parzen(ours, validation, test) != metrics.parzen(ours, test, validation)
    order = minigan.Streams(0).at('data', 0).permutation(len(train))[:300]
    assert judge.real_images(300)['histogram'] == judge((train[order]).astype(np.float32))['histogram']


def test_the_same_call_gives_the_same_and_another_seed_others(run, result):
    assert evaluate(run, quiet=True) == result
    assert evaluate(run, seed=1, quiet=True)['columns']['samples'] != result['columns']['samples']


def test_the_table_has_every_measure_and_json_holds_the_same(run, result, capsys):
    assert main(['evaluate', str(run)]) == 0
    text = capsys.readouterr().out
    assert text == table(result) + '\n'
    for measure, title in TITLES.items():
        line, = (line for line in text.splitlines() if line.startswith(title))
        assert f"{result['columns']['samples'][measure]:.3f}" in line
        assert f"{result['columns']['real images'][measure]:.3f}" in line
    assert 'share of class 9' in text
    assert main(['evaluate', str(run), '--json']) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(result))


def test_the_published_figure_stands_beside_mnist_alone(result):
    assert result['columns']['published'] == {}
    text = table({**result, 'columns': {**result['columns'], 'published': PUBLISHED['mnist']}})
    assert '225.000' in text and '225.000' not in table(result)


def test_without_labels_what_needs_a_classifier_is_left_out(tmp_path, capsys):
    images = DIGITS.train.reshape(-1, 8, 8)
    np.save(tmp_path / 'images.npy', images)
    run = train(Config(data=str(tmp_path / 'images.npy'), epochs=1, out=str(tmp_path / 'run')), quiet=True)
    assert main(['evaluate', str(run)]) == 0
    text = capsys.readouterr().out
    assert 'Parzen' in text and 'has no labels' in text and 'Frechet' not in text and 'class 0' not in text


def test_other_images_than_the_runs_and_too_few_samples_are_refused(run, tmp_path, capsys):
    np.save(tmp_path / 'images.npy', 255 - DIGITS.train.reshape(-1, 8, 8))
    other = str(tmp_path / 'images.npy')
    for arguments, message in ((['--data', other], 'not the images that this run was trained with'),
                               (['--n', '9'], 'n: expected at least 10 samples, got 9')):
        assert main(['evaluate', str(run), *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count('\n') == 1


def test_copies_are_told_from_new_images():
    judge = Judge(replace(DIGITS, labels=None), None)
    copies, noise = judge(DIGITS.train[:200] / np.float32(255)), judge(np.random.default_rng(0).random((200, 64)))
    assert copies['memorisation'] < 1e-3 and noise['memorisation'] > 1.5
    assert judge(DIGITS.test / np.float32(255))['memorisation'] == pytest.approx(1)
