"""The step in PyTorch: nn.Sequential, autograd and torch.optim.Adam."""

import torch
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
            self.G, self.D = generator(start), discriminator(start, Dropout if mode == 'own dropout' else nn.Dropout)
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
        return tuple([w.grad.cpu().numpy().T for w in net.parameters()] for net in (self.D, self.G))

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


def dense(W, b=None):
    layer = nn.Linear(*W.shape, bias=b is not None)
    layer.weight.data[...] = torch.tensor(W.T)
    if b is not None:
        layer.bias.data[...] = torch.tensor(b)
    return layer


def generator(start):
    W1, _, _, W2, _, _, W3, b3 = start.G
    return nn.Sequential(dense(W1), nn.BatchNorm1d(256, eps=1e-3, momentum=0.01), nn.LeakyReLU(start.slope),
                         dense(W2), nn.BatchNorm1d(512, eps=1e-3, momentum=0.01), nn.LeakyReLU(start.slope),
                         dense(W3, b3), nn.Tanh())


class Dropout(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.dropped = int(rate * 2**16)

    def forward(self, x):
        bits = torch.randint(-2**15, 2**15, x.shape, dtype=torch.int16, device=x.device)
        return x * (bits >= self.dropped - 2**15).to(x.dtype).mul_(2**16 / (2**16 - self.dropped))


def discriminator(start, dropout):
    W1, b1, W2, b2, W3, b3 = start.D
    return nn.Sequential(dense(W1, b1), nn.LeakyReLU(start.slope), dropout(start.rate),
                         dense(W2, b2), nn.LeakyReLU(start.slope), dropout(start.rate), dense(W3, b3))
