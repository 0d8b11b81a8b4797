"""One file that holds a run: an .npz of arrays and JSON, no pickle, written whole or not at all, refused when damaged.

    G.theta, G.state, G.m, G.v, G.t    the generator's parameters, moving averages, and Adam's moments and steps
                                       (G.velocity in place of G.m and G.v where SGDMomentum trains it)
    D.theta ... D.t                    the discriminator's
    average.theta, average.state       the average of the generator, where there is one: what samples are drawn with
    run.*                              where the run stands (training.py): steps done, rows of the log, ...
    about                              UTF-8 JSON: format, step, config, images, versions
    sha256                             of everything else
"""

import io
import json
import math
from pathlib import Path

import numpy as np

from minigan.backend import array_module, to_host
from minigan.net import Net
from minigan.networks import RECIPES
from minigan.storage.files import digest, read_arrays, replacing
from minigan.streams import Streams

FORMAT = 1
LAST, BEST = 'last.npz', 'best.npz'  # in a run's folder


def snapshot(game):
    """name -> array: copies, on the host, of all that steps change. Random numbers need no more than the step."""
    arrays = {}
    for name, net, optimizer in _players(game):
        for part, array in _buffers(net, optimizer).items():
            arrays[f'{name}.{part}'] = np.array(to_host(array))
        arrays[f'{name}.t'] = np.array(optimizer.t, np.int64)
    return arrays


def restore(game, arrays):
    """Put a snapshot back. Raises ValueError, and changes nothing, when its arrays do not fit the game's."""
    fitting = [(array, part(arrays, f'{name}.{key}', array.shape, array.dtype))
               for name, net, optimizer in _players(game) for key, array in _buffers(net, optimizer).items()]
    steps = [int(part(arrays, f'{name}.t', (), np.int64)) for name, *_ in _players(game)]
    for name, _, optimizer in _players(game):
        if 'v' in optimizer.buffers and (arrays[f'{name}.v'] < 0).any():
            raise ValueError(f'{name}.v: expected sums of squares, got numbers below 0')
    for array, saved in fitting:
        array[...] = array_module(array).asarray(saved)
    for (_, net, optimizer), t in zip(_players(game), steps):
        optimizer.t = t
        net.version += 1


def save(path, arrays, about):
    """Write arrays and what JSON can say about them. Raises OSError, and leaves path as it was, on a failure."""
    text = json.dumps({'format': FORMAT, **about})
    arrays = {**arrays, 'about': np.frombuffer(text.encode(), np.uint8)}
    archive = io.BytesIO()  # on a full disk, Python 3.10's ZipFile adds a traceback to the one line of error
    np.savez(archive, **arrays, sha256=digest(arrays))
    with replacing(path) as file:
        file.write(archive.getbuffer())


def load(path):
    """(arrays, about) from a checkpoint, or from the last one in a run's folder.

    Raises ValueError for anything but a whole checkpoint in this format, OSError when there is none.
    """
    path = find(path)
    arrays = read_arrays(path)
    about, expected = arrays.get('about'), arrays.pop('sha256', None)
    if about is None or expected is None:
        raise ValueError(f'{path}: expected a checkpoint of minigan, got arrays {", ".join(arrays) or "none"}')
    if not np.array_equal(digest(arrays), expected):
        raise ValueError(f'{path}: expected content of the SHA-256 that it was saved with, got other content: damaged')
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
    """The checkpoint that a path means. Raises FileNotFoundError for a folder without one."""
    path = Path(path)
    if not path.is_dir():
        return path
    if not (path / LAST).exists():
        raise FileNotFoundError(f'{path}: expected a run, a folder with {LAST}, got one without')
    return path / LAST


def net(arrays, about, name):
    """'G', 'D' or the 'average' of G in a checkpoint, on the host.

    Raises ValueError when its arrays do not fit the network that the checkpoint names.
    """
    network, n_z, shape = described(about)
    n = math.prod(shape)
    layers = RECIPES[network].D(n) if name == 'D' else RECIPES[network].G(n_z, n)
    size = sum(math.prod(shape) for layer in layers for shape in layer.shapes.values())
    theta = part(arrays, f'{name}.theta', (size,), np.float32)  # before anything of a claimed size is allocated
    one = Net(layers, rng=Streams(0).at('init', 0), name=name)
    one.theta[...], one.state[...] = theta, part(arrays, f'{name}.state', one.state.shape, np.float32)
    return one


def described(about):
    """(network, n_z, shape) as a checkpoint gives them. Raises ValueError unless a generator can be built of them."""
    try:
        network, n_z, shape = about['config']['network'], about['config']['n_z'], tuple(about['images']['shape'])
        whole = [type(size) is int and size > 0 for size in (n_z, *shape)]
        if network in RECIPES and (len(shape) == 2 or len(shape) == 3 and shape[2] == 3) and all(whole):
            return network, n_z, shape
        got = f'{network!r}, {n_z!r} and {shape}'
    except (KeyError, TypeError) as error:
        got = f'{type(error).__name__}: {error}'
    raise ValueError(f'expected a network of {", ".join(RECIPES)}, a width of z and the shape of an image, got {got}')


def part(arrays, name, shape, dtype):
    """One of a checkpoint's arrays. Raises ValueError when it is missing, not finite, or of another shape or dtype."""
    array = arrays.get(name)
    if array is None or array.shape != shape or array.dtype != dtype:
        got = 'none' if array is None else f'{array.shape} and {array.dtype}'
        raise ValueError(f'{name}: expected an array of shape {shape} and dtype {np.dtype(dtype)}, got {got}')
    if not np.isfinite(array).all():
        raise ValueError(f'{name}: expected finite numbers, got {np.count_nonzero(~np.isfinite(array))} that are not')
    return array


def _players(game):
    return ('G', game.G, game.optimizer_G), ('D', game.D, game.optimizer_D)


def _buffers(net, optimizer):
    return {'theta': net.theta, 'state': net.state, **{name: getattr(optimizer, name) for name in optimizer.buffers}}
