"""pytest -p support.driver.plugin FILE: `import cupy` gives the real CuPy on the stand-in."""

import pytest
from support.driver.install import Driver

DRIVER = Driver()


@pytest.fixture
def driver():
    """The stand-in, with counts at zero."""
    DRIVER.clear()
    return DRIVER


@pytest.fixture
def xp(driver):
    """The real package."""
    return driver.cupy
