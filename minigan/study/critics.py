"""What a Wasserstein critic reports, and what bounding its slopes costs: closed forms, weights, and a run in the plane.

Gulrajani et al. 2017, section 3; Arjovsky et al. 2017, section 3 and figure 3.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr

from minigan.checks.row import Row
from minigan.layers import Dense
from minigan.losses import OBJECTIVES
from minigan.net import Net
from minigan.optim import SGDMomentum
from minigan.streams import PICTURES, Streams
from minigan.study.mixtures import RING_OF_8
from minigan.study.runs import plane_game
from minigan.variants.wasserstein import WassersteinGame

PLAYED = 500  # points of data and of samples whose distance is computed


def linear_critic(difference, **bound):
    """(w, estimate) of the critic f = w . x that is trained on data at `difference` (n,) and samples at 0.

    bound: the settings of a WassersteinGame.
    """
    streams, x, n = Streams(0), np.tile(np.float32(difference), (4, 1)), len(difference)
    G = Net([Dense(1, n)], rng=streams.at('init', 0, 0), name='G')
    D = Net([Dense(n, 1)], rng=streams.at('init', 0, 1), name='D')
    G.theta[...] = 0
    game = WassersteinGame(G, D, SGDMomentum(G, learning_rate=0.1), SGDMomentum(D, learning_rate=0.1), lambda j: x,
                           streams, m=4, n_z=1, objective='wasserstein', **bound)
    for t in range(300):
        real, fake = game.update_D(x, game.noise(t, 0), game.layer_rng(t, 0))
    return D.layers[0].W[:, 0], -OBJECTIVES['wasserstein'].L_D(real, fake)


def closed_forms():
    """Rows: a linear critic settles where it should. The distance of (3, 4) from 0 is 5, and the sum |3| + |4| is 7."""
    for weight in (1, 5):
        w, estimate = linear_critic((3, 4), gradient_penalty=weight)
        slope = 1 + 5 / (2 * weight)
        yield Row(f'linear critic, penalty {weight}: |w| = 1 + d / (2 penalty)', abs(np.linalg.norm(w) - slope), 1e-3)
        yield Row('   its estimate of d = 5 is d (1 + d / (2 penalty))', abs(estimate - 5 * slope), 5e-3)
    w, estimate = linear_critic((3, 4), clip_weights=0.1)
    yield Row('   clipped to [-c, c]: its estimate is c |d|_1', abs(estimate - 0.1 * 7), 1e-6)


def runs(seed=0, steps=1000):
    """name -> (game, what watched returns) of three runs on the ring of 8: a GAN, and critics of both kinds."""
    critic = {'game': WassersteinGame, 'objective': 'wasserstein', 'k': 5}
    kinds = {'GAN': {}, 'penalty': {**critic, 'beta2': 0.9, 'gradient_penalty': 1.0},
             'clipped': {**critic, 'beta2': 0.99, 'clip_weights': 0.1}}
    games = {name: plane_game(RING_OF_8, seed, steps=steps, hidden=(64, 64), **kind) for name, kind in kinds.items()}
    return {name: (game, watched(game, steps=steps)) for name, game in games.items()}


def watched(game, *, steps, every=20):
    """Play, and see whether D's value tells how good the samples are. Returns lists: step, V, distance.

    V: its mean over D's last minibatches in `every` steps of G, as in a log; distance: see distance.
    """
    seen, values, L_D = {'step': [], 'V': [], 'distance': []}, [], OBJECTIVES[game.objective].L_D
    for t in range(1, steps + 1):
        real, fake, _ = game.step(t - 1)
        values.append(-L_D(real, fake))
        if t % every == 0:
            for name, value in (('step', t), ('V', np.mean(values[-every:])), ('distance', distance(game))):
                seen[name].append(value)
    return seen


def distance(game):
    """W1 of PLAYED points of the ring and of G: the mean over the cheapest way to pair them."""
    data = RING_OF_8.sample(game.streams.at('sample', PICTURES, 1), PLAYED)
    costs = cdist(data, game.G(game.draw_z(game.streams.at('sample', PICTURES), PLAYED)))
    return costs[linear_sum_assignment(costs)].mean()


def rank_correlation(seen):
    """Spearman's, of V and the distance over a run: 1 if V falls whenever the samples come closer to the data."""
    return spearmanr(seen['V'], seen['distance'])[0]


def run_rows(played):
    """Rows: a critic's value follows the samples' distance, V of a GAN does not; clipping drives weights to +-c."""
    of = {name: rank_correlation(seen) for name, (_, seen) in played.items()}
    clipped = played['clipped'][0]
    pressed = (abs(weights(clipped)) > 0.99 * clipped.clip_weights).mean()
    return [Row("1 - rank correlation of a critic's value and W1, in a run", 1 - of['penalty'], 0.4),
            Row('   rank correlation of V of a GAN and W1', of['GAN'], 0.3),
            Row('weights of a clipped critic not within 1 % of +-c', 1 - pressed, 0.5)]


def weights(game):
    """The weights of D without its biases, in one array."""
    return np.concatenate([slot.of(game.D.theta).ravel() for slot in game.D.slots if slot.name.endswith('.W')])


def draw(path, played):
    """The picture of the runs. Raises OSError."""
    from minigan.pictures import theory  # late: matplotlib takes long to import
    titles = {'GAN': 'V of a GAN', 'penalty': 'a critic with penalty', 'clipped': 'a clipped critic'}
    curves = {f'{title}: rank correlation {rank_correlation(played[name][1]):.2f}': tuple(played[name][1].values())
              for name, title in titles.items()}
    theory.critics(path, curves, {f'weights of D, {name}': weights(game) for name, (game, _) in played.items()})
