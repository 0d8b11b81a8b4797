"""The section "Operations" of the page: every function, its equation, its code, and a check that can fail."""

import inspect
import json
import re
from html import unescape
from xml.etree import ElementTree

import numpy as np
import pytest

from minigan import layers, losses, ops
from minigan.study.page import formulas, mathml, operations, source

CORE = {'math', 'mi', 'mo', 'mn', 'mtext', 'mrow', 'mfrac', 'msqrt', 'msub', 'msup', 'msubsup', 'munder', 'mover',
        'munderover', 'mtable', 'mtr', 'mtd', 'mspace'}  # of MathML Core
FORMULAS = {**formulas.OPERATIONS, **formulas.LOSSES, **{words: found for words, found in formulas.ALGORITHM.values()},
            'recommended': [formulas.RECOMMENDED]}


def own(module):
    """The functions that a module defines."""
    return [name for name, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__]


def plain(html):
    """The text that a browser shows."""
    return unescape(re.sub('<[^>]*>', '', html))


@pytest.fixture(scope='module')
def data():
    return operations.data()


@pytest.mark.parametrize('section, module', [('operations', ops), ('losses', losses)])
def test_every_function_is_shown_once_and_next_to_its_derivatives(section, module, data):
    shown = [[f['name'] for f in card['functions']] for card in data[section]]
    assert sorted(sum(shown, [])) == sorted(own(module))
    assert all(name.startswith(card[0]) for card in shown for name in card)
    assert section == 'losses' or ['dense', 'dense_backward_input', 'dense_backward_params_'] in shown


def test_the_code_is_the_installed_source_without_its_docstring(data):
    for module, section in ((ops, 'operations'), (losses, 'losses')):
        for shown in (f for card in data[section] for f in card['functions']):
            function = inspect.unwrap(getattr(module, shown['name']))
            whole = inspect.getsource(function).removeprefix('@twin\n')
            body, docstring = plain(shown['code']), re.search(r'    """.*?"""\n', whole, re.DOTALL)[0]
            assert body.strip() == whole.replace(docstring, '').strip()
            assert int(shown['place'].split(':')[1]) in range(*np.add(inspect.getsourcelines(function)[1], (0, 2)))


def test_every_check_agrees_and_shows_both_numbers(data):
    for card in data['operations'] + data['losses']:
        assert card['rows'], card['name']
        for _, expected, got, error, verdict in card['rows']:
            assert verdict == 'ok' and error < 1e-7 and expected == pytest.approx(got, rel=1e-6) and expected


@pytest.mark.filterwarnings('ignore::RuntimeWarning')  # maxout_backward trusts that its y is a maximum
@pytest.mark.parametrize('name', own(ops))
def test_the_check_of_an_operation_runs_it_and_shows_its_mistakes(name, monkeypatch):
    monkeypatch.setattr(ops, name, mistaken(getattr(ops, name), in_place=name.endswith('_')))
    if hasattr(losses, name):
        monkeypatch.setattr(losses, name, getattr(ops, name))
    wrong = operations.checked(name.partition('_backward')[0], 0)[1]
    assert any(verdict == 'wrong' for *_, verdict in wrong)


@pytest.mark.parametrize('name', own(losses))
def test_the_check_of_a_loss_runs_it_and_shows_its_mistakes(name, monkeypatch):
    function = getattr(losses, name)
    monkeypatch.setattr(losses, name, mistaken(function))
    for objective, found in losses.OBJECTIVES.items():
        fields = {field: mistaken(function) for field, value in found._asdict().items() if value is function}
        monkeypatch.setitem(losses.OBJECTIVES, objective, found._replace(**fields))
    wrong = operations.checked(name.partition('_backward')[0], 0)[1]
    assert any(verdict == 'wrong' for *_, verdict in wrong)


def mistaken(function, *, in_place=False):
    """The function, but its results are half as much again."""
    def wrong(*arguments, **keywords):
        result = function(*arguments, **keywords)
        if in_place:
            for array in arguments[2:] if 'backward' in function.__name__ else arguments[:1]:
                if array is not None:
                    array *= 1.5
            return None
        if isinstance(result, tuple):
            return (1.5 * result[0], *result[1:])
        return 1.5 * result
    return wrong


def test_a_function_without_an_equation_or_a_check_is_an_error(monkeypatch):
    new = source.Function('new', 'ops.py', 1, 'def new(x):\n    return x', '')
    monkeypatch.setattr(source, 'functions', lambda module: {'new': new})
    with pytest.raises(ValueError, match='new: expected an equation in formulas.py'):
        operations.cards(ops, {})
    with pytest.raises(ValueError, match='new: expected a check'):
        operations.cards(ops, {'new': ['y = x']})


def test_a_derivative_of_nothing_is_an_error():
    with pytest.raises(ValueError, match='new_backward: expected a function new'):
        operations.paired({'new_backward': None})


def test_no_equation_is_left_over(data):
    for section, equations in (('operations', formulas.OPERATIONS), ('losses', formulas.LOSSES)):
        assert set(equations) == {f['name'] for card in data[section] for f in card['functions']}


@pytest.mark.parametrize('name', FORMULAS)
def test_every_formula_is_mathml_that_browsers_know(name):
    for text in FORMULAS[name]:
        pieces = [ElementTree.fromstring(piece) for piece in mathml.formula(text).split('<wbr>')]
        assert {node.tag for piece in pieces for node in piece.iter()} <= CORE
        assert all(piece.tag == 'math' and piece.get('displaystyle') == 'true' and len(piece) for piece in pieces)


@pytest.mark.parametrize('text, pieces', [
    ('y = a x + b', ['y', '=ax', '+b']), ('y = - a - b', ['y', '=−a', '−b']), ('- (a + b)', ['−(a+b)']),
    ('a_{i = 1} , b <- c', ['ai=1,', 'b', '←c']), ('frac{a + b}{c}', ['a+bc'])])
def test_a_line_may_break_before_a_sign_outside_brackets_and_after_a_comma(text, pieces):
    html = mathml.formula(text)
    assert [plain(piece) for piece in html.split('<wbr>')] == pieces
    begins = re.findall('<math displaystyle="true"><mo( form="infix")?>', html)
    assert all(begins) or pieces[0][0] == '−'  # the sign that begins a piece keeps the spaces of one between two terms


@pytest.mark.parametrize('text, shown', [
    ('x_i^2', '<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>'),
    ('sum_{i=1}^m', '<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>m</mi></munderover>'),
    ('frac{a}{b}', '<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>'),
    ('dgamma', '<mrow><mi mathvariant="normal">d</mi><mi>γ</mi></mrow>'),
    ('log x', '<mi mathvariant="normal">log</mi><mspace width="0.17em"></mspace><mi>x</mi>'),
    ('"a < b"', '<mtext>a\u00a0&lt;\u00a0b</mtext>'),
    ('rows{a ; b}', '<mrow><mo>[</mo><mtable><mtr><mtd><mi>a</mi></mtd></mtr><mtr><mtd><mi>b</mi></mtd></mtr></mtable>'
                    '<mo>]</mo></mrow>')])
def test_the_notation_means_what_its_table_says(text, shown):
    assert mathml.formula(text) == f'<math displaystyle="true">{shown}</math>'


@pytest.mark.parametrize('text', ['frac{a}', 'x_', 'a)', '(a', 'sqrt{a', 'rows{a; b', 'x}', 'a; b', 'a & b',
                                  '(a & b)', 'frac{a; b}{c}', 'hat', 'rows'])
def test_a_formula_that_does_not_end_well_is_an_error(text):
    with pytest.raises(ValueError, match='formula: expected'):
        mathml.formula(text)


def test_shapes_of_every_operation_come_from_its_check(data):
    shown = {f['name']: f['shapes'] for card in data['operations'] for f in card['functions']}
    assert shown['dense'] == 'x (6, 6), W (6, 4), b (4,) → (6, 4)'
    assert shown['batch_norm_backward'] == 'dy (6, 6), gamma (6,), cache (6, 6), (6,) → (6, 6), (6,), (6,)'
    assert all(shown.values())


def test_functions_are_their_own_again_once_their_shapes_are_known():
    before = [getattr(module, name) for module in (ops, losses) for name in own(module)]
    with pytest.raises(ZeroDivisionError), operations.shapes() as seen:
        ops.tanh(np.zeros((2, 3)))
        assert seen == {'tanh': 'x (2, 3) → (2, 3)'}
        raise ZeroDivisionError
    assert [getattr(module, name) for module in (ops, losses) for name in own(module)] == before


def test_the_words_of_a_docstring_are_what_is_no_equation():
    doc = 'Affine map.\n\n    y = x W + b\n\nx: (m, n).\nReturns y.\n'
    assert source.words(doc) == 'Affine map. x: (m, n). Returns y.'
    assert source.words('Derivative of scale.   dx = a dy') == 'Derivative of scale.'
    assert source.words('y = tanh(x)') == ''
    assert source.words('p = q / sum,   in each row; never overflows') == 'In each row; never overflows'


def test_code_is_coloured_and_nothing_in_it_is_html():
    line, = source.highlighted('return a < 1  # "<b>"')
    assert line == ('<span class="keyword">return</span> a &lt; <span class="number">1</span>  '
                    '<span class="comment"># "&lt;b&gt;"</span>')
    assert source.highlighted('a < b') == ['a &lt; b']
    assert source.highlighted('for i in range(k):') == [
        '<span class="keyword">for</span> i <span class="keyword">in</span> range(k):']


@pytest.mark.parametrize('code, wrong, marked', [
    ('theta -= scratch', 'theta += scratch', 'theta <mark>+=</mark> scratch'),
    ('a < b', 'a < c', 'a &lt; <mark>c</mark>'),
    ('dx += slope', 'pass', '<mark>pass</mark>'),
    ('f(aa)', 'f(a)', 'f(<mark>a</mark>)'),
    ('samples = self.G.forward(z, rng=rng)', 'samples = self.G(z)', 'samples = <mark>self.G(z)</mark>'),
    ('f(a, b)', 'f(a)', 'f<mark>(a)</mark>'),
    ('g(f(a), b)', 'g(f(a))', 'g<mark>(f(a))</mark>'),
    ('return both[:n], both[n:]', 'return both[::2], both[1::2]', 'return both<mark>[::2], both[1::2]</mark>')])
def test_what_a_planted_bug_changes_is_marked(code, wrong, marked):
    assert operations.marked(code, wrong) == marked


def test_planted_bugs_stand_next_to_the_operation_that_they_are_planted_in(data):
    support = {f['name']: f['support'] for card in data['operations'] for f in card['functions']}
    assert any('sigmoid' in bug['wrong'] for found in support['cross_entropy_backward'] for bug in found['bugs'])
    assert all(plain(found['code']) in plain(f['code']) for card in data['operations'] for f in card['functions']
               for found in f['support'])


def test_every_layer_that_has_an_operation_leads_to_it():
    made = {name for name, layer in vars(layers).items() if getattr(layer, '__module__', '') == layers.__name__}
    assert set(operations.LAYERS.values()) == made - {'Layer', 'Sequential', 'Noise'}
    assert set(operations.LAYERS) <= set(own(ops))


def test_the_section_is_small_and_json(data):
    assert len(json.dumps(data, allow_nan=False)) < 150_000
