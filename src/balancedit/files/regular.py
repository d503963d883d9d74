"""Opening files that somebody else may have put there: regular files only, and no links.

A named pipe would hang its reader, a link to a device fill its memory, a link to another file have
that one written to. Only what lies below the directory that a user named is looked at like this;
that directory itself may well be a link of the user's own.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
#: Bytes of a text at most; the largest published data sets have a quarter of it.
LARGEST = 2**30
_PART = 2**24
_CLOSES = getattr(os, "O_CLOEXEC", 0)


def check_regular(path: Path, *, missing_ok: bool = False) -> None:
    """Raise OSError unless there is a regular file at `path`, not a link to one."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        if missing_ok:
            return
        raise
    if not stat.S_ISREG(mode):
        raise _not(path, "a regular file", mode)


def check_directory(path: Path) -> None:
    """Raise OSError unless there is a directory at `path`, not a link to one."""
    mode = os.lstat(path).st_mode
    if not stat.S_ISDIR(mode):
        raise _not(path, "a directory", mode)


@contextmanager
def opened(path: Path, *, write: bool = False, create: bool = False) -> Iterator[BinaryIO]:
    """A regular file, opened for reading, or for reading and writing. Raises OSError where it is a
    link or anything else; nothing is followed, and nothing waits."""
    flags = (os.O_RDWR if write else os.O_RDONLY) | (os.O_CREAT if create else 0)
    try:
        descriptor = os.open(path, flags | _NO_LINK | _CLOSES, 0o666)
    except OSError as error:
        check_regular(path, missing_ok=True)  # says what it is instead, where that is the reason
        raise error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise _not(path, "a regular file", mode)
        file = os.fdopen(descriptor, "r+b" if write else "rb")
    except BaseException:
        os.close(descriptor)
        raise
    with file:
        yield file


def read_regular(path: Path, size: int) -> bytes:
    """The content of a regular file that should have `size` bytes; of a longer one a byte more,
    which tells. Raises OSError as `opened`."""
    with opened(path) as file:
        return file.read(min(size, os.fstat(file.fileno()).st_size) + 1)


def read_whole(path: Path, *, pipes: bool = False) -> bytes:
    """The content of a file that a person named or downloaded; links are followed. pipes: whether
    it may be a pipe, as a shell's ``<(command)`` is. Raises OSError where it is a device or
    anything else, and where there is more of it than `LARGEST`."""
    mode = os.stat(path).st_mode  # before it is opened: that alone would wait for a pipe's writer
    if not (stat.S_ISREG(mode) or (pipes and stat.S_ISFIFO(mode))):
        raise _not(path, "a regular file", mode)
    with open(path, "rb") as file:
        parts, left = [], LARGEST
        while part := file.read(min(left + 1, _PART)):
            parts.append(part)
            left -= len(part)
            if left < 0:
                raise OSError(errno.EFBIG, f"it has more than {LARGEST:,} bytes", str(path))
        return b"".join(parts)


def _not(path: Path, wanted: str, mode: int) -> OSError:
    kinds = {
        stat.S_IFLNK: "a link",
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFREG: "a file",
    }
    found = kinds.get(stat.S_IFMT(mode), "a device")
    return OSError(errno.EINVAL, f"it is {found}, not {wanted}", str(path))
