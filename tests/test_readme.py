"""The README's programs run and print what it says; its commands, tables and files exist."""

import ast
import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from minigan import Game
from minigan.cli import _parser
from minigan.training.config import Config
from minigan.training.run import train

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text()
PROGRAMS = re.findall(r'```python\n(.*?)```', README, re.DOTALL)


@pytest.mark.parametrize('program', PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_prints_what_its_comments_say(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if 'runs/digits-default' in program:  # what the first command leaves
        train(Config(epochs=1), quiet=True)
    expected = re.findall(r'^print\(.*?\) +# (.*)$', program, re.MULTILINE)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(program, {})
    printed = output.getvalue().splitlines()
    assert len(expected) == 2
    for line, says in zip(printed, expected):
        assert line == says or says == 'both numbers, the error and the worst entry' and 'expected' in line


def test_the_other_programs_about_layers_do_what_the_text_says():
    program = next(program for program in PROGRAMS if 'class Swish' in program)
    others = re.findall(r'```py\n(.*?)```', README[README.index('## Check a layer'):], re.DOTALL)
    laws, blocks, function = others[:3]
    names = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(program, names)
    exec(laws, names)
    names['test_leaky_relu']()
    with pytest.raises(AssertionError, match=r'1\.Swish\.a .* wrong'):
        names['test_swish']()
    exec(blocks, names)
    exec(function, names)
    assert names['block'].layers and 'check(lambda' in function


def test_every_minigan_command_is_one_that_the_program_knows():
    commands = re.findall(r'`minigan ([^`]*)`', README)
    assert len(commands) > 12 and {'train', 'sample', 'interpolate', 'inspect'} < {one.split()[0] for one in commands}
    for command in commands:
        if '--help' not in command:
            _parser().parse_args(shlex.split(command))


def test_the_lines_of_algorithm_1_are_the_codes():
    code = (ROOT / 'minigan' / 'gan.py').read_text()
    lines = re.findall(r'\| `([^`]*self\.[^`]*)` \|', README)
    assert len(lines) == 6 and hasattr(Game, 'alternating')
    for line in lines:
        assert line in code


def test_each_file_imports_only_from_those_before_it():
    table = README[README.index('from the bottom up'):README.index('## Check a layer')]
    order = [*re.findall(r'`(\w+)\.py`', table), '__main__']
    assert sorted([*order, '__init__']) == sorted(path.stem for path in (ROOT / 'minigan').glob('*.py'))
    for module in order:
        tree = ast.parse((ROOT / 'minigan' / f'{module}.py').read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.split('.')[0] == 'minigan':
                names = node.module.split('.')[1:] or [alias.name for alias in node.names]
                for name in names:
                    assert order.index(name) < order.index(module), f'{module} imports {name}'


def test_every_file_that_is_named_exists():
    files = re.findall(r'\]\((?!http|#)([^)]*)\)', README) + re.findall(r'(?:bench|tests)/\w+\.py', README)
    files += [f'minigan/{name}' for name in re.findall(r'`(\w+\.py)`', README)]
    assert len(files) > 10
    for name in files:
        assert (ROOT / name).exists(), name
