"""Single operations in PyTorch, for the same arrays as bench_ops.py gives to minigan's."""

import torch
from convolutions import LAYERS
from references import pytorch_convolutions
from torch.nn import functional as F

aten = torch.ops.aten


def operations(a):
    """name -> function, as PyTorch itself calls it in forward and backward. a: the arrays, by name."""
    torch.set_num_threads(a['threads'])
    t = {name: torch.from_numpy(array) for name, array in a.items() if name != 'threads'}
    x, h, dh, W, b, gamma, beta, y = (t[name] for name in ('x', 'h', 'dh', 'W', 'b', 'gamma', 'beta', 'y'))
    normalised, mu, rstd = torch.native_batch_norm(h, gamma, beta, None, None, True, 0.0, 1e-3)
    theta = t['theta'].clone().requires_grad_()
    theta.grad = t['dtheta']
    adam = torch.optim.Adam([theta], lr=2e-4, betas=(0.5, 0.999), eps=1e-7, fused=True)
    sgd = torch.optim.SGD([theta], lr=2e-4, momentum=0.5, fused=True)
    convolutions = {}
    for layer in LAYERS:
        given = map(torch.from_numpy, layer.arrays(len(x)))
        convolutions |= zip((f'{layer}', f'{layer} backward'), pytorch_convolutions.operations(layer, *given))
    rows, images, kept, scale = t['rows'], t['images'], t['mask'] > 0, float(t['mask'].max())
    return {
        'dense': lambda: torch.addmm(b, x, W),
        'dense_backward_input': lambda: dh @ W.T,
        'dense_backward_params_': lambda: (x.T @ dh, dh.sum(0)),
        'batch_norm': lambda: torch.native_batch_norm(h, gamma, beta, None, None, True, 0.0, 1e-3)[0],
        'batch_norm_backward': lambda: aten.native_batch_norm_backward(
            dh, h, gamma, None, None, mu, rstd, True, 1e-3, [True, True, True]),
        'leaky_relu': lambda: F.leaky_relu(h, 0.2),
        'leaky_relu_backward': lambda: aten.leaky_relu_backward(dh, h, 0.2, False),
        'bits and dropout': lambda: torch.native_dropout(h, 0.3, True),
        'dropout_backward': lambda: aten.native_dropout_backward(dh, kept, scale),
        'tanh': lambda: torch.tanh(h),
        'tanh_backward': lambda: aten.tanh_backward(dh, y),
        'sigmoid': lambda: torch.sigmoid(h),
        'softplus': lambda: F.softplus(h),
        'softplus_backward': lambda: aten.softplus_backward(dh, h, 1, 20),
        'gather_images': lambda: images[rows].float().mul_(1 / 127.5).sub_(1),
        'adam_': adam.step,
        'sgd_momentum_': sgd.step,
        'uniform': lambda: torch.rand(h.shape),
        'normal': lambda: torch.randn(h.shape),
        **convolutions,
    }
