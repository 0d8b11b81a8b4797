"""A net's layers as frameworks know them; from these, each reference builds the same network.

There, a convolution is one layer of images (m, h, w, c). Here it is Patches and Dense, over rows of pixels.
"""

from typing import NamedTuple

from minigan.layers import BatchNorm, Dense, Dropout, LeakyReLU, Tanh
from minigan.variants.convolution import Patches, Rows, Unpatches, places

SIMPLE = {Dense: ('dense',), BatchNorm: ('batch_norm', 'eps', 'momentum'), LeakyReLU: ('leaky_relu', 'slope'),
          Dropout: ('dropout', 'rate'), Tanh: ('tanh',)}  # type -> its kind, and the names of its settings


class Described(NamedTuple):
    """A layer. weights: copies of its parameters, in minigan's shapes.

    kind: one of SIMPLE, or 'convolution', 'transposed' (settings: k, stride and pad), or 'reshape' (settings: the shape
    of a row, (n,) or, for an image, (h, w, c)).
    """

    kind: str
    settings: dict
    weights: list


def describe(net):
    """The net's layers, each Described. Raises ValueError for a layer that the references lack."""
    found, images = [], False  # whether what the next layer reads is images
    for i, layer in enumerate(net.layers):
        before, after = net.layers[i - 1] if i else None, net.layers[i + 1] if i + 1 < len(net.layers) else None
        weights = [getattr(layer, name).copy() for name in layer.shapes]
        if isinstance(layer, Rows) or type(layer) is Patches and not images:
            images = not images
            shape = image_read(net.layers[i:]) if images else (layer.size,)
            found.append(Described('reshape', {'shape': shape}, []))
        elif type(layer) is Dense and type(before) is Patches:
            found.append(Described('convolution', window(before), weights))
        elif type(layer) is Dense and type(after) is Unpatches:
            found.append(Described('transposed', window(after), weights))
        elif type(layer) in SIMPLE:
            kind, *names = SIMPLE[type(layer)]
            found.append(Described(kind, {name: getattr(layer, name) for name in names}, weights))
        elif type(layer) not in (Patches, Unpatches):  # those belong to their Dense
            raise ValueError(f'{net.name}: the references have no layer such as {layer}')
    return found


def window(layer):
    """k, stride and pad."""
    return {name: layer.settings[name] for name in ('k', 'stride', 'pad')}


def image_read(layers):
    """The shape of the images that a convolution reads; layers: from Patches on, or from Rows in front of any."""
    first = next(layer for layer in layers if isinstance(layer, Patches))
    h, w, c = first.settings['shape']
    if type(first) is Unpatches:  # it reads them through a Dense
        (h, w), c = (places(n, **window(first)) for n in (h, w)), layers[0].size
    return h, w, c
