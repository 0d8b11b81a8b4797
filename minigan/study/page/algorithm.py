"""The section "Algorithm 1, line by line": a run of gan.py on the digits, with some of its steps traced."""

import linecache

import numpy as np

from minigan import gan, ops
from minigan.study import evidence
from minigan.study.page import formulas, mathml, operations, source
from minigan.study.page.arrays import packed
from minigan.study.played import played
from minigan.study.trace import Line, trace

EPOCHS, STEPS = 72, (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
QUICK_EPOCHS = 1
BINS = 24
NOISE = 1e-6  # of float32, relative
WORDS = {  # what a statement of gan.py does, for those that do not say it themselves
    'for i in range(self.k):': 'D moves k times for each move of G, to stay near its best answer to the current G.',
    'z = self.noise(t, i)': 'Each row of z is one point, from which G will make one sample.',
    'x = self.minibatch(t * self.k + i)': 'Each row of x is one image, its pixels scaled to [-1, 1].',
    'real, fake = self.update_D(x, z, self.layer_rng(t, i))':
        'D answers for the examples and for samples of G with logits, real and fake; D(x) = sigmoid(logit). It moves '
        'so that D(x) rises and D(G(z)) falls. The parameters of G stay; the moving averages of its batch norms follow '
        'these samples.',
    'z = self.noise(t, self.k)': 'G moves on new noise, which D has not seen.',
    'return real, fake, self.update_G(z, self.layer_rng(t, self.k))':
        'D answers for new samples, with new noise and dropout. The gradient flows back through D into G, and G moves '
        'so that D takes its samples for data. D stays.',
    'samples = self.G.forward(z, rng=rng, keep_cache=False)':
        'G turns noise into samples. It keeps no cache for a backward pass, because it does not move here.',
    'real, fake = self.logits(x, samples, rng)':
        'D reads data and samples as one minibatch of 2m rows. Its logit is positive where it believes in data: '
        'D(x) = sigmoid(logit).',
    'both = self.D.forward(stack(x, samples), rng=rng)': 'The rows of x come first, then the samples.',
    'return both[:len(both) // 2], both[len(both) // 2:]': 'The logits are split again: data, samples.',
    'self.D.backward(self.L_D_backward(real, fake), input_grad=False)':
        'The derivative of L_D with respect to the logits flows back through D, and each layer assigns the derivatives '
        'of its parameters. Nobody needs dx.',
    'return stack(*losses.OBJECTIVES[self.objective].L_D_backward(real, fake, **smoothing))':
        'Descending L_D is ascending V. The derivative for a row of data is (D(x) - 1) / m, for a sample D(G(z)) / m.',
    'self.optimizer_D.step()': 'Adam moves all parameters of D at once.',
    'fake = self.D.forward(self.G.forward(z, rng=rng), rng=rng)':
        'Noise becomes samples, and samples become logits. Both nets keep their caches: the gradient will come back '
        'through both.',
    'dsamples = self.D.backward(self.L_G_backward(fake), param_grads=False)':
        'The gradient flows back through D to its input, the samples. D is fixed, so no derivatives of its parameters '
        'are computed.',
    'self.G.backward(dsamples, input_grad=False)':
        "The same gradient flows on into G, and each layer assigns its parameters' derivatives.",
    'self.optimizer_G.step()': 'Adam moves all parameters of G at once.',
}


def data(*, seed=0, quick=False):
    """A dict for algorithm.js: the statements and calls of a step, and what they produced at each recorded step.

    quick: a shorter run.
    """
    epochs = QUICK_EPOCHS if quick else EPOCHS
    game, shape, last = new_game(seed, epochs)
    records, answers = play(game, last)
    alike = list(zip(*(record.walk() for record in records), strict=True))  # what is the same at each recorded step
    numbers = {id(nodes[0]): i for i, nodes in enumerate(alike)}
    return {'about': about(game, last, epochs, seed), 'steps': [record.t for record in records],
            'answers': packed(answers.T, low=0, high=1), 'lines': [numbers[id(line)] for line in records[0].lines],
            'recommended': mathml.formula(formulas.RECOMMENDED), 'losses': losses(),
            'nodes': [node(nodes, numbers, game) for nodes in alike],
            'pictures': [pictures(record, shape) for record in records]}


def new_game(seed, epochs):
    """The default game on the digits, the shape of an image, and the number of its steps."""
    run = played(step=0, seed=seed, epochs=epochs, quiet=True)
    return run.game, run.dataset.shape, run.last


def play(game, last):
    """Play all steps. Returns the Records of those in STEPS, and D's mean answer for data and samples at each step."""
    records, answers = [], []
    for t in range(last):
        if t in STEPS:
            records.append(trace(game, t))
        logits = records[-1].logits if t in STEPS else game.step(t)
        answers.append([ops.sigmoid(part).mean() for part in logits[:2]])
    return records, np.array(answers)


def about(game, last, epochs, seed):
    """What is said about the run. n: the width of x. command: prints a step of the same run, whose number follows."""
    return {'m': game.m, 'n_z': game.n_z, 'n': game.minibatch(0).shape[1], 'k': game.k, 'last': last,
            'smoothing': game.smoothing, 'nets': [repr(net) for _, net, _ in game.players()],
            'peaks': {name: peak(optimizer, last) for name, _, optimizer in game.players()},
            'command': f'minigan trace --epochs {epochs}{f" --seed {seed}" if seed else ""} --step'}


def peak(optimizer, last):
    """The largest learning rate of a run, and its step."""
    rates = [optimizer.settings(t)['learning_rate'] for t in range(last)]
    return {'rate': rounded([max(rates)])[0], 't': rates.index(max(rates))}


def losses():
    """name -> the equation of a value or loss."""
    return {name: mathml.formula(lines[0]) for name, lines in formulas.LOSSES.items() if '_backward' not in name}


def node(nodes, numbers, game):
    """A statement or a call for the page. nodes: it at each recorded step. numbers: id of a node -> its place."""
    first = nodes[0]
    made = line(first) if isinstance(first, Line) else call(first, game)
    values = [value_of(same) for same in nodes]
    if not isinstance(first, Line) and first.kind == 'forward':
        made['range'], counts = histograms([same.arrays['y'] for same in nodes])
        values = [{**value, 'counts': count} for value, count in zip(values, counts)]
    return {**made, 'values': values, 'inside': [numbers[id(inner)] for inner in first.inside]}


def line(statement):
    """What does not change: a statement, its line of the paper, and what supports it."""
    paper = formulas.ALGORITHM.get(statement.paper)
    found = evidence.of(statement.code)
    return {'kind': 'line', 'method': statement.method, 'place': f'{statement.file}:{statement.number}',
            'depth': depth(statement.number), 'code': source.highlighted(statement.code)[0],
            'words': WORDS.get(statement.code, ''),
            'paper': paper and {'words': paper[0], 'formulas': [mathml.formula(text) for text in paper[1]]},
            'shapes': shapes(statement.produced),
            'support': operations.support([found] if found else [])}


def depth(number):
    """How far a line of gan.py is indented within its method, in levels."""
    text = linecache.getline(gan.__file__, number)
    return (len(text) - len(text.lstrip())) // 4 - 2


def call(made, game):
    """What does not change: a call of a layer, a loss or an optimiser, and where its operation stands on the page."""
    kind = made.of.partition('(')[0]
    layers = {layer: name for name, layer in operations.LAYERS.items()}
    operation = {'loss': made.of, 'optimizer': {'Adam': 'adam_'}.get(kind)}.get(made.kind, layers.get(kind))
    net = {'G': game.G, 'D': game.D}.get(made.net)
    return {'kind': made.kind, 'of': made.of, 'net': made.net, 'place': made.place, 'operation': operation,
            'shapes': shapes(made.arrays), 'size': net.theta.size if made.kind == 'optimizer' else 0}


def shapes(arrays):
    """name -> shape of each array, in words."""
    return {name: '×'.join(map(str, a.shape)) for name, a in arrays.items() if hasattr(a, 'shape') and a.shape}


def value_of(same):
    """What a statement or a call produced, in numbers of four digits."""
    if isinstance(same, Line):
        return {name: rounded([a.mean(), a.std(), a.min(), a.max()]) for name, a in same.produced.items()
                if hasattr(a, 'shape')}
    return {'forward': forward, 'backward': backward, 'loss': loss, 'optimizer': optimizer}[same.kind](same.arrays)


def forward(arrays):
    """Mean and spread of y. A mean that is rounding noise becomes 0."""
    mean, spread = arrays['y'].mean(), arrays['y'].std()
    return {'y': rounded([mean if abs(mean) > NOISE * spread else 0, spread])}


def backward(arrays):
    """The norm of dy and of each derivative."""
    return {name: rounded([np.linalg.norm(a)])[0] for name, a in arrays.items()}


def loss(arrays):
    """The loss before and after the update."""
    return {name: float(arrays[name]) for name in ('before', 'after')}


def optimizer(arrays):
    """The settings, and how far the parameters moved, in units of the rate."""
    change, rate = abs(arrays['change']), arrays['learning_rate']
    counts, _ = np.histogram(np.clip(change / rate, 0, 3), BINS + 1, (0, 3))  # 1 is no edge
    settings = {name: rounded([value])[0] for name, value in arrays.items() if name not in ('change', 'dtheta')}
    return {'settings': settings, 'moved': int(np.count_nonzero(change)), 'counts': counts.tolist(),
            **dict(zip(('norm', 'largest', 'gradient'), rounded([
                np.linalg.norm(change), change.max(), np.linalg.norm(arrays['dtheta'])])))}


def rounded(values):
    """Numbers of four digits."""
    return [float(f'{value:.4g}') for value in values]


def histograms(arrays):
    """(least, largest) of all arrays, and a histogram of each between them."""
    low, high = min(a.min() for a in arrays), max(a.max() for a in arrays)
    return rounded([low, high]), [np.histogram(a, BINS, (low, high))[0].tolist() for a in arrays]


def pictures(record, shape):
    """What a step shows as pictures, packed: minibatches, noise, D's answers, the gradient with respect to samples."""
    z_D, z_G = (found.produced['z'] for found in record.lines if 'z' in found.produced)
    drawn = [made.arrays['y'] for made in record.calls('forward') if made.net == 'G'][-1]
    dsamples, (real, fake, fake_G) = record['dsamples'], record.logits
    largest = abs(dsamples).max()
    images = {'x': record['x'], 'samples': record['samples'], 'samples_G': drawn}
    return {**{name: packed(ops.to_unit(a).reshape(-1, *shape), low=0, high=1) for name, a in images.items()},
            **{name: packed(z, low=-3, high=3) for name, z in (('z', z_D), ('z_G', z_G))},
            **{name: packed(ops.sigmoid(a).ravel(), bits=16, low=0, high=1)
               for name, a in (('real', real), ('fake', fake), ('fake_G', fake_G))},
            'dsamples': packed(dsamples.reshape(-1, *shape), low=-largest, high=largest)}
