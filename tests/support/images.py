"""Random images, and IDX files of them."""

import gzip
import struct

import numpy as np


def images(n, height=4, width=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width), dtype=np.uint8)


def idx(array, code=8):
    """An IDX file; code: of the array's type."""
    return struct.pack(f'>BBBB{array.ndim}I', 0, 0, code, array.ndim, *array.shape) + array.tobytes()


def write_folder(folder, train=60, test=10, compress=False, prefix=''):
    """MNIST's four files, smaller. Returns name -> array."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {'train-images-idx3-ubyte': images(train), 't10k-images-idx3-ubyte': images(test, seed=1),
              'train-labels-idx1-ubyte': np.arange(train).astype(np.uint8),
              't10k-labels-idx1-ubyte': np.arange(test).astype(np.uint8)}
    for name, array in arrays.items():
        content = idx(array)
        (folder / (prefix + name + '.gz' * compress)).write_bytes(
            gzip.compress(content, mtime=0) if compress else content)
    return arrays
