"""The log can be read at any moment, by a spreadsheet and by TensorBoard's own reader."""

import csv
import errno
import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

from minigan.cli import main
from minigan.training import Config, log, resume, train
from minigan.training.folder import RunFolder

try:
    import resource
except ImportError:  # Windows
    resource = None


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows(n):
    return [{'epoch': i, 'step': 44 * i, **{name: i + 0.123456789 for name in log.COLUMNS[2:]}}
            for i in range(1, n + 1)]


def test_the_table_has_a_row_an_epoch(tmp_path):
    log.write_csv(tmp_path / 'log.csv', rows(3))
    with open(tmp_path / 'log.csv', newline='') as file:
        found = list(csv.DictReader(file))
    assert [list(row) for row in found] == [list(log.COLUMNS)] * 3
    assert [(row['epoch'], row['step'], row['seconds']) for row in found] == [
        ('1', '44', '1.12346'), ('2', '88', '2.12346'), ('3', '132', '3.12346')]


def test_the_log_goes_into_a_checkpoint_and_comes_back():
    for n in (0, 3):
        back = log.as_rows(log.as_array(rows(n)))
        assert back == rows(n) and all(type(row['epoch']) is type(row['step']) is int for row in back)


def test_after_each_epoch_the_file_is_whole(monkeypatch):
    seen, add_epoch = [], RunFolder.add_epoch

    def add_and_read(self, run):
        add_epoch(self, run)
        with open('run/log.csv', newline='') as file:
            seen.append([int(row['epoch']) for row in csv.DictReader(file)])
    monkeypatch.setattr(RunFolder, 'add_epoch', add_and_read)
    train(Config(epochs=3, batch=300, out='run'), quiet=True)
    assert seen == [[1], [1, 2], [1, 2, 3]]


@pytest.mark.skipif(resource is None, reason='limits as POSIX has them')
def test_a_row_that_is_only_partly_written_is_removed(tmp_path):
    """A limit on the file's size stands in for a disk that fills up in the middle of a row."""
    log.write_csv(tmp_path / 'log.csv', rows(2))
    before = (tmp_path / 'log.csv').read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limits[1]))
    try:
        with pytest.raises(OSError, match='log.csv'):
            log.append_csv(tmp_path / 'log.csv', rows(3)[-1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / 'log.csv').read_bytes() == before
    log.append_csv(tmp_path / 'log.csv', rows(3)[-1])
    whole = (tmp_path / 'log.csv').read_bytes()
    log.write_csv(tmp_path / 'log.csv', rows(3))
    assert (tmp_path / 'log.csv').read_bytes() == whole


def test_the_end_of_an_epoch_writes_only_its_own_row(monkeypatch):
    """Otherwise the time of a run would grow with the square of its epochs."""
    written = []
    monkeypatch.setattr(log, 'append', lambda path, content: written.append(content.count(b'\n')))
    monkeypatch.setattr('minigan.training.folder.write_csv', lambda path, rows: written.append(-len(rows)))
    train(Config(epochs=4, batch=300, out='run'), quiet=True)
    assert written == [0, 1, 1, 1, 1]


def read_tensorboard():
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator('run/tensorboard', size_guidance={'images': 0, 'scalars': 0})
    events.Reload()
    return events


def test_tensorboard_reads_what_the_table_says_and_the_pictures():
    pytest.importorskip('tensorboard', reason="pip install -e '.[test]'")
    train(Config(epochs=3, batch=300, samples_every=2, tensorboard=True, out='run'), quiet=True)
    events = read_tensorboard()
    assert set(events.Tags()['scalars']) == set(log.COLUMNS[2:]) and events.Tags()['images'] == ['samples']
    with open('run/log.csv', newline='') as file:
        table = list(csv.DictReader(file))
    for name in log.COLUMNS[2:]:
        scalars = events.Scalars(name)
        assert [event.step for event in scalars] == [int(row['step']) for row in table] == [4, 8, 12]
        np.testing.assert_allclose([event.value for event in scalars], [float(row[name]) for row in table], rtol=1e-5)
    images = events.Images('samples')
    assert [image.step for image in images] == [4, 8, 12]
    picture = Image.open('run/samples/epoch-0003.png')
    assert (images[-1].width, images[-1].height) == picture.size
    np.testing.assert_array_equal(Image.open(io.BytesIO(images[-1].encoded_image_string)), picture)


def test_steps_that_a_resumed_run_repeats_are_not_logged_twice(monkeypatch):
    pytest.importorskip('tensorboard', reason="pip install -e '.[test]'")
    train(Config(epochs=2, batch=300, tensorboard=True, out='run'), quiet=True)
    before = open('run/last.npz', 'rb').read()
    resume('run', epochs=4, quiet=True)
    with open('run/last.npz', 'wb') as file:  # as if killed after epoch 4, with a checkpoint of epoch 2
        file.write(before)
    resume('run', epochs=3, quiet=True)
    assert [event.step for event in read_tensorboard().Scalars('train_V')] == [4, 8, 12]


def test_without_the_tensorboard_package_nothing_is_written(monkeypatch):
    for name in [name for name in sys.modules if name.split('.')[0] == 'tensorboard']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'tensorboard', None)
    with pytest.raises(ValueError, match=r"the package is not installed; pip install -e '.\[tensorboard\]'"):
        train(Config(tensorboard=True, out='run'), quiet=True)
    assert os.listdir() == []


@pytest.mark.parametrize('broken, said', [
    ("raise TypeError('Descriptors')", 'Descriptors'), ("import numpy; numpy.no_longer_there", 'no_longer_there'),
    ("import a_package_that_is_not_here", 'a_package_that_is_not_here')])
def test_a_tensorboard_that_cannot_be_imported_says_why(monkeypatch, tmp_path, broken, said):
    for name in [name for name in sys.modules if name.split('.')[0] == 'tensorboard']:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / 'tensorboard').mkdir()
    (tmp_path / 'tensorboard' / '__init__.py').write_text('')
    (tmp_path / 'tensorboard' / 'compat.py').write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=f'tensorboard: the package is installed but cannot be imported .*{said}'):
        train(Config(tensorboard=True, out='run'), quiet=True)
    assert not os.path.exists('run')


def test_a_disk_that_is_full_for_tensorboard_names_its_file_and_the_safe_step(monkeypatch, capfd):
    pytest.importorskip('tensorboard', reason="pip install -e '.[test]'")
    assert main(['train', '--epochs', '1', '--batch', '300', '-o', 'run']) == 0

    def append(path, content):
        raise OSError(errno.ENOSPC, 'No space left on device', str(path))
    monkeypatch.setattr('minigan.training.tensorboard.append', append)
    assert main(['train', '--resume', 'run', '--epochs', '2', '--tensorboard']) == 2
    said = capfd.readouterr().err
    assert 'run/tensorboard/events' in said and 'Traceback' not in said
    assert said.endswith('Step 4 is safe; to go on: minigan train --resume run\n')
