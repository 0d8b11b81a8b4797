"""Every kernel against its specification, and training on a GPU against a CPU: `minigan selftest`, and the tests."""

from dataclasses import dataclass

import numpy as np

from minigan import data, ops
from minigan.backend import to_host
from minigan.gradcheck import TOLERANCE
from minigan.kernels import loaded
from minigan.networks import RECIPES
from minigan.streams import STREAMS, Streams
from minigan.training import Config, build_game

SHAPES = (2, 1), (9, 33), (32, 64), (64, 784)  # the least, two odd ones, those of the networks
SIZES = 1, 17, 3000
PLACE = (5, 7, 11, 2**63 + 13, STREAMS.index('dropout'))  # draw, substep, step, seed, stream
DRAWS = ('bits', 'uniform', 'normal')
STEPS = 100
DRIFT = 1e-4  # how far two float32 runs may part in that many steps


@dataclass(frozen=True)
class Row:
    """One comparison: the largest difference, relative to the largest entry of its array, and what is allowed."""

    name: str
    error: float
    allowed: float

    @property
    def ok(self):
        return self.error <= self.allowed  # not for NaN

    def __str__(self):
        return f'{self.name:46} {self.error:9.1e} {self.allowed:9.1e}   {"ok" if self.ok else "WRONG"}'


def arguments(m, n, seed, xp=np):
    """name -> (arguments, keywords) of each operation that has a twin: float32, on the CPU; xp: for random numbers."""
    rng = np.random.default_rng(seed)
    x, dy, y, s = rng.standard_normal((4, m, n), np.float32)
    gamma, beta, b, dgamma, dbeta, db, mean = rng.standard_normal((7, n), np.float32)
    x[::3] = np.where(rng.random(n) < 0.2, -b, x[::3])  # x + b = 0: on the kink
    cache = ops.batch_norm(x, gamma, beta, eps=1e-3)[1]
    theta, dtheta, first, second = rng.standard_normal((4, m * n), np.float32)
    images, rows = rng.integers(0, 256, (m + 3, n), np.uint8), rng.integers(0, m + 3, m)
    logit, place = 4 * x.reshape(-1, 1), ('dropout', 3, 1)
    rate = int(Streams(seed).at(*place).bits((m, n)).flat[0]) / 2**16  # that unit is the first that stays
    adam = {'t': 3, 'learning_rate': 0.1, 'beta1': 0.5, 'beta2': 0.9, 'eps': 1e-3}
    return {
        'dense_backward_input': ((dy, rng.standard_normal((5, n), np.float32)), {}),
        'tanh_backward': ((dy, np.tanh(y)), {}),
        'cross_entropy, target 1': ((logit,), {'target': 1}),
        'cross_entropy, target 0': ((logit,), {'target': 0}),
        'cross_entropy_backward, target 1': ((logit,), {'target': 1}),
        'cross_entropy_backward, target 0': ((logit,), {'target': 0}),
        'stack': ((x, dy[1:]), {}),
        'gather_images': ((images, rows, np.float32), {}),
        'adam_': ((theta, dtheta, first, second**2, np.zeros_like(theta)), adam),
        'bias_leaky_relu_dropout': ((x, b, Streams(seed, xp=xp).at(*place)), {'slope': 0.2, 'rate': rate}),
        'bias_leaky_relu_dropout, none dropped': ((x, b, None), {'slope': 0.2, 'rate': 0}),
        'bias_leaky_relu_dropout_backward_': ((dy, s, db), {}),
        'bias_leaky_relu_dropout_backward_, no db': ((dy, s, None), {}),
        'bias_tanh': ((x, b), {}),
        'bias_tanh_backward_': ((dy, np.tanh(y), db), {}),
        'bias_tanh_backward_, no db': ((dy, np.tanh(y), None), {}),
        'batch_norm_leaky_relu_': ((x, gamma, beta, mean, mean**2), {'eps': 1e-3, 'momentum': 0.9, 'slope': 0.2}),
        'batch_norm_leaky_relu_backward_': ((dy, gamma, beta, cache, dgamma, dbeta), {'slope': 0.2}),
        'batch_norm_leaky_relu_backward_, no dgamma': ((dy, gamma, beta, cache, None, None), {'slope': 0.2}),
    }


def compare_twin(twins, name, m, n, seed=0, *, xp=np):
    """A twin with its specification, on the same arguments; what they write into is compared too."""
    (theirs, keywords), (ours, _) = arguments(m, n, seed, xp)[name], arguments(m, n, seed)[name]
    function, theirs = name.split(',')[0], move(theirs, xp)
    got = getattr(twins, function)(*theirs, **keywords), theirs[:4] if function == 'adam_' else theirs  # not scratch
    expected = getattr(ops, function)(*ours, **keywords), ours[:4] if function == 'adam_' else ours
    kind = 'BatchNorm' if name.startswith('batch_norm') else 'Dense' if name.startswith('dense') else 'any'
    return Row(name, difference(got, expected), TOLERANCE['float32'][kind])


def compare_draws(twins, name, size, *, xp=np):
    """A kernel's random numbers with Streams' own: bits and uniforms must be the same, normals up to rounding."""
    draw, substep, step, seed, stream = PLACE
    draws = Streams(seed).at(STREAMS[stream], step, substep)
    for _ in range(draw):
        draws.bits(1)
    expected = getattr(draws, name)((size,))
    out = xp.zeros(size, expected.dtype)
    getattr(twins, name)(out, *PLACE)
    return Row(name, difference(out, expected), TOLERANCE['float32']['any'] if name == 'normal' else 0)


def compare_training(xp, steps, **choices):
    """The same steps on the CPU and with xp: parameters, moments and moving averages afterwards. choices: of Config."""
    dataset, config = data.load('digits'), Config(**choices)
    recipe = RECIPES[config.network]
    config = config.resolve(recipe, dataset)
    games = [build_game(config, recipe, dataset, module) for module in (xp, np)]
    for t in range(steps):
        for game in games:
            game.step(t)
    got, expected = ([buffer for net, optimizer in ((game.G, game.optimizer_G), (game.D, game.optimizer_D))
                      for buffer in (net.theta, net.state, optimizer.m, optimizer.v)] for game in games)
    return Row(f'{steps} steps of {config.network}, against the CPU', difference(got, expected), DRIFT)


def rows(xp):
    """All comparisons with xp, which is cupy."""
    twins = loaded(xp)
    for name in arguments(2, 2, 0):
        yield max((compare_twin(twins, name, m, n, xp=xp) for m, n in SHAPES), key=_badness)
    for name in DRAWS:
        yield max((compare_draws(twins, name, size, xp=xp) for size in SIZES), key=_badness)
    for network in RECIPES:
        yield compare_training(xp, STEPS, network=network)


def move(value, xp):
    """Every array in value, to xp; tuples are looked into."""
    if isinstance(value, tuple):
        return tuple(move(one, xp) for one in value)
    return xp.asarray(value) if isinstance(value, np.ndarray) else value


def difference(got, expected):
    """The largest difference of two arrays, or tuples of them, over the largest entry of the array expected."""
    if isinstance(expected, (tuple, list)):
        return float(np.max([difference(*pair) for pair in zip(got, expected, strict=True)], initial=0))
    if not isinstance(expected, (np.ndarray, np.generic)):  # None, a type, Draws
        return 0
    got, expected = np.asarray(to_host(got), np.float64), np.asarray(expected, np.float64)
    if got.shape != expected.shape:
        return np.inf
    return float(abs(got - expected).max(initial=0) / (abs(expected).max(initial=0) or 1))


def _badness(row):
    return np.inf if np.isnan(row.error) else row.error
