"""What a student's function must pass in place of the package's: gradient checks, laws, and a few steps of training.

Each raises AssertionError, and returns a note on what was found.
"""

from functools import cache

import numpy as np

from minigan import losses
from minigan.checks.gradcheck import gradcheck
from minigan.gan import Game
from minigan.layers import BatchNorm, Dense, Dropout, LeakyReLU, Tanh
from minigan.net import Net
from minigan.optim import Adam
from minigan.streams import Streams

STEPS, ASCENTS = 8, 30  # in float64, which no compiled kernel takes
ALLOWED = {'float64': 1e-7, 'float32': 1e-4}  # relative; rounding in float32 changes 2e-7


def small_game(*, optimizer=lambda net: Adam(net, learning_rate=0.02, beta1=0.5), dtype='float64'):
    """Points on a circle, in minibatches of 6. optimizer: a function of a net."""
    streams = Streams(3)
    G = Net([Dense(3, 8, bias=False), BatchNorm(8), LeakyReLU(0.2), Dropout(0.25), Dense(8, 2), Tanh()],
            rng=streams.at('init', 0, 0), name='G', dtype=dtype)
    D = Net([Dense(2, 8), LeakyReLU(0.2), Dropout(0.25), Dense(8, 1)],
            rng=streams.at('init', 0, 1), name='D', dtype=dtype)

    def minibatch(j):
        angle = 2 * np.pi * streams.at('data', j).uniform((6, 1), G.dtype)
        return 0.8 * np.concatenate([np.cos(angle), np.sin(angle)], axis=1)

    return Game(G, D, optimizer(G), optimizer(D), minibatch, streams, m=6, n_z=3)


def play(dtype='float64'):
    """name -> array for each step: both players' parameters and V; then L_D while D learns from one minibatch."""
    game, steps = small_game(dtype=dtype), []
    for t in range(STEPS):
        real, fake, _ = game.step(t)
        steps.append({'theta_D': game.D.theta.copy(), 'theta_G': game.G.theta.copy(),
                      'V': np.asarray(losses.V(real, fake))})
    x, z = game.minibatch(0), game.noise(0, 0)
    L_D = [float(losses.L_D(*game.update_D(x, z, game.layer_rng(0, 0)))) for _ in range(ASCENTS)]
    return steps, L_D


def prepare():
    """Train with the package's own functions, before a student's are installed."""
    for dtype in ALLOWED:
        expected(dtype)


@cache
def expected(dtype):
    """play with the package's own functions."""
    return play(dtype)


def training(dtype='float64'):
    """Raises AssertionError where training differs from the package's, or D does not learn. Returns a note."""
    (wanted, _), (steps, L_D) = expected(dtype), play(dtype)
    assert L_D[-1] < L_D[0], f'L_D does not fall while D learns from one minibatch: {L_D[0]:.3g}, then {L_D[-1]:.3g}'
    for t, (ours, theirs) in enumerate(zip(wanted, steps), 1):
        for name, array in ours.items():
            gap = float(np.max(abs(theirs[name] - array)) / np.max(abs(array)))
            assert gap <= ALLOWED[dtype], f'after step {t}, {name} differs by {gap:.1e} of its largest entry'
    return f'{STEPS} steps, the same numbers; L_D falls from {L_D[0]:.2f} to {L_D[-1]:.2f}'


def gradient(report):
    """A Report of gradcheck without a wrong row."""
    wrong = next((row for row in report if row.verdict != 'ok'), None)
    assert not wrong, f'{wrong.name}: ' + (
        f'expected {wrong.expected:.6g}, got {wrong.got:.6g}' if wrong.got == wrong.got else wrong.why)
    row = max(report, key=lambda row: row.error)
    return f'expected {row.expected:.6g}, got {row.got:.6g}'


def of_layer(make, n=5):
    """title -> check of the layer that make(n) returns, in training, and of training with it."""
    x = np.random.default_rng(1).standard_normal((6, n))
    return {f'gradient check of {make(n)}': lambda: gradient(gradcheck(make(n), x, training=True)),
            f'laws of {make(n)}': lambda: laws(make), 'training': training}


def laws(make):
    """The laws of checks/laws.py, for a few minibatches; they need Hypothesis."""
    from minigan.checks.laws import LAWS
    rng = np.random.default_rng(2)
    for seed, (rows, n, scale) in enumerate([(2, 1, 1), (3, 4, 1e-3), (6, 5, 10)]):
        x = scale * rng.standard_normal((rows, n))
        for law in LAWS:
            try:
                law(lambda: make(n), x, seed)
            except AssertionError as error:
                raise AssertionError(f'fails the law "{law.__name__.replace("_", " ")}": wrong for x of shape {x.shape}'
                                     ) from error
