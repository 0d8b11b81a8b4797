"""The laws of gradcheck for layers of your own; see checks/laws.py."""

from minigan.checks.laws import *  # noqa: F401, F403
