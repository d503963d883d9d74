"""`QueryLog`: what was asked, with keys, for as long as it is kept."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from balancedit.errors import InputError
from balancedit.serving.querylog import database, rows
from balancedit.serving.querylog.database import explained
from balancedit.serving.querylog.records import (
    LoggedQuery,
    LogState,
    Noted,
    QueryLogError,
    Retention,
)
from balancedit.serving.querylog.writer import Writer

if TYPE_CHECKING:
    from balancedit.serving.querylog.remembering import LoggedQuestions

_MOST = 1000  # questions on one page


class QueryLog:
    """A file of questions. Several threads may use it; it serves one process.

    Of each question are kept: the time, whose edits were in force, the text, the key in half
    precision, a small copy of what was shown, what the untouched model says where that is known,
    and what was answered, by which edit. Never the picture itself. The file is its owner's alone.
    """

    def __init__(self, path: Path, writer: Writer | None, reader: sqlite3.Connection) -> None:
        self.path = path
        self._writer, self._reader = writer, reader
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        path: str | Path,
        retention: Retention | None = None,
        *,
        create: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> QueryLog:
        """Open a log to write to, made where there is none. Questions that `retention` does not
        keep are deleted. Raises `QueryLogError` for a file that is none, is damaged, or cannot be
        written."""
        path, kept = Path(path).expanduser(), retention or Retention()
        with explained(path, "open it"):
            if create:
                database.create(path)
            reader = database.connect(path)
            try:
                rows.expire(reader, kept.days, kept.rows, clock())
            except BaseException:
                reader.close()
                raise
        return cls(path, Writer(path, kept, clock), reader)

    @classmethod
    def read(cls, path: str | Path) -> QueryLog:
        """Open a log that is there, to look at alone. Raises `QueryLogError`."""
        path = Path(path).expanduser()
        with explained(path, "open it"):
            return cls(path, None, database.connect(path, writable=False))

    # -- writing -----------------------------------------------------------------------------

    def note(self, noted: Noted) -> None:
        """Have a question kept. Neither waits nor raises, whatever the disk does (`state`)."""
        if self._writer is not None:
            self._writer.put(noted)

    @property
    def state(self) -> LogState:
        """How writing goes."""
        return self._writer.state if self._writer is not None else LogState()

    def flush(self) -> None:
        """Wait, for a few seconds at most, until what was noted is written."""
        if self._writer is not None:
            self._writer.flush()

    def forget(self, tenant: str) -> int:
        """Delete all of a tenant's questions, those that wait to be written too; how many there
        were. Raises `QueryLogError`."""
        self.flush()
        if self._writer is None:
            raise QueryLogError(f"query log '{self.path}': opened to look at alone")
        with self._using("delete questions") as db:
            return rows.forget(db, tenant)

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        if self._writer is not None:
            self._writer.close()
        with self._lock:
            self._reader.close()

    def __enter__(self) -> QueryLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- reading -----------------------------------------------------------------------------

    def queries(
        self, limit: int = 50, after: str | None = None, tenant: str | None = None
    ) -> tuple[list[LoggedQuery], bool]:
        """Up to `limit` questions, newest first, those behind the one with the id `after`, and
        whether there are more. tenant: whose; None: everybody's. Raises `InputError`,
        `QueryLogError`."""
        if not 1 <= limit <= _MOST:
            raise InputError(f"limit is {limit}; give 1 to {_MOST}")
        with self._using("read questions") as db:
            found = rows.page(db, limit + 1, None if after is None else number(after), tenant)
        return found[:limit], len(found) > limit

    def thumbnail(self, query_id: str, tenant: str | None = None) -> bytes | None:
        """The small copy of what a question showed, WebP or PNG; None where there is none, or it is
        damaged. Raises `InputError`, `QueryLogError`."""
        with self._using("read a picture") as db:
            found = rows.thumbnail(db, number(query_id), tenant)
        return found if found is not None and rows.is_picture(found) else None

    def remembered(self, way: str) -> LoggedQuestions:
        """Everybody's questions, to hold an edit against; see `of`."""
        return self.of(None).remembered(way)

    def of(self, tenant: str | None) -> TenantLog:
        """One tenant's questions, to hold an edit against (`Editor.preview`); None: everybody's."""
        return TenantLog(self, tenant)

    @contextmanager
    def _using(self, doing: str) -> Iterator[sqlite3.Connection]:
        with self._lock, explained(self.path, doing):
            yield self._reader


class TenantLog:
    """One tenant's questions; `preview.remembered.Remembers`."""

    def __init__(self, log: QueryLog, tenant: str | None) -> None:
        self._log, self._tenant = log, tenant

    def remembered(self, way: str) -> LoggedQuestions:
        """Those whose keys were made in this way. Raises `QueryLogError`."""
        from balancedit.serving.querylog.remembering import LoggedQuestions

        self._log.flush()
        return LoggedQuestions(self._log._using, way, self._tenant)


def number(query_id: str) -> int:
    """The number behind a question's id. Raises `InputError`."""
    if not (query_id.isascii() and query_id.isdigit() and len(query_id) < 19):
        raise InputError("a logged question's id is a number; take it from the list of questions")
    return int(query_id)
