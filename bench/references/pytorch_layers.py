"""PyTorch's layers for those of described.py, with the same parameters. Images have its format channels_last."""

import torch
from torch import nn


class Reshape(nn.Module):
    """Rows of images (m, h w c) to images (m, c, h, w) that lie in memory as before, or back."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    def forward(self, x):
        if len(self.shape) == 1:
            return x.permute(0, 2, 3, 1).reshape(len(x), *self.shape)
        return x.reshape(len(x), *self.shape).permute(0, 3, 1, 2)


class Dropout(nn.Module):
    """Dropout from 16 random bits, as minigan's."""

    def __init__(self, rate):
        super().__init__()
        self.dropped = int(rate * 2**16)

    def forward(self, x):
        bits = torch.randint(-2**15, 2**15, x.shape, dtype=torch.int16, device=x.device)
        return x * (bits >= self.dropped - 2**15).to(x.dtype).mul_(2**16 / (2**16 - self.dropped))


def built(layers, dropout=nn.Dropout):
    """The network of layers, each Described."""
    images, found = False, []
    for kind, settings, weights in layers:
        if kind == 'reshape':
            images = len(settings['shape']) == 3
        layer = dropout(settings['rate']) if kind == 'dropout' else LAYERS[kind](images, weights, **settings)
        for parameter, value in zip(layer.parameters(), weights, strict=True):
            parameter.data[...] = torch.tensor(theirs(layer, value))
        found.append(layer)
    return nn.Sequential(*found).to(memory_format=torch.channels_last)


def convolution(kind, n_in, n_out, weights, k, stride, pad):
    """A convolution or a transposed one."""
    return kind(n_in, n_out, k, stride=stride, padding=pad, bias=len(weights) > 1)


LAYERS = {
    'reshape': lambda images, weights, shape: Reshape(shape),
    'dense': lambda images, weights: nn.Linear(*weights[0].shape, bias=len(weights) > 1),
    'convolution': lambda images, weights, k, **more: convolution(
        nn.Conv2d, len(weights[0]) // k**2, weights[0].shape[1], weights, k, **more),
    'transposed': lambda images, weights, k, **more: convolution(
        nn.ConvTranspose2d, len(weights[0]), weights[0].shape[1] // k**2, weights, k, **more),
    'batch_norm': lambda images, weights, eps, momentum: (nn.BatchNorm2d if images else nn.BatchNorm1d)(
        len(weights[0]), eps=eps, momentum=1 - momentum),
    'leaky_relu': lambda images, weights, slope: nn.LeakyReLU(slope),
    'tanh': lambda images, weights: nn.Tanh(),
}


def theirs(layer, w):
    """A parameter in PyTorch's shape, from minigan's."""
    if w.ndim == 2 and isinstance(layer, nn.Conv2d):
        return w.reshape(*layer.kernel_size, layer.in_channels, -1).transpose(3, 2, 0, 1)
    if w.ndim == 2 and isinstance(layer, nn.ConvTranspose2d):
        return w.reshape(len(w), *layer.kernel_size, -1).transpose(0, 3, 1, 2)
    return w.T


def ours(layer, w):
    """A parameter in minigan's shape, from PyTorch's."""
    if w.ndim == 4 and isinstance(layer, nn.Conv2d):
        return w.transpose(2, 3, 1, 0).reshape(-1, len(w))
    if w.ndim == 4:
        return w.transpose(0, 2, 3, 1).reshape(len(w), -1)
    return w.T
