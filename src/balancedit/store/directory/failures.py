"""Turns what the file system and SQLite say into one line a person can act on."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from balancedit.errors import StoreError

_BY_ERRNO = {
    errno.ENOSPC: "the disk is full; free some space, or use another --edits directory",
    errno.EDQUOT: "the disk quota is used up; free some space, or use another --edits directory",
    errno.EROFS: "the file system is read-only; copy the store to a writable place and use "
    "--edits with that",
    errno.EACCES: "no permission; change the directory's permissions, or use another --edits "
    "directory",
    errno.EPERM: "not permitted; change the directory's permissions, or use another --edits "
    "directory",
    errno.ENOTDIR: "a part of this path is a file; name a directory with --edits",
    errno.EEXIST: "a file is in the way; name a directory with --edits",
    errno.ENOENT: "a file or directory is gone; has the store been moved or deleted?",
}

_DRIVE = (
    "this drive does not lock files as SQLite needs it (is it a network drive?); keep the store on "
    "a local disk, and copy it with Editor.save"
)
# By the start of SQLite's own error name, most specific first.
_BY_SQLITE_NAME = {
    "SQLITE_BUSY": "another process has kept the store locked for too long; try again when it is "
    "done",
    "SQLITE_LOCKED": "another process has kept the store locked for too long; try again when it "
    "is done",
    "SQLITE_PROTOCOL": _DRIVE,
    "SQLITE_NOLFS": _DRIVE,
    "SQLITE_IOERR_LOCK": _DRIVE,
    "SQLITE_IOERR_UNLOCK": _DRIVE,
    "SQLITE_IOERR_RDLOCK": _DRIVE,
    "SQLITE_IOERR_CHECKRESERVEDLOCK": _DRIVE,
    "SQLITE_IOERR_SHM": _DRIVE,
    "SQLITE_NOMEM": "there is not enough memory; close something, and try again",
    "SQLITE_TOOBIG": "a text or picture of this edit is too long for SQLite; shorten it",
    "SQLITE_INTERRUPT": "it was interrupted; try again",
    "SQLITE_FULL": _BY_ERRNO[errno.ENOSPC],
    "SQLITE_READONLY": "store.sqlite3 cannot be written; change its permissions, or use another "
    "--edits directory",
    "SQLITE_PERM": _BY_ERRNO[errno.EACCES],
    "SQLITE_CANTOPEN": "store.sqlite3 cannot be opened; check the permissions of the directory "
    "and its files",
    "SQLITE_IOERR": "store.sqlite3 cannot be read or written; check the disk and its free space",
    "SQLITE_CORRUPT": "store.sqlite3 is damaged; restore the directory from a copy, or use "
    "another --edits directory",
    "SQLITE_NOTADB": "store.sqlite3 is damaged or not a database; restore the directory from a "
    "copy, or use another --edits directory",
}


def explain(error: sqlite3.Error | OSError | ValueError) -> str:
    """What went wrong and the remedy, without the store's name."""
    if isinstance(error, OSError):
        said = error.strerror or str(error)
        if error.errno == errno.EINVAL and error.filename:
            return (
                f"'{Path(error.filename).name}': {said}; restore it from a copy, or use another "
                "--edits directory"
            )
        return _BY_ERRNO.get(error.errno or 0, f"{said}; check the disk and its permissions")
    if isinstance(error, UnicodeEncodeError):  # half a character, from a broken terminal encoding
        return f"the record cannot be written as text ({error}); check the question and answer"
    name = getattr(error, "sqlite_errorname", "")
    for start, words in _BY_SQLITE_NAME.items():
        if name.startswith(start):
            return words
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return "this handle was closed; open the store again"
    return (
        f"store.sqlite3 is damaged or not an edit store ({error}); restore the directory from a "
        "copy, or use another --edits directory"
    )


@contextmanager
def explained(root: Path, doing: str) -> Iterator[None]:
    """Raise what fails inside as `StoreError("edit store 'root': cannot doing: why; remedy")`."""
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeError) as error:
        raise StoreError(f"edit store '{root}': cannot {doing}: {explain(error)}") from error
