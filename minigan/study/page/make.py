"""One HTML file with everything in it: page.html, styles, scripts, and what each section records."""

import json
import re
from pathlib import Path

from minigan import __version__
from minigan.evaluation.progress import Progress
from minigan.storage.files import atomic_write
from minigan.study.page import algorithm, games, operations
from minigan.study.played import one_thread

SECTIONS = {  # name -> data(seed=, quick=), a dict for JSON; NAME.js shows it, NAME.css styles it
    'algorithm': algorithm.data, 'games': games.data, 'operations': operations.data}
FOLDER = Path(__file__).parent


def make(out, *, seed=0, quick=False):
    """Record all sections, and write the page. Returns its size in bytes.

    quick: record few steps, in seconds. Raises OSError, before it records, where out cannot be written.
    """
    if Path(out).is_dir():
        raise IsADirectoryError(f'{out}: expected a file to write, got a folder')
    with one_thread(), atomic_write(out, 'w', encoding='utf-8') as file:
        content = page(dict(recorded(seed=seed, quick=quick)))
        file.write(content)
    return len(content.encode())


def recorded(**settings):
    """Yield (name, data) of each section, and say on stderr which one is being recorded."""
    progress = Progress(quiet=False)
    for number, (name, data) in enumerate(SECTIONS.items(), 1):
        progress.say(f'recording {name} ({number} of {len(SECTIONS)})')
        yield name, data(**settings)


def page(recorded):
    """The HTML. recorded: name of a section -> its data."""
    names = ['page', *recorded]
    parts = {
        'version': __version__,
        'styles': '\n'.join(f'<style>\n{_source(f"{name}.css")}</style>' for name in names),
        'data': '\n'.join(f'<script type="application/json" id="{name}-data">{_json(data)}</script>'
                          for name, data in recorded.items()),
        'scripts': '\n'.join(f'<script>\n{_source(f"{name}.js")}</script>' for name in names)}
    return re.sub(r'\{\{(\w+)\}\}', lambda match: parts[match[1]], _source('page.html'))


def _source(name):
    return (FOLDER / name).read_text(encoding='utf-8')


def _json(data):
    """JSON in which no text can end the script element that it stands in."""
    return json.dumps(data, allow_nan=False, separators=(',', ':')).replace('<', '\\u003c')
