"""The section "Algorithm 1, line by line" of the page: its numbers are those of gan.py, and nothing is left out."""

import json
import re
from base64 import b64decode
from html import unescape

import numpy as np
import pytest

from minigan import losses, ops
from minigan.cli import main
from minigan.study.page import algorithm, formulas, operations

AT = 5  # a recorded step


@pytest.fixture(scope='module')
def data():
    return algorithm.data(quick=True)


@pytest.fixture(scope='module')
def game():
    """The same game, played to the recorded step without a trace."""
    game, _, _ = algorithm.new_game(0, algorithm.QUICK_EPOCHS)
    for t in range(AT):
        game.step(t)
    return game


@pytest.fixture(scope='module')
def logits(game):
    return game.step(AT)


def of_step(data):
    """The place of the recorded step among all."""
    return data['steps'].index(AT)


def calls(data, kind, net=None):
    return [node for node in data['nodes'] if node['kind'] == kind and net in (None, node['net'])]


def statements(data):
    return [node for node in data['nodes'] if node['kind'] == 'line']


def plain(html):
    """The text that a browser shows."""
    return unescape(re.sub('<[^>]*>', '', html))


def unpacked(packed):
    kind = {8: np.uint8, 16: '<u2'}[packed['bits']]
    q = np.frombuffer(b64decode(packed['bytes']), kind).reshape(packed['shape'])
    return packed['low'] + (packed['high'] - packed['low']) * q / (2**packed['bits'] - 1)


def test_every_line_of_the_paper_stands_next_to_its_code(data):
    lines = [data['nodes'][i] for i in data['lines']]
    assert [line['method'] for line in lines] == 6 * ['alternating']
    assert [line['paper']['words'].split()[:2] for line in lines] == [
        ['for', 'k'], ['Sample', 'a'], ['Sample', 'a'], ['Update', 'the'], ['Sample', 'a'], ['Update', 'the']]
    assert [bool(line['paper']['formulas']) for line in lines] == [False, True, True, True, True, True]
    assert [line['depth'] for line in lines] == [0, 1, 1, 1, 0, 0]
    assert {words for words, _ in formulas.ALGORITHM.values()} == {line['paper']['words'] for line in lines}


def test_every_statement_says_what_it_does_unless_its_code_is_plain(data):
    code = {plain(line['code']): bool(line['words']) for line in statements(data)}
    assert {text for text, words in code.items() if words} == set(algorithm.WORDS)
    assert {text for text, words in code.items() if not words} == {
        'return real, fake', 'return fake', "smoothing = {'smoothing': self.smoothing} if self.smoothing else {}",
        'return losses.OBJECTIVES[self.objective].L_G_backward(fake)'} & set(code)


def test_every_statement_of_a_step_is_supported_by_tests_and_planted_bugs(data):
    assert all(support['tests'] and support['bugs'] for line in statements(data) for support in line['support'])
    assert all(line['support'] for line in statements(data))


def test_each_layer_loss_and_optimiser_leads_to_its_operation(data):
    cards = operations.data()
    known = {card['name'] for card in cards['operations'] + cards['losses']}
    found = [node['operation'] for node in data['nodes'] if node['kind'] != 'line']
    assert set(found) <= known
    assert {'dense', 'batch_norm', 'leaky_relu', 'dropout', 'tanh', 'adam_', 'L_D', 'L_G_nonsaturating'} == set(found)


def test_all_that_runs_in_a_step_is_shown_inside_its_line(data):
    shown, todo = set(), list(data['lines'])
    while todo:
        i = todo.pop()
        shown.add(i)
        todo += data['nodes'][i]['inside']
    assert shown == set(range(len(data['nodes'])))
    assert [len(calls(data, kind, net)) for kind in ('forward', 'backward') for net in 'GD'] == [16, 14, 8, 14]


def test_the_losses_are_those_of_the_logits_that_an_untraced_run_returns(data, logits):
    real, fake, fake_G = logits
    L_D, L_G = (node['values'][of_step(data)] for node in calls(data, 'loss'))
    assert L_D['before'] == pytest.approx(float(losses.L_D(real, fake)), rel=1e-6)
    assert L_G['before'] == pytest.approx(float(losses.L_G_nonsaturating(fake_G)), rel=1e-6)
    assert L_D['after'] < L_D['before'] and L_G['after'] < L_G['before']


def test_the_gradients_are_those_that_an_untraced_step_leaves(data, game, logits):
    for node, (_, net, optimizer) in zip(calls(data, 'optimizer'), reversed(game.players())):
        value = node['values'][of_step(data)]
        assert node['net'] == net.name and node['size'] == net.theta.size
        assert value['gradient'] == pytest.approx(float(net.dtheta_norm()), rel=1e-3)
        last = [found['values'][of_step(data)] for found in calls(data, 'backward', net.name)]
        dW = {name: norm for found in last for name, norm in found.items() if name == 'dW'}
        assert dW['dW'] == pytest.approx(np.linalg.norm(net.layers[0].dW), rel=1e-3)
        assert value['settings']['learning_rate'] == pytest.approx(optimizer.settings(AT)['learning_rate'], rel=1e-3)


def test_the_command_that_the_page_names_prints_the_same_step(data, capsys):
    assert main([*data['about']['command'].split()[1:], str(AT), '--json']) == 0
    told = json.loads(capsys.readouterr().out)
    assert told['t'] == AT
    for shown, node in zip(told['lines'], (data['nodes'][i] for i in data['lines']), strict=True):
        for name, (mean, spread, *_) in node['values'][of_step(data)].items():
            assert [shown['values'][name][key] for key in ('mean', 'spread')] == pytest.approx([mean, spread], rel=1e-3)


def test_the_largest_rate_is_that_of_the_schedule(data, game):
    for name, _, optimizer in game.players():
        rates = [optimizer.settings(t)['learning_rate'] for t in range(data['about']['last'])]
        peak = data['about']['peaks'][name]
        assert peak['rate'] == pytest.approx(max(rates), rel=1e-3) and rates[peak['t']] == max(rates)


def test_a_mean_that_is_rounding_noise_is_shown_as_0(data):
    means = [abs(node['values'][0]['y'][0]) for node in calls(data, 'forward') if node['of'].startswith('BatchNorm')]
    assert means == [0] * 4  # beta is 0 before the first step
    assert algorithm.forward({'y': np.array([1, -1.001])})['y'][0] == pytest.approx(-0.0005)


def test_the_widths_of_the_shapes_on_the_page_are_told_apart(data):
    n, n_z = data['about']['n'], data['about']['n_z']
    assert len({n, n_z, 1}) == 3 and data['about']['m'] != 1
    rows = {shape.split('×')[0] for node in statements(data) for shape in node['shapes'].values()}
    columns = {shape.split('×')[1] for node in statements(data) for shape in node['shapes'].values()}
    assert rows == {str(data['about']['m']), str(2 * data['about']['m'])} and columns == {str(n), str(n_z), '1'}


def test_adams_first_step_moves_every_parameter_by_the_rate(data):
    for node in calls(data, 'optimizer'):
        first = node['values'][0]
        assert first['largest'] == pytest.approx(first['settings']['learning_rate'], rel=1e-3)
        assert first['counts'][8] > 0.99 * node['size'] == 0.99 * sum(first['counts'])


def test_the_pictures_are_what_the_step_read_and_drew(data, game, logits):
    pictures = {name: unpacked(packed) for name, packed in data['pictures'][of_step(data)].items()}
    x = game.minibatch(AT)
    assert abs(pictures['x'].reshape(x.shape) - ops.to_unit(x)).max() < 1 / 255
    assert abs(pictures['z'] - np.clip(game.noise(AT, 0), -3, 3)).max() < 6 / 255
    assert abs(pictures['z_G'] - np.clip(game.noise(AT, 1), -3, 3)).max() < 6 / 255
    for name, part in zip(('real', 'fake', 'fake_G'), logits):
        assert abs(pictures[name] - ops.sigmoid(part).ravel()).max() < 1e-4
    assert pictures['samples'].shape == pictures['samples_G'].shape == pictures['dsamples'].shape == (50, 8, 8)
    assert abs(pictures['samples'] - pictures['samples_G']).max() > 0.1
    norm = calls(data, 'backward', 'G')[0]['values'][of_step(data)]['dy']
    assert np.linalg.norm(pictures['dsamples']) == pytest.approx(norm, rel=0.02)


def test_the_answers_are_those_of_every_step(data, logits):
    answers = unpacked(data['answers'])
    assert answers.shape == (2, data['about']['last'])
    assert answers[:, AT] == pytest.approx([ops.sigmoid(part).mean() for part in logits[:2]], abs=1 / 255)


def test_histograms_hold_every_number_in_the_same_bins_at_each_step(data):
    for node in calls(data, 'forward'):
        rows, columns = map(int, node['shapes']['y'].split('×'))
        assert all(sum(value['counts']) == rows * columns for value in node['values'])
        assert node['range'][0] < node['range'][1]


def test_the_steps_of_the_page_lie_within_its_run():
    game, shape, last = algorithm.new_game(0, algorithm.EPOCHS)
    assert algorithm.STEPS[0] == 0 and algorithm.STEPS[-1] < last and shape == (8, 8)
    assert list(algorithm.STEPS) == sorted(set(algorithm.STEPS))


def test_the_section_is_json_and_small_for_each_step(data):
    size = len(json.dumps(data, allow_nan=False, separators=(',', ':')))
    assert size < 60_000 * len(data['steps'])
