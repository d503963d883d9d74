"""What is on its way through an engine's thread, and how what comes of it gets back to its loop."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from balancedit.editor import Editor
from balancedit.serving.engine.batcher import Item
from balancedit.serving.engine.protocol import Answered, Failed, Turn
from balancedit.serving.engine.runner import Question


@dataclass(eq=False)
class Job:
    """A question, or a work on a tenant's editor. future: of the loop in which somebody waits for
    what comes of it. Made in that loop."""

    tenant: str
    doing: Question | Callable[[Editor], Any]
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    future: asyncio.Future[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.future = self.loop.create_future()

    def give_up(self) -> None:
        """Nobody waits any more."""
        if isinstance(self.doing, Question):
            self.doing.gone = True


JobItem: TypeAlias = Item[Job]


def call_in(loop: asyncio.AbstractEventLoop, what: Callable[..., Any], *args: Any) -> None:
    """Do something in a loop, if that still runs."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(what, *args)


def deliver(outcomes: Sequence[tuple[JobItem, Any]]) -> None:
    """Give what came of jobs, errors as values, to those who wait for it; a loop is woken once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for item, outcome in outcomes:
        by_loop.setdefault(item.payload.loop, []).append((item.payload.future, outcome))
    for loop, some in by_loop.items():
        call_in(loop, _settle, some)


def _settle(outcomes: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in outcomes:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def turn_of(
    items: Sequence[JobItem], outcomes: Sequence[Any], version: int, begun: float, seconds: float
) -> Turn:
    """What is told of a step that began then and took so long."""
    first, *_ = items
    job, facts = first.payload, first.facts
    fired = [one.answer.fired for one in outcomes if isinstance(one, Answered)]
    return Turn(
        kind="answers" if facts is None else "work",
        tenant=job.tenant,
        size=len(items) if facts is None else facts,
        seconds=seconds,
        waited=begun - first.arrived,
        version=version,
        base=isinstance(job.doing, Question) and job.doing.asked.base,
        failed=sum(isinstance(one, Exception) for one in outcomes),
        fired=tuple(edit for edit in fired if edit is not None),
    )


def placed(error: BaseException) -> str:
    """An error's kind and where it was raised; what it says may hold what somebody asked."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def piece_for(question: Question, on_piece: Callable[[str], None], piece: str) -> None:
    """Hand a piece on, in the loop, while it is wanted."""
    if not question.gone:
        on_piece(piece)


def answer_early(item: JobItem, question: Question, answered: Answered) -> None:
    """A row is whole while others of its batch go on."""
    if not question.is_cut:
        question.answered = True
        deliver([(item, answered)])


def failed(error: Exception) -> Failed:
    """What is said to one of those whose batch met an error that nobody foresaw."""
    said = Failed()
    said.__cause__ = error
    return said
