"""One iteration of a Game from the inside: every line of gan.py that runs, and what it produced.

Python's own hook, sys.settrace, tells when a line or a method begins and ends. So the code that is watched is the code
that runs, and no number changes.
"""

import ast
import inspect
import linecache
import sys
from copy import copy, deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from textwrap import dedent

import numpy as np

from minigan.backend import to_host
from minigan.gan import Game
from minigan.layers import Layer
from minigan.losses import OBJECTIVES
from minigan.optim import Optimizer
from minigan.streams import Rng


class Node:
    """A Line or a Call: shown as `minigan trace` prints it."""

    def __repr__(self):
        from minigan.study.told import text
        return text([self])


@dataclass(repr=False)
class Line(Node):
    """A statement of a Game's method, once for each time that it ran.

    method, file, number: where it stands; code: the statement; paper: its line of Algorithm 1, or ''. produced: name ->
    value of each variable that it set, and 'returned' for what it returned; arrays are copies on the host.
    inside: the Lines and Calls that ran within it.
    """

    method: str
    file: str
    number: int
    code: str
    paper: str
    produced: dict = field(default_factory=dict)
    inside: list = field(default_factory=list)


@dataclass(repr=False)
class Call(Node):
    """A call of a layer, a loss or an optimiser.

    kind: 'forward', 'backward', 'loss' or 'optimizer'. of: the layer or the optimiser in words, or the loss's name.
    net, place: where a layer or an optimiser belongs, such as 'G', '1.Dense'. inside: the layers that a layer is made
    of. arrays: by kind,

        forward     x, y
        backward    dy, dx, and the parameters' derivatives dW, db, ...; without those that nobody asked for
        loss        before and after the update: numbers; formula: text; and its settings: numbers
        optimizer   dtheta, change = theta after - theta before, (n,); and its settings: numbers
    """

    kind: str
    of: str
    net: str = ''
    place: str = ''
    arrays: dict = field(default_factory=dict)
    inside: list = field(default_factory=list)


@dataclass(repr=False)
class Record:
    """What iteration t was made of.

    logits: what game.step(t) returned. lines: those of Game.alternating, or of the method that stands in for it; all
    others are inside them. probability: whether the sigmoid of a logit is one. record['samples']: the last value of
    that variable, a KeyError if there is none.
    """

    t: int
    logits: tuple
    lines: list
    probability: bool

    def walk(self):
        """Every Line and Call, in the order in which they began."""
        yield from _walk(self.lines)

    def find(self, method):
        """The Lines of a method."""
        return [line for line in self.walk() if isinstance(line, Line) and line.method == method]

    def calls(self, kind):
        """The Calls of a kind."""
        return [call for call in self.walk() if isinstance(call, Call) and call.kind == kind]

    def __getitem__(self, name):
        values = [line.produced[name] for line in self.walk() if isinstance(line, Line) and name in line.produced]
        if not values:
            raise KeyError(name)
        return values[-1]

    def __repr__(self):
        from minigan.study.told import text
        return text(self.lines, probability=self.probability)


def trace(game, t):
    """Play game.step(t) and return its Record.

    A loss after an update is that of the same minibatch, noise and dropout under the new parameters; it comes from
    playing the update once more on a copy of the game. Raises what game.step raises.
    """
    linecache.checkcache()  # a notebook may have changed and reloaded a module
    statements.cache_clear()
    recorder = _Recorder()
    logits = recorder.run(lambda: game.step(t))
    for losses, again in recorder.updates:
        after = _Recorder()
        after.run(again)
        for call, same in zip(losses, after.losses):
            call.arrays['after'] = same.arrays['before']
    return Record(t, logits, recorder.lines, OBJECTIVES[game.objective].probability)


class _Recorder:
    """Builds the tree of Lines and Calls while a function runs.

    losses: all Calls of losses. updates: (its losses, a function that plays it again on a copy) of each update.
    """

    def __init__(self):
        self.lines, self.losses, self.updates = [], [], []
        self.here = [self.lines]  # what runs now: the last one is being filled

    def run(self, function):
        """function(), watched."""
        before = sys.gettrace()
        sys.settrace(self.begins)
        try:
            return function()
        finally:
            sys.settrace(before)

    def begins(self, frame, event, _):
        """A function is called; returns what watches it, or None."""
        owner = _owner(frame)
        name = frame.f_code.co_name
        if isinstance(owner, Layer) and name in ('forward', 'backward') and _owner(frame.f_back) is not owner:
            return self.layer(frame, owner)
        if isinstance(owner, Optimizer) and name == 'step' and not _ran_by(frame, Optimizer):
            return self.optimizer(frame, owner)
        if isinstance(owner, Game) and name != 'step' and len(statements(frame.f_code.co_filename, name)) > 1:
            return self.method(frame, owner)
        if owner is None and name.endswith('_backward') and _ran_by(frame, Game):
            self.loss(frame, frame.f_globals.get(name.removesuffix('_backward')))
        return None

    def method(self, frame, game):
        """Watch a method of a game line by line."""
        name, file = frame.f_code.co_name, frame.f_code.co_filename
        known, seen, current = statements(file, name), dict(frame.f_locals), []
        update = name.startswith('update_') or name == 'simultaneous'
        given, first = {key: copy(seen[key]) for key in _parameters(frame) if key != 'self'}, len(self.losses)

        def leave(returned=None):
            line = current.pop()
            self.here.pop()
            for key, value in frame.f_locals.items():
                if key not in seen or seen[key] is not value:
                    line.produced |= _kept(key, value)
            line.produced |= _kept('returned', returned)
            seen.update(frame.f_locals)
            if line.code.startswith('for ') and not line.produced:
                self.here[-1].remove(line)  # the loop has ended

        def watch(frame, event, value):
            if event == 'line' and (number := known.get(frame.f_lineno)):
                if current and current[0].number == number and frame.f_lineno != number:
                    return watch  # a further line of the same statement
                if current:
                    leave()
                current.append(_line(file, name, number))
                self.here[-1].append(current[0])
                self.here.append(current[0].inside)
            elif event == 'return':
                if current:
                    leave(value)
                if update:
                    self.updates.append((self.losses[first:], _again(game, name, given, frame.f_locals.get('x'))))
            return watch
        return watch

    def layer(self, frame, layer):
        """Watch a forward or backward pass of a layer."""
        name, net = frame.f_code.co_name, layer.owner and layer.owner()
        place = next((place for place, part in net._parts.items() if part is layer), '') if net else ''
        call = Call(name, repr(layer), net.name if net else '', place)
        given = 'x' if name == 'forward' else 'dy'
        call.arrays |= _kept(given, frame.f_locals.get(given))
        wants = name == 'backward' and frame.f_locals.get('param_grads')

        def returned(value):
            call.arrays |= _kept('y' if name == 'forward' else 'dx', value)
            for parameter in layer.shapes if wants else ():
                call.arrays |= _kept(f'd{parameter}', getattr(layer, f'd{parameter}', None))
        return self.until_return(frame, call, returned)

    def optimizer(self, frame, optimizer):
        """Watch a step of an optimiser."""
        net, before = optimizer.net, np.array(to_host(optimizer.net.theta))
        call = Call('optimizer', type(optimizer).__name__, net.name)
        call.arrays = _kept('dtheta', net.dtheta) | optimizer.settings(optimizer.t)

        def returned(_):
            call.arrays['change'] = np.array(to_host(net.theta)) - before
        return self.until_return(frame, call, returned)

    def until_return(self, frame, call, returned):
        """What calls returned(value) at the end of a call that is recorded."""
        self.here[-1].append(call)
        self.here.append(call.inside)
        frame.f_trace_lines = False

        def watch(_, event, value):
            if event == 'return':
                self.here.pop()
                returned(value)
            return watch
        return watch

    def loss(self, frame, function):
        """Record the value of the loss whose derivative is taken, from copies of the arguments."""
        if callable(function):
            value = function(**{name: deepcopy(frame.f_locals[name]) for name in _parameters(frame)})
            settings = {name: frame.f_locals[name] for name in _parameters(frame)
                        if isinstance(frame.f_locals[name], (int, float))}
            call = Call('loss', function.__name__, arrays={'formula': _formula(function), 'before': float(value),
                                                           **settings})
            self.here[-1].append(call)
            self.losses.append(call)


def _walk(nodes):
    for node in nodes:
        yield node
        yield from _walk(node.inside)


def _owner(frame):
    """The self of a method, or None."""
    names = frame.f_code.co_varnames
    return frame.f_locals.get('self') if names[:1] == ('self',) else None


def _parameters(frame):
    """The names of a function's parameters."""
    code = frame.f_code
    return code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]


def _ran_by(frame, kind):
    """Whether a method of such an object called the function."""
    return frame.f_back is not None and isinstance(_owner(frame.f_back), kind)


def _again(game, name, given, x):
    """A function that plays an update once more, on a copy of the game as it is now."""
    again = deepcopy(game)
    again.minibatch = lambda j: x
    return lambda: getattr(again, name)(**given)


def _kept(name, value):
    """{name: value}, with a copy of an array on the host; {} for what a reader cannot read."""
    if isinstance(value, tuple) and value:
        parts = tuple(_kept('', part).get('') for part in value)
        return {} if any(part is None for part in parts) else {name: parts}
    if hasattr(value, 'dtype') and hasattr(value, 'shape'):
        return {name: np.array(to_host(value))}
    return {name: repr(value) if isinstance(value, Rng) else value} if isinstance(value, (int, float, str, Rng)) else {}


def _formula(function):
    """The equation in a docstring: its indented lines, or what follows three spaces in the first line; '' if unknown.

    It is read from the source, as Python 3.13 removes indentation from docstrings.
    """
    try:
        source = dedent(inspect.getsource(function))
    except OSError:
        return ''
    first, *lines = (ast.get_docstring(ast.parse(source).body[0], clean=False) or '').splitlines() or ['']
    return ' '.join(line.strip() for line in lines if line.startswith(' ' * 8)) or first.rpartition('   ')[2]


def _line(file, method, number):
    """The Line of the statement that begins there. In Algorithm 1, its comment is the paper's line."""
    numbers = [at for at, begin in statements(file, method).items() if begin == number]
    lines = [linecache.getline(file, at).strip() for at in numbers]
    code, paper = ' '.join(lines), ''
    if method == 'alternating':
        code, _, paper = code.partition('  # ')
    return Line(method, Path(file).name, number, code.rstrip(), paper)


@lru_cache
def statements(file, method):
    """The lines of the methods of that name in a file: number -> number of the line at which its statement begins.

    A docstring is none. A compound statement has only the lines of its head.
    """
    found = {}
    for function in ast.walk(ast.parse(''.join(linecache.getlines(file)) or 'pass')):
        if isinstance(function, ast.FunctionDef) and function.name == method:
            for statement in ast.walk(function):
                if isinstance(statement, ast.stmt) and statement is not function:
                    body = getattr(statement, 'body', None)
                    end = body[0].lineno - 1 if body else statement.end_lineno
                    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                        found |= dict.fromkeys(range(statement.lineno, end + 1), statement.lineno)
    return found
