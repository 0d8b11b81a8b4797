"""A game as training builds it."""

import platform
import subprocess
import sys

import pytest

from minigan import data
from minigan.training.build import build_game, recipe_of
from minigan.training.config import Config


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='a habit of glibc')
def test_freed_memory_is_kept_for_the_next_step():
    program = """if True:
        import resource, sys
        import numpy as np

        def faults():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(100):
                a, b = np.ones(300_000), np.ones(300_000)  # 1,200 pages, taken and freed together
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        if sys.argv[1:]:
            from minigan.training.build import keep_freed_memory
            keep_freed_memory()
        faults()
        print(faults())
        """
    kept, given_back = (int(subprocess.run([sys.executable, '-c', program, *argument], capture_output=True, text=True,
                                           check=True).stdout) for argument in (['keep'], []))
    assert kept < 1000 < given_back


def test_a_D_that_has_to_find_the_class_is_not_told_it():
    digits, config = data.load('digits'), Config(network='semisupervised', conditional=True)
    recipe = recipe_of(config, digits)
    with pytest.raises(ValueError, match='conditional: expected none with semisupervised'):
        build_game(config.resolve(recipe, digits), recipe, digits)
