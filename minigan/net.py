"""Net: layers in sequence over one flat buffer of parameters."""

from itertools import accumulate

import numpy as np

from minigan.fusion import fuse


class Net:
    """Layers applied in sequence. All parameters lie in one flat array, all derivatives in another.

        theta, dtheta: (n,)    the trainable parameters and the derivative of the loss with respect to them
        state: (n_state,)      the moving averages
        slots, state_slots     what lies where: a list of (name, offset, shape)

    Each layer's W is a view into theta, its dW a view into dtheta. Optimisers, checkpoints and gradient checks
    work on the flat arrays or walk the slots. Derivatives are assigned by each backward pass, never accumulated.

    layers: a list of Layer; name: for error messages; rng: Draws for the starting values; xp: numpy or cupy.
    fused: whether training runs neighbouring layers as one (fusion.py); None: on a GPU.
    """

    def __init__(self, layers, *, rng, name='net', dtype=np.float32, xp=np, fused=None):
        self.layers, self.name, self.dtype = layers, name, np.dtype(dtype)
        self._chains = {False: layers, True: fuse(layers) if fused or fused is None and xp is not np else layers}
        self._chain = layers  # what the last forward went through
        self.slots = self._bind_all('shapes', ('theta', ''), ('dtheta', 'd'), xp=xp)
        self.state_slots = self._bind_all('state_shapes', ('state', ''), xp=xp)
        self.version = 0  # counts the changes of theta
        self._cached = None  # the version whose cache the layers hold
        for layer in layers:
            layer.init(rng)

    def _bind_all(self, kind, *buffers, xp):
        owned = [(number, layer, name, shape) for number, layer in enumerate(self.layers, 1)
                 for name, shape in getattr(layer, kind).items()]
        ends = list(accumulate((int(np.prod(shape)) for *_, shape in owned), initial=0))
        for buffer, prefix in buffers:
            flat = xp.zeros(ends[-1], self.dtype)
            setattr(self, buffer, flat)
            for (_, layer, name, shape), start, end in zip(owned, ends, ends[1:]):
                layer.bind(**{prefix + name: flat[start:end].reshape(shape)})
        return [(f'{number}.{type(layer).__name__}.{name}', start, shape)
                for (number, layer, name, shape), start in zip(owned, ends)]

    def forward(self, x, *, training=True, rng=None, keep_cache=True):
        """The output for the rows of x. With keep_cache, a backward pass must follow before the next such forward.

        training: minibatch statistics and dropout, or the moving averages and none. rng: Draws, for dropout.
        Raises ValueError for x of another dtype, RuntimeError when an earlier forward still waits for its backward.
        """
        if x.dtype != self.dtype:
            raise ValueError(f'{self.name}: expected x of dtype {self.dtype}, got {x.dtype}')
        if self._cached is not None:
            raise RuntimeError(f'{self.name}: a second forward before the first one\'s backward would lose its cache')
        self._chain = self._chains[training]
        for layer in self._chain:
            x = layer.forward(x, training=training, rng=rng)
            if not keep_cache:
                layer.cache = None  # at once: thousands of samples then need the memory of two layers, not of all
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
            self._drop_cache()
        return dy

    def _drop_cache(self):
        self._cached = None
        for layer in self._chain:
            layer.cache = None

    @property
    def layers_in_training(self):
        """The layers as training runs them: in groups, where they are fused."""
        return self._chains[True]

    def dtheta_norm(self):
        """The Euclidean norm of dtheta, as a scalar of the device: no synchronisation."""
        return (self.dtheta @ self.dtheta) ** 0.5

    def __repr__(self):
        return f'{self.name}: ' + ', '.join(map(repr, self.layers))
