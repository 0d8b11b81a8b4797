"""PyTorch's convolutions, for convolutions.py: of oneDNN on a CPU, of cuDNN on a GPU. Images are channels_last."""

import torch
from torch.nn import functional as F


def operations(layer, x, dy, W, b=None):
    """(forward, backward) of a Convolution for torch tensors, with results in minigan's shapes, all of them views."""
    k, (before, after) = layer.k, layer.ends
    settings = {'stride': layer.stride, 'padding': layer.pad}
    images, dimages = (rows.reshape(-1, *shape).permute(0, 3, 1, 2) for rows, shape in ((x, before), (dy, after)))
    if layer.transposed:
        weight = W.reshape(-1, k, k, after[2]).permute(0, 3, 1, 2)
        forward, back = F.conv_transpose2d, lambda dw: dw.permute(0, 2, 3, 1).reshape(W.shape)
    else:
        weight = W.T.reshape(-1, k, k, before[2]).permute(0, 3, 1, 2)
        forward, back = F.conv2d, lambda dw: dw.permute(0, 2, 3, 1).reshape(W.T.shape).T
    weight, wanted = weight.contiguous(memory_format=torch.channels_last), [True, True, b is not None]

    def rows(y):
        return y.permute(0, 2, 3, 1).reshape(-1, y.shape[1])

    def backward():
        dx, dw, db = torch.ops.aten.convolution_backward(
            dimages, images, weight, [layer.n], [layer.stride] * 2, [layer.pad] * 2, [1, 1], layer.transposed, [0, 0],
            1, wanted)
        return (rows(dx), back(dw), db)[:2 + (b is not None)]
    return lambda: rows(forward(images, weight, b, **settings)), backward
