"""Every README: programs print what they say; commands, links, files and headings exist; numbers are in the tables."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import bench_changes
import pytest

from minigan import Game
from minigan.cli.options import parser

ROOT = Path(__file__).parents[2]
SKIPPED = {'build', 'mutants', 'runs'}  # and what begins with a dot


def readmes():
    """path from the root -> text."""
    paths = [path.relative_to(ROOT) for path in ROOT.rglob('README.md')]
    return {path.as_posix(): (ROOT / path).read_text(encoding='utf-8') for path in sorted(paths)
            if not any(part in SKIPPED or part.startswith('.') for part in path.parts)}


def blocks(text, language):
    """The code blocks in one language."""
    return re.findall(rf'^```{language}\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)


def table(text, first):
    """row -> column -> cell, of the table whose first column is called `first`."""
    lines = text[text.index(f'| {first} |'):].split('\n\n')[0].splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip('|').split('|')] for line in lines if line.startswith('|'))
    return {row[0]: dict(zip(head[1:], row[1:])) for row in rows}


def anchors(text):
    """The headings, as GitHub links to them."""
    headings = re.findall(r'^#+ (.*)$', re.sub(r'^```.*?^```$', '', text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-') for heading in headings}


READMES = readmes()
README, BENCH, CHECKS = (READMES[path] for path in ('README.md', 'bench/README.md', 'minigan/checks/README.md'))
PROGRAMS = [(path, program) for path, text in READMES.items() for program in blocks(text, 'python')]
SWISH = next(program for _, program in PROGRAMS if 'class Swish' in program)


@pytest.mark.parametrize('program', [program for _, program in PROGRAMS], ids=[path for path, _ in PROGRAMS])
def test_a_program_prints_what_its_comments_say(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = re.findall(r'^print\(.*?\) +# (.*)$', program, re.MULTILINE)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(program, {})
    printed = output.getvalue().splitlines()
    assert len(expected) == 2
    for line, says in zip(printed, expected):
        assert line == says or says == 'both numbers, the error and the worst entry' and 'expected' in line


def test_the_programs_about_layers_and_functions_do_what_the_text_says():
    laws, layers, function = blocks(CHECKS, 'py')
    names = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(SWISH, names)
    exec(laws, names)
    names['test_leaky_relu']()
    with pytest.raises(AssertionError, match=r'1\.Swish\.a .* wrong'):
        names['test_swish']()
    exec(layers, {})
    exec(function, {})
    assert 'gradcheck(block' in layers and 'check(lambda' in function


def test_every_minigan_command_is_one_that_the_program_knows():
    commands = re.findall(r'`minigan ([^`]*)`', ' '.join(READMES.values()))
    assert {command.split()[0] for command in commands} == {
        'train', 'sample', 'interpolate', 'evaluate', 'inspect', 'gradcheck', 'trace', 'study', 'exercise', 'theory',
        'selftest',
        'kernelcheck', 'translate', 'search'}
    for command in commands:
        if '--help' not in command:
            parser().parse_args(shlex.split(command))


def test_the_lines_of_algorithm_1_are_the_codes():
    code = (ROOT / 'minigan' / 'gan.py').read_text()
    lines = re.findall(r'\| `([^`]*self\.[^`]*)` \|', README)
    assert len(lines) == 6 and hasattr(Game, 'alternating')
    for line in lines:
        assert line in code


def test_the_first_page_is_short_and_has_two_commands_to_paste():
    assert len(README.splitlines()) <= 180
    assert [len(block.splitlines()) for block in blocks(README, 'sh')] == [1, 1]  # and so .ci/run finds two


@pytest.mark.parametrize('path', READMES)
def test_every_link_leads_to_a_file_and_to_a_heading_of_it(path):
    folder = (ROOT / path).parent
    for link in re.findall(r'\]\((?!https?:)([^)]*)\)', READMES[path]):
        target, _, anchor = link.partition('#')
        file = (folder / target).resolve() if target else ROOT / path
        assert file.exists(), link
        assert not anchor or anchor in anchors(file.read_text(encoding='utf-8')), link


@pytest.mark.parametrize('path', READMES)
def test_every_file_that_is_named_exists(path):
    """In the README's own folder, or in a folder above it. A name in capitals stands for a file of the reader's."""
    text, folder = re.sub(r'\[[^]]*\]\([^)]*\)', '', READMES[path]), (ROOT / path).parent
    around = [one for one in (folder, *folder.parents) if one.is_relative_to(ROOT)]
    files = [name for name in re.findall(r'[\w./-]+\.(?:py|cu|h|cfg)\b', text) if not Path(name).stem.isupper()]
    files += re.findall(r'(?<![\w./])(?:minigan|tests|bench)/[\w./-]*\w', text)
    for name in files:
        assert any((one / name).exists() for one in around), name


def test_the_numbers_on_the_first_page_are_those_of_the_tables():
    chosen, measured = table(README, ''), table(BENCH, '')
    assert len(chosen) == 5
    for name, row in chosen.items():
        assert row == {column: measured[name][column] for column in row}
    steps = table(BENCH, 'threads, batch')
    for name in ('JAX jit', 'Keras tf.function', 'PyTorch fused Adam'):
        ratios = sorted(steps[name].values(), key=float)
        assert f'{ratios[0]} to {ratios[-1]}' in README.replace('\n', ' ')


def test_every_marked_table_belongs_to_a_benchmark():
    begun, ended = (re.findall(rf'^<!-- {slash}(\w+) -->$', BENCH, re.MULTILINE) for slash in ('', '/'))
    assert begun == ended and len(begun) == len(set(begun)) >= 6
    commands = {path.stem for path in (ROOT / 'bench').glob('bench_*.py')}
    assert all(name in commands or name.rsplit('_', 1)[0] in commands for name in begun)  # bench_step_dcgan
    assert not any('<!--' in text for path, text in READMES.items() if path != 'bench/README.md')


def test_the_table_of_changes_has_the_changes():
    assert list(table(BENCH, 'change, on top of the ones above')) == [
        *(name for name, _ in bench_changes.changes()), 'real training images']
