"""balancedit: edit what a vision-language model answers, one fact at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from balancedit.errors import BalanceditError
from balancedit.types import Answer, Edit, Explanation, Fact, FailedEdit, KnownEdit
from balancedit.version import __version__

if TYPE_CHECKING:
    from balancedit.editor import Editor
    from balancedit.inputs.conversation import Conversation, Turn
    from balancedit.inputs.pictures import Pictures

__all__ = [
    "Answer",
    "BalanceditError",
    "Conversation",
    "Edit",
    "Editor",
    "Explanation",
    "Fact",
    "FailedEdit",
    "KnownEdit",
    "Pictures",
    "Turn",
    "__version__",
]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import; `balancedit --help` must not pay for it
    if name == "Editor":
        from balancedit.editor import Editor

        return Editor
    if name == "Pictures":
        from balancedit.inputs.pictures import Pictures

        return Pictures
    if name in ("Conversation", "Turn"):
        from balancedit.inputs import conversation

        return getattr(conversation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
