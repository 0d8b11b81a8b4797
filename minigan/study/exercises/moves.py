"""Who moves: Adam, and both players' steps."""

from copy import deepcopy

import numpy as np

from minigan import losses, ops
from minigan.checks import cases
from minigan.checks.derivatives import check
from minigan.gan import Game
from minigan.ops import stack
from minigan.optim import Adam, SGDMomentum
from minigan.study.exercises.calls import Case
from minigan.study.exercises.elementwise import normal
from minigan.study.exercises.exercise import Exercise, Function
from minigan.study.exercises.steps import Step
from minigan.study.exercises.terms import Term
from minigan.study.exercises.trials import gradient, small_game, training
from minigan.study.exercises.words import Mistake

SETTINGS = {'learning_rate': 0.1, 'beta1': 0.6, 'beta2': 0.9, 'eps': 0.03}
RATE = 0.1  # of plain descent, whose move is linear in the gradient


def _adam_cases():
    theta, dtheta, m, v, scratch = normal(0, 5, 6)
    v, first = v**2, {'t': 1, **SETTINGS}
    return [Case((theta, dtheta, 0 * m, 0 * v, scratch), first, 't = 1, where m = v = 0'),
            Case((theta, dtheta, m, v, scratch), {'t': 4, **SETTINGS}, 't = 4'),
            Case((theta, dtheta, None, v, scratch), {'t': 4, **SETTINGS, 'beta1': 0}, 'm = None')]


def _adam(*, m=lambda m, g, b: b * m + g, v=lambda v, g, b: b * v + g**2, n=lambda b, t: (1 - b**t) / (1 - b),
          move=lambda mhat, vhat, eps: mhat / (np.sqrt(vhat) + eps)):
    """adam_ with one part of it exchanged."""
    def step(theta, dtheta, first, second, scratch, *, t, learning_rate, beta1, beta2, eps):
        if first is not None:
            first[...] = m(first, dtheta, beta1)
        second[...] = v(second, dtheta, beta2)
        mhat = (dtheta if first is None else first) / n(beta1, t)
        theta -= learning_rate * move(mhat, second / n(beta2, t), eps)
    return step


def _exchanged(*arrays, beta1, beta2, **more):
    _adam()(*arrays, beta1=beta2, beta2=beta1, **more)


ADAM = Exercise(
    'adam_', 4, 'one step of Adam, in place', (Function(
        ops, 'adam_', _adam_cases, moves=True,
        written=lambda theta, dtheta, m, v, scratch, **more: {
            'theta': theta, **({} if m is None else {'m': m}), 'v': v, 'scratch': scratch},
        mistakes=(
            Mistake("The bias is not corrected: m and v start at 0, so divide them by n1 and n2, the sums of their "
                    "weights.", _adam(n=lambda b, t: 1)),
            Mistake("m and v are divided by the paper's 1 - beta^t, but here they are sums: divide by "
                    "n = (1 - beta^t) / (1 - beta).", _adam(n=lambda b, t: 1 - b**t)),
            Mistake("t is one step behind: it counts from 1, and the correction uses t itself.",
                    _adam(n=lambda b, t: (1 - b**(t - 1)) / (1 - b))),
            Mistake("t is one step ahead: it counts from 1, and the correction uses t itself, not t + 1.",
                    _adam(n=lambda b, t: (1 - b**(t + 1)) / (1 - b))),
            Mistake("eps lies under the root; it is added to it: sqrt(vhat) + eps.",
                    _adam(move=lambda mhat, vhat, eps: mhat / np.sqrt(vhat + eps))),
            Mistake("eps is missing: sqrt(vhat) + eps.", _adam(move=lambda mhat, vhat, eps: mhat / np.sqrt(vhat))),
            Mistake("The root is missing: divide by sqrt(vhat) + eps.",
                    _adam(move=lambda mhat, vhat, eps: mhat / (vhat + eps))),
            Mistake("m and v fade with the wrong beta: m fades with beta1, v with beta2.", _exchanged),
            Mistake("v is the sum of the gradients; it must be that of their squares.",
                    _adam(v=lambda v, g, b: b * v + g)),
            Mistake("m or v is the paper's, with the factor 1 - beta; by the docstring they are the plain sums "
                    "m = beta1 m + dtheta and v = beta2 v + dtheta^2.",
                    _adam(m=lambda m, g, b: b * m + (1 - b) * g, v=lambda v, g, b: b * v + (1 - b) * g**2,
                          n=lambda b, t: 1 - b**t if b else 1)),
            Mistake("The step follows dtheta; it must follow mhat, the mean of all gradients so far.",
                    lambda theta, dtheta, m, v, scratch, **more: _adam()(
                        theta, dtheta, None, v, scratch, **more | {'beta1': 0})))),),
    hints=('Adam keeps two sums with fading weights, of the gradients and of their squares; dividing by the sum of the '
           'weights makes means of them.',
           'm = beta1 m + dtheta, v = beta2 v + dtheta^2, n1 = (1 - beta1^t) / (1 - beta1) and n2 likewise; then theta '
           'moves by -learning_rate (m / n1) / (sqrt(v / n2) + eps). Write into the arrays: +=, *= or [...] =.'),
    checks={'five steps, next to the equations of the paper': lambda: gradient(cases.optimizer_case(
        Adam, cases.plain_adam, {'beta1': 0.5, 'beta2': 0.9, 'eps': 0.01}, 0)), 'training': training})


def _game():
    """A game whose players both hold a gradient, as after a step, and descend it plainly."""
    game = small_game(optimizer=lambda net: SGDMomentum(net, learning_rate=RATE))
    game.step(0)
    return game


def _arrays(game, *_):
    return {'theta_D': game.D.theta, 'theta_G': game.G.theta, 'moving averages': game.G.state}


def _D_case():
    game = _game()
    return [Case((game, game.minibatch(1), game.noise(1, 0), game.layer_rng(1, 0)))]


def _of_L_D(game, x, z, rng, *, weights=(1, 1), G_training=True):
    """Leave the derivative of L_D in D's dtheta, with weights for its two halves. Returns D's logits."""
    samples = game.G.forward(z, training=G_training, rng=rng, keep_cache=False)
    real, fake = game.logits(x, samples, rng)
    dreal, dfake = losses.L_D_backward(real, fake)
    game.D.backward(stack(weights[0] * dreal, weights[1] * dfake), input_grad=False)
    return real, fake


def _D_terms(game, x, z, rng):
    moves = []
    for weights in ((1, 0), (0, 1)):
        one = deepcopy((game, rng))
        _of_L_D(one[0], x, z, one[1], weights=weights)
        moves.append(-RATE * one[0].D.dtheta)
    return {'theta_D': [Term('E_x[log D(x)]', 'the gradient of the data', moves[0]),
                        Term('E_z[log(1 - D(G(z)))]', 'the gradient of the samples', moves[1])]}


def _D_step(*, derivative=lambda game, real, fake: game.L_D_backward(real, fake),
            logits=lambda game, x, samples, rng: game.logits(x, samples, rng),
            returned=lambda game, x, samples, rng, real, fake: (real, fake), **options):
    """update_D with one part of it exchanged. options: of D.backward."""
    def update_D(self, x, z, rng):
        samples = self.G.forward(z, rng=rng, keep_cache=False)
        halves = logits(self, x, samples, rng)
        self.D.backward(derivative(self, *halves), **{'input_grad': False, **options})
        self.optimizer_D.step()
        return returned(self, x, samples, rng, *halves)
    return update_D


def _apart(self, x, z, rng):
    samples, logits = self.G.forward(z, rng=rng, keep_cache=False), []
    for rows, target in ((x, 1), (samples, 0)):
        logits.append(self.D.forward(rows, rng=rng))
        self.D.backward(ops.cross_entropy_backward(logits[-1], target=target), input_grad=False)
    self.optimizer_D.step()
    return tuple(logits)


def _evaluated(self, x, z, rng):
    real, fake = _of_L_D(self, x, z, rng, G_training=False)
    self.optimizer_D.step()
    return real, fake


def _L_D_of_theta_D():
    """update_D's move next to central differences of L_D."""
    game, x, z, rng = _D_case()[0].arguments
    numbers = deepcopy(rng)
    samples, theta = deepcopy(game).G.forward(z, rng=numbers, keep_cache=False), game.D.theta

    def L_D():
        real, fake = deepcopy(game).logits(x, samples, deepcopy(numbers))
        return np.array([losses.L_D(real, fake)])

    def moved(u):
        after = deepcopy(game)
        after.update_D(x, z, deepcopy(rng))
        return {'theta_D': u * (game.D.theta - after.D.theta) / RATE}

    return gradient(check(L_D, moved, {'theta_D': theta}))


UPDATE_D = Exercise(
    'Game.update_D', 4, "D's step of Algorithm 1", (Step(
        Game, 'update_D', _D_case, returns=('real', 'fake'), written=_arrays, moves=True, terms=_D_terms,
        mistakes=(
            Mistake('The samples stand first, where D is told to find data: L_D_backward and the logits take the data '
                    'first.', _D_step(
                        logits=lambda game, x, samples, rng: game.logits(samples, x, rng))),
            Mistake('D reads data and samples in evaluation mode (training=False), without dropout.', _D_step(
                logits=lambda game, x, samples, rng: np.split(
                    game.D.forward(stack(x, samples), training=False), 2))),
            Mistake('D reads data and samples in two passes, and each backward assigns the gradient: theta_D follows '
                    'the samples alone. self.logits reads both as one minibatch.', _apart),
            Mistake('real and fake are exchanged: L_D_backward takes the logits of the data first.',
                    _D_step(derivative=lambda game, real, fake: game.L_D_backward(fake, real))),
            Mistake("D follows the gradient of G: D's own comes from self.L_D_backward(real, fake).",
                    _D_step(derivative=lambda game, real, fake: stack(0 * real, game.L_G_backward(fake)))),
            Mistake("G draws in evaluation mode (training=False, or G(z)); in training, its batch norms use the "
                    "minibatch's own statistics.", _evaluated),
            Mistake('The move of theta_D has the wrong sign: D descends L_D, that is, ascends V.',
                    _D_step(derivative=lambda game, real, fake: -game.L_D_backward(real, fake))),
            Mistake('No derivatives of parameters were computed (param_grads=False): D moves along an old gradient.',
                    _D_step(param_grads=False)),
            *(Mistake('These are the logits after the update; return those that the update has used.',
                      _D_step(returned=logits)) for logits in (
                          lambda game, x, samples, rng, *_: (game.D(x), game.D(samples)),
                          lambda game, x, samples, rng, *_: game.logits(x, samples, rng))),
            Mistake('These are probabilities; return the logits themselves.', _D_step(
                returned=lambda game, x, samples, rng, real, fake: (ops.sigmoid(real), ops.sigmoid(fake)))))),),
    hints=('D descends L_D = -V. G only provides samples: it needs no cache, and it does not move.',
           'samples = G(z); real and fake are the logits of data and samples, read as one minibatch (self.logits); '
           "D's backward takes self.L_D_backward(real, fake); then D's optimiser steps. G.forward needs "
           'keep_cache=False, because no backward follows.'),
    checks={'the move, next to central differences of L_D': _L_D_of_theta_D, 'training': training})


def _G_case():
    game = _game()
    return [Case((game, game.noise(1, 1), game.layer_rng(1, 1)))]


def _G_step(derivative=losses.L_G_nonsaturating_backward, *, training=(True, True),
            returned=lambda game, z, rng, fake: fake, param_grads=True):
    """update_G with one part of it exchanged. training: of G and of D; param_grads: of G."""
    def update_G(self, z, rng):
        samples = self.G.forward(z, rng=rng, training=training[0])
        fake = self.D.forward(samples, rng=rng, training=training[1])
        dsamples = self.D.backward(derivative(fake), param_grads=False)
        self.G.backward(dsamples, input_grad=False, param_grads=param_grads)
        self.optimizer_G.step()
        return returned(self, z, rng, fake)
    return update_G


def _L_G_of_theta_G():
    """update_G's move next to central differences of L_G."""
    game, z, rng = _G_case()[0].arguments

    def L_G():
        now, numbers = deepcopy((game, rng))
        return np.array([losses.L_G_nonsaturating(now.D.forward(now.G.forward(z, rng=numbers), rng=numbers))])

    def moved(u):
        after = deepcopy(game)
        after.update_G(z, deepcopy(rng))
        return {'theta_G': u * (game.G.theta - after.G.theta) / RATE}

    return gradient(check(L_G, moved, {'theta_G': game.G.theta}))


UPDATE_G = Exercise(
    'Game.update_G', 4, "G's step of Algorithm 1", (Step(
        Game, 'update_G', _G_case, returns='fake', written=_arrays, moves=True,
        mistakes=(
            Mistake("G descends D's loss: the derivative must be that of L_G, self.L_G_backward(fake), whose target "
                    "for samples is 1.", _G_step(lambda fake: ops.cross_entropy_backward(fake, target=0))),
            Mistake('G descends the minimax loss, whatever the objective of this game: use self.L_G_backward(fake).',
                    _G_step(losses.L_G_minimax_backward)),
            Mistake("G draws in evaluation mode (training=False); in training, its batch norms use the minibatch's "
                    "own statistics.", _G_step(training=(False, True))),
            Mistake('D reads the samples in evaluation mode (training=False, or D(x)), without dropout: G must learn '
                    'from the D that D itself learned as.', _G_step(training=(True, False))),
            Mistake('The move of theta_G has the wrong sign: G descends L_G.',
                    _G_step(lambda fake: -losses.L_G_nonsaturating_backward(fake))),
            Mistake('No derivatives of parameters were computed (param_grads=False): G moves along an old gradient.',
                    _G_step(param_grads=False)),
            *(Mistake('These are the logits after the update; return those that the update has used.',
                      _G_step(returned=logits)) for logits in (
                          lambda game, z, rng, _: game.D(game.G(z)),
                          lambda game, z, rng, _: game.D.forward(game.G.forward(z, rng=rng), rng=rng))),
            Mistake('These are probabilities; return the logits themselves.',
                    _G_step(returned=lambda game, z, rng, fake: ops.sigmoid(fake))))),),
    hints=("G sees no data. The gradient of L_G comes back through D, which is fixed, and goes on through G.",
           'fake = D(G(z)), both with a cache; D.backward(self.L_G_backward(fake)) returns the derivative with respect '
           "to the samples (param_grads=False: D's own is not needed); G.backward takes it; then G's optimiser steps."),
    checks={'the move, next to central differences of L_G': _L_G_of_theta_G, 'training': training})
