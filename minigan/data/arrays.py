"""Images in .npy and .npz files."""

from pathlib import Path

import numpy as np

from minigan.data.dataset import DataError, explain, hold_out, split
from minigan.data.idx import read_idx
from minigan.storage.files import read_array, read_arrays

AT_ONCE = 100  # images to convert at a time: all of them as floats would take several times the memory


def read_npy(path):
    """The Dataset of the images in a .npy file. Raises DataError, OSError."""
    return split(path.stem, _as_bytes(path, _checked(read_array, path)))


def read_npz(path):
    """The Dataset of x_train and x_test in an .npz file, or of the only array with 3 or 4 axes.

    The labels of an array x... are those in y..., as in Keras' files. Raises DataError, OSError.
    """
    arrays = _checked(read_arrays, path)
    names = [name for name in arrays if arrays[name].ndim in (3, 4)]
    if {'x_train', 'x_test'} <= set(names):
        names = ['x_train', 'x_test']
    elif len(names) != 1:
        got = ', '.join(f'{name} {array.shape}' for name, array in arrays.items())
        raise DataError(f'{path}: expected one array of shape (N, height, width) or (N, height, width, 3), or '
                        f'x_train and x_test, got {got or "no array"}')
    images = [_as_bytes(path, arrays[name]) for name in names]
    names_of_labels = [f'y{name[1:]}' if name.startswith('x') else None for name in names]
    labels = [arrays.get(name) for name in names_of_labels]
    dataset = (split if len(names) == 1 else hold_out)(path.stem, *images, *labels)
    return explain(dataset, arrays.keys() - {*names, *names_of_labels})


def read_images(path):
    """The images of a .npy file, of the only array with 3 or 4 axes in an .npz file, or of an IDX file, in order.

    Returns uint8 (N, height, width[, 3]). Raises DataError, OSError.
    """
    path = Path(path)
    if path.suffix == '.npy':
        return _as_bytes(path, _checked(read_array, path))
    if path.suffix != '.npz':
        return _as_bytes(path, read_idx(path))
    arrays = _checked(read_arrays, path)
    images = [array for array in arrays.values() if array.ndim in (3, 4)]
    if len(images) != 1:
        raise DataError(f'{path}: expected one array of images, got {len(images)} of {", ".join(arrays)}')
    return _as_bytes(path, *images)


def _checked(read, path):
    try:
        return read(path)
    except ValueError as error:
        raise DataError(str(error)) from error


def _as_bytes(path, images):
    """Images as uint8 (N, height, width[, 3]); floats must lie in [0, 1]."""
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if not (images.ndim == 3 or images.ndim == 4 and images.shape[3] == 3) or _images_last(images.shape):
        raise DataError(f'{path}: expected images of shape (N, height, width) or (N, height, width, 3), '
                        f'got {images.shape}{_advice(images.shape)}')
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in 'fb':
        raise DataError(f'{path}: expected images of dtype uint8 or floats in [0, 1], got dtype {images.dtype}')
    if not (images.min(initial=0) >= 0 and images.max(initial=0) <= 1):  # false for NaN too
        got = 'NaN' if np.isnan(images).any() else f'values from {images.min()} to {images.max()}'
        raise DataError(f'{path}: expected floats in [0, 1], got {got}')
    pixels = np.empty(images.shape, np.uint8)
    for i in range(0, len(images), AT_ONCE):
        pixels[i:i + AT_ONCE] = np.rint(images[i:i + AT_ONCE] * 255.0)
    return pixels


def _images_last(shape):
    """Whether images seem to lie along the last axis, as in MATLAB: (28, 28, 500) is hardly 28 images of 28 x 500."""
    return len(shape) == 3 and shape[0] == shape[1] != shape[2]


def _advice(shape):
    if _images_last(shape) or len(shape) == 4 and shape[2] in (1, 3):
        return '; if the last axis counts the images, save np.moveaxis(array, -1, 0)'
    if len(shape) == 4 and shape[1] in (1, 3):
        return '; if the second axis holds the colours, save np.moveaxis(array, 1, -1)'
    return ''
