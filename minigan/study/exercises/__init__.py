"""Exercises: write a function of the package yourself, and let the checks say in words what is wrong."""
