"""A handle on a store's database: consistent views, writing under its lock, sweeping up."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from balancedit.errors import StoreError
from balancedit.store.directory import changes, database, files, opening, rows
from balancedit.store.directory.failures import explained


class Transactions:
    """Reads and writes of one store through one connection, which its threads share.

    root: the directory. opened: as `database.connect` gave it.
    """

    def __init__(
        self, root: Path, opened: tuple[sqlite3.Connection, bool], *, writable: bool
    ) -> None:
        self._root = root
        self._db, self._immutable = opened
        self.writable = writable
        self.binding = database.read_binding(self._db, root)
        self._lock = threading.RLock()
        self._seen = self._stamp()  # when the records were last looked at
        self.seen_version = 0  # `EditStore.seen_version`

    def changed(self) -> bool:
        """Whether another handle has committed since this one last looked."""
        with self._lock, explained(self._root, "look for changes"):
            return self._stamp() != self._seen

    @property
    def was_outrun(self) -> bool:
        """Whether another handle has committed since the records were last looked at; asked where
        the write lock is held, nobody can any more."""
        return self._stamp() != self._seen

    def close(self) -> None:
        """Close the database."""
        with self._lock, explained(self._root, "close it"):
            self._db.close()

    def _stamp(self) -> tuple[int, ...]:
        """A value that differs once another handle has committed."""
        if self._immutable:
            # Such a connection never looks at the file again; whoever replaced it changed these.
            found = os.stat(self._root / database.NAME)
            return (found.st_ino, found.st_size, found.st_mtime_ns)
        return tuple(self._db.execute("PRAGMA data_version").fetchone())

    @contextmanager
    def reading(self, doing: str, *, looks: bool = False) -> Iterator[sqlite3.Connection]:
        """One consistent view of the database. looks: what is read now is what `changed` compares
        with; noted before the rows are, so that a commit in between is reported, not missed."""
        with self._lock, explained(self._root, doing):
            if self._immutable and self._stamp() != self._seen:
                self._db.close()
                self._db, self._immutable = database.connect(self._root, writable=False)
                self.binding = opening.check(self._root, self._db, self.binding)
            self._db.execute("BEGIN")
            try:
                if looks:
                    self._seen = self._stamp()
                    self.seen_version = changes.version(self._db)
                yield self._db
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextmanager
    def writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Hold the write lock; commit at the end, or undo everything."""
        if not self.writable:
            raise StoreError(
                f"edit store '{self._root}': cannot {doing}: the directory is read-only; change "
                "its permissions, or copy it to a writable place and use --edits with that"
            )
        with self._lock, explained(self._root, doing):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                outrun = self.was_outrun
                yield self._db
                version = changes.version(self._db)
                self._db.execute("COMMIT")
                if not outrun:  # else what others changed is still to be taken over
                    self.seen_version = version
            except BaseException:
                if self._db.in_transaction:
                    with suppress(sqlite3.Error):
                        self._db.execute("ROLLBACK")
                self.sweep()
                raise

    def sweep(self) -> None:
        """Delete what killed or failed writers left behind, if nobody is writing just now."""
        if not self.writable:
            return
        with self._lock, suppress(sqlite3.Error, OSError, UnicodeError):
            database.remove_abandoned(self._root)
            # Without the lock first: nearly always there is nothing to do.
            if not files.leftovers(self._root, self._with_tensors()):
                return
            self._db.execute("PRAGMA busy_timeout = 0")
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    for path in files.leftovers(self._root, self._with_tensors()):
                        path.unlink(missing_ok=True)
                finally:
                    self._db.execute("ROLLBACK")
            finally:
                self._db.execute(f"PRAGMA busy_timeout = {int(database.BUSY_SECONDS * 1000)}")

    def _with_tensors(self) -> list[str]:
        return rows.read_ids(self._db, "active", "retired")
