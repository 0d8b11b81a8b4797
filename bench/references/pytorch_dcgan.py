"""DCGANs in PyTorch, for bench_quality.py: minigan's own, and a plain one of 2016."""

import torch
from candidates import Start
from described import describe
from references.pytorch import PyTorch
from references.pytorch_gan import orders
from torch import nn
from torch.nn import functional as F

from minigan import RECIPES, Net, Streams
from minigan.optim import linear_decay
from minigan.training.build import WARMUP
from minigan.variants.average import Average

PARTS = 10**6  # of a run


class RecipeInPyTorch(PyTorch):
    """minigan's dcgan: its networks, rates, schedule, noise and average. images: (N, 784) float32 in [-1, 1].

    Raises ValueError for a recipe with settings that are missing here.
    """

    def __init__(self, images, seed):
        self.recipe, init = RECIPES['dcgan'], Streams(seed)
        for name, expected in (('objective', 'nonsaturating'), ('update', 'alternating'), ('prior', 'normal'), ('k', 1),
                               ('label_smoothing', 0), ('clip_norm', 0)):
            if getattr(self.recipe, name) != expected:
                raise ValueError(f'dcgan in PyTorch: expected {name} {expected}, got {getattr(self.recipe, name)}')
        torch.manual_seed(seed)
        G = Net(self.recipe.G(self.recipe.n_z, (28, 28)), rng=init.at('init', 0, 0), name='G')
        D = Net(self.recipe.D((28, 28)), rng=init.at('init', 0, 1), name='D')
        super().__init__(Start(m=self.recipe.batch, n_z=self.recipe.n_z, threads=1, images=images, G=describe(G),
                               D=describe(D), learning_rate=self.recipe.learning_rate_G, beta1=self.recipe.beta1,
                               eps=1e-7), 'fused')
        self.order, self.t, self.sigma = orders(len(images), self.m), 0, 0.0
        self.D.register_forward_pre_hook(lambda D, given: given[0] + self.sigma * torch.randn_like(given[0]))
        self.average = [value.clone() for value in self.state()]

    def step(self, x, z_D, z_G):
        """Also follows with the average of G, as minigan's Average does."""
        losses = super().step(x, z_D, z_G)
        self.t += 1
        n, rest = divmod(self.t, Average.EVERY)
        if self.recipe.average and rest == 0:
            eta = self.recipe.average
            torch._foreach_lerp_(self.average, self.state(), (eta + 1) / (n + eta))
        return losses

    def train(self, done):
        """One step of each player; done: the fraction of the run that is over."""
        for adam, rate in ((self.adam_G, self.recipe.learning_rate_G), (self.adam_D, self.recipe.learning_rate_D)):
            if self.recipe.schedule == 'linear':
                rate = linear_decay(rate, PARTS, warmup=WARMUP)(int(done * PARTS))
            adam.param_groups[0]['lr'] = rate
        self.sigma = linear_decay(self.recipe.input_noise, PARTS)(int(done * PARTS))
        self.draw_and_step(next(self.order))

    def state(self):
        """G's parameters and moving averages."""
        return [value for value in self.G.state_dict().values() if value.is_floating_point()]

    def samples(self, n, *, training=False):
        """(n, 784) in [0, 1], from the average of G; training: with the statistics of minibatches."""
        own = [value.clone() for value in self.state()]
        if self.recipe.average:
            torch._foreach_copy_(self.state(), self.average)
        samples = drawn(self.G, n, self.start.n_z, training)
        torch._foreach_copy_(self.state(), own)
        return samples


class DCGAN2016:
    """The networks and settings of Radford et al. 2016 at this size, with 64 and 32 channels in G, 32 and 64 in D.

    G: a dense layer, ReLU. D: LeakyReLU(0.2), batch norm in its second layer, one dense unit. Weights from N(0, 0.02).
    Adam(2e-4, 0.5), batch 128. As in the code that is copied most, D reads data and samples apart, and G is judged by
    the same samples as D.
    """

    m, n_z = 128, 100

    def __init__(self, images, seed):
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        window, affine = {'kernel_size': 4, 'stride': 2, 'padding': 1}, {'bias': False}
        self.images, self.order = torch.tensor(images), orders(len(images), self.m)
        self.G = nn.Sequential(
            nn.Linear(self.n_z, 49 * 64, **affine), nn.Unflatten(1, (64, 7, 7)), nn.BatchNorm2d(64), nn.ReLU(),
            nn.ConvTranspose2d(64, 32, **window, **affine), nn.BatchNorm2d(32), nn.ReLU(),
            nn.ConvTranspose2d(32, 1, **window), nn.Flatten(), nn.Tanh())
        self.D = nn.Sequential(
            nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 32, **window), nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, **window, **affine), nn.BatchNorm2d(64), nn.LeakyReLU(0.2),
            nn.Flatten(), nn.Linear(49 * 64, 1))
        for net in (self.G, self.D):
            net.apply(small)
            net.to(memory_format=torch.channels_last)
        self.adam_G, self.adam_D = (torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
                                    for net in (self.G, self.D))

    def train(self, done):
        """One step of each player. The rates are constant."""
        samples = self.G(torch.randn(self.m, self.n_z))
        self.adam_D.zero_grad()
        (F.softplus(-self.D(self.images[next(self.order)])).mean()
         + F.softplus(self.D(samples.detach())).mean()).backward()
        self.adam_D.step()
        self.adam_G.zero_grad()
        self.D.requires_grad_(False)
        F.softplus(-self.D(samples)).mean().backward()
        self.D.requires_grad_(True)
        self.adam_G.step()

    def samples(self, n, *, training=False):
        """(n, 784) in [0, 1]; training: with the statistics of minibatches."""
        return drawn(self.G, n, self.n_z, training)


def small(layer):
    """Fill a layer's weights as the paper does."""
    if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(layer.weight, 0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1, 0.02)


def drawn(G, n, n_z, training):
    """n samples in [0, 1], in minibatches of 100."""
    G.train(training)
    kept = {name: value.clone() for name, value in G.state_dict().items()}  # moving averages follow in training mode
    with torch.no_grad():
        samples = torch.cat([G(z) for z in torch.randn(n, n_z).split(100)]).numpy() / 2 + 0.5
    G.load_state_dict(kept)
    G.train()
    return samples
