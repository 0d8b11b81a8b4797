"""Small games that are played to the end: on a line, as in the paper's Figure 1, and in the plane."""

import numpy as np
from scipy.integrate import trapezoid

from minigan import losses, ops
from minigan.streams import PICTURES
from minigan.study import runs
from minigan.study.densities import Density, optimal_D
from minigan.study.mixtures import RING_OF_8, Mixture
from minigan.study.page.arrays import packed

X = np.linspace(-4, 4, 201)                          # where the line is drawn
SIDE = np.linspace(-1.6, 1.6, 40)                    # and the plane:
PLANE = np.stack(np.meshgrid(SIDE, -SIDE), axis=-1).reshape(-1, 2)  # row by row, from the top left
WIDTH = 0.1, 0.05                                    # of the kernels that make a density of samples: line, plane
RING = Mixture(RING_OF_8.centres, 0.1)               # ten times as wide as RING_OF_8, so that D* can be seen
PLAYS = {'calm': {'rate': 1e-3, 'beta1': 0.5}, 'restless': {'rate': 1e-2, 'beta1': 0.9}}  # of Adam, for both players
OBJECTIVES = 'nonsaturating', 'minimax'
BLIND = -np.log(4)                                   # V where D says 1/2 for everything


def data(*, seed, quick):
    """The recorded games, for games.js."""
    steps = 20 if quick else 3000
    return {'line': line(seed, steps), 'plane': plane(seed, steps)}


def line(seed, steps):
    """The game of Figure 1: densities, D and D* on X, where G sends z, and how G would move its samples.

    D* takes p_data blurred as p_g is, so that both are equal where samples are distributed like the data.
    """
    game, z, p_data = runs.line_game(seed, steps=steps), runs.even_z(1001), runs.FIGURE_1
    blurred = Density(p_data.means, tuple(np.hypot(p_data.sigmas, WIDTH[0])))
    real, moments = p_data.quantiles(len(z))[:, None].astype(np.float32), []
    for t in runs.watched(game, steps, shown(steps, 80)):
        samples = game.G(z)
        p_g = Density(tuple(samples[:, 0]), (WIDTH[0],))
        moments.append({
            **answers(game, t, real, samples), 'D': probability(game, X[:, None])[:, 0], 'p_g': p_g(X),
            'D_star': optimal_D(blurred, p_g)(X), 'covered': float(trapezoid(np.minimum(p_g(X), blurred(X)), X)),
            'histogram': np.histogram(samples, 80, (-4, 4), density=True)[0],
            'samples': samples[::25, 0], 'moves': moves(game, samples[::50])[..., 0]})
    return {'x': [X[0], X[-1]], 'p_data': packed(p_data(X), bits=16), 'z': packed(z[::25, 0], bits=16),
            'words': [line_words(moment) for moment in moments], **columns(moments)}


def plane(seed, steps):
    """The ring of 8, played in two ways: D and D* on PLANE as pictures, samples, and how G would move them."""
    plays = {}
    for name, settings in PLAYS.items():
        game = runs.plane_game(RING, seed, steps=steps, hidden=(64, 64), **settings)
        real, moments = RING.sample(game.streams.at('sample', PICTURES, 1), 1000), []
        blurred = Mixture(RING.centres, float(np.hypot(RING.sigma, WIDTH[1])))
        for t in runs.watched(game, steps, shown(steps, 50)):
            samples = game.G(game.draw_z(game.streams.at('sample', PICTURES), 1000))
            best = optimal_D(blurred, Mixture(samples, WIDTH[1]))
            found = RING.measure(samples)
            moments.append({**answers(game, t, real, samples), 'modes': found['modes'], 'near': found['high_quality'],
                            'D': probability(game, PLANE), 'D_star': best(PLANE),
                            'samples': samples[:300], 'moves': moves(game, samples[:60])})
        plays[name] = {**settings, 'words': [plane_words(moment) for moment in moments], **columns(moments)}
    return {'x': [SIDE[0], SIDE[-1]], 'side': len(SIDE), 'plays': plays, 'data': packed(real[:300], bits=16)}


def shown(steps, n):
    """About n of the steps 0 .. steps: all at the beginning, where most happens, and then ever fewer."""
    later = np.geomspace(n // 4, max(steps, n), n - n // 4)
    return {*range(n // 4), *later.astype(int).tolist()} & {*range(steps)} | {steps}


def answers(game, t, real, samples):
    """The step, V, and D's mean answers for data and for samples, neither of which D has learned from."""
    real, fake = game.D(real), game.D(samples)
    return {'t': t, 'V': float(losses.V(real, fake)),
            'D_x': float(ops.sigmoid(real).mean()), 'D_G_z': float(ops.sigmoid(fake).mean())}


def probability(game, x):
    """D(x), (N, 1)."""
    return ops.sigmoid(game.D(x.astype(np.float32)))


def moves(game, samples):
    """-m dL_G / dx, (2, N, n): how each sample would move if G could move it freely, for each of OBJECTIVES."""
    found = []
    for name in OBJECTIVES:
        dfake = losses.OBJECTIVES[name].L_G_backward(game.D.forward(samples, training=False))
        found.append(-len(samples) * game.D.backward(dfake, param_grads=False))
    return np.stack(found)


def columns(moments):
    """Moments, one dict each, as one entry for each name: packed arrays, or a list of numbers."""
    narrow = {'D', 'D_star'} if moments[0]['D'].ndim > 1 else set()  # in the plane they are only seen as shades
    return {name: packed([moment[name] for moment in moments], bits=8 if name in narrow else 16)
            if isinstance(moments[0][name], np.ndarray) else [moment[name] for moment in moments]
            for name in moments[0]}


def line_words(moment):
    """What to watch for at a moment on the line."""
    if moment['t'] == 0:
        return ('Before the first step, D knows nothing and says about 1/2 everywhere. G sends every z to the left of '
                'the data.')
    if moment['V'] > BLIND + 0.1:
        return ('D tells data from samples: V is above −log 4. D is large where the data are and small where the '
                'samples are. The samples will move uphill on D, as the arrows say.')
    if moment['V'] < BLIND - 0.05:
        return ('D is worse than a guess: V is below −log 4. It has learned from samples that G no longer draws, and '
                'has to learn again where they are.')
    if moment['covered'] > 0.8:
        return ('The density of samples lies almost on that of the data. D can only guess: it says about 1/2 where '
                'the data are, V is about −log 4, and the arrows nearly vanish. This is the equilibrium of Theorem 1.')
    return ('V is close to −log 4, so D hardly beats a guess, but samples do not have the shape of the data yet. '
            'Compare D with D*: while D is flatter than D*, G learns little from it.')


def plane_words(moment):
    """What to watch for at a moment in the plane."""
    if moment['t'] == 0:
        return 'Before the first step, G draws all samples near one place, and D says about 1/2 everywhere.'
    if moment['modes'] == 8 and moment['near'] > 0.8:
        return ('G has found all eight modes and draws most samples near one of them. D can hardly tell them from '
                'data: V is close to −log 4. G is continuous, so some samples stay between the modes.')
    if moment['modes'] == 8:
        return ('G reaches all eight modes, but draws many samples between them. D learns to reject those, and the '
                'arrows point from the gaps to the modes.')
    if moment['V'] < BLIND - 0.05:
        return ('D is worse than a guess: V is below −log 4. G has left the places that D has learned to reject, and '
                'many of its samples lie where D still expects data.')
    if np.ptp(moment['D']) < 0.35:
        return ('D has learned little yet: it says about the same everywhere, so its colours are pale and the arrows '
                'short or missing. The samples drift.')
    if moment['modes'] < 4:
        return ('G draws from few places at once. D learns to reject them, and the arrows lead all samples to the next '
                'place together. If G moves faster than D learns, this chase never ends: the modes collapse.')
    return ('G has found some of the modes. Where it draws nothing, only data tell D what to say; it is large there, '
            'and the arrows lead the samples on.')
