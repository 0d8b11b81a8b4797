"""Compare every kernel with its specification: the arguments, and how far apart the results are."""

import inspect
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np

from minigan import ops
from minigan.backend import to_host
from minigan.checks.derivatives import TOLERANCE
from minigan.checks.row import Row
from minigan.gpu import fusion, graph
from minigan.gpu.twins import compiled
from minigan.streams import STREAMS, Rng, Streams
from minigan.variants import convolution
from minigan.variants.convolution import places

# With 2 rows, batch norm's dx is all cancellation; 90 x 784 > 2**16; 600 rows are more chunks than a block has lanes.
SHAPES = (3, 1), (9, 33), (32, 64), (90, 784), (600, 5)
SIZES = 1, 17, 3000, 70_000
DROPOUT = STREAMS.index('dropout')
KEY = (2**33 + 5, 2**34 + 7, 2**35 + 11, 2**63 + 13, DROPOUT)  # draw, substep, step, seed, stream; see Rng.next_key
DRAWS = ('bits', 'uniform', 'normal')


class Difference(NamedTuple):
    """The largest difference of two arrays, over the largest entry of the expected one; and where it is, in words."""

    error: float
    where: str = ''


def arguments(m, n, seed, xp=np):
    """name -> (arguments, keywords) of each operation that has a twin: float32, on the CPU; xp: for random numbers."""
    rng = np.random.default_rng(seed)
    x, dy, y = rng.standard_normal((3, m, n), np.float32)
    gamma, beta, dgamma, dbeta, mean = rng.standard_normal((5, n), np.float32)
    cache, off_centre = ops.batch_norm(x, gamma, beta, eps=1e-3)[1], x + 20  # the mean is large, the spread small
    gamma[::3] = np.exp2(np.round(gamma[::3]))  # a power of two: gamma * xhat is exact, so with this beta and
    beta[::3] = -gamma[::3] * cache[0][seed % m, ::3]  # one row of xhat, gamma * xhat + beta is 0, with and without fma
    theta, dtheta, first, second = rng.standard_normal((4, m * n), np.float32)
    images = rng.integers(0, 256, (2**20 // n, n), np.uint8)
    rows = rng.integers(0, len(images), m)
    saturated = np.float32((0, 15, -15)[(seed + n) % 3])
    logit = (1 if saturated else 4) * x.reshape(-1, 1) + saturated
    if not saturated:
        logit[::5] *= 40  # beyond the range of exp; never all of them: a GPU flushes tiny numbers to 0
        logit[2::7] = 0
    rate = int(large_key(seed).bits((m, n)).flat[0]) / 2**16  # unit 0 lies on the limit, and stays
    groups = np.concatenate([x, dy, np.where(rng.random((m, n)) < 0.3, x, y)], axis=1)  # some units are equal
    slope, momentum, beta1, beta2 = map(float, rng.uniform(0.05, 0.95, 4))
    eps = float(rng.choice([1e-3, 0.1]))
    elapsed, table = (seed % 5 - 3) % 2**64, rng.standard_normal((7, 5), np.float32)  # below 0, elapsed wraps around
    orders = rng.permuted(np.tile(np.arange(4 * m + n), (2, 1)), axis=1)
    adam = {'t': int(rng.integers(1, 50)), 'learning_rate': 0.1, 'beta1': beta1, 'beta2': beta2, 'eps': 1e-3}
    rows_of_chunk = int(rng.integers(1, m + 1))
    moving = {'eps': eps, 'momentum': momentum, 'slope': slope}
    return {
        'tanh_backward': ((dy, np.tanh(y)), {}),
        'stack': ((x, dy[1:]), {}),
        'gather_images': ((images, rows, np.float32), {}),
        'adam_': ((theta, dtheta, first, second**2, np.zeros_like(theta)), adam),
        'adam_, no m': ((theta, dtheta, None, second**2, np.zeros_like(theta)), {**adam, 'beta1': 0}),
        'sgd_momentum_': ((theta, dtheta, first, np.zeros_like(theta)), {'learning_rate': 0.1, 'momentum': momentum}),
        'scale_dropout': ((x, large_key(seed, xp)), {'a': 0.5, 'b': slope, 'rate': rate}),
        'scale_dropout_backward': ((dy, np.abs(y)), {'a': slope}),
        'leaky_relu_dropout_backward': ((dy, np.copysign(abs(y) * (abs(x) > 0.5), x)), {'slope': slope}),
        'moving_average_': ((theta, first), {'momentum': momentum}),
        'maxout_dropout': ((groups, large_key(seed, xp)), {'pieces': 3, 'rate': rate}),
        'maxout_dropout_backward': ((dy, groups, np.abs(y)), {'pieces': 3}),
        'sigmoid_scale': ((x * np.float32(60) ** (y > 1),), {'a': 2, 'b': -slope}),
        'sigmoid_scale_backward': ((dy, ops.sigmoid(y)), {'a': 2}),
        'add_noise': ((x, large_key(seed, xp)), {'sigma': 0.3}),
        'advance_': ((np.array([elapsed], np.uint64), beta[:1].repeat(5), np.zeros(3 * m, np.int64), table, orders),
                     {'m': m, 'per_epoch': 4, 'first': 2**40 + seed}),
        'batch_norm_moments': ((off_centre,), {'rows': rows_of_chunk}),
        'batch_norm_leaky_relu_': ((off_centre, gamma, beta, mean, mean**2), moving),
        'batch_norm_leaky_relu_sums': ((dy, gamma, beta, cache[0]), {'slope': slope, 'rows': rows_of_chunk}),
        'batch_norm_leaky_relu_backward_': ((dy, gamma, beta, cache, dgamma, dbeta), {'slope': slope}),
        'batch_norm_leaky_relu_backward_, no dgamma': ((dy, gamma, beta, cache, None, None), {'slope': slope}),
        **losses(logit), **norms(dtheta),
    } | products(rng, m, n, min(1 + n // 2, 70), partial(large_key, seed, xp), slope=slope, rate=rate) | maps(rng, m, n)


def losses(logit):
    """arguments() of the losses."""
    return {
        'cross_entropy, target 1': ((logit,), {'target': 1}),
        'cross_entropy, target 0': ((logit,), {'target': 0}),
        'cross_entropy, target 0.7': ((logit,), {'target': 0.7}),
        'cross_entropy, few': ((logit[:5],), {'target': 1}),
        'cross_entropy_backward, target 1': ((logit,), {'target': 1}),
        'cross_entropy_backward, target 0': ((logit,), {'target': 0}),
        'cross_entropy_backward, target 0.7': ((logit,), {'target': 0.7}),
    }


def norms(dtheta):
    """arguments() of what a gradient's norm decides."""
    return {
        'euclidean_norm': ((dtheta,), {}),
        'euclidean_norm, huge': ((dtheta * np.float32(1e30),), {}),
        'euclidean_norm, tiny': ((dtheta * np.float32(1e-30),), {}),
        'euclidean_norm, 0': ((0 * dtheta,), {}),
        'clip_norm_': ((dtheta,), {'limit': 0.5}),
        'clip_norm_, short': ((dtheta,), {'limit': 1e4}),
        'clip_norm_, huge': ((dtheta * np.float32(1e30),), {'limit': 2.0}),
    }


def products(rng, m, n_in, n_out, key, **settings):
    """arguments() of matrix products, and of what follows them. key(): the Rng of dropout; settings: its rate, slope.

    Real numbers see to it that no precision is lost: exact ones have too few digits.
    """
    x, W, dW, dy = (exact(rng, *shape) for shape in ((m, n_in), (n_in, n_out), (n_in, n_out), (m, n_out)))
    db, parts = exact(rng, n_out), exact(rng, 3, m, n_in)
    b, part_b = (-h[rng.integers(0, m, h.shape[1]), range(h.shape[1])] for h in (x @ W, parts.sum(axis=0)))  # kinks
    real_x, real_W, real_dy, real_b = (rng.standard_normal(one.shape, np.float32) for one in (x, W, dy, b))
    none, hardly_any = {**settings, 'rate': 0}, {**settings, 'rate': 1e-6}
    return {
        'dense': ((x, W, b), {}),
        'dense, no b': ((x, W), {}),
        'dense, real numbers': ((real_x, real_W, real_b), {}),
        'dense_backward_input': ((dy, W), {}),
        'dense_backward_input, real numbers': ((real_dy, real_W), {}),
        'dense_backward_params_': ((dy, x, dW, db), {}),
        'dense_backward_params_, no db': ((dy, x, dW), {}),
        'dense_backward_params_, real numbers': ((real_dy, real_x, dW, db), {}),
        'dense_leaky_relu_dropout': ((x, W, b, key()), settings),
        'dense_leaky_relu_dropout, none dropped': ((x, W, b, None), none),
        'dense_leaky_relu_dropout, hardly any': ((x, W, b, key()), hardly_any),
        'dense_tanh': ((x / 16, W, b / 16), {}),
        'sum_parts': ((parts, part_b), {}),
        'sum_parts, no b': ((parts,), {}),
        'bias_leaky_relu_dropout': ((parts, part_b, key()), settings),
        'bias_leaky_relu_dropout, none dropped': ((parts, part_b, None), none),
        'bias_leaky_relu_dropout, hardly any': ((parts, part_b, key()), hardly_any),
        'bias_tanh': ((parts, part_b), {}),
    }


def maps(rng, m, n):
    """arguments() of the linear maps of images. Patches have about m n numbers, and are at least those of one image."""
    found, c, drawn = {}, 1 + (n - 1) % 37, map(int, rng.integers((1, 1, 0), (6, 5, 4)))
    for case, k, stride, pad, more in (('', *drawn, 6), (', halves', 4, 2, 1, 6), (', same size', 3, 1, 1, 6),
                                       (', apart', 2, 3, 1, 6), (', single pixels', 1, 1, 0, 1)):
        h, w = map(int, max(1, k - 2 * pad) + rng.integers(0, more, 2))
        patches = prod(places(length, k, stride=stride, pad=pad) for length in (h, w))
        images = max(1, m * n // (patches * k * k * c))
        x, y = (rng.standard_normal(shape, np.float32)
                for shape in ((images, h * w * c), (images * patches, k * k * c)))
        settings = {'shape': (h, w, c), 'k': k, 'stride': stride, 'pad': pad}
        found |= {f'patches{case}': ((x,), settings), f'unpatches{case}': ((y,), settings)}
    return found


def exact(rng, *shape):
    """Multiples of 1/4 up to 2: as long as a sum has fewer than 2^18 of their products, it is exact in any order.

    So a number that is left out of a product, or counted twice, shows, however deep the product is; and a unit can lie
    exactly on a kink.
    """
    return (rng.integers(-8, 9, shape) / 4).astype(np.float32)


def large_key(seed, xp=np):
    """An Rng whose seed, step, substep and draw all need more than 32 bits."""
    return Rng(Streams(2**40 + seed, xp=xp, kernels=compiled(xp)), DROPOUT, 2**35 + 3, 2**34 + 1, draw=2**33 + 1)


def specifications():
    """name -> each operation that has a kernel, in ops.py, fusion.py, graph.py and variants/convolution.py."""
    return {name: function for module in (ops, fusion, graph, convolution)
            for name, function in inspect.getmembers(module, inspect.isfunction)
            if hasattr(function, '__wrapped__') and name[0] != '_'}


def compare_twin(twins, name, m, n, seed=0, *, xp=np):
    """The Row of a twin and its specification on the same arguments; what they write into is compared too."""
    function, given = name.split(',')[0], (arguments(m, n, seed, xp)[name], arguments(m, n, seed)[name])
    return compare(name, getattr(twins, function), specifications()[function], *given, allowed(function), xp=xp,
                   settings=f'{m=} {n=} {seed=}')


def compare_draws(twins, name, size, *, xp=np):
    """The Row of a kernel's and Streams' random numbers: bits and uniforms must be the same, normals up to rounding."""
    given = drawn_into(name, size)
    return compare(name, getattr(twins, name), specified_draws(name), given, drawn_into(name, size), allowed(name),
                   xp=xp, settings=f'{size=}')


def compare(name, twin, specification, theirs, ours, tolerance, *, xp=np, settings=''):
    """The Row of a twin, on `theirs` (arguments, keywords), and a specification, on `ours`, an equal copy.

    What they return is compared, and so is every argument afterwards, unless the specification calls it scratch.
    settings: where the arguments came from, for the Row's why.
    """
    theirs = to_device(theirs, xp)
    returned = [function(*given, **keywords) for function, (given, keywords) in ((twin, theirs), (specification, ours))]
    written = [largest_difference(*triple) for triple in zip(theirs[0], ours[0], names(specification))
               if triple[2] != 'scratch']
    found = max(largest_difference(*returned, 'result'), *written, key=by_error)
    return Row(name, found.error, tolerance, f'{found.where}; {settings}')


def names(function):
    """The names of a function's parameters."""
    return list(inspect.signature(function).parameters)


def allowed(name):
    """The largest error that a twin of the package may have."""
    if name in ('bits', 'uniform', 'patches', 'unpatches'):
        return 0
    kinds = {'batch_norm_leaky_relu_': 'BatchNorm', 'batch_norm_leaky_relu_backward_': 'BatchNorm', 'dense': 'Dense',
             'dense_backward_input': 'Dense', 'dense_backward_params_': 'Dense'}
    return TOLERANCE['float32'][kinds.get(name, 'any')]


def specified_draws(name):
    """Rng.bits, uniform or normal as a function with its twin's signature: it fills `out` with the array of a key."""
    def fill(out, *key):
        draw, substep, step, seed, stream = key
        out[...] = getattr(Rng(Streams(seed), stream, step, substep, draw=draw), name)(out.shape)
    return fill


def drawn_into(name, size):
    """The arguments and keywords of a kernel of random numbers."""
    return (np.zeros(size, np.uint16 if name == 'bits' else np.float32), *KEY), {}


def rows(xp, shapes=SHAPES, sizes=SIZES):
    """The worst Row of each twin, over shapes or sizes; xp is cupy."""
    twins = compiled(xp)
    for name in arguments(2, 2, 0):
        yield max((compare_twin(twins, name, m, n, xp=xp) for m, n in shapes), key=by_error)
    for name in DRAWS:
        yield max((compare_draws(twins, name, size, xp=xp) for size in sizes), key=by_error)


def to_device(value, xp):
    """value with every array in it, and in its tuples, moved to xp."""
    if isinstance(value, tuple):
        return tuple(to_device(part, xp) for part in value)
    return xp.asarray(value) if isinstance(value, np.ndarray) else value


def difference(got, expected):
    """The largest difference of two arrays, or tuples of them, over the largest entry of the array expected."""
    return largest_difference(got, expected).error


def largest_difference(got, expected, name='result'):
    """The Difference of two arrays, or the largest of tuples of them. name: what is compared, for the text."""
    if isinstance(expected, (tuple, list)):
        pairs = enumerate(zip(got, expected, strict=True))
        return max((largest_difference(*pair, f'{name}[{i}]') for i, pair in pairs), key=by_error,
                   default=Difference(0))
    if isinstance(expected, Rng):  # both must have drawn the same number of times
        got, expected = got.next_key(), expected.next_key()
        return Difference(0 if got == expected else np.inf, f'{name}: expected the next key {expected}, got {got}')
    if not isinstance(expected, (np.ndarray, np.generic)):  # None, or a type
        return Difference(0)
    got, expected = np.asarray(to_host(got), np.float64), np.asarray(expected, np.float64)
    if got.shape != expected.shape:
        return Difference(np.inf, f'{name}: expected shape {expected.shape}, got {got.shape}')
    if not expected.size:
        return Difference(0)
    gap = abs(got - expected)
    index = tuple(map(int, np.unravel_index(np.argmax(gap), gap.shape)))  # of the first NaN, if there is one
    return Difference(float(gap[index] / (abs(expected).max() or 1)),
                      f'{name}{list(index) or ""}: expected {expected[index]:.9g}, got {got[index]:.9g}')


def by_error(found):
    """The key that sorts Rows and Differences; NaN is the largest."""
    return np.inf if np.isnan(found.error) else found.error
