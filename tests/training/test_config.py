"""A choice has one type and one range, on the command line and in Python."""

import math
from dataclasses import fields

import numpy as np
import pytest

import minigan
from minigan import RECIPES, data
from minigan.training import Config
from minigan.training.config import OF_GAMES


@pytest.mark.parametrize('choices', [
    {'learning_rate_G': np.float64(1e-3)}, {'learning_rate_G': np.float32(0.5)}, {'seed': np.int64(3)},
    {'epochs': np.uint8(3)}, {'tensorboard': np.bool_(True)}, {'network': np.str_('article')},
    {'average': np.int32(2)}])
def test_a_numpy_scalar_is_taken_as_a_number_of_python(choices):
    (name, value), = choices.items()
    taken = getattr(Config(**choices), name)
    assert taken == value and type(taken) in (int, float, bool, str)


@pytest.mark.parametrize('choices, message', [
    ({'batch': '32'}, "batch: expected int, got '32'"), ({'batch': 32.0}, 'batch: expected int, got 32.0'),
    ({'batch': np.float64(32)}, 'batch: expected int, got 32.0'), ({'seed': None}, 'seed: expected int, got None'),
    ({'seed': True}, 'seed: expected int, got True'), ({'beta1': np.bool_(True)}, 'beta1: expected float, got True'),
    ({'learning_rate_G': np.array([1.0])}, 'learning_rate_G: expected float'), ({'out': 7}, 'out: expected str, got 7'),
    ({'learning_rate_G': math.nan}, 'learning_rate_G: expected a number > 0 and < 1e.38, got nan'),
    ({'k': 0}, 'k: expected a number >= 1 and <= 1,000,000,000, got 0'),
    ({'label_smoothing': 1.0}, '>= 0 and < 1, got 1.0'),
    ({'update': 'both'}, "update: expected one of alternating, simultaneous, got 'both'"),
    ({'network': ['default']}, "network: expected str, got"), ({'schedule': 'cosine'}, 'schedule: expected one of'),
    ({'device': 'tpu'}, "device: expected one of cpu, numpy, cuda, auto, got 'tpu'")])
def test_a_value_of_another_type_or_out_of_range_is_refused_at_once(choices, message):
    with pytest.raises(ValueError, match=message):
        Config(**choices)


def test_every_choice_has_words_for_help_and_a_type_that_fits_its_default():
    Config()
    for option in fields(Config):
        assert option.metadata['help'] and 'default:' not in option.metadata['help']
        assert option.default is not None or 'None' in str(option.type)


@pytest.mark.parametrize('network', RECIPES)
def test_a_resolved_config_leaves_nothing_open_but_the_folder(network):
    pair = {'data': 'digits/thick', 'cycle': 'digits/plain'} if network == 'cycle' else {}
    dataset = data.load(pair.get('data', 'digits'), pair.get('cycle'))
    config = Config(network=network, **pair).resolve(RECIPES[network], dataset)
    open_choices = {option.name for option in fields(config) if getattr(config, option.name) is None}
    own = {name for name in OF_GAMES if not hasattr(RECIPES[network], name)}
    assert open_choices <= {'out', 'beta1', *own} and config.resolve(RECIPES[network], dataset) == config


def test_an_unknown_choice_is_named_with_those_that_there_are():
    for call in (lambda: minigan.train(epoch=1), lambda: minigan.resume('nowhere', epoch=1)):
        with pytest.raises(TypeError, match='^epoch: no such choice; expected some of network, data, cycle, epochs, '):
            call()
