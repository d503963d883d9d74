"""What an engine is asked, what it gives, and how it refuses.

Nothing here loads a model, or torch. Moments are seconds on `time.monotonic`'s clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from balancedit.errors import BalanceditError
from balancedit.types import Answer

if TYPE_CHECKING:
    from balancedit.editor import Editor
    from balancedit.inputs.conversation import Conversation

T = TypeVar("T")

#: The tenant of those who name none.
DEFAULT_TENANT = "default"


@dataclass(frozen=True)
class Ask:
    """One question to be answered.

    turns: what is asked; pictures that are not open yet are opened off the event loop. tenant:
    whose edits are in force; base: none are, the untouched model answers. max_new_tokens: of the
    answer at most; None: as many as `Editor.ask` allows.
    """

    turns: Conversation
    tenant: str = DEFAULT_TENANT
    base: bool = False
    max_new_tokens: int | None = None


@dataclass(frozen=True)
class Answered:
    """An answer. version: of the tenant's edits that its whole batch was answered at.
    completion_tokens: as generated, the end token included."""

    answer: Answer
    version: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class EngineState:
    """What an engine is at just now.

    queued, works: questions, and pieces of work (edits among them), that wait. running: questions
    in the model. held: edits in force, by tenant; versions: of them. draining: nothing new is taken
    on. alive: whether the thread that answers runs. last_error: the last one nobody foresaw, its
    kind and where it was raised. answers_per_second: as measured lately, while at work; None before
    the first.
    """

    queued: int = 0
    works: int = 0
    running: int = 0
    draining: bool = False
    alive: bool = True
    last_error: str | None = None
    answers_per_second: float | None = None
    held: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """What the thread did in one go, for whoever counts: a batch of answers, or one piece of work.

    size: rows, or facts. seconds: it took; waited: how long the first of it had been queued.
    failed: how many of it ended in an error. fired: ids of the edits that fired, one a row.
    """

    kind: Literal["answers", "work"]
    tenant: str
    size: int
    seconds: float
    waited: float
    version: int
    base: bool = False
    failed: int = 0
    fired: tuple[str, ...] = ()


#: Told of every turn, in the inference thread: it must be quick, and what it raises is dropped.
Watcher = Callable[[Turn], None]


class EngineError(BalanceditError):
    """A question or work that an engine did not do, for a reason that lies with the engine."""


class Overloaded(EngineError):
    """Too much waits already, or more than could be done by the deadline. retry_after: seconds
    after which it is worth asking again."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"too many questions are waiting; ask again in {retry_after:.0f} s")
        self.retry_after = retry_after


class DeadlinePassed(EngineError):
    """The answer did not come to its end before its deadline; nothing is left running."""

    def __init__(self) -> None:
        super().__init__("the answer took longer than allowed; ask again, or allow more time")


class Draining(EngineError):
    """The engine is being shut down and takes nothing on."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down; ask again once it is back")


class Failed(EngineError):
    """Something that nobody foresaw went wrong while this was done; `__cause__` is what. The engine
    goes on."""

    def __init__(self) -> None:
        super().__init__("the model failed on this batch; the server's log says how")


class Stopped(EngineError):
    """The thread that answers has ended by an error; the server must be started again."""

    def __init__(self) -> None:
        super().__init__("the model's thread has ended; the server must be started again")


class Engine(Protocol):
    """One model, asked by many. Its members are called in the event loop's thread."""

    async def ask(
        self,
        asked: Ask,
        *,
        deadline: float | None = None,
        on_piece: Callable[[str], None] | None = None,
    ) -> Answered:
        """Answer a question.

        deadline: when the answer must be whole, for else nobody waits for it any more. on_piece:
        given the text while it comes, in pieces that make up `answer.text`, in the event loop and
        all of them before this returns. Cancelling the task drops a question that waits, and ends
        the row of one that is being answered at the next token.

        Raises `InputError` for a question that the model does not take, `Overloaded`,
        `DeadlinePassed`, `Draining`, `Failed`, `Stopped`; `StoreError` where the tenant's edits
        cannot be read.
        """
        ...

    async def run(
        self,
        tenant: str,
        work: Callable[[Editor], T],
        *,
        facts: int = 0,
        deadline: float | None = None,
    ) -> T:
        """Do something with a tenant's editor, between two batches, and give what it gives.

        facts: how many it teaches. After four of them, or four works that teach none, at least one
        batch of answers comes first where one waits. A work is never interrupted, so a long one is
        better put as several. deadline: when it must have begun. Cancelling the task drops a work
        that waits; one that has begun is done, and what it gives is lost.

        Raises what the work raises, and as for `ask`.
        """
        ...

    def version(self, tenant: str) -> int:
        """Of the tenant's edits, as the last batch or work of theirs left them; 0 before the
        first."""
        ...

    @property
    def state(self) -> EngineState:
        """What it is at."""
        ...

    async def drain(self) -> None:
        """Take nothing on any more, finish what was taken on, and end the thread."""
        ...
