"""Is a layer correct? Checks its derivatives by central differences (derivatives.py), and the rules of contract.py."""

from dataclasses import replace

import numpy as np

from minigan.checks.contract import broken_rules, check_that_nothing_is_drawn, lent
from minigan.checks.derivatives import DIRECTION, PARAMETERS, STATE, Report, check, normal
from minigan.checks.differences import broken
from minigan.checks.tangent import check_tangent
from minigan.layers import Layer
from minigan.net import Net, views
from minigan.streams import Streams


def gradcheck(layer: Layer | Net, x, *, training: bool | None = None, seed: int = 0, **options) -> Report:
    """Check a Layer, or a float64 Net, at x (m, ...): the derivatives with respect to the input and to each parameter,
    and the rules that a layer must follow (contract.py).

        <u, J v> by central differences = <J^T u, v> by backward,   for random u and v

    training: the mode to check; None: both. options: directions, tolerance, step, full; see check. Parameters and state
    are first moved away from their starting values, since gamma = 1 or b = 0 would hide a wrong term, and restored
    afterwards. Random layers draw the same numbers each time; in evaluation rng is None. If the layer takes_integers,
    x stays as it is. tangent.py checks the second derivatives of a layer that has a method tangent.
    Returns a Report. Raises ValueError as check does, and for an empty x or a Net of a different dtype.
    """
    streams, x = Streams(seed), np.array(x)
    if not isinstance(layer, (Layer, Net)) or x.dtype.kind not in 'fiub' or not x.ndim or not x.size:
        raise ValueError('gradcheck(layer, x): expected a Layer or a Net, and numbers of shape (m, ...), not empty; '
                         f'got {layer!r:.60} and {x.dtype} of shape {x.shape}')
    if training not in (True, False, None):
        raise ValueError(f'training: expected True, False or None for both, got {training!r}')
    if isinstance(layer, Layer):
        with lent([layer]):
            net = Net([layer], rng=streams.at('init', 0), dtype=np.float64)
            return _check_net(net, x, training, streams, seed, options)
    if layer.dtype != np.float64:
        raise ValueError(f'{layer.name}: expected Net(..., dtype=np.float64), got {layer.dtype}')
    return _check_net(layer, x, training, streams, seed, options)


def _check_net(net, x, training, streams, seed, options):
    x, report, kept = x if net.takes_integers else x.astype(np.float64), Report(), (net.theta.copy(), net.state.copy())
    try:
        moved = normal(streams.at('check', PARAMETERS), net.theta.shape)
        net.theta += 0.1 * moved * np.where(net.theta, abs(net.theta), 1)
        factor, offset = streams.at('check', STATE).uniform((2, *net.state.shape), np.float64)
        start = net.state * (1 + factor) + offset  # variances stay positive
        for mode in (True, False) if training is None else (training,):
            suffix = ', evaluation' if training is None and not mode else ''
            report += [replace(row, name=row.name + suffix)
                       for row in _check_mode(net, x, start, mode, streams, seed, options)]
        return report
    finally:
        net.theta[...], net.state[...] = kept


def _check_mode(net, x, start, training, streams, seed, options):
    """The rows for one mode: the derivatives, the tangent if there is one, and the rules that are broken."""
    def forward(keep_cache=False):
        net.state[...] = start
        return net.forward(x, training=training, rng=rng(), keep_cache=keep_cache)

    def rng(step=0):
        return streams.at('dropout', step) if training else None

    def backward(u):
        forward(keep_cache=True)
        net.dtheta[...] = np.nan  # derivatives are assigned: what lay there before must not matter
        dx = net.backward(u)
        return {**views(net.dtheta, net.slots), **({} if net.takes_integers else {'x': dx})}

    net.state[...] = start
    if not training:
        check_that_nothing_is_drawn(net, x, streams)
    inputs = {**({} if net.takes_integers else {'x': x}), **views(net.theta, net.slots)}
    report = check(forward, backward, inputs, seed=seed, **options)
    if hasattr(net.layers[0], 'tangent') and len(net.layers) == 1:
        report += check_tangent(net, forward, backward, inputs, streams.at('check', DIRECTION), seed, options)
    net.state[...] = start
    return report + [broken(rule, why) for rule, why in broken_rules(net, x, training, rng)]
