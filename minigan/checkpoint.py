"""One file that holds a trained generator: arrays and JSON in an .npz, no pickle, never half-written."""

import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from minigan.backend import to_host
from minigan.net import Net
from minigan.networks import RECIPES
from minigan.streams import Streams


def save_generator(path, G, **about):
    """Write G's theta and state, and what load_generator needs to build G again.

    about: network (a name in RECIPES), n_z, shape of an image; anything else that JSON can hold is kept.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix='unfinished-') as folder:
        unfinished = Path(folder) / path.name
        with open(unfinished, 'wb') as file:
            np.savez(file, theta=to_host(G.theta), state=to_host(G.state), about=np.array(json.dumps(about)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)


def load_generator(path):
    """The generator and what was saved about it: (G, about). G(z) is (m, n) in [-1, 1], in evaluation mode.

    Raises ValueError for a file that save_generator did not write, or whose arrays do not fit its network.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            theta, state, about = content['theta'], content['state'], json.loads(str(content['about']))
        layers = RECIPES[about['network']].G(about['n_z'], int(np.prod(about['shape'])))
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f'{path}: expected a generator saved by minigan ({type(error).__name__}: {error})') from error
    G = Net(layers, rng=Streams(0).at('init', 0), name='G')
    for name, flat, loaded in (('theta', G.theta, theta), ('state', G.state, state)):
        if loaded.shape != flat.shape or loaded.dtype != flat.dtype:
            raise ValueError(f'{path}: expected {name} of shape {flat.shape} and dtype {flat.dtype}, '
                             f'got {loaded.shape} and {loaded.dtype}')
        flat[...] = loaded
    return G, about
