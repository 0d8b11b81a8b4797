"""One iteration of a Game from the inside: every line of gan.py that runs, and what it produced.

Python's own hook, sys.settrace, tells when a line or a method begins and ends. So the code that is watched is the code
that runs, and no number changes.
"""

import sys
from copy import copy, deepcopy

import numpy as np

from minigan.backend import to_host
from minigan.gan import Game
from minigan.layers import Layer
from minigan.losses import OBJECTIVES
from minigan.optim import Optimizer
from minigan.streams import Rng
from minigan.study import statements
from minigan.study.record import Call, Line, Record

__all__ = ['Call', 'Line', 'Record', 'trace']


def trace(game, t):
    """Play game.step(t) and return its Record.

    A loss after an update is that of the same minibatch, noise and dropout under the new parameters; it comes from
    playing the update once more on a copy of the game. Raises what game.step raises.
    """
    statements.reread()
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
        if isinstance(owner, Game) and name != 'step' and len(statements.numbers(frame.f_code.co_filename, name)) > 1:
            return self.method(frame, owner)
        if owner is None and name.endswith('_backward') and _ran_by(frame, Game):
            self.loss(frame, frame.f_globals.get(name.removesuffix('_backward')))
        return None

    def method(self, frame, game):
        """Watch a method of a game line by line."""
        name, file = frame.f_code.co_name, frame.f_code.co_filename
        known, seen, current = statements.numbers(file, name), dict(frame.f_locals), []
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
                current.append(statements.statement(file, name, number))
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
            call = Call('loss', function.__name__)
            call.arrays = {'formula': statements.formula(function), 'before': float(value), **settings}
            self.here[-1].append(call)
            self.losses.append(call)


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
