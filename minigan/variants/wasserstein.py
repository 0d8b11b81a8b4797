"""Wasserstein GANs: D is a critic f with bounded slopes, and the value of the game estimates a distance.

    W1(p_data, p_g) = max over f with |f(x) - f(y)| <= |x - y| of E[f(x)] - E[f(G(z))]

Two ways to bound the slopes. Either the weights are clipped after each step of D (Arjovsky et al. 2017, equation 2 and
Algorithm 1), or L_D gets a penalty (Gulrajani et al. 2017, equation 3 and Algorithm 1):

    P = weight * mean over rows of (|g_i| - 1)^2,   g_i = df/dx at xhat_i = e_i x_i + (1 - e_i) G(z_i),   e_i ~ U(0, 1)

How the derivative of P, that is, of a gradient, is taken. With v_i = dP/dg_i held fixed,

    dP/dtheta = d<v, g>/dtheta = d(sum over rows of J v)/dtheta,   J v: the derivative of f at xhat along v

So v runs through the critic's layers like an input, but each layer applies its J: Dense leaves out its bias, LeakyReLU
keeps the slopes of xhat. Let T enter a Dense, and let dy be the derivative of f with respect to its output: then
dW = T^T dy, as in any backward pass, and db = 0. A critic of straight pieces needs no more. In a curved layer
(tanh), J depends on its input h as well: there d<dy, J(h) T>/dh starts one more ordinary backward pass.

Differences from the papers: Adam with beta1 = 0 stands in for RMSProp (the 2017 paper warns of momentum). Every step of
G has the same number k of critic steps; the authors' code takes 100 at the start and in each 500th step. D may have
dropout. Rates and widths are chosen for this package's small data; the recipes below say so.
"""

from dataclasses import dataclass

from minigan import ops
from minigan.backend import array_module, number
from minigan.gan import Game
from minigan.layers import Dense, Dropout, LeakyReLU, Maxout, Noise, Scale, Sequential, Sigmoid, Tanh

ELEMENTWISE = (LeakyReLU, Dropout, Scale, Noise, Tanh, Sigmoid)  # J is diagonal, so J v is J^T v: their own backward
TINY = 1e-12  # where g = 0, P has no derivative; 0 is taken


@dataclass
class WassersteinGame(Game):
    """A Game whose D is kept from becoming steep; the objective may be any, 'wasserstein' in the papers.

    clip_weights: c; after each step of D, every entry of theta_D is clipped to [-c, c]. gradient_penalty: the weight
    of P in L_D. 0 turns either off. Raises ValueError for negative ones, for simultaneous updates, and for a penalty on
    a D with a layer whose J v is not known; a layer of your own may bring it, as checks/tangent.py describes.
    """

    clip_weights: float = 0.0
    gradient_penalty: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        for name in ('clip_weights', 'gradient_penalty'):
            setattr(self, name, number(getattr(self, name)))
            if not getattr(self, name) >= 0:
                raise ValueError(f'{name}: expected a number >= 0, got {getattr(self, name)}')
        if self.update != 'alternating':
            raise ValueError(f"update: expected 'alternating' with a critic, got {self.update!r}")
        for layer in steps_of(self.D) if self.gradient_penalty else ():
            if not (type(layer) in (Dense, Maxout, *ELEMENTWISE) or hasattr(layer, 'tangent_backward')):
                raise ValueError('gradient_penalty: expected layers in D with the methods tangent and '
                                 f'tangent_backward, got {layer}')

    def update_D(self, x, z, rng):
        """Descend L_D + P in theta_D, then clip theta_D. Returns D's outputs before the update."""
        samples = self.G.forward(z, rng=rng, keep_cache=False)
        real, fake = self.logits(x, samples, rng)
        self.D.backward(self.L_D_backward(real, fake), input_grad=False)
        if self.gradient_penalty:
            dtheta, e = self.D.dtheta.copy(), rng.uniform((len(x), 1), x.dtype)
            gradient_penalty_backward(self.D, e * x + (1 - e) * samples, weight=self.gradient_penalty, rng=rng)
            self.D.dtheta += dtheta
        self.optimizer_D.step()
        if self.clip_weights:
            self.D.theta.clip(-self.clip_weights, self.clip_weights, out=self.D.theta)
        return real, fake


def gradient_penalty(D, x, *, weight, rng=None):
    """P = weight * mean over rows of (|g_i| - 1)^2,   g = df/dx at x (m, n); in training mode, so rng as in forward."""
    return weight * ((_norms(_slopes(D, x, rng)[0]) - 1)**2).mean()


def gradient_penalty_backward(D, x, *, weight, rng=None):
    """Derivative of gradient_penalty with respect to D's parameters, assigned to D.dtheta; x is a constant.

        v_i = dP/dg_i = 2 weight / m * (|g_i| - 1) g_i / |g_i|
    """
    g, dys = _slopes(D, x, rng)
    layers, bent = steps_of(D), []
    v = 2 * weight / len(x) * (1 - 1 / array_module(g).maximum(_norms(g), TINY)) * g
    for layer, dy in zip(layers, dys):
        bent.append(tangent_backward(layer, dy, v))
        v = tangent(layer, v)
    if any(dh is not None for dh in bent):
        straight = D.dtheta.copy()
        D.dtheta[...] = 0
        _backward(layers, bent)
        D.dtheta += straight
    D.drop_cache()
    for layer in D.layers:
        layer.drop_cache()


def _slopes(D, x, rng):
    """g = df/dx (m, n), and the derivatives of f with respect to each layer's output. Leaves the layers' caches.

    The layers themselves run, not the groups into which training may fuse them (gpu/fusion.py).
    """
    layers = steps_of(D)
    for layer in layers:
        x = layer.forward(x, training=True, rng=rng)
    dys = [array_module(x).ones_like(x)]
    for layer in reversed(layers):
        dys.append(layer.backward(dys[-1], param_grads=False, input_grad=True))
    return dys.pop(), dys[::-1]


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
