"""What is decided about the rows of a batch, and how it is collected.

Letters: B = rows of the batch, D = width of a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch


@dataclass(frozen=True)
class Decision:
    """What was decided for one row. `distance` and `radius` are the nearest entry's.

    claims: entries that fire if the untouched model itself gives a certain answer here, the nearest
    first. While there are any, the row is undecided, and goes through the untouched layer.
    """

    fired: str | None = None
    nearest: str | None = None
    distance: float | None = None
    radius: float | None = None
    claims: tuple[Claim, ...] = ()

    def settled(self, said: str) -> Decision:
        """The decision once it is known what the untouched model says."""
        won = (claim.decision for claim in self.claims if claim.answer == said)
        return next(won, replace(self, claims=()))


@dataclass(frozen=True)
class Claim:
    """What is decided where the untouched model gives this answer, text for text."""

    answer: str
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

    def record(self, rows: Sequence[Decision], keys: torch.Tensor | None = None) -> None:
        """Add the decisions of one batch, and its (B, D) keys where there are any."""
        for trace in self._open:
            trace.rows.extend(rows)
            if keys is not None:
                trace.keys.append(keys)
