"""Writing files so that they are there whole or not at all, and stay there."""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer


#: What file systems answer that keep a directory's names on the disk by themselves, or have no way
#: to be asked: network drives, FUSE.
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}
#: And those where a directory cannot be opened at all, or may be written but not read.
_NO_OPENING = {*_NO_SYNC, errno.EISDIR, errno.EACCES, errno.EPERM}


def digest(data: Buffer) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def write_durably(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, and on the disk when this returns."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb", opener=_no_link) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _no_link(path: str, flags: int) -> int:
    """Opens a file unless a link is in its place, which would have another file written to."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def sync_directory(path: Path) -> None:
    """Make renames inside `path` survive a power cut, where the file system can be asked to; the
    files themselves were put on the disk before."""
    if os.name == "nt":  # Windows has no such call, and no need of it
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno not in _NO_OPENING:
            raise
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)
