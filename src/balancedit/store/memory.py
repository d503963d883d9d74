"""The store of a session that keeps nothing: same rules as the one on disk, no files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from balancedit.errors import StoreError
from balancedit.store import history
from balancedit.store.ledger import Ledger
from balancedit.store.protocol import Binding, DamagedEdit, HeldEdit, HeldEdits, checked_key
from balancedit.store.terms import NO_TERMS, AuditRecord, Done, Request, Terms
from balancedit.types import STATES, Edit, EditState

if TYPE_CHECKING:
    import torch


class MemoryStore:
    """Edits held in this process only."""

    def __init__(self, binding: Binding | Callable[[], Binding]) -> None:
        self._binding = binding
        self._edits: dict[str, Edit] = {}
        self._contents: dict[str, tuple[torch.Tensor, dict[str, torch.Tensor]]] = {}
        self._thumbnails: dict[str, bytes | None] = {}
        self._width: int | None = None
        self._ledger = Ledger()

    @property
    def binding(self) -> Binding:
        """What the held edits belong to."""
        if callable(self._binding):
            self._binding = self._binding()
        return self._binding

    @property
    def read_only(self) -> bool:
        """Never."""
        return False

    @property
    def version(self) -> int:
        """See `EditStore.version`."""
        return self._ledger.version

    @property
    def seen_version(self) -> int:
        """See `EditStore.seen_version`; nobody else changes anything."""
        return self._ledger.version

    def commit(
        self,
        edit: Edit,
        key: torch.Tensor,
        tensors: Mapping[str, torch.Tensor],
        thumbnail: bytes | None = None,
        terms: Terms = NO_TERMS,
    ) -> Edit:
        """See `EditStore.commit`; key (D,). Tensors are copied: later changes do not reach it."""
        self._ledger.check(terms)
        if edit.id in self._edits:
            raise StoreError(f"edit id '{edit.id}' is already in use; make another one")
        key = checked_key(edit, key, self._width)
        kept, *others = history.after_commit(self._edits, edit)
        self._width = key.numel()
        self._contents[edit.id] = (key, {n: t.detach().cpu().clone() for n, t in tensors.items()})
        self._thumbnails[edit.id] = thumbnail
        self._edits.update({e.id: e for e in (kept, *others)})
        self._counted("edit", edit.id, terms)
        return kept

    def _counted(self, action: str, edit_id: str, terms: Terms) -> None:
        self._ledger.version += 1
        self._ledger.keep(action, edit_id, terms)

    def edits(self) -> dict[str, Edit]:
        """Every record by id, oldest first."""
        return dict(self._edits)

    def records(self, ids: Iterable[str]) -> dict[str, Edit]:
        """See `EditStore.records`."""
        wanted = set(ids)
        return {i: e for i, e in self._edits.items() if i in wanted}

    def active(self) -> list[str]:
        """Ids of the edits in force, oldest first."""
        return [e.id for e in self._edits.values() if e.state == "active"]

    def page(
        self, limit: int, after: str | None = None, states: Sequence[EditState] = STATES
    ) -> list[Edit]:
        """See `EditStore.page`."""
        newest = iter(reversed(self._edits.values()))
        if after is not None:
            start = self.resolve(after)
            while next(newest).id != start:
                pass
        return [*islice((e for e in newest if e.state in states), limit)]

    def resolve(self, wanted: str) -> str:
        """See `EditStore.resolve`."""
        return history.resolve(self._edits, wanted)

    def held(self, ids: Iterable[str]) -> tuple[HeldEdits, list[DamagedEdit]]:
        """See `EditStore.held`; nothing in memory is ever damaged."""
        import torch

        held, damaged = self.load(ids)
        keys = torch.stack([h.key for h in held]) if held else torch.empty(0, self._width or 0)
        reads = [h.tensors.copy for h in held]
        return HeldEdits([h.edit for h in held], keys, torch.arange(len(held)), reads), damaged

    def load(self, ids: Iterable[str]) -> tuple[list[HeldEdit], list[DamagedEdit]]:
        """See `EditStore.load`; nothing in memory is ever damaged."""
        records = [self._edits[history.resolve(self._edits, i)] for i in ids]
        held = [HeldEdit(e, *self._contents[e.id]) for e in records if e.id in self._contents]
        return held, []

    def damaged(self, ids: Iterable[str]) -> list[DamagedEdit]:
        """None: nothing in memory is ever damaged."""
        return []

    def revert(self, edit_id: str, terms: Terms = NO_TERMS) -> list[Edit]:
        """See `EditStore.revert`."""
        self._ledger.check(terms)
        edit_id = history.resolve(self._edits, edit_id)
        changed = history.after_revert(self._edits, edit_id)
        self._edits.update({e.id: e for e in changed})
        self._contents.pop(edit_id, None)
        self._counted("revert", edit_id, terms)
        return changed

    def note(self, action: str, terms: Terms, edit_id: str | None = None) -> None:
        """See `EditStore.note`."""
        self._ledger.check(terms)
        self._ledger.keep(action, edit_id, terms)

    def audit(self, limit: int, after: int | None = None) -> list[AuditRecord]:
        """See `EditStore.audit`."""
        return self._ledger.audit(limit, after)

    def done(self, request: Request) -> Done | None:
        """See `EditStore.done`."""
        return self._ledger.done(request)

    def changed(self) -> bool:
        """Never: nobody else can reach it."""
        return False

    def thumbnail(self, edit_id: str) -> bytes | None:
        """The encoded picture given with the edit, if any."""
        return self._thumbnails[history.resolve(self._edits, edit_id)]

    def pictured(self, ids: Iterable[str]) -> set[str]:
        """See `EditStore.pictured`."""
        return {i for i in ids if self._thumbnails.get(i) is not None}

    def close(self) -> None:
        """Nothing to let go of."""


def open_memory(place: str, binding: Binding | Callable[[], Binding]) -> MemoryStore:
    """A store of this process alone; it has no place that others could find."""
    if place:
        raise StoreError(f"memory://{place}: edits in memory have no place; write memory://")
    return MemoryStore(binding)
