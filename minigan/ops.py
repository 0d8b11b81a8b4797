"""The specification: every operation next to its derivative, as pure functions on NumPy or CuPy arrays.

Shapes: m minibatch, n_in and n_out widths, n any width. The batch axis is first.
The derivative of the loss with respect to q is called dq; X_backward maps dy to dx by the chain rule.
Functions that end in _ write into their arguments; all others leave them alone.
A function with @twin has a CUDA kernel, which runs instead for float32 arrays on a GPU; some run on a CPU.
"""

import numpy as np

from minigan.backend import array_module, twin


@twin
def dense(x, W, b=None):
    """Affine map of every row.

        y = x W + b

    x: (m, n_in), W: (n_in, n_out), b: (n_out,) or None. Returns y (m, n_out).
    """
    y = x @ W
    if b is not None:
        y += b
    return y


@twin
def dense_backward_input(dy, W):
    """Derivative of dense with respect to its input.

        dx = dy W^T        (y_j = sum_i x_i W_ij, so dx_i = sum_j dy_j W_ij)

    dy: (m, n_out), W: (n_in, n_out). Returns dx (m, n_in).
    """
    if W.shape[1] == 1:  # an outer product, for which OpenBLAS is slow
        return dy * W.T
    if array_module(dy) is np and len(dy) <= 64:  # (W dy^T)^T: OpenBLAS computes this faster for few rows
        return np.ascontiguousarray((W @ dy.T).T)
    return dy @ W.T


@twin
def dense_backward_params_(dy, x, dW, db=None):
    """Derivative of dense with respect to its parameters, assigned to dW and db.

        dW = x^T dy,   db = sum over the minibatch of dy        (for one row, dW_ij = x_i dy_j, db_j = dy_j)

    dy: (m, n_out), x: (m, n_in), dW: (n_in, n_out), db: (n_out,) or None.
    """
    array_module(dy).matmul(x.T, dy, out=dW)
    if db is not None:
        dy.sum(axis=0, out=db)


def batch_norm(x, gamma, beta, *, eps):
    """Batch normalisation over the minibatch axis, with the minibatch's own statistics (training).

        y = gamma * xhat + beta,   xhat = (x - mu) * rstd,   rstd = 1 / sqrt(var + eps)

    x: (m, n), gamma and beta: (n,). mu and var are the mean and the biased variance of each column.
    Returns y (m, n), the cache (xhat, rstd), the statistics (mu, var).
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    mu = x.mean(axis=0)
    xhat = x - mu
    var = (xhat**2).mean(axis=0)
    rstd = 1 / array_module(x).sqrt(var + eps)
    xhat *= rstd
    return gamma * xhat + beta, (xhat, rstd), (mu, var)


def batch_norm_backward(dy, gamma, cache):
    """Derivative of batch_norm: x acts directly, through mu and through var, in the order of dx's three terms.

        dgamma = sum dy * xhat,   dbeta = sum dy
        dx = gamma * rstd * (dy - dbeta / m - xhat * dgamma / m)

    dy: (m, n). Returns dx (m, n), dgamma (n,), dbeta (n,).
    """
    xhat, rstd = cache
    dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
    m = len(dy)
    return (gamma * rstd) * (dy - dbeta / m - xhat * (dgamma / m)), dgamma, dbeta


@twin
def moving_average_(moving, statistic, *, momentum):
    """moving = momentum * moving + (1 - momentum) * statistic, in place."""
    moving += (1 - momentum) * (statistic - moving)


def batch_norm_evaluation(x, gamma, beta, mu, var, *, eps):
    """The equation of batch_norm with given statistics (evaluation): an affine map of every column.

    x: (m, n); gamma, beta, mu, var: (n,). Returns y (m, n) and the cache (xhat, rstd).
    """
    rstd = 1 / array_module(x).sqrt(var + eps)
    xhat = (x - mu) * rstd
    return gamma * xhat + beta, (xhat, rstd)


def batch_norm_evaluation_backward(dy, gamma, cache):
    """Derivative of batch_norm_evaluation: mu and var are constants here.

        dx = gamma * rstd * dy,   dgamma = sum dy * xhat,   dbeta = sum dy
    """
    xhat, rstd = cache
    return (gamma * rstd) * dy, (dy * xhat).sum(axis=0), dy.sum(axis=0)


def leaky_relu(x, *, slope):
    """Leaky rectifier, element by element.

        y = max(x, slope * x) = x where x > 0, slope * x elsewhere

    slope in [0, 1). Maas et al. 2013.
    """
    return array_module(x).maximum(x, slope * x)


def leaky_relu_backward(dy, x, *, slope):
    """Derivative of leaky_relu; at the kink x = 0 it takes the left slope.

        dx = dy * (1 where x > 0, slope elsewhere)
    """
    dx = (x > 0).astype(dy.dtype)
    dx *= 1 - slope  # a multiply and an add cost less than np.where, and their sum rounds to 1
    dx += slope
    dx *= dy
    return dx


def maxout(x, *, pieces):
    """The largest of each group of units.

        y_j = max over i of x_ij,   i = 1 ... pieces

    x: (m, pieces * n), first unit 1 of every group, then unit 2, ... Returns y (m, n).
    Goodfellow et al. 2013, Maxout networks, section 3, where x = W h + b.
    """
    return x.reshape(len(x), pieces, -1).max(axis=1)


def maxout_backward(dy, x, y, *, pieces):
    """Derivative of maxout: the largest unit of a group takes dy; where several are the largest, they share it.

        dx_ij = dy_j / (number of largest units in group j) where x_ij = y_j, 0 elsewhere
    """
    largest = (x.reshape(len(x), pieces, -1) == y[:, None]).astype(dy.dtype)
    share = dy / largest.sum(axis=1)
    largest *= share[:, None]
    return largest.reshape(x.shape)


def scale(x, *, a, b):
    """y = a x + b"""
    return a * x + b


def scale_backward(dy, *, a):
    """Derivative of scale.   dx = a dy"""
    return a * dy


def dropout(x, bits, *, rate):
    """Inverted dropout: switch off a fraction `rate` of the units, scale up the others, keep the mean.

        y = x * mask,   mask = (0 with probability rate, 1 / (1 - rate) otherwise)

    x: any shape; bits: random integers in [0, 2**16) of that shape. rate: in [0, 1), rounded down to k / 2**16.
    Returns y and the mask. Srivastava et al. 2014, section 10.
    """
    dropped = int(rate * 2**16)  # of the 2**16 values
    mask = (bits >= dropped).astype(x.dtype)
    mask *= 2**16 / (2**16 - dropped)
    return x * mask, mask


def dropout_backward(dy, mask):
    """Derivative of dropout: the same mask.   dx = dy * mask"""
    return dy * mask


def tanh(x):
    """y = tanh(x)"""
    return array_module(x).tanh(x)


@twin
def tanh_backward(dy, y):
    """Derivative of tanh, from its output.   dx = dy * (1 - y^2)"""
    return dy * (1 - y**2)


def sigmoid(x):
    """Logistic function that never overflows: no exponent is positive.

        y = 1 / (1 + exp(-x)) = exp(min(x, 0)) / (1 + exp(-|x|))
    """
    xp = array_module(x)
    return xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-abs(x)))


def sigmoid_backward(dy, y):
    """Derivative of sigmoid, from its output.   dx = dy * y * (1 - y)"""
    return dy * y * (1 - y)


def softplus(x):
    """Cross-entropy on logits: softplus(-x) = -log sigmoid(x), softplus(x) = -log(1 - sigmoid(x)).

        y = log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))

    Never overflows, and never takes the log of a sigmoid that has rounded to 0.
    """
    xp = array_module(x)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-abs(x)))


def softplus_backward(dy, x):
    """Derivative of softplus, as in cross_entropy_backward.   dx = dy * sigmoid(x)"""
    return dy * sigmoid(x)


@twin
def cross_entropy(logit, *, target):
    """Mean cross-entropy of D = sigmoid(logit) with a target t in [0, 1].

        -mean (t log D + (1 - t) log(1 - D)) = mean (t softplus(-logit) + (1 - t) softplus(logit))

    logit: (m, 1). Returns a number.
    """
    return (target * softplus(-logit) + (1 - target) * softplus(logit)).mean()


@twin
def cross_entropy_backward(logit, *, target):
    """Derivative of cross_entropy.   dlogit = (D - t) / m,   without the cancellation near D = t = 0 or 1"""
    return ((1 - target) * sigmoid(logit) - target * sigmoid(-logit)) / len(logit)


def softmax(logits):
    """p_j = exp(logit_j) / sum over i of exp(logit_i),   in each row; never overflows"""
    e = array_module(logits).exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_cross_entropy(logits, labels):
    """Mean cross-entropy of p = softmax(logits) with the correct classes.

        -mean log p_label = mean (log(sum over j of exp(logit_j)) - logit_label)

    logits: (m, classes), labels: (m,) integers. Returns a number.
    """
    xp = array_module(logits)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return (xp.log(xp.exp(shifted).sum(axis=1)) - shifted[xp.arange(len(labels)), labels]).mean()


def softmax_cross_entropy_backward(logits, labels):
    """Derivative of softmax_cross_entropy.   dlogit_j = (p_j - (1 where j is the label, 0 elsewhere)) / m"""
    dlogits = softmax(logits)
    dlogits[array_module(logits).arange(len(labels)), labels] -= 1
    return dlogits / len(labels)


@twin
def stack(a, b):
    """The rows of a, then the rows of b."""
    return array_module(a).concatenate([a, b])


@twin
def gather_images(images, rows, dtype):
    """A minibatch: the chosen images, their bytes scaled to tanh's range [-1, 1].   x = images[rows] / 127.5 - 1

    images: (N, n) uint8, rows: (m,) integers. Returns x (m, n).
    """
    x = images[rows].astype(dtype)
    x *= 1 / 127.5
    x -= 1
    return x


def to_unit(x):
    """Pixels from tanh's range [-1, 1] to [0, 1].   (x + 1) / 2"""
    return (x + 1) / 2


def from_unit(images):
    """Pixels from [0, 1] to tanh's range [-1, 1].   2 images - 1"""
    return 2 * images - 1


@twin
def adam_(theta, dtheta, m, v, scratch, *, t, learning_rate, beta1, beta2, eps):
    """One step of Adam down the gradient, in place; t = 1, 2, ... counts the steps.

        m = beta1 m + dtheta,       mhat = m / n1,   n1 = 1 + beta1 + ... + beta1^(t-1) = (1 - beta1^t) / (1 - beta1)
        v = beta2 v + dtheta^2,     vhat = v / n2,   n2 = 1 + beta2 + ... + beta2^(t-1) = (1 - beta2^t) / (1 - beta2)
        theta = theta - learning_rate * mhat / (sqrt(vhat) + eps)

    theta, dtheta, m, v, scratch: (n,); m: None if beta1 is 0, as mhat is dtheta then. mhat and vhat are those of the
    paper: weighted means of all gradients so far and of their squares. The paper's m and v are (1 - beta1) m and
    (1 - beta2) v, and computing them would take two more passes over theta. Kingma & Ba 2015, Algorithm 1.
    """
    xp = array_module(theta)
    n1, n2 = (1 - beta1**t) / (1 - beta1), (1 - beta2**t) / (1 - beta2)
    if m is not None:
        m *= beta1
        m += dtheta
    v *= beta2
    v += xp.square(dtheta, out=scratch)
    xp.sqrt(v, out=scratch)
    scratch += eps * n2**0.5  # sqrt(vhat) + eps, both times sqrt(n2)
    xp.divide(dtheta if m is None else m, scratch, out=scratch)
    scratch *= learning_rate * n2**0.5 / n1
    theta -= scratch


@twin
def euclidean_norm(x):
    """The Euclidean norm, as the quotient of two numbers: the norm itself may be too large for float32.

        |x| = sqrt(sum x_i^2) = |s x| / s,   s = 2^-(2 e / 3),   where the largest |x_i| is about 2^e

    A power of two scales without rounding. With this one, s, 1 / s and the squares stay within the range of x's dtype.
    x: (n,), finite. Returns |s x| and s.
    """
    xp = array_module(x)
    largest = xp.maximum(x.max(), -x.min()) if x.size else xp.zeros((), x.dtype)
    s = xp.ldexp(xp.ones((), x.dtype), -(2 * xp.frexp(largest)[1] // 3))
    y = s * x
    return ((y @ y) ** 0.5).astype(x.dtype, copy=False), s  # NumPy 1 makes float64 of a float32 scalar's power


@twin
def clip_norm_(dtheta, *, limit):
    """Clip a gradient by its norm, in place: a gradient longer than limit is scaled down to that length.

        dtheta = dtheta * min(1, limit / |dtheta|)

    dtheta: (n,), of all parameters of a net. Pascanu et al. 2013, Algorithm 1.
    """
    length, s = euclidean_norm(dtheta)
    dtheta *= s
    dtheta *= array_module(dtheta).minimum(1 / s, limit / (length + (length == 0)))  # product: min(1, limit s / length)


@twin
def sgd_momentum_(theta, dtheta, velocity, scratch, *, learning_rate, momentum):
    """One step of gradient descent with momentum, in place.

        velocity = momentum * velocity - learning_rate * dtheta,   theta = theta + velocity

    theta, dtheta, velocity, scratch: (n,). Polyak 1964; the paper's own optimiser.
    """
    velocity *= momentum
    velocity -= array_module(theta).multiply(dtheta, learning_rate, out=scratch)
    theta += velocity
