"""Images to learn from, in minibatches: scikit-learn's digits, MNIST, stacked or not, IDX files, .npz, .npy files."""

import os
from pathlib import Path

import numpy as np

from minigan.data import arrays, domains, idx, mnist, stacked
from minigan.data.dataset import DataError, Dataset, class_fractions, digest, split
from minigan.data.labelled import few
from minigan.data.minibatches import Examples, Minibatches, Order

__all__ = ['DataError', 'Dataset', 'Examples', 'Minibatches', 'NAMES', 'Order', 'class_fractions', 'digest', 'few',
           'load', 'of_run', 'portable']
SETS = ('digits', 'mnist', 'stacked-mnist')
NAMES = (*SETS, *(f'{name}/{domain}' for name in SETS[:2] for domain in domains.MAPS))  # sources that are not paths


def load(source, cycle=None):
    """The Dataset of a source: one of NAMES, a folder of IDX files or one of them, or a .npz or .npy file.

    cycle: the source of the images that are to be translated into these, if any.
    Raises DataError, whose message says what is wrong with the source, and OSError when a file cannot be opened.
    """
    if cycle:
        return domains.pair(load(cycle), load(source))
    if source == 'digits':
        return _digits()
    if source in SETS:
        return mnist.load() if source == 'mnist' else stacked.stack(mnist.load())
    if source in NAMES:
        name, domain = source.split('/')
        return domains.domain(load(name), domain)
    path = Path(os.path.expanduser(source))
    if path.is_dir():
        return idx.read_folder(path)
    if path.is_file() and (named := idx.NAME.fullmatch(path.name)):
        return idx.read_folder(path.parent, prefix=named['prefix'])
    if path.suffix in ('.npz', '.npy') and path.is_file():
        return arrays.read_npz(path) if path.suffix == '.npz' else arrays.read_npy(path)
    raise DataError(f'data: expected {", ".join(map(repr, SETS))}, a folder of IDX files, or a .npz or .npy file, got '
                    f"'{source}'{'' if path.exists() else ', which does not exist'}")


def of_run(about, source=None, cycle=None):
    """The Dataset that a run was trained with.

    about: what its checkpoint says about the run. source, cycle: where the images, and those that it translates into
    them, are now; None: where they were in training.
    Raises DataError for different images, and when about does not name the images; OSError.
    """
    try:
        trained, sha256 = about['config']['data'], about['images']['sha256']
    except (KeyError, TypeError) as error:
        raise DataError(f'expected a checkpoint that names its images ({type(error).__name__}: {error})') from error
    if not (isinstance(trained, str) and isinstance(sha256, str)):
        raise DataError(f'expected a checkpoint that names its images, got {trained!r} and {sha256!r}')
    try:
        dataset = load(source or trained, cycle or about['config'].get('cycle'))
    except (DataError, OSError) as error:
        if source or cycle or trained in NAMES:
            raise
        raise DataError(f'{error}; if the images have moved, pass --data PATH') from error
    labelled = bool(about['images'].get('labelled') or about.get('classes'))
    if labelled and dataset.labels is None or digest(dataset, labelled=labelled) != sha256:
        what = 'images and labels' if labelled else 'images'
        raise DataError(f'{source or trained}: not the {what} that this run was trained with; '
                        'pass those with --data PATH')
    return dataset


def portable(source):
    """A source as a checkpoint names it: as an absolute path, in which ~ stands for the user's home."""
    if source in NAMES:
        return source
    path, home = Path(os.path.expanduser(source)).resolve(), Path(os.path.expanduser('~')).resolve()
    return f'~/{path.relative_to(home).as_posix()}' if path.is_relative_to(home) else str(path)


def _digits():
    """The 1,797 handwritten digits of scikit-learn: 8 x 8 pixels, 17 grey levels."""
    from sklearn.datasets import load_digits
    digits = load_digits()
    return split('digits', np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target)
