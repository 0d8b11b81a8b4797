"""Operations that go element by element."""

import numpy as np

from minigan import ops
from minigan.layers import Dropout, LeakyReLU, Tanh
from minigan.study.exercises.calls import Case
from minigan.study.exercises.exercise import Exercise, Function, M
from minigan.study.exercises.terms import Term
from minigan.study.exercises.trials import of_layer
from minigan.study.exercises.words import Mistake

SHAPE = M, 5


def normal(seed, *shape):
    """Normal numbers in float64."""
    return np.random.default_rng(seed).standard_normal(shape)


def _kinked():
    x = normal(0, *SHAPE)
    x[2, ::2] = 0
    return [Case((normal(1, *SHAPE), x), {'slope': 0.2})]


LEAKY_RELU_BACKWARD = Exercise(
    'leaky_relu_backward', 1, 'the derivative of a kink', (Function(
        ops, 'leaky_relu_backward', _kinked, returns='dx',
        terms=lambda dy, x, *, slope: {'dx': [
            Term('dy where x > 0', 'the right side', dy * (x > 0)),
            Term('slope * dy where x < 0', 'the left side', slope * dy * (x < 0)),
            Term('slope * dy where x = 0', 'the slope at the kink', slope * dy * (x == 0))]},
        mistakes=(
            Mistake('At the kink, x = 0, dx has the slope of the right side, 1; by the docstring it takes that of the '
                    'left side: the condition is x > 0, not x >= 0.',
                    lambda dy, x, *, slope: dy * np.where(x < 0, slope, 1)),
            Mistake('dx lacks the factor dy: by the chain rule, the derivative of the loss is dy times the slope.',
                    lambda dy, x, *, slope: np.where(x > 0, 1, slope)),
            Mistake('The condition asks for the sign of dy; the slope depends on x, where the function was evaluated.',
                    lambda dy, x, *, slope: np.where(dy > 0, dy, slope * dy)),
            Mistake('dx lacks the factor dy on the left side, where the slope is not 1.',
                    lambda dy, x, *, slope: np.where(x > 0, dy, slope)),
            Mistake('The slope is multiplied by x; by the chain rule, dy is its factor.',
                    lambda dy, x, *, slope: np.where(x > 0, x, slope * x)),
            Mistake('dy is multiplied by leaky_relu(x) itself; its derivative is 1 or slope.',
                    lambda dy, x, *, slope: dy * np.where(x > 0, x, slope * x)),
            Mistake('The two sides are exchanged: the slope is 1 where x > 0.',
                    lambda dy, x, *, slope: dy * np.where(x > 0, slope, 1)))),),
    hints=('The function is a straight line on each side of 0. What is the slope of each line?',
           'dx = dy * y\'(x), with y\'(x) = 1 where x > 0 and y\'(x) = slope elsewhere.'),
    checks=of_layer(lambda n: LeakyReLU(0.2)))

TANH_BACKWARD = Exercise(
    'tanh_backward', 1, 'a derivative from the output', (Function(
        ops, 'tanh_backward', lambda: [Case((normal(0, *SHAPE), np.tanh(normal(1, *SHAPE))))], returns='dx',
        terms=lambda dy, y: {'dx': [Term('dy', 'the constant part of 1 - y^2', dy),
                                    Term('-dy * y^2', 'the square of the output', -dy * y**2)]},
        mistakes=(
            Mistake('y is the output, and the tanh has been taken of it once more: the derivative is 1 - y^2.',
                    lambda dy, y: dy * (1 - np.tanh(y)**2)),
            Mistake('dx lacks the factor dy: by the chain rule, the derivative of the loss is dy times that of tanh.',
                    lambda dy, y: 1 - y**2),
            Mistake('y is not squared: the derivative of tanh is 1 - y^2.', lambda dy, y: dy * (1 - y)),
            Mistake('y (1 - y) is the derivative of the sigmoid; that of tanh is 1 - y^2.',
                    lambda dy, y: dy * y * (1 - y)),
            Mistake('dy is squared with y: only y is, and dy is a factor.', lambda dy, y: 1 - (dy * y)**2))),),
    hints=('tanh = sinh / cosh: differentiate the quotient, and express what is left by tanh itself.',
           'tanh\' = 1 - sinh^2 / cosh^2 = 1 - tanh^2, and y = tanh(x) is given.'),
    checks=of_layer(lambda n: Tanh()))


def _bits():
    x, bits = normal(0, *SHAPE), np.random.default_rng(1).integers(0, 2**16, SHAPE).astype(np.uint16)
    bits[0, :3] = 2**14 - 1, 2**14, 2**14 + 1  # at the limit of a quarter
    return [Case((x, bits), {'rate': 0.25}), Case((x, bits), {'rate': 0.0}, 'rate = 0')]


def _kept(bits, rate):
    return (bits >= rate * 2**16).astype(np.float64)


def _masked():
    return [Case((normal(2, *SHAPE), _kept(_bits()[0].arguments[1], 0.25) / 0.75))]


def _with(mask):
    """The dropout that makes such a mask of bits and rate."""
    return lambda x, bits, *, rate: (x * mask(bits, rate), mask(bits, rate))


DROPOUT = Exercise(
    'dropout', 2, 'a random mask, and its derivative', (
        Function(ops, 'dropout', _bits, returns=('y', 'mask'), mistakes=(
            Mistake('The units that stay are not scaled up: divide by 1 - rate, or the mean of y is 1 - rate times '
                    'that of x.', _with(_kept)),
            Mistake('The mask is inverted: a unit is dropped where its bits are below rate * 2**16, and stays '
                    'elsewhere.', _with(lambda bits, rate: (1 - _kept(bits, rate)) / (1 - rate))),
            Mistake('The units that stay are divided by rate, the fraction that is dropped; divide by 1 - rate.',
                    _with(lambda bits, rate: _kept(bits, rate) / rate)),
            Mistake('The units that stay are multiplied by 1 - rate; divide by it.',
                    _with(lambda bits, rate: _kept(bits, rate) * (1 - rate))),
            Mistake('The bits are compared with rate, but they are integers up to 2**16: compare with rate * 2**16.',
                    _with(lambda bits, rate: (bits > rate) / (1 - rate))),
            Mistake('The mean is correct, but other units are dropped than in the package, which drops those with '
                    'bits < rate * 2**16.',
                    _with(lambda bits, rate: (bits < (1 - rate) * 2**16) / (1 - rate))),
            Mistake('A unit whose bits are exactly rate * 2**16 is dropped: of the 2**16 values, the first '
                    'rate * 2**16 are dropped, which are the smaller ones.',
                    _with(lambda bits, rate: (bits > rate * 2**16) / (1 - rate))))),
        Function(ops, 'dropout_backward', _masked, returns='dx', mistakes=(
            Mistake('The derivative of y = x * mask is the mask with its scale, not only where it is on.',
                    lambda dy, mask: dy * (mask > 0)),
            Mistake('dx lacks the factor mask: nothing flows back through a unit that is off.', lambda dy, mask: dy),
            Mistake('dx lacks the factor dy.', lambda dy, mask: mask),
            Mistake('dy is divided by the scale of the mask; the same mask multiplies forward and backward.',
                    lambda dy, mask: np.where(mask > 0, dy / np.where(mask > 0, mask, 1), 0))))),
    hints=('The mask does not depend on x: for the derivative it is a constant.',
           'E[y] = (1 - rate) * scale * x = x for scale = 1 / (1 - rate). A unit is off where bits < rate * 2**16. '
           'y = x * mask, so dx = dy * mask.'),
    checks=of_layer(lambda n: Dropout(0.25)))
