"""minigan evaluate: real images score as they should, samples score worse, and left-out measures say why."""

import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import minigan
from minigan import data, ops
from minigan.cli import main
from minigan.evaluation import classifier, judge, metrics
from minigan.evaluation.judge import MNIST_TEST, PUBLISHED, D_errors, Judge, evaluate
from minigan.evaluation.report import OF_CLASSES, TITLES, table
from minigan.layers import Sequential
from minigan.storage import archive, checkpoint
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


def test_images_become_floats_in_little_more_memory_than_the_floats_take():
    images = np.arange(256, dtype=np.uint8).repeat(100).reshape(-1, 2)
    tracemalloc.start()
    floats = judge._unit(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * floats.nbytes
    np.testing.assert_allclose(floats, images / np.float32(255), atol=1e-7)


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


def test_each_measure_is_of_the_images_that_its_definition_names():
    """Classes and distances are compared with the training images, the rest with test; sigma is from validation."""
    judge, ours = Judge(DIGITS, classifier.load(DIGITS)), 0.9 * DIGITS.test[:200] / np.float32(255)
    train, validation, test = (images / 255 for images in (DIGITS.train, DIGITS.validation, DIGITS.test))
    features, p = judge.classifier(2 * ours - 1)
    real, _ = judge.classifier((2 * test - 1).astype(np.float32))
    got = judge(ours)
    assert (got['parzen'], got['parzen_standard_error'], got['parzen_sigma']) == pytest.approx(
        metrics.parzen(ours, validation, test), rel=1e-5)
    assert got['frechet'] == pytest.approx(metrics.frechet(features, real), rel=1e-4)
    fractions = np.bincount(DIGITS.labels[0]) / len(train)
    assert got['kl'] == pytest.approx(metrics.class_divergence(p, fractions)[0], rel=1e-6)
    assert got['memorisation'] == pytest.approx(
        metrics.median_distance(ours, train) / metrics.median_distance(test, train), rel=1e-5)
    assert metrics.parzen(ours, validation, test) != metrics.parzen(ours, test, validation)
    order = minigan.Streams(0).at('data', 0).permutation(len(train))[:300]
    assert judge.real_images(300)['histogram'] == judge((train[order]).astype(np.float32))['histogram']


def test_the_same_call_gives_the_same_numbers_and_a_different_seed_different_ones(run, result):
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
    assert 'fraction of class 9' in text and 'Left out' not in text
    assert f"accuracy of {result['classifier_accuracy']:.2%} on the test images" in text
    assert f'The classifier, classifier-{classifier.VERSION}, ' in text
    assert main(['evaluate', str(run), '--json']) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(result))


def test_the_published_figure_stands_next_to_mnists_test_images_alone(run, tmp_path, monkeypatch, result):
    """What the user calls a folder does not matter: only the images do."""
    assert result['columns']['published'] == {} and '225.000' not in table(result)
    folder = tmp_path / 'mnist'
    folder.mkdir()
    np.save(folder / 'mnist.npy', DIGITS.train.reshape(-1, 8, 8))
    called = train(Config(data=str(folder / 'mnist.npy'), epochs=1, out=str(tmp_path / 'run')), quiet=True)
    assert evaluate(called, n=10, quiet=True)['columns']['published'] == {}
    monkeypatch.setitem(PUBLISHED, hashlib.sha256(DIGITS.test).hexdigest(), PUBLISHED[MNIST_TEST])
    again = evaluate(run, n=10, quiet=True)
    assert again['columns']['published'] == {'parzen': 225.0, 'parzen_standard_error': 2.0}
    assert '225.000' in table(again)


def test_without_labels_what_needs_a_classifier_is_left_out(tmp_path, capsys):
    np.save(tmp_path / 'images.npy', DIGITS.train.reshape(-1, 8, 8))
    run = train(Config(data=str(tmp_path / 'images.npy'), epochs=1, out=str(tmp_path / 'run')), quiet=True)
    assert main(['evaluate', str(run), '--n', '50']) == 0
    text = capsys.readouterr().out
    said, = (line for line in text.splitlines() if line.startswith('Left out, because '))
    for measure in ('frechet', 'score', 'kl', 'precision', 'recall', 'density', 'coverage'):
        assert TITLES[measure] in said and f'\n{TITLES[measure]}' not in text
    assert 'because there is no classifier (the data has no labels): ' in said and 'class 0' not in text
    assert '\nParzen' in text and f"\n{TITLES['memorisation']}" in text
    assert main(['evaluate', str(run), '--n', '50', '--json']) == 0
    assert json.loads(capsys.readouterr().out)['classifier'] is None


def test_labels_that_are_there_and_cannot_be_used_are_not_said_to_be_missing():
    judge = Judge(replace(DIGITS, labels=None, unlabelled='only some of the images have labels'), None)
    assert judge.left_out(10)['score'] == 'there is no classifier (only some of the images have labels)'


BALLS = {'precision', 'recall', 'density', 'coverage'}


@pytest.mark.parametrize('test, samples, missing', [(1, 50, {'frechet', *BALLS}), (5, 50, BALLS), (6, 50, set()),
                                                    (50, 5, BALLS), (50, 1, {'frechet', *BALLS})])
def test_what_so_few_images_cannot_measure_is_left_out_and_the_rest_is_measured(test, samples, missing, recwarn):
    few = replace(DIGITS, test=DIGITS.test[:test], labels=(*DIGITS.labels[:2], DIGITS.labels[2][:test]))
    judge = Judge(few, classifier.load(DIGITS))
    assert set(judge.left_out(samples)) == missing
    got = judge(DIGITS.validation[:samples] / np.float32(255))
    assert set(got) == {*TITLES, 'histogram'} - missing
    assert all(np.isfinite(got[measure]) for measure in set(TITLES) - missing) and not list(recwarn)
    for why in judge.left_out(samples).values():
        assert f'test images are needed (there are {samples} and {test})' in why


@pytest.mark.parametrize('distinct', [1, 20])
def test_where_test_images_are_training_images_memorisation_is_left_out(distinct):
    rows = np.random.default_rng(0).integers(0, distinct, 400)
    repeated = DIGITS.train[:distinct][rows]
    judge = Judge(replace(DIGITS, train=repeated[:300], test=repeated[300:], labels=None), None)
    assert judge.left_out(10)['memorisation'] == 'most test images are also training images'
    assert 'memorisation' not in judge(DIGITS.test[:50] / np.float32(255))


def test_one_grey_level_of_one_pixel_is_more_than_rounding():
    """The smallest distance between two different images is not taken for a rounding error."""
    near = np.maximum(DIGITS.train[:100], 1)
    near[:, 0] -= 1
    judge = Judge(replace(DIGITS, train=near + np.eye(1, 64, dtype=np.uint8), test=near, labels=None), None)
    assert judge(near / np.float32(255))['memorisation'] == pytest.approx(1, rel=0.1)


def test_few_labelled_images_are_evaluated_without_warnings_from_libraries(tmp_path):
    """Twelve images: ten to train on, one to validate and one to test with."""
    for name, array in (('images-idx3', DIGITS.train[:12].reshape(-1, 8, 8)), ('labels-idx1', np.arange(12) % 3)):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, '>u4').tobytes()
        (tmp_path / f'train-{name}-ubyte').write_bytes(header + array.astype(np.uint8).tobytes())
    run = train(Config(data=str(tmp_path), epochs=1, out=str(tmp_path / 'run')), quiet=True)
    done = subprocess.run([sys.executable, '-m', 'minigan', 'evaluate', str(run)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.replace('\r', '\n').splitlines() if line and 'step/s' not in line] == []
    assert done.stdout.count('Left out, because ') == 2 and done.stdout.count('(there are 10 and 1)') == 2


def test_different_images_and_too_few_samples_are_refused(run, tmp_path, capsys):
    np.save(tmp_path / 'images.npy', 255 - DIGITS.train.reshape(-1, 8, 8))
    other = str(tmp_path / 'images.npy')
    for arguments, message in ((['--data', other], 'not the images that this run was trained with'),
                               (['--n', '9'], 'n: expected at least 10 samples, got 9')):
        assert main(['evaluate', str(run), *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count('\n') == 1


def test_images_that_have_moved_are_asked_for_by_the_name_of_the_option(tmp_path, capsys):
    np.save(tmp_path / 'images.npy', DIGITS.train.reshape(-1, 8, 8))
    run = train(Config(data=str(tmp_path / 'images.npy'), epochs=1, out=str(tmp_path / 'run')), quiet=True)
    (tmp_path / 'images.npy').rename(tmp_path / 'moved.npy')
    assert main(['evaluate', str(run), '--n', '10']) == 2
    assert '--data' in capsys.readouterr().err
    assert main(['evaluate', str(run), '--n', '10', '--data', str(tmp_path / 'moved.npy')]) == 0


@pytest.mark.parametrize('part, field, value', [
    ('config', 'data', None), ('config', 'data', 7), ('config', 'data', ['digits']),
    ('images', 'sha256', None), ('images', 'sha256', 7)])
def test_a_checkpoint_that_names_no_images_is_refused_in_a_line(part, field, value, run, tmp_path, capsys):
    arrays, about = archive.load(run)
    about = {name: item for name, item in about.items() if name != 'format'}
    if value is None:
        del about[part][field]
    else:
        about[part][field] = value
    archive.save(tmp_path / 'odd.npz', arrays, about)
    assert main(['evaluate', str(tmp_path / 'odd.npz')]) == 2
    error = capsys.readouterr().err
    assert 'expected a checkpoint that names its images' in error and error.count('\n') == 1


def test_it_goes_on_with_stderr_closed(run, tmp_path):
    program = f"import sys; from minigan.cli import main; sys.exit(main(['evaluate', {str(run)!r}, '--n', '10']))"
    done = subprocess.run(['sh', '-c', 'exec "$0" -c "$1" 2>&-', sys.executable, program], stdout=subprocess.PIPE,
                          text=True, env={**os.environ, 'MINIGAN_DATA': str(tmp_path)})
    assert done.returncode == 0 and 'Parzen' in done.stdout


def test_copies_are_told_from_new_images():
    judge = Judge(replace(DIGITS, labels=None), None)
    copies, noise = judge(DIGITS.train[:200] / np.float32(255)), judge(np.random.default_rng(0).random((200, 64)))
    assert copies['memorisation'] < 1e-3 and noise['memorisation'] > 1.5
    assert judge(DIGITS.test / np.float32(255))['memorisation'] == pytest.approx(1)


def test_a_D_that_is_a_classifier_too_is_measured_on_the_test_images(tmp_path, run, result):
    semisupervised = train(Config(network='semisupervised', epochs=2, out=str(tmp_path / 'run')), quiet=True)
    D = checkpoint.net(*archive.load(semisupervised), 'D')
    x = ops.gather_images(DIGITS.test, np.arange(len(DIGITS.test)), np.float32)
    classes = Sequential(*D.layers[:-1]).forward(x, training=False, rng=None).argmax(axis=1)
    errors = D_errors(semisupervised, DIGITS)
    assert errors == (classes != DIGITS.labels[2]).sum() and errors < len(x) / 2
    assert result['D_errors'] is D_errors(run, DIGITS) is None
    assert 'D, which is' not in table(result)
    assert f'misclassifies {errors} of the test images' in table({**result, 'D_errors': errors})


def test_conditional_samples_are_drawn_for_the_classes_of_the_real_images_next_to_them(tmp_path, result):
    run = train(Config(conditional=True, epochs=2, out=str(tmp_path / 'run')), quiet=True)
    columns = evaluate(run, quiet=True)['columns']
    judge, n = Judge(DIGITS, classifier.load(DIGITS, quiet=True), conditional=True), len(DIGITS.train)
    samples, wanted = minigan.load(run).sample(n, label=judge.labels(n)).reshape(n, -1), judge.labels(n)
    (features, p), (real, q) = (judge.classifier(2 * x - 1) for x in (samples, judge._train))
    expected = metrics.class_accuracy_and_recall(features, p, wanted, judge.features, DIGITS.labels[2])
    assert {measure: columns['samples'][measure] for measure in OF_CLASSES} == expected
    assert columns['real images']['class_accuracy'] == (q.argmax(axis=1) == DIGITS.labels[0]).mean() > 0.97
    assert columns['real images']['least_class_recall'] > 0.9
    assert not OF_CLASSES.keys() & result['columns']['samples'].keys()


def test_the_table_says_how_well_a_conditional_run_knows_its_classes(result):
    text = table(result)
    for measure, title in OF_CLASSES.items():
        assert title not in text
        result = {**result, 'columns': {'samples': {**result['columns']['samples'], measure: 0.125}}}
        assert f'{title:54}' + '        0.125' in table(result)
