"""A run writes the files it promises, the same bytes for the same config, and nothing after a wrong choice."""

import csv
import json
import math

import numpy as np
import pytest
from PIL import Image

import minigan
from minigan import RECIPES, data
from minigan.storage import archive, checkpoint
from minigan.training import Config, build_game, train
from minigan.training.monitor import PixelStatistics


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def small(**choices):
    return Config(**{'epochs': 2, 'batch': 32, 'seed': 5, 'out': 'run', **choices})


def log(folder):
    with open(folder / 'log.csv', newline='') as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_a_run_leaves_its_folder():
    folder = train(small(epochs=3), quiet=True)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*.*')) == [
        'best.npz', 'config.json', 'last.npz', 'log.csv', 'losses.png', 'samples.gif', 'samples/epoch-0001.png',
        'samples/epoch-0002.png', 'samples/epoch-0003.png', 'samples/real.png']
    with Image.open(folder / 'samples.gif') as animation:
        assert animation.n_frames == 3
    about = json.loads((folder / 'config.json').read_text())
    assert about['config'] == {
        'network': 'default', 'data': 'digits', 'epochs': 3, 'batch': 32, 'n_z': 100, 'k': 1,
        'learning_rate_G': 4e-3, 'learning_rate_D': 1e-3, 'beta1': 0.0, 'objective': 'nonsaturating',
        'update': 'alternating', 'schedule': 'linear', 'average': 1.0, 'label_smoothing': 0.0, 'input_noise': 0.0,
        'conditional': False, 'pack': 1, 'labelled': None, 'clip_weights': None, 'gradient_penalty': None,
        'cycle': None, 'cycle_weight': None, 'identity_weight': None,
        'clip_norm': 0.0, 'seed': 5, 'device': 'auto', 'samples_every': 1, 'save_every': 30.0, 'tensorboard': False}
    sha256 = about['images'].pop('sha256')
    assert len(sha256) == 64
    assert about['images'] == {'name': 'digits', 'shape': [8, 8], 'train': 1439, 'validation': 179, 'test': 179,
                               'labelled': False}
    assert about['classes'] == []
    assert set(about['versions']) == {'minigan', 'numpy', 'python', 'platform'}
    assert Image.open(folder / 'samples/epoch-0003.png').size == (668, 668)


def test_the_log_has_a_row_an_epoch_and_agrees_with_itself():
    rows = log(train(small(), quiet=True))
    assert [row['epoch'] for row in rows] == [1, 2] and [row['step'] for row in rows] == [44, 88]
    for row in rows:
        for split in ('train', 'validation'):
            assert row[f'{split}_V'] < 0 < row[f'{split}_L_G']
            assert row[f'{split}_L_D'] == -row[f'{split}_V']
            assert 0 < row[f'{split}_D_x'] < 1 and 0 < row[f'{split}_D_G_z'] < 1
        assert row['gradient_norm_G'] > 0 and row['gradient_norm_D'] > 0 and row['seconds'] > 0
        assert row['train_V'] != row['validation_V'] and row['train_D_G_z'] == row['validation_D_G_z']


def test_the_log_is_what_the_final_players_say():
    """The last row, recomputed from the saved generator and a replayed discriminator."""
    folder = train(small(), quiet=True)
    dataset, recipe = data.load('digits'), RECIPES['default']
    game = build_game(small().resolve(recipe, dataset), recipe, dataset)
    for t in range(88):
        game.step(t)
    arrays, about = archive.load(folder)
    G = checkpoint.net(arrays, about, 'G')
    np.testing.assert_array_equal(G.theta, game.G.theta)
    x = dataset.validation / np.float32(127.5) - 1
    z = game.streams.at('sample', 1).normal((179, 100))
    D_x, D_G_z = (1 / (1 + np.exp(-game.D(batch).astype(float))) for batch in (x, G(z)))
    row = log(folder)[-1]
    np.testing.assert_allclose(
        [row['validation_V'], row['validation_L_G'], row['validation_D_x'], row['validation_D_G_z']],
        [np.log(D_x).mean() + np.log(1 - D_G_z).mean(), -np.log(D_G_z).mean(), D_x.mean(), D_G_z.mean()], rtol=1e-4)


@pytest.mark.parametrize('network', RECIPES)
def test_the_same_config_gives_the_same_bytes(network):
    choices = {'network': network, 'batch': 50, **({'cycle': 'digits'} if network == 'cycle' else {})}
    a, b, c = (train(small(**choices, out=out, seed=seed), quiet=True) for out, seed in
               (('a', 5), ('b', 5), ('c', 6)))
    for name in ('samples/epoch-0002.png', 'losses.png'):
        assert (a / name).read_bytes() == (b / name).read_bytes()
        assert (a / name).read_bytes() != (c / name).read_bytes()
    thetas = [archive.load(folder)[0]['G.theta'].tobytes() for folder in (a, b, c)]
    assert thetas[0] == thetas[1] != thetas[2]
    rows = [[{**row, 'seconds': 0} for row in log(folder)] for folder in (a, b)]
    assert rows[0] == rows[1]


def test_a_run_learns_something():
    rows = log(train(small(epochs=8), quiet=True))
    assert rows[-1]['validation_V'] < -1 and 0.3 < rows[-1]['validation_D_x'] < 0.7


@pytest.mark.parametrize('choices', [{'k': 3}, {'objective': 'minimax'}, {'update': 'simultaneous'}, {'batch': 700}])
def test_every_choice_runs_and_reads_the_training_images_once_an_epoch(choices):
    config = small(**choices)
    rows = log(train(config, quiet=True))
    steps = 1439 // (config.batch or 32) // (config.k or 1)
    assert rows[-1]['step'] == 2 * steps and all(math.isfinite(value) for row in rows for value in row.values())


def test_images_of_another_size_and_colour(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (120, 5, 7, 3), dtype=np.uint8)
    np.save('colours.npy', images)
    folder = train(small(data='colours.npy', batch=16), quiet=True)
    assert minigan.load(folder).sample(3).shape == (3, 5, 7, 3)


def test_the_number_of_epochs_follows_the_amount_of_data():
    dataset, recipe = data.load('digits'), RECIPES['default']
    assert Config().resolve(recipe, dataset).epochs == math.ceil(3000 / (1439 // 50)) == 108
    assert Config(batch=2).resolve(recipe, dataset).epochs == 25
    assert Config(epochs=50).resolve(recipe, dataset).samples_every == 5


def test_pictures_come_when_asked_for():
    folder = train(small(epochs=5, samples_every=2), quiet=True)
    assert sorted(path.name for path in (folder / 'samples').iterdir()) == [
        'epoch-0001.png', 'epoch-0002.png', 'epoch-0004.png', 'epoch-0005.png', 'real.png']


def test_without_out_each_run_gets_a_folder_of_its_own():
    names = [train(small(out=None, epochs=1), quiet=True).as_posix() for _ in range(3)]
    assert names == ['runs/digits-default', 'runs/digits-default-2', 'runs/digits-default-3']


@pytest.mark.parametrize('choices, message', [
    ({'network': 'vgg'}, "network: expected one of article, default, goodfellow2014, cycle, dcgan, "),
    ({'data': 'nowhere'}, "got 'nowhere', which does not exist"),
    ({'epochs': 0}, 'epochs: expected a number >= 1 and <= 1,000,000,000, got 0'),
    ({'epochs': 10**400}, 'epochs: expected'),
    ({'samples_every': 0}, 'samples_every: .* got 0'),
    ({'batch': 0}, 'batch: expected a number >= 1 .* got 0'),
    ({'batch': 1440}, 'batch: expected between 1 and 1439, .* got 1440'),
    ({'batch': 1}, r'batch: expected at least 2 images, which BatchNorm\(256\) in G needs, got 1'),
    ({'k': 0}, 'k: expected'),
    ({'learning_rate_G': 0.0}, r'learning_rate_G: expected a number > 0 and < 1e\+38, got 0.0'),
    ({'learning_rate_D': -1.0}, r'learning_rate_D: expected a number > 0 and < 1e\+38, got -1.0'),
    ({'learning_rate_D': math.inf}, 'learning_rate_D: .* got inf'),
    ({'learning_rate_G': math.nan}, 'learning_rate_G: .* got nan'), ({'n_z': 0}, 'n_z: expected .*, got 0'),
    ({'learning_rate_G': 10**400}, r'learning_rate_G: .* < 1e\+38'), ({'k': 45}, 'k: expected at most 44, .* got 45'),
    ({'beta1': 1.0}, 'beta1: expected'), ({'beta1': math.nan}, 'beta1: expected'),
    ({'seed': -1}, 'seed: expected'), ({'seed': 2**64}, 'seed: expected an integer in'),
    ({'save_every': -1.0}, 'save_every: expected'), ({'save_every': math.nan}, 'save_every: expected'),
    ({'save_every': math.inf}, 'save_every: expected'),
    ({'device': 'tpu'}, 'device: expected'), ({'objective': 'x'}, 'objective: expected'),
    ({'update': 'x'}, 'update: expected'), ({'batch': '32'}, "batch: expected int, got '32'"),
    ({'beta1': True}, 'beta1: expected float, got True'), ({'seed': None}, 'seed: expected int, got None')])
def test_a_wrong_choice_raises_and_writes_nothing(tmp_path, choices, message):
    with pytest.raises(ValueError, match=message):
        train(small(**choices), quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'thesis.txt').write_text('precious')
    (tmp_path / 'file').write_text('precious')
    for out in ('run', 'file'):
        with pytest.raises(ValueError, match=f'out: expected a new or empty folder, got {out}'):
            train(small(out=out), quiet=True)
    assert sorted(path.name for path in tmp_path.rglob('*')) == ['file', 'run', 'thesis.txt']
    (tmp_path / 'empty').mkdir()
    assert train(small(out='empty', epochs=1), quiet=True).name == 'empty'


def test_a_folder_that_a_kill_left_before_the_first_checkpoint_is_as_good_as_empty(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'last.npz.123.unfinished').write_bytes(b'half')
    assert train(small(epochs=1), quiet=True).name == 'run'
    assert not list((tmp_path / 'run').glob('*.unfinished'))


def test_the_best_epoch_is_the_one_nearest_to_the_data():
    choices = {'learning_rate_G': 0.05, 'schedule': 'constant'}
    folder = train(small(epochs=6, **choices), quiet=True)
    rows = log(folder)
    best = min(rows, key=lambda row: row['distance'])
    assert best is not rows[-1]  # or this test shows nothing
    arrays, _ = archive.load(folder / 'best.npz')
    assert arrays['run.t'] == best['step'] and len(arrays['run.log']) == best['epoch']
    shorter = train(small(epochs=int(best['epoch']), out='shorter', **choices), quiet=True)
    assert arrays['G.theta'].tobytes() == archive.load(shorter)[0]['G.theta'].tobytes()


def test_samples_are_drawn_with_the_average_that_the_run_keeps():
    """The average of theta_G over the run, replayed; the log's distance is that of its samples."""
    folder = train(small(), quiet=True)
    dataset, recipe = data.load('digits'), RECIPES['default']
    game = build_game(small().resolve(recipe, dataset), recipe, dataset)
    seen = []
    for t in range(88):
        game.step(t)
        if t % 8 == 7:
            seen.append(game.G.theta.astype(float))
    generator = minigan.load(folder)
    average = np.average(seen, axis=0, weights=range(1, len(seen) + 1))
    np.testing.assert_allclose(generator.G.theta, average, rtol=1e-4, atol=1e-6)
    samples = generator.G(game.draw_z(game.streams.at('sample', 1), 179))
    statistics = PixelStatistics(dataset.train[:179] / np.float32(127.5) - 1)
    assert log(folder)[-1]['distance'] == pytest.approx(statistics.distance(samples), rel=1e-3)


def test_without_an_average_samples_are_drawn_with_theta_G_itself():
    folder = train(small(average=0), quiet=True)
    arrays, _ = archive.load(folder)
    assert not any(name.startswith('average') for name in arrays)
    np.testing.assert_array_equal(minigan.load(folder).G.theta, arrays['G.theta'])


def test_the_choices_that_steady_training_reach_the_game():
    dataset, recipe = data.load('digits'), RECIPES['default']
    choices = {'epochs': 10, 'batch': 32, 'k': 2, 'schedule': 'linear', 'input_noise': 0.5, 'clip_norm': 3,
               'label_smoothing': 0.2, 'learning_rate_G': 0.1, 'learning_rate_D': 0.2}
    game = build_game(Config(**choices).resolve(recipe, dataset), recipe, dataset)
    assert game.smoothing == 0.2 and game.optimizer_G.clip_norm == game.optimizer_D.clip_norm == 3
    steps = 10 * (1439 // 32 // 2)  # of G
    for schedule, first, last, rise in ((game.optimizer_G.hyper['learning_rate'], 0.1, steps, 0.04 * steps),
                                        (game.optimizer_D.hyper['learning_rate'], 0.2, 2 * steps, 0.08 * steps),
                                        (game.D.layers[0].sigma, 0.5, steps, 1)):
        assert [schedule(0), schedule(last / 2), schedule(last), schedule(last + 1)] == pytest.approx(
            [first / rise, first / 2, 0, 0])
        assert max(map(schedule, range(last))) == pytest.approx(first, rel=0.05)
    plain = Config(schedule='constant', clip_norm=0, input_noise=0).resolve(recipe, dataset)
    plain = build_game(plain, recipe, dataset)
    assert plain.optimizer_G.hyper['learning_rate'] == recipe.learning_rate_G and plain.optimizer_D.clip_norm is None
    assert not isinstance(plain.D.layers[0], minigan.Noise)


def test_fewer_images_than_the_recipes_minibatch_are_one_minibatch():
    np.save('few.npy', np.random.default_rng(0).integers(0, 256, (50, 3, 3), dtype=np.uint8))
    few = data.load('few.npy')
    assert Config().resolve(RECIPES['default'], few).batch == len(few.train) == 40
    train(small(data='few.npy', batch=None), quiet=True)


def test_few_images_and_images_that_are_all_the_same_are_no_reason_to_fail():
    np.save('few.npy', np.random.default_rng(0).integers(0, 256, (10, 3, 3), dtype=np.uint8))
    np.save('same.npy', np.zeros((40, 3, 3), np.uint8))
    for name in ('few', 'same'):
        rows = log(train(small(data=f'{name}.npy', batch=8, out=name), quiet=True))
        assert all(math.isfinite(value) for row in rows for value in row.values())


def test_a_checkpoint_that_could_not_be_read_back_is_refused_before_training(monkeypatch, tmp_path):
    monkeypatch.setattr('minigan.storage.files.LIMIT', 3 << 20)
    with pytest.raises(ValueError, match='expected a checkpoint of at most 3145728 bytes, got '):
        train(small(epochs=1), quiet=True)
    monkeypatch.setattr('minigan.storage.files.LIMIT', 6 << 20)
    with pytest.raises(ValueError, match='fewer epochs'):
        train(small(epochs=10**6), quiet=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('path', ['runs', 'out'])
@pytest.mark.parametrize('what', ['link', 'file'])
def test_a_file_or_a_broken_link_in_place_of_the_runs_folder_is_refused(tmp_path, path, what):
    if what == 'link':
        (tmp_path / path).symlink_to('nowhere/at/all')
    else:
        (tmp_path / path).write_text('precious')
    with pytest.raises((ValueError, OSError), match=f'{path}'):
        train(small(out='out' if path == 'out' else None), quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == [path]


def test_minimax_saturates_where_the_help_says_so():
    """What `minigan train --help` says about --objective: G's gradient is less than a tenth as long."""
    norms = []
    for objective in ('minimax', 'nonsaturating'):
        choices = {'network': 'article', 'learning_rate_D': 1e-3, 'objective': objective, 'epochs': 6}
        norms.append(log(train(small(out=objective, **choices), quiet=True))[-1]['gradient_norm_G'])
    assert norms[0] < norms[1] / 10


def test_the_progress_bar_shows_the_running_losses(capsys):
    train(small())
    shown = capsys.readouterr().err
    assert '88/88' in shown
    for part in ('V=-', 'L_D=', 'L_G=', 'D_x=0.', 'D_G_z=0.', 'epoch=2'):
        assert part in shown
