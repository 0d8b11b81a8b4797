"""What the real cupy has, for the stand-in:  python tests/support/cupy_names.py  (needs cupy, but no GPU)."""

import inspect
import json
import re
from pathlib import Path

import numpy as np

TABLE = Path(__file__).with_suffix('.json')


def names(cupy):
    """functions: those that NumPy has too, and methods of arrays, each with its parameters' names; None: any.
    others: constants and classes that NumPy has too."""
    functions, others = {}, []
    for name in dir(cupy):
        thing = getattr(cupy, name)
        if name.startswith('_') or not hasattr(np, name) or inspect.ismodule(thing):
            continue
        if callable(thing) and not isinstance(thing, type):
            functions[name] = parameters(thing)
        else:
            others.append(name)
    array = {name: getattr(cupy.ndarray, name) for name in dir(cupy.ndarray) if not name.startswith('_')}
    return {'version': cupy.__version__, 'functions': functions, 'others': others,
            'methods': {name: parameters(thing) for name, thing in array.items() if callable(thing)},
            'attributes': [name for name, thing in array.items() if not callable(thing)]}


def parameters(function):
    """The names of a function's parameters in one string; None if it takes any, or says nothing."""
    try:
        found = inspect.signature(function).parameters.values()
        return None if any(one.kind is one.VAR_KEYWORD for one in found) else ' '.join(one.name for one in found)
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
