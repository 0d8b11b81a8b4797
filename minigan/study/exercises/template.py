"""What a student's file begins with, taken from the package's own source: there is no second copy of anything."""

import ast
import inspect
import re
from textwrap import dedent


def source(function):
    """The source text of a function, without decorators."""
    text = dedent(inspect.getsource(inspect.unwrap(function)))
    return '\n'.join(text.splitlines()[ast.parse(text).body[0].lineno - 1:])


def without_body(function):
    """The signature and the docstring, and a comment in place of the body."""
    text = source(function)
    docstring = ast.parse(text).body[0].body[0]
    return '\n'.join([*text.splitlines()[:docstring.end_lineno], '    # Write the body here.'])


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
    return [line for one in longest for line in _comment(one, owner)]


def _comment(text, owner):
    """Two lines on a method of self, or of what self holds; or on a field of it, from the docstring of its class."""
    *objects, name = text.split('.')[1:]
    for one in objects:
        owner = inspect.get_annotations(owner)[one]
    method = getattr(owner, name, None)
    if inspect.isfunction(method):
        some = [one.replace(annotation=one.empty) for one in inspect.signature(method).parameters.values()][1:]
        arguments, about = inspect.Signature(some), inspect.getdoc(method)
    else:
        arguments, about = re.search(rf'\b{name}(\(\w+\))?: (.*?\.)\s', owner.__doc__).groups('')
    return f'#   {text}{arguments}', f'#       {re.match(r".*?[.](?= |$)", about, re.MULTILINE)[0]}'
