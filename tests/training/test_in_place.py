"""In a notebook a run is shown in one display, which each epoch renews. A run goes on when nobody can look at it."""

import io
import math
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from minigan.storage import archive
from minigan.training import Config, in_place, resume, train


@pytest.fixture
def small(tmp_path):
    return Config(epochs=3, batch=200, seed=5, out=str(tmp_path / 'run'))


@pytest.fixture
def shown(monkeypatch):
    """What a stand-in for a notebook shows: a list for each display, of all that it has shown; every epoch counts."""
    displays = []

    def display(content, *, raw, display_id):
        assert raw and display_id
        displays.append([content])
        return SimpleNamespace(update=lambda content, *, raw: displays[-1].append(content))
    IPython = ModuleType('IPython')
    IPython.version_info = 9, 0  # which matplotlib asks for
    IPython.get_ipython = lambda: SimpleNamespace(kernel='one', config={})
    IPython.display = ModuleType('IPython.display')
    IPython.display.display = display
    monkeypatch.setitem(sys.modules, 'IPython', IPython)
    monkeypatch.setitem(sys.modules, 'IPython.display', IPython.display)
    monkeypatch.setattr(in_place, 'SECONDS', 0)
    return displays


def picture(content):
    with Image.open(io.BytesIO(content['image/png'])) as image:
        return np.asarray(image.convert('RGB'))


def same_numbers(run, other):
    (arrays, _), (others, _) = archive.load(run), archive.load(other)
    return arrays.keys() == others.keys() and all(
        np.array_equal(array, others[name]) for name, array in arrays.items() if name not in ('run.seconds', 'run.log'))


def test_one_display_shows_each_epoch_in_place_of_the_one_before(small, shown, monkeypatch):
    drawn, rows = [], []
    draw = in_place.picture
    monkeypatch.setattr(in_place, 'picture', lambda run: drawn.append(draw(run)) or drawn[-1])
    folder = train(small, after_epoch=lambda run, row: rows.append(row))
    contents, = shown
    assert [content['text/plain'] for content in contents] == [
        in_place.in_words(row, 3, probability=True) for row in rows]
    for epoch, grid in enumerate(drawn, 1):
        with Image.open(folder / 'samples' / f'epoch-{epoch:04}.png') as saved:
            assert np.array_equal(np.asarray(saved), np.asarray(grid))
    first, *_, last = map(picture, contents)
    assert first.shape == last.shape == (320, 1040, 3)
    for part in (np.s_[20:, :280], np.s_[20:, 320:]):  # the samples, and the curves
        assert len(np.unique(last[part])) > 20 and not np.array_equal(first[part], last[part])


def test_the_words_say_what_the_row_says():
    row = {'epoch': 2, 'seconds': 3.6, 'train_V': -1.26, 'validation_V': -1.314, 'validation_D_x': 0.55,
           'validation_D_G_z': 0.41, 'distance': 1.234, 'train_D_x': 9, 'train_D_G_z': 9}
    assert in_place.in_words(row, 7, probability=True) == (
        'Epoch 2 of 7, after 4 s. V is -1.26 on training and -1.31 on validation images. D(x) is 0.55 and D(G(z)) is '
        '0.41. The distance of the samples from the data is 1.23.')
    assert '-L_D is -1.26' in in_place.in_words(row, 7, probability=False)


@pytest.mark.parametrize('quiet, kernel', [(True, True), (False, False), (True, False)])
def test_nothing_is_shown_when_quiet_or_without_a_kernel(quiet, kernel, small, shown, monkeypatch):
    if not kernel:  # as in IPython's own terminal
        monkeypatch.setattr(sys.modules['IPython'], 'get_ipython', lambda: SimpleNamespace(config={}))
    monkeypatch.setattr(in_place, 'content', lambda run: pytest.fail('drawn for nobody'))
    train(small, quiet=quiet)
    assert shown == []


def test_outside_a_notebook_ipython_is_not_imported(small, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'IPython', None)  # an import would fail, and be reported
    train(small)
    assert 'IPython' not in capsys.readouterr().err


@pytest.mark.parametrize('epoch', [1, 2])
def test_a_display_that_breaks_is_reported_once_and_the_run_goes_on(epoch, small, shown, monkeypatch, capsys, tmp_path):
    whole, calls = in_place.InPlace._display, []

    def display(self, content):
        calls.append(content)
        if len(calls) == epoch:
            raise OSError('nobody listens')
        whole(self, content)
    monkeypatch.setattr(in_place.InPlace, '_display', display)
    folder = train(small)
    assert len(calls) == epoch and len(shown) == epoch - 1
    assert capsys.readouterr().err.count('the notebook shows no more of this run (OSError: nobody listens)') == 1
    assert (folder / 'losses.png').exists() and len((folder / 'log.csv').read_text().splitlines()) == 4


def test_showing_a_run_changes_no_number(small, shown, tmp_path):
    folder = train(small)
    assert shown and same_numbers(folder, train(Config(**{**vars(small), 'out': str(tmp_path / 'quiet')}), quiet=True))


def test_a_resumed_run_gets_a_display_of_its_own_with_the_curves_from_the_beginning(small, shown, monkeypatch):
    drawn = []
    folder = train(small, quiet=True)
    monkeypatch.setattr('minigan.pictures.curves.draw_losses', lambda figure, rows, *args, **options: drawn.append(
        [row['epoch'] for row in rows]))
    resume(folder, epochs=5)
    contents, = shown
    assert drawn == [[1, 2, 3, 4], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]  # the last one for losses.png
    assert [content['text/plain'][:13] for content in contents] == ['Epoch 4 of 5,', 'Epoch 5 of 5,']


def test_epochs_that_end_at_once_are_not_all_drawn_but_the_last_one_is(small, shown, monkeypatch):
    monkeypatch.setattr(in_place, 'SECONDS', math.inf)
    train(small)
    assert [content['text/plain'][:7] for content in shown[0]] == ['Epoch 1', 'Epoch 3']


def test_translations_by_least_squares_are_shown_too(shown, tmp_path):
    train(Config(network='cycle', data='digits/plain', cycle='digits/inverted', epochs=1, batch=200,
                 out=str(tmp_path / 'run')))
    assert '-L_D is' in shown[0][0]['text/plain'] and picture(shown[0][0]).shape == (320, 1040, 3)
