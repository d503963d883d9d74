"""Looking for files by names that come from outside: a name that no file can have (too long, with a
NUL in it, of a user who does not exist) is the name of no file, rather than an error of the system.
"""

from __future__ import annotations

import os
from pathlib import Path


def is_file(path: Path) -> bool:
    """Whether there is a file, or a link to one, that can be looked at."""
    return os.path.isfile(path)  # `Path.is_file` raises what it does not know


def is_directory(path: Path) -> bool:
    """Whether there is a directory, or a link to one, that can be looked at."""
    return os.path.isdir(path)


def exists(path: Path) -> bool:
    """Whether there is anything that can be looked at."""
    return os.path.exists(path)


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with ``~`` in front resolved; as it is where there is no such user."""
    return Path(os.path.expanduser(path))
