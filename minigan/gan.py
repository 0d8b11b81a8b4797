"""Algorithm 1 of Goodfellow et al. 2014, line for line, and the simultaneous update that the article uses instead.

The loop over training iterations is in training/run.py.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minigan import losses
from minigan.net import Net
from minigan.ops import stack
from minigan.optim import Optimizer
from minigan.streams import PRIORS, Streams, draw_z

UPDATES = ('alternating', 'simultaneous')


@dataclass
class Game:
    """Two players, their optimisers, and what they draw from.

        min over G of max over D of V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))]

    G: z (m, n_z) -> x (m, n), n pixels. D: x (m, n) -> logit (m, 1). optimizer_G and optimizer_D: anything with step().
    minibatch(j): the j-th minibatch of data, x (m, n). streams: for the noise z and for the layers.
    prior: of z, 'normal' or 'uniform', with mean 0 and variance 1, or a function (streams.py). k: D steps per G step.
    objective: a name in losses.OBJECTIVES. update: 'alternating' or 'simultaneous'. smoothing: see losses.L_D.
    Raises ValueError for other values, for an optimiser that moves a different net, and for a D whose rows depend on
    each other (batch norm): D reads data and samples as one minibatch, whose statistics would tell them apart.
    """

    G: Net
    D: Net
    optimizer_G: Optimizer
    optimizer_D: Optimizer
    minibatch: Callable[[int], np.ndarray]
    streams: Streams
    m: int
    n_z: int
    prior: str = 'normal'
    k: int = 1
    objective: str = 'nonsaturating'
    update: str = 'alternating'
    smoothing: float = 0.0

    replayable = True  # whether steps differ by random numbers, minibatches and the optimisers' settings alone

    def __post_init__(self):
        if self.k < 1:
            raise ValueError(f'k: expected at least 1 D step per G step, got {self.k}')
        for name, known in (('prior', PRIORS), ('objective', losses.OBJECTIVES), ('update', UPDATES)):
            if getattr(self, name) not in known and not (name == 'prior' and callable(self.prior)):
                raise ValueError(f'{name}: expected one of {", ".join(known)}, got {getattr(self, name)!r}')
        if self.smoothing and not losses.OBJECTIVES[self.objective].probability:
            raise ValueError(f'smoothing: expected 0, as {self.objective} has no probability, got {self.smoothing}')
        if self.update == 'simultaneous' and self.k != 1:
            raise ValueError(f'update: a simultaneous step moves each player once, so k must be 1, got {self.k}')
        for name, net, optimizer in self.players():
            if getattr(optimizer, 'net', net) is not net:
                raise ValueError(f'optimizer_{name}: expected one that moves {name}, got {optimizer}, which moves a '
                                 'different net')
        for layer in self.D.layers:
            if layer.mixes_rows:
                raise ValueError(f'D: {layer} mixes data and samples, which D reads as one minibatch')
            if self.m % layer.block:
                raise ValueError(f'm: {layer} in D needs a multiple of {layer.block}, got {self.m}')
        for layer in self.G.layers:
            if layer.mixes_rows and self.m < 2:
                raise ValueError(f'm: {layer} in G needs a minibatch of at least 2, got {self.m}')

    def players(self):
        """(name, net, optimiser) of each player."""
        return ('G', self.G, self.optimizer_G), ('D', self.D, self.optimizer_D)

    def step(self, t):
        """Iteration t = 0, 1, ... of the training loop; see alternating and simultaneous."""
        if self.update == 'alternating':
            return self.alternating(t)
        return self.simultaneous(t)

    def alternating(self, t):
        """One iteration of Algorithm 1. Returns D's logits: real and fake of D's last step, fake of G's step.

        In Algorithm 1 the objective is 'minimax'; section 3 of the paper recommends 'nonsaturating'.
        """
        for i in range(self.k):                                     # for k steps do
            z = self.noise(t, i)                                    # sample a minibatch of m noise samples
            x = self.minibatch(t * self.k + i)                      # sample a minibatch of m examples
            real, fake = self.update_D(x, z, self.layer_rng(t, i))  # update D by ascending its stochastic gradient
        z = self.noise(t, self.k)                                   # sample a minibatch of m noise samples
        return real, fake, self.update_G(z, self.layer_rng(t, self.k))  # update G by descending its gradient

    def update_D(self, x, z, rng):
        """Ascend V, that is, descend L_D = -V, in theta_D. Returns D's logits before the update. rng: layer_rng's.

        theta_G does not change, but the moving averages of G's batch norms follow the samples drawn here.
        """
        samples = self.G.forward(z, rng=rng, keep_cache=False)
        real, fake = self.logits(x, samples, rng)
        self.D.backward(self.L_D_backward(real, fake), input_grad=False)
        self.optimizer_D.step()
        return real, fake

    def update_G(self, z, rng):
        """Descend L_G in theta_G, through a D that is fixed. Returns D's logits before the update."""
        fake = self.D.forward(self.G.forward(z, rng=rng), rng=rng)
        dsamples = self.D.backward(self.L_G_backward(fake), param_grads=False)
        self.G.backward(dsamples, input_grad=False)
        self.optimizer_G.step()
        return fake

    def simultaneous(self, t):
        """The article's step (section 5.2): one forward pass, both gradients taken there, then both updates."""
        z, x, rng = self.noise(t, 0), self.minibatch(t), self.layer_rng(t, 0)
        real, fake = self.logits(x, self.G.forward(z, rng=rng), rng)
        dlogits = stack(0 * real, self.L_G_backward(fake))  # L_G has no term in the data
        dsamples = self.D.backward(dlogits, param_grads=False, keep_cache=True)[len(x):]  # D's cache serves L_D too
        self.D.backward(self.L_D_backward(real, fake), input_grad=False)
        self.G.backward(dsamples, input_grad=False)
        self.optimizer_D.step()
        self.optimizer_G.step()
        return real, fake, fake

    def logits(self, x, samples, rng):
        """D's logits (real, fake) for data and samples, read as one minibatch of 2m."""
        both = self.D.forward(stack(x, samples), rng=rng)
        return both[:len(both) // 2], both[len(both) // 2:]

    def L_D_backward(self, real, fake):
        """Derivative of L_D with respect to D's logits (2m, 1): for the data, then for the samples."""
        smoothing = {'smoothing': self.smoothing} if self.smoothing else {}
        return stack(*losses.OBJECTIVES[self.objective].L_D_backward(real, fake, **smoothing))

    def L_G_backward(self, fake):
        """Derivative of the chosen L_G with respect to D's logits (m, 1) for samples."""
        return losses.OBJECTIVES[self.objective].L_G_backward(fake)

    def noise(self, t, i):
        """z of shape (m, n_z) from the prior, for update i of iteration t."""
        return self.draw_z(self.streams.at('noise', t, i), self.m)

    def draw_z(self, rng, m):
        """z of shape (m, n_z) from the prior."""
        return draw_z(rng, self.prior, (m, self.n_z), self.G.dtype)

    def layer_rng(self, t, i):
        """What Dropout and Noise layers draw from, for update i of iteration t."""
        return self.streams.at('dropout', t, i)
