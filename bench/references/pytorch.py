"""The step in PyTorch: nn.Sequential, autograd and torch.optim.Adam."""

import torch
from references.pytorch_layers import Dropout, built, ours
from torch import nn
from torch.nn import functional as F


class PyTorch:
    """mode: 'eager' (foreach Adam), 'fused' (Adam in one kernel), 'own dropout' (fused, and dropout from 16 random bits
    as here: nn.Dropout is slow on a CPU), 'compile' (fused, and TorchInductor) or 'reduce-overhead' (compile, and on a
    GPU a CUDA graph for each forward and backward pass). Products are in float32: TF32 is off."""

    capturable = False  # whether a CUDA graph may hold Adam's step

    def __init__(self, start, mode):
        torch.set_float32_matmul_precision('highest')
        torch.set_num_threads(start.threads)
        self.start, self.m, self.device = start, start.m, start.device
        with torch.device(self.device):  # not torch.set_default_device, which slows down every call
            self.images = torch.tensor(start.images)
            self.G = built(start.G)
            self.D = built(start.D, Dropout if mode == 'own dropout' else nn.Dropout)
        settings = {'lr': start.learning_rate, 'betas': (start.beta1, 0.999), 'eps': start.eps}
        settings |= {'foreach': True} if mode == 'eager' else {'fused': True, 'capturable': self.capturable}
        self.adam_G = torch.optim.Adam(self.G.parameters(), **settings)
        self.adam_D = torch.optim.Adam(self.D.parameters(), **settings)
        self.mode, self.loss_D, self.loss_G = mode, self._loss_D, self._loss_G
        if mode in ('compile', 'reduce-overhead'):
            options = {'mode': mode if mode == 'reduce-overhead' else None, 'dynamic': False}  # code for one batch
            self.loss_D, self.loss_G = (torch.compile(loss, **options) for loss in (self._loss_D, self._loss_G))

    def _loss_D(self, x, z):
        with torch.no_grad():
            samples = self.G(z)
        logits = self.D(torch.cat([x, samples]))
        return F.softplus(-logits[:self.m]).mean() + F.softplus(logits[self.m:]).mean()

    def _loss_G(self, z):
        return F.softplus(-self.D(self.G(z))).mean()

    def step(self, x, z_D, z_G):
        if self.mode == 'reduce-overhead':
            torch.compiler.cudagraph_mark_step_begin()
        loss_D = self.loss_D(x, z_D)
        loss_D.backward()
        self.adam_D.step()
        self.D.requires_grad_(False)  # no derivatives for D's weights here
        loss_G = self.loss_G(z_G)
        loss_G.backward()
        self.D.requires_grad_(True)
        self.adam_G.step()
        return loss_D.detach(), loss_G.detach()

    def zero_grad(self):
        self.adam_D.zero_grad()
        self.adam_G.zero_grad()

    def gradients(self, x, z_D, z_G):
        self.step(*(torch.tensor(array, device=self.device) for array in (x, z_D, z_G)))
        return self.found()

    def found(self):
        """The gradients of the last step."""
        return tuple([ours(layer, w.grad.cpu().numpy()) for layer in net for w in layer.parameters()]
                     for net in (self.D, self.G))

    def draw_and_step(self, chosen):
        z_D, z_G = (torch.randn(self.m, self.start.n_z, device=self.device) for _ in range(2))
        self.zero_grad()
        self.step(self.images[chosen], z_D, z_G)

    def run(self, rows):
        for chosen in torch.tensor(rows, device=self.device):
            self.draw_and_step(chosen)
        if self.device == 'cuda':
            torch.cuda.synchronize()

    def samples(self, n):
        self.G.eval()
        with torch.no_grad():
            samples = self.G(torch.randn(n, self.start.n_z, device=self.device)).cpu().numpy()
        self.G.train()
        return samples
