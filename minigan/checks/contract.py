"""The rules that a layer must follow, apart from its derivative. gradcheck reports each broken rule, and how.

gradcheck raises ValueError if a layer breaks one of three more rules: nothing is changed in place, y is the same at
every call, and nothing is drawn in evaluation.
"""

from contextlib import contextmanager

import numpy as np

from minigan.net import Net, parts, views
from minigan.streams import Streams

SAME = {'rtol': 1e-9, 'atol': 1e-300}  # for numbers computed in two ways, which may differ by rounding


class Trial:
    """A net at x in one mode, with the same random numbers and the same state each time."""

    def __init__(self, net, x, training, rng):
        self.net, self.x, self.training, self.rng, self.state = net, x, training, rng, net.state.copy()
        self.chain = net.layers_in_training if training else net.layers
        self.y = self.forward()
        self.dy = np.cos(np.arange(1, self.y.size + 1)).reshape(self.y.shape)  # no two alike, both signs
        self.dx, self.dtheta = self.backward(keep_cache=False)

    def forward(self, x=None, keep_cache=False, step=0):
        """y at self.x, or at another x, with the random numbers of a step."""
        self.net.state[...] = self.state
        return np.array(self.net.forward(self.x if x is None else x, training=self.training, rng=self.rng(step),
                                         keep_cache=keep_cache))

    def backward(self, *, forward=True, **which):
        """Copies of dx (or None) and dtheta, after a forward unless told not to."""
        if forward:
            self.forward(keep_cache=True)
        self.net.dtheta[...] = np.nan
        dx = self.net.backward(self.dy, **which)
        return None if dx is None else np.array(dx), self.net.dtheta.copy()

    @property
    def layers(self):
        """place -> layer, for every layer, including those that others are made of."""
        return dict(parts(self.chain))


def broken_rules(net, x, training, rng):
    """(rule, what is wrong) for each rule that the net breaks at x, in one mode. rng: step -> Rng."""
    trial = Trial(net, x, training, rng)
    for name, rule in RULES.items():
        try:
            why = rule(trial)
        except Exception as error:  # a layer under test may raise anything
            why = f'raises {type(error).__name__}: {error}'
        if why:
            yield name, why


def check_that_nothing_is_drawn(net, x, streams):
    """Raises ValueError for a net that draws in evaluation, where rng is None."""
    try:
        net.forward(x, training=False, keep_cache=False)
    except AttributeError as error:
        net.forward(x, training=False, rng=streams.at('dropout', 0), keep_cache=False)
        raise ValueError(f'{net.layers[0]}: expected no random numbers in evaluation, where rng is None, got: '
                         f'{error}') from error


def evaluation_changes_no_state(trial):
    """Only training may change the state."""
    if not trial.training:
        trial.forward()
        return slot_difference(trial.net.state, trial.state, trial.net.state_slots, 'evaluation changes ')


def rows_are_independent(trial):
    """Unless mixes_rows, a row of y depends on its own row of x alone, or on the rows of its block.

    A row of x may have several rows of y, one after the other, as an image has pixels.
    """
    x, mixes = trial.x, any(layer.mixes_rows for layer in trial.net.layers)
    block = max(layer.block for layer in trial.net.layers)
    if len(trial.y) % len(x) and block == 1:
        return '' if mixes else f'expected True where y has {len(trial.y)} rows for {len(x)} of x, got False'
    if not mixes:
        why = difference(_others(trial, 0, block * len(trial.y) // len(x)), trial.y, 'row 0 of x changes y')
        return f'expected True, got False: {why}' if why else ''
    told = trial.training and len(x) > 2 and len(np.unique(x, axis=0)) > 1
    if told and all(np.array_equal(_others(trial, i), trial.y) for i in range(len(x))):
        return 'expected False, got True: no row of y depends on another row of x'


def _others(trial, i, own=1):
    """y after row i of x is replaced by the next row, which is in forward's domain; its own rows of y are restored."""
    x = trial.x.copy()
    x[i] = x[(i + 1) % len(x)]
    y = trial.forward(x)
    y[i:i + own] = trial.y[i:i + own]
    return y


def dx_is_the_same_without_param_grads(trial):
    """A step of G reads dx of D, and no derivative of D's parameters."""
    if not trial.net.takes_integers:
        return difference(trial.backward(param_grads=False)[0], trial.dx, 'unlike in a full backward, dx')


def dtheta_is_the_same_without_input_grad(trial):
    """A step of D reads no dx."""
    return slot_difference(trial.backward(input_grad=False)[1], trial.dtheta, trial.net.slots,
                           'unlike in a full backward, the derivative of ')


def cache_holds_all_that_backward_needs(trial):
    """Net keeps and drops self.cache and nothing else; two backward passes may use one forward."""
    trial.forward(keep_cache=True)
    first, second = trial.backward(forward=False, keep_cache=True), trial.backward(forward=False)
    why = _differ(second, first, trial, 'backward changes the cache, so a second one differs: ')
    if why:
        return why
    trial.forward(keep_cache=True)
    kept = {place: layer.cache for place, layer in trial.layers.items()}
    trial.net.drop_cache()
    trial.forward(np.roll(trial.x, 1, axis=0), keep_cache=True, step=1)
    for place, layer in trial.layers.items():
        layer.cache = kept[place]
    return _differ(trial.backward(forward=False), (trial.dx, trial.dtheta), trial,
                   'backward reads what another forward has left outside self.cache: ')


def y_and_dx_keep_the_dtype(trial):
    """float32 stays float32: one float64 constant makes everything after it twice as slow."""
    net = trial.net
    with lent(net.layers), np.errstate(all='ignore'):
        single = Net(net.layers, rng=Streams(0).at('init', 0), dtype=np.float32, fuse=net.fuse)
        single.theta[...], single.state[...] = net.theta, trial.state
        chain = single.layers_in_training if trial.training else single.layers
        return _first_wrong_dtype(list(parts(chain, nested=False)), trial)


@contextmanager
def lent(layers):
    """Lend layers to a temporary net, as if they belonged to none. Afterwards they are as before, caches included."""
    kept = [(layer, dict(vars(layer))) for _, layer in parts(layers)]
    try:
        for layer, _ in kept:
            layer.bind(owner=None)
        yield
    finally:
        for layer, attributes in kept:
            vars(layer).clear()
            vars(layer).update(attributes)


def _first_wrong_dtype(chain, trial):
    x = trial.x if trial.net.takes_integers else trial.x.astype(np.float32)
    for place, layer in chain:
        x = layer.forward(x, training=trial.training, rng=trial.rng())
        if x.dtype != np.float32:
            return f'{place}: expected y of dtype float32 for a float32 x, got {x.dtype}; is a constant float64?'
    dy = trial.dy.astype(np.float32)
    for place, layer in reversed(chain):
        dy = layer.backward(dy, param_grads=True, input_grad=True)
        if dy is not None and dy.dtype != np.float32:
            return f'{place}: expected dx of dtype float32 for a float32 dy, got {dy.dtype}'


def _differ(got, expected, trial, what):
    return (difference(got[0], expected[0], f'{what}dx')
            or slot_difference(got[1], expected[1], trial.net.slots, f'{what}the derivative of '))


def slot_difference(got, expected, slots, what):
    """difference() of two flat buffers, at the first slot in which they differ."""
    ours, theirs = views(got, slots), views(expected, slots)
    return next(filter(None, (difference(ours[name], theirs[name], what + name) for name in ours)), '')


def difference(got, expected, what):
    """Where two arrays differ by more than rounding, in words, or ''."""
    if expected is None or np.allclose(got, expected, equal_nan=True, **SAME):
        return ''
    i = tuple(np.argwhere(~np.isclose(got, expected, equal_nan=True, **SAME))[0])
    return f'{what}{list(map(int, i))}: expected {expected[i]:.6g}, got {got[i]:.6g}'


def parameters_are_in_shapes(trial):
    """An array W whose derivative dW the layer makes itself is a parameter that no optimiser would move."""
    for place, layer in trial.layers.items():
        arrays = {name for name, value in vars(layer).items() if isinstance(value, np.ndarray)}
        for name in sorted(arrays - layer.shapes.keys()):
            if f'd{name}' in arrays:
                return f'{place}: expected shapes to name {name}, as the layer has d{name}, got {dict(layer.shapes)}'


RULES = {'shapes': parameters_are_in_shapes, 'state': evaluation_changes_no_state, 'mixes_rows': rows_are_independent,
         'param_grads=False': dx_is_the_same_without_param_grads,
         'input_grad=False': dtheta_is_the_same_without_input_grad,
         'cache': cache_holds_all_that_backward_needs, 'dtype': y_and_dx_keep_the_dtype}
