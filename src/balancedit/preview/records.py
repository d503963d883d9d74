"""What a preview says: the edit as it would be kept, and each question that it would decide
otherwise. Plain types alone; torch is not imported here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Bounds:
    """The radius that was measured, and between which others may be chosen instead."""

    learned: float
    min: float
    max: float

    def to_dict(self) -> dict[str, float]:
        """It as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Change:
    """A question asked before that another edit, or none, would answer.

    number: its place among those looked at; query_id: its id in the query log, if it is from one.
    before, after: what is answered without the edit and with it; None where that was not generated,
    or cannot be since the picture is not there. exact: whether both are answers about the picture
    itself, not a small copy of it. distance: from the edit's key; inside: whether the radius holds
    it. margin: how far from the radius, as a share of it; positive inside. sure: whether the margin
    is more than keys are rounded by. fired_before, fired_after: the edits.
    """

    number: int
    query_id: str | None
    question: str
    before: str | None
    after: str | None
    distance: float
    inside: bool
    margin: float
    sure: bool
    exact: bool
    fired_before: str | None
    fired_after: str | None
    has_thumbnail: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The change as plain JSON types."""
        return asdict(self)
