"""Neighbouring layers that run as one: on a GPU, launching a kernel should take longer than running it, and on a CPU,
one pass over an array replaces several.

The operations come first: each does the work of several in ops.py, and is the specification of a kernel. The groups
follow: in training, a group computes what its layers compute one after the other. It owns no parameters.
"""

from minigan import ops
from minigan.backend import array_module, number, twin
from minigan.layers import BatchNorm, Dense, Dropout, Layer, LeakyReLU, Maxout, Noise, Scale, Sigmoid, Tanh


def fuse(layers):
    """The layers, with each run of layers in GROUPS replaced by its group. All other layers stay as they are."""
    chain, start = [], 0
    while start < len(layers):
        for run, group in GROUPS.items():
            members = layers[start:start + len(run)]
            if tuple(map(_kind, members)) == run:
                chain.append(group(*members))
                break
        else:
            members = layers[start:start + 1]
            chain += members
        start += len(members)
    return chain


@twin
def dense_leaky_relu_dropout(x, W, b, rng, *, slope, rate):
    """dense, leaky_relu and dropout.

        y = max(h, slope * h) * mask,   h = x W + b,   s = mask where h > 0, -mask elsewhere

    x: (m, n_in), W: (n_in, n_out), b: (n_out,), rng: for the bits of dropout; nothing is drawn for rate 0.
    Returns y and s (m, n_out), which is all that backward needs: the mask is not negative, so s is both.
    """
    return bias_leaky_relu_dropout(ops.dense(x, W)[None], b, rng, slope=slope, rate=rate)


@twin
def dense_tanh(x, W, b):
    """y = tanh(x W + b)"""
    return bias_tanh(ops.dense(x, W)[None], b)


@twin
def sum_parts(parts, b=None):
    """The end of a dense whose depth was split.   y = b + sum over the splits of parts

    parts: (splits, m, n), b: (n,) or None. Returns y (m, n).
    """
    y = parts.sum(axis=0)
    return y if b is None else y + b


@twin
def bias_leaky_relu_dropout(parts, b, rng, *, slope, rate):
    """The end of a dense_leaky_relu_dropout whose depth was split: h = b + sum over the splits of parts.

    parts: (splits, m, n). Returns y and s (m, n).
    """
    h, xp = sum_parts(parts, b), array_module(parts)
    y = ops.leaky_relu(h, slope=slope)
    y, mask = ops.dropout(y, rng.bits(h.shape), rate=rate) if rate else (y, xp.ones_like(y))
    return y, xp.copysign(mask, (h > 0) - xp.float32(0.5))


@twin
def leaky_relu_dropout_backward(dy, s, *, slope):
    """Derivative of leaky_relu and dropout, with the s of dense_leaky_relu_dropout.

        dh = dy * |s| * (1 where s > 0, slope elsewhere)     (where s is 0, dh is 0 with either factor)
    """
    return ops.leaky_relu_backward(ops.dropout_backward(dy, abs(s)), s, slope=slope)


@twin
def bias_tanh(parts, b):
    """The end of a dense_tanh whose depth was split.   y = tanh(b + sum over the splits of parts)"""
    return ops.tanh(sum_parts(parts, b))


@twin
def batch_norm_leaky_relu_(x, gamma, beta, moving_mean, moving_var, *, eps, momentum, slope):
    """batch_norm, whose statistics move the moving averages in place, then leaky_relu (none with slope = 1).

    x: (m, n), all others (n,). Returns y (m, n) and the cache of batch_norm.
    """
    h, cache, (mu, var) = ops.batch_norm(x, gamma, beta, eps=eps)
    ops.moving_average_(moving_mean, mu, momentum=momentum)
    ops.moving_average_(moving_var, var, momentum=momentum)
    return ops.leaky_relu(h, slope=slope), cache


@twin
def batch_norm_moments(x, *, rows):
    """The mean of each column, and the sum of its squared deviations from it, for each chunk of `rows` rows.

    The last chunk has the rows that are left. x: (m, n). Returns both (chunks, n). A kernel merges them to the
    statistics of all rows (Chan, Golub & LeVeque 1979).
    """
    xp, chunks = array_module(x), _chunks(x, rows)
    means = xp.stack([chunk.mean(axis=0) for chunk in chunks])
    return means, xp.stack([((chunk - mean)**2).sum(axis=0) for chunk, mean in zip(chunks, means)])


@twin
def batch_norm_leaky_relu_backward_(dy, gamma, beta, cache, dgamma, dbeta, *, slope):
    """Derivative of batch_norm_leaky_relu_; dgamma and dbeta are assigned, unless they are None.

    h is not in the cache: it is recomputed as gamma * xhat + beta.
    """
    dh = ops.leaky_relu_backward(dy, gamma * cache[0] + beta, slope=slope)
    dx, *dparams = ops.batch_norm_backward(dh, gamma, cache)
    if dgamma is not None:
        dgamma[...], dbeta[...] = dparams
    return dx


@twin
def batch_norm_leaky_relu_sums(dy, gamma, beta, xhat, *, slope, rows):
    """dbeta and dgamma of batch_norm_leaky_relu_backward_ for each chunk of `rows` rows: both (chunks, n)."""
    dh = ops.leaky_relu_backward(dy, gamma * xhat + beta, slope=slope)
    return tuple(array_module(dy).stack([chunk.sum(axis=0) for chunk in _chunks(term, rows)])
                 for term in (dh, dh * xhat))


def _chunks(x, rows):
    return [x[first:first + rows] for first in range(0, len(x), rows)]


@twin
def scale_dropout(x, rng, *, a, b, rate):
    """Scale, then dropout. Returns y and the mask.   y = (a x + b) * mask"""
    return ops.dropout(ops.scale(x, a=a, b=b), rng.bits(x.shape), rate=rate)


@twin
def scale_dropout_backward(dy, mask, *, a):
    """Derivative of scale_dropout.   dx = a (dy * mask)"""
    return ops.scale_backward(ops.dropout_backward(dy, mask), a=a)


@twin
def sigmoid_scale(x, *, a, b):
    """Sigmoid, then scale. Returns y and p.   y = a p + b,   p = sigmoid(x)"""
    p = ops.sigmoid(x)
    return ops.scale(p, a=a, b=b), p


@twin
def sigmoid_scale_backward(dy, p, *, a):
    """Derivative of sigmoid_scale.   dx = a dy * p * (1 - p)"""
    return ops.sigmoid_backward(ops.scale_backward(dy, a=a), p)


@twin
def maxout_dropout(x, rng, *, pieces, rate):
    """Maxout, then dropout.   y = maxout(x) * mask

    x: (m, pieces * n). Returns y and the mask (m, n).
    """
    y = ops.maxout(x, pieces=pieces)
    return ops.dropout(y, rng.bits(y.shape), rate=rate)


@twin
def maxout_dropout_backward(dy, x, mask, *, pieces):
    """Derivative of maxout_dropout: the largest unit of each group takes dy * mask; equals share it."""
    return ops.maxout_backward(ops.dropout_backward(dy, mask), x, ops.maxout(x, pieces=pieces), pieces=pieces)


@twin
def add_noise(x, rng, *, sigma):
    """y = x + sigma * eps,   eps ~ N(0, 1)"""
    return x + sigma * rng.normal(x.shape, x.dtype)


class DenseLeakyReLU(Layer):
    """Dense, LeakyReLU and perhaps Dropout."""

    def __init__(self, dense, leaky_relu, dropout=None):
        self.dense, self.leaky_relu, self.dropout = dense, leaky_relu, dropout

    def forward(self, x, *, training, rng):
        self.dense.check_width(x, self.dense.n_in)
        rate = self.dropout.rate if self.dropout else 0
        if rate:
            self.dropout.check_rng(rng)
        y, s = dense_leaky_relu_dropout(x, self.dense.W, self.dense.b, rng, slope=self.leaky_relu.slope, rate=rate)
        self.cache = x, s
        return y

    def backward(self, dy, *, param_grads, input_grad):
        x, s = self.cache
        dh = leaky_relu_dropout_backward(dy, s, slope=self.leaky_relu.slope)
        return _dense_backward(self.dense, dh, x, param_grads, input_grad)


class DenseTanh(Layer):
    """Dense and Tanh."""

    def __init__(self, dense, tanh):
        self.dense = dense

    def forward(self, x, *, training, rng):
        self.dense.check_width(x, self.dense.n_in)
        y = dense_tanh(x, self.dense.W, self.dense.b)
        self.cache = x, y
        return y

    def backward(self, dy, *, param_grads, input_grad):
        x, y = self.cache
        return _dense_backward(self.dense, ops.tanh_backward(dy, y), x, param_grads, input_grad)


class BatchNormLeakyReLU(Layer):
    """BatchNorm and perhaps LeakyReLU."""

    def __init__(self, batch_norm, leaky_relu=None):
        self.batch_norm, self.leaky_relu = batch_norm, leaky_relu

    @property
    def slope(self):
        """LeakyReLU's slope, or 1, which changes nothing."""
        return self.leaky_relu.slope if self.leaky_relu else 1

    def forward(self, x, *, training, rng):
        layer = self.batch_norm
        layer.check_minibatch(x)
        y, self.cache = batch_norm_leaky_relu_(x, layer.gamma, layer.beta, layer.moving_mean, layer.moving_var,
                                               eps=layer.eps, momentum=layer.momentum, slope=self.slope)
        return y

    def backward(self, dy, *, param_grads, input_grad):
        layer = self.batch_norm
        dparams = (layer.dgamma, layer.dbeta) if param_grads else (None, None)
        dx = batch_norm_leaky_relu_backward_(dy, layer.gamma, layer.beta, self.cache, *dparams, slope=self.slope)
        return dx if input_grad else None


class NoisyInput(Layer):
    """Noise."""

    def __init__(self, noise):
        self.noise = noise

    def forward(self, x, *, training, rng):
        self.noise.check_rng(rng)
        return add_noise(x, rng, sigma=number(self.noise.sigma(rng.step)))

    def backward(self, dy, *, param_grads, input_grad):
        return dy if input_grad else None


class ScaleDropout(Layer):
    """Scale and Dropout."""

    def __init__(self, scale, dropout):
        self.scale, self.dropout = scale, dropout

    def forward(self, x, *, training, rng):
        self.dropout.check_rng(rng)
        y, self.cache = scale_dropout(x, rng, a=self.scale.a, b=self.scale.b, rate=self.dropout.rate)
        return y

    def backward(self, dy, *, param_grads, input_grad):
        return scale_dropout_backward(dy, self.cache, a=self.scale.a) if input_grad else None


class SigmoidScale(Layer):
    """Sigmoid and Scale."""

    def __init__(self, sigmoid, scale):
        self.scale = scale

    def forward(self, x, *, training, rng):
        y, self.cache = sigmoid_scale(x, a=self.scale.a, b=self.scale.b)
        return y

    def backward(self, dy, *, param_grads, input_grad):
        return sigmoid_scale_backward(dy, self.cache, a=self.scale.a) if input_grad else None


class MaxoutDropout(Layer):
    """Maxout and Dropout."""

    def __init__(self, maxout, dropout):
        self.maxout, self.dropout = maxout, dropout

    def forward(self, x, *, training, rng):
        self.dropout.check_rng(rng)
        y, mask = maxout_dropout(x, rng, pieces=self.maxout.pieces, rate=self.dropout.rate)
        self.cache = x, mask
        return y

    def backward(self, dy, *, param_grads, input_grad):
        return maxout_dropout_backward(dy, *self.cache, pieces=self.maxout.pieces) if input_grad else None


GROUPS = {(Dense, LeakyReLU, Dropout): DenseLeakyReLU, (Dense, LeakyReLU): DenseLeakyReLU, (Dense, Tanh): DenseTanh,
          (BatchNorm, LeakyReLU): BatchNormLeakyReLU, (BatchNorm,): BatchNormLeakyReLU,
          (Noise,): NoisyInput, (Scale, Dropout): ScaleDropout, (Sigmoid, Scale): SigmoidScale,
          (Maxout, Dropout): MaxoutDropout}  # the longest first


def _kind(layer):
    """The class of a layer that may be in a group: no Dense without a bias, and no Dropout that draws nothing."""
    if isinstance(layer, Dense) and 'b' not in layer.shapes or isinstance(layer, Dropout) and not layer.rate:
        return None
    return type(layer)


def _dense_backward(dense, dy, x, param_grads, input_grad):
    if param_grads:
        ops.dense_backward_params_(dy, x, dense.dW, dense.db)
    return ops.dense_backward_input(dy, dense.W) if input_grad else None
