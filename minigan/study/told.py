"""A Record in words, for a terminal, and as a dict, for a program."""

import textwrap

import numpy as np

from minigan import ops
from minigan.study.record import Line

WIDTH = 100
LEGEND = '''\
Below # stands a line of Algorithm 1; then the code that ran, and what it produced. real and fake
are D's logits, and D is the mean of their sigmoid. A layer forwards: the shapes of x and y; mean,
spread, least and largest entry of y; the fraction of y that is 0, or where tanh is flat. A layer
backwards: the norms of dy, of dx, and of the derivatives of its parameters.'''
NAME, SHAPES = 34, 59  # columns at which a layer's name and its shapes end
HEADS = {'forward': f'{"":{NAME}} {"x -> y":{SHAPES - NAME - 1}}     mean  spread    least largest 0/flat',
         'backward': f'{"":{NAME}} {"dy -> dx":{SHAPES - NAME - 1}}    |dy|    |dx| |d parameter|'}
# the fraction of units that are at the ends of an S, where its slope is nearly 0
SATURATED = {'Tanh': lambda y: abs(y) > 0.99, 'Sigmoid': lambda y: abs(y - 0.5) > 0.495}


def text(nodes, *, probability=False):
    """Lines and Calls, at most 100 columns wide, each followed by what it produced and what ran inside it.

    probability: whether the sigmoid of a logit is one.
    """
    return '\n'.join(_told(nodes, 0, probability))


def as_dict(record):
    """A Record for JSON: its tree, with statistics in place of arrays."""
    return {'t': record.t, 'lines': [_as_dict(node) for node in record.lines]}


def statistics(a):
    """What is said about an array: its shape, mean, spread, extremes, norm, and the fraction that is 0."""
    x = np.asarray(a, np.float64)
    found = {'shape': list(np.shape(a))}
    if x.size:
        found |= {'mean': x.mean(), 'spread': x.std(), 'least': x.min(), 'largest': x.max(),
                  'norm': np.linalg.norm(x), 'zeros': np.mean(x == 0)}
    return {name: value if name == 'shape' else float(value) for name, value in found.items()}


def _finite(value):
    """The number, or None, which JSON has, for nan and inf, which it lacks."""
    return value if not isinstance(value, float) or np.isfinite(value) else None


def _as_dict(node):
    values = node.produced if isinstance(node, Line) else node.arrays
    shown = {name: value for name, value in vars(node).items() if name not in ('produced', 'arrays', 'inside')}
    return {**shown, 'values': {name: _plain(value) for name, value in values.items()},
            'inside': [_as_dict(inner) for inner in node.inside]}


def _plain(value):
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if hasattr(value, 'shape'):
        return {name: _finite(number) for name, number in statistics(value).items()}
    return _finite(value)


def _told(nodes, depth, probability, head=True):
    """The text of Lines and Calls, those inside others further to the right; layers are rows of a table."""
    above, indent = None, ' ' * (2 * depth)
    for node in nodes:
        if isinstance(node, Line):
            yield from _line(node, indent, probability)
        elif node.kind in HEADS:
            if head and node.kind != above:
                yield HEADS[node.kind]
            yield from _wrapped([_layer(node, indent)], '')
        else:
            for pieces in (_loss if node.kind == 'loss' else _optimizer)(node):
                yield from _wrapped(pieces, indent + '    ')
        above = getattr(node, 'kind', None)
        yield from _told(node.inside, depth + 1, probability, head=isinstance(node, Line))


def _line(line, indent, probability):
    """The statement, next to its line of Algorithm 1, and below it what it produced."""
    if line.paper:
        yield f'{indent}# {line.paper}'
    place = line.number if line.file == 'gan.py' else f'{line.file}:{line.number}'
    number = f'{indent}{place:>4}  '
    yield from textwrap.wrap(line.code, WIDTH, initial_indent=number, subsequent_indent=' ' * (len(number) + 4))
    for name, value in line.produced.items():
        if name != 'returned' or hasattr(value, 'shape') and line.method.endswith('backward'):  # others have names
            yield from _wrapped(_value(name, value, probability and name in ('real', 'fake')), indent + ' ' * 6)


def _value(name, value, logits):
    if not hasattr(value, 'shape'):
        return [f'{name} = {value}']
    pieces = [f'{name:9} {_shape(value):11}', *_numbers(value)]
    return [*pieces, f'D {np.mean(ops.sigmoid(value)):.3f}'] if logits else pieces


def _layer(call, indent):
    """A row: x -> y of a forward pass and y's numbers, or dy -> dx of a backward pass and the norms of derivatives."""
    given, taken = ('x', 'y') if call.kind == 'forward' else ('dy', 'dx')
    name = f'{indent}{call.net} {".".join(call.place.split(".")[::2])} {call.of}'  # 1.2 of 1.Sequential.2.Dense
    name = name if len(name) <= NAME else name[:NAME - 3] + '...'
    x, y = call.arrays[given], call.arrays.get(taken)
    row = f'{name:{NAME}} {_shape(x)} -> {"none" if y is None else _shape(y)}'
    if call.kind == 'forward':
        return f'{row:{SHAPES}}{_columns(call.of, y)}'
    norms = [f'{key[1:]} {_norm(value)}' for key, value in call.arrays.items() if key not in (given, taken)]
    return f'{row:{SHAPES}}{_norm(x):>8}{"" if y is None else _norm(y):>8} {" ".join(norms)}'.rstrip()


def _columns(layer, y):
    found = statistics(y)
    if 'mean' not in found:
        return ''
    kind = SATURATED.get(layer.partition('(')[0])
    fraction = np.mean(kind(y)) if kind else found['zeros']
    return (f'{found["mean"]:9.2g}{found["spread"]:8.2g}{found["least"]:9.2g}{found["largest"]:8.2g}'
            f'{f"{fraction:.0%}" if fraction else "":>7}').rstrip()


def _loss(call):
    values = dict(call.arrays)
    formula, before, after = (values.pop(name) for name in ('formula', 'before', 'after'))
    return ([formula], [f'{call.of} {before:.4f}', f'after the update {after:.4f}',
                        *(f'({name} {value:g})' for name, value in values.items())])


def _optimizer(call):
    change = abs(call.arrays['change'])
    settings = {name: value for name, value in call.arrays.items() if name not in ('dtheta', 'change')}
    return ([f'{call.of} of {call.net}:', *(f'{name} {value:.3g}' for name, value in settings.items()),
             f'|dtheta| {_norm(call.arrays["dtheta"])}'],
            [f'moves {np.count_nonzero(change):,} of {change.size:,} parameters',
             f'by {np.mean(change):.2g} on average', f'and {np.max(change, initial=0):.2g} at most'])


def _numbers(a):
    found = statistics(a)
    if 'mean' not in found:
        return []
    pieces = [f'mean {found["mean"]:9.3g}', f'spread {found["spread"]:8.3g}',
              f'{found["least"]:.3g} to {found["largest"]:.3g}']
    return [*pieces, f'{found["zeros"]:.0%} are 0'] if found['zeros'] else pieces


def _norm(a):
    return f'{np.linalg.norm(np.asarray(a, np.float64)):.2g}'


def _shape(a):
    return f'({", ".join(map(str, a.shape))}{"," if a.ndim == 1 else ""})'


def _wrapped(pieces, indent):
    """Lines of pieces, two spaces apart."""
    return textwrap.wrap('  '.join(pieces), WIDTH, initial_indent=indent, subsequent_indent=indent + '    ',
                         break_on_hyphens=False)
