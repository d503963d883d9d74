"""The query log's SQLite file: how it is made, opened, and told from a stranger's."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from balancedit.files.regular import check_regular
from balancedit.serving.querylog.records import QueryLogError

FORMAT = 1
BUSY_SECONDS = 5.0

# Keys are as wide as their way says, float16, little-endian; tokens are int32. Small copies are
# apart, so that all keys are read without them. AUTOINCREMENT: an id is never given twice.
_SCHEMA = """
CREATE TABLE log (one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT NULL);
CREATE TABLE ways (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, width INTEGER NOT NULL);
CREATE TABLE queries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    tenant TEXT NOT NULL,
    question TEXT NOT NULL,
    alone INTEGER NOT NULL,
    shown INTEGER NOT NULL,
    fired TEXT,
    answer TEXT,
    untouched TEXT,
    tokens BLOB,
    cut INTEGER NOT NULL,
    way INTEGER NOT NULL,
    key BLOB NOT NULL
);
CREATE TABLE thumbnails (number INTEGER PRIMARY KEY, picture BLOB NOT NULL);
CREATE INDEX queries_by_tenant ON queries (tenant, number);
CREATE INDEX queries_by_time ON queries (time);
"""
_TABLES = ("log", "ways", "queries", "thumbnails", "sqlite_sequence")
_SIDES = ("", "-wal", "-shm", "-journal")

_REMEDIES = {
    "SQLITE_BUSY": "another process keeps it locked; name another file",
    "SQLITE_LOCKED": "another process keeps it locked; name another file",
    "SQLITE_FULL": "the disk is full; free some space",
    "SQLITE_READONLY": "it cannot be written; change its permissions, or name another file",
    "SQLITE_CANTOPEN": "it cannot be opened; check the folder and its permissions",
    "SQLITE_IOERR": "it cannot be read or written; check the disk and its free space",
    "SQLITE_CORRUPT": "it is damaged; delete it, and it begins anew",
    "SQLITE_NOTADB": "it is damaged, or no query log; delete it, or name another file",
}


@contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """Raise what fails inside as `QueryLogError`: what could not be done, why, and the remedy."""
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeEncodeError) as error:
        raise QueryLogError(f"query log '{path}': cannot {doing}: {_said(error)}") from error


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    name = getattr(error, "sqlite_errorname", "")
    found = next((words for start, words in _REMEDIES.items() if name.startswith(start)), None)
    return found or f"{error}; delete it, or name another file"


def create(path: Path) -> None:
    """Make an empty log that its owner alone can read, unless there is a file."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def connect(path: Path, *, writable: bool = True) -> sqlite3.Connection:
    """A connection to a log; its tables are made where the file is empty. Raises `sqlite3.Error`,
    `OSError`."""
    for side in _SIDES:
        check_regular(path.with_name(path.name + side), missing_ok=True)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(path))
    mode = "rw" if writable else "ro"
    db = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,  # whoever holds it serialises its callers
    )
    try:
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        if writable:
            db.execute("PRAGMA secure_delete = ON")  # what is forgotten is not left on the disk
            db.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last questions
            _make_tables(db)
        _check_schema(db)
    except BaseException:
        db.close()
        raise
    return db


def _make_tables(db: sqlite3.Connection) -> None:
    if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("BEGIN IMMEDIATE")
    try:
        if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            db.execute("INSERT INTO log VALUES (1, ?)", (FORMAT,))
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _check_schema(db: sqlite3.Connection) -> None:
    """Refuse a file with more in it than a log's tables and indexes: a trigger would change what is
    read and written."""
    found = db.execute("SELECT type, name, tbl_name FROM sqlite_master").fetchall()
    for kind, name, table in found:
        ours = kind == "table" and name in _TABLES
        if not ours and not (kind == "index" and table in _TABLES):
            raise sqlite3.DatabaseError(f"it holds a {kind} '{name}', which no query log has")
    if {*_TABLES} - {name for _, name, _ in found}:
        raise sqlite3.DatabaseError("it is no query log")
    (format_,) = db.execute("SELECT format FROM log").fetchone() or (None,)
    if format_ != FORMAT:
        raise sqlite3.DatabaseError(
            f"it has format {format_!r}, this version of balancedit reads {FORMAT}"
        )
