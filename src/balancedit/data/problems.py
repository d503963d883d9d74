"""What is wrong with a data set, one finding at a time, and what loading makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from balancedit.errors import DataError

ProblemKind = Literal[
    "wrong-type",
    "missing-field",
    "empty-target",
    "empty-text",
    "repeated-id",
    "missing-image",
    "duplicate",
    "stray-space",
    "leak",
]


@dataclass(frozen=True)
class Problem:
    """One finding. where: file and index or line; fatal: the record cannot be used."""

    kind: ProblemKind
    where: str
    what: str
    fatal: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain JSON types."""
        return asdict(self)


#: Told of every finding while a data set is read. Returning lets the reading go on, without the
#: record where the finding is fatal.
Report = Callable[[Problem], None]


def stop(problem: Problem) -> None:
    """The report of an ordinary load: the first record that cannot be used is a `DataError`."""
    if problem.fatal:
        raise DataError(
            f"{problem.where}: {problem.what}; mend it, or leave such records out with --skip-bad "
            "(`balancedit data check` lists them all)"
        )


@dataclass
class LeftOut:
    """A report that goes on past records that cannot be used, and keeps what was wrong."""

    problems: list[Problem] = field(default_factory=list)

    def __call__(self, problem: Problem) -> None:
        if problem.fatal:
            self.problems.append(problem)

    def message(self) -> str:
        """How many records are missing and the first reason; empty where none is."""
        if not self.problems:
            return ""
        first, n = self.problems[0], len({p.where for p in self.problems})
        return f"left out {n} records that cannot be used, the first: {first.where} {first.what}"
