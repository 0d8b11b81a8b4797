"""Feature matching: G no longer tries to fool D. Salimans et al. 2016, section 3.1.

G matches the mean of f, D's last hidden units, over data and over samples, while D descends its usual loss:

    L_G = |mean f(x) - mean f(G(z))|^2

The means are over the minibatch that D has just read, and over new samples, both with D's dropout and noise, as in
training. The paper leaves the layer open; here, as in the authors' code, it is the last hidden one, before the dropout
or noise behind it. The authors draw new data for G's step. Their L_G is the mean over the units and not the sum, which
makes no difference to Adam. A log shows the L_G of --objective: how far the samples fool D, which G does not descend.
"""

from dataclasses import dataclass, replace

from minigan.gan import Game
from minigan.layers import Dropout, Noise, Sequential
from minigan.networks import RECIPES as KNOWN


def feature_matching(real, fake):
    """L_G = |mean f(x) - mean f(G(z))|^2, for features of data, real (m, n), and of samples, fake (m, n)."""
    return ((fake.mean(axis=0) - real.mean(axis=0)) ** 2).sum()


def feature_matching_backward(real, fake):
    """Derivative of feature_matching.   dfake_i = 2 / m (mean f(G(z)) - mean f(x)),   the same for every row i"""
    return 0 * fake + 2 / len(fake) * (fake.mean(axis=0) - real.mean(axis=0))


def body_and_head(D):
    """(body, head): f = body(x), D(x) = head(f). The head is D's last layer with parameters, what comes after it, and
    the dropout or noise in front of it."""
    end = max(place for place, layer in enumerate(D.layers) if layer.shapes)
    while isinstance(D.layers[end - 1], (Dropout, Noise)):
        end -= 1
    return Sequential(*D.layers[:end]), Sequential(*D.layers[end:])


@dataclass
class FeatureMatchingGame(Game):
    """A game whose G matches features; objective is D's alone. Raises ValueError for a simultaneous update."""

    def __post_init__(self):
        super().__post_init__()
        if self.update == 'simultaneous':
            raise ValueError('update: expected alternating, as G matches the features of a D that has just moved, got '
                             'simultaneous')

    @property
    def replayable(self):
        """False where the features pass through a Noise whose sigma changes, as the CPU computes it."""
        return not any(layer.sigma(0) != layer.sigma(1) for layer in self.D.layers if isinstance(layer, Noise))

    def update_D(self, x, z, rng):
        """As in Algorithm 1; update_G will match the features of this x."""
        self.x = x
        return super().update_D(x, z, rng)

    def update_G(self, z, rng):
        """Descend feature_matching in theta_G, through a D that is fixed. Returns D's logits before the update."""
        body, head = body_and_head(self.D)
        real = body.forward(self.x, training=True, rng=rng)
        fake = body.forward(self.G.forward(z, rng=rng), training=True, rng=rng)
        logits = head.forward(fake, training=True, rng=rng)
        dsamples = body.backward(feature_matching_backward(real, fake), param_grads=False, input_grad=True)
        body.drop_cache()
        head.drop_cache()
        self.G.backward(dsamples, input_grad=False)
        self.optimizer_G.step()
        return logits


RECIPES = {'feature-matching': replace(KNOWN['default'], game=FeatureMatchingGame)}
