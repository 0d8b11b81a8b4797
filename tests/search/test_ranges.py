"""What --over means: every choice of a run has values to search by default, and bad ones are refused in one line."""

from dataclasses import fields, replace

import numpy as np
import pytest

from minigan import data
from minigan.gpu.device import CPU
from minigan.training import Config
from minigan.training.state import Run

pytest.importorskip('optuna', reason='Optuna is not installed')
from minigan.search.ranges import NOT_SETTINGS, read  # noqa: E402


def own(**choices):
    config = Config(**choices)
    return Run(config, data.load(config.data, config.cycle), (np, CPU)).config


@pytest.fixture(scope='module')
def default():
    return own()


@pytest.mark.parametrize('choices, lacking', [
    ({}, {'labelled', 'clip_weights', 'gradient_penalty', 'cycle_weight', 'identity_weight'}),
    ({'network': 'wgan'}, {'labelled', 'cycle_weight', 'identity_weight'}),
    ({'network': 'wgan-clip'}, {'labelled', 'cycle_weight', 'identity_weight'}),
    ({'network': 'goodfellow2014'},
     {'beta1', 'labelled', 'clip_weights', 'gradient_penalty', 'cycle_weight', 'identity_weight'}),
    ({'network': 'semisupervised'}, {'clip_weights', 'gradient_penalty', 'cycle_weight', 'identity_weight'}),
    ({'network': 'cycle', 'cycle': 'digits/plain', 'data': 'digits/inverted'},
     {'labelled', 'clip_weights', 'gradient_penalty'})])
def test_every_setting_of_a_network_has_values_and_its_own_is_among_them(choices, lacking):
    config = own(**choices)
    names = {option.name for option in fields(Config)} - {*NOT_SETTINGS}
    found = read(sorted(names - lacking), config)
    for name, values in found.items():
        assert values._contains(values.to_internal_repr(getattr(config, name))), name
        assert not values.single()
        for end in values.choices if hasattr(values, 'choices') else (values.low, values.high):
            replace(config, **{name: end})
    for name in lacking:
        with pytest.raises(ValueError, match=f'over: {name}: expected a setting that --network {config.network} has'):
            read([name], config)


def test_rates_and_sizes_are_searched_on_a_logarithmic_scale(default):
    found = read(['learning_rate_G', 'learning-rate-D=1e-4..1e-2', 'batch', 'beta1', 'average=0.5..2'], default)
    ranges = {name: (values.low, values.high, values.log) for name, values in found.items()}
    assert ranges == {'learning_rate_G': (4e-4, 4e-2, True), 'learning_rate_D': (1e-4, 1e-2, True),
                      'batch': (12, 200, True), 'beta1': (0.0, 0.9, False), 'average': (0.5, 2.0, False)}
    assert type(found['batch'].low) is int


def test_a_list_of_values_is_searched_as_it_is(default):
    found = read(['batch=25,50', 'objective=minimax,nonsaturating', 'pack', 'conditional'], default)
    assert [values.choices for values in found.values()] == [
        (25, 50), ('minimax', 'nonsaturating'), (1, 2, 5), (False, True)]


@pytest.mark.parametrize('text, said', [
    ('data', "expected a setting of minigan train, such as .*, got 'data'"), ('seed', "got 'seed'"),
    ('out', "got 'out'"), ('cycle', "got 'cycle'"), ('device', "got 'device'"), ('tensorboard', "got 'tensorboard'"),
    ('nothing', "got 'nothing'"), ('learning_rate', "such as learning_rate_., got 'learning_rate'"),
    ('batch=10', 'batch: expected LOW..HIGH or at least two different values, got 10'),
    ('batch=', "batch: expected int, or LOW..HIGH, got ''"), ('batch=ten,50', "got 'ten'"),
    ('batch=1.5..60', "got '1.5'"), ('batch=0..60', 'batch: expected a number >= 1'),
    ('batch=60..100', 'batch: expected 50 among the values, as trial 0 has it, got 60..100; --batch gives'),
    ('batch=100..20', 'batch: expected LOW..HIGH'), ('batch=50,50', 'batch: expected LOW..HIGH'),
    ('learning_rate_G=nan,4e-3', 'learning_rate_G: expected a number'),
    ('beta1=0..inf', 'beta1: expected a number >= 0 and < 1, got inf'),
    ('objective=a,nonsaturating', 'objective: expected one of'),
    ('objective=hinge..minimax', 'expected objective or objective=A,B,C, got objective=hinge..minimax'),
    ('conditional=1,0', 'expected conditional alone, got conditional=1,0')])
def test_other_values_are_refused_in_one_line(text, said, default):
    with pytest.raises(ValueError, match=said) as caught:
        read([text], default)
    assert '\n' not in str(caught.value)


def test_a_setting_is_named_once(default):
    with pytest.raises(ValueError, match='over: batch: expected once, got it twice'):
        read(['batch', 'batch=40,50'], default)
