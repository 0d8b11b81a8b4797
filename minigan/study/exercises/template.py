"""What a student's file begins with, taken from the package's own source: there is no second copy of anything."""

import ast
import inspect
import re
from textwrap import dedent, fill, indent


def source(function):
    """The source text of a function, without decorators."""
    text = dedent(inspect.getsource(inspect.unwrap(function)))
    return '\n'.join(text.splitlines()[ast.parse(text).body[0].lineno - 1:])


def without_body(function, returns):
    """The signature and the docstring, and a comment in place of the body; of a derivative, without its equation.

    returns: the names of what a derivative returns.
    """
    text = source(function)
    docstring = ast.parse(text).body[0].body[0]
    lines = text.splitlines()[:docstring.end_lineno]
    if '_backward' in function.__name__:
        said = without_equation(docstring.value.value)
        lines[docstring.lineno - 1:] = indent(f'"""{said}"""', '    ').splitlines()
        lines += [f'    # Return {returns}.'] * bool(returns)
    return '\n'.join([*lines, '    # Write the body here.'])


def without_equation(docstring):
    """A docstring, indented by 4, without what follows 3 spaces more: equations, on their own lines or at the end."""
    said = re.sub(r'   .*', '', re.sub(r'(?m)^    ', '', docstring)).strip()
    return re.sub(r'\n{3,}', '\n\n', said) + '\n' * ('\n' in said)


def forward_of(function):
    """The function of which a *_backward is the derivative, or None."""
    name, found, _ = function.__name__.partition('_backward')
    return inspect.unwrap(function).__globals__[name] if found else None


def context(owner, functions):
    """Comments on what their bodies need: what self offers; or the module's own words, and what is differentiated."""
    if isinstance(owner, type):
        return ['#', '# You may need:', *(line for function in functions for line in given(owner, function))]
    legend = '\n'.join(line for line in inspect.getdoc(owner).splitlines() if '@' not in line)  # no decorator is shown
    paragraphs = [fill(paragraph, 110) for paragraph in legend.split('\n\n')]
    texts = [f'The docstring of {owner.__name__}:\n\n' + indent('\n\n'.join(paragraphs), '    ')]
    for forward in dict.fromkeys(map(forward_of, functions)):
        if forward and forward not in functions:
            texts.append(f'{forward.__name__}{inspect.signature(forward)}, which you differentiate:\n\n'
                         f'{indent(inspect.getdoc(forward), "    ")}')
    return [f'# {line}'.rstrip() for text in texts for line in ['', *text.splitlines()]]


def imports(function):
    """The imports that its body needs, apart from NumPy."""
    names = inspect.unwrap(function).__globals__
    used = {node.id for part in ast.parse(source(function)).body[0].body for node in ast.walk(part)
            if isinstance(node, ast.Name)}
    return [f'from {names[name].__module__} import {name}' for name in sorted(used & names.keys() - {'np'})]


def given(owner, function):
    """Comments on all that its body uses of self: how it is called, and what its docstring says. owner: its class."""
    used = {ast.unparse(node) for node in ast.walk(ast.parse(source(function))) if isinstance(node, ast.Attribute)}
    longest = [one for one in sorted(used) if one.startswith('self.') and not any(f'{one}.' in other for other in used)]
    return [line for one in longest for line in _comment(one, owner, inspect.signature(function).parameters)]


def _comment(text, owner, passed):
    """Two lines on a method of self, or of what self holds; or on a field of it, from the docstring of its class.

    passed: the arguments of the function that uses it.
    """
    *objects, name = text.split('.')[1:]
    for one in objects:
        owner = inspect.get_annotations(owner)[one]
    method = getattr(owner, name, None)
    if inspect.isfunction(method):
        some = [one.replace(annotation=one.empty) for one in inspect.signature(method).parameters.values()][1:]
        arguments, about = inspect.Signature(some), inspect.getdoc(method)
    else:
        arguments, about = re.search(rf'\b{name}(\(\w+\))?: (.*?\.)\s', owner.__doc__).groups('')
    first = re.match(r'.*?[.](?= |$)', about, re.MULTILINE)[0]
    drawn = ' Pass rng=rng.' if 'rng' in passed and 'rng' in getattr(arguments, 'parameters', ()) else ''
    return f'#   {text}{arguments}', f'#       {first[0].upper()}{first[1:]}{drawn}'
