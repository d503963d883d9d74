"""The query log's rows: written from what was noted, and read as far as they are what was written.

Letters: N = questions, D = width of a key.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image

from balancedit.inputs.pictures import Picture, each, small_copy
from balancedit.serving.querylog.records import LoggedQuery, Noted

#: Small copies are at most so many pixels a side; a picture no larger than that is kept smaller.
SIDE = 96
_WIDEST = 2**20  # numbers of a key, at most
_LONGEST = 2**20  # bytes of tokens, at most
_OF_TEXT = 250_000  # characters of any text, at most


class Keys(NamedTuple):
    """Questions whose keys were made in one way. numbers: theirs in the log, (N,) int64; keys:
    (N, D) float16; tokens: what the untouched model says to each, int32 as bytes, None where that
    is not known; cut: whether it was cut before its end."""

    numbers: np.ndarray
    keys: np.ndarray
    tokens: list[bytes | None]
    cut: list[bool]


def small(picture: Picture | None) -> bytes | None:
    """The small copy that is kept, never as large as what was shown; None where nothing was."""
    if picture is None:
        return None
    longest = max(max(image.size) for image in each(picture))
    return small_copy(picture, min(SIDE, max(1, longest // 2)) if longest <= SIDE else SIDE)


def write(db: sqlite3.Connection, noted: Sequence[tuple[float, Noted, bytes | None]]) -> None:
    """Add questions with their times and small copies, in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for at, one, thumbnail in noted:
            way = _way(db, one.way, len(one.key))
            said = one.untouched
            tokens = None if said is None else np.asarray(said.ids, dtype="<i4").tobytes()
            row = (
                *(at, one.tenant, one.question, int(one.alone), len(each(one.picture))),
                *(one.fired, one.answer, None if said is None else said.text, tokens),
                *(int(said is not None and said.cut), way, one.key.astype("<f2").tobytes()),
            )
            marks = ", ".join("?" * len(row))
            made = db.execute(f"INSERT INTO queries VALUES (NULL, {marks})", row)
            if thumbnail is not None:
                db.execute("INSERT INTO thumbnails VALUES (?, ?)", (made.lastrowid, thumbnail))
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _way(db: sqlite3.Connection, name: str, width: int) -> int:
    found = db.execute("SELECT number, width FROM ways WHERE name = ?", (name,)).fetchone()
    if found is None:
        return int(db.execute("INSERT INTO ways VALUES (NULL, ?, ?)", (name, width)).lastrowid or 0)
    if found[1] != width:
        raise sqlite3.DatabaseError(f"its keys have {found[1]} numbers, this one has {width}")
    return int(found[0])


def expire(db: sqlite3.Connection, days: float, rows: int, now: float | None = None) -> int:
    """Delete what is older than that, and all but the newest so many; how many went."""
    before = (time.time() if now is None else now) - days * 86_400.0
    return _delete(
        db,
        "time < ? OR number <= (SELECT number FROM queries ORDER BY number DESC LIMIT 1 OFFSET ?)",
        (before, rows),
    )


def forget(db: sqlite3.Connection, tenant: str) -> int:
    """Delete all of a tenant's questions; how many there were."""
    return _delete(db, "tenant = ?", (tenant,))


def _delete(db: sqlite3.Connection, where: str, given: tuple[object, ...]) -> int:
    db.execute("BEGIN IMMEDIATE")
    try:
        chosen = f"SELECT number FROM queries WHERE {where}"
        db.execute(f"DELETE FROM thumbnails WHERE number IN ({chosen})", given)
        gone = db.execute(f"DELETE FROM queries WHERE {where}", given).rowcount
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    if gone:  # else what was deleted would stay beside the file until it is written to again
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return gone


def keys(db: sqlite3.Connection, way: str, tenant: str | None) -> Keys:
    """All questions whose keys were made in this way, oldest first; those of one tenant, or all.
    Rows that are not what was written are left out."""
    found = db.execute("SELECT number, width FROM ways WHERE name = ?", (way,)).fetchone()
    number, width = found if found is not None else (0, 0)
    if not (isinstance(width, int) and 0 <= width <= _WIDEST):
        raise sqlite3.DatabaseError(f"keys of {width!r} numbers")
    rows = db.execute(
        "SELECT number, key, tokens, cut FROM queries WHERE way = ? AND (? IS NULL OR tenant = ?) "
        "AND typeof(key) = 'blob' AND length(key) = ? "
        "AND (tokens IS NULL OR (typeof(tokens) = 'blob' AND length(tokens) % 4 = 0 "
        "AND length(tokens) <= ?)) ORDER BY number",
        (number, tenant, tenant, 2 * width, _LONGEST),
    ).fetchall()
    matrix = np.frombuffer(bytearray().join(row[1] for row in rows), dtype="<f2")
    matrix = matrix.reshape(len(rows), width)
    whole = np.isfinite(matrix).all(axis=1)
    kept = [row for row, good in zip(rows, whole, strict=True) if good]
    return Keys(
        np.array([row[0] for row in kept], dtype=np.int64),
        matrix if whole.all() else matrix[whole],
        [row[2] for row in kept],
        [bool(row[3]) for row in kept],
    )


_COLUMNS = "q.number, q.time, q.tenant, q.question, q.untouched, q.fired, q.answer, t.number"
_FROM = "FROM queries q LEFT JOIN thumbnails t ON t.number = q.number"


def page(
    db: sqlite3.Connection, limit: int, after: int | None, tenant: str | None
) -> list[LoggedQuery]:
    """Up to `limit` questions, newest first, those with ids below `after`."""
    rows = db.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE (? IS NULL OR q.number < ?) "
        "AND (? IS NULL OR q.tenant = ?) ORDER BY q.number DESC LIMIT ?",
        (after, after, tenant, tenant, limit),
    )
    return [_query(row) for row in rows]


def queries(
    db: sqlite3.Connection, numbers: Iterable[int], tenant: str | None
) -> dict[int, LoggedQuery]:
    """The questions with these numbers, as far as they are there."""
    found = {}
    for number in numbers:
        row = db.execute(
            f"SELECT {_COLUMNS} {_FROM} WHERE q.number = ? AND (? IS NULL OR q.tenant = ?)",
            (number, tenant, tenant),
        ).fetchone()
        if row is not None:
            found[number] = _query(row)
    return found


def to_ask_again(
    db: sqlite3.Connection, number: int, tenant: str | None
) -> tuple[str, bytes | None] | None:
    """A question and its small copy (None: it showed nothing), where the two make the prompt that
    it was; None where they do not, or are not there any more."""
    row = db.execute(
        "SELECT q.question, q.alone, q.shown, t.picture FROM queries q LEFT JOIN thumbnails t ON "
        "t.number = q.number WHERE q.number = ? AND (? IS NULL OR q.tenant = ?)",
        (number, tenant, tenant),
    ).fetchone()
    if row is None or not isinstance(row[0], str) or not row[1]:
        return None
    if row[2] == 0:
        return row[0], None
    return (row[0], row[3]) if row[2] == 1 and isinstance(row[3], bytes) else None


def thumbnail(db: sqlite3.Connection, number: int, tenant: str | None) -> bytes | None:
    """A question's small copy."""
    row = db.execute(
        "SELECT t.picture FROM thumbnails t JOIN queries q ON q.number = t.number "
        "WHERE t.number = ? AND (? IS NULL OR q.tenant = ?)",
        (number, tenant, tenant),
    ).fetchone()
    return row[0] if row is not None and isinstance(row[0], bytes) else None


def is_picture(data: bytes) -> bool:
    """Whether these bytes begin as a picture of the kinds that are kept does."""
    try:
        with Image.open(BytesIO(data), formats=("WEBP", "PNG")) as image:
            return max(image.size) <= 64 * SIDE
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _query(row: Sequence[object]) -> LoggedQuery:
    number, at, tenant, question, untouched, fired, answer, has = row
    texts = (tenant, question), (untouched, fired, answer)
    fits = (
        isinstance(number, int)
        and isinstance(at, (int, float))
        and all(isinstance(text, str) and len(text) <= _OF_TEXT for text in texts[0])
        and all(text is None or isinstance(text, str) for text in texts[1])
    )
    if not fits:
        raise sqlite3.DatabaseError(f"question {number!r} is not what was written")
    try:
        told = datetime.fromtimestamp(float(at), UTC).isoformat(timespec="seconds")  # type: ignore[arg-type]
    except (ValueError, OverflowError, OSError) as error:
        raise sqlite3.DatabaseError(f"question {number!r} has no time") from error
    return LoggedQuery(
        *(str(number), told, str(tenant), str(question)),
        *(untouched, fired, answer, has is not None),  # type: ignore[arg-type]
    )
