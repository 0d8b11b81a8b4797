"""Run every kernel at small shapes, and a few steps of each network, launched and replayed: for compute-sanitizer.

Without CuPy's memory pool: the pool keeps arrays next to each other in memory that is allocated as a whole, so that
touching the first byte beyond an array goes unnoticed.
"""

import sys

from minigan.gpu import compare, twins
from minigan.networks import RECIPES
from minigan.training.on_gpu import FEW, compare_training

SHAPES = (3, 1), (9, 33)
SIZES = 1, 17


def rows(xp):
    """The Row of each comparison."""
    kernels = twins.compiled(xp)
    for m, n in SHAPES:
        for name in compare.arguments(m, n, 0):
            yield compare.compare_twin(kernels, name, m, n, xp=xp)
    for name in compare.DRAWS:
        for size in SIZES:
            yield compare.compare_draws(kernels, name, size, xp=xp)
    for network in RECIPES:
        yield compare_training(xp, FEW, network=network, batch=9)


def main():
    """Print what is wrong. Exit code 1 if anything is."""
    import cupy
    cupy.cuda.set_allocator(None)
    wrong = [row for row in rows(cupy) if not row.ok]
    for row in wrong:
        print(row, row.why, sep='\n    ')
    sys.exit(1 if wrong else 0)


if __name__ == '__main__':
    main()
