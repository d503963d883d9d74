"""What a store's database keeps of its changes: how many there were, who asked for them, and which
requests were carried out.

Whoever writes here is inside a transaction that holds the write lock.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial

from balancedit.errors import RequestReusedError, StoreError
from balancedit.store.directory.rows import format_of
from balancedit.store.directory.schema import COUNTED
from balancedit.store.terms import REQUESTS_KEPT_S, AuditRecord, Done, Request, Terms

_AUDITED = "number, time, tenant, key, action, edit, version, detail"
_KINDS: tuple[tuple[type, ...], ...] = tuple(
    {"int": (int,), "str": (str,), "str | None": (str, type(None))}[str(f.type)]
    for f in fields(AuditRecord)
)


def version(db: sqlite3.Connection) -> int:
    """How many commits and reverts there were."""
    if format_of(db) < COUNTED:
        return counted(db)
    (found,) = db.execute("SELECT version FROM store").fetchone()
    if not isinstance(found, int) or found < 0:
        raise sqlite3.DatabaseError(f"its version is '{found}'")
    return found


def counted(db: sqlite3.Connection) -> int:
    """The same from the records, of a store that has never been copied: every edit was committed
    once, and those that are reverted were so once."""
    row = db.execute("SELECT count(*) + coalesce(sum(state = 'reverted'), 0) FROM edits").fetchone()
    found: int = row[0]
    return found


def check(db: sqlite3.Connection, terms: Terms) -> None:
    """Raise the error that `Terms` names for what does not hold, before anything is written."""
    if format_of(db) < COUNTED and (terms.audit or terms.request):
        raise StoreError(
            f"a store of format {format_of(db)} keeps no audit and no requests; open it once with "
            "its model, where it can be written, to bring it up to date"
        )
    terms.check(partial(find_request, db), partial(version, db))


def find_request(db: sqlite3.Connection, request: Request) -> Done | None:
    """What a request came to; None where it was not carried out, or is forgotten. Raises
    `RequestReusedError` where another one had its name."""
    if format_of(db) < COUNTED:
        return None
    row = db.execute(
        "SELECT body_sha256, edit, version FROM requests WHERE key = ? AND name = ? AND time > ?",
        (request.key, request.name, time.time() - REQUESTS_KEPT_S),
    ).fetchone()
    if row is None:
        return None
    if row["body_sha256"] != request.body_sha256:
        raise RequestReusedError(request.name)
    if (type(row["edit"]), type(row["version"])) != (str, int):
        raise sqlite3.DatabaseError(f"what request '{request.name}' came to")
    return Done(row["edit"], row["version"])


def count(db: sqlite3.Connection) -> None:
    """One change more. A store of an older format is counted by its records."""
    if format_of(db) >= COUNTED:
        version(db)  # what is no number is not added to
        db.execute("UPDATE store SET version = version + 1")


def keep(db: sqlite3.Connection, action: str, edit_id: str | None, terms: Terms) -> None:
    """Keep who asked for what, and that a request was carried out."""
    now = version(db)
    if terms.audit is not None:
        said = terms.audit
        written = datetime.now(UTC).isoformat(timespec="milliseconds")
        db.execute(
            f"INSERT INTO audit ({_AUDITED}) "
            "SELECT coalesce(max(number), 0) + 1, ?, ?, ?, ?, ?, ?, ? FROM audit",
            (written, said.tenant, said.key, action, edit_id, now, said.detail),
        )
    if terms.request is not None:
        asked, clock = terms.request, time.time()
        db.execute("DELETE FROM requests WHERE time <= ?", (clock - REQUESTS_KEPT_S,))
        db.execute(
            "INSERT INTO requests (key, name, body_sha256, edit, version, time) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (asked.key, asked.name, asked.body_sha256, edit_id, now, clock),
        )


def read_audit(db: sqlite3.Connection, limit: int, after: int | None) -> list[AuditRecord]:
    """Up to `limit` lines of the audit, newest first, those older than the line `after`."""
    if format_of(db) < COUNTED:
        return []
    where, given = ("", ()) if after is None else ("WHERE number < ?", (after,))
    rows = db.execute(
        f"SELECT {_AUDITED} FROM audit {where} ORDER BY number DESC LIMIT ?", (*given, limit)
    )
    return [_audit_record(row) for row in rows]


def _audit_record(row: sqlite3.Row) -> AuditRecord:
    for name, value, kinds in zip(row.keys(), row, _KINDS, strict=True):
        if type(value) not in kinds:
            kind = type(value).__name__
            raise sqlite3.DatabaseError(f"line {row[0]} of its audit: its {name} is of type {kind}")
    return AuditRecord(*row)
