"""The entries of a codebook: keys, radii and transformations, how they relate to a new fact, and
which of them a prompt goes through.

Letters: B = prompts, D = width of a key, O, D of a transformation = the edited layer's output and
input widths, n = directions of a low-rank one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from balancedit.codebook.codebook import DISTANCES, Codebook
from balancedit.errors import DamagedEditError, EditNotFoundError
from balancedit.inputs.text import same_text
from balancedit.layer.decisions import AnswerIds, Decision
from balancedit.methods.balancedit.measuring import MeasuredFact
from balancedit.methods.routed import RoutedLayer
from balancedit.scope.firing import by_claims, by_radius
from balancedit.store.protocol import HeldEdits
from balancedit.types import Edit


class Entries:
    """The edits in force. distance: a name in `DISTANCES`."""

    def __init__(self, routing: RoutedLayer, distance: str) -> None:
        self._routing = routing
        self.codebook = Codebook(DISTANCES[distance])
        self._rivals: dict[str, Rival] = {}
        self._claiming = 0  # entries with an old answer

    def relations(self, fact: MeasuredFact) -> tuple[str | None, tuple[str, ...]]:
        """Which held edit a new one starts from, and which it replaces.

        Overlap: the new key lies inside a radius; fine-tuning starts from the nearest such entry.
        Conflict: the same fact again with another answer, that is, each key lies as near to the
        other as a rephrasing does to its own; the older edit is retired.
        """
        overlaps = self.codebook.containing(fact.key)
        while overlaps is not None and not self._readable([overlaps.id]):
            overlaps = self.codebook.containing(fact.key)
        retires = tuple(
            m.id
            for m in self.codebook.within(fact.key, fact.radius.d_positive)
            if m.distance <= min(fact.radius.d_positive, self._rivals[m.id].d_positive)
            and not same_text(self._rivals[m.id].target, fact.request.target)
        )
        return overlaps.id if overlaps else None, retires

    def add(self, edit: Edit, key: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put an entry in force. key: (D,); tensors: the transformation, ``weight`` (O, D), or
        ``a`` (O, n) and ``q`` (n, D); entries of either form may stand side by side."""
        self._routing.layer.add(edit.id, tensors)
        self.codebook.add(edit.id, key, _known(edit.radius))
        self._meet(edit)
        self._route()

    def add_many(self, held: HeldEdits) -> None:
        """Put many stored edits in force; see `Method.add_many`."""
        ids = [edit.id for edit in held.edits]
        radii = [_known(edit.radius) for edit in held.edits]
        self.codebook.add_mapped(ids, held.keys, held.rows, radii)
        for edit, read in zip(held.edits, held.read, strict=True):
            self._routing.layer.add_late(edit.id, read)
            self._meet(edit)
        self._route()

    def _meet(self, edit: Edit) -> None:
        tokens = edit.old_tokens
        if edit.old_answer is not None and not tokens:  # a record made before they were kept
            loaded = self._routing.loaded
            tokens = (tuple(loaded.prompter.answer_ids(edit.old_answer, loaded.eos)),)
        self._rivals[edit.id] = Rival(edit.target, _known(edit.d_positive), tokens)
        self._claiming += bool(tokens)

    def remove(self, edit_id: str) -> None:
        """Take an entry out of force; keys, radii and transformations of the others stay."""
        self.codebook.remove(edit_id)
        self._routing.layer.remove(edit_id)
        self._claiming -= bool(self._rivals.pop(edit_id).old_tokens)
        self._route()

    def settle(self) -> None:
        """Bring the codebook's index up to date, rather than at the next question."""
        self.codebook.prepare()

    def target(self, edit_id: str) -> str:
        """The answer that an entry teaches."""
        return self._rivals[edit_id].target

    def active(self) -> Sequence[str]:
        """Ids in force, oldest first."""
        return self.codebook.ids

    def _route(self) -> None:
        """Prompts are routed by what is held now."""
        decide = self.decide if len(self.codebook) else None
        self._routing.decide_by(decide, claims=self._claiming > 0, drafts=self._draft)

    def _draft(self, edit_id: str) -> AnswerIds:
        """What the rows that an edit fires on will likely say: its target, end included."""
        loaded, rival = self._routing.loaded, self._rivals.get(edit_id)
        return tuple(loaded.prompter.answer_ids(rival.target, loaded.eos)) if rival else ()

    def decide(self, keys: torch.Tensor) -> list[Decision]:
        """What fires on prompts with these keys (B, D); tensors of whatever may fire are at hand
        by then."""
        while True:
            decisions = self._decisions(keys)
            possible = {c.decision.fired for d in decisions for c in d.claims}
            possible |= {d.fired for d in decisions}
            if self._readable({edit_id for edit_id in possible if edit_id is not None}):
                return decisions

    def _decisions(self, keys: torch.Tensor) -> list[Decision]:
        nearest = self.codebook.nearest(keys)
        if not self._claiming:
            return by_radius(nearest)
        return by_claims(nearest, self.codebook.covering(keys), self._rivals)

    def _readable(self, ids: Iterable[str]) -> bool:
        """Read these edits' tensors; those that cannot be read are taken out of force."""
        lost = []
        for edit_id in ids:
            try:
                self._routing.layer.tensors(edit_id)
            except (DamagedEditError, EditNotFoundError):
                lost.append(edit_id)
        for edit_id in lost:
            self.remove(edit_id)
        return not lost


@dataclass(frozen=True, slots=True)
class Rival:
    """What of an entry later edits and decisions are compared with."""

    target: str
    d_positive: float
    old_tokens: tuple[AnswerIds, ...]


def _known(value: float | None) -> float:
    """A radius or distance as this method recorded it; the store reads one that is not a number as
    none."""
    return math.nan if value is None else value
