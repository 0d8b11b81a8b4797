"""Do native twins give the bits of their specifications, and groups of layers those of the layers?

Each library is checked before its first use, and again when a specification or a layer has changed.
"""

from copy import deepcopy

import numpy as np

from minigan import backend
from minigan.checks.row import Row
from minigan.gpu import compare
from minigan.gpu.fusion import fuse
from minigan.gpu.kernelset import layers_of_groups
from minigan.net import Net
from minigan.streams import Streams

# Some widths are not multiples of 64. The last shape is large enough for several threads to share every kernel.
SHAPES = (3, 2), (9, 33), (32, 64), (33, 200), (130, 2100)


def rows(twins, shapes=SHAPES):
    """A Row for each native twin: how many numbers differ in their bits from the specification's, at most 0."""
    specifications, given = compare.specifications(), {shape: compare.arguments(*shape, 0) for shape in shapes}
    for case in compare.arguments(2, 2, 0):
        name = case.split(',')[0]
        if twin := getattr(twins, name, None):
            yield max((_row(case, twin, specifications[name].__wrapped__, shape, given[shape][case])
                       for shape in shapes), key=lambda row: row.error)
    yield Row('every group of layers', differing(_trained(twins), _trained(None)), 0)


def _row(case, twin, specification, shape, given):
    (theirs, keywords), (ours, _) = (deepcopy(given) for _ in range(2))
    returned = twin(*theirs, **keywords), specification(*ours, **keywords)
    written = [pair for name, *pair in zip(compare.names(specification), theirs, ours) if name != 'scratch']
    return Row(case, sum(differing(*pair) for pair in [returned, *written]), 0, f'{shape=}')


def _trained(twins):
    """What every group computes with these twins; with None, what its layers compute one after the other."""
    streams, before = Streams(0), backend.TWINS.copy()
    net = Net(layers_of_groups(), rng=streams.at('init', 0), fuse=fuse if twins else None)
    x, dy = streams.at('check', 0).normal((40, 5)), streams.at('check', 1).normal((40, 3))
    backend.TWINS['numpy'] = lambda xp: twins  # None has no twin at all
    try:
        return net.forward(x, rng=streams.at('dropout', 0)), net.backward(dy), net.dtheta, net.state
    finally:
        backend.TWINS.clear()
        backend.TWINS.update(before)


def differing(got, expected):
    """How many numbers of two arrays, or tuples of them, differ in their bits; any NaN equals any other."""
    if isinstance(expected, tuple):
        return sum(differing(*pair) for pair in zip(got, expected, strict=True))
    if not isinstance(expected, np.ndarray):
        return 0
    if (got.shape, got.dtype) != (expected.shape, expected.dtype):
        return max(1, expected.size)
    bits = np.dtype(f'u{expected.itemsize}')
    same = np.ascontiguousarray(got).view(bits) == np.ascontiguousarray(expected).view(bits)
    if expected.dtype.kind == 'f':
        same |= np.isnan(got) & np.isnan(expected)
    return int((~same).sum())
