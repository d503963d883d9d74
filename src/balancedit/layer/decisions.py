"""What is decided about the rows of a batch, and how it is collected.

Letters: B = rows of the batch, D = width of a key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch

#: Token ids of an answer as the untouched model gives it, its end token included where it ends.
AnswerIds = tuple[int, ...]


@dataclass(frozen=True)
class Said:
    """What the untouched model says to a prompt: the text, and its token ids as they came. cut:
    whether it was cut for its length, before it came to its end."""

    text: str
    ids: AnswerIds
    cut: bool = False


@dataclass(frozen=True)
class Decision:
    """What was decided for one row. `distance` and `radius` are the nearest entry's.

    claims: entries that fire if the untouched model itself gives a certain answer here, the nearest
    first. While there are any, the row is undecided, and goes through the untouched layer. given:
    where one of them fired, the answer that the untouched model was found to give.
    """

    fired: str | None = None
    nearest: str | None = None
    distance: float | None = None
    radius: float | None = None
    claims: tuple[Claim, ...] = ()
    given: AnswerIds = field(default=(), compare=False)

    @property
    def asked_of(self) -> tuple[AnswerIds, ...]:
        """The answers of which it matters whether the untouched model gives them, each once."""
        return tuple(dict.fromkeys(ids for claim in self.claims for ids in claim.answers))

    def settled(self, given: Collection[AnswerIds]) -> Decision:
        """The decision once it is known which of those answers the untouched model gives."""
        for claim in self.claims:
            for ids in claim.answers:
                if ids in given:
                    return replace(claim.decision, given=ids)
        return replace(self, claims=())


@dataclass(frozen=True)
class Claim:
    """What is decided where the untouched model gives one of these answers, token for token."""

    answers: tuple[AnswerIds, ...]
    decision: Decision


@dataclass(frozen=True)
class Route:
    """The decisions of one batch of prompts, and the rows each fired entry owns."""

    rows: tuple[Decision, ...]
    groups: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Sequence[Decision]) -> Route:
        """Group rows by the entry that fired."""
        groups: dict[str, list[int]] = {}
        for i, row in enumerate(rows):
            if row.fired is not None and not row.claims:
                groups.setdefault(row.fired, []).append(i)
        return cls(tuple(rows), {k: tuple(v) for k, v in groups.items()})


@dataclass(eq=False)
class RouteTrace:
    """Decisions and keys of the prompts seen while tracing, in order."""

    rows: list[Decision] = field(default_factory=list)
    keys: list[torch.Tensor] = field(default_factory=list)  # each (B, D) float32

    def stacked_keys(self) -> torch.Tensor:
        """(rows seen, D) keys of all prompts seen."""
        return torch.cat(self.keys)


class OpenTraces:
    """The traces that are being collected just now."""

    def __init__(self) -> None:
        self._open: list[RouteTrace] = []

    def __bool__(self) -> bool:
        return bool(self._open)

    @contextmanager
    def tracing(self) -> Iterator[RouteTrace]:
        """Collect what is recorded inside the context."""
        trace = RouteTrace()
        self._open.append(trace)
        try:
            yield trace
        finally:
            self._open.remove(trace)

    @contextmanager
    def set_aside(self) -> Iterator[RouteTrace]:
        """Collect what is recorded inside the context, and keep it from the traces open before."""
        before, self._open = self._open, []
        try:
            with self.tracing() as trace:
                yield trace
        finally:
            self._open = before

    def record(self, rows: Sequence[Decision], keys: torch.Tensor | None = None) -> None:
        """Add the decisions of one batch, and its (B, D) keys where there are any."""
        for trace in self._open:
            trace.rows.extend(rows)
            if keys is not None:
                trace.keys.append(keys)
