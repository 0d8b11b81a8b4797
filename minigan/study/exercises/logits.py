"""The losses on logits."""

import numpy as np

from minigan import losses, ops
from minigan.checks import cases
from minigan.checks.derivatives import check
from minigan.study.exercises.calls import Case
from minigan.study.exercises.elementwise import normal
from minigan.study.exercises.exercise import Exercise, Function, M
from minigan.study.exercises.terms import Term
from minigan.study.exercises.trials import gradient, training
from minigan.study.exercises.words import Mistake

FAR = np.linspace(30, 45, M)[:, None]  # D is so certain that 1 - D(x) rounds to 0
HUGE = 'logits of -800 and 800, whose exponential overflows'


def _logits():
    return [Case((2 * normal(i, M, 1),), {'target': target}) for i, target in enumerate((1, 0, 0.7, 0.4))] + [
        Case((np.where(normal(4, M, 1) > 0, 800.0, -800.0),), {'target': 0.7}, HUGE)]


def _sigmoid(x):
    with np.errstate(all='ignore'):
        return 1 / (1 + np.exp(-x))


def _naive(logit, *, target):
    D = _sigmoid(logit)
    with np.errstate(all='ignore'):
        return -(target * np.log(D) + (1 - target) * np.log(1 - D)).mean()


def _clipped(eps):
    def computed(logit, *, target):
        D = np.clip(_sigmoid(logit), eps, 1 - eps)
        return -(target * np.log(D) + (1 - target) * np.log(1 - D)).mean()
    return computed


def _softplus_terms(logit, *, target):
    return {'loss': [Term('t softplus(-logit)', 'the part of the target t', target * ops.softplus(-logit).mean()),
                     Term('(1 - t) softplus(logit)', 'the part of 1 - t',
                          (1 - target) * ops.softplus(logit).mean())]}


def _of_cross_entropy():
    logit = normal(5, 6, 1)
    return gradient(check(lambda: np.array([ops.cross_entropy(logit, target=0.7)]),
                          lambda u: {'logit': u * ops.cross_entropy_backward(logit, target=0.7)}, {'logit': logit}))


LOSS_CHECKS = {'gradient check of cross_entropy': _of_cross_entropy, 'training': training}

CROSS_ENTROPY = Exercise(
    'cross_entropy', 2, 'a loss that never overflows', (Function(
        ops, 'cross_entropy', _logits, returns='loss', terms=_softplus_terms, mistakes=(
            Mistake('The log is taken of a sigmoid that has rounded to 0 or 1: write it as a softplus of the logit, '
                    'which stays finite.', _naive),
            *(Mistake('The sigmoid is clipped before the log: that is finite, but wrong where D is certain; write it '
                      'as a softplus of the logit.', _clipped(10.0**-k)) for k in (6, 7, 8, 12)),
            Mistake('The target and 1 - target are exchanged: t belongs to -log D = softplus(-logit).',
                    lambda logit, *, target: ops.cross_entropy(logit, target=1 - target)),
            Mistake('The target is left out: the loss is t (-log D) + (1 - t) (-log(1 - D)).',
                    lambda logit, *, target: ops.softplus(-logit).mean()),
            Mistake('The logit is used as if it were D(x): take the sigmoid of it, or better a softplus.',
                    lambda logit, *, target: -(target * np.log(logit) + (1 - target) * np.log(1 - logit)).mean()))),),
    hints=('D = sigmoid(logit). What is -log D, written in the logit? And -log(1 - D)?',
           '-log D = softplus(-logit) and -log(1 - D) = softplus(logit): the mean over the rows of '
           't softplus(-logit) + (1 - t) softplus(logit).'),
    checks=LOSS_CHECKS)


def _derivatives(logit, *, target):
    return {'dlogit': [Term('t (D - 1) / m', 'the part of the target t', -target * ops.sigmoid(-logit) / len(logit)),
                       Term('(1 - t) D / m', 'the part of 1 - t', (1 - target) * ops.sigmoid(logit) / len(logit))]}


CROSS_ENTROPY_BACKWARD = Exercise(
    'cross_entropy_backward', 2, 'a derivative that never cancels', (Function(
        ops, 'cross_entropy_backward', lambda: _logits() + [
            Case((FAR,), {'target': 1}, 'D near its target'), Case((-FAR,), {'target': 0}, 'D near its target')],
        returns='dlogit', terms=_derivatives, mistakes=(
            Mistake('D - t cancels: where D rounds to 1, 1 - D is 0 and not exp(-logit). Write 1 - D as '
                    'sigmoid(-logit).', lambda logit, *, target: (ops.sigmoid(logit) - target) / len(logit)),
            Mistake('The exponential overflows: exp(-logit) is inf for a logit of -800; sigmoid in ops.py avoids that.',
                    lambda logit, *, target: (_exp_sigmoid(logit) - target) / len(logit)),
            Mistake('The derivative of the sigmoid, D (1 - D), is an extra factor: it cancels against the slope of the '
                    'log.', lambda logit, *, target: (ops.sigmoid(logit) - target) * ops.sigmoid(logit)
                    * ops.sigmoid(-logit) / len(logit)),
            Mistake('The derivative is taken with respect to D; the argument is the logit, so the slope of the '
                    'sigmoid, D (1 - D), is missing.', lambda logit, *, target: (
                        (1 - target) / ops.sigmoid(-logit) - target / ops.sigmoid(logit)) / len(logit)),
            Mistake('The target is missing: the derivative is D - t.',
                    lambda logit, *, target: ops.sigmoid(logit) / len(logit)),
            Mistake('The logit is used as if it were D: take its sigmoid.',
                    lambda logit, *, target: (logit - target) / len(logit)))),),
    hints=('Differentiate softplus: its derivative is the sigmoid. The loss is a mean, so where does m go?',
           'dlogit = ((1 - t) D - t (1 - D)) / m, with D = sigmoid(logit) and 1 - D = sigmoid(-logit).'),
    checks=LOSS_CHECKS)


def _exp_sigmoid(x):
    with np.errstate(all='ignore'):
        return np.exp(x) / (1 + np.exp(x))


def _D_cases():
    return [Case((normal(0, M, 1), normal(1, M, 1))), Case((normal(2, M, 1), normal(3, M, 1)), {'smoothing': 0.1},
                                                           'smoothing = 0.1')]


def _targets(real_target, fake_target=lambda s: 0):
    """L_D_backward with such targets."""
    return lambda real, fake, *, smoothing=0.0: (
        ops.cross_entropy_backward(real, target=real_target(smoothing)),
        ops.cross_entropy_backward(fake, target=fake_target(smoothing)))


def _by_D(D):
    """The derivative of L_D with respect to what D(logit) returns."""
    def computed(real, fake, *, smoothing=0.0):
        p, q = D(real), D(fake)
        return (smoothing / (1 - p) - (1 - smoothing) / p) / len(real), 1 / (1 - q) / len(fake)
    return computed


L_D_BACKWARD = Exercise(
    'L_D_backward', 3, 'what D descends', (Function(
        losses, 'L_D_backward', _D_cases, returns=('dreal', 'dfake'), mistakes=(
            Mistake('The targets are exchanged: D must say 1 for the data and 0 for the samples.',
                    _targets(lambda s: 0, lambda s: 1 - s)),
            Mistake('The samples have the target 1, which is what G wants; D wants 0 for them.',
                    _targets(lambda s: 1 - s, lambda s: 1)),
            Mistake('Smoothing is left out: the target of the data is 1 - smoothing.', _targets(lambda s: 1)),
            Mistake('Smoothing has the wrong sign: the target of the data is 1 - smoothing, below 1.',
                    _targets(lambda s: 1 + s)),
            Mistake('The samples are smoothed too; smoothing is one-sided, for the data alone.',
                    _targets(lambda s: 1 - s, lambda s: s)),
            Mistake('A half is divided by 2m, the rows of both: L_D has a mean over m for each half.',
                    lambda real, fake, *, smoothing=0.0: tuple(
                        half / 2 for half in losses.L_D_backward(real, fake, smoothing=smoothing))),
            *(Mistake('real and fake are logits, not probabilities: D = sigmoid(logit).',
                      lambda real, fake, *, smoothing=0.0, m=m: ((real - 1 + smoothing) / m, fake / m))
              for m in (M, 1)),
            Mistake('real and fake are logits, not probabilities: D = sigmoid(logit).', _by_D(lambda logit: logit)),
            Mistake('The derivatives are taken with respect to D; the arguments are logits, so the slope of the '
                    'sigmoid, D (1 - D), is missing.', _by_D(ops.sigmoid)))),),
    hints=('L_D is a sum of two cross-entropies. What is the target of each half?',
           'The data have the target 1 - smoothing, the samples 0; dlogit = (D - t) / m for each half.'),
    checks={'gradient check of L_D, smoothing 0.1': lambda: gradient(
        cases.discriminator_loss_case('minimax', 0, smoothing=0.1)), 'training': training})

L_G_NONSATURATING_BACKWARD = Exercise(
    'L_G_nonsaturating_backward', 3, 'what G descends', (Function(
        losses, 'L_G_nonsaturating_backward', lambda: [Case((normal(0, M, 1),))], returns='dfake', mistakes=(
            Mistake('dfake is the derivative of the minimax loss, -D(G(z)) / m, which vanishes where D is sure of '
                    'a fake; the non-saturating one is (D(G(z)) - 1) / m.', losses.L_G_minimax_backward),
            Mistake('dfake is the derivative that D descends: the target of the samples is 0 for D and 1 for G.',
                    lambda fake: ops.cross_entropy_backward(fake, target=0)),
            Mistake('The derivative is taken with respect to D(G(z)), -1 / D / m; the argument is the logit, so the '
                    'slope of the sigmoid, D (1 - D), is missing.', lambda fake: -1 / ops.sigmoid(fake) / len(fake)),
            *(Mistake('fake is a logit, not a probability: D(G(z)) = sigmoid(fake).', derivative) for derivative in (
                lambda fake: (fake - 1) / len(fake), lambda fake: fake - 1, lambda fake: -1 / fake / len(fake))))),),
    hints=('G wants D to say 1 for its samples. Which cross-entropy is this?',
           'L_G = mean softplus(-fake), so dfake = -sigmoid(-fake) / m = (D(G(z)) - 1) / m.'),
    checks={'gradient check of L_G': lambda: gradient(cases.generator_loss_case('nonsaturating', 0)),
            'training': training})
