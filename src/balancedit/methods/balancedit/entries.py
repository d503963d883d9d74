"""The entries of a codebook: keys, radii and transformations, how they relate to a new fact, and
which of them a prompt goes through.

Letters: B = prompts, D = width of a key, O, D of a transformation = the edited layer's output and
input widths, n = directions of a low-rank one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch

from balancedit.codebook.codebook import DISTANCES, Codebook
from balancedit.errors import DamagedEditError, EditNotFoundError
from balancedit.inputs.answers import same_question
from balancedit.layer.decisions import AnswerIds, Decision
from balancedit.methods.balancedit.measuring import MeasuredFact
from balancedit.methods.balancedit.rivals import Rival
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
        self._of_picture: dict[str, dict[str, None]] = {}  # ids by the picture, oldest first
        self._claiming = 0  # entries with an old answer

    def relations(self, fact: MeasuredFact) -> tuple[str | None, tuple[str, ...]]:
        """Which held edit a new one starts from, and which it replaces.

        Overlap: the new key lies inside a radius; fine-tuning starts from the nearest such entry.
        Conflict: the same fact again with another answer (`Rival.gives_way`); the older edit is
        retired.
        """
        overlaps = self.codebook.containing(fact.key)
        while overlaps is not None and not self._readable([overlaps.id]):
            overlaps = self.codebook.containing(fact.key)
        near = [
            m.id
            for m in self.codebook.within(fact.key, fact.radius.d_positive)
            if m.distance <= self._rivals[m.id].d_positive
        ]
        here = self._of_picture.get(fact.picture, {})
        retires = tuple(
            edit_id
            for edit_id in dict.fromkeys([*near, *here])
            if self._rivals[edit_id].gives_way(fact, near=edit_id in near)
        )
        return overlaps.id if overlaps else None, retires

    def said_of(self, retired: Sequence[str], question: str) -> tuple[str, ...]:
        """What is to be said of edits that a fact asked with another question replaces."""
        return tuple(
            f"it replaces edit {edit_id} ('{rival.question}' → '{rival.target}'), which is about "
            "the same fact"
            for edit_id in retired
            for rival in [self._rivals[edit_id]]
            if not same_question(rival.question, question)
        )

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
        self._rivals[edit.id] = rival = Rival(
            (edit.question, *edit.positives),
            edit.target,
            edit.image_sha256,
            _known(edit.d_positive),
            edit.old_answer,
            tokens,
        )
        self._of_picture.setdefault(rival.picture, {})[edit.id] = None
        self._claiming += bool(tokens)

    def remove(self, edit_id: str) -> None:
        """Take an entry out of force; keys, radii and transformations of the others stay."""
        self.codebook.remove(edit_id)
        self._routing.layer.remove(edit_id)
        rival = self._rivals.pop(edit_id)
        self._claiming -= bool(rival.old_tokens)
        del self._of_picture[rival.picture][edit_id]
        self._route()

    def settle(self) -> None:
        """Bring the codebook's index up to date, rather than at the next question."""
        self.codebook.prepare()

    @property
    def claims(self) -> bool:
        """Whether an entry has an old answer, so that several may reach for a prompt."""
        return self._claiming > 0

    def old_tokens(self, edit_id: str) -> tuple[AnswerIds, ...]:
        """What the untouched model must say where an entry fires; none: it does not matter."""
        return self._rivals[edit_id].old_tokens

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


def _known(value: float | None) -> float:
    """A radius or distance as this method recorded it; the store reads one that is not a number as
    none."""
    return math.nan if value is None else value
