"""Wasserstein GANs: D is a critic f with bounded slopes, and the value of the game estimates a distance.

    W1(p_data, p_g) = max over f with |f(x) - f(y)| <= |x - y| of E[f(x)] - E[f(G(z))]

Two ways to bound the slopes. Either theta_D is clipped after each step of D (Arjovsky et al. 2017, equation 2 and
Algorithm 1), or L_D gets a penalty (Gulrajani et al. 2017, equation 3 and Algorithm 1; see penalty.py):

    P = weight * mean over rows of (|g_i| - 1)^2,   g_i = df/dx at xhat_i = e_i x_i + (1 - e_i) G(z_i),   e_i ~ U(0, 1)

What each costs can be computed for a linear critic and two points a distance d apart: with the penalty, its slope
settles at 1 + d / (2 weight), so it reports d (1 + d / (2 weight)); clipped to [-c, c], it reports c |d|_1.

Differences from the papers: Adam with beta1 = 0 stands in for RMSProp (the 2017 paper advises against momentum). Every
step of G has the same number k of steps of D; the authors' code of the first paper takes 100 at the start and in every
500th step. Rates, weights and k are chosen for small dense networks and small data, and rates fall to 0. D may have
dropout: then P is that of the thinned critic. A conditional critic reads [x, e_y], and P is on both.
"""

from dataclasses import dataclass
from functools import partial

from minigan.backend import number
from minigan.gan import Game
from minigan.layers import Dense, Dropout, Noise
from minigan.networks import Recipe, adam, default_D, default_G
from minigan.variants.penalty import gradient_penalty_backward, steps_of, without_tangent


@dataclass
class WassersteinGame(Game):
    """A Game whose D is kept from becoming steep; the objective may be any, 'wasserstein' in the papers.

    clip_weights: c; after each step of D, every entry of theta_D is clipped to [-c, c]. gradient_penalty: the weight
    of P in L_D. 0 turns either off. Raises ValueError for negative ones, for simultaneous updates, and for a penalty on
    a D with a layer whose J v is not known (penalty.py says how a layer brings it).
    """

    clip_weights: float = 0.0
    gradient_penalty: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        for name in ('clip_weights', 'gradient_penalty'):
            setattr(self, name, number(getattr(self, name)))
            if not getattr(self, name) >= 0:
                raise ValueError(f'{name}: expected a number >= 0, got {getattr(self, name)}')
        if self.update != 'alternating':
            raise ValueError(f"update: expected 'alternating' with a critic, got {self.update!r}")
        for layer in without_tangent(self.D) if self.gradient_penalty else ():
            raise ValueError('gradient_penalty: expected layers in D with the methods tangent and tangent_backward, '
                             f'got {type(layer).__name__}')

    @property
    def replayable(self):
        """False where the penalty passes through a Noise, whose sigma the CPU computes."""
        return not (self.gradient_penalty and any(isinstance(layer, Noise) for layer in steps_of(self.D)))

    def update_D(self, x, z, rng):
        """Descend L_D + P in theta_D, then clip theta_D. Returns D's outputs before the update."""
        samples = self.G.forward(z, rng=rng, keep_cache=False)
        real, fake = self.logits(x, samples, rng)
        self.D.backward(self.L_D_backward(real, fake), input_grad=False)
        if self.gradient_penalty:
            dtheta, e = self.D.dtheta.copy(), rng.uniform((len(real), 1), x.dtype)  # one e for what D reads as one
            xhat = (e * x.reshape(len(e), -1) + (1 - e) * samples.reshape(len(e), -1)).reshape(x.shape)
            gradient_penalty_backward(self.D, xhat, weight=self.gradient_penalty, rng=rng)
            self.D.dtheta += dtheta
        self.optimizer_D.step()
        if self.clip_weights:
            self.D.theta.clip(-self.clip_weights, self.clip_weights, out=self.D.theta)
        return real, fake


def critic(shape):
    """The default's discriminator without dropout, and without a last bias: it would cancel in the critic's loss."""
    *layers, last = default_D(shape)
    return [*(layer for layer in layers if type(layer) is not Dropout), Dense(last.n_in, 1, bias=False)]


@dataclass(frozen=True)
class WassersteinRecipe(Recipe):
    """A Recipe with the settings of a WassersteinGame."""

    game: type[Game] = WassersteinGame
    objective: str = 'wasserstein'
    clip_weights: float = 0.0
    gradient_penalty: float = 0.0


COMMON = {'batch': 50, 'beta1': 0.0, 'update': 'alternating', 'schedule': 'linear', 'average': 1.0}
RECIPES = {  # with beta2 of the penalty's paper, and the decay of RMSProp
    'wgan': WassersteinRecipe(default_G, critic, learning_rate_G=1e-3, learning_rate_D=1e-3,
                              optimizer=partial(adam, beta2=0.9), gradient_penalty=10.0, **COMMON),
    'wgan-clip': WassersteinRecipe(default_G, critic, learning_rate_G=5e-4, learning_rate_D=5e-4,
                                   optimizer=partial(adam, beta2=0.99), k=5, clip_weights=0.03, **COMMON),
}
