"""A directory of edits that survives kills, full disks and a second process.

One rule carries it all: an edit exists if and only if its row is committed, and its key and tensors
are on the disk before that. Everything a commit writes, it writes while it holds the database's
write lock, which the operating system releases when a process dies. So whoever holds that lock
knows that a file without a row is nobody's work in progress, and may delete it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from balancedit.errors import DamagedEditError, EditNotFoundError, StoreError
from balancedit.files.durable import digest, write_durably
from balancedit.store import history
from balancedit.store.directory import changes, database, files, opening, rows, schema
from balancedit.store.directory.failures import explained
from balancedit.store.directory.looking import Records
from balancedit.store.directory.transactions import Transactions
from balancedit.store.protocol import Binding, DamagedEdit, HeldEdit, HeldEdits, checked_key
from balancedit.store.terms import NO_TERMS, Terms
from balancedit.types import Edit

if TYPE_CHECKING:
    import torch

_CHUNK = 64  # files held in memory at once while they are only checked
#: A store no larger than this is checked whole when its edits are taken over; of a larger one only
#: the keys and the files' sizes are, and each file's content when it is first wanted.
CHECKED_EDITS, CHECKED_BYTES = 256, 256 * 2**20
_DAMAGE_REMEDY = "restore it from a copy, or revert the edit and make it again"


class DiskStore(Records):
    """Edits in a directory; see `EditStore` for what each method promises.

    Made by `DiskStore.open`. One handle may be used by several threads, and several processes may
    each have a handle on the same directory. Do not carry a handle across `os.fork`.
    """

    def __init__(
        self, root: Path, opened: tuple[sqlite3.Connection, bool], *, writable: bool, bound: bool
    ) -> None:
        super().__init__(root, Transactions(root, opened, writable=writable))
        self._bound = bound  # opened for a model, so edits may be added
        self._form = opening.key_form(root, self.binding)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], binding: Binding | None = None, *, create: bool = False
    ) -> DiskStore:
        """Open the store in directory `path`.

        Args:
            path: the directory.
            binding: what it must belong to. None, where no model is loaded: records can be looked
                at and reverted, but no edit added.
            create: make the store where there is none; needs a binding.

        A directory that cannot be written is opened for reading. Raises `StoreMismatchError` when
        the store belongs to something else, `StoreError` when it is missing, damaged, or of a newer
        format. A failure leaves nothing behind that was not there.
        """
        root = Path(os.path.expanduser(path))
        with explained(root, "open it"):
            if root.exists() and not root.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "Not a directory")
            if not (root / database.NAME).exists():
                if not create or binding is None:
                    raise StoreError(
                        f"no edit store in '{root}'; make an edit first (`balancedit edit`), or "
                        "name another directory with --edits"
                    )
                opening.create(root, binding)
            writable = opening.writable(root)
            opened = database.connect(root, writable=writable)
            try:
                store = cls(root, opened, writable=writable, bound=binding is not None)
                store._transactions.binding = opening.check(root, opened[0], binding)
                if writable:
                    database.upgrade(opened[0], binding)
                    # again: another process may have done so before, for another prompt
                    store._transactions.binding = opening.check(root, opened[0], binding)
            except BaseException:
                opened[0].close()
                raise
        if writable:
            schema.add_missing(opened[0], rows.format_of(opened[0]))
        store._transactions.sweep()
        return store

    def commit(
        self,
        edit: Edit,
        key: torch.Tensor,
        tensors: Mapping[str, torch.Tensor],
        thumbnail: bytes | None = None,
        terms: Terms = NO_TERMS,
    ) -> Edit:
        """See `EditStore.commit`; key (D,). It is on the disk when this returns."""
        if not self._bound:
            raise StoreError(
                f"edit store '{self.root}': opened without a model, so no edit can be added; open "
                "it with the binding of the model that made the edit"
            )
        path = files.tensor_path(self.root, edit.id)
        packed = files.pack(tensors)
        with self._transactions.writing(f"keep edit '{edit.id}'") as db:
            changes.check(db, terms)
            width, index = rows.key_width(db), rows.last_key(db)
            held = rows.read_records(db, [edit.id, *edit.retires])
            if self._transactions.was_outrun and edit.radius is not None:
                held |= (same := rows.read_same(db, edit))  # taught meanwhile by somebody else
                edit = replace(edit, retires=tuple(dict.fromkeys([*edit.retires, *same])))
            if edit.id in held:
                raise StoreError(f"edit id '{edit.id}' is already in use; make another one")
            key = checked_key(edit, key, width)
            key_data = files.key_bytes(key, self._form)
            if not files.unpack_key(key_data, self._form).equal(key):
                raise StoreError(
                    f"edit '{edit.id}': its key does not fit the store's {8 * int(self._form[-1])} "
                    "bits a number; make it with `keys.kept_as`"
                )
            if width is None:
                db.execute("UPDATE store SET width = ?", (key.numel(),))
            kept, *retired = history.after_commit(held, edit)
            files.make_place(self.root)
            write_durably(path, packed)
            files.write_key(self.root, index + 1, key_data)
            content = (index + 1, digest(key_data), len(packed), digest(packed))
            rows.insert(db, kept, content, thumbnail)
            rows.update(db, retired)
            changes.count(db)
            changes.keep(db, "edit", edit.id, terms)
        return kept

    def held(self, ids: Iterable[str]) -> tuple[HeldEdits, list[DamagedEdit]]:
        """See `EditStore.held`. Files' sizes are compared at once, and where there are few edits
        (`CHECKED_EDITS`, `CHECKED_BYTES`) their checksums too."""
        import torch

        with self._transactions.reading("load its edits") as db:
            found = self._found(db, ids)
            keys = files.map_keys(self.root, rows.key_width(db), self._form)
        small = len(found) <= CHECKED_EDITS
        small = small and sum(size for _, (_, _, size, _) in found) <= CHECKED_BYTES
        good: list[tuple[Edit, int, Callable[[], dict[str, torch.Tensor]]]] = []
        damaged: list[DamagedEdit] = []
        for edit, (index, key_sum, size, tensors_sum) in found:
            path = files.tensor_path(self.root, edit.id)
            try:
                files.check_key(keys, index, key_sum)
                if small:
                    files.read_tensors(path, size, tensors_sum)
                else:
                    files.check_size(path, size)
            except files.Damage as damage:
                damaged.append(DamagedEdit(edit.id, f"{damage}; {_DAMAGE_REMEDY}"))
            else:
                good.append((edit, index, partial(self._tensors, edit.id, size, tensors_sum)))
        held = HeldEdits(
            [edit for edit, _, _ in good],
            torch.from_numpy(keys),
            torch.tensor([index for _, index, _ in good], dtype=torch.long),
            [read for _, _, read in good],
        )
        return held, self._not_reverted(damaged)

    def _tensors(self, edit_id: str, size: int, sha256: str) -> dict[str, torch.Tensor]:
        """An edit's tensors, checked; see `HeldEdits`."""
        try:
            path = files.tensor_path(self.root, edit_id)
            return files.unpack(files.read_tensors(path, size, sha256))
        except files.Damage as damage:
            reason = f"{damage}; {_DAMAGE_REMEDY}"
            if self._not_reverted([DamagedEdit(edit_id, reason)]):
                raise DamagedEditError(edit_id, reason) from damage
            raise EditNotFoundError(f"edit '{edit_id}' has been reverted meanwhile") from damage

    def load(self, ids: Iterable[str]) -> tuple[list[HeldEdit], list[DamagedEdit]]:
        """See `EditStore.load`; checksums of every key and tensor file are compared."""
        found, damaged = self._contents(ids)
        held = []
        for edit, key, data in found:
            try:
                held.append(HeldEdit(edit, files.unpack_key(key, self._form), files.unpack(data)))
            except files.Damage as damage:
                damaged.append(DamagedEdit(edit.id, f"{damage}; {_DAMAGE_REMEDY}"))
        return held, damaged

    def damaged(self, ids: Iterable[str]) -> list[DamagedEdit]:
        """Which of these edits fail their checksums; reads their files but makes no tensors."""
        wanted = list(ids)
        chunks = (wanted[i : i + _CHUNK] for i in range(0, len(wanted), _CHUNK))
        return [d for chunk in chunks for d in self._contents(chunk)[1]]

    def _contents(
        self, ids: Iterable[str]
    ) -> tuple[list[tuple[Edit, bytes, bytes]], list[DamagedEdit]]:
        """(record, key, tensors) of whole edits, and the damaged ones."""
        good: list[tuple[Edit, bytes, bytes]] = []
        damaged: list[DamagedEdit] = []
        with self._transactions.reading("load its edits") as db:
            width = rows.key_width(db)
            for edit, (index, key_sum, size, tensors_sum) in self._found(db, ids):
                try:
                    key = files.read_key(self.root, index, width or 0, self._form, key_sum)
                    path = files.tensor_path(self.root, edit.id)
                    good.append((edit, key, files.read_tensors(path, size, tensors_sum)))
                except files.Damage as damage:
                    damaged.append(DamagedEdit(edit.id, f"{damage}; {_DAMAGE_REMEDY}"))
        return good, self._not_reverted(damaged)

    def _found(
        self, db: sqlite3.Connection, ids: Iterable[str]
    ) -> list[tuple[Edit, tuple[int, str, int, str]]]:
        """The records of `ids`, in that order, and where their contents are; not those of reverted
        edits."""
        wanted = list(ids)
        records = rows.read_records(db, wanted)
        for at, name in enumerate(wanted):
            if name not in records:
                wanted[at] = rows.resolve(db, name)
                records |= rows.read_records(db, [wanted[at]])
        contents = rows.read_contents(db, wanted)
        return [(records[i], contents[i]) for i in wanted if records[i].state != "reverted"]

    def _not_reverted(self, damaged: list[DamagedEdit]) -> list[DamagedEdit]:
        """Without those that another process has reverted since: that deletes a file which was
        still expected."""
        if not damaged:
            return []
        now = self.records(d.id for d in damaged)
        return [d for d in damaged if now[d.id].state != "reverted"]

    def revert(self, edit_id: str, terms: Terms = NO_TERMS) -> list[Edit]:
        """See `EditStore.revert`; the record and the key stay, the tensor file goes."""
        with self._transactions.writing(f"revert edit '{edit_id}'") as db:
            changes.check(db, terms)
            edit_id = rows.resolve(db, edit_id)
            held = rows.read_records(db, [edit_id]) | rows.read_waiting(db, edit_id)
            changed = history.after_revert(held, edit_id)
            rows.update(db, changed)
            changes.count(db)
            changes.keep(db, "revert", edit_id, terms)
        # After the commit: a kill before leaves the edit whole, a kill here a file for the sweep.
        with suppress(OSError):
            files.remove_tensors(self.root, edit_id)
        return changed

    def continue_from(self, version: int) -> None:
        """Count on from another store's version, whose edits these are."""
        with self._transactions.writing("count its changes") as db:
            db.execute("UPDATE store SET version = max(version, ?)", (version,))

    def close(self) -> None:
        """The last handle to close leaves a single file to copy."""
        self._transactions.close()

    def __enter__(self) -> DiskStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
