"""Neighbouring layers run as one, for a GPU, where a launch should cost more time than what it computes.

A group computes what its layers compute one after the other, in training; it owns no parameters.
"""

from minigan import ops
from minigan.layers import BatchNorm, Dense, Dropout, Layer, LeakyReLU, Tanh


def fuse(layers):
    """The layers with a group in place of each run that has one. A layer of any other class stays as it is."""
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


class DenseLeakyReLU(Layer):
    """Dense, LeakyReLU and perhaps Dropout."""

    def __init__(self, dense, leaky_relu, dropout=None):
        self.dense, self.leaky_relu, self.dropout = dense, leaky_relu, dropout

    def forward(self, x, *, training, rng):
        self.dense.check_width(x, self.dense.n_in)
        if self.dropout:
            self.dropout.check_rng(rng)
        y, s = ops.bias_leaky_relu_dropout(ops.dense(x, self.dense.W), self.dense.b, rng, slope=self.leaky_relu.slope,
                                           rate=self.dropout.rate if self.dropout else 0)
        self.cache = x, s
        return y

    def backward(self, dy, *, param_grads, input_grad):
        x, s = self.cache
        dh = ops.bias_leaky_relu_dropout_backward_(dy, s, self.dense.db if param_grads else None)
        return _dense_backward(self.dense, dh, x, param_grads, input_grad)


class DenseTanh(Layer):
    """Dense and Tanh."""

    def __init__(self, dense, tanh):
        self.dense = dense

    def forward(self, x, *, training, rng):
        self.dense.check_width(x, self.dense.n_in)
        y = ops.bias_tanh(ops.dense(x, self.dense.W), self.dense.b)
        self.cache = x, y
        return y

    def backward(self, dy, *, param_grads, input_grad):
        x, y = self.cache
        dh = ops.bias_tanh_backward_(dy, y, self.dense.db if param_grads else None)
        return _dense_backward(self.dense, dh, x, param_grads, input_grad)


class BatchNormLeakyReLU(Layer):
    """BatchNorm and perhaps LeakyReLU."""

    def __init__(self, batch_norm, leaky_relu=None):
        self.batch_norm, self.leaky_relu = batch_norm, leaky_relu

    @property
    def slope(self):
        """LeakyReLU's; without one 1, which changes nothing."""
        return self.leaky_relu.slope if self.leaky_relu else 1

    def forward(self, x, *, training, rng):
        layer = self.batch_norm
        layer.check_minibatch(x)
        y, self.cache = ops.batch_norm_leaky_relu_(x, layer.gamma, layer.beta, layer.moving_mean, layer.moving_var,
                                                   eps=layer.eps, momentum=layer.momentum, slope=self.slope)
        return y

    def backward(self, dy, *, param_grads, input_grad):
        layer = self.batch_norm
        dparams = (layer.dgamma, layer.dbeta) if param_grads else (None, None)
        return ops.batch_norm_leaky_relu_backward_(dy, layer.gamma, layer.beta, self.cache, *dparams, slope=self.slope)


GROUPS = {(Dense, LeakyReLU, Dropout): DenseLeakyReLU, (Dense, LeakyReLU): DenseLeakyReLU, (Dense, Tanh): DenseTanh,
          (BatchNorm, LeakyReLU): BatchNormLeakyReLU, (BatchNorm,): BatchNormLeakyReLU}  # the longest first


def _kind(layer):
    return type(layer) if 'b' in layer.shapes or not isinstance(layer, Dense) else None  # groups of Dense add a bias


def _dense_backward(dense, dy, x, param_grads, input_grad):
    if param_grads:
        ops.dense_backward_params_(dy, x, dense.dW)
    return ops.dense_backward_input(dy, dense.W) if input_grad else None
