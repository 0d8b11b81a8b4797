"""The conditional GAN: both players know the class y of an image. It is Algorithm 1 for pairs (x, y).

    V(D, G) = E_(x,y)[log D(x, y)] + E_(z,y)[log(1 - D(G(z, y), y))]

A class is a row of K numbers, e_y: SCALE at y and 0 elsewhere. D reads [x, e_y]. G reads [z, e_y], computes the image,
and passes e_y on, so D reads a sample with the label that G was given. Nothing else changes: a label in front of a
Dense only adds a row of W to its output, [x, e_y] W = x W_x + SCALE W_y. A convolutional D reads e_y where it first
reads a whole image.

Mirza & Osindero 2014, equation 2. Differences: the networks are those of the recipe, with K more inputs, while the
paper maps z and y, and x and y, to hidden layers of their own; what a dense D does to its pixels first, such as dropout
or noise, it does to e_y too. y is drawn with the fractions of the data.
SCALE and the shorter average are our own. On MNIST (seed 0, 25 epochs) more samples show the wanted class with SCALE 3
than with 1; with 6 still more do, but on the digits the samples of a class then vary less. They vary more when fewer of
the last steps are averaged.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

import numpy as np

from minigan.backend import array_module
from minigan.layers import Dense, Layer, Sequential
from minigan.streams import draw_z
from minigan.variants.convolution import Rows

SCALE = 3.0  # of the number of a label: z has a hundred numbers of size 1, an image hundreds


def conditioned(recipe, fractions):
    """The Recipe for images with classes. fractions: of each class in the data.

    If samples are drawn with an average of G, it covers a fifth of the steps that it did.
    """
    classes = len(fractions)
    return replace(recipe, average=9 * recipe.average, prior=LabelledPrior(recipe.prior, tuple(fractions)),
                   G=lambda n_z, shape: [PassLabels(classes, *recipe.G(n_z + classes, shape))],
                   D=lambda shape: labelled(recipe.D, shape, classes))


def labelled(D, shape, classes):
    """The layers of a D that reads [x, e_y]. If it is convolutional, the first Dense behind its Rows reads e_y."""
    layers = D(shape)
    rows = [i for i, layer in enumerate(layers) if isinstance(layer, Rows)]
    if not rows:
        return D((prod(shape) + classes,))
    i = next(i for i in range(rows[-1], len(layers)) if isinstance(layers[i], Dense))
    body, dense = PassLabels(classes, WithoutLabels(classes), *layers[:i]), layers[i]
    wider = type(dense)(dense.n_in + body.block * classes, dense.n_out, bias='b' in dense.shapes)
    return [body, wider, *layers[i + 1:]]


def fractions_of(recipe):
    """The fractions of a conditional recipe; () of any other."""
    return getattr(recipe.prior, 'fractions', ())


class PassLabels(Sequential):
    """y = [f(x), e], where f is the layers that it is made of, and e the last `classes` columns of x.

    If f reads blocks of rows as one (packing.py), e has the labels of a block.
    """

    def __init__(self, classes, *layers):
        super().__init__(*layers)
        self.classes = classes

    def forward(self, x, *, training, rng):
        y = super().forward(x, training=training, rng=rng)
        return beside(y, x[:, -self.classes:].reshape(len(y), -1))

    def backward(self, dy, *, param_grads, input_grad):
        n = self.block * self.classes
        images, labels = array_module(dy).ascontiguousarray(dy[:, :-n]), dy[:, -n:]
        dx = super().backward(images, param_grads=param_grads, input_grad=input_grad)
        if input_grad:
            dx[:, -self.classes:] += labels.reshape(len(dx), -1)
        return dx


class WithoutLabels(Layer):
    """y = x without its last `classes` columns."""

    def __init__(self, classes):
        self.classes = classes

    def forward(self, x, *, training, rng):
        return array_module(x).ascontiguousarray(x[:, :-self.classes])

    def backward(self, dy, *, param_grads, input_grad):
        return beside(dy, array_module(dy).zeros((len(dy), self.classes), dy.dtype)) if input_grad else None


@dataclass(frozen=True)
class LabelledPrior:
    """Draws [z, e_y] (m, n_z + K): z from a prior, then y with the given fractions of the K classes."""

    prior: str
    fractions: tuple

    def __call__(self, rng, shape, dtype=np.float32):
        z = draw_z(rng, self.prior, shape, dtype)
        u = rng.uniform((shape[0], 1), dtype)
        lower, upper = edges(self.fractions, array_module(z))
        return beside(z, SCALE * ((lower <= u) & (u < upper)).astype(dtype))


@lru_cache
def edges(fractions, xp):
    """(lower, upper), each (K,): u in [lower_y, upper_y) stands for class y when u is uniform in [0, 1)."""
    ends = np.cumsum((0, *fractions)) / sum(fractions)
    ends[np.flatnonzero(fractions)[-1] + 1:] = 1  # and not a rounding error less
    return xp.asarray(ends[:-1], np.float32), xp.asarray(ends[1:], np.float32)


def one_hot(labels, classes, dtype=np.float32):
    """e_y for each of the labels (m,): (m, classes), SCALE in the column of the label and 0 elsewhere."""
    return SCALE * (labels[:, None] == array_module(labels).arange(classes)).astype(dtype)


def beside(a, b):
    """The columns of a, then the columns of b."""
    return array_module(a).concatenate([a, b], axis=1)
