"""Where the images of a run lie, in words that can travel with the run: relative to its folder."""

import os
from pathlib import Path

from minigan.data import NAMES


def portable(source, folder):
    """A source, for files in a run's folder: no home directory in it, and a run that moves with its data finds it."""
    if source in NAMES:
        return source
    path = Path(source).resolve()
    try:
        return Path(os.path.relpath(path, Path(folder).resolve())).as_posix()
    except ValueError:  # on Windows, no relative path leads to another drive
        return path.as_posix()


def located(source, folder):
    """The source that portable gave for a folder, as data.load takes it. An absolute path stays as it is."""
    return source if source in NAMES else str(Path(folder).resolve() / source)
