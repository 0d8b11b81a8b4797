"""The module of an array."""

import types

import numpy as np

from minigan import backend


def test_the_array_module_follows_the_array():
    assert backend.array_module(np.ones(1)) is np


def test_to_host_copies_from_a_device():
    host = np.ones(2)
    assert backend.to_host(host) is host
    assert backend.to_host(types.SimpleNamespace(get=lambda: host)) is host


def test_numpys_numbers_become_pythons_and_nothing_else_changes():
    for given, kind in ((np.float32(0.5), float), (np.float64(2), float), (np.int64(3), int), (np.array(0.5), float),
                        (np.bool_(True), bool)):
        assert backend.number(given) == given and type(backend.number(given)) is kind
    for given in (0.5, 3, None, 'a', np.ones(1), np.ones((2, 0)), len):
        assert backend.number(given) is given
