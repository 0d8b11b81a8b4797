"""A run that goes wrong gets a warning with a remedy; a run that goes well gets none."""

import pytest

from minigan.training import Config, train
from minigan.training.warnings import Watch, warnings


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def warned(capsys, **choices):
    train(Config(out='run', batch=32, samples_every=10**6, **choices))
    return [line for line in capsys.readouterr().err.replace('\r', '\n').splitlines() if 'warning' in line]


def test_the_articles_configuration_is_warned_that_D_has_won(capsys):
    first, *others = warned(capsys, network='article', epochs=30)
    assert not others
    assert first.startswith('minigan: warning: D has won: for 660 steps D(x) > 0.85 and D(G(z)) < 0.05 (at step ')
    assert '--network default' in first and '--learning-rate-D' in first


@pytest.mark.parametrize('epochs', [2, 30])
def test_the_default_gets_no_warning(capsys, epochs):
    assert warned(capsys, epochs=epochs) == []


def test_a_short_run_with_absurd_learning_rates_gets_a_warning(capsys):
    warning, *_ = warned(capsys, learning_rate_G=100.0, learning_rate_D=100.0, epochs=2)
    assert warning.startswith('minigan: warning: the losses have exploded: L_D is ')


def test_a_G_that_learns_far_too_fast_collapses_with_every_warning(capsys):
    """It learns so fast that neither the seed nor the rounding of BLAS matters: within an epoch, G draws one image."""
    lines = warned(capsys, learning_rate_G=1000.0, learning_rate_D=10.0, epochs=25)
    for name in ('D has won: for ', "G's gradient has vanished: for ", 'the samples have collapsed: for ',
                 'the losses have exploded: L_D is '):
        assert sum(line.startswith(f'minigan: warning: {name}') for line in lines) == 1, name
    assert len(lines) == 4


def rows(*states, steps=100):
    usual = {'train_D_x': 0.6, 'train_D_G_z': 0.4, 'gradient_norm_G': 1.0, 'spread': 0.9, 'train_L_D': 1.4,
             'train_L_G': 0.9}
    return [{**usual, **state, 'step': (i + 1) * steps} for i, state in enumerate(states)]


LONG = 10**6  # steps of a run
STATES = [({'train_D_x': 0.99, 'train_D_G_z': 0.01}, 'D has won'),
          ({'gradient_norm_G': 1e-4}, "G's gradient has vanished"), ({'spread': 0.1}, 'the samples have collapsed')]


@pytest.mark.parametrize('state, name', STATES)
def test_a_symptom_must_last(state, name):
    assert warnings(rows({}, *[state] * 10), LONG) == []
    assert warnings(rows({}, *[state] * 10, {}, *[state] * 10), LONG) == []
    warning, = warnings(rows({}, *[state] * 11), LONG)
    assert warning.startswith(f'{name}: for 1000 steps ') and '(at step 1200: ' in warning
    assert warnings(rows({}, *[state] * 30), LONG) == [warning]  # it is given once,
    assert warnings(rows({}, *[state] * 11, {}, *[state] * 11), LONG) == [warning]  # and not taken back


@pytest.mark.parametrize('state, name', STATES[:2])
def test_in_a_short_run_a_symptom_must_last_for_half_of_it_and_100_steps(state, name):
    assert len(warnings(rows({}, *[state] * 6, steps=50), 500)) == 1
    assert warnings(rows({}, *[state] * 5, steps=50), 500) == []
    assert warnings(rows({}, *[state] * 4, steps=30), 150) == []
    assert len(warnings(rows({}, *[state] * 5, steps=30), 150)) == 1


def test_samples_that_are_alike_at_the_beginning_of_a_short_run_are_no_collapse():
    assert warnings(rows(*[STATES[2][0]] * 10, steps=50), 500) == []


@pytest.mark.parametrize('losses', [{'train_L_G': 6e11}, {'train_L_D': 101.0}, {'train_L_G': -300.0}])
def test_losses_beyond_any_sensible_size_give_a_warning_at_once(losses):
    warning, = warnings(rows(losses), LONG)
    assert warning.startswith('the losses have exploded: ') and 'smaller --learning-rate' in warning
    assert warnings(rows({'train_L_G': 30.0, 'train_L_D': 30.0}), LONG) == []


def test_a_warning_from_before_a_run_stopped_is_not_repeated():
    first, second = rows({}, *[STATES[0][0]] * 11), rows({}, *[STATES[0][0]] * 12)[-1]
    assert Watch(LONG, first).read(second) == [] and len(Watch(LONG, first[:-1]).read(first[-1])) == 1


def test_an_empty_log_gives_no_warning():
    assert warnings([], 0) == []
