"""Net: layers in sequence over one flat buffer of parameters."""

from math import prod
from typing import NamedTuple

import numpy as np


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

        theta, dtheta: (n,)    the trainable parameters and the derivative of the loss with respect to them
        state: (n_state,)      the moving averages
        slots, state_slots     what lies where: lists of Slot

    Each layer's W is a view into theta, its dW a view into dtheta. Optimisers, checkpoints and gradient checks
    work on the flat arrays or walk the slots. Derivatives are assigned by each backward pass, never accumulated.

    layers: a list of Layer; name: for error messages; rng: Draws for the starting values; xp: numpy or cupy.
    fuse: a function that makes of the layers those that training runs in their place (gpu/fusion.py), or None.
    Raises ValueError for a layer that stands at two places: it has one cache.
    """

    def __init__(self, layers, *, rng, name='net', dtype=np.float32, xp=np, fuse=None):
        self.layers, self.name, self.dtype, self.fuse = layers, name, np.dtype(dtype), fuse
        self._chains = {False: layers, True: fuse(layers) if fuse else layers}
        self._chain = layers  # what the last forward went through
        self.takes_integers = bool(layers) and layers[0].takes_integers
        self._parts = dict(parts(layers))
        self._check_parts()
        self.slots = self._allocate('shapes', 'theta', 'dtheta', xp=xp)
        self.state_slots = self._allocate('state_shapes', 'state', xp=xp)
        self.bind()
        self.version = 0  # counts the changes of theta
        self._cached = None  # the version whose cache the layers hold
        for layer in self._parts.values():
            layer.init(rng)

    def _check_parts(self):
        places = {}
        for place, layer in self._parts.items():
            if id(layer) in places:
                raise ValueError(f'{self.name}: {layer} stands at {places[id(layer)]} and at {place}, but has one '
                                 'cache: make two layers')
            places[id(layer)] = place

    def _allocate(self, kind, *buffers, xp):
        """Make the flat buffers for one kind of shapes. Returns the table of slots."""
        slots, size = [], 0
        for place, layer in self._parts.items():
            for name, shape in getattr(layer, kind).items():
                slots.append(Slot(f'{place}.{name}', size, shape))
                size += prod(shape)
        for buffer in buffers:
            setattr(self, buffer, xp.zeros(size, self.dtype))
        return slots

    def bind(self):
        """Make each layer's parameters, their derivatives and its state views into this net's buffers."""
        for slots, flat, prefix in ((self.slots, self.theta, ''), (self.slots, self.dtheta, 'd'),
                                    (self.state_slots, self.state, '')):
            for slot, view in views(flat, slots).items():
                place, name = slot.rsplit('.', 1)
                self._parts[place].bind(**{prefix + name: view})

    def forward(self, x, *, training=True, rng=None, keep_cache=True):
        """The output for the rows of x. With keep_cache, a backward pass must follow before the next such forward.

        training: minibatch statistics and dropout, or the moving averages and none. rng: Draws, for dropout.
        Raises ValueError for x of another dtype, RuntimeError when an earlier forward still waits for its backward.
        """
        if x.dtype != self.dtype and not (self.takes_integers and x.dtype.kind in 'iu'):
            raise ValueError(f'{self.name}: expected x of dtype {self.dtype}, got {x.dtype}')
        if self._cached is not None:
            raise RuntimeError(f'{self.name}: a second forward before the first one\'s backward would lose its cache')
        self._chain = self._chains[training]
        for layer in self._chain:
            x = layer.forward(x, training=training, rng=rng)
            if not keep_cache:
                layer.drop_cache()  # at once: thousands of samples then need the memory of two layers, not of all
        if keep_cache:
            self._cached = self.version
        return x

    def __call__(self, x):
        """The net as a function: evaluation mode, nothing kept."""
        return self.forward(x, training=False, keep_cache=False)

    def backward(self, dy, *, param_grads=True, input_grad=True, keep_cache=False):
        """dx from dy, and dtheta unless param_grads is False. Uses the cache up unless keep_cache.

        Raises RuntimeError without a cache, or when theta has changed since it was made.
        """
        if self._cached is None:
            raise RuntimeError(f'{self.name}: backward needs a forward before it, and uses its cache up')
        if self._cached != self.version:
            raise RuntimeError(f'{self.name}: the parameters have changed since the forward pass')
        if not keep_cache:
            self._cached = None  # used up even if a layer raises, so that the net stays usable
        for i, layer in reversed(list(enumerate(self._chain))):
            dy = layer.backward(dy, param_grads=param_grads, input_grad=input_grad or i > 0)
        if not keep_cache:
            self.drop_cache()
        return dy

    def drop_cache(self):
        """Forget the last forward."""
        self._cached = None
        for layer in self._chain:
            layer.drop_cache()

    @property
    def layers_in_training(self):
        """The layers as training runs them: in groups, where they are fused."""
        return self._chains[True]

    def dtheta_norm(self):
        """The Euclidean norm of dtheta, as a scalar of the device: no synchronisation."""
        return (self.dtheta @ self.dtheta) ** 0.5

    def __repr__(self):
        return f'{self.name}: ' + ', '.join(map(repr, self.layers))


def parts(layers, place='', *, nested=True):
    """(place, layer) for all layers: '1.Dense', '2.Sequential'; nested: and those inside, '2.Sequential.1.Dense'."""
    for number, layer in enumerate(layers, 1):
        name = f'{place}{number}.{type(layer).__name__}'
        yield name, layer
        if nested:
            yield from parts(layer.layers, f'{name}.')


def views(flat, slots):
    """name -> view into a flat buffer."""
    return {slot.name: slot.of(flat) for slot in slots}
