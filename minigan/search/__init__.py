"""Search for settings: Optuna chooses, minigan trains."""

from minigan.search.loop import search

__all__ = ['search']
