"""Batch normalisation."""

import numpy as np

from minigan import ops
from minigan.layers import BatchNorm
from minigan.study.exercises.calls import Case
from minigan.study.exercises.elementwise import SHAPE, normal
from minigan.study.exercises.exercise import Exercise, Function, M
from minigan.study.exercises.terms import Term
from minigan.study.exercises.trials import of_layer
from minigan.study.exercises.words import Mistake

EPS = 0.1  # large, so that its place is seen
CHECKS = of_layer(BatchNorm)


def _cases():
    return [Case((3 + 2 * normal(0, *SHAPE), 1 + normal(1, 5), normal(2, 5)), {'eps': EPS})]


def _batch_norm(*, var=lambda x: x.var(axis=0), rstd=lambda var, eps: 1 / np.sqrt(var + eps),
                xhat=lambda x, mu, rstd: (x - mu) * rstd, cached=lambda xhat, rstd, var: (xhat, rstd)):
    """batch_norm with one part of it exchanged."""
    def computed(x, gamma, beta, *, eps):
        mu, variance = x.mean(axis=0), var(x)
        scale = rstd(variance, eps)
        normalised = xhat(x, mu, scale)
        return gamma * normalised + beta, cached(normalised, scale, variance), (mu, variance)
    return computed


def _y(x, gamma, beta, *, eps):
    xhat = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)
    return {'y': [Term('gamma * xhat', 'the scaled xhat', gamma * xhat), Term('beta', 'the shift', 0 * xhat + beta)]}


BATCH_NORM = Exercise(
    'batch_norm', 3, 'normalise every column of a minibatch', (Function(
        ops, 'batch_norm', _cases, returns=('y', ('xhat', 'rstd'), ('mu', 'var')), terms=_y,
        mistakes=(
            Mistake('var is the unbiased variance, with m - 1; batch norm takes the biased one, the mean of '
                    '(x - mu)^2.', _batch_norm(var=lambda x: x.var(axis=0, ddof=1))),
            Mistake('eps is added outside the root: rstd = 1 / sqrt(var + eps).',
                    _batch_norm(rstd=lambda var, eps: 1 / (np.sqrt(var) + eps))),
            Mistake('eps is missing: rstd = 1 / sqrt(var + eps).', _batch_norm(rstd=lambda var, eps: 1 / np.sqrt(var))),
            Mistake('The root is missing: rstd = 1 / sqrt(var + eps) is the reciprocal of a standard deviation.',
                    _batch_norm(rstd=lambda var, eps: 1 / (var + eps))),
            Mistake('beta is multiplied by gamma too: y = gamma * xhat + beta.',
                    lambda x, gamma, beta, *, eps: _batch_norm()(x, gamma, gamma * beta, eps=eps)),
            Mistake('var is the standard deviation; it must be its square, the variance.',
                    _batch_norm(var=lambda x: x.std(axis=0))),
            Mistake('rstd is the standard deviation, and must be its reciprocal.',
                    _batch_norm(rstd=lambda var, eps: np.sqrt(var + eps), xhat=lambda x, mu, std: (x - mu) / std)),
            Mistake('The mean is not subtracted: xhat = (x - mu) * rstd.',
                    _batch_norm(xhat=lambda x, mu, rstd: x * rstd)),
            Mistake('var is the mean of x^2; subtract mu from x before you square.',
                    _batch_norm(var=lambda x: (x**2).mean(axis=0))),
            Mistake('The cache holds the variance where it must hold rstd.',
                    _batch_norm(cached=lambda xhat, rstd, var: (xhat, var))))),),
    hints=('Each column has a mean and a variance over the m rows: axis 0.',
           'mu = mean x, var = mean (x - mu)^2, rstd = 1 / sqrt(var + eps), xhat = (x - mu) * rstd, '
           'y = gamma * xhat + beta. Return y, then (xhat, rstd), then (mu, var).'),
    checks=CHECKS)


def _given():
    x, gamma, beta = _cases()[0].arguments
    return [Case((normal(3, *SHAPE), gamma, ops.batch_norm(x, gamma, beta, eps=EPS)[1]))]


def _paths(dy, gamma, cache):
    xhat, rstd = cache
    dgamma, dbeta, a = (dy * xhat).sum(axis=0), dy.sum(axis=0), gamma * rstd
    return {'dx': [Term('dy', 'the direct path from x to y', a * dy),
                   Term('-dbeta / m', 'the path through the mean', a * (0 * dy - dbeta / M)),
                   Term('-xhat * dgamma / m', 'the path through the variance', -a * xhat * dgamma / M)]}


def _backward(factor=lambda gamma, rstd: gamma * rstd, dx=None, dgamma=lambda dy, xhat: (dy * xhat).sum(axis=0)):
    """batch_norm_backward with one part of it exchanged."""
    def computed(dy, gamma, cache):
        xhat, rstd = cache
        right = (dy * xhat).sum(axis=0)
        inner = dy - dy.mean(axis=0) - xhat * right / M if dx is None else dx(dy, xhat, right)
        return factor(gamma, rstd) * inner, dgamma(dy, xhat), dy.sum(axis=0)
    return computed


BATCH_NORM_BACKWARD = Exercise(
    'batch_norm_backward', 4, 'three paths from x to y', (Function(
        ops, 'batch_norm_backward', _given, returns=('dx', 'dgamma', 'dbeta'), terms=_paths, parts=('xhat', 'rstd'),
        mistakes=(
            Mistake('dx lacks the factor gamma: y = gamma * xhat + beta, so dxhat = gamma * dy.',
                    _backward(lambda gamma, rstd: rstd)),
            Mistake('dx lacks the factor rstd: xhat = (x - mu) * rstd.', _backward(lambda gamma, rstd: gamma)),
            Mistake('rstd divides dx; it is already 1 / sqrt(var + eps), and multiplies.',
                    _backward(lambda gamma, rstd: gamma / rstd)),
            Mistake('The path through the variance has xhat twice or not at all: its term is -xhat * dgamma / m.',
                    _backward(dx=lambda dy, xhat, dgamma: dy - dy.mean(axis=0) - dgamma / M)),
            Mistake('In dx, dgamma and dbeta are exchanged: the path through the mean has dbeta, the one through the '
                    'variance has xhat * dgamma.',
                    _backward(dx=lambda dy, xhat, dgamma: dy - dgamma / M - xhat * dy.sum(axis=0) / M)),
            Mistake('dgamma lacks the factor xhat: y = gamma * xhat + beta.',
                    _backward(dgamma=lambda dy, xhat: dy.sum(axis=0))))),),
    hints=('x acts on y along three paths: directly, through mu, and through var. mu and var belong to a whole column, '
           'so each x_i acts on every row of y.',
           'With dxhat = gamma * dy: dx = rstd * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat)). The second term is '
           'the path through mu, the third the one through var; written with dbeta and dgamma, both have 1/m.'),
    checks=CHECKS)
