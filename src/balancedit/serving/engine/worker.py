"""The engine itself: one thread that owns the editors, and the event loop's side of it.

The thread does one step at a time, a batch of answers or one work, as the batcher says. The event
loop puts questions in and gets outcomes back; the batcher is shared, under one lock. Pictures are
opened in threads of their own, two at a time.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, TypeVar

from balancedit.answering.ask import How, check_how
from balancedit.editor import Editor
from balancedit.errors import BalanceditError, first_line
from balancedit.serving.engine import protocol
from balancedit.serving.engine.batcher import Batcher, Item, Limits, Step
from balancedit.serving.engine.protocol import (
    Answered,
    Ask,
    DeadlinePassed,
    Draining,
    EngineState,
    Failed,
    Stopped,
)
from balancedit.serving.engine.runner import Question, Runner

T = TypeVar("T")

logger = logging.getLogger(__name__)
_OPENED_AT_ONCE = 2  # questions whose pictures are being decoded


@dataclass(eq=False)
class _Job:
    """Something on its way through the thread: a question, or a work of a tenant's. future: of the
    loop in which somebody waits for what comes of it."""

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


_Item: TypeAlias = Item[_Job]


class Worker:
    """A running engine (`protocol.Engine`).

    runner: answers, in the thread; limits: of queue and batches; watch: told of every turn. `start`
    it before anything is asked; then `drain` or `stop` it.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        limits: Limits | None = None,
        watch: protocol.Watcher | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner, self._watch, self._clock = runner, watch, clock
        self._batcher: Batcher[_Job] = Batcher(clock, limits)
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="balancedit-engine", daemon=True)
        self._opening = asyncio.Semaphore(_OPENED_AT_ONCE)
        self._ended = False
        self._failed = False  # whether the thread ended by an error
        self._last_error: str | None = None
        self._held = runner.held()
        self._awaiting_end: list[Callable[[], None]] = []

    # -- the event loop's side ---------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def ask(
        self,
        asked: Ask,
        *,
        deadline: float | None = None,
        on_piece: Callable[[str], None] | None = None,
    ) -> Answered:
        """See `Engine.ask`."""
        check_how(How(max_new_tokens=asked.max_new_tokens))
        question = Question(asked)
        job = _Job(asked.tenant, question)
        if on_piece is not None:
            question.give = partial(_call, job.loop, on_piece)
        with self._changed:
            self._check_alive()
            item = self._batcher.add_question(job, deadline=deadline)
        try:
            async with self._until(deadline):
                async with self._opening:
                    question.row = await asyncio.to_thread(self._runner.opened, asked)
                self._make_ready(item, question)
                answered: Answered = await job.future
                return answered
        finally:
            self._drop(item)

    async def run(
        self,
        tenant: str,
        work: Callable[[Editor], T],
        *,
        facts: int = 0,
        deadline: float | None = None,
    ) -> T:
        """See `Engine.run`."""
        job = _Job(tenant, work)
        with self._changed:
            self._check_alive()
            item = self._batcher.add_work(job, facts=facts, deadline=deadline)
            self._changed.notify_all()
        try:
            result: T
            try:
                async with self._until(deadline):
                    result = await asyncio.shield(job.future)
            except DeadlinePassed:
                if self._drop(item) or job.future.done():
                    raise
                result = await job.future  # it has begun, and is done to its end
            return result
        finally:
            self._drop(item)

    def version(self, tenant: str) -> int:
        """See `Engine.version`."""
        held = self._held.get(tenant)
        return held.version if held else 0

    @property
    def state(self) -> EngineState:
        """See `Engine.state`."""
        with self._changed:
            batcher, held = self._batcher, self._held
            running = sum(item.facts is None for item in batcher.running)
            return EngineState(
                queued=batcher.queued,
                works=batcher.works,
                running=running,
                draining=batcher.draining,
                alive=not self._failed,
                last_error=self._last_error,
                answers_per_second=batcher.pace.answers_per_second,
                held={tenant: one.edits for tenant, one in held.items()},
                versions={tenant: one.version for tenant, one in held.items()},
            )

    async def drain(self) -> None:
        """See `Engine.drain`; cancelling it leaves the engine draining."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        with self._changed:
            self._batcher.drain()
            self._changed.notify_all()
            if self._ended or not self._thread.is_alive():
                return
            self._awaiting_end.append(partial(_call, loop, ended.set))
        await ended.wait()

    def stop(self) -> None:
        """Take nothing on any more, refuse what waits, and end the rows under way at their next
        token. Returns at once; the thread ends by itself."""
        with self._changed:
            self._batcher.drain()
            refused = self._batcher.everything()
            for item in (*refused, *self._batcher.running):
                item.payload.give_up()
            self._changed.notify_all()
        _deliver([(item, Draining()) for item in refused])

    def _check_alive(self) -> None:
        if self._failed:
            raise Stopped

    def _make_ready(self, item: _Item, question: Question) -> None:
        assert question.row is not None
        with self._changed:
            self._batcher.make_ready(item, self._runner.bucket(question.asked, question.row))
            self._changed.notify_all()

    def _drop(self, item: _Item) -> bool:
        """Nobody waits for it any more; whether it had not begun."""
        item.payload.give_up()
        with self._changed:
            dropped = self._batcher.drop(item)
            self._changed.notify_all()  # a draining engine may be empty now
        return dropped

    @asynccontextmanager
    async def _until(self, deadline: float | None) -> AsyncIterator[None]:
        """Raises `DeadlinePassed` once the deadline is there."""
        left = None if deadline is None else deadline - self._clock()
        try:
            async with asyncio.timeout(left) as limit:
                yield
        except TimeoutError:
            if limit.expired():
                raise DeadlinePassed from None
            raise

    # -- the thread's side -------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (step := self._next()) is not None:
                self._do(step)
        except BaseException as error:
            self._note(error)
            with self._changed:
                self._failed = True
        finally:
            with self._changed:
                self._ended = True
                self._batcher.drain()
                left = (*self._batcher.everything(), *self._batcher.running)
                told = tuple(self._awaiting_end)
            _deliver([(item, Stopped()) for item in left])
            for tell in told:
                tell()

    def _next(self) -> Step[_Job] | None:
        """What to do next, once there is something; None once all is done that will ever be."""
        with self._changed:
            while True:
                step = self._batcher.next()
                if step.expired:
                    _deliver([(item, DeadlinePassed()) for item in step.expired])
                if step.kind != "wait":
                    return step
                if self._batcher.draining and self._batcher.is_empty:
                    return None
                self._changed.wait(step.seconds)

    def _do(self, step: Step[_Job]) -> None:
        begun = self._clock()
        outcomes = self._outcomes([item.payload for item in step.items])
        held = self._runner.held()
        with self._changed:
            self._held = held
            self._batcher.done()
        _deliver(list(zip(step.items, outcomes, strict=True)))
        self._tell(step, outcomes, begun)

    def _outcomes(self, jobs: Sequence[_Job]) -> list[Any]:
        """What comes of the jobs of one step; errors as values."""
        first, *_ = jobs
        try:
            if not isinstance(first.doing, Question):
                return [self._runner.work(first.tenant, first.doing)]
            questions = [job.doing for job in jobs if isinstance(job.doing, Question)]
            return list(self._runner.answer(questions))
        except BalanceditError as error:
            return [error] * len(jobs)
        except Exception as error:
            self._note(error)
            if not isinstance(first.doing, Question):
                return [error]
            failed = Failed()
            failed.__cause__ = error
            return [failed] * len(jobs)

    def _note(self, error: BaseException) -> None:
        """Keep and log an error that nobody foresaw."""
        logger.error("the model's thread met an error", exc_info=error)
        with self._changed:
            self._last_error = f"{type(error).__name__}: {first_line(error)}"

    def _tell(self, step: Step[_Job], outcomes: Sequence[Any], begun: float) -> None:
        """Tell who watches of a turn."""
        if self._watch is None:
            return
        first, *_ = step.items
        tenant, doing = first.payload.tenant, first.payload.doing
        fired = [one.answer.fired for one in outcomes if isinstance(one, Answered)]
        turn = protocol.Turn(
            kind="work" if first.facts is not None else "answers",
            tenant=tenant,
            size=len(step.items) if first.facts is None else first.facts,
            seconds=self._clock() - begun,
            waited=begun - first.arrived,
            version=self.version(tenant),
            base=isinstance(doing, Question) and doing.asked.base,
            failed=sum(isinstance(one, Exception) for one in outcomes),
            fired=tuple(edit for edit in fired if edit is not None),
        )
        try:
            self._watch(turn)
        except Exception as error:
            self._note(error)


def _call(loop: asyncio.AbstractEventLoop, what: Callable[..., Any], *args: Any) -> None:
    """Do something in a loop, if that still runs."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(what, *args)


def _deliver(outcomes: Sequence[tuple[_Item, Any]]) -> None:
    """Give what came of jobs to those who wait for it, each loop woken once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for item, outcome in outcomes:
        by_loop.setdefault(item.payload.loop, []).append((item.payload.future, outcome))
    for loop, some in by_loop.items():
        _call(loop, _settle, some)


def _settle(outcomes: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in outcomes:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
