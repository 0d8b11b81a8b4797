"""The value function V(D, G) and the players' losses, on logits: D(x) = sigmoid(real), D(G(z)) = sigmoid(fake).

real, fake: (m, 1), D's logits for m examples and for m samples. Each loss is a mean over the minibatch: a cross-entropy
with target 1 (-log D), target 0 (-log(1 - D)), or a target in between. ops.softplus says why log(sigmoid) is avoided.
Goodfellow et al. 2014, equation 1 and section 3.
"""

from collections.abc import Callable
from typing import NamedTuple

from minigan.backend import number
from minigan.ops import cross_entropy, cross_entropy_backward


def V(real, fake):
    """The value of the game, which D maximises and G minimises.

        V = E_x[log D(x)] + E_z[log(1 - D(G(z)))]

    -log 4 = -1.386 when D says 1/2 everywhere (Theorem 1); 0 when D is always correct and certain.
    """
    return -cross_entropy(real, target=1) - cross_entropy(fake, target=0)


def L_D(real, fake, *, smoothing=0.0):
    """The discriminator's loss.

        L_D = -E_x[(1 - s) log D(x) + s log(1 - D(x))] - E_z[log(1 - D(G(z)))],   s = smoothing

    That is -V for s = 0. With one-sided label smoothing, s > 0, D need not become ever more certain of data.
    Salimans et al. 2016, section 3.4.
    """
    return cross_entropy(real, target=1 - number(smoothing)) + cross_entropy(fake, target=0)


def L_D_backward(real, fake, *, smoothing=0.0):
    """Derivative of L_D.   dreal = (D(x) - 1 + smoothing) / m,   dfake = D(G(z)) / m"""
    return cross_entropy_backward(real, target=1 - number(smoothing)), cross_entropy_backward(fake, target=0)


def L_G_minimax(fake):
    """The generator's loss in the zero-sum game: the term of V that contains G.

        L_G = E_z[log(1 - D(G(z)))]

    Saturates: where D is sure of a fake, the slope is near 0 and G learns nothing.
    """
    return -cross_entropy(fake, target=0)


def L_G_minimax_backward(fake):
    """Derivative of L_G_minimax.   dfake = -D(G(z)) / m"""
    return -cross_entropy_backward(fake, target=0)


def L_G_nonsaturating(fake):
    """The generator's loss that section 3 of the paper recommends: the same fixed point, but a strong slope early on.

        L_G = -E_z[log D(G(z))]
    """
    return cross_entropy(fake, target=1)


def L_G_nonsaturating_backward(fake):
    """Derivative of L_G_nonsaturating.   dfake = (D(G(z)) - 1) / m"""
    return cross_entropy_backward(fake, target=1)


class Objective(NamedTuple):
    """What the players descend: functions of D's outputs, each with its derivative. -L_D is the value that a log shows.

    probability: whether the sigmoid of D's output is a probability; then L_D takes smoothing.
    """

    L_D: Callable
    L_D_backward: Callable
    L_G: Callable
    L_G_backward: Callable
    probability: bool = True


OBJECTIVES = {'minimax': Objective(L_D, L_D_backward, L_G_minimax, L_G_minimax_backward),
              'nonsaturating': Objective(L_D, L_D_backward, L_G_nonsaturating, L_G_nonsaturating_backward)}
