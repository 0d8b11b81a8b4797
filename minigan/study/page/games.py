"""Small games that are played to the end: on a line, as in the paper's Figure 1, and in the plane."""


def data(*, seed, quick):
    """Recorded games, for games.js."""
    return {}
