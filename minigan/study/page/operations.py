"""The section "Operations": each function of ops.py and losses.py next to its derivative, with a check made now."""

import inspect
import re
from contextlib import contextmanager
from os.path import commonprefix

import numpy as np

from minigan import losses, ops
from minigan.checks import cases
from minigan.checks.derivatives import check
from minigan.study import evidence
from minigan.study.page import formulas, mathml, source

CASES = {  # of `minigan gradcheck`, by the name of the function that they check
    'dense': 'Dense(6 -> 4), training', 'batch_norm': 'BatchNorm(6), training',
    'batch_norm_evaluation': 'BatchNorm(6), evaluation', 'leaky_relu': 'LeakyReLU(0.2), training',
    'maxout': 'Maxout(3), training', 'scale': 'Scale(2, -1), training', 'dropout': 'Dropout(0.3), training',
    'tanh': 'Tanh(), training', 'sigmoid': 'Sigmoid(), training', 'cross_entropy': 'L_D, smoothing 0.1',
    'softmax_cross_entropy': 'softmax_cross_entropy', 'adam_': 'Adam, five steps against its paper',
    'sgd_momentum_': 'SGDMomentum, five steps against its equation', 'L_D': 'L_D, smoothing 0.1',
    'L_G_minimax': 'L_G minimax', 'L_G_nonsaturating': 'L_G nonsaturating'}
LAYERS = {'dense': 'Dense', 'batch_norm': 'BatchNorm', 'leaky_relu': 'LeakyReLU', 'maxout': 'Maxout', 'scale': 'Scale',
          'dropout': 'Dropout', 'tanh': 'Tanh', 'sigmoid': 'Sigmoid'}  # which layer computes it in training
PLAIN = {  # what has no derivative: its equation written out, and what it computes, for x and a of shape (6, 4)
    'moving_average_': lambda x, a: (0.9 * x + 0.1 * a, _in_place(ops.moving_average_, x, a, momentum=0.9)),
    'softmax': lambda x, a: (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True), ops.softmax(x)),
    'stack': lambda x, a: ([*x, *a], ops.stack(x, a)),
    'gather_images': lambda x, a: ((BYTES[ROWS] - 127.5) / 127.5, ops.gather_images(BYTES, ROWS, x.dtype)),
    'to_unit': lambda x, a: (0.5 * x + 0.5, ops.to_unit(x)),
    'from_unit': lambda x, a: (x + x - 1, ops.from_unit(x)),
    'euclidean_norm': lambda x, a: (sum(x.ravel()**2)**0.5, np.divide(*ops.euclidean_norm(x.ravel()))),
    'clip_norm_': lambda x, a: (x.ravel() / sum(x.ravel()**2)**0.5, _in_place(ops.clip_norm_, x.ravel(), limit=1.0)),
    'V': lambda x, a: (np.log(1 / (1 + np.exp(-x))).mean() + np.log(1 - 1 / (1 + np.exp(-a))).mean(), losses.V(x, a)),
}
BYTES, ROWS = np.arange(24, dtype=np.uint8).reshape(6, 4) * 11, np.array([5, 0])
TOKEN = re.compile(r'[\w.]+|[^\w\s]=|\s+|.')  # of a line of code; self.G.forward is one
SHAPE, ROUNDING = (6, 4), 1e-14  # ROUNDING: the allowed relative error of PLAIN


def data(*, seed=0, quick=False):
    """Cards of the operations and of the losses: code, equations, and the outcome of a check."""
    return {'operations': cards(ops, formulas.OPERATIONS, seed), 'losses': cards(losses, formulas.LOSSES, seed)}


def cards(module, equations, seed=0):
    """For each function of a module that is no derivative: it, its derivatives and a check of them, as a dict for JSON.

    Raises ValueError for a function without an equation in formulas.py or without a check.
    """
    found = []
    for name, functions in paired(source.functions(module)).items():
        without = [f.name for f in functions if f.name not in equations]
        if without:
            raise ValueError(f'{without[0]}: expected an equation in formulas.py')
        with shapes() as seen:
            how, rows = checked(name, seed)
        found.append({
            'name': name, 'layer': LAYERS.get(name, ''), 'how': how, 'rows': rows,
            'functions': [{**f.as_dict(), 'formulas': [mathml.formula(line) for line in equations[f.name]],
                           'shapes': seen.get(f.name, ''), 'support': support(of_function(f))} for f in functions]})
    return found


def of_function(function):
    """The Evidence for the lines of a Function."""
    return [found for found in evidence.EVIDENCE if (found.file, found.function) == (function.file, function.name)]


def support(evidences):
    """For each line: its code, the tests, and the planted bugs that they catch, as dicts for JSON."""
    return [{'code': source.highlighted(found.code)[0], 'tests': found.tests,
             'bugs': [{'wrong': marked(found.code, bug.wrong), 'words': bug.words, 'test': bug.caught_by}
                      for bug in found.bugs]} for found in evidences]


def marked(code, wrong):
    """The wrong line as HTML; whole tokens that differ from the code are marked, and what stands around a gap."""
    old, new = TOKEN.findall(code), TOKEN.findall(wrong)
    start = len(commonprefix([old, new]))
    end = len(new) - len(commonprefix([old[start:][::-1], new[start:][::-1]]))
    if start == end:
        start, end = start - 1, end + 1
    while any(unmatched(new[start:end])):
        closing, opening = unmatched(new[start:end])
        start, end = start - (closing > 0), end + (opening > 0)
    before, differs, after = (source.plain(''.join(part)) for part in (new[:start], new[start:end], new[end:]))
    return f'{before}<mark>{differs}</mark>{after}'


def unmatched(tokens):
    """How many closing and how many opening brackets are without their partner."""
    closing = opening = 0
    for token in tokens:
        if token in ('(', '[', '{'):
            opening += 1
        elif token in (')', ']', '}'):
            closing, opening = (closing, opening - 1) if opening else (closing + 1, 0)
    return closing, opening


def paired(functions):
    """name -> [the function, its derivatives]. Raises ValueError for a derivative of something that is not there."""
    found = {}
    for name, function in functions.items():
        of, derivative, _ = name.partition('_backward')
        if derivative and of not in found:
            raise ValueError(f'{name}: expected a function {of} in front of it')
        found.setdefault(of if derivative else name, []).append(function)
    return found


def checked(name, seed):
    """What a function is checked with, and for each array a row: its name, expected, got, error, verdict."""
    if name in CASES:
        how, report = CASES[name], dict(cases.cases())[CASES[name]](seed)
    elif name == 'softplus':
        how, report = 'softplus', softplus_case(seed)
    elif name in PLAIN:
        return 'its equation, written out in NumPy', [_plain(PLAIN[name], seed)]
    else:
        raise ValueError(f'{name}: expected a check in CASES or PLAIN of operations.py')
    return how, [(row.name.rpartition('.')[2], row.expected, row.got, row.error, row.verdict) for row in report]


def softplus_case(seed):
    """The one operation with a derivative that no layer of the package computes."""
    x = np.random.default_rng(seed).standard_normal(SHAPE)
    return check(lambda: ops.softplus(x), lambda dy: {'x': ops.softplus_backward(dy, x)}, {'x': x}, seed=seed)


def _plain(pair, seed):
    """A row for what has no derivative: both results, weighted with the same random numbers."""
    rng = np.random.default_rng(seed)
    expected, got = map(np.asarray, pair(*rng.standard_normal((2, *SHAPE))))
    u = rng.standard_normal(expected.shape)
    error = abs(expected - got).max() / abs(expected).max()
    return ['y', (u * expected).sum(), (u * got).sum(), error, 'ok' if error <= ROUNDING else 'wrong']


def _in_place(function, array, *arguments, **settings):
    """What a function makes of a copy of its first argument."""
    array = array.copy()
    function(array, *arguments, **settings)
    return array


@contextmanager
def shapes():
    """Collect name -> the shapes in the first call of each function of ops.py and losses.py, in words."""
    seen, kept = {}, [(module, name, getattr(module, name)) for module in (ops, losses) for name in vars(module)
                      if getattr(getattr(module, name), '__module__', '') in (ops.__name__, losses.__name__)
                      and inspect.isfunction(getattr(module, name))]
    try:
        for module, name, function in kept:
            setattr(module, name, _watched(function, name, seen))
        yield seen
    finally:
        for module, name, function in kept:
            setattr(module, name, function)


def _watched(function, name, seen):
    signature = inspect.signature(function)

    def watched(*arguments, **keywords):
        given = signature.bind(*arguments, **keywords).arguments
        result = function(*arguments, **keywords)
        told = ', '.join(f'{key} {shape}' for key, value in given.items() if (shape := _shape(value)))
        seen.setdefault(name, told + (f' → {_shape(result)}' if _shape(result) else ''))
        return result

    return watched


def _shape(value):
    """The shape of an array, the shapes in a tuple, or ''."""
    if isinstance(value, tuple):
        return ', '.join(filter(None, map(_shape, value)))
    shape = getattr(value, 'shape', ())
    return f'({", ".join(map(str, shape))}{"," if len(shape) == 1 else ""})' if shape else ''
