"""The names that the real cupy has, for the stand-in:  python tests/support/cupy_names.py  (needs cupy, but no GPU)."""

import inspect
import json
import re
from pathlib import Path

TABLE = Path(__file__).with_suffix('.json')


def names(cupy):
    """functions, and methods of arrays: each with its parameters' names, None if it takes any.
    others: constants and classes; attributes: of arrays."""
    top, array = ({name: getattr(owner, name) for name in dir(owner) if not name.startswith('_')}
                  for owner in (cupy, cupy.ndarray))
    functions = {name: parameters(thing) for name, thing in top.items()
                 if callable(thing) and not isinstance(thing, type)}
    others = [name for name, thing in top.items() if name not in functions and not inspect.ismodule(thing)]
    methods = {name: parameters(thing) for name, thing in array.items() if callable(thing)}
    return {'version': cupy.__version__, 'functions': functions, 'others': others, 'methods': methods,
            'attributes': [name for name in array if name not in methods]}


def parameters(function):
    """The names of a function's parameters in one string; None if it takes any, or says nothing."""
    try:
        found = inspect.signature(function).parameters.values()
        return None if any(each.kind is each.VAR_KEYWORD for each in found) else ' '.join(each.name for each in found)
    except (ValueError, TypeError):  # compiled: the first line of the docstring says it
        line = re.match(r'[\w.]+\((.*)\)', (function.__doc__ or '').strip())
        if line is None or '**' in line[1]:
            return None
        return ' '.join(re.findall(r'(?:^|, )(?:\w+ )?(\w+)', line[1]))


if __name__ == '__main__':
    import cupy
    lines = json.dumps(names(cupy), indent=0, sort_keys=True)
    TABLE.write_text(lines + '\n')
    print(f'{TABLE}: cupy {cupy.__version__}')
