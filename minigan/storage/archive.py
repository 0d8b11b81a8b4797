"""The file format of checkpoints: an .npz of arrays and JSON, without pickle, that is refused when damaged.

    about     UTF-8 JSON: the format, and what the writer says about the arrays
    sha256    of everything else
"""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from minigan.storage import files

FORMAT = 1
LAST, BEST = 'last.npz', 'best.npz'  # the checkpoints in a run's folder


def save(path, arrays, about):
    """Write arrays, and about: a dict that JSON can hold.

    Raises ValueError for more bytes than load accepts, and OSError; path is then unchanged.
    """
    text = json.dumps({'format': FORMAT, **about})
    arrays = {**arrays, 'about': np.frombuffer(text.encode(), np.uint8)}
    arrays['sha256'] = np.frombuffer(bytes.fromhex(files.digest(arrays)), np.uint8)
    check_size(sum(array.nbytes for array in arrays.values()))
    files.save_arrays(path, arrays)


def check_size(n):
    """Raise ValueError when a checkpoint with n bytes of arrays would be too large to be loaded."""
    if n > files.LIMIT:
        raise ValueError(f'expected a checkpoint of at most {files.LIMIT} bytes, got {n}: choose smaller images '
                         'or fewer epochs')


def load(path):
    """(arrays, about) of a checkpoint, or of the last one in a run's folder.

    Raises ValueError for anything but a whole checkpoint in this format, OSError when there is none.
    """
    path = find(path)
    arrays = files.read_arrays(path)
    about, expected = arrays.get('about'), arrays.pop('sha256', None)
    if about is None or expected is None:
        raise ValueError(f'{path}: expected a checkpoint of minigan, got arrays {", ".join(arrays) or "none"}')
    if files.digest(arrays) != expected.tobytes().hex():
        raise ValueError(f'{path}: damaged: its SHA-256 is not the one that it was saved with')
    try:
        about = json.loads(arrays.pop('about').tobytes())
        found = about['format']
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f'{path}: expected a checkpoint of minigan, got one that says nothing readable about itself '
                         f'({type(error).__name__})') from error
    if found != FORMAT:
        raise ValueError(f'{path}: expected format {FORMAT}, got {found!r}; another version of minigan wrote it')
    return arrays, about


def find(path):
    """The checkpoint that a path means. Raises FileNotFoundError when there is none."""
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f'{path}: no such file or folder')
        return path
    if not (path / LAST).exists():
        raise FileNotFoundError(f'{path}: not the folder of a run: it has no {LAST}')
    return path / LAST


@contextmanager
def errors_name(path):
    """Put the name of the checkpoint that a path means in front of each ValueError from the block."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f'{find(path)}: {error}') from error


def require(arrays, name, shape, dtype):
    """An array of a checkpoint. Raises ValueError when it is missing, not finite, or of a different shape or dtype."""
    array = arrays.get(name)
    if array is None or array.shape != shape or array.dtype != dtype:
        got = 'none' if array is None else f'{array.shape} and {array.dtype}'
        raise ValueError(f'{name}: expected an array of shape {shape} and dtype {np.dtype(dtype)}, got {got}')
    if not np.isfinite(array).all():
        raise ValueError(f'{name}: expected finite numbers, got {np.count_nonzero(~np.isfinite(array))} that are not')
    return array
