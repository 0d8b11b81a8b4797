"""A step that is watched is the same step, and what is told about it is what happened."""

import inspect
import json
import sys

import numpy as np
import pytest

from minigan import Adam, Dense, Dropout, Game, LeakyReLU, Net, Streams, gan, losses, ops
from minigan.study import told
from minigan.study.played import played
from minigan.study.trace import Line, trace

GAMES = {
    'default': {}, 'simultaneous': {'update': 'simultaneous'}, 'k=2': {'k': 2}, 'article': {'network': 'article'},
    'conditional': {'conditional': True}, 'packed': {'pack': 2}, 'wgan': {'network': 'wgan', 'input_noise': 0.1},
    'feature-matching': {'network': 'feature-matching'}, 'semisupervised': {'network': 'semisupervised'},
    'dcgan': {'network': 'dcgan'}, 'progressive': {'network': 'progressive'}, 'spectral': {'network': 'spectral'},
    'cycle': {'network': 'cycle', 'data': 'digits/plain', 'cycle': 'digits/inverted'}}


def arrays(game):
    """Copies of all that a step changes."""
    found = {}
    for name, net, optimizer in game.players():
        found |= {f'{name}.theta': net.theta, f'{name}.state': net.state, f'{name}.dtheta': net.dtheta}
        found |= {f'{name}.{buffer}': getattr(optimizer, buffer) for buffer in optimizer.buffers}
    return {name: array.copy() for name, array in found.items()}


def small_game(minibatch=None, dropout=(), **settings):
    """Two small nets on numbers from N(2, 0.5)."""
    streams = Streams(3)
    G, D = (Net([Dense(n, 8), LeakyReLU(0.2), *extra, Dense(8, 1)], rng=streams.at('init', 0, substep), name=name,
                dtype=np.float64) for substep, (name, n, extra) in enumerate((('G', 2, ()), ('D', 1, dropout))))

    def numbers(j):
        return 2 + 0.5 * streams.at('data', j).normal((16, 1), np.float64)
    return Game(G, D, Adam(G, learning_rate=0.01), Adam(D, learning_rate=0.02), minibatch or numbers, streams, m=16,
                n_z=2, **settings)


@pytest.mark.parametrize('choices', GAMES.values(), ids=GAMES)
def test_a_step_changes_the_same_numbers_whether_it_is_watched_or_not(choices):
    watched, plain = (played(step=2, quiet=True, **choices).game for _ in range(2))
    record = trace(watched, 2)
    logits = plain.step(2)
    assert all(np.array_equal(got, expected) for got, expected in zip(record.logits, logits))
    got, expected = arrays(watched), arrays(plain)
    assert got.keys() == expected.keys() and all(np.array_equal(got[name], expected[name]) for name in got)
    shown = str(record).splitlines()
    assert max(map(len, shown)) <= told.WIDTH
    assert len(record.calls('optimizer')) == len(list(watched.players())) + watched.k - 1
    assert all({'before', 'after'} <= call.arrays.keys() for call in record.calls('loss'))
    assert not any(inner.place == call.place for kind in ('forward', 'backward') for call in record.calls(kind)
                   for inner in call.inside)
    if 'conditional' in choices:  # nine of ten numbers of a label are 0, and 110 of z
        assert '8% are 0' in str(record)
    json.dumps(told.as_dict(record), allow_nan=False)


def test_the_next_step_is_the_same_too():
    watched, plain = small_game(), small_game()
    for t in range(3):
        trace(watched, t)
        plain.step(t)
    assert np.array_equal(watched.G.theta, plain.G.theta) and np.array_equal(watched.D.theta, plain.D.theta)


def test_lines_stand_in_the_source_and_have_the_words_of_algorithm_1():
    record, source = trace(small_game(k=2), 0), inspect.getsource(gan).splitlines()
    lines = [line for line in record.walk() if isinstance(line, Line)]
    for line in lines:
        assert line.file == 'gan.py' and source[line.number - 1].strip().startswith(line.code.split('  #')[0])
    words = [line.paper for line in record.lines]
    of_D = ['for k steps do', 'sample a minibatch of m noise samples', 'sample a minibatch of m examples',
            'update D by ascending its stochastic gradient']
    assert words == [*of_D, *of_D, 'sample a minibatch of m noise samples', 'update G by descending its gradient']
    assert [line.produced.get('i') for line in record.lines[::4]] == [0, 1, None]


@pytest.mark.parametrize('method', ['alternating', 'update_D', 'update_G'])
def test_every_statement_of_a_method_that_runs_is_shown(method):
    lines, first = inspect.getsourcelines(getattr(Game, method))
    begins = [first + i for i, line in enumerate(lines) if line[:8].isspace() and not line[:13].isspace()]
    docstring = [first + i for i, line in enumerate(lines) if '"""' in line]
    expected = [number for number in begins if number > docstring[-1]]
    assert [line.number for line in trace(small_game(), 0).find(method)] == expected


def test_arrays_are_those_of_the_step():
    game = small_game()
    before = {name: net.theta.copy() for name, net, _ in game.players()}
    record = trace(game, 0)
    x, z = game.minibatch(0), game.noise(0, 0)
    first, second = (line.produced['z'] for line in record.find('alternating') if 'z' in line.produced)
    assert np.array_equal(first, z) and np.array_equal(second, game.noise(0, 1)) and np.array_equal(record['x'], x)
    G_of_z = [call for call in record.calls('forward') if call.net == 'G'][:3]
    assert np.array_equal(G_of_z[0].arrays['x'], z) and np.array_equal(G_of_z[-1].arrays['y'], record['samples'])
    of_D = [call for call in record.calls('forward') if call.net == 'D'][0]
    assert np.array_equal(of_D.arrays['x'], np.concatenate([x, record['samples']]))
    for call in record.calls('optimizer'):
        net = getattr(game, call.net)
        assert np.array_equal(before[call.net] + call.arrays['change'], net.theta) and call.arrays['change'].any()
    last = record.calls('backward')[-1]
    assert (last.net, last.place) == ('G', '1.Dense') and 'dx' not in last.arrays
    assert np.array_equal(last.arrays['dW'], game.G.layers[0].dW)
    through_D = record.find('update_G')[1]
    assert not any({'dW', 'db'} & call.arrays.keys() for call in through_D.inside if call.kind == 'backward')


def test_arrays_stay_as_they_were():
    game = small_game()
    record = trace(game, 0)
    last = record.calls('backward')[-1].arrays
    kept = {name: record[name].copy() for name in ('x', 'z', 'samples', 'dsamples')}, last['dW'].copy()
    game.step(1)
    assert all(np.array_equal(record[name], array) for name, array in kept[0].items())
    assert np.array_equal(last['dW'], kept[1]) and not np.array_equal(last['dW'], game.G.layers[0].dW)
    with pytest.raises(KeyError):
        record['nothing']


@pytest.mark.parametrize('update', ['alternating', 'simultaneous'])
def test_losses_are_those_before_and_after_the_update(update):
    game = small_game(update=update)
    record = trace(game, 0)
    real, fake, of_G = record.logits
    found = {call.of: call.arrays for call in record.calls('loss')}
    assert found['L_D']['before'] == losses.L_D(real, fake)
    assert found['L_G_nonsaturating']['before'] == losses.L_G_nonsaturating(of_G)
    assert found['L_D']['formula'].startswith('L_D = -E_x[') and 'E_z[log D(G(z))]' in str(record)
    x = game.minibatch(0)
    if update == 'alternating':  # G had not moved when D did
        samples, D_of_G = record['samples'], game.D(game.G(record['z']))
    else:
        samples = game.G(record['z'])
        D_of_G = game.D(samples)
    logits = game.D(ops.stack(x, samples))
    assert found['L_D']['after'] == pytest.approx(losses.L_D(logits[:16], logits[16:]), rel=1e-12)
    assert found['L_G_nonsaturating']['after'] == pytest.approx(losses.L_G_nonsaturating(D_of_G), rel=1e-12)
    assert found['L_D']['after'] < found['L_D']['before']


def test_the_loss_after_an_update_has_the_same_dropout():
    game = small_game(dropout=[Dropout(0.5)])
    record = trace(game, 0)
    fake = game.D.forward(game.G.forward(record['z'], keep_cache=False), rng=game.layer_rng(0, 1), keep_cache=False)
    assert record.calls('loss')[1].arrays['after'] == pytest.approx(losses.L_G_nonsaturating(fake), rel=1e-12)


def test_a_minibatch_is_drawn_once():
    drawn = []

    def minibatch(j):
        drawn.append(j)
        return np.full((16, 1), float(len(drawn)))
    trace(small_game(minibatch, update='simultaneous'), 0)
    assert drawn == [0]


def test_a_debugger_gets_its_hook_back_even_when_a_step_fails():
    def hook(frame, event, argument):
        return None

    def minibatch(j):
        raise ArithmeticError('no data')
    before = sys.gettrace()
    sys.settrace(hook)
    try:
        trace(small_game(), 0)
        assert sys.gettrace() is hook
        with pytest.raises(ArithmeticError, match='no data'):
            trace(small_game(minibatch), 0)
        assert sys.gettrace() is hook
    finally:
        sys.settrace(before)


def test_the_text_has_shapes_norms_losses_and_moves():
    record = trace(small_game(), 0)
    text = str(record)
    loss = record.calls('loss')[0].arrays
    for words in ('# for k steps do', 'G 1 Dense(2 -> 8)', '(16, 2) -> (16, 8)', 'Adam of D:', 'learning_rate 0.02',
                  f'L_D {loss["before"]:.4f}  after the update {loss["after"]:.4f}  (smoothing 0)',
                  'moves 25 of 25 parameters',
                  '-> none'):
        assert words in text
    dW = [call for call in record.calls('backward') if call.net == 'G'][-1].arrays['dW']
    assert f'W {np.linalg.norm(dW):.2g}' in text


def test_a_part_of_a_record_is_shown_like_the_whole():
    record = trace(small_game(), 0)
    line = record.lines[0]
    assert repr(line) == f'# for k steps do\n{line.number:4}  for i in range(self.k):\n      i = 0'
    assert repr(record.calls('backward')[0]).splitlines()[1].startswith('D 3 Dense(8 -> 1)')


def test_statistics_are_those_of_the_array():
    a = np.array([[0.0, 3.0], [-1.0, 2.0]], np.float32)
    found = told.statistics(a)
    assert found.pop('shape') == [2, 2]
    assert found == pytest.approx({'mean': 1, 'spread': 2.5**0.5, 'least': -1, 'largest': 3, 'norm': 14**0.5,
                                   'zeros': 0.25})
    assert told.statistics(np.zeros((0, 3))) == {'shape': [0, 3]}


def test_a_run_is_played_to_a_step_from_its_checkpoint_or_from_its_start(tmp_path):
    import minigan
    choices = {'epochs': 2, 'batch': 400, 'seed': 5}
    folder = minigan.train(quiet=True, out=str(tmp_path / 'run'), **choices)
    from_start, resumed = played(folder, 3, quiet=True), played(folder, quiet=True)
    new = played(step=3, quiet=True, **choices)
    assert (from_start.t, resumed.t) == (3, resumed.last)
    assert np.array_equal(from_start.game.G.theta, new.game.G.theta)
    while new.t < new.last:
        new.step()
    assert np.array_equal(resumed.game.G.theta, new.game.G.theta)
    with pytest.raises(ValueError, match='step: expected 0 to 5, the last one of this run, got 6'):
        played(folder, 6, quiet=True)
    with pytest.raises(ValueError, match='--seed: expected none with a run'):
        played(folder, quiet=True, seed=3)
