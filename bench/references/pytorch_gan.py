"""The most copied dense GAN in PyTorch, with its own settings, for bench_quality.py; it is not for step times.

G: 100-128-256-512-1024-n, batch norm from the second layer on, LeakyReLU(0.2), tanh. D: n-512-256-1. Adam(2e-4, 0.5),
batch 64; G moves first, and D sees the same samples; L_D is halved. Batch norm's eps is 0.8 there: in the Keras code
that it follows, 0.8 is the momentum.
"""

import torch
from torch import nn
from torch.nn import functional as F

BATCH, N_Z = 64, 100


class PyTorchGAN:
    """images (N, n) float32 in [-1, 1]."""

    def __init__(self, images, seed, eps=0.8):
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.images, n = torch.tensor(images), images.shape[1]
        widths = [N_Z, 128, 256, 512, 1024]
        body = [nn.Linear(N_Z, 128), nn.LeakyReLU(0.2)]
        for a, b in zip(widths[1:], widths[2:]):
            body += [nn.Linear(a, b), nn.BatchNorm1d(b, eps=eps), nn.LeakyReLU(0.2)]
        self.G = nn.Sequential(*body, nn.Linear(1024, n), nn.Tanh())
        self.D = nn.Sequential(nn.Linear(n, 512), nn.LeakyReLU(0.2), nn.Linear(512, 256), nn.LeakyReLU(0.2),
                               nn.Linear(256, 1))
        settings = {'lr': 2e-4, 'betas': (0.5, 0.999), 'fused': True}
        self.adam_G = torch.optim.Adam(self.G.parameters(), **settings)
        self.adam_D = torch.optim.Adam(self.D.parameters(), **settings)
        self.order = orders(len(images), BATCH)

    def train(self, done):
        """One step of each player. The rates are constant, whatever fraction of the run is over."""
        x = self.images[next(self.order)]
        samples = self.G(torch.randn(BATCH, N_Z))
        self.adam_G.zero_grad()
        self.D.requires_grad_(False)
        F.softplus(-self.D(samples)).mean().backward()
        self.D.requires_grad_(True)
        self.adam_G.step()
        self.adam_D.zero_grad()
        loss_D = F.softplus(-self.D(x)).mean() + F.softplus(self.D(samples.detach())).mean()
        (loss_D / 2).backward()
        self.adam_D.step()

    def samples(self, n, *, training=False):
        """(n, pixels) in [0, 1]; training: with the statistics of minibatches, as its authors draw them."""
        self.G.train(training)
        with torch.no_grad():
            samples = torch.cat([self.G(z) for z in torch.randn(n, N_Z).split(BATCH)]).numpy() / 2 + 0.5
        self.G.train()
        return samples


def orders(n, m):
    """The rows of each minibatch of m, epoch after epoch, each in an order of its own."""
    while True:
        yield from torch.randperm(n)[:n // m * m].split(m)
