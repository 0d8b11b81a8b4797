"""The page is one whole file that asks for nothing, and its recordings are those of the package's own runs."""

import ast
import inspect
import json
import re
import textwrap
from base64 import b64decode
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from minigan import losses, ops
from minigan.cli import main
from minigan.gan import Game
from minigan.layers import Dense
from minigan.net import Net
from minigan.streams import Streams
from minigan.study import runs
from minigan.study.mixtures import Mixture
from minigan.study.page import games, make
from minigan.study.page.arrays import packed

VOID = {'meta', 'link', 'br', 'hr', 'img', 'input', 'wbr', 'col'}
LIMIT = 3 << 20


class Outline(HTMLParser):
    """What a browser would make of a page: unclosed elements, addresses that are loaded, links, texts of scripts."""

    def __init__(self, text):
        super().__init__()
        self.open, self.wrong, self.loaded, self.links, self.scripts = [], [], [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.loaded += [attributes[name] for name in ('src', 'srcset', 'data', 'poster') if name in attributes]
        if 'href' in attributes:
            (self.links if tag == 'a' else self.loaded).append(attributes['href'])
        if tag not in VOID:
            self.open.append((tag, attributes.get('id')))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop()[0] != tag:
            self.wrong.append(f'line {self.getpos()[0]}: </{tag}>')

    def handle_data(self, text):
        if self.open and self.open[-1][0] == 'script':
            self.scripts[self.open[-1][1]] = self.scripts.get(self.open[-1][1], '') + text


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """A page of few steps, made by the command."""
    path = tmp_path_factory.mktemp('page') / 'study.html'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, 'SECTIONS', {name: lambda seed, quick, data=data: data(seed=seed, quick=True)
                                         for name, data in make.SECTIONS.items()})
        assert main(['study', '-o', str(path)]) == 0
    return path


def test_the_page_is_one_whole_file_that_loads_nothing(page):
    text = page.read_text(encoding='utf-8')
    outline = Outline(text)
    assert outline.open == [] and outline.wrong == [] and outline.loaded == []
    assert [path.name for path in page.parent.iterdir()] == ['study.html'] and len(text.encode()) < LIMIT
    addresses = re.findall(r'\b(?:https?|wss?|ftp)://[^\s"\'<>)]+|@import|url\(', text)
    assert set(addresses) <= set(outline.links)
    assert not re.search(r'\b(?:eval|Function|fetch|XMLHttpRequest|importScripts)\s*\(', text)
    assert "default-src 'none'" in text and '{{' not in text.split('<script')[0]


@pytest.mark.parametrize('planted', [
    '<img src="https://example.org/x.png">', '<link rel="stylesheet" href="x.css">', '<p><b></p></b>', '<div>'])
def test_this_check_can_fail(planted, page):
    outline = Outline(page.read_text(encoding='utf-8').replace('<main', f'{planted}<main'))
    assert outline.open or outline.wrong or outline.loaded


def test_every_section_of_the_page_has_data_script_and_style(page):
    text = page.read_text(encoding='utf-8')
    sections = re.findall(r'<section id="(\w+)"', text)
    assert sorted(sections) == sorted(make.SECTIONS)
    for name in sections:
        json.loads(Outline(text).scripts[f'{name}-data'])
        assert f'sections.{name} = ' in text and f'href="#{name}"' in text


def test_making_the_page_says_what_it_records(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make, 'SECTIONS', {'games': lambda **_: {}, 'operations': lambda **_: {}})
    make.make(tmp_path / 'study.html')
    assert capsys.readouterr().err.splitlines() == [
        'minigan: recording games (1 of 2)', 'minigan: recording operations (2 of 2)']


def test_no_recorded_text_can_end_its_script(monkeypatch):
    said = '</script><script>alert(1)</script><!--<script> {{styles}}'
    text = make.page({'games': {'words': said}})
    assert Outline(text).wrong == [] and json.loads(Outline(text).scripts['games-data']) == {'words': said}
    with pytest.raises(ValueError, match='JSON compliant'):
        make.page({'games': {'V': float('nan')}})


def test_the_scripts_are_those_of_the_package(page):
    text = page.read_text(encoding='utf-8')
    for path in Path(make.__file__).parent.iterdir():
        if path.suffix in ('.js', '.css'):
            assert path.read_text(encoding='utf-8') in text


def texts(entry):
    """Every string in what json.loads returns, without its HTML."""
    if isinstance(entry, str):
        yield unescape(re.sub('<[^>]*>', '', entry))
    elif isinstance(entry, (dict, list)):
        for part in entry.values() if isinstance(entry, dict) else entry:
            yield from texts(part)


def test_the_code_shown_is_that_of_the_installed_package(page):
    data = Outline(page.read_text(encoding='utf-8')).scripts
    for section, source in (('algorithm', Game.alternating), ('operations', ops.batch_norm_backward)):
        shown = ' '.join(' '.join(texts(json.loads(data[f'{section}-data']))).split())
        code = textwrap.dedent(inspect.getsource(source))
        first = ast.parse(code).body[0].body[1].lineno  # after the docstring
        for line in code.splitlines()[first - 1:]:
            assert line.split('  #')[0].strip() in shown


@pytest.mark.parametrize('out, said', [
    ('nowhere/study.html', 'no such folder'), ('.', 'expected a file to write, got a folder'),
    ('/proc/study.html', '/proc/study.html')])
def test_a_page_that_cannot_be_written_gives_one_line_before_anything_is_recorded(
        out, said, tmp_path, monkeypatch, capsys):
    if out.startswith('/proc') and not Path('/proc/version').exists():
        pytest.skip('no /proc, which not even root can write')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(make, 'SECTIONS', {'games': lambda **_: pytest.fail('recorded')})
    assert main(['study', '-o', out]) == 2
    error = capsys.readouterr().err
    assert error.startswith('minigan: error: ') and error.count('\n') == 1 and said in error
    assert list(tmp_path.iterdir()) == []


def test_a_recording_that_fails_leaves_the_page_as_it_was(tmp_path, monkeypatch):
    def fails(**_):
        raise ValueError('no')
    monkeypatch.setattr(make, 'SECTIONS', {'games': fails})
    (tmp_path / 'study.html').write_text('before')
    assert main(['study', '-o', str(tmp_path / 'study.html')]) == 2
    assert [path.read_text() for path in tmp_path.iterdir()] == ['before']


def unpacked(entry):
    """What page.js makes of a packed array."""
    q = np.frombuffer(b64decode(entry['bytes']), f'<u{entry["bits"] // 8}').reshape(entry['shape'])
    return entry['low'] + (entry['high'] - entry['low']) * q / (2 ** entry['bits'] - 1)


@pytest.mark.parametrize('bits, error', [(8, 1 / 510), (16, 1 / 131070)])
def test_packed_numbers_come_back_within_half_a_step(bits, error):
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    back = unpacked(packed(x, bits=bits))
    assert back.shape == x.shape and abs(back - x).max() <= 1.001 * error * np.ptp(x)
    with np.errstate(all='raise'):
        np.testing.assert_allclose(unpacked(packed([2.0, 2.0])), 2)
    np.testing.assert_allclose(unpacked(packed([-1, 0.5, 9], bits=bits, low=0, high=1)), [0, 0.5, 1], atol=error)
    with pytest.raises(ValueError, match='expected finite numbers, got nan'):
        packed([1, np.nan])


def test_the_recorded_line_is_the_run_of_figure_1():
    moment, recorded = runs.figure_1(steps=20, frames=2)[-1], games.line(0, 20)
    np.testing.assert_allclose(unpacked(recorded['samples'])[-1], moment.samples[::25], atol=2e-4)
    on_x = np.interp(games.X, runs.GRID, moment.D)
    np.testing.assert_allclose(unpacked(recorded['D'])[-1], on_x, atol=1e-4)
    assert recorded['t'][0] == 0 and recorded['t'][-1] == 20 and len(recorded['words']) == len(recorded['t'])


def test_arrows_point_along_the_difference_quotient_of_L_G():
    game = runs.plane_game(games.RING, 0, steps=5, hidden=(8,))
    samples = game.G(game.draw_z(Streams(0).at('sample', 0), 3))
    found = games.moves(game, samples)
    for name, move in zip(games.OBJECTIVES, found):
        def L_G(x):
            return len(x) * float(losses.OBJECTIVES[name].L_G(game.D(x)))
        for i, j in np.ndindex(samples.shape):
            h = np.zeros_like(samples)
            h[i, j] = 1e-2
            assert move[i, j] == pytest.approx(-(L_G(samples + h) - L_G(samples - h)) / 2e-2, abs=2e-3)
    game.step(0)  # no cache is left behind


def still(game, samples, monkeypatch, name):
    """Record a game, as runs makes it by name, whose G draws these samples whatever z is, and never moves."""
    monkeypatch.setattr(runs, name, lambda *_, **__: SimpleNamespace(
        G=lambda z: samples.astype(np.float32), D=game.D, streams=game.streams, draw_z=game.draw_z,
        step=lambda t: None))


def test_a_perfect_G_on_the_line_has_a_D_star_of_one_half(monkeypatch):
    game = runs.line_game(0, steps=1)
    still(game, runs.FIGURE_1.quantiles(1001)[:, None], monkeypatch, 'line_game')
    recorded = games.line(0, 1)
    near = runs.FIGURE_1(games.X) > 0.05
    assert abs(unpacked(recorded['D_star'])[0][near] - 0.5).max() < 0.02 and recorded['covered'][0] > 0.98
    assert recorded['D_x'] == pytest.approx(recorded['D_G_z'])


def test_a_perfect_G_in_the_plane_has_a_D_star_of_one_half(monkeypatch):
    game = runs.plane_game(games.RING, 0, steps=1, hidden=(8,))
    angles = np.arange(1000) % 8
    spread = (np.random.default_rng(0).normal(size=(1000, 2)) * 0.1)
    still(game, games.RING.centres[angles] + spread, monkeypatch, 'plane_game')
    for recorded in games.plane(0, 1)['plays'].values():
        near = games.RING(games.PLANE) > 0.3
        assert abs(unpacked(recorded['D_star'])[0][near] - 0.5).max() < 0.15
        assert abs(unpacked(recorded['D_star'])[0][near] - 0.5).mean() < 0.04
        assert recorded['modes'][0] == 8 and recorded['near'][0] > 0.97
    still(game, games.RING.centres[0] + spread, monkeypatch, 'plane_game')
    assert games.plane(0, 1)['plays']['calm']['modes'][0] == 1


def test_answers_for_data_and_for_samples_are_not_mixed_up(monkeypatch):
    game = runs.line_game(0, steps=1)
    game.D = Net([Dense(1, 1)], rng=Streams(0).at('init', 0), name='D')
    game.D.theta[...] = 5, 0  # D(x) = sigmoid(5 x); the data are around 1
    still(game, np.full((1001, 1), -2.0) + np.linspace(-0.1, 0.1, 1001)[:, None], monkeypatch, 'line_game')
    recorded = games.line(0, 1)
    assert recorded['D_x'][0] > 0.9 and recorded['D_G_z'][0] < 0.01 and -0.5 < recorded['V'][0] < 0
    at_data, at_samples = np.interp([1, -2], games.X, unpacked(recorded['D_star'])[0])
    assert at_data > 0.99 and at_samples < 0.01 and recorded['covered'][0] < 0.01
    assert (unpacked(recorded['moves'])[0][0] > 4).all()                  # D is sure, and G would move at full speed,
    assert (unpacked(recorded['moves'])[0][1] < 0.01).all()               # unless it descended log(1 - D(G(z)))
    assert unpacked(recorded['D'])[0][0] < 0.01 < 0.99 < unpacked(recorded['D'])[0][-1]


def test_the_density_of_a_mixture_is_that_of_its_samples():
    mixture = Mixture(np.array([[0.0, 0], [1, 0]]), 0.3)
    assert mixture(np.array([[0.5, 0.1]]))[0] == pytest.approx(np.exp(-0.26 / 0.18) / (2 * np.pi * 0.09))
    assert mixture(games.PLANE * 2).sum() * (2 * (games.SIDE[1] - games.SIDE[0])) ** 2 == pytest.approx(1, abs=1e-3)


def test_the_plane_is_recorded_from_the_top_left():
    assert games.PLANE[0].tolist() == [games.SIDE[0], games.SIDE[-1]]
    assert games.PLANE[1].tolist() == [games.SIDE[1], games.SIDE[-1]]


def test_moments_are_dense_at_first_and_end_with_the_run():
    for steps, n in ((20, 80), (3000, 80), (3000, 50)):
        t = sorted(games.shown(steps, n))
        assert t[:5] == [0, 1, 2, 3, 4] and t[-1] == steps and len(t) <= n + 1
        assert np.diff(t)[0] == 1 and (steps < n or np.diff(t)[-2] > 50)


@pytest.mark.parametrize('moment, word', [
    ({'t': 0, 'V': -1.4}, 'Before'), ({'t': 9, 'V': -0.9}, 'D tells data from samples'),
    ({'t': 9, 'V': -1.6}, 'worse than a guess'), ({'t': 9, 'V': -1.39, 'covered': 0.85}, 'equilibrium'),
    ({'t': 9, 'V': -1.39, 'covered': 0.6}, 'do not have the shape')])
def test_words_follow_the_numbers_on_the_line(moment, word):
    assert word in games.line_words(moment)


@pytest.mark.parametrize('moment, word', [
    ({'t': 0}, 'Before'), ({'t': 9, 'V': -1.38, 'modes': 8, 'near': 0.9}, 'has found all eight'),
    ({'t': 9, 'V': -1.38, 'modes': 8, 'near': 0.3}, 'between them'),
    ({'t': 9, 'V': -1.6, 'modes': 3, 'near': 0.3}, 'worse than a guess'),
    ({'t': 9, 'V': -1.3, 'modes': 2, 'D': np.array([0.4, 0.6])}, 'learned little'),
    ({'t': 9, 'V': -1.3, 'modes': 2, 'D': np.array([0.1, 0.6])}, 'few places'),
    ({'t': 9, 'V': -1.3, 'modes': 5, 'D': np.array([0.1, 0.6])}, 'some of the modes')])
def test_words_follow_the_numbers_in_the_plane(moment, word):
    assert word in games.plane_words(moment)


def test_one_way_to_play_finds_the_modes_and_the_other_does_not():
    """What the page says of its two recordings, at a third of their length."""
    found = {name: [] for name in games.PLAYS}
    for name, settings in games.PLAYS.items():
        game = runs.plane_game(games.RING, 0, steps=1000, hidden=(64, 64), **settings)
        for _ in runs.watched(game, 1000, {600, 700, 800, 900, 1000}):
            samples = game.G(game.draw_z(game.streams.at('sample', 0), 1000))
            found[name].append(games.RING.measure(samples)['modes'])
    assert min(found['calm']) == 8 and max(found['restless']) < 8


def test_sections_are_recorded_with_one_thread(tmp_path, monkeypatch):
    seen = []

    def data(**settings):
        seen.append({library['num_threads'] for library in threadpool_info() if library['user_api'] == 'blas'})
        return {}
    monkeypatch.setattr(make, 'SECTIONS', {'games': data})
    with threadpool_limits(2, user_api='blas'):
        make.make(tmp_path / 'page.html')
    assert seen == [{1}]
