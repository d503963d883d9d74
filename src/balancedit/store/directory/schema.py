"""The tables of a store's database, and what may be in one besides."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

#: Since this format a store counts its changes, and keeps an audit and the requests carried out.
COUNTED = 5

# Tuples are JSON texts. `width` is D, known from the first edit on. The thumbnail comes last, so
# that reading a record does not read the picture.
_FIRST = """
CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    format INTEGER NOT NULL,
    model TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    method TEXT NOT NULL,
    details TEXT NOT NULL,
    width INTEGER
);
CREATE TABLE edits (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    question TEXT NOT NULL,
    target TEXT NOT NULL,
    answer_before TEXT NOT NULL,
    answer_after TEXT,
    radius REAL,
    d_positive REAL,
    d_negative REAL,
    positives TEXT NOT NULL,
    positives_source TEXT NOT NULL,
    negative TEXT NOT NULL,
    image_sha256 TEXT NOT NULL,
    created TEXT NOT NULL,
    seconds REAL,
    steps INTEGER NOT NULL,
    loss REAL,
    method TEXT NOT NULL,
    old_answer TEXT,
    overlaps TEXT,
    retires TEXT NOT NULL,
    state TEXT NOT NULL,
    retired_by TEXT,
    warnings TEXT NOT NULL,
    old_tokens TEXT,
    key_index INTEGER NOT NULL UNIQUE,
    key_sha256 TEXT NOT NULL,
    tensors_size INTEGER NOT NULL,
    tensors_sha256 TEXT NOT NULL,
    thumbnail BLOB
);
"""
# Commits and reverts are counted in one place, whatever they change. `requests.time` is in seconds
# since 1970, to be compared; `audit.time` is a text, to be read.
_COUNTED = """
ALTER TABLE store ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    time TEXT NOT NULL,
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    action TEXT NOT NULL,
    edit TEXT,
    version INTEGER NOT NULL,
    detail TEXT NOT NULL
);
CREATE TABLE requests (
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    body_sha256 TEXT NOT NULL,
    edit TEXT NOT NULL,
    version INTEGER NOT NULL,
    time REAL NOT NULL,
    PRIMARY KEY (key, name)
);
"""
_REFUSED = "BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END"
#: They keep the audit as it was written. The last one is against INSERT OR REPLACE, which deletes
#: without asking the one before.
TRIGGERS = {
    "audit_unchanged": f"CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit {_REFUSED}",
    "audit_undeleted": f"CREATE TRIGGER audit_undeleted BEFORE DELETE ON audit {_REFUSED}",
    "audit_added_to": "CREATE TRIGGER audit_added_to BEFORE INSERT ON audit WHEN NEW.number IS NOT "
    f"(SELECT coalesce(max(number), 0) + 1 FROM audit) {_REFUSED}",
}
# Not part of the format: they make finding ids by state, and edits that wait for another, cost no
# look at every record. A store made without them is given them when it is next opened for writing.
INDEXES = {
    "edits_by_state": "CREATE INDEX edits_by_state ON edits (state, number, id)",
    "edits_by_successor": "CREATE INDEX edits_by_successor ON edits (retired_by) "
    "WHERE retired_by IS NOT NULL",
}
_TABLES = ("store", "edits", "audit", "requests")


def create(db: sqlite3.Connection) -> None:
    """Make every table, index and trigger; inside a transaction."""
    _execute(db, _FIRST)
    for statement in INDEXES.values():
        db.execute(statement)
    add_counted(db)


def add_counted(db: sqlite3.Connection) -> None:
    """Make what came with `COUNTED`; inside a transaction."""
    _execute(db, _COUNTED)
    for statement in TRIGGERS.values():
        db.execute(statement)


def _execute(db: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";"):
        db.execute(statement)


def check(db: sqlite3.Connection) -> None:
    """Refuse a database with more in it than the store's own tables, indexes and triggers: another
    trigger would change what is read and written. Raises `sqlite3.DatabaseError`."""
    for kind, name, table, sql in db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
        ours = {
            "table": name in _TABLES and str(sql).startswith("CREATE TABLE"),  # no virtual one
            "index": table in _TABLES,
            "trigger": TRIGGERS.get(name) == sql,
        }
        if not ours.get(kind, False):
            raise sqlite3.DatabaseError(f"it holds a {kind} '{name}', which no store has")


def add_missing(db: sqlite3.Connection, format_: int) -> None:
    """Give a store of an earlier version the indexes it lacks, and one that lost them its triggers,
    unless somebody is writing."""
    wanted = INDEXES | (TRIGGERS if format_ >= COUNTED else {})
    found = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
    missing = [statement for name, statement in wanted.items() if name not in found]
    if not missing:
        return
    with suppress(sqlite3.OperationalError):  # busy, or the disk is full: it works without
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in missing:
                db.execute(statement)
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
