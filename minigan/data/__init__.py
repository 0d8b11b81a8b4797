"""Images to learn from: digits (embedded), MNIST, IDX files, an .npz or .npy file; and minibatches of them."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from minigan.data import arrays, idx, mnist
from minigan.data.dataset import DataError, Dataset, digest, split
from minigan.data.minibatches import Minibatches, Order

__all__ = ['DataError', 'Dataset', 'Minibatches', 'NAMES', 'Order', 'digest', 'lasting', 'load', 'of_run']
NAMES = ('digits', 'mnist')  # of data that is no file


def load(source):
    """The Dataset for 'digits', 'mnist', a folder of IDX files, one of these files, or a .npz or .npy file.

    Raises DataError with one message that says what is wrong with the source.
    """
    if source in NAMES:
        dataset = digits() if source == 'digits' else mnist.load()
    else:
        dataset = _from_path(Path(os.path.expanduser(source)))
    return replace(dataset, source=str(source))


def _from_path(path):
    if path.is_dir():
        return idx.read_folder(path)
    if path.is_file() and (named := idx.NAME.fullmatch(path.name)):
        return idx.read_folder(path.parent, prefix=named['prefix'])
    if path.suffix in ('.npz', '.npy') and path.is_file():
        return arrays.read_npz(path) if path.suffix == '.npz' else arrays.read_npy(path)
    raise DataError(f"data: expected 'digits', 'mnist', a folder of IDX files or a .npz or .npy file, got '{path}'"
                    f'{"" if path.exists() else ", which does not exist"}')


def of_run(about, source=None):
    """The Dataset that a run was trained with. about: of its checkpoint; source: where they lie now, if elsewhere.

    Raises DataError for other images, and for a checkpoint that does not say which images it was trained with.
    """
    try:
        trained, sha256 = about['config']['data'], about['images']['sha256']
    except (KeyError, TypeError) as error:
        raise DataError(f'expected a checkpoint that names its images ({type(error).__name__}: {error})') from error
    if not (type(trained) is type(sha256) is str):
        raise DataError(f'expected a checkpoint that names its images, got {trained!r} and {sha256!r}')
    try:
        dataset = load(trained if source is None else source)
    except (DataError, OSError) as error:
        if source is not None or trained in NAMES:
            raise
        raise DataError(f'{error}. If the images of this run have moved, --data says where they are') from error
    if digest(dataset) != sha256:
        raise DataError(f'{dataset.source}: not the images that this run was trained with; --data says where those are')
    return dataset


def lasting(source):
    """The source as a run keeps it: it means the same from any folder, and does not name the user's home."""
    if source in NAMES:
        return source
    path, home = Path(source).resolve(), Path(os.path.expanduser('~')).resolve()
    return f'~/{path.relative_to(home).as_posix()}' if path.is_relative_to(home) else str(path)


def digits():
    """The 1,797 handwritten digits of 8 x 8 pixels with 17 grey levels that scikit-learn carries."""
    from sklearn.datasets import load_digits
    bunch = load_digits()
    return split('digits', np.rint(bunch.images * (255 / 16)).astype(np.uint8), bunch.target)
