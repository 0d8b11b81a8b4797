"""The module of an array, and memory that is kept."""

import platform
import subprocess
import sys
import types

import numpy as np
import pytest

from minigan import backend


def test_the_array_module_follows_the_array():
    assert backend.array_module(np.ones(1)) is np


def test_to_host_copies_from_a_device():
    host = np.ones(2)
    assert backend.to_host(host) is host
    assert backend.to_host(types.SimpleNamespace(get=lambda: host)) is host


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
            from minigan.backend import keep_freed_memory
            keep_freed_memory()
        faults()
        print(faults())
        """
    kept, given_back = (int(subprocess.run([sys.executable, '-c', program, *argument], capture_output=True, text=True,
                                           check=True).stdout) for argument in (['keep'], []))
    assert kept < 1000 < given_back


def test_numpys_numbers_become_pythons_and_nothing_else_changes():
    for given, kind in ((np.float32(0.5), float), (np.float64(2), float), (np.int64(3), int), (np.array(0.5), float),
                        (np.bool_(True), bool)):
        assert backend.number(given) == given and type(backend.number(given)) is kind
    for given in (0.5, 3, None, 'a', np.ones(1), np.ones((2, 0)), len):
        assert backend.number(given) is given
