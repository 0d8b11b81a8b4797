"""The affine map, and its derivatives with respect to the input and to the parameters."""

from minigan import ops
from minigan.layers import Dense
from minigan.study.exercises.calls import Case
from minigan.study.exercises.elementwise import normal
from minigan.study.exercises.exercise import Exercise, Function, M
from minigan.study.exercises.terms import Term
from minigan.study.exercises.trials import of_layer
from minigan.study.exercises.words import Mistake

SIZES = (4, 4), (4, 3)  # n_in, n_out: a square W comes first, which a transpose fits
CHECKS = of_layer(lambda n: Dense(n, n + 1))

DENSE = Exercise(
    'dense', 1, 'the affine map of a minibatch', (Function(
        ops, 'dense',
        lambda: [*(Case((normal(0, M, n_in), normal(1, n_in, n_out), normal(2, n_out))) for n_in, n_out in SIZES),
                 Case((normal(0, M, 4), normal(1, 4, 3)), where='b = None')], returns='y',
        terms=lambda x, W, b=None: {'y': [
            Term('x W', 'the product', x @ W), Term('b', 'the bias', 0 * (x @ W) + (0 if b is None else b))]},
        mistakes=(
            Mistake('W is transposed: y_j = sum_i x_i W_ij, so x W without a transpose.',
                    lambda x, W, b=None: x @ W.T + (0 if b is None else b)),
            Mistake('The bias is multiplied by W too: y = x W + b, not (x + b) W.',
                    lambda x, W, b=None: (x + (0 if b is None else b)) @ W),
            Mistake('x is multiplied by W element by element; it is a product of matrices.',
                    lambda x, W, b=None: (x[:, :, None] * W[None]).mean(axis=1) + (0 if b is None else b)))),),
    hints=('Each row of x is one example: the same map is applied to every row.',
           'y_rj = sum_i x_ri W_ij + b_j for the row r; b is None for a layer without a bias.'),
    checks=CHECKS)

DENSE_BACKWARD_INPUT = Exercise(
    'dense_backward_input', 2, 'how a gradient flows back through W', (Function(
        ops, 'dense_backward_input',
        lambda: [*(Case((normal(0, M, n_out), normal(1, n_in, n_out))) for n_in, n_out in SIZES),
                 Case((normal(0, M, 1), normal(1, 4, 1)), where='one output'),
                 Case((normal(0, 70, 3), normal(1, 4, 3)), where='70 rows')], returns='dx',
        mistakes=(
            Mistake('W is not transposed: y_j = sum_i x_i W_ij, so dx_i = sum_j dy_j W_ij, which sums over the second '
                    'index of W.', lambda dy, W: dy @ W),
            Mistake('dx is W dy^T without the last transpose: its rows must be the examples.',
                    lambda dy, W: W @ dy.T))),),
    hints=('x_i acts on the loss through every y_j: add up those paths.',
           'dx_i = sum over j of dy_j * dy_j/dx_i, and dy_j/dx_i = W_ij.'),
    checks=CHECKS)

DENSE_BACKWARD_PARAMS = Exercise(
    'dense_backward_params_', 2, 'the gradients of W and b, assigned', (Function(
        ops, 'dense_backward_params_',
        lambda: [*(Case((normal(0, M, n_out), normal(1, M, n_in), normal(2, n_in, n_out), normal(3, n_out)))
                   for n_in, n_out in SIZES),
                 Case((normal(0, M, 3), normal(1, M, 4), normal(2, 4, 3)), where='db = None')],
        written=lambda dy, x, dW, db=None: {'dW': dW} if db is None else {'dW': dW, 'db': db},
        mistakes=(
            Mistake('dW is transposed: dW_ij = sum over the rows of x_i dy_j has the shape of W, (n_in, n_out).',
                    lambda dy, x, dW, db=None: _assign(dW, (x.T @ dy).T, db, dy.sum(axis=0))),
            Mistake('db is the sum over the outputs, which is axis 1; sum over the minibatch.',
                    lambda dy, x, dW, db=None: _assign(dW, x.T @ dy, db, dy.sum())),
            Mistake('db has the factor x: the derivative of y with respect to b is 1.',
                    lambda dy, x, dW, db=None: _assign(dW, x.T @ dy, db, (x.T @ dy).sum(axis=0))),
            Mistake('Only the first row of the minibatch is used; add up over all rows.',
                    lambda dy, x, dW, db=None: _assign(dW, x[:1].T @ dy[:1], db, dy[0])))),),
    hints=('Every row of the minibatch uses the same W: its derivative adds up what all rows contribute.',
           'dW_ij = sum over rows of x_i dy_j, which is x^T dy. dy already has the 1/m of the loss. Write into both '
           'arrays.'),
    checks=CHECKS)


def _assign(dW, value, db, sums):
    dW[...] = value
    if db is not None:
        db[...] = sums
