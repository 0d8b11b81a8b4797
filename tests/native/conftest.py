"""The native twins of this machine."""

import shutil

import pytest

from minigan.native import library
from minigan.native.twins import native


@pytest.fixture(scope='session')
def twins():
    """The native twins; a test that needs them is skipped where no compiler is, and fails where they do not work."""
    if not any(map(shutil.which, library.COMPILERS)):
        pytest.skip('no C++ compiler')
    found = native()
    assert not isinstance(found, str), found
    return found


@pytest.fixture
def filled(fresh, twins):
    """That cache folder with the library in it."""
    fresh.mkdir(mode=0o700, parents=True)
    shutil.copy(twins.library._name, fresh)
    return fresh


@pytest.fixture
def fresh(twins, monkeypatch, tmp_path):
    """A cache folder of its own, in a process that has not asked for native twins yet."""
    monkeypatch.setenv('MINIGAN_DATA', str(tmp_path / 'cache'))
    native.cache_clear()
    yield tmp_path / 'cache' / 'native'
    native.cache_clear()
