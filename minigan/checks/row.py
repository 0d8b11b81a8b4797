"""One line of a self-test: what was measured, and what is allowed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One comparison: the largest difference, relative to the largest entry of its array, and what is allowed.

    why: where that difference is, and with which arguments.
    """

    name: str
    error: float
    allowed: float
    why: str = ''

    @property
    def ok(self):
        return self.error <= self.allowed  # False for NaN

    def __str__(self):
        return f'{self.name:54} {self.error:9.1e} {self.allowed:9.1e}   {"ok" if self.ok else "WRONG"}'
