"""PyTorch's functions for the same arguments as each kernel's: often several calls in place of one kernel."""

import numpy as np
import torch
from torch.nn import functional as F

aten = torch.ops.aten
USED = ('tanh_backward', 'cross_entropy, target 1', 'stack', 'gather_images', 'adam_', 'sum_parts',
        'bias_leaky_relu_dropout', 'bias_tanh', 'batch_norm_leaky_relu_', 'batch_norm_leaky_relu_backward_')


def operations(arguments, device):
    """name -> function; arguments: those of gpu/compare.py, by the same names."""
    def tensors(value):
        if isinstance(value, tuple):
            return tuple(map(tensors, value))
        return torch.tensor(value, device=device) if isinstance(value, np.ndarray) else value

    a = {name: tensors(arguments[name][0]) for name in USED}
    eps, slope = (arguments['batch_norm_leaky_relu_'][1][name] for name in ('eps', 'slope'))
    momentum = 1 - arguments['batch_norm_leaky_relu_'][1]['momentum']
    rate = arguments['bias_leaky_relu_dropout'][1]['rate']
    x, gamma, beta, moving_mean, moving_var = a['batch_norm_leaky_relu_']
    dy, _, _, (xhat, rstd), _, _ = a['batch_norm_leaky_relu_backward_']
    centred, mu, h = xhat / rstd, torch.zeros_like(rstd), gamma * xhat + beta  # what its forward pass would have left
    theta = a['adam_'][0].clone().requires_grad_()
    theta.grad = a['adam_'][1]
    settings = arguments['adam_'][1]
    adam = torch.optim.Adam([theta], lr=settings['learning_rate'], betas=(settings['beta1'], settings['beta2']),
                            eps=settings['eps'], fused=True, capturable=device == 'cuda')
    (logit,), (images, rows, _), (first, second) = a['cross_entropy, target 1'], a['gather_images'], a['stack']
    ones = torch.ones_like(logit)

    def batch_norm_backward():
        dh = aten.leaky_relu_backward(dy, h, slope, False)
        return aten.native_batch_norm_backward(dh, centred, gamma, None, None, mu, rstd, True, eps, [True, True, True])

    return {
        'tanh_backward': lambda: aten.tanh_backward(*a['tanh_backward']),
        'cross_entropy, target 1': lambda: F.binary_cross_entropy_with_logits(logit, ones),
        'cross_entropy_backward, target 1': lambda: torch.sigmoid(-logit).div_(-len(logit)),
        'stack': lambda: torch.cat([first, second]),
        'gather_images': lambda: images[rows].float().mul_(1 / 127.5).sub_(1),
        'adam_': adam.step,
        'sum_parts': lambda: a['sum_parts'][0].sum(0).add_(a['sum_parts'][1]),
        'bias_leaky_relu_dropout': lambda: F.dropout(F.leaky_relu(
            a['bias_leaky_relu_dropout'][0].sum(0).add_(a['bias_leaky_relu_dropout'][1]), slope), rate),
        'bias_tanh': lambda: a['bias_tanh'][0].sum(0).add_(a['bias_tanh'][1]).tanh_(),
        'batch_norm_leaky_relu_': lambda: F.leaky_relu(torch.native_batch_norm(
            x, gamma, beta, moving_mean, moving_var, True, momentum, eps)[0], slope),
        'batch_norm_leaky_relu_backward_': batch_norm_backward,
    }
