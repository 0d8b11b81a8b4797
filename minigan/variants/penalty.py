"""The gradient penalty of a critic f, and its derivative by hand: that of a function of a gradient.

    P = weight * mean over rows of (|g_i| - 1)^2,   g_i = df/dx at row i

With v_i = dP/dg_i held fixed,

    dP/dtheta = d<v, g>/dtheta = d(sum over rows of J v)/dtheta,   J v: the derivative of f along v

So v runs through the critic's layers like an input, but each layer applies its J: Dense leaves out its bias, LeakyReLU
keeps the slopes of x. Let T enter a Dense, and let dy be the derivative of f with respect to its output: then
dW = T^T dy, as in any backward pass, and db = 0. A critic of straight pieces needs no more. In a curved layer such as
tanh, J depends on its input h as well: there, d<dy, J(h) T>/dh starts one more ordinary backward pass.

A layer of your own may bring J v and its derivative, as checks/tangent.py describes; gradcheck then checks both.
Gulrajani et al. 2017, equation 3.
"""

from minigan import ops
from minigan.backend import array_module
from minigan.layers import Dense, Dropout, LeakyReLU, Maxout, Noise, Scale, Sequential, Sigmoid, Tanh

ELEMENTWISE = (LeakyReLU, Dropout, Scale, Noise, Tanh, Sigmoid)  # J is diagonal, so J v is J^T v: their own backward
TINY = 1e-12  # where g = 0, P has no derivative; 0 is taken


def gradient_penalty(D, x, *, weight, rng=None):
    """P = weight * mean over rows of (|g_i| - 1)^2,   g = df/dx at x (m, n); in training mode, so rng as in forward."""
    return weight * ((_norms(_slopes(D, x, rng)[0]) - 1)**2).mean()


def gradient_penalty_backward(D, x, *, weight, rng=None):
    """Derivative of gradient_penalty with respect to D's parameters, assigned to D.dtheta; x is a constant.

        v_i = dP/dg_i = 2 weight / m * (|g_i| - 1) g_i / |g_i|
    """
    g, dys = _slopes(D, x, rng)
    layers, bent = steps_of(D), []
    v = (2 * weight / len(g) * (1 - 1 / array_module(g).maximum(_norms(g), TINY)) * g).reshape(x.shape)
    for layer, dy in zip(layers, dys):
        bent.append(tangent_backward(layer, dy, v))
        v = tangent(layer, v)
    if any(dh is not None for dh in bent):
        straight = D.dtheta.copy()
        D.dtheta[...] = 0
        _backward(layers, bent)
        D.dtheta += straight
    for layer in D.layers:
        layer.drop_cache()


def _slopes(D, x, rng):
    """g = df/dx, a row for each output of f, and f's derivatives with respect to each layer's output. Leaves caches.

    A packed critic (packing.py) has an output for several rows of x. The layers themselves run, not the groups into
    which training may fuse them (gpu/fusion.py).
    """
    layers = steps_of(D)
    D.drop_cache()  # of a forward that waits for its backward: the layers are about to overwrite it
    for layer in layers:
        x = layer.forward(x, training=True, rng=rng)
    dys = [array_module(x).ones_like(x)]
    for layer in reversed(layers):
        dys.append(layer.backward(dys[-1], param_grads=False, input_grad=True))
    return dys.pop().reshape(len(x), -1), dys[::-1]


def _norms(g):
    return array_module(g).sqrt((g**2).sum(axis=1, keepdims=True))  # of whole rows, not of channels


def _backward(layers, sources):
    """An ordinary backward pass that starts with zeros; each layer's dx is increased by its source, unless None."""
    dh = None
    for layer, source in zip(reversed(layers), reversed(sources)):
        if dh is not None:
            dh = layer.backward(dh, param_grads=True, input_grad=True)
        if source is not None:
            dh = source if dh is None else dh + source


def steps_of(D):
    """D's layers, with those inside a Sequential one by one."""
    def flat(layers):
        for layer in layers:
            yield from flat(layer.layers) if type(layer) is Sequential else [layer]
    return list(flat(D.layers))


def tangent(layer, v):
    """J v, the derivative of the layer's y along v, at the x of its last forward."""
    if type(layer) in ELEMENTWISE:
        return layer.backward(v, param_grads=False, input_grad=True)
    if type(layer) is Dense:
        return ops.dense(v, layer.W)
    if type(layer) is Maxout:
        x, y = layer.cache
        chosen = ops.maxout_backward(array_module(v).ones_like(y), x, y, pieces=layer.pieces)
        return (chosen * v).reshape(len(v), layer.pieces, -1).sum(axis=1)
    return layer.tangent(v)


def tangent_backward(layer, dt, v):
    """d<dt, J v>/dx, or None where J does not depend on x; assigns the derivatives of <dt, J v> to the parameters."""
    if type(layer) is Dense:
        ops.dense_backward_params_(dt, v, layer.dW)
        if layer.db is not None:
            layer.db[...] = 0
    elif type(layer) is Tanh:  # y'' = -2 y y'
        return ops.tanh_backward(-2 * layer.cache * dt * v, layer.cache)
    elif type(layer) is Sigmoid:  # y'' = (1 - 2 y) y'
        return ops.sigmoid_backward((1 - 2 * layer.cache) * dt * v, layer.cache)
    elif type(layer) not in (Maxout, *ELEMENTWISE):
        return layer.tangent_backward(dt, v)[0]
    return None


def without_tangent(D):
    """D's layers whose J v is not known. A subclass of a known layer may compute anything, so it is not known."""
    known = (Dense, Maxout, *ELEMENTWISE)
    return [layer for layer in steps_of(D) if type(layer) not in known and not hasattr(layer, 'tangent_backward')]
