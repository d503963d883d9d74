"""What every edit store offers, and the values it takes and gives.

D = width of the edited layer's input, the length of a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from balancedit.errors import StoreError
from balancedit.store.terms import NO_TERMS, AuditRecord, Done, Request, Terms
from balancedit.types import STATES, Edit, EditState

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Binding:
    """What a store belongs to: what decides the answers that its edits give. An edit means nothing
    to other weights, another prompt, layer or method.

    former: what the same was called in stores of format 3 and older, where that differs.
    """

    model: str  # its name, for people; never compared
    fingerprint: str  # of the weights of the edited layer and the keys', and of adapters
    method: str
    details: Mapping[str, str] = field(default_factory=dict)  # layer, key, distance, prompt, …
    former: Callable[[], Binding] | None = field(default=None, repr=False, compare=False)

    def differences(self, other: Binding) -> list[tuple[str, str, str]]:
        """Where `other` differs: (field, value here, value there) for each field that does."""
        pairs = [
            (
                "model",
                f"{self.model} ({self.fingerprint[:12]})",
                f"{other.model} ({other.fingerprint[:12]})",
                self.fingerprint == other.fingerprint,
            ),
            ("method", self.method, other.method, self.method == other.method),
        ]
        for name in dict.fromkeys([*self.details, *other.details]):
            mine, theirs = self.details.get(name, "unset"), other.details.get(name, "unset")
            pairs.append((name, mine, theirs, mine == theirs))
        return [(name, mine, theirs) for name, mine, theirs, same in pairs if not same]


@dataclass(frozen=True)
class HeldEdit:
    """An edit with everything needed to apply it: key (D,) float32 on the CPU, named tensors in
    the types they were committed with."""

    edit: Edit
    key: torch.Tensor
    tensors: dict[str, torch.Tensor]


@dataclass(frozen=True)
class HeldEdits:
    """Many edits with their keys, their tensors still where they are kept.

    keys: (M, D) on the CPU, perhaps memory-mapped, float32 or float16; rows[i] is where in it the
    key of edits[i] is. read[i]() gives that edit's named tensors, checked; it raises
    `DamagedEditError`, or `EditNotFoundError` for an edit that was reverted since.
    """

    edits: list[Edit]
    keys: torch.Tensor
    rows: torch.Tensor
    read: Sequence[Callable[[], dict[str, torch.Tensor]]]


@dataclass(frozen=True)
class DamagedEdit:
    """An edit that is left out because its key or tensors cannot be trusted."""

    id: str
    reason: str  # what is wrong with which file, and the remedy


class Keeping(Protocol):
    """What keeps edits, seen by who has learned one."""

    def commit(
        self,
        edit: Edit,
        key: torch.Tensor,
        tensors: Mapping[str, torch.Tensor],
        thumbnail: bytes | None = None,
    ) -> Edit:
        """See `EditStore.commit`."""
        ...


class EditStore(Protocol):
    """The interface both stores implement; `StoreError` is raised wherever reading or writing
    fails, `EditNotFoundError` for an id that is not held."""

    @property
    def binding(self) -> Binding:
        """What the held edits belong to."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether `commit` and `revert` are refused; worth asking before learning an edit."""
        ...

    @property
    def version(self) -> int:
        """How many changes there were: one more with every commit and every revert, in the same
        transaction, without gaps; the same for every process that has the store open."""
        ...

    @property
    def seen_version(self) -> int:
        """The version of what this handle last took over by `active`, 0 before. Its own changes
        count at once where nobody else's came between."""
        ...

    def commit(
        self,
        edit: Edit,
        key: torch.Tensor,
        tensors: Mapping[str, torch.Tensor],
        thumbnail: bytes | None = None,
        terms: Terms = NO_TERMS,
    ) -> Edit:
        """Keep an edit, all of it or nothing, and retire those it replaces.

        Args:
            edit: its record; `history.after_commit` decides which of `edit.retires` still hold.
            key: (D,), finite; every key of a store has the same D.
            tensors: its transformation, by name.
            thumbnail: a small encoded picture, to show the edit with.
            terms: what must hold for it, and what is kept of who asked.

        Returns:
            The record as kept.
        """
        ...

    def edits(self) -> dict[str, Edit]:
        """Every record by id, reverted and retired ones too, oldest first."""
        ...

    def records(self, ids: Iterable[str]) -> dict[str, Edit]:
        """The records of `ids` alone, by id, oldest first; `edits` where there are many edits and
        few are wanted. Unknown ids are left out."""
        ...

    def active(self) -> list[str]:
        """Ids of the edits in force, oldest first: what `edits` says, without its records."""
        ...

    def page(
        self, limit: int, after: str | None = None, states: Sequence[EditState] = STATES
    ) -> list[Edit]:
        """Up to `limit` records in these states, newest first, beginning behind the edit `after`,
        whatever its state."""
        ...

    def resolve(self, wanted: str) -> str:
        """The id that equals `wanted` or, failing that, is the only one to begin with it."""
        ...

    def held(self, ids: Iterable[str]) -> tuple[HeldEdits, list[DamagedEdit]]:
        """Like `load`, but tensors are read when they are wanted; keys are checked at once. What
        damage of tensors is found already now is the store's to say."""
        ...

    def load(self, ids: Iterable[str]) -> tuple[list[HeldEdit], list[DamagedEdit]]:
        """The keys and tensors of `ids`, in that order, checked; damaged ones apart.

        A reverted edit has no tensors any more and is in neither list: another process may revert
        one between `edits()` and this call. An unknown id raises `EditNotFoundError`.
        """
        ...

    def damaged(self, ids: Iterable[str]) -> list[DamagedEdit]:
        """Which of these edits `load` would leave out."""
        ...

    def revert(self, edit_id: str, terms: Terms = NO_TERMS) -> list[Edit]:
        """Undo an edit and bring back those it had retired; all records that changed, its own
        first. terms: as for `commit`."""
        ...

    def note(self, action: str, terms: Terms, edit_id: str | None = None) -> None:
        """Keep who did something that changes no edit, and that a request was carried out (it
        needs an edit); terms: as for `commit`. The version stays."""
        ...

    def audit(self, limit: int, after: int | None = None) -> list[AuditRecord]:
        """Up to `limit` lines of the audit, newest first, those with ids below `after`."""
        ...

    def done(self, request: Request) -> Done | None:
        """What a request came to that was carried out within the last day, None where it was not.
        Raises `RequestReusedError` where another request had its name."""
        ...

    def changed(self) -> bool:
        """Whether somebody else has committed since this handle last called `active`: what is
        in force is taken over by that; looking at records hides no change.

        Cheap enough to ask before every question; its own commits do not count.
        """
        ...

    def thumbnail(self, edit_id: str) -> bytes | None:
        """The encoded picture given with the edit, if any."""
        ...

    def pictured(self, ids: Iterable[str]) -> set[str]:
        """Those of these edits that have a picture, which is not read."""
        ...

    def close(self) -> None:
        """Let go of files, if any; the store is not used afterwards."""
        ...


def checked_key(edit: Edit, key: torch.Tensor, width: int | None) -> torch.Tensor:
    """`key` as a float32 CPU tensor (D,) of its own, or `StoreError` when it cannot serve.

    A key with a NaN would never be nearest to anything, so the edit would be silently dead.
    """
    import torch

    key = key.detach().to("cpu", torch.float32, copy=True).contiguous()
    if key.ndim != 1 or not key.numel():
        raise StoreError(
            f"edit '{edit.id}': its key has shape {tuple(key.shape)}; one vector (D,) is expected"
        )
    if not bool(torch.isfinite(key).all()):
        raise StoreError(f"edit '{edit.id}': its key holds values that are not finite")
    if width is not None and key.numel() != width:
        raise StoreError(
            f"edit '{edit.id}': its key has {key.numel()} numbers, the store's keys have {width}; "
            "use another --edits directory for another key layer"
        )
    return key
