"""Hypothesis profiles: `pytest --hypothesis-profile=thorough` tries ten times as many examples. The cupy fixture."""

import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile('default', max_examples=40, deadline=None, derandomize=True, database=None)
settings.register_profile('thorough', max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile('default')
signal.signal(signal.SIGINT, signal.default_int_handler)  # `pytest &` in a script ignores it, and so would every child


@pytest.fixture
def cupy(monkeypatch):
    """The stand-in, as what `import cupy` gives."""
    from support.standin import Cupy

    from minigan.gpu.emulator import COMPILER
    if COMPILER is None:
        pytest.skip('no C++ compiler, or not Linux')
    module = Cupy()
    monkeypatch.setitem(sys.modules, 'cupy', module)
    return module
