"""Layers: an operation of ops.py, the parameters that it owns and the cache that its derivative needs.

To write your own, subclass Layer: name the parameters in `shapes`, fill them in `init`, and give `forward` and
`backward`. Net allocates the parameters; gradcheck tells whether the derivative is correct.
"""

from functools import cached_property
from math import lcm

from minigan import ops
from minigan.backend import number


class Layer:
    """What Net asks of a layer. The defaults suit a layer without parameters.

    shapes:        name -> shape of each trainable parameter; Net binds W and its derivative dW for a name 'W'
    state_shapes:  name -> shape of what training updates without a gradient (moving averages)
    layers:        the layers that it is made of; Net binds their parameters too
    mixes_rows:    whether a row of y depends on other rows of x; by default, whether one of its layers does
    block:         how many rows it reads together, apart from all others, if it mixes no further ones
    takes_integers: whether x holds integers, as for an embedding; then there is no dx
    cache:         what forward leaves for backward
    owner:         the net that it belongs to, as a weak reference, or None
    """

    shapes = {}
    state_shapes = {}
    layers = ()
    block = 1
    takes_integers = False
    cache = None
    owner = None
    _bound = frozenset()  # the names that Net has bound

    def init(self, rng):
        """Fill the parameters and the state with their starting values, drawn from rng."""

    def forward(self, x, *, training, rng):
        """y from x (m, n_in); leaves in self.cache what backward needs. rng: for layers that draw random numbers."""
        raise NotImplementedError

    def backward(self, dy, *, param_grads, input_grad):
        """Return dx from dy, and assign the parameters' derivatives (dW[...] = ...).

        Without param_grads the parameters' derivatives are not needed, and without input_grad dx is not.
        """
        raise NotImplementedError

    @cached_property  # not a property, so that a class or an instance may set it
    def mixes_rows(self):
        """Whether one of its layers mixes rows."""
        return any(layer.mixes_rows for layer in self.layers)

    def drop_cache(self):
        """Discard what forward has left, here and in the layers that this one is made of."""
        self.cache = None
        for layer in self.layers:
            layer.drop_cache()

    def bind(self, **views):
        """Make the named attributes views into a net's flat buffers; they cannot be set again. Called by Net."""
        for name, view in views.items():
            object.__setattr__(self, name, view)
        object.__setattr__(self, '_bound', self._bound | views.keys())

    def __setattr__(self, name, value):
        if name not in self._bound:
            object.__setattr__(self, name, number(value))
        elif value is not getattr(self, name):  # `W += 1` ends by assigning the same view
            raise AttributeError(f'{self}: {name} is a view into its net\'s flat buffer; assign with {name}[...] =')

    def __getstate__(self):  # for a copy: the views stay with the net
        return {name: value for name, value in vars(self).items() if name not in self._bound | {'_bound'}}

    def check_width(self, x, n):
        """Raises ValueError unless x is a minibatch of rows of width n."""
        if x.ndim != 2 or x.shape[1] != n:
            raise ValueError(f'{self}: expected x of shape (m, {n}), got {x.shape}')

    def check_rng(self, rng):
        """Raises ValueError without random numbers to draw from."""
        if rng is None:
            raise ValueError(f'{self}: expected rng=streams.at(...) in training, got None')

    def __repr__(self):
        return f'{type(self).__name__}()'


class Sequential(Layer):
    """Layers applied in sequence, as one layer: y = f_k(... f_2(f_1(x))). Use it to build blocks."""

    def __init__(self, *layers):
        self.layers, self.takes_integers = layers, bool(layers) and layers[0].takes_integers
        self.block = lcm(*(layer.block for layer in layers))

    def forward(self, x, *, training, rng):
        for layer in self.layers:
            x = layer.forward(x, training=training, rng=rng)
        return x

    def backward(self, dy, *, param_grads, input_grad):
        for i, layer in reversed(list(enumerate(self.layers))):
            dy = layer.backward(dy, param_grads=param_grads, input_grad=input_grad or i > 0)
        return dy

    def __repr__(self):
        return f'{type(self).__name__}({", ".join(map(repr, self.layers))})'


class Dense(Layer):
    """y = x W + b. W is drawn from U(-a, a), where a is sqrt(6 / (n_in + n_out)) unless given; b starts at 0.

    A bias in front of a BatchNorm is redundant: leave it out. Glorot & Bengio 2010, equation 16.
    """

    b = db = None  # unless they are in shapes: then Net binds them

    def __init__(self, n_in, n_out, *, bias=True, a=None):
        self.n_in, self.n_out, self.a = n_in, n_out, (6 / (n_in + n_out)) ** 0.5 if a is None else a
        self.shapes = {'W': (n_in, n_out), 'b': (n_out,)} if bias else {'W': (n_in, n_out)}

    def init(self, rng):
        self.W[...] = self.a * (2 * rng.uniform(self.W.shape, self.W.dtype) - 1)
        if self.b is not None:
            self.b[...] = 0

    def forward(self, x, *, training, rng):
        self.check_width(x, self.n_in)
        self.cache = x
        return ops.dense(x, self.W, self.b)

    def backward(self, dy, *, param_grads, input_grad):
        if param_grads:
            ops.dense_backward_params_(dy, self.cache, self.dW, self.db)
        return ops.dense_backward_input(dy, self.W) if input_grad else None

    def __repr__(self):
        return f'Dense({self.n_in} -> {self.n_out}{"" if "b" in self.shapes else ", no bias"})'


class BatchNorm(Layer):
    """Batch normalisation; see ops.batch_norm.

        y = gamma * (x - mu) / sqrt(var + eps) + beta

    Training uses the minibatch's own mu and var; evaluation uses moving averages of them:

        moving = momentum * moving + (1 - momentum) * statistic

    The moving average, too, is of the biased variance, as in Keras. gamma starts at 1, beta at 0.
    """

    mixes_rows = True

    def __init__(self, n, *, momentum=0.99, eps=1e-3):
        self.n, self.momentum, self.eps = n, momentum, eps
        self.shapes = {'gamma': (n,), 'beta': (n,)}
        self.state_shapes = {'moving_mean': (n,), 'moving_var': (n,)}

    def init(self, rng):
        self.gamma[...], self.beta[...] = 1, 0
        self.moving_mean[...], self.moving_var[...] = 0, 1

    def forward(self, x, *, training, rng):
        if training:
            self.check_minibatch(x)
            y, cache, (mu, var) = ops.batch_norm(x, self.gamma, self.beta, eps=self.eps)
            ops.moving_average_(self.moving_mean, mu, momentum=self.momentum)
            ops.moving_average_(self.moving_var, var, momentum=self.momentum)
        else:
            self.check_width(x, self.n)
            y, cache = ops.batch_norm_evaluation(x, self.gamma, self.beta, self.moving_mean, self.moving_var,
                                                 eps=self.eps)
        self.cache = training, cache
        return y

    def backward(self, dy, *, param_grads, input_grad):
        training, cache = self.cache
        derivative = ops.batch_norm_backward if training else ops.batch_norm_evaluation_backward
        dx, dgamma, dbeta = derivative(dy, self.gamma, cache)
        if param_grads:
            self.dgamma[...], self.dbeta[...] = dgamma, dbeta
        return dx if input_grad else None

    def check_minibatch(self, x):
        """Raises ValueError unless x is a minibatch to train with."""
        self.check_width(x, self.n)
        if len(x) < 2:
            raise ValueError(f'{self}: expected a minibatch of at least 2 rows in training, got {len(x)}')

    def __repr__(self):
        return f'BatchNorm({self.n})'


class LeakyReLU(Layer):
    """y = max(x, slope * x), slope in [0, 1)."""

    def __init__(self, slope):
        if not 0 <= slope < 1:
            raise ValueError(f'LeakyReLU: expected a slope in [0, 1), got {slope}')
        self.slope = slope

    def forward(self, x, *, training, rng):
        self.cache = x
        return ops.leaky_relu(x, slope=self.slope)

    def backward(self, dy, *, param_grads, input_grad):
        return ops.leaky_relu_backward(dy, self.cache, slope=self.slope) if input_grad else None

    def __repr__(self):
        return f'LeakyReLU({self.slope})'


class Maxout(Layer):
    """y_j = the largest of the j-th group of `pieces` units; see ops.maxout. Dense and Maxout make a maxout layer."""

    def __init__(self, pieces):
        if pieces < 1:
            raise ValueError(f'Maxout: expected at least 1 piece, got {pieces}')
        self.pieces = pieces

    def forward(self, x, *, training, rng):
        if x.shape[1] % self.pieces:
            raise ValueError(f'{self}: expected a width that {self.pieces} divides, got {x.shape[1]}')
        y = ops.maxout(x, pieces=self.pieces)
        self.cache = x, y
        return y

    def backward(self, dy, *, param_grads, input_grad):
        return ops.maxout_backward(dy, *self.cache, pieces=self.pieces) if input_grad else None

    def __repr__(self):
        return f'Maxout({self.pieces})'


class Scale(Layer):
    """y = a x + b with fixed a and b: from pixels in [-1, 1] to [0, 1], or back."""

    def __init__(self, a, b):
        self.a, self.b = a, b

    def forward(self, x, *, training, rng):
        return ops.scale(x, a=self.a, b=self.b)

    def backward(self, dy, *, param_grads, input_grad):
        return ops.scale_backward(dy, a=self.a) if input_grad else None

    def __repr__(self):
        return f'Scale({self.a}, {self.b})'


class Dropout(Layer):
    """In training, a random fraction `rate` of the units is 0 and the others are scaled up; in evaluation, y = x.

        y = x * mask,   mask = (0 with probability rate, 1 / (1 - rate) otherwise)
    """

    def __init__(self, rate):
        if not 0 <= rate < 1:
            raise ValueError(f'Dropout: expected a rate in [0, 1), got {rate}')
        self.rate = rate

    def forward(self, x, *, training, rng):
        if not training or self.rate == 0:
            self.cache = None
            return x
        self.check_rng(rng)
        y, self.cache = ops.dropout(x, rng.bits(x.shape), rate=self.rate)
        return y

    def backward(self, dy, *, param_grads, input_grad):
        if not input_grad:
            return None
        return dy if self.cache is None else ops.dropout_backward(dy, self.cache)

    def __repr__(self):
        return f'Dropout({self.rate})'


class Noise(Layer):
    """In training, y = x + sigma(t) * eps with eps ~ N(0, 1), t the step; in evaluation, y = x.

    sigma: a function of t. As D's first layer it blurs data and samples alike, so that their distributions overlap.
    Sonderby et al. 2017; Arjovsky & Bottou 2017.
    """

    def __init__(self, sigma):
        self.sigma = sigma

    def forward(self, x, *, training, rng):
        if not training:
            return x
        self.check_rng(rng)
        return x + number(self.sigma(rng.step)) * rng.normal(x.shape, x.dtype)

    def backward(self, dy, *, param_grads, input_grad):
        return dy if input_grad else None


class Tanh(Layer):
    """y = tanh(x): a generator's last layer, for pixels in [-1, 1]."""

    def forward(self, x, *, training, rng):
        self.cache = ops.tanh(x)
        return self.cache

    def backward(self, dy, *, param_grads, input_grad):
        return ops.tanh_backward(dy, self.cache) if input_grad else None


class Sigmoid(Layer):
    """y = sigmoid(x): a generator's last layer, for pixels in [0, 1]. A discriminator ends in its logit instead."""

    def forward(self, x, *, training, rng):
        self.cache = ops.sigmoid(x)
        return self.cache

    def backward(self, dy, *, param_grads, input_grad):
        return ops.sigmoid_backward(dy, self.cache) if input_grad else None
