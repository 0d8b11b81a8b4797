"""Progressive growing: both players start with small images and get layers for larger ones while they train.

G and D hold the layers of all three sizes, h/4 x w/4, h/2 x w/2 and h x w, from the start. Which of them run depends on
the step t: for each doubling of the size, alpha(t) rises from 0 to 1 and fades the new layers in. With u = nearest
upscaling and d = the mean of 2 x 2 pixels,

    G     x = (1 - alpha) u(toRGB(h)) + alpha toRGB'(up(h))
    D     h = (1 - alpha) fromRGB(d(x)) + alpha down(fromRGB'(x))
    data  x = (1 - alpha) u(d(x)) + alpha x

A branch with weight 0 is not computed, so early steps are cheap. G always returns whole images, upscaled while it is
small, and D starts by pooling them: as d(u(x)) = x, D sees the small image.

Karras et al. 2018, Progressive growing of GANs, sections 2 to 4, with its PixelNorm, EqualisedDense
(normalisation.py) and MinibatchStddev (minibatch.py). As in the authors' code, both optimisers start anew with each
new size. Differences: `up` and `down` are one 4 x 4 convolution with stride 2 each, as in dcgan.py, where the paper has
u or d and two 3 x 3 convolutions; the smallest size has dense layers alone; D compares 10 images, behind its last
hidden layer; tanh follows toRGB; the loss is the non-saturating one and not a critic's; the learning rates are larger,
as runs are short, and fall to 0; each phase lasts for a fraction of a run; samples are drawn with the average of
average.py.
"""

from dataclasses import dataclass
from functools import partial
from math import prod

from minigan.gan import Game
from minigan.layers import LeakyReLU, Tanh
from minigan.net import parts
from minigan.networks import Recipe
from minigan.optim import Adam
from minigan.variants.conditional import beside
from minigan.variants.convolution import AveragePool, Patches, Rows, Unpatches, Upscale, pool, upscale
from minigan.variants.dcgan import DOWN, sizes
from minigan.variants.fade import Fade
from minigan.variants.minibatch import InBlocks, MinibatchStddev
from minigan.variants.normalisation import EqualisedDense, PixelNorm

GROWTH = (0.1, 0.25), (0.3, 0.5)  # of each doubling: when alpha leaves 0 and when it reaches 1, as fractions of a run
BLOCK = 10  # images that D compares


def fades(net):
    """The Fade layers of a net."""
    return [layer for _, layer in parts(net.layers) if isinstance(layer, Fade)]


def rising(begin, end):
    """The schedule that is 0 before step `begin` and rises from there in a straight line; 1 from step end - 1 on."""
    return lambda t: min(1, max(0, (t + 1 - begin) / max(1, end - begin)))


class RestartingAdam(Adam):
    """Adam that forgets all gradients before each of the steps in `restarts`, and counts anew; t goes on.

    Otherwise, the first gradients of a new layer would meet a v that has counted zeros, and move it far too much.
    """

    restarts = ()

    def step(self):
        if self.t in self.restarts:
            for name in self.buffers:
                getattr(self, name)[...] = 0
        super().step()

    def update_(self, *arrays, **hyper):
        """One step for a piece of theta."""
        t = self.t
        self.t -= max((restart for restart in self.restarts if restart < t), default=0)
        super().update_(*arrays, **hyper)
        self.t = t


@dataclass
class ProgressiveGame(Game):
    """A Game whose players grow and see data of the size that they have reached.

    steps: of the whole run. growth: for each doubling of the size, the fractions of the run when alpha leaves 0 and
    when it reaches 1.
    """

    steps: int = 1
    growth: tuple = GROWTH

    replayable = False

    def __post_init__(self):
        super().__post_init__()
        spans = [(round(begin * self.steps), round(end * self.steps)) for begin, end in self.growth]
        for name, net, optimizer in self.players():
            optimizer.restarts = [begin * (self.k if name == 'D' else 1) for begin, _ in spans]
            for fade in fades(net):
                fade.schedule = rising(*spans[fade.level])

    def logits(self, x, samples, rng):
        """As in Algorithm 1, but for faded data."""
        return super().logits(self.faded(x, rng.step), samples, rng)

    def faded(self, x, t):
        """Data (m, n), or (m, n + classes), as D shall see them in step t: while a size fades in, so do its details."""
        for fade in fades(self.D):
            alpha, first = fade.schedule(t), fade.layers[0].layers[0]
            if 0 < alpha < 1:
                images, labels, settings = x[:, :first.size], x[:, first.size:], first.settings
                coarse = upscale(pool(images, **settings), **settings).reshape(images.shape)
                x = beside((1 - alpha) * coarse + alpha * images, labels)
        return x


def progressive_G(n_z, shape, *, widths=(64, 32, 8)):
    """z (m, n_z) -> x (m, h w c). widths: the channels of h/4 x w/4, h/2 x w/2 and h x w pixels."""
    whole, half, quarter, c = sizes(shape)

    def toRGB(size, a):
        return [EqualisedDense(a, c), Tanh(), Upscale((*size, c), whole[0] // size[0]), Rows(prod(shape))]

    def block(a, b, size):
        return [EqualisedDense(a, 16 * b, bias=False), Unpatches((*size, b), **DOWN), LeakyReLU(0.2), PixelNorm()]

    first, second, third = widths
    last = Fade(toRGB(half, second), block(second, third, whole) + toRGB(whole, third), level=1)
    return [PixelNorm(), EqualisedDense(n_z, prod(quarter) * first), Rows(first), LeakyReLU(0.2), PixelNorm(),
            Fade(toRGB(quarter, first), [*block(first, second, half), last], level=0)]


def progressive_D(shape, *, widths=(64, 32, 8), hidden=256):
    """x (m, h w c) -> logit (m, 1). widths: the channels of h/4 x w/4, h/2 x w/2 and h x w pixels."""
    whole, half, quarter, c = sizes(shape)

    def fromRGB(size, a):
        return [AveragePool((*size, c), whole[0] // size[0]), EqualisedDense(c, a), LeakyReLU(0.2)]

    def block(size, b, a):
        return [Patches((*size, b), **DOWN), EqualisedDense(16 * b, a), LeakyReLU(0.2)]

    first, second, third = widths
    n, start = prod(quarter) * first, Fade(fromRGB(half, second), fromRGB(whole, third) + block(whole, third, second),
                                           level=1)
    return [Fade(fromRGB(quarter, first), [start, *block(half, second, first)], level=0),
            Rows(n), EqualisedDense(n, hidden), LeakyReLU(0.2),
            InBlocks(MinibatchStddev(), BLOCK), EqualisedDense(hidden + 1, 1)]


RECIPES = {'progressive': Recipe(progressive_G, progressive_D, batch=50, learning_rate_G=1e-2, learning_rate_D=3e-3,
                                 beta1=0.0, optimizer=partial(RestartingAdam, beta2=0.99), game=ProgressiveGame,
                                 update='alternating', schedule='linear', average=4.0)}
