"""The installed source of functions, with colours for a page, and the words of their docstrings."""

import ast
import inspect
import io
import keyword
import re
import tokenize
from dataclasses import dataclass
from html import escape
from pathlib import Path

CLASSES = {tokenize.COMMENT: 'comment', tokenize.STRING: 'string', tokenize.NUMBER: 'number'}
EQUATION = re.compile(r'[\w(|][^ ]* [=+*]|\d')  # how the part of a one-line docstring that is an equation begins


@dataclass(frozen=True)
class Function:
    """A function of a module: where it stands, its code without decorators and docstring, and the docstring."""

    name: str
    file: str
    number: int
    code: str
    doc: str

    def as_dict(self):
        """For a page: the code as HTML, and the docstring's words."""
        return {'name': self.name, 'place': f'{self.file}:{self.number}', 'words': words(self.doc),
                'code': '\n'.join(highlighted(self.code))}


def functions(module, of=None):
    """name -> Function of a module, or of its class of that name, in the order of the source."""
    source = inspect.getsource(module)
    tree = ast.parse(source)
    if of:
        tree = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == of)
    file, lines = Path(inspect.getsourcefile(module)).name, source.splitlines()
    return {node.name: _function(node, file, lines) for node in tree.body if isinstance(node, ast.FunctionDef)}


def _function(node, file, lines):
    numbers, doc = range(node.lineno, node.end_lineno + 1), ast.get_docstring(node, clean=False) or ''
    if doc:
        numbers = [n for n in numbers if not node.body[0].lineno <= n <= node.body[0].end_lineno]
    code = '\n'.join(lines[n - 1][node.col_offset:] for n in numbers)
    doc = '\n'.join(line.removeprefix('    ') for line in doc.splitlines())
    return Function(node.name, file, node.lineno, code, doc)


def words(doc):
    """A docstring without its equations: those are its indented lines, and what follows three spaces."""
    kept = [line for line in doc.splitlines() if not line.startswith(' ')]
    parts = [part.strip() for part in '\n'.join(kept).split('   ')]
    shown = ' '.join(part[:1].upper() + part[1:] for part in parts if not EQUATION.match(part))
    return re.sub(r'\s+', ' ', shown).strip()


def highlighted(code):
    """The lines of complete code as HTML: keywords, strings, numbers and comments in spans."""
    lines = code.splitlines()
    marks = {n: [] for n in range(1, len(lines) + 1)}
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        kind = CLASSES.get(token.type) or ('keyword' if keyword.iskeyword(token.string) else '')
        if kind and token.start[0] == token.end[0]:
            marks[token.start[0]].append((token.start[1], token.end[1], kind))
    return [_marked(line, marks[n]) for n, line in enumerate(lines, 1)]


def _marked(line, marks):
    """A line in which each (start, end, class) is a span."""
    html, at = '', 0
    for start, end, kind in marks:
        html += f'{plain(line[at:start])}<span class="{kind}">{plain(line[start:end])}</span>'
        at = end
    return html + plain(line[at:])


def plain(text):
    """Text as HTML."""
    return escape(text, quote=False)
