"""Questions asked before, as an edit would have them decided, at any radius.

All that a decision needs is gathered once, while the editor is at work. What is decided at another
radius then touches neither model nor codebook, and may be asked in any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from balancedit.inputs.pairing import Row
from balancedit.layer.decisions import AnswerIds, Said
from balancedit.methods.balancedit.foresight import Foresight, Outcome, Placed
from balancedit.preview.records import Change
from balancedit.preview.remembered import Looked, Remembered

#: Asks the model about rows where these edits fire (`supposing.Supposing.answers`).
AskFired = Callable[[Sequence[Row], Sequence[str | None]], Sequence[Said]]

_ASKED = 64  # questions, at most, whose unknown untouched answers are found out
_HALF = 2.0**-11  # share of a key's length that half precision may move it by
_SINGLE = 2.0**-20  # the same of rounding in another batch


@dataclass(frozen=True)
class Candidate:
    """A question whose answer the edit may change. texts: what is answered to it where an edit
    fires (None: none), as far as that is known."""

    number: int
    placed: Placed
    looked: Looked
    said: Said | None
    texts: dict[str | None, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Decided:
    """A candidate at one radius: what fires without the edit, and with it."""

    candidate: Candidate
    now: Outcome
    then: Outcome

    @property
    def known(self) -> bool:
        """Whether both are."""
        return self.now.known and self.then.known

    @property
    def differs(self) -> bool:
        """Whether they do."""
        return self.known and self.now.fired != self.then.fired


class Outlook:
    """N questions, and one edit that is not held. Made while attached.

    reach: the largest radius that will be asked about; ask: see `AskFired`.
    """

    def __init__(self, foresight: Foresight, over: Remembered, reach: float, ask: AskFired) -> None:
        self.considered = len(over.keys)
        self._foresight, self._exact = foresight, over.exact
        numbers = foresight.touched(over.keys, reach, over.said) if self.considered else []
        keys = over.keys[numbers].float()
        half = over.keys.element_size() < 4
        norms = keys.norm(dim=1).tolist() if len(numbers) else []
        share = _HALF if half else _SINGLE
        self._rounding = dict(zip(numbers, [share * norm for norm in norms], strict=True))
        placed = foresight.placed(keys) if numbers else []
        looked = over.look(numbers)
        self._candidates = [
            _candidate(number, place, seen, over.said(number))
            for number, place, seen in zip(numbers, placed, looked, strict=True)
        ]
        order = sorted(range(len(numbers)), key=lambda at: (placed[at].distance, at))
        self._candidates = [self._candidates[at] for at in order]
        self._keys = keys[order]
        self._find_out(over, reach, ask)
        self._candidates = _sharing(self._candidates)

    def _find_out(self, over: Remembered, reach: float, ask: AskFired) -> None:
        """Ask the untouched model about questions that cannot be decided without, the nearest
        first."""
        unknown = [at for at, one in enumerate(self._decided(reach)) if not one.known]
        rows = [(at, over.row(self._candidates[at].number)) for at in unknown[:_ASKED]]
        open_rows = [(at, row) for at, row in rows if row is not None]
        said = ask([row for _, row in open_rows], [None] * len(open_rows)) if open_rows else []
        for (at, _), found in zip(open_rows, said, strict=True):
            old = self._candidates[at]
            self._candidates[at] = _candidate(old.number, old.placed, old.looked, found)

    def _decided(self, radius: float) -> list[Decided]:
        see = self._foresight
        return [
            Decided(one, see.now(one.placed, one.said), see.then(one.placed, radius, one.said))
            for one in self._candidates
        ]

    def answer(self, over: Remembered, radius: float, most: int, ask: AskFired) -> None:
        """Find out what is answered, before and after, to the nearest `most` questions that are
        decided otherwise at this radius; over: the questions that this was made of."""
        wanted: list[tuple[Candidate, Row, str | None]] = []
        asked: set[tuple[int, str | None]] = set()
        for one in [d for d in self._decided(radius) if d.differs][:most]:
            texts = one.candidate.texts
            missing = {one.now.fired, one.then.fired} - texts.keys()
            missing = {fired for fired in missing if (id(texts), fired) not in asked}
            row = over.row(one.candidate.number) if missing else None
            if row is not None:
                wanted += [(one.candidate, row, fired) for fired in missing]
                asked |= {(id(texts), fired) for fired in missing}
        if wanted:
            said = ask([row for _, row, _ in wanted], [fired for *_, fired in wanted])
            for (candidate, _, fired), found in zip(wanted, said, strict=True):
                candidate.texts[fired] = found.text

    def changes(self, radius: float) -> tuple[tuple[Change, ...], int]:
        """What is decided otherwise at a radius, nearest first, and how many questions could not be
        decided."""
        decided = self._decided(radius)
        undecided = sum(not one.known for one in decided)
        return tuple(self._change(one, radius) for one in decided if one.differs), undecided

    def _change(self, one: Decided, radius: float) -> Change:
        candidate, looked = one.candidate, one.candidate.looked
        distance = candidate.placed.distance
        return Change(
            number=candidate.number,
            query_id=looked.id,
            question=looked.question,
            before=candidate.texts.get(one.now.fired),
            after=candidate.texts.get(one.then.fired),
            distance=distance,
            inside=distance <= radius,
            margin=(radius - distance) / radius if radius > 0 else 0.0,
            sure=abs(radius - distance) > self._rounding[candidate.number],
            exact=self._exact,
            fired_before=one.now.fired,
            fired_after=one.then.fired,
            has_thumbnail=looked.has_thumbnail,
        )

    def holds(self, foresight: Foresight, radius: float) -> bool:
        """Whether the questions are decided as this says, at a radius, by what is held now too.
        foresight: of the same edit, made now; called while attached."""
        if not foresight.is_local or not self._foresight.is_local:
            return False  # where others may be decided otherwise than these
        placed = foresight.placed(self._keys) if self._candidates else []
        return all(
            (one.now, one.then) == (foresight.now(place, said), foresight.then(place, radius, said))
            for one, place in zip(self._decided(radius), placed, strict=True)
            for said in [one.candidate.said]
        )


def _candidate(number: int, placed: Placed, looked: Looked, said: Said | None) -> Candidate:
    texts: dict[str | None, str] = {}
    if said is not None:
        texts[None] = said.text
    if looked.fired is not None and looked.answer is not None:
        texts[looked.fired] = looked.answer
    return Candidate(number, placed, looked, said, texts)


def _sharing(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, those that are one question asked again with texts in common: they need to be
    answered once."""
    texts: dict[tuple[str, float, AnswerIds | None], dict[str | None, str]] = {}
    shared = []
    for one in candidates:
        said = one.said.ids if one.said is not None else None
        own = texts.setdefault((one.looked.question, one.placed.distance, said), one.texts)
        for fired, text in one.texts.items():
            own.setdefault(fired, text)
        shared.append(replace(one, texts=own))
    return shared
