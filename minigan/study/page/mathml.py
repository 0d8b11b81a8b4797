"""Formulas as MathML, which browsers typeset without a library, from a notation like TeX's without backslashes.

MathML does not break lines. So a formula is several elements, between which a browser may break the line.

    W^T  x_i  sum_{i=1}^m              scripts; braces group and are not shown
    frac{a}{b}  sqrt{a}  hat{x}        a fraction, a root, a hat
    under{a}{b}                        a with a brace and b below it
    cases{a & b; c & d}                a brace before rows;  rows{a; b}: rows in brackets
    theta  dtheta  .*  <-  ...         names and signs in the tables below
    "words"                            text
"""

import re
from html import escape

TOKEN = re.compile(r'"[^"]*"|[A-Za-z]+|[0-9]+(?:[.,][0-9]+)*|<-|\.\*|\.\.\.|\S')
GREEK = {'gamma': 'γ', 'beta': 'β', 'mu': 'μ', 'eps': 'ε', 'theta': 'θ', 'eta': 'η'}
SIGNS = {'-': '−', '*': '·', '.*': '⊙', '<-': '←', '...': '…', '~': '∼'}
FUNCTIONS = {'log', 'max', 'min', 'tanh', 'sigmoid', 'softplus'}
DERIVATIVE = re.compile(f'd([A-Za-z]|{"|".join(GREEK)})')  # dx, dgamma: one name of the code
BELOW = {'sum', 'max', 'min'}  # their scripts stand below and above
TAKES = {'frac': 2, 'sqrt': 1, 'hat': 1, 'under': 2}  # how many {groups} follow
TABLES = {'cases': ('{', ''), 'rows': ('[', ']')}  # the fences around
NO_BREAK = '\u00a0'  # MathML drops other spaces at the ends of a text
CLOSING = {'(': ')', '[': ']'}
SPLITS = {'=', '+', '-', '<-'}  # a line may break before one that is in no brackets, and after such a comma
ENDS = (*CLOSING.values(), '}', '&', ';')  # what no row goes beyond


def formula(text):
    """<math>s of a formula in the notation above. Raises ValueError for braces or brackets that do not match."""
    lines, before = [''], ','
    for name, element in _elements(TOKEN.findall(text), (), text):
        if name in SPLITS and before not in {*SPLITS, ','}:
            lines.append('')
            element = element.replace('<mo>', '<mo form="infix">', 1)  # at the beginning it would be a sign
        elif before == ',' and lines[-1]:
            lines.append('')
        lines[-1] += element
        before = name
    return '<wbr>'.join(f'<math displaystyle="true">{line}</math>' for line in lines)


def _row(tokens, ends, text):
    """The elements up to one of the tokens that may end them."""
    return ''.join(element for _, element in _elements(tokens, ends, text))


def _elements(tokens, ends, text):
    """[(first token, element with its scripts)] up to one of the tokens that may end them."""
    elements = []
    while tokens and tokens[0] not in ENDS:
        name = tokens[0]
        space = '<mspace width="0.17em"></mspace>' if elements and _apart(elements[-1][0], name) else ''
        elements.append((name, space + _scripts(name, _atom(tokens, text), tokens, text)))
    if (tokens[0] if tokens else '') not in (ends or ('',)):
        got = tokens[0] if tokens else 'the end'
        raise ValueError(f'formula: expected {" or ".join(ends) or "the end"}, got {got} of {text!r}')
    return elements


def _apart(before, name):
    """Whether a thin space belongs between two neighbours: around names of several letters, as in log x and dy W."""
    if not (before[0].isalnum() and (name[0].isalnum() or name == '(' and before not in FUNCTIONS)):
        return False
    return any(word in FUNCTIONS or DERIVATIVE.fullmatch(word) for word in (before, name))


def _group(tokens, text):
    """What stands in braces, or a single atom."""
    if tokens[:1] != ['{']:
        return _atom(tokens, text)
    tokens.pop(0)
    inside = _row(tokens, ('}',), text)
    tokens.pop(0)
    return f'<mrow>{inside}</mrow>'


def _scripts(name, element, tokens, text):
    """An element with what follows it as _{below} and ^{above}."""
    found = {}
    while tokens and tokens[0] in '_^':
        sign = tokens.pop(0)
        found[sign] = _group(tokens, text)
    if not found:
        return element
    tag = {'_': 'sub', '^': 'sup'} if name not in BELOW else {'_': 'under', '^': 'over'}
    tags = 'm' + ''.join(tag[sign] for sign in '_^' if sign in found)
    return f'<{tags}>{element}{"".join(found[sign] for sign in "_^" if sign in found)}</{tags}>'


def _atom(tokens, text):
    """One element: a name, a number, a sign, brackets with what is in them, or one of the forms with braces."""
    if not tokens:
        raise ValueError(f'formula: expected more, got the end of {text!r}')
    token = tokens.pop(0)
    if token in TAKES:
        return _form(token, [_group(tokens, text) for _ in range(TAKES[token])])
    if token in TABLES:
        return _table(token, tokens, text)
    if token in ('(', '['):
        inside = _row(tokens, (CLOSING[token],), text)
        flat = '' if re.search('<(mfrac|mtable|munder)', inside) else ' stretchy="false"'
        return f'<mrow><mo{flat}>{token}</mo>{inside}<mo{flat}>{tokens.pop(0)}</mo></mrow>'
    return _leaf(token)


def _leaf(token):
    if token[0] == '"':
        return f'<mtext>{escape(token[1:-1]).replace(" ", NO_BREAK)}</mtext>'
    if token[0].isdigit():
        return f'<mn>{token}</mn>'
    if token == '|':
        return '<mo stretchy="false" lspace="0" rspace="0">|</mo>'
    if token in SIGNS:
        return f'<mo>{SIGNS[token]}</mo>'
    if token == 'sum':
        return '<mo>∑</mo>'
    if token == 'T' or token in FUNCTIONS or token == 'E':
        return f'<mi mathvariant="normal">{token}</mi>'
    if token in GREEK:
        return f'<mi>{GREEK[token]}</mi>'
    if DERIVATIVE.fullmatch(token):
        return f'<mrow><mi mathvariant="normal">d</mi>{_leaf(token[1:])}</mrow>'
    if token[0].isalpha() or token in '∇∂':
        return f'<mi>{token}</mi>'
    return f'<mo>{escape(token)}</mo>'


def _form(token, groups):
    if token == 'frac':
        return f'<mfrac>{"".join(groups)}</mfrac>'
    if token == 'sqrt':
        return f'<msqrt>{groups[0]}</msqrt>'
    if token == 'hat':
        return f'<mover accent="true">{groups[0]}<mo stretchy="false">ˆ</mo></mover>'
    return f'<munder><munder>{groups[0]}<mo stretchy="true">⏟</mo></munder>{groups[1]}</munder>'


def _table(token, tokens, text):
    """Rows of cells between the fences of the form."""
    rows, sign = [[]], tokens.pop(0) if tokens else ''
    while sign != '}':
        rows[-1].append(_row(tokens, ('}', '&', ';'), text))
        sign = tokens.pop(0)
        if sign == ';':
            rows.append([])
    cells = ''.join('<mtr>' + ''.join(f'<mtd>{cell}</mtd>' for cell in row) + '</mtr>' for row in rows)
    before, after = (f'<mo>{fence}</mo>' if fence else '' for fence in TABLES[token])
    return f'<mrow>{before}<mtable>{cells}</mtable>{after}</mrow>'
