"""balancedit: edit what a vision-language model answers, one fact at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from balancedit.errors import BalanceditError
from balancedit.types import Answer, Edit, Explanation, Fact, FailedEdit

if TYPE_CHECKING:
    from balancedit.editor import Editor
    from balancedit.pictures import Pictures

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "BalanceditError",
    "Edit",
    "Editor",
    "Explanation",
    "Fact",
    "FailedEdit",
    "Pictures",
    "__version__",
]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import; `balancedit --help` must not pay for it
    if name == "Editor":
        from balancedit.editor import Editor

        return Editor
    if name == "Pictures":
        from balancedit.pictures import Pictures

        return Pictures
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
