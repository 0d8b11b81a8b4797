"""Net: layers in sequence over one flat buffer of parameters."""

import weakref
from collections.abc import Callable, Iterable
from math import prod
from typing import NamedTuple

import numpy as np

from minigan import ops
from minigan.layers import Layer
from minigan.streams import Rng

BUFFERS = ('theta', 'dtheta', 'state')


class Slot(NamedTuple):
    """Where a parameter lies in a flat buffer."""

    name: str
    start: int
    shape: tuple

    def of(self, flat):
        """The view into a flat buffer, in the parameter's own shape."""
        return flat[self.start:self.start + prod(self.shape)].reshape(self.shape)


class Net:
    """Layers applied in sequence. All parameters lie in one flat array, all derivatives in another.

        y = net(x)                      evaluation: moving averages, no dropout; keeps no cache
        y = net.forward(x, rng=rng)     training: minibatch statistics, dropout; keeps a cache
        dx = net.backward(dy)           uses up that cache; to skip it, call net.drop_cache()

        theta, dtheta: (n,)             the trainable parameters, and the derivative of the loss with respect to them
        state: (n_state,)               the moving averages
        slots, state_slots              lists of Slot: what lies where

    Each layer's W is a view into theta, its dW a view into dtheta. Optimisers, checkpoints and gradient checks work on
    the flat arrays or walk the slots. Each backward pass assigns the derivatives; it never adds to them.

    name: for error messages; rng: for the starting values; xp: numpy or cupy. fuse: a function from the layers to the
    layers that training runs instead (gpu/fusion.py), or None. Raises ValueError for a layer that stands at two places
    or belongs to a different net, since it has one cache.
    """

    def __init__(self, layers: Iterable[Layer], *, rng: Rng | None, name: str = 'net', dtype=np.float32, xp=np,
                 fuse: Callable | None = None):
        self.layers, self.name, self.dtype, self.fuse = tuple(layers), name, np.dtype(dtype), fuse
        self.layers_in_training = fuse(self.layers) if fuse else self.layers
        self.takes_integers = bool(self.layers) and self.layers[0].takes_integers
        self._parts = dict(parts(self.layers))
        self._check_parts()
        (self.slots, n), (self.state_slots, n_state) = (table(self._parts, kind) for kind in ('shapes', 'state_shapes'))
        self.theta, self.dtheta, self.state = (xp.zeros(size, self.dtype) for size in (n, n, n_state))
        self.version = 0  # counts the changes of theta
        self._cached = None  # the version whose cache the layers hold
        self._chain = self.layers  # what the last forward went through
        self.bind()
        for layer in self._parts.values():
            layer.init(rng)
        self._claim()

    def _check_parts(self):
        places = {}
        for place, layer in self._parts.items():
            if id(layer) in places:
                raise ValueError(f'{self.name}: {layer} stands at {places[id(layer)]} and at {place}, but has one '
                                 'cache: make two layers')
            owner = getattr(layer.owner and layer.owner(), 'name', None)  # its name: a traceback would keep the net
            if owner is not None:
                raise ValueError(f'{self.name}: {layer} at {place} already stands in the net {owner!r}, but has one '
                                 'cache: make a new layer')
            places[id(layer)] = place

    def _claim(self):
        for layer in self._parts.values():
            layer.bind(owner=weakref.ref(self))

    def bind(self):
        """Make each layer's parameters, their derivatives and its state views into this net's buffers."""
        for slots, flat, prefix in ((self.slots, self.theta, ''), (self.slots, self.dtheta, 'd'),
                                    (self.state_slots, self.state, '')):
            for slot in slots:
                place, name = slot.name.rsplit('.', 1)
                self._parts[place].bind(**{prefix + name: slot.of(flat)})

    def __setattr__(self, name, value):
        if name in BUFFERS and value is not getattr(self, name, value):  # `theta += 1` ends by assigning the same array
            raise AttributeError(f'{self.name}: layers hold views into {name}; assign with {self.name}.{name}[...] =')
        object.__setattr__(self, name, value)

    def __setstate__(self, attributes):  # of a deep copy or a pickle, whose layers have no views yet
        vars(self).update(attributes)
        self.bind()
        self._claim()

    def __copy__(self):
        raise TypeError(f'{self.name}: a shallow copy would share its layers and their caches; use copy.deepcopy')

    def forward(self, x, *, training=True, rng: Rng | None = None, keep_cache=True):
        """The output for the rows of x. With keep_cache, a backward pass must follow before the next forward.

        training: with the minibatch's statistics and dropout, or with the moving averages and no dropout. rng: for
        layers that draw random numbers. Raises ValueError for x of a different dtype, RuntimeError while an earlier
        forward waits for its backward.
        """
        if x.dtype != self.dtype and not (self.takes_integers and x.dtype.kind in 'iu'):
            raise ValueError(f'{self.name}: expected x of dtype {self.dtype}, got {x.dtype}')
        if self._cached is not None:
            raise RuntimeError(f'{self.name}: an earlier forward waits for its backward, and this one would overwrite '
                               f'its cache; call {self.name}.drop_cache() first. {self.name}(x) leaves no cache')
        self._chain = self.layers_in_training if training else self.layers
        for layer in self._chain:
            x = layer.forward(x, training=training, rng=rng)
            if not keep_cache:
                layer.drop_cache()  # now, so that thousands of samples need the memory of two layers, not of all
        if keep_cache:
            self._cached, self._shape, self._dtype = self.version, x.shape, x.dtype  # those of y
        return x

    def __call__(self, x):
        """The net as a function, in evaluation mode; keeps no cache."""
        return self.forward(x, training=False, keep_cache=False)

    def backward(self, dy, *, param_grads=True, input_grad=True, keep_cache=False):
        """Return dx from dy, and assign dtheta unless param_grads is False. Uses up the cache unless keep_cache.

        Raises RuntimeError without a cache or when theta has changed since it was made, ValueError for a dy unlike y.
        """
        if self._cached is None:
            raise RuntimeError(f'{self.name}: backward needs a forward before it: each backward uses up the cache of '
                               f'{self.name}.forward(x), and {self.name}(x) keeps none')
        if (dy.shape, dy.dtype) != (self._shape, self._dtype):
            raise ValueError(f'{self.name}: expected dy as y, {self._shape} {self._dtype}, got {dy.shape} {dy.dtype}')
        if self._cached != self.version:
            raise RuntimeError(f'{self.name}: the parameters have changed since the forward pass; call '
                               f'{self.name}.drop_cache() and forward again')
        if not keep_cache:
            self._cached = None  # first of all: if a layer raises, the net stays usable
        for i, layer in reversed(list(enumerate(self._chain))):
            dy = layer.backward(dy, param_grads=param_grads, input_grad=input_grad or i > 0)
        if not keep_cache:
            self.drop_cache()
        return dy

    def drop_cache(self):
        """Discard the cache of the last forward, so that the next forward may follow without a backward."""
        self._cached = None
        for layer in self._chain:
            layer.drop_cache()

    def dtheta_norm(self):
        """The Euclidean norm of dtheta, in float64, as a scalar on the device: the CPU does not wait for it."""
        norm, scale = ops.euclidean_norm(self.dtheta)
        return norm.astype(np.float64) / scale

    def __repr__(self):
        return f'{self.name}: {", ".join(map(repr, self.layers))}; {self.theta.size:,} parameters, {self.dtype}'


def parts(layers, place='', *, nested=True):
    """(place, layer) for each layer, such as '2.Sequential'; nested: also for those inside, '2.Sequential.1.Dense'."""
    for number, layer in enumerate(layers, 1):
        name = f'{place}{number}.{type(layer).__name__}'
        yield name, layer
        if nested:
            yield from parts(layer.layers, f'{name}.')


def table(named_layers, kind):
    """A Slot for each name in the layers' `shapes` or `state_shapes`, end to end; and their total size."""
    slots, size = [], 0
    for place, layer in named_layers.items():
        for name, shape in getattr(layer, kind).items():
            slots.append(Slot(f'{place}.{name}', size, shape))
            size += prod(shape)
    return slots, size


def views(flat, slots):
    """name -> view into a flat buffer."""
    return {slot.name: slot.of(flat) for slot in slots}
