"""Layers to judge gradcheck by: a registry of families of correct layers, and errors to plant in them.

A family draws a correct layer and an x for it. An error replaces methods of such a layer, so that its backward is
wrong. The errors that any layer can have are here; those of a single family are next to its layer in families.py. An
error is planted only where it makes a difference: see `real`.
"""

import warnings
import zlib
from copy import deepcopy
from dataclasses import dataclass, field
from types import MethodType

import numpy as np

from minigan import Layer, Net, Streams
from minigan.net import views

REAL = 1e-4      # an error counts if it changes an array of derivatives by this fraction of its norm
MOVE = 1e-5      # the fraction by which an entry is moved; the effect must exceed rounding errors
INITS = 3        # further seeds of init, next to the one that gradcheck gets
ATTEMPTS = 20    # draws for one error, before the next error is tried


class Example(Layer):
    """A layer whose backward is two methods: dx(dy) and derivatives(dy) -> {name: derivative}.

    size: of the parameters that init draws.
    """

    size = 1.0

    def init(self, rng):
        for name, shape in self.shapes.items():
            getattr(self, name)[...] = self.size * rng.normal(shape, getattr(self, name).dtype)

    def backward(self, dy, *, param_grads, input_grad):
        if param_grads:
            for name, derivative in self.derivatives(dy).items():
                getattr(self, f'd{name}')[...] = derivative
        return self.dx(dy) if input_grad else None

    def derivatives(self, dy):
        """The parameters' derivatives by name."""
        return {}

    def dx(self, dy):
        """The input's derivative."""
        raise NotImplementedError


@dataclass
class Family:
    """draw: a function from a random generator to a correct layer and its x; errors: name -> {method: function}."""

    draw: callable
    errors: dict = field(default_factory=dict)


FAMILIES = {}


def family(**errors):
    """Register a draw as a family. errors: functions that replace dx, or dicts {method: function}."""
    def register(draw):
        named = {name.replace('_', ' '): error if isinstance(error, dict) else {'dx': error}
                 for name, error in errors.items()}
        FAMILIES[draw.__name__] = Family(draw, named)
        return draw
    return register


# Errors of any dx: functions of (dx, dy).

def one_column_scaled(dx, dy):
    dx[:, -1] *= 1.01
    return dx


def one_entry_negated(dx, dy):
    i = np.unravel_index(abs(dx).argmax(), dx.shape)
    dx[i] *= -1
    return dx


def last_row_forgotten(dx, dy):
    dx[-1] = 0
    return dx


def transposed(dx, dy):
    return np.ascontiguousarray(dx.T) if dx.shape[0] == dx.shape[1] else dx


def gated_by_dy(dx, dy):
    return dx * (dy > 0) if dx.shape == dy.shape else dx * (dy[:, :1] > 0)


DX = {
    'dx: one column by 1.01': one_column_scaled,
    'dx: one entry negated': one_entry_negated,
    'dx: last row forgotten': last_row_forgotten,
    'dx: transposed': transposed,
    'dx: gated by dy': gated_by_dy,
    'dx: negated': lambda dx, dy: -dx,
    'dx: doubled': lambda dx, dy: 2 * dx,
    'dx: by 1.001': lambda dx, dy: 1.001 * dx,
    'dx: divided by m': lambda dx, dy: dx / len(dx),
    'dx: zero': lambda dx, dy: 0 * dx,
    'dx: columns rolled': lambda dx, dy: np.roll(dx, 1, axis=1),
    'dx: rows rolled': lambda dx, dy: np.roll(dx, 1, axis=0),
    'dx: columns reversed': lambda dx, dy: dx[:, ::-1],
    'dx: mean over the rows': lambda dx, dy: np.broadcast_to(dx.mean(axis=0), dx.shape),
}


def with_dx(change):
    """An error: backward is correct, but then changes dx."""
    def backward(self, dy, **which):
        dx = type(self).backward(self, dy, **which)
        return None if dx is None else change(dx.copy(), dy)
    return {'backward': backward}


# Errors of any parameter's derivative: functions of (dW, m), in place.

def scaled(dW, m):
    dW *= 1.001


def negated(dW, m):
    dW *= -1


def one_entry_scaled(dW, m):
    dW.flat[abs(dW).argmax()] *= 1.01


def mean_for_sum(dW, m):
    dW /= m


def zero(dW, m):
    dW[...] = 0


def rolled(dW, m):
    dW[...] = np.roll(dW, 1)


def transposed_parameter(dW, m):
    if dW.ndim > 1 and dW.shape[-1] == dW.shape[-2]:
        dW[...] = dW.swapaxes(-1, -2).copy()


DTHETA = {'by 1.001': scaled, 'negated': negated, 'one entry by 1.01': one_entry_scaled, 'mean for sum': mean_for_sum,
          'zero': zero, 'rolled': rolled, 'transposed': transposed_parameter}


def with_derivative(name, change):
    """An error: backward is correct, but then changes the derivative of one parameter."""
    def backward(self, dy, *, param_grads, input_grad):
        dx = type(self).backward(self, dy, param_grads=param_grads, input_grad=input_grad)
        if param_grads:
            change(getattr(self, f'd{name}'), len(dy))
        return dx
    return {'backward': backward}


# Errors of the whole method.

def accumulated(self, dy, *, param_grads, input_grad):
    if param_grads:
        for name, derivative in self.derivatives(dy).items():
            dW = getattr(self, f'd{name}')
            dW += derivative
    return self.dx(dy) if input_grad else None


def last_parameter_unassigned(self, dy, *, param_grads, input_grad):
    if param_grads:
        for name, derivative in list(self.derivatives(dy).items())[:-1]:
            getattr(self, f'd{name}')[...] = derivative
    return self.dx(dy) if input_grad else None


def wrong_without_param_grads(self, dy, *, param_grads, input_grad):
    dx = type(self).backward(self, dy, param_grads=param_grads, input_grad=input_grad)
    return dx if param_grads or dx is None else 1.1 * dx


def first_row_alone(self, dy, *, param_grads, input_grad):
    if param_grads:
        only = np.zeros_like(dy)
        only[0] = dy[0]
        type(self).backward(self, only, param_grads=True, input_grad=False)
    return type(self).backward(self, dy, param_grads=False, input_grad=input_grad)


def stepped(self, dy, *, param_grads, input_grad):
    dx = type(self).backward(self, dy, param_grads=param_grads, input_grad=input_grad)
    if param_grads:
        for name in self.shapes:
            getattr(self, name)[...] -= 0.01 * getattr(self, f'd{name}')
    return dx


def dy_written_to(self, dy, **which):
    dx = type(self).backward(self, dy, **which)
    dy *= 0.5
    return dx


def of_the_sign_of_dy(self, dy, **which):
    return type(self).backward(self, np.sign(dy), **which)


def of_the_rows_mean(self, dy, **which):
    return type(self).backward(self, np.zeros_like(dy) + dy.mean(axis=0), **which)


def of_dy_reversed(self, dy, **which):
    return type(self).backward(self, dy[:, ::-1], **which)


def swapped(self, new):
    """The cache, with `new` in place of its first array if that has the same shape."""
    cache = self.cache
    if isinstance(cache, tuple):
        return (new, *cache[1:]) if np.shape(cache[0]) == new.shape else cache
    return new if np.shape(cache) == new.shape else cache


def at_dy(self, dy, **which):
    self.cache = swapped(self, dy)
    return type(self).backward(self, dy, **which)


def forward_caching_y(self, x, **how):
    y = type(self).forward(self, x, **how)
    self.cache = swapped(self, y)
    return y


def forward_writing_to_x(self, x, **how):
    y = type(self).forward(self, x, **how)
    x *= 0.5
    return y


ANY = {
    'backward of the sign of dy': {'backward': of_the_sign_of_dy},
    'backward of the mean of dy over the rows': {'backward': of_the_rows_mean},
    'backward of dy reversed': {'backward': of_dy_reversed},
    'dy for the cached array': {'backward': at_dy},
    'y for the cached array': {'forward': forward_caching_y},
    'dy changed in place': {'backward': dy_written_to},
    'x changed in place': {'forward': forward_writing_to_x},
    **{name: with_dx(change) for name, change in DX.items()},
}
ANY_WITH_PARAMETERS = {
    'derivatives accumulated': {'backward': accumulated},
    'last parameter not assigned': {'backward': last_parameter_unassigned},
    'dx wrong without param_grads': {'backward': wrong_without_param_grads},
    'parameters: first row alone': {'backward': first_row_alone},
    'parameters changed in backward': {'backward': stepped},
}


def errors_of(name, layer):
    """All errors for a family's layer, name -> {method: function}. The family's own come first."""
    errors = {**FAMILIES[name].errors, **ANY}
    if layer.shapes:
        errors |= ANY_WITH_PARAMETERS
        errors |= {f'd{parameter}: {what}': with_derivative(parameter, change)
                   for parameter in layer.shapes for what, change in DTHETA.items()}
    return errors


def correct(name, draw, seed, attempt=0):
    """The draw-th correct layer of a family, and its x."""
    return FAMILIES[name].draw(np.random.default_rng([zlib.crc32(name.encode()), seed, draw, attempt]))


def wrong(name, draw, seed):
    """The draw-th wrong layer of a family: (layer, x, what is wrong with it)."""
    order = np.random.default_rng([zlib.crc32(name.encode()), seed])
    errors = list(errors_of(name, correct(name, draw, seed)[0]).items())
    shift = int(order.integers(len(errors)))
    for turn in range(len(errors)):  # even draws go through all errors, odd ones through the family's own
        own = len(FAMILIES[name].errors)
        place = draw // 2 % own + turn if own and draw % 2 else shift + draw // 2 + turn
        what, methods = errors[place % len(errors)]
        for attempt in range(ATTEMPTS):
            layer, x = planted(correct(name, draw, seed, attempt), methods)
            if real(correct(name, draw, seed, attempt)[0], layer, x, draw):
                return *planted(correct(name, draw, seed, attempt), methods), what
    raise RuntimeError(f'{name}: no error makes a difference at draw {draw}')


def planted(pair, methods):
    """The layer with some of its methods replaced, and its x."""
    layer, x = pair
    for method, function in methods.items():
        setattr(layer, method, MethodType(function, layer))
    return layer, x


def real(right, wrong, x, seed=0):
    """Whether a wrong layer's derivatives visibly differ from the correct ones.

    They must do so for the parameters, random numbers and dy of this seed and of several others; near those parameters;
    and 0.1 N(0, 1) away from them, where gradcheck moves them.
    """
    with warnings.catch_warnings(), np.errstate(all='ignore'):
        warnings.simplefilter('ignore')
        try:
            return all(differ(*nets, at.copy(), theta, of) for of in (seed, *range(1001, 1001 + INITS))
                       for nets, at, theta in places(right, wrong, x, of))
        except (ValueError, IndexError):
            return False  # shapes that do not fit: nothing to find


def places(right, wrong, x, seed):
    """Yields (nets of the two layers, x, theta) for each place at which `real` compares them."""
    rng = np.random.default_rng(seed)
    nets = [Net([deepcopy(layer)], rng=Streams(seed).at('init', 0), dtype=np.float64) for layer in (right, wrong)]
    start, noise = nets[0].theta.copy(), rng.standard_normal(nets[0].theta.shape)
    yield nets, x, start
    sizes = np.where(x == 0, abs(x).max(), abs(x))  # moves x off a kink
    yield nets, x + 1e-3 * sizes * rng.uniform(0, 1, x.shape), start * (1 + 0.1 * noise)
    if len(noise):
        yield nets, x, start + 0.1 * noise


def random_dy(y, seed):
    return np.random.default_rng([seed, 1]).standard_normal(y.shape)


def run(net, x, seed, keep_cache=False):
    return net.forward(x, rng=Streams(seed).at('dropout', 0), keep_cache=keep_cache)


def outcome(net, x, theta, seed):
    """(derivatives, what a layer must not change) after backward with and without param_grads; each name -> array."""
    net.theta[...], x, derivatives, kept = theta, x.copy(), {}, {}
    for name, param_grads in (('x', True), ('x alone', False)):
        u = random_dy(run(net, x, seed, keep_cache=True), seed)
        net.dtheta[...] = np.nan
        derivatives[name] = net.backward(u, param_grads=param_grads)
        kept[name] = u
        if param_grads:
            derivatives |= {key: part.copy() for key, part in views(net.dtheta, net.slots).items()}
    return derivatives, {**kept, 'input': x, 'theta': net.theta.copy()}


def differ(net, wrong_net, x, theta, seed):
    """Whether the second net's derivatives are visibly wrong, or it changes what a layer must not change."""
    (right, kept), (wrong, changed) = outcome(net, x, theta, seed), outcome(wrong_net, x, theta, seed)
    if any(not np.array_equal(kept[name], changed[name]) for name in kept):
        return True
    net.theta[...] = theta
    arrays = {'x': x, 'x alone': x, **views(net.theta, net.slots)}
    for name, da in right.items():
        if wrong[name].shape != da.shape:
            raise ValueError(f'{name}: expected shape {da.shape}, got {wrong[name].shape}')
        gap = wrong[name] - da
        if np.isnan(gap).any():
            return True
        if norm(gap) > REAL * norm(da) and visible(lambda: run(net, x, seed), arrays[name], gap, seed):
            return True
    return False


def visible(forward, a, gap, seed):
    """Whether differences of float64 numbers can tell a derivative that is off by `gap` from the correct one.

    For some entry, moved by MOVE of its size, the two derivatives must predict changes of <dy, y> that are more than 32
    roundings of y apart.
    """
    y = forward().copy()
    u, found = random_dy(y, seed), False
    for i in {int(abs(gap).argmax()), int(abs(gap * a).argmax())}:
        step = MOVE * (abs(a.flat[i]) or abs(a).max() or 1.0)
        found |= bool(abs(gap.flat[i]) * step > 32 * np.finfo(float).eps * norm(u * y))
    return found


def norm(a):
    """The Euclidean norm, without underflow of the squares."""
    size = abs(a).max(initial=0)
    return np.linalg.norm(a / size) * size if size else 0.0
