"""The SQLite file of a store: its tables, how it is made, opened and upgraded."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from balancedit.errors import StoreError
from balancedit.files.durable import sync_directory
from balancedit.files.regular import check_regular
from balancedit.store.directory import changes, schema
from balancedit.store.directory.rows import SINCE, format_of
from balancedit.store.protocol import Binding

NAME = "store.sqlite3"
#: Raise it whenever a table changes, `Edit`'s fields included, and teach `upgrade` the change.
FORMAT = 5
#: Since this format a store says what decides its edits' answers, weights and prompt; before it was
#: bound to a model's whole configuration, and to no prompt.
BOUND_BY_ANSWERS = 4
BUSY_SECONDS = 30.0
_NEW = ".new-"  # where a database is made before it gets its name


def create_database(root: Path, binding: Binding) -> None:
    """Give `root` an empty database, unless another process has just done so.

    Made under another name and linked into place: nobody ever sees half of one, and a failure has
    nothing to take back but its own temporary directory.
    """
    making = Path(tempfile.mkdtemp(prefix=_NEW, dir=root))
    try:
        with closing(sqlite3.connect(making / NAME, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = WAL")  # kept in the file, so every opener uses it
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE")
            schema.create(db)
            db.execute(
                "INSERT INTO store VALUES (1, ?, ?, ?, ?, ?, NULL, 0)",
                (
                    FORMAT,
                    binding.model,
                    binding.fingerprint,
                    binding.method,
                    json.dumps(dict(binding.details)),
                ),
            )
            db.execute("COMMIT")
        try:
            os.link(making / NAME, root / NAME)
        except FileExistsError:
            pass
        except OSError:  # no hard links here (FAT, some network drives)
            if not (root / NAME).exists():
                os.rename(making / NAME, root / NAME)
        sync_directory(root)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def remove_abandoned(root: Path, older_than_s: float = 3600.0) -> None:
    """Delete what a process killed while creating a store left; a live one needs far less time."""
    for path in root.glob(f"{_NEW}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > older_than_s:
                shutil.rmtree(path)


def connect(root: Path, *, writable: bool) -> tuple[sqlite3.Connection, bool]:
    """Open the database of a store that exists.

    Returns the connection and whether it is *immutable*: on a read-only directory SQLite cannot
    make the files with which processes warn each other, so it reads the file as it stands.

    Raises `sqlite3.Error`, or `StoreError` for a directory copied while a process was writing.
    """
    if writable:
        return _connect(root, "mode=rw"), False
    try:
        return _connect(root, "mode=ro"), False
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
            raise  # busy, for one, must not end in reading a file while it changes
        log = root / f"{NAME}-wal"
        if log.exists() and log.stat().st_size:
            # Immutable would silently ignore the log, and with it the newest edits.
            raise StoreError(
                f"edit store '{root}': it is read-only and was copied while in use ({log.name} is "
                "not empty); close it where it can be written, or run `balancedit list` on it "
                "there, and copy it again"
            ) from None
        return _connect(root, "mode=ro&immutable=1"), True


def _connect(root: Path, options: str) -> sqlite3.Connection:
    """A connection that reads at once, so that a file that cannot be read fails here."""
    for name in (NAME, f"{NAME}-wal", f"{NAME}-shm", f"{NAME}-journal"):
        check_regular(root / name, missing_ok=True)
    db = sqlite3.connect(
        f"file:{quote(str((root / NAME).absolute()))}?{options}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,  # transactions are written out where they matter
        check_same_thread=False,  # the store serialises its callers
    )
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA synchronous = FULL")
        # The file may be a stranger's: https://www.sqlite.org/security.html
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        schema.check(db)
    except BaseException:
        db.close()
        raise
    return db


def upgrade(db: sqlite3.Connection, binding: Binding | None) -> None:
    """Bring a store of an earlier format to this one, or where nothing says what it is bound to,
    as far as that goes. Records of edits stay as they are.

    binding: what it was opened for, and found to belong to.
    """
    bound = binding is not None or format_of(db) >= BOUND_BY_ANSWERS
    reached = FORMAT if bound else BOUND_BY_ANSWERS - 1
    if format_of(db) >= reached:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        found = format_of(db)  # looked at again: another process may have come first
        for column, since in SINCE.items():
            if found < since:
                db.execute(f"ALTER TABLE edits ADD COLUMN {column} TEXT")
        if binding is not None and found < BOUND_BY_ANSWERS:
            db.execute(
                "UPDATE store SET fingerprint = ?, details = ?",
                (binding.fingerprint, json.dumps(dict(binding.details))),
            )
        if found < schema.COUNTED <= reached:
            schema.add_counted(db)
            db.execute("UPDATE store SET version = ?", (changes.counted(db),))
        db.execute("UPDATE store SET format = ?", (max(found, reached),))
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def read_binding(db: sqlite3.Connection, root: Path) -> Binding:
    """Whom the store belongs to; `StoreError` for a database that this version cannot read."""
    found = format_of(db)
    if not 1 <= found <= FORMAT:
        raise StoreError(
            f"edit store '{root}': {NAME} has format {found}, this version of balancedit reads up "
            f"to {FORMAT}; upgrade balancedit, or use another --edits directory"
        )
    row = db.execute("SELECT model, fingerprint, method, details FROM store").fetchone()
    try:
        details = json.loads(row["details"])
        whole = all(isinstance(text, str) for text in row) and isinstance(details, dict)
    except (ValueError, TypeError, RecursionError) as error:
        raise sqlite3.DatabaseError(f"its description: {error}") from error
    if not whole:
        raise sqlite3.DatabaseError("its description is of another form")
    return Binding(row["model"], row["fingerprint"], row["method"], details)
