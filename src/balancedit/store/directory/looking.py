"""Looking at a store: what its database says, without a look at any other file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from balancedit.store.directory import changes, rows
from balancedit.store.directory.transactions import Transactions
from balancedit.store.protocol import Binding
from balancedit.store.terms import AuditRecord, Done, Request, Terms
from balancedit.types import STATES, Edit, EditState


class Records:
    """The part of `DiskStore` that reads and writes the database alone."""

    def __init__(self, root: Path, transactions: Transactions) -> None:
        self.root = root
        self._transactions = transactions

    @property
    def binding(self) -> Binding:
        """What the held edits belong to, as the store's maker gave it; see `opening.check`."""
        return self._transactions.binding

    @property
    def read_only(self) -> bool:
        """Whether the directory could not be written when it was opened."""
        return not self._transactions.writable

    @property
    def version(self) -> int:
        """See `EditStore.version`."""
        with self._transactions.reading("read its version") as db:
            return changes.version(db)

    @property
    def seen_version(self) -> int:
        """See `EditStore.seen_version`."""
        return self._transactions.seen_version

    def edits(self) -> dict[str, Edit]:
        """Every record by id, oldest first; reads the database only, no file per edit."""
        with self._transactions.reading("read its records") as db:
            return rows.read_records(db)

    def records(self, ids: Iterable[str]) -> dict[str, Edit]:
        """See `EditStore.records`."""
        with self._transactions.reading("read its records") as db:
            return rows.read_records(db, ids)

    def active(self) -> list[str]:
        """Ids of the edits in force, oldest first."""
        with self._transactions.reading("read its records", looks=True) as db:
            return rows.read_ids(db, "active")

    def resolve(self, wanted: str) -> str:
        """See `EditStore.resolve`."""
        with self._transactions.reading("read its records") as db:
            return rows.resolve(db, wanted)

    def page(
        self, limit: int, after: str | None = None, states: Sequence[EditState] = STATES
    ) -> list[Edit]:
        """See `EditStore.page`."""
        with self._transactions.reading("read its records") as db:
            start = after if after is None else rows.resolve(db, after)
            return rows.read_page(db, limit, start, states)

    def changed(self) -> bool:
        """Whether another handle has committed since this one last looked."""
        return self._transactions.changed()

    def thumbnail(self, edit_id: str) -> bytes | None:
        """The encoded picture given with the edit, if any."""
        with self._transactions.reading("read a picture") as db:
            edit_id = rows.resolve(db, edit_id)
            row = db.execute("SELECT thumbnail FROM edits WHERE id = ?", (edit_id,)).fetchone()
            return row[0] if isinstance(row[0], bytes) else None

    def pictured(self, ids: Iterable[str]) -> set[str]:
        """See `EditStore.pictured`."""
        with self._transactions.reading("look for pictures") as db:
            return rows.read_pictured(db, ids)

    def audit(self, limit: int, after: int | None = None) -> list[AuditRecord]:
        """See `EditStore.audit`."""
        with self._transactions.reading("read its audit") as db:
            return changes.read_audit(db, limit, after)

    def note(self, action: str, terms: Terms, edit_id: str | None = None) -> None:
        """See `EditStore.note`."""
        with self._transactions.writing(f"note '{action}'") as db:
            changes.check(db, terms)
            changes.keep(db, action, edit_id, terms)

    def done(self, request: Request) -> Done | None:
        """See `EditStore.done`."""
        with self._transactions.reading("look for a request") as db:
            return changes.find_request(db, request)
