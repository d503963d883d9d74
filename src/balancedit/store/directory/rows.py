"""An edit's record as a row of the store's database, and back."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from balancedit.store import history
from balancedit.store.directory.files import ID, ID_SAID
from balancedit.types import STATES, Edit, EditState

#: The format a column came with; those not named are as old as any.
SINCE = {"old_answer": 2, "old_tokens": 3}

_FIELDS = tuple(f.name for f in fields(Edit))
_TUPLES = frozenset(f.name for f in fields(Edit) if str(f.type).startswith("tuple"))
_TUPLES_AT = tuple(i for i, name in enumerate(_FIELDS) if name in _TUPLES)
_FLOATS_AT = tuple(i for i, f in enumerate(fields(Edit)) if f.type == "float")
_TEXTS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "float": (float, int, type(None)),  # SQLite keeps NaN as NULL
    "float | None": (float, int, type(None)),
    "PositiveSource": (str,),
    "EditState": (str,),
}
#: What SQLite may give for each of `Edit`'s fields; tuples are JSON texts.
_KINDS = tuple(_TEXTS.get(str(f.type), (str, type(None))) for f in fields(Edit))
_STATE_AT = _FIELDS.index("state")
WIDEST = 2**20  # numbers of a key, at most
_EACH = "SELECT value FROM json_each(?)"
CONTENT_COLUMNS = ("key_index", "key_sha256", "tensors_size", "tensors_sha256")


def format_of(db: sqlite3.Connection) -> int:
    """The format a store is written in."""
    found = db.execute("SELECT format FROM store").fetchone()
    if found is None:
        raise sqlite3.DatabaseError("its description is missing")
    if not isinstance(found[0], int):
        raise sqlite3.DatabaseError(f"its format is '{found[0]}'")
    return found[0]


def read_records(db: sqlite3.Connection, ids: Iterable[str] | None = None) -> dict[str, Edit]:
    """Records by id, oldest first: all of them, or those of `ids` that exist."""
    if ids is None:
        return _records(db, "")
    return _records(db, f"WHERE id IN ({_EACH})", _listed(ids))


def read_same(db: sqlite3.Connection, edit: Edit) -> dict[str, Edit]:
    """Records in force of the same method about the very fact that an edit is about, by id, oldest
    first."""
    where = "WHERE state = 'active' AND image_sha256 = ? AND method = ?"
    found = _records(db, where, edit.image_sha256, edit.method)
    return {i: held for i, held in found.items() if history.same_fact(held, edit)}


def read_waiting(db: sqlite3.Connection, edit_id: str) -> dict[str, Edit]:
    """Records of the edits that `edit_id` has retired, by id, oldest first."""
    return _records(db, "WHERE retired_by = ?", edit_id)


def read_page(
    db: sqlite3.Connection, limit: int, after: str | None, states: Sequence[EditState]
) -> list[Edit]:
    """Up to `limit` records in these states, newest first, those older than the edit `after`."""
    # The + keeps SQLite from sorting all that an index on states finds; it stops at the limit.
    where, given = f"WHERE +state IN ({_EACH})", [_listed(states)]
    if after is not None:
        where += " AND number < (SELECT number FROM edits WHERE id = ?)"
        given.append(after)
    return [*_records(db, where, *given, order=f"number DESC LIMIT {limit:d}").values()]


def _records(
    db: sqlite3.Connection, where: str, *given: str, order: str = "number"
) -> dict[str, Edit]:
    format_ = format_of(db)
    names = [f if SINCE.get(f, 1) <= format_ else f"NULL AS {f}" for f in _FIELDS]
    rows = db.execute(f"SELECT {', '.join(names)} FROM edits {where} ORDER BY {order}", given)
    rows.row_factory = None
    return {row[0]: _record(row) for row in rows}


def read_ids(db: sqlite3.Connection, *states: EditState) -> list[str]:
    """Ids of the edits in these states, oldest first."""
    rows = db.execute(
        f"SELECT id FROM edits WHERE state IN ({_EACH}) ORDER BY number", (_listed(states),)
    )
    return [_checked_id(row[0]) for row in rows]


def key_width(db: sqlite3.Connection) -> int | None:
    """D, the numbers of a key; None before the first edit."""
    (width,) = db.execute("SELECT width FROM store").fetchone()
    if width is not None and not (isinstance(width, int) and 0 < width <= WIDEST):
        raise sqlite3.DatabaseError(f"keys of {width} numbers")
    return width


def last_key(db: sqlite3.Connection) -> int:
    """The position of the last key in the keys' file; -1 before the first edit."""
    (index,) = db.execute("SELECT coalesce(max(key_index), -1) FROM edits").fetchone()
    if not isinstance(index, int):
        raise sqlite3.DatabaseError(f"a key at position {index}")
    return index


def read_contents(db: sqlite3.Connection, ids: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    """By id, where those edits' contents are, which exist: the values of `CONTENT_COLUMNS`."""
    ids = list(ids)
    columns = ", ".join(("id", *CONTENT_COLUMNS))
    rows = db.execute(f"SELECT {columns} FROM edits WHERE id IN ({_EACH})", (_listed(ids),))
    rows.row_factory = None
    found = {row[0]: row[1:] for row in rows}
    for edit_id in ids:
        if edit_id not in found:
            raise sqlite3.DatabaseError(f"edit '{edit_id}': its index leads elsewhere")
    for edit_id, content in found.items():
        if tuple(map(type, content)) != (int, str, int, str) or content[0] < 0:
            raise sqlite3.DatabaseError(f"edit '{edit_id}': where its contents are")
    return found


def read_pictured(db: sqlite3.Connection, ids: Iterable[str]) -> set[str]:
    """Those of `ids` whose thumbnail is there; SQLite tells without reading it."""
    where = f"WHERE id IN ({_EACH}) AND typeof(thumbnail) = 'blob'"
    return {row[0] for row in db.execute(f"SELECT id FROM edits {where}", (_listed(ids),))}


def resolve(db: sqlite3.Connection, wanted: str) -> str:
    """The id that equals or begins with `wanted`; see `history.resolve`."""
    if read_records(db, [wanted]):
        return wanted
    rows = db.execute("SELECT id FROM edits ORDER BY number")
    found = history.resolve([_checked_id(row[0]) for row in rows], wanted)
    if not read_records(db, [found]):
        raise sqlite3.DatabaseError(f"edit '{found}': its index leads elsewhere")
    return found


def _listed(values: Iterable[str]) -> str:
    """Any number of texts as the one parameter that `_EACH` stands for."""
    return json.dumps(list(values))


def _checked_id(edit_id: Any) -> str:
    """An id as a database gave it. Raises `sqlite3.DatabaseError` for one that is none of ours."""
    if not isinstance(edit_id, str) or not re.fullmatch(ID, edit_id):
        raise sqlite3.DatabaseError(f"edit id {edit_id!r} is not {ID_SAID}")
    return edit_id


def _record(row: Sequence[Any]) -> Edit:
    values = list(row)
    _checked_id(values[0])
    for name, value, kinds in zip(_FIELDS, values, _KINDS, strict=True):
        if type(value) not in kinds:
            kind = type(value).__name__
            raise sqlite3.DatabaseError(f"edit '{values[0]}': its {name} is of type {kind}")
    if values[_STATE_AT] not in STATES:
        raise sqlite3.DatabaseError(f"edit '{values[0]}': its state is '{values[_STATE_AT]}'")
    try:
        for at in _TUPLES_AT:
            values[at] = _tuple(json.loads(values[at])) if values[at] not in ("[]", None) else ()
    except (ValueError, RecursionError) as error:
        raise sqlite3.DatabaseError(f"edit '{values[0]}': {error}") from error
    for at in _FLOATS_AT:
        if values[at] is None:  # SQLite keeps NaN as NULL
            values[at] = math.nan
    return Edit(*values)


def _tuple(items: Any) -> tuple[Any, ...]:
    """A JSON list, lists in it too, as tuples. Raises ValueError for another value."""
    if not isinstance(items, list):
        raise ValueError("what should be a list is none")
    return tuple(_tuple(item) if isinstance(item, list) else item for item in items)


def _values(edit: Edit) -> list[Any]:
    return [
        json.dumps(getattr(edit, name)) if name in _TUPLES else getattr(edit, name)
        for name in _FIELDS
    ]


def insert(
    db: sqlite3.Connection, edit: Edit, content: tuple[int, str, int, str], thumbnail: bytes | None
) -> None:
    """Add a record; `content` has the values of `CONTENT_COLUMNS`."""
    columns = [*_FIELDS, *CONTENT_COLUMNS, "thumbnail"]
    marks = ", ".join("?" * len(columns))
    db.execute(
        f"INSERT INTO edits ({', '.join(columns)}) VALUES ({marks})",
        [*_values(edit), *content, thumbnail],
    )


def update(db: sqlite3.Connection, edits: Iterable[Edit]) -> None:
    """Replace records that exist."""
    assignments = ", ".join(f"{name} = ?" for name in _FIELDS)
    for edit in edits:
        db.execute(f"UPDATE edits SET {assignments} WHERE id = ?", [*_values(edit), edit.id])
