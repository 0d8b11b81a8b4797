"""Errors that hand-written GANs really have, planted one at a time: `minigan gradcheck` must catch each of them."""

import numpy as np
import pytest

from minigan import Adam, Dense, LeakyReLU, Net, Streams, losses, ops
from minigan.checks import cases
from minigan.ops import sigmoid
from minigan.variants.convolution import Patches, Unpatches, unpatches

CASES = dict(cases.cases())
BATCH_NORM, DENSE = 'BatchNorm(6), training', 'Dense(6 -> 4), training'
ADAM, SGD = (name for name in CASES if name.startswith(('Adam', 'SGD')))
real_maxout, real_batch_norm = ops.maxout_backward, ops.batch_norm_backward


def batch_norm_backward(dy, gamma, cache, *, mean=1, xhat_term=1, gamma_factor=True):
    xhat, rstd = cache
    dgamma, dbeta, m = (dy * xhat).sum(axis=0), dy.sum(axis=0), len(dy)
    factor = gamma * rstd if gamma_factor else rstd
    return factor * (dy - mean * dbeta / m - xhat_term * xhat * dgamma / m), dgamma, dbeta


def without_gamma(dy, gamma, cache):
    return batch_norm_backward(dy, gamma, cache, gamma_factor=False)


def without_mean(dy, gamma, cache):
    return batch_norm_backward(dy, gamma, cache, mean=0)


def without_xhat(dy, gamma, cache):
    return batch_norm_backward(dy, gamma, cache, xhat_term=0)


def zeros(dy, gamma, cache):
    dx, dgamma, dbeta = real_batch_norm(dy, gamma, cache)
    return 0 * dx, dgamma, dbeta


def mean_for_sum(dy, x, dW, db=None):
    dW[...] = x.T @ dy / len(x)
    if db is not None:
        db[...] = dy.sum(axis=0)


def bias_of_the_first_row(dy, x, dW, db=None):
    dW[...] = x.T @ dy
    if db is not None:
        db[...] = dy[0]


def accumulated(dy, x, dW, db=None):
    dW += x.T @ dy
    if db is not None:
        db += dy.sum(axis=0)


def other_mask(dy, mask):
    return dy * np.roll(mask, 1)


def adam(theta, dtheta, m, v, scratch, *, t, learning_rate, beta1, beta2, eps, eps_inside=False, corrected=True):
    m[...] = beta1 * m + (1 - beta1) * dtheta
    v[...] = beta2 * v + (1 - beta2) * dtheta**2
    c1, c2 = (1 - beta1**t, 1 - beta2**t) if corrected else (1 - beta1, 1 - beta2)
    root = np.sqrt(v / c2 + eps) if eps_inside else np.sqrt(v / c2) + eps
    theta -= learning_rate * (m / c1) / root


def adam_with_a_constant_correction(*arrays, **settings):
    adam(*arrays, corrected=False, **settings)


def adam_with_eps_inside_the_root(*arrays, **settings):
    adam(*arrays, eps_inside=True, **settings)


def uphill(theta, dtheta, velocity, scratch, *, learning_rate, momentum):
    velocity[...] = momentum * velocity + learning_rate * dtheta
    theta += velocity


MUTANTS = [  # what is replaced, by what, and the case that must notice
    ('batch_norm_backward', without_xhat, BATCH_NORM),
    ('batch_norm_backward', without_mean, BATCH_NORM),
    ('batch_norm_backward', without_gamma, BATCH_NORM),
    ('batch_norm_backward', zeros, BATCH_NORM),
    ('batch_norm_backward', ops.batch_norm_evaluation_backward, BATCH_NORM),
    ('batch_norm_evaluation_backward', real_batch_norm, 'BatchNorm(6), evaluation'),
    ('dense_backward_input', lambda dy, W: dy @ W, 'default D, training'),
    ('dense_backward_input', lambda dy, W: dy @ W.reshape(W.shape[::-1]), DENSE),
    ('dense_backward_input', lambda dy, W: np.zeros((len(dy), len(W))), DENSE),
    ('dense_backward_params_', mean_for_sum, DENSE),
    ('dense_backward_params_', bias_of_the_first_row, DENSE),
    ('dense_backward_params_', accumulated, DENSE),
    ('leaky_relu_backward', lambda dy, x, *, slope: dy * (x > 0), 'LeakyReLU(0.2), training'),
    ('leaky_relu_backward', lambda dy, x, *, slope: dy * np.where(x > 0, slope, 1), 'LeakyReLU(0.2), training'),
    ('dropout_backward', lambda dy, mask: dy, 'Dropout(0.3), training'),
    ('dropout_backward', lambda dy, mask: dy * (mask > 0), 'Dropout(0.3), training'),
    ('dropout_backward', other_mask, 'Dropout(0.3), training'),
    ('tanh_backward', lambda dy, y: dy * (1 - y), 'Tanh(), training'),
    ('tanh_backward', lambda dy, y: dy * (1 - np.tanh(y) ** 2), 'Tanh(), training'),
    ('sigmoid_backward', lambda dy, y: dy * y * (1 + y), 'Sigmoid(), training'),
    ('maxout_backward', lambda dy, x, y, *, pieces: np.repeat(dy, pieces, axis=1), 'Maxout(3), training'),
    ('maxout_backward', lambda dy, x, y, *, pieces: np.tile(dy, pieces), 'Maxout(3), training'),
    ('maxout_backward', lambda dy, x, y, *, pieces: np.tile(dy, pieces) * (x == np.repeat(y, pieces, axis=1)),
     'Maxout(3), training'),
    ('scale_backward', lambda dy, *, a: dy, 'Scale(2, -1), training'),
    # transposes, permutations and gates by dy: a check whose directions coincide, or are x, passes some of them
    ('dense_backward_input', lambda dy, W: dy @ W, 'Dense(6 -> 6), training'),
    ('dense_backward_input', lambda dy, W: np.roll(dy @ W.T, 1, axis=1), 'Dense(6 -> 6), training'),
    ('leaky_relu_backward', lambda dy, x, *, slope: dy * np.where(dy > 0, 1, slope), 'LeakyReLU(0.2), training'),
    ('leaky_relu_backward', lambda dy, x, *, slope: np.where(dy > 0, x, slope * x), 'LeakyReLU(0.2), training'),
    ('tanh_backward', lambda dy, y: dy * (1 - np.tanh(dy)**2), 'Tanh(), training'),
    ('sigmoid_backward', lambda dy, y: dy * sigmoid(dy) * (1 - sigmoid(dy)), 'Sigmoid(), training'),
    ('dropout_backward', lambda dy, mask: dy[:, ::-1] * mask[:, ::-1], 'Dropout(0.3), training'),
    ('batch_norm_backward', lambda dy, gamma, cache: real_batch_norm(cache[0], gamma, cache), BATCH_NORM),
    ('maxout_backward', lambda dy, x, y, *, pieces: np.roll(real_maxout(dy, x, y, pieces=pieces), 2, axis=1),
     'Maxout(3), training'),
    ('softmax_cross_entropy_backward', lambda logits, labels: ops.softmax(logits) / len(labels),
     'softmax_cross_entropy'),
    ('adam_', adam_with_a_constant_correction, ADAM),
    ('adam_', adam_with_eps_inside_the_root, ADAM),
    ('sgd_momentum_', uphill, SGD),
]


@pytest.mark.parametrize('name, mutant, case', MUTANTS, ids=[f'{i}-{name}' for i, (name, *_) in enumerate(MUTANTS)])
def test_a_wrong_operation_is_caught(monkeypatch, name, mutant, case):
    monkeypatch.setattr(ops, name, mutant)
    try:
        report = CASES[case](0)
    except ValueError as error:  # a transposed W does not even fit
        assert 'matmul' in str(error)
    else:
        assert not report.ok, report
        assert all(row.verdict == 'ok' or row.why or name in ('adam_', 'sgd_momentum_') for row in report)


@pytest.mark.parametrize('objective, mutant', [
    ('minimax', lambda fake: sigmoid(fake) / len(fake)),              # the sign of L_G
    ('minimax', lambda fake: -sigmoid(-fake) / len(fake)),            # the other objective's slope
    ('nonsaturating', lambda fake: sigmoid(-fake) / len(fake)),       # the sign of L_G
    ('nonsaturating', lambda fake: -sigmoid(-fake)),                  # the sum for the mean
    ('nonsaturating', lambda fake: -sigmoid(fake) / len(fake))])
def test_a_wrong_slope_of_L_G_is_caught(monkeypatch, objective, mutant):
    monkeypatch.setitem(losses.OBJECTIVES, objective, losses.OBJECTIVES[objective]._replace(L_G_backward=mutant))
    assert not CASES[f'L_G {objective}'](0).ok
    assert not CASES[f'default L_G {objective} through D'](0).ok


@pytest.mark.parametrize('mutant', [
    lambda real, fake, smoothing: (sigmoid(-real) / len(real), sigmoid(fake) / len(fake)),
    lambda real, fake, smoothing: (-sigmoid(-real) / len(real), -sigmoid(fake) / len(fake)),
    lambda real, fake, smoothing: (-sigmoid(-real) / len(real), sigmoid(fake) / (2 * len(fake)))])
def test_a_wrong_slope_of_L_D_is_caught(monkeypatch, mutant):
    own = losses.OBJECTIVES['minimax']._replace(L_D_backward=lambda real, fake: mutant(real, fake, 0))
    monkeypatch.setitem(losses.OBJECTIVES, 'minimax', own)
    assert not CASES['L_D minimax'](0).ok


def rearranged(change):
    """unpatches of patches whose taps (m oh ow, k, k, c) are changed first."""
    def mutant(y, *, shape, k, **places):
        return unpatches(change(y.reshape(-1, k, k, shape[2])).reshape(y.shape), shape=shape, k=k, **places)
    return mutant


def mean_of_overlaps(y, **settings):
    return unpatches(y, **settings) / unpatches(np.ones_like(y), **settings)


@pytest.mark.parametrize('mutant', [
    rearranged(lambda taps: taps[:, ::-1, ::-1]), rearranged(lambda taps: taps.transpose(0, 2, 1, 3)),
    rearranged(lambda taps: taps.transpose(0, 3, 1, 2)), rearranged(lambda taps: np.roll(taps, 1, axis=0)),
    mean_of_overlaps])
@pytest.mark.parametrize('layer, what', [(Patches, 'derivative'), (Unpatches, 'map')])
def test_patches_put_together_wrongly_are_caught(monkeypatch, mutant, layer, what):
    monkeypatch.setattr(layer, what, staticmethod(mutant))
    case = next(case for name, case in CASES.items() if name.startswith(f'{layer.__name__}('))
    assert not case(0).ok


def test_the_old_cache_of_a_D_that_has_moved_is_caught():
    """The gradient for G would come from D as it was before its update; the guard on caches raises."""
    D = Net([Dense(3, 4), LeakyReLU(0.2), Dense(4, 1)], rng=Streams(0).at('init', 0), name='D', dtype=np.float64)
    logit = D.forward(np.ones((2, 3)))
    D.backward(np.ones_like(logit), keep_cache=True)
    Adam(D, learning_rate=0.1).step()
    with pytest.raises(RuntimeError, match='D: the parameters have changed since the forward pass'):
        D.backward(np.ones_like(logit), param_grads=False)
