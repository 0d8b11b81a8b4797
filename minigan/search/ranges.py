"""What --over means: the values among which a search may choose a setting."""

from dataclasses import fields
from difflib import get_close_matches
from typing import get_args

from minigan.training.config import Config, flag

SEARCHED = 'learning_rate_G', 'learning_rate_D', 'batch'  # unless --over names others
NOT_SETTINGS = ('data', 'cycle', 'seed', 'device', 'samples_every', 'save_every', 'tensorboard', 'out')
FACTORS = {'learning_rate_G': 10, 'learning_rate_D': 10, 'batch': 4, 'n_z': 4, 'epochs': 2}  # on a logarithmic scale
SPANS = {'k': (1, 5), 'beta1': (0.0, 0.9), 'average': (0.0, 4.0), 'label_smoothing': (0.0, 0.3),
         'input_noise': (0.0, 0.5), 'clip_norm': (0.0, 5.0), 'clip_weights': (0.0, 0.1),
         'gradient_penalty': (0.0, 20.0), 'cycle_weight': (0.0, 20.0), 'identity_weight': (0.0, 10.0)}


def read(over, own):
    """name -> Optuna's distribution, of each text NAME, NAME=LOW..HIGH or NAME=A,B,C. own: the network's own settings.

    Raises ValueError for anything else, and when the network's own value is not among the values.
    """
    found = {}
    for text in over:
        name, given, values = text.partition('=')
        name = name.replace('-', '_')
        if name in found:
            raise ValueError(f'over: {name}: expected once, got it twice')
        option = _option(name, own)
        found[name] = _given(option, values, own) if given else _default(option, getattr(own, name), own)
    return found


def _option(name, own):
    """The field of Config with this name. Raises ValueError when no search can choose it."""
    options = {option.name: option for option in fields(Config) if option.name not in NOT_SETTINGS}
    if name not in options:
        near = get_close_matches(name, options, 1) or SEARCHED
        raise ValueError(f'over: expected a setting of minigan train, such as {near[0]}, got {name!r}')
    if getattr(own, name) is None:
        raise ValueError(f'over: {name}: expected a setting that --network {own.network} has')
    return options[name]


def _default(option, value, own):
    """The values of a setting for which --over names none. value: its own."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    numbers = IntDistribution if _kind(option) is int else FloatDistribution
    if option.name in FACTORS:
        factor = FACTORS[option.name]
        low = max(1, round(value / factor)) if _kind(option) is int else value / factor
        return numbers(low, value * factor, log=True)
    if option.name in SPANS:
        low, high = SPANS[option.name]
        return numbers(min(low, value), max(high, value))
    if option.name == 'pack':
        return CategoricalDistribution([n for n in range(1, max(5, value) + 1) if own.batch % n == 0])
    if option.name == 'labelled':
        return CategoricalDistribution([value, 2 * value, 5 * value])
    return CategoricalDistribution([False, True] if _kind(option) is bool else list(option.metadata['choices']))


def _kind(option):
    return (get_args(option.type) or (option.type,))[0]


def _given(option, text, own):
    """The values that --over gives. Raises ValueError."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    kind = _kind(option)
    low, is_range, high = text.partition('..')
    if kind is bool or is_range and kind is str:
        expected = f'{option.name} alone' if kind is bool else f'{option.name} or {option.name}=A,B,C'
        raise ValueError(f'over: expected {expected}, got {option.name}={text}')
    values = [_value(option, kind, one) for one in ((low, high) if is_range else text.split(','))]
    if len(values) != len(set(values)) or len(values) < 2 or is_range and values[0] >= values[1]:
        raise ValueError(f'over: {option.name}: expected LOW..HIGH or at least two different values, got {text}')
    value = getattr(own, option.name)
    if not (values[0] <= value <= values[1] if is_range else value in values):
        raise ValueError(f'over: {option.name}: expected {value} among the values, as trial 0 has it, got {text}; '
                         f'{flag(option.name)} gives trial 0 a different one')
    if not is_range:
        return CategoricalDistribution(values)
    numbers = IntDistribution if kind is int else FloatDistribution
    return numbers(*values, log=option.name in FACTORS and values[0] > 0)


def _value(option, kind, text):
    """One value of a setting. Raises ValueError for one that no run accepts."""
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f'over: {option.name}: expected {kind.__name__}, or LOW..HIGH, got {text!r}') from None
    Config(**{option.name: value})  # checks it
    return value
