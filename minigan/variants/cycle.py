"""CycleGAN: G translates images of X into images of Y, and F translates them back. No image comes with its translation.

    L(G, F) = L_G(D_Y(G(x))) + L_G(D_X(F(y)))
              + lambda (E_x|F(G(x)) - x| + E_y|G(F(y)) - y|) + mu (E_y|G(y) - y| + E_x|F(x) - x|)

That is two games of Algorithm 1, in each of which the images of one domain take the place of noise. Two halves with
exchanged roles give the derivative. Each half uses each net once, so that its one cache is enough:

    half(x, G, F, D_Y):   y = G(x),   x' = F(y)
                          dy = D_Y.backward(dL_G(D_Y(y))) + F.backward(lambda sign(x' - x) / (m n)),   G.backward(dy)

and half(y, F, G, D_X); the two derivatives of each net are added. |.| is the mean over the n pixels.

Zhu et al. 2017, equations 1 to 3, sections 4 and 5.2 (identity loss, mu). Differences: D learns from the translations
of this step alone and not from 50 old ones, which no stream of random numbers could bring back after a stop. D moves
before G and F, as in Algorithm 1. The networks are much smaller: one residual block at half the size, no instance norm
(it did not help on the digits), and a D that judges patches of 10 x 10 pixels instead of 70 x 70. A minibatch has 32
images instead of one; Adam's rates are 1e-3 instead of 2e-4, and fall from the start.
"""

from dataclasses import dataclass
from math import prod

from minigan.backend import array_module
from minigan.gan import Game
from minigan.layers import Dense, LeakyReLU, Sequential, Tanh
from minigan.networks import Recipe
from minigan.variants.convolution import Patches, Rows, Unpatches
from minigan.variants.dcgan import DOWN, sizes

SAME = {'k': 3, 'stride': 1, 'pad': 1}  # keeps the size


def distance(x, target):
    """The mean of |x - target| over all numbers."""
    return abs(x - target).mean()


def distance_backward(x, target):
    """Derivative of distance.   dx = sign(x - target) / (m n)"""
    return array_module(x).sign(x - target) / x.size


@dataclass(kw_only=True)
class CycleGame(Game):
    """The game of G: X -> Y and D = D_Y, with data from Y, and `back`: the game of F: Y -> X and D_X, with data from X.

    cycle_weight: lambda. identity_weight: mu. z is an image of X, so n_z is its number of pixels. Raises ValueError for
    a simultaneous update.
    """

    back: Game
    cycle_weight: float = 10.0
    identity_weight: float = 0.0

    replayable = False  # a graph has the minibatches of one data set

    def __post_init__(self):
        super().__post_init__()
        if self.update != 'alternating':
            raise ValueError(f"update: expected 'alternating' with a cycle, got {self.update!r}")

    def players(self):
        """(name, net, optimiser) of each player."""
        back = self.back
        return *super().players(), ('F', back.G, back.optimizer_G), ('D_X', back.D, back.optimizer_D)

    def alternating(self, t):
        """One iteration. Returns D_Y's outputs: real and fake of its last step, fake of G's step."""
        for i in range(self.k):
            x, y = (game.minibatch(t * self.k + i) for game in (self.back, self))
            self.back.update_D(x, y, self.layer_rng(t, i))
            real, fake = self.update_D(y, x, self.layer_rng(t, i))
        return real, fake, self.update_G_and_F(x, y, t)

    def update_G_and_F(self, x, y, t):
        """Descend L in theta_G and theta_F, through D_Y and D_X that are fixed. Returns D_Y's outputs for G(x)."""
        fake, dG, dF = self.half(x, y, self, self.back, self.layer_rng(t, self.k))
        _, more_dF, more_dG = self.half(y, x, self.back, self, self.layer_rng(t, self.k))
        self.G.dtheta[...], self.back.G.dtheta[...] = dG + more_dG, dF + more_dF
        self.optimizer_G.step()
        self.back.optimizer_G.step()
        return fake

    def half(self, x, y, there, back, rng):
        """The terms of L in which x is translated there and back, and in which y stays as it is.

        Returns D's outputs for the translation, and the derivatives with respect to theta of the net there and back.
        """
        G, F, D = there.G, back.G, there.D
        translated = G.forward(x, rng=rng)
        cycled = F.forward(translated, rng=rng)
        fake = D.forward(translated, rng=rng)
        dtranslated = D.backward(there.L_G_backward(fake), param_grads=False)
        dtranslated = dtranslated + F.backward(self.cycle_weight * distance_backward(cycled, x))
        G.backward(dtranslated, input_grad=False)
        dG, dF = G.dtheta.copy(), F.dtheta.copy()
        if self.identity_weight:
            G.backward(self.identity_weight * distance_backward(G.forward(y, rng=rng), y), input_grad=False)
            dG += G.dtheta
        return fake, dG, dF

    def draw_z(self, rng, m):
        """m images of X, which stand where z does."""
        return drawn(self.back.minibatch, rng, m)


def drawn(images, rng, m):
    """m random images (m, n) of those that minibatches are made of."""
    return images.at((rng.uniform(m) * images.n).astype(int))


def there_and_back(G, F, x):
    """x, G(x) and F(G(x)), in evaluation mode."""
    y = G(x)
    return x, y, F(y)


class Residual(Sequential):
    """y = x + f(x), where f is the layers that it is made of."""

    def forward(self, x, *, training, rng):
        return x + super().forward(x, training=training, rng=rng)

    def backward(self, dy, *, param_grads, input_grad):
        dx = super().backward(dy, param_grads=param_grads, input_grad=input_grad)
        return dy + dx if input_grad else None


def cycle_G(n_z, shape, *, c=16):
    """x (m, h w c) -> y (m, h w c): halves the image, changes it, and doubles it again."""
    if n_z != prod(shape):
        raise ValueError(f'n_z: expected {prod(shape)}, as G reads an image of shape {shape}, got {n_z}')
    whole, half, _, channels = sizes(shape)
    return [Patches((*whole, channels), **DOWN), Dense(16 * channels, c), LeakyReLU(0.2),
            Residual(Patches((*half, c), **SAME), Dense(9 * c, c), LeakyReLU(0),
                     Patches((*half, c), **SAME), Dense(9 * c, c)), LeakyReLU(0.2),
            Dense(c, 16 * channels, bias=False), Unpatches((*whole, channels), **DOWN), Rows(n_z), Tanh()]


def cycle_D(shape, *, widths=(32, 64)):
    """x (m, h w c) -> (m h/4 w/4, 1): a logit for each patch of 10 x 10 pixels, 4 apart. The losses are their means."""
    whole, half, _, c = sizes(shape)
    a, b = widths
    return [Patches((*whole, c), **DOWN), Dense(16 * c, a), LeakyReLU(0.2),
            Patches((*half, a), **DOWN), Dense(16 * a, b), LeakyReLU(0.2), Dense(b, 1)]


@dataclass(frozen=True)
class CycleRecipe(Recipe):
    """A Recipe with the settings of a CycleGame. n_z None: the number of pixels."""

    game: type[Game] = CycleGame
    objective: str = 'leastsquares'
    n_z: int | None = None
    cycle: str | None = None
    cycle_weight: float = 10.0
    identity_weight: float = 0.0


RECIPES = {'cycle': CycleRecipe(cycle_G, cycle_D, batch=32, learning_rate_G=1e-3, learning_rate_D=1e-3, beta1=0.5,
                                update='alternating', schedule='linear')}
