"""What the 2014 paper proves or claims, in numbers: each check says what was measured and what is allowed."""

from pathlib import Path

import numpy as np
from scipy.stats import gaussian_kde

from minigan import data, losses, ops
from minigan.checks.row import Row
from minigan.layers import Dense, LeakyReLU
from minigan.net import Net
from minigan.networks import RECIPES
from minigan.optim import Adam, linear_decay
from minigan.streams import PICTURES, Streams
from minigan.study import critics, mixtures, objectives, runs
from minigan.study.densities import GRID, P_DATA, PAIRS, V_by_quadrature, jensen_shannon, mean_gap, optimal_D
from minigan.training.build import build_game
from minigan.training.config import Config


def theorem_1():
    """Rows: V(D*, G) = 2 JS(p_data, p_g) - log 4, and its least value -log 4 where p_g = p_data.

    V is computed twice: by quadrature, which shows that the algebra is correct, and as -L_D on samples and the logits
    of D*. The second is off by about its standard error. study/objectives.py does the same for the other objectives.
    """
    for name, (p_data, p_g) in PAIRS.items():
        expected = 2 * jensen_shannon(p_data, p_g) - np.log(4)
        V = V_by_quadrature(optimal_D(p_data, p_g), p_data, p_g)
        yield Row(f'V(D*, G) = 2 JS - log 4, {name}', abs(V - expected), 1e-9)
        V, error = objectives.V_on_samples('minimax', objectives.log_ratio(p_data, p_g), p_data, p_g)
        yield Row('   -L_D on 100,000 samples', abs(V - expected), 4 * error + 1e-12)
    V = V_by_quadrature(optimal_D(P_DATA, P_DATA), P_DATA, P_DATA)
    yield Row('V(D*, G) = -log 4 where p_g = p_data', abs(V + np.log(4)), 1e-9)


def trained_D(p_data, p_g, *, seed=0, steps=1500, m=512):
    """A D trained on many samples of both densities: x (N,) -> D(x). Adam's learning rate falls to 0."""
    streams = Streams(seed)
    D = Net([Dense(1, 64), LeakyReLU(0.2), Dense(64, 64), LeakyReLU(0.2), Dense(64, 1)],
            rng=streams.at('init', 0), name='D')
    adam = Adam(D, learning_rate=linear_decay(0.01, steps))
    for t in range(steps):
        x, samples = p_data.sample(streams.at('data', t), m), p_g.sample(streams.at('noise', t), m)
        logits = D.forward(ops.stack(x, samples))
        D.backward(ops.stack(*losses.L_D_backward(logits[:m], logits[m:])), input_grad=False)
        adam.step()
    return lambda x: ops.sigmoid(D(np.asarray(x, np.float32)[:, None])[:, 0].astype(float))


def proposition_1(seed=0):
    """(rows, {name: (D, D*)}): a trained D against D*, on average over p_data and p_g; and its V against V(D*)."""
    rows, pairs = [], {}
    for name, (p_data, p_g) in PAIRS.items():
        D, D_star = trained_D(p_data, p_g, seed=seed), optimal_D(p_data, p_g)
        gap = mean_gap(D(GRID), D_star(GRID), (p_data(GRID) + p_g(GRID)) / 2)
        lost = V_by_quadrature(D_star, p_data, p_g) - V_by_quadrature(D, p_data, p_g)
        rows += [Row(f'mean |D - D*|, {name}', gap, 0.01), Row('   V(D*, G) - V(D, G)', lost, 5e-4)]
        pairs[name] = D, D_star
    return rows, pairs


def saturation(*, seed=0, steps=600, every=20):
    """Section 3: where D rejects the samples, log(1 - D(G(z))) saturates, and -log D(G(z)) does not.

    The default networks on the digits; D learns while G keeps its first parameters. Returns a dict of lists: step,
    D_G_z (its mean), and the norm of L_G's derivative with respect to theta_G for 'minimax' and 'nonsaturating'.
    """
    digits, recipe = data.load('digits'), RECIPES['default']
    config = Config(seed=seed, schedule='constant', learning_rate_D=2e-4, beta1=0.5).resolve(recipe, digits)
    game = build_game(config, recipe, digits)
    z = game.draw_z(game.streams.at('sample', PICTURES), 256)
    measured = {name: [] for name in ('step', 'D_G_z', 'minimax', 'nonsaturating')}
    for t in range(steps + 1):
        if t % every == 0:
            measured['step'].append(t)
            for name in ('minimax', 'nonsaturating'):
                fake = game.D.forward(game.G.forward(z), training=False)
                dfake = losses.OBJECTIVES[name].L_G_backward(fake)
                game.G.backward(game.D.backward(dfake, param_grads=False), input_grad=False)
                measured[name].append(float(game.G.dtheta_norm()))
            measured['D_G_z'].append(float(ops.sigmoid(fake).mean()))
        game.update_D(game.minibatch(t), game.noise(t, 0), game.layer_rng(t, 0))
    return measured


def saturation_rows(measured):
    """Rows: how far the two norms have fallen when D is nearly sure, as fractions of their largest values."""
    minimax, nonsaturating = (measured[name][-1] / max(measured[name]) for name in ('minimax', 'nonsaturating'))
    return [Row('mean D(G(z)) when D has learned to reject samples', measured['D_G_z'][-1], 0.01),
            Row('|dL_G / dtheta_G|, minimax: last / largest', minimax, 0.05),
            Row('nonsaturating: largest / last', 1 / nonsaturating, 5.0)]


def check(out, *, seed=0):
    """Yield every Row, and leave four pictures in the folder out: theory, ring and critics.png, and figure1.gif."""
    from minigan.pictures import theory  # late: matplotlib takes long to import
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    yield from theorem_1()
    yield from objectives.values()
    yield from objectives.slopes()
    rows, pairs = proposition_1(seed)
    yield from rows
    measured = saturation(seed=seed)
    yield from saturation_rows(measured)
    curves = {}
    for name, (p_data, p_g) in PAIRS.items():
        D, D_star = pairs[name]
        curves[name] = GRID, p_data(GRID), p_g(GRID), D(GRID), D_star(GRID)
    theory.claims(out / 'theory.png', curves, measured)
    yield from runs.perfect_modes(seed)
    seen = runs.ring(seed=seed)
    yield from runs.ring_rows(seen)
    theory.scatter(out / 'ring.png', {f'step {t}': (mixtures.RING_OF_8.centres, x) for t, x in seen.items()})
    moments = runs.figure_1(seed=seed)
    yield from runs.figure_1_rows(moments)
    theory.figure_1(out / 'figure1.gif', GRID, runs.FIGURE_1(GRID), [
        (moment.t, moment.D, gaussian_kde(moment.samples)(GRID), moment.samples[::50], moment.z[::50])
        for moment in moments])
    yield from critics.closed_forms()
    played = critics.runs(seed)
    yield from critics.run_rows(played)
    critics.draw(out / 'critics.png', played)
