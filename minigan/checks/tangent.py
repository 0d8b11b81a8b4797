"""Second derivatives: a layer's own J v, checked along a random v.

A layer may offer tangent(v), J v at the x of its last forward, and tangent_backward(dt, v), which returns (dx, dv) for
<dt, J v> and assigns the parameters' derivatives.
"""

from dataclasses import replace

import numpy as np

from minigan.checks.derivatives import TOLERANCE, check, normal, spread
from minigan.checks.differences import Finding, relative
from minigan.net import views


def check_tangent(net, forward, backward, inputs, draws, seed, options):
    """J v by the layer against its own backward, <u, J v> = <J^T u, v>; then the derivative of J v."""
    layer, x = net.layers[0], inputs['x']
    v = normal(draws, x.shape) * spread(x)

    def tangent(keep_cache=False):
        forward(keep_cache=True)
        t = layer.tangent(v)
        if not keep_cache:
            net.drop_cache()
        return t

    def tangent_backward(dt):
        tangent(keep_cache=True)
        net.dtheta[...] = np.nan
        dx, dv = layer.tangent_backward(dt, v)
        net.drop_cache()
        return {**views(net.dtheta, net.slots), 'x': dx, 'v': dv}

    t = tangent()
    u = normal(draws, t.shape)
    expected, got = np.sum(backward(u)['x'] * v), np.sum(u * t)
    rows = [_compare(expected, got, np.sum(abs(u * t)))]
    if hasattr(layer, 'tangent_backward'):
        rows += [replace(row, name=f'J v by {row.name}')
                 for row in check(tangent, tangent_backward, {**inputs, 'v': v}, seed=seed, **options)]
    return rows


def _compare(expected, got, size):
    """The Finding for J v. size: of the terms whose sum `got` is."""
    right = abs(expected - got) <= TOLERANCE['float64']['any'] * size
    return Finding('J v', expected, got, relative(expected, got), 'ok' if right else 'wrong',
                   '' if right else 'expected is <J^T u, v>, got is <u, tangent(v)>')
