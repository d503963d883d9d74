"""What the query log is given and gives. Importing this loads neither model nor torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from balancedit.errors import InputError, StoreError

if TYPE_CHECKING:
    import numpy as np

    from balancedit.inputs.pictures import Picture
    from balancedit.layer.decisions import Said

DAY = 86_400.0


class QueryLogError(StoreError):
    """A query log that cannot be opened, read or written."""


@dataclass(frozen=True)
class Retention:
    """How long questions are kept: for so many days, and the newest so many at most. Raises
    `InputError`."""

    days: float = 30.0
    rows: int = 10_000

    def __post_init__(self) -> None:
        if not 0 < self.days <= 3650:
            raise InputError(f"questions are to be kept for {self.days:g} days; give 1 to 3650")
        if not 1 <= self.rows <= 1_000_000:
            raise InputError(f"{self.rows:,} questions are to be kept; give 1 to 1,000,000")


@dataclass(frozen=True, eq=False)
class Noted:
    """A question that was answered, to be kept. tenant: whose edits were in force; alone: whether
    the prompt was that question and what it shows, and no conversation; picture: shown, of which a
    small copy is kept; way: how its key was made (`Previewing.key_way`); key: (D,) float16.

    untouched: what the untouched model says, where that is known; fired, answer: what was answered,
    and by which edit.
    """

    tenant: str
    question: str
    alone: bool
    picture: Picture | None
    way: str
    key: np.ndarray
    untouched: Said | None
    fired: str | None
    answer: str | None


@dataclass(frozen=True)
class LoggedQuery:
    """A question in the log. time: UTC, ISO 8601; before: what the untouched model says, None where
    that is not known; fired, answer: what was answered when it was asked, and by which edit."""

    id: str
    time: str
    tenant: str
    question: str
    before: str | None
    fired: str | None
    answer: str | None
    has_thumbnail: bool

    def to_dict(self) -> dict[str, Any]:
        """The question as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class LogState:
    """How writing goes. written, dropped: questions, since it was opened; failing: why the last
    write failed, None where it did not."""

    written: int = 0
    dropped: int = 0
    failing: str | None = None
