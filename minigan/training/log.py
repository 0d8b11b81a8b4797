"""The log of a run: a table with one row per epoch, in a CSV file and as an array in checkpoints."""

import csv
import io

import numpy as np

from minigan.storage.files import append, atomic_write

SPLIT = ('V', 'L_D', 'L_G', 'D_x', 'D_G_z')  # measured on both splits
COLUMNS = ('epoch', 'step', 'gradient_norm_G', 'gradient_norm_D', *(f'train_{name}' for name in SPLIT),
           *(f'validation_{name}' for name in SPLIT), 'distance', 'spread', 'seconds')


def as_array(rows):
    """The log as one float64 array, for a checkpoint."""
    return np.array([[row[name] for name in COLUMNS] for row in rows], float).reshape(len(rows), len(COLUMNS))


def as_rows(array):
    """The inverse of as_array."""
    return [{**dict(zip(COLUMNS, row)), 'epoch': int(row[0]), 'step': int(row[1])} for row in array.tolist()]


def write_csv(path, rows):
    """Write a file of all rows, which are dicts with the keys COLUMNS. Raises OSError."""
    with atomic_write(path) as file:
        file.write(_lines([dict(zip(COLUMNS, COLUMNS)), *rows]))


def append_csv(path, row):
    """Add a row in one write, so that a reader never finds half a row. Raises OSError."""
    append(path, _lines([row]))


def _lines(rows):
    """Rows as bytes of CSV."""
    text = io.StringIO(newline='')
    csv.writer(text).writerows([f'{value:.6g}' if isinstance(value, float) else value
                                for value in map(row.get, COLUMNS)] for row in rows)
    return text.getvalue().encode()
