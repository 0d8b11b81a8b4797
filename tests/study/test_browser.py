"""The page in a real browser: each check returns what is wrong, and a planted fault shows that it can fail."""

import json
import re
from copy import deepcopy

import numpy as np
import pytest
from support.browser import chromium, missing, requested, show

from minigan.study.page import games, make
from minigan.study.page.arrays import packed

LEFT, RIGHT, ESCAPE = '\ue012', '\ue014', '\ue00c'  # as WebDriver names the keys
PICTURES = 'return [...players[arguments[0]].box.closest("section").querySelectorAll("canvas")].map(c => c.toDataURL())'
CONTROLS = {'button', 'link', 'slider', 'checkbox', 'combobox', 'radio', 'image', 'DisclosureTriangle', 'dialog'}
BREAK = json.dumps('</math><wbr><math displaystyle="true">').strip('"').replace('<', '\\u003c')  # within a formula


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """A page of few steps."""
    path = tmp_path_factory.mktemp('page') / 'study.html'
    make.make(path, quick=True)
    return path


@pytest.fixture(scope='module')
def recorded_games():
    """The data of the section on games."""
    return games.data(seed=0, quick=True)


@pytest.fixture(scope='module')
def games_alone(recorded_games):
    """The HTML of a page with one section, which loads quickly."""
    return make.page({'games': recorded_games})


@pytest.fixture(scope='module')
def driver(tmp_path_factory):
    """One browser for all tests."""
    if reason := missing():
        pytest.skip(reason)
    with chromium(tmp_path_factory.mktemp('profile')) as driver:
        yield driver


def press(driver, *keys, on=None):
    from selenium.webdriver import ActionChains
    if on is None:
        driver.execute_script('document.activeElement.blur()')
    else:
        driver.execute_script('arguments[0].focus()', on)
    ActionChains(driver).send_keys(*keys).perform()


def players(driver):
    """(its number, slider, play button) of each player, scrolled to the middle."""
    for i in range(driver.execute_script('return players.length')):
        box = driver.execute_script('players[arguments[0]].box.scrollIntoView({block: "center", behavior: "instant"});'
                                    'return players[arguments[0]].box', i)
        yield i, box.find_element('css selector', 'input'), box.find_element('css selector', '.play')


def console(driver, page):
    """Errors and warnings on the console, and addresses that the page asks for."""
    show(driver, page)
    for i, slider, _ in players(driver):
        press(driver, RIGHT, on=slider)
    wrong = [entry['message'] for entry in driver.get_log('browser') if entry['level'] in ('WARNING', 'SEVERE')]
    return wrong + [f'asks for {url}' for url in requested(driver) if not url.startswith((page.as_uri(), 'data:'))]


def keys_move(driver, page):
    """Arrow keys move each slider, with the focus on it or on nothing, and change its step and its pictures."""
    show(driver, page)
    wrong = [] if driver.execute_script('return players.length') else ['no players']
    for i, slider, _ in players(driver):
        for on, key, by in ((slider, RIGHT, 1), (None, RIGHT, 1), (None, LEFT, -1), (slider, LEFT, -1)):
            def state():
                text = driver.execute_script('return players[arguments[0]].box.querySelector("output").textContent', i)
                return int(slider.get_property('value')), text, driver.execute_script(PICTURES, i)
            (value, text, pictures), _, (now, text_now, pictures_now) = state(), press(driver, key, on=on), state()
            if now != value + by:
                wrong.append(f'player {i}: {value} became {now}')
            if text == text_now or slider.get_attribute('aria-valuetext') != text_now:
                wrong.append(f'player {i}: still says {text}')
            if pictures == pictures_now:
                wrong.append(f'player {i}: the pictures are still the same')
    code = driver.execute_script(
        'const code = document.querySelector("main").appendChild(document.createElement("pre"));'
        'code.tabIndex = 0; code.textContent = "x".repeat(999); return code')
    before = [slider.get_property('value') for _, slider, _ in players(driver)]
    press(driver, RIGHT, on=code)
    if before != [slider.get_property('value') for _, slider, _ in players(driver)]:
        wrong.append('code that is too wide does not scroll, but a player moves')
    return wrong


def plays(driver, page):
    """Space and the button play and pause."""
    show(driver, page)

    def moves(slider, seconds):
        """Whether a player moves by itself within some seconds."""
        before = slider.get_property('value')
        return driver.execute_async_script("""
            const [slider, before, seconds, done] = arguments, begin = Date.now();
            const timer = setInterval(() => {
              if (slider.value === before && Date.now() - begin < 1000 * seconds) return;
              clearInterval(timer);
              done(slider.value !== before);
            }, 10);""", slider, before, seconds)
    for i, slider, button in players(driver):
        for name, change in (('Space', lambda: press(driver, ' ')), ('the button', button.click)):
            driver.execute_script('const {box, go} = players[arguments[0]];'
                                  'box.querySelector("select").selectedIndex = 2; go(0)', i)
            for word, moving in (('Pause', True), ('Play', False)):
                change()
                if button.text != word or word not in button.get_attribute('aria-label') or (
                        moves(slider, 5 if moving else 0.5) != moving):
                    return [f'player {i}, {name}: says {button.text} instead of {word}, or does something else']
    return []


def themes(driver, page):
    """The theme follows the system, and the button and the key change it in both directions, canvases included."""
    from selenium.webdriver.support.color import Color
    wrong = []

    def paper():
        found = Color.from_string(driver.find_element('tag name', 'body').value_of_css_property('background-color'))
        return 'light' if sum((found.red, found.green, found.blue)) > 384 else 'dark'
    for system, other in (('light', 'dark'), ('dark', 'light')):
        show(driver, page, prefers_color_scheme=system)
        toggle = driver.find_element('id', 'theme').click
        for change, expected in ((lambda: None, system), (toggle, other), (toggle, system), (
                lambda: press(driver, 't'), other)):
            before = driver.execute_script(PICTURES, 0)
            change()
            if paper() != expected:
                wrong.append(f'expected {expected}')
            label = driver.find_element('id', 'theme').get_attribute('aria-label')
            if label != ('Light theme' if expected == 'dark' else 'Dark theme'):
                wrong.append(f'{expected}: the button says {label}')
            if change is toggle and before == driver.execute_script(PICTURES, 0):
                wrong.append('the pictures keep their colours')
    return wrong


def remembers(driver, page):
    """A theme that was chosen is there after a reload; nobody who has not chosen gets it."""
    show(driver, page, prefers_color_scheme='light')
    wrong = [] if 'Dark' == driver.find_element('id', 'theme').text else ['dark before it was chosen']
    driver.find_element('id', 'theme').click()
    driver.refresh()
    return wrong + ([] if 'Light' == driver.find_element('id', 'theme').text else ['light after a reload'])


def whole(driver, page):
    """A phone shows Algorithm 1 whole. Elsewhere a shade marks the edge behind which something is hidden."""
    show(driver, page, width=360, height=740)
    return driver.execute_script('''
        document.querySelectorAll('details').forEach((details) => { details.open = true; });
        const wide = [...document.querySelectorAll('main *')].filter((e) =>
            getComputedStyle(e).overflowX !== 'visible' && e.clientWidth && e.scrollWidth > e.clientWidth + 1);
        const hidden = wide.filter((e) => e.closest('#algorithm') ||
            !getComputedStyle(e).backgroundAttachment.includes('local'));
        const broken = [...document.querySelectorAll('.whole, .layers th a')].filter(
            (e) => e.getClientRects().length > 1);
        const middle = (e) => { const {top, bottom} = e.getBoundingClientRect(); return (top + bottom) / 2; };
        const far = players.filter(({box}) =>
            Math.abs(middle(box.querySelector('input')) - middle(box.querySelector('output'))) > 8);
        const empty = [...document.querySelectorAll('.layers td')].filter((e) => !e.textContent && !e.firstElementChild
            && e.getClientRects().length);
        const ratios = [...document.querySelectorAll('.layers')].map((table) => [...table.querySelectorAll('.bar span')]
            .filter((e) => e.offsetWidth > 15).map((e) => e.offsetWidth / e.parentNode.nextSibling.textContent));
        const uneven = ratios.filter((of) => of.length && Math.max(...of) > 1.2 * Math.min(...of));
        const keys = [...document.querySelectorAll('.keyed')].filter((e) => e.getClientRects().length);
        return [...hidden.map((e) => `hidden: ${e.className} ${e.textContent.slice(0, 40)}`),
                ...broken.map((e) => `on two lines: ${e.textContent}`),
                ...far.map(({box}) => `the step stands below the slider: ${box.ariaLabel}`),
                ...empty.map((e) => `says nothing: ${e.dataset.head}`),
                ...uneven.map(() => 'bars that are not as long as their numbers are large'),
                ...keys.map((e) => `speaks of keys: ${e.textContent}`),
                ...(wide.length ? [] : ['nothing is wide'])];''')


def shapes(driver, page):
    """The row of each update shows its shapes while all details are closed, and each distribution its ends."""
    show(driver, page)
    text = driver.execute_script('''
        return [...document.querySelectorAll('.line')].map((e) => e.innerText.replace(/\\t/g, ' '));''')
    of_D, of_G = (next((row for row in text if name in row), '') for name in ('self.update_D', 'self.update_G'))
    expected = [(of_D, line) for line in (
        'm = 50, n = 64, n_z = 100', 'x (m, n) = 50×64', 'z (m, n_z) = 50×100', 'samples (m, n) = 50×64',
        'stack(x, samples) (2m, n) = 100×64', 'logits (2m, 1) = 100×1', 'real, fake (m, 1) = 50×1',
        'dlogits (2m, 1) = 100×1')] + [(of_G, line) for line in (
            'samples (m, n) = 50×64', 'fake (m, 1) = 50×1', 'dlogits (m, 1) = 50×1', 'dsamples (m, n) = 50×64')]
    ends = driver.execute_script("""
        return [...document.querySelectorAll('.spark')].map(
            (e) => [...e.querySelectorAll('span')].map((s) => s.textContent));""")
    return [line for row, line in expected if line not in row] + [
        f'an axis with {end}' for end in ends or [[]] if len(end) != 2 or not all(re.match(r'−?\d', x) for x in end)]


def adam(driver, page):
    """What Adam's first step does is said at step 0 alone, and the rate's rise at each step."""
    show(driver, page)
    said = driver.execute_script('''
        return [0, 1].map((i) => { players[0].go(i); return document.getElementById('algorithm').innerText; });''')
    return [f'step {t}' for t, text in enumerate(said)
            if ('moves each by about one rate' in text) != (t == 0) or text.count('(it rises to ') != 2
            or f'--step {t}' not in text]


def copies(driver, page):
    """A test that catches a planted bug can be copied: its name is that of a function."""
    show(driver, page)
    names = driver.execute_script("return [...document.querySelectorAll('.bugs p code')].map((e) => e.textContent)")
    return [name for name in names or ['none'] if not re.fullmatch(r'test_\w+', name)]


def fits(driver, page):
    """Nothing makes the page wider than a phone."""
    show(driver, page, width=360, height=740)
    return driver.execute_script('''
        document.querySelectorAll('details').forEach((details) => { details.open = true; });
        const width = document.documentElement.clientWidth;
        const inside = (e) => e.closest('pre, .scroll, math, .skip');
        const wide = [...document.querySelectorAll('body *')]
            .filter((e) => !inside(e) && e.getBoundingClientRect().right > width + 1)
            .map((e) => `${e.tagName} ${e.className} ends at ${e.getBoundingClientRect().right}`);
        const scrolls = document.documentElement.scrollWidth > width ? ['the page scrolls sideways'] : [];
        return [...scrolls, ...wide.slice(0, 5)];''')


def named(driver, page):
    """Every control and picture has a name for a screen reader."""
    show(driver, page)
    nodes = driver.execute_cdp_cmd('Accessibility.getFullAXTree', {})['nodes']
    found = [(node['role']['value'], node.get('name', {}).get('value', '')) for node in nodes if not node['ignored']]
    controls = [(role, name) for role, name in found if role in CONTROLS]
    return [f'{role} without a name' for role, name in controls if not name.strip()] + (
        ['no controls found'] if {'slider', 'button', 'image'} - {role for role, _ in controls} else [])


def links(driver, page):
    """Links within the page lead to something on it; what has an id has it alone."""
    show(driver, page)
    return driver.execute_script('''
        const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
        const twice = ids.filter((id, i) => ids.indexOf(id) !== i).map((id) => `two ${id}`);
        const to = [...document.querySelectorAll('a')].map((a) => a.getAttribute('href'));
        return [...twice, ...to.filter((href) => !href.startsWith('https://')
            && !(href.startsWith('#') && ids.includes(href.slice(1))))];''')


def helps(driver, page):
    """? shows the keys and Esc closes them; the list opens with the focus in it."""
    show(driver, page)
    dialog, wrong = driver.find_element('id', 'keys'), []
    press(driver, '?')
    if not dialog.is_displayed():
        wrong.append('? shows nothing')
    elif not driver.execute_script('return arguments[0].contains(document.activeElement)', dialog):
        wrong.append('the focus is elsewhere')
    press(driver, ESCAPE, on=driver.switch_to.active_element)
    return wrong + (['Esc does not close'] if dialog.is_displayed() else [])


def rests(driver, page):
    """With prefers-reduced-motion nothing moves by itself, nor does the page glide; without WebGL all works."""
    show(driver, page, prefers_reduced_motion='reduce')
    return driver.execute_script('''
        const all = [...document.querySelectorAll('*')].map((e) => getComputedStyle(e));
        return [...document.getAnimations().map((a) => 'an animation'),
                ...all.filter((s) => s.scrollBehavior === 'smooth').map(() => 'the page glides'),
                ...all.filter((s) => parseFloat(s.transitionDuration) > 0).map(() => 'a transition'),
                ...(document.createElement('canvas').getContext('webgl') ? ['this browser has WebGL'] : [])];''')


CHECKS = (console, keys_move, plays, themes, remembers, fits, named, links, helps, rests)
OF_ALGORITHM = (whole, shapes, adam, copies)  # they need all sections


@pytest.mark.parametrize('check', CHECKS + OF_ALGORITHM, ids=lambda check: check.__name__)
def test_the_page_passes(check, driver, page):
    assert check(driver, page) == []


@pytest.mark.parametrize('check, old, new', [
    (console, 'function start() {', 'function start() {\nconsole.warn("a warning");'),
    (console, 'function start() {', 'function start() {\nundefined.x;'),
    (console, 'function start() {', 'function start() {\nnew Image().src = "https://example.org/x.png";'),
    (console, 'function start() {', 'function start() {\neval("1");'),
    (keys_move, ' && !scrolls(target)', ''),
    (keys_move, 'const arrow = {ArrowLeft: -1, ArrowRight: 1}', 'const arrow = {ArrowLeft: 1, ArrowRight: -1}'),
    (keys_move, 'output.textContent = names[now];', ''),
    (keys_move, '    show(now);', '    show(0);'),
    (keys_move, 'oninput: () => { pause(); go(Number(slider.value)); }', 'oninput: () => {}'),
    (plays, "key === ' ' &&", "key === 'Enter' &&"),
    (plays, '      go(now + 1);', '      go(now);'),
    (plays, '    clearInterval(timer);', ''),
    (themes, "chosen = isDark() ? 'light' : 'dark';", "chosen = 'dark';"),
    (remembers, "localStorage.setItem('theme', chosen);", ''),
    (remembers, "localStorage.getItem('theme')", "'dark'"),
    (themes, 'redraws.forEach((redraw) => redraw());', ''),
    (themes, 'color-scheme: light dark;', 'color-scheme: light;'),
    (fits, '<main id="content">', '<main id="content"><p style="width: 30rem">wide</p>'),
    (fits, 'canvas { display: block; width: 100%; }', 'canvas { display: block; width: 30rem; }'),
    (named, "'aria-label': `${label}: step`,", ''),
    (named, '>Keys</button>', '></button>'),
    (named, "{role: 'img', 'aria-label': label}", "{role: 'img'}"),
    (links, '<h2 id="games-heading">', '<h2 id="games">'),
    (links, '<h3 id="line">', '<h3 id="plane">'),
    (helps, "if (key === '?' && !typed) openKeys();", 'if (false) {}'),
    (helps, '.showModal();', '.show();'),
    (rests, '(prefers-reduced-motion: no-preference)', '(min-width: 0)')])
def test_a_planted_fault_is_found(check, old, new, driver, games_alone, tmp_path):
    assert old in games_alone
    planted = tmp_path / 'planted.html'
    planted.write_text(games_alone.replace(old, new, 1), encoding='utf-8')
    assert check(driver, planted)


@pytest.mark.parametrize('check, old, new', [
    (whole, '.formula math { font-size: 0.9375em; }', ''),
    (whole, BREAK, ''),
    (whole, '.layers tr { display: flex;', '.layers tr { display: table-row;'),
    (whole, 'white-space: pre-wrap; overflow-wrap: anywhere;', ''),
    (whole, 'no-repeat local', 'no-repeat scroll'),
    (whole, '.layers td:empty { display: none; }', ''),
    (whole, '${100 * call.values[now].dy / top()}%', '${50 + call.values[now].dy}%'),
    (whole, '.whole { white-space: nowrap; }', ''),
    (whole, '  .player output { min-width: 0; }', '  .player output { min-width: 100%; }'),
    (whole, ', (max-width: 40rem) { .keyed', ' { .keyed'),
    (shapes, 'said.append(flow(node));', ''),
    (shapes, '<span>${digits(largest, 2)}</span>', ''),
    (adam, 'data.steps[now] === 0 ?', 'true ?'),
    (adam, '(it rises to', '('),
    (copies, "element('wbr')", "' '")])
def test_a_planted_fault_in_Algorithm_1_is_found(check, old, new, driver, page, tmp_path):
    text, planted = page.read_text(encoding='utf-8'), tmp_path / 'planted.html'
    assert old in text
    planted.write_text(text.replace(old, new), encoding='utf-8')
    assert check(driver, planted)


@pytest.mark.parametrize('old, new', [
    ('sections.games = (root, data) => {', 'sections.games = (root, data) => {\nundefined.x;'),
    ('sections.games = ', 'sections.games = ('), ('sections.games = ', 'sections.other = ')])
def test_a_section_that_fails_says_so_and_stops_no_other(old, new, driver, page, tmp_path):
    text = page.read_text(encoding='utf-8')
    assert text.count(old) == 1
    (tmp_path / 'failing.html').write_text(text.replace(old, new), encoding='utf-8')
    show(driver, tmp_path / 'failing.html', prefers_color_scheme='light')
    assert any(entry['level'] == 'SEVERE' for entry in driver.get_log('browser'))
    failed = driver.find_elements('css selector', '.failed')
    assert [e.text.partition(': ')[0] for e in failed] == ['This section could not be shown']
    assert driver.execute_script('return document.querySelector(".failed").closest("section").id') == 'games'
    assert len(driver.find_elements('css selector', '#operations .operation')) > 20
    driver.find_element('id', 'theme').click()
    assert driver.find_element('id', 'theme').text == 'Light'


@pytest.mark.parametrize('move, drawn', [(0.03, False), (0.5, True)])
def test_an_arrow_too_short_to_have_a_direction_is_not_drawn(move, drawn, driver, recorded_games, tmp_path):
    line = recorded_games['line']
    moves = packed(np.full(line['moves']['shape'], move), bits=16, low=-1, high=1)
    (tmp_path / 'games.html').write_text(make.page({'games': {**recorded_games, 'line': {**line, 'moves': moves}}}),
                                         encoding='utf-8')
    show(driver, tmp_path / 'games.html')
    before, after = driver.execute_script("""
        const figure = document.getElementById('line-figure');
        const pixels = () => figure.querySelector('canvas').toDataURL();
        const shown = pixels();
        figure.querySelectorAll('[type=checkbox]')[4].click();
        return [shown, pixels()];""")
    assert (before != after) == drawn


def test_without_a_planted_fault_none_is_found(driver, games_alone, tmp_path):
    (tmp_path / 'games.html').write_text(games_alone, encoding='utf-8')
    others = [check for check in CHECKS if check is not plays]
    assert [check(driver, tmp_path / 'games.html') for check in others] == [[]] * len(others)


@pytest.mark.parametrize('bits', [8, 16])
def test_packed_arrays_are_decoded(bits, driver, games_alone, tmp_path):
    (tmp_path / 'games.html').write_text(games_alone, encoding='utf-8')
    show(driver, tmp_path / 'games.html')
    x = np.random.default_rng(0).normal(size=(3, 2, 4))
    script = 'const d = decode(arguments[0]); return [[...d.values], [...d.at(1)], d.shape]'
    values, second, shape = driver.execute_script(script, json.loads(json.dumps(packed(x, bits=bits))))
    np.testing.assert_allclose(values, x.ravel(), atol=np.ptp(x) / 2**bits)
    np.testing.assert_allclose(second, x[1].ravel(), atol=np.ptp(x) / 2**bits)
    assert shape == [3, 2, 4]


def test_the_plane_shows_D_and_samples_at_their_places(driver, recorded_games, tmp_path):
    """D grows to the right and to the top, and all samples lie at (1, 0.5)."""
    recorded = deepcopy(recorded_games)
    play, n = recorded['plane']['plays']['calm'], len(recorded['plane']['plays']['calm']['t'])
    play['D'] = packed(np.tile((games.PLANE @ (0.2, 0.1) + 0.5)[None, :, None], (n, 1, 1)))
    play['samples'] = packed(np.tile([1, 0.5], (n, 300, 1)), bits=16, low=-4, high=4)
    (tmp_path / 'games.html').write_text(make.page({'games': recorded}), encoding='utf-8')
    show(driver, tmp_path / 'games.html')
    found = driver.execute_script("""
        const figure = document.getElementById('plane-figure'), canvas = figure.querySelector('canvas');
        const boxes = figure.querySelectorAll('[type=checkbox]');
        boxes[0].click();
        boxes[2].click();
        const at = (x, y) => [...canvas.getContext('2d').getImageData(x * canvas.width, y * canvas.height, 1, 1).data];
        const shade = shades('--low', '--middle', '--high');
        return [[at(0.005, 0.005), at(0.995, 0.005), at(0.005, 0.995), at(0.995, 0.995)],
                [0.34, 0.98, 0.02, 0.66].map(shade), at(2.6 / 3.2, 1.1 / 3.2), channels('--samples'),
                [0, 0.125, 0.5, 1].map(shade), ['--low', '--middle', '--high'].map(channels)];""")
    corners, expected, dot, green, shades, (low, middle, high) = map(np.array, found)
    np.testing.assert_allclose(shades, [low, 0.75 * low + 0.25 * middle, middle, high], atol=1)
    np.testing.assert_allclose(corners[:, :3], expected, atol=3)
    np.testing.assert_allclose(dot[:3], green, atol=3)
