"""What would be decided on prompts if one more edit were held, for any radius it may be given; from
the prompts' keys and what the untouched model says to them, without the model.

It says what the codebook then decides (`scope/firing.py`): the same distances, of the same keys, in
the same order. Letters: N = prompts, D = width of a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from balancedit.codebook.codebook import Match
from balancedit.codebook.distances import Distance
from balancedit.layer.decisions import AnswerIds, Said
from balancedit.types import Edit

if TYPE_CHECKING:
    from balancedit.methods.balancedit.entries import Entries

_CHUNK = 4096  # prompts compared at once


class Outcome(NamedTuple):
    """What fires on a prompt. known: False where that depends on what the untouched model says, and
    nobody knows it."""

    fired: str | None
    known: bool = True


@dataclass(frozen=True)
class Placed:
    """A prompt among the entries. distance: from the new edit's key; held: the entries that decide
    now, in the order in which they are asked; left: those that would, beside the new one."""

    distance: float
    held: tuple[Match, ...]
    left: tuple[Match, ...]


class Foresight:
    """One edit that is not held. What is held is looked at in `touched` and `placed` alone; what
    they gave is judged by what was held then.

    edit: its record; key: (D,).
    """

    def __init__(self, entries: Entries, edit: Edit, key: torch.Tensor, distance: Distance) -> None:
        self.edit, self._key, self._distance = edit, key.cpu().float(), distance
        self._entries = entries
        active = entries.active()
        self._retired = [i for i in edit.retires if i in set(active)]
        kept = [i for i in active if i not in self._retired]
        #: Whether old answers count, as things are, and with the edit. Of one entry alone that has
        #: none, either rule says the same.
        self._claims = entries.claims
        self._would_claim = bool(edit.old_tokens) or any(entries.old_tokens(i) for i in kept)
        if len(active) <= 1:
            self._claims = self._claims or self._would_claim
        if not kept and not edit.old_tokens:
            self._would_claim = self._claims
        self._old: dict[str, tuple[AnswerIds, ...]] = {edit.id: edit.old_tokens}

    @property
    def is_local(self) -> bool:
        """Whether it reaches only what lies inside its radius, or that of an edit it replaces:
        where old answers count. By radius alone the nearest entry counts, wherever it ends."""
        return self._claims and self._would_claim

    def distances(self, keys: torch.Tensor) -> torch.Tensor:
        """(N, D) keys, perhaps in half precision -> (N,) float64 distances from the edit's key."""
        return self._from(self._key, keys)

    def touched(
        self, keys: torch.Tensor, reach: float, said: Callable[[int], Said | None]
    ) -> list[int]:
        """Which of N prompts the edit may change the answer of, at any radius up to `reach`. keys:
        (N, D); said: gives what the untouched model says to one, None where nobody knows it."""
        if self._claims != self._would_claim:  # every prompt is decided by another rule
            return list(range(len(keys)))
        by_radius = not self._claims
        if by_radius:  # the nearest entry counts, even one that the prompt lies outside of
            reach = max(reach, self._entries.codebook.widest)
        freed = torch.zeros(len(keys), dtype=torch.bool)
        for edit_id in self._retired:
            key, radius = self._entries.codebook.entry(edit_id)
            freed |= self._from(key, keys) <= (reach if by_radius else radius)
        inside = self.distances(keys) <= reach
        old = self.edit.old_tokens
        return [
            number
            for number in (inside | freed).nonzero()[:, 0].tolist()
            if freed[number] or by_radius or gives(said(number), old) is not False
        ]

    def placed(self, keys: torch.Tensor) -> list[Placed]:
        """(N, D) -> where the prompts lie among what is held now."""
        found: list[Placed] = []
        for some in keys.split(_CHUNK):
            some = some.cpu().float()
            before = self._deciding(some, self._claims, ())
            same = self._claims == self._would_claim and not self._retired
            after = before if same else self._deciding(some, self._would_claim, self._retired)
            apart = self.distances(some).tolist()
            found += [Placed(*row) for row in zip(apart, before, after, strict=True)]
        for place in found:
            for match in (*place.held, *place.left):
                self._old.setdefault(match.id, self._entries.old_tokens(match.id))
        return found

    def now(self, placed: Placed, said: Said | None) -> Outcome:
        """What fires on a prompt while the edit is not held."""
        return _outcome(placed.held, self._claims, self._old, said)

    def then(self, placed: Placed, radius: float, said: Said | None) -> Outcome:
        """What would fire on it with the edit, at that radius."""
        new = Match(self.edit.id, placed.distance, radius)
        nearer = [m for m in placed.left if m.distance < new.distance]  # of equals the newest first
        farther = placed.left[len(nearer) :]
        asked = [*nearer, *([new] if new.inside or not self._would_claim else []), *farther]
        return _outcome(asked, self._would_claim, self._old, said)

    def _from(self, key: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        chunks = keys.split(_CHUNK) if len(keys) else [keys]
        return torch.cat(
            [self._distance(some.cpu().float(), key[None])[:, 0] for some in chunks]
        ).double()

    def _deciding(
        self, keys: torch.Tensor, claims: bool, without: Sequence[str]
    ) -> list[tuple[Match, ...]]:
        """For each prompt the entries that decide: all around it where old answers count, else the
        nearest; as if some were not held."""
        codebook = self._entries.codebook
        if claims:
            covering = codebook.covering(keys)
            return [tuple(m for m in row if m.id not in without) for row in covering]
        nearest = [(m,) if m is not None else () for m in codebook.nearest(keys)]
        return [
            self._nearest_but(key, without) if row and row[0].id in without else row
            for key, row in zip(keys, nearest, strict=True)
        ]

    def _nearest_but(self, key: torch.Tensor, without: Sequence[str]) -> tuple[Match, ...]:
        """The nearest entry that is none of these; of entries equally near the newest."""
        left = [m for m in self._entries.codebook.ranked(key) if m.id not in without]
        ties = [m for m in left if m.distance == left[0].distance]
        return tuple(ties[-1:])


def gives(said: Said | None, answers: Sequence[AnswerIds]) -> bool | None:
    """Whether the untouched model, which says that, gives one of these answers, token for token;
    True where there is none to give. None where it is not known."""
    if not answers:
        return True
    if said is None:
        return None
    if any(said.ids[: len(ids)] == ids for ids in answers):
        return True
    longer = (ids for ids in answers if said.cut and ids[: len(said.ids)] == said.ids)
    return None if any(longer) else False


def _outcome(
    asked: Sequence[Match],
    claims: bool,
    old: Mapping[str, tuple[AnswerIds, ...]],
    said: Said | None,
) -> Outcome:
    if not claims:
        return Outcome(asked[0].id if asked and asked[0].inside else None)
    for match in asked:
        given = gives(said, old[match.id])
        if given is None:
            return Outcome(None, known=False)
        if given:
            return Outcome(match.id)
    return Outcome(None)
