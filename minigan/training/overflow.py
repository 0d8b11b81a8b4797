"""Numbers that overflow: the step, network, layer and tensor in which the first of them appears."""

from contextlib import ExitStack, contextmanager

import numpy as np

from minigan.backend import array_module, on_gpu
from minigan.storage import archive, checkpoint


class NotFinite(ArithmeticError):
    """A number is infinite or undefined. The message says where it appeared first."""


def find_not_finite(game, steps):
    """Repeat the steps and raise NotFinite at the first tensor with a number that is not finite, if there is one.

    A step is a function of the parameters, the moments and its number, so a repeated step gives the same numbers.
    That is why training need not check every tensor: this function does when a number has overflowed.
    """
    for t in steps:
        with ExitStack() as stack, np.errstate(over='ignore', invalid='ignore'):
            for _, net, optimizer in game.players():
                for thing, method, check in _checks(net, optimizer, f'step {t}: {net.name}'):
                    stack.enter_context(checked(thing, method, check))
            game.step(t)


def explained(error, game, checkpoint_file, t, say):
    """A NotFinite that says where the error of step t began, found by repeating the steps since the checkpoint."""
    arrays, _ = archive.load(checkpoint_file)
    checkpoint.restore(game, arrays)
    for _, net, _ in game.players():
        if not on_gpu(net.theta):
            net.layers_in_training = net.layers  # on a CPU, they give the same bits as their groups
    saved = game.optimizer_G.t
    say(f'numbers overflow; repeating steps {saved} to {t - 1} to see where')
    try:
        find_not_finite(game, range(saved, t))
        found = f'steps {saved} to {t - 1}: {error}'
    except NotFinite as place:
        found = place
    return NotFinite(f'{found}. {checkpoint_file} holds step {saved}. Try smaller learning rates')


@contextmanager
def checked(thing, method, check):
    """Within, check(result) is called with each result of thing.method."""
    compute = getattr(thing, method)

    def compute_and_check(*arguments, **options):
        result = compute(*arguments, **options)
        check(result)
        return result

    setattr(thing, method, compute_and_check)
    try:
        yield
    finally:
        delattr(thing, method)


def _checks(net, optimizer, where):
    """(object, method, check of its result) for each layer that training runs, and for the optimiser's step."""
    for i, layer in enumerate(net.layers_in_training, 1):
        yield layer, 'forward', _require_finite(f'{where}, output of layer {i}, {layer}')
        yield layer, 'backward', _require_finite(f'{where}, derivative with respect to the input of layer {i}, {layer}')
    yield optimizer, 'step', lambda _: _check_slots(net, optimizer, where)


def _check_slots(net, optimizer, where):
    """Check derivatives, parameters and moments, each by the name of its slot."""
    buffers = {f"{type(optimizer).__name__}'s {name} of ": getattr(optimizer, name) for name in optimizer.buffers}
    for what, flat in {'derivative of ': net.dtheta, '': net.theta, **buffers}.items():
        for slot in net.slots:
            _require_finite(f'{where}, {what}{slot.name}')(slot.of(flat))


def _require_finite(where):
    """A check that raises NotFinite for an array with a number that is not finite. It accepts None."""
    def check(array):
        bad = 0 if array is None else int((~array_module(array).isfinite(array)).sum())
        if bad:
            raise NotFinite(f'{where}: {bad} of {array.size} numbers are infinite or undefined')
    return check
