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
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from balancedit.answering.ask import How, check_how
from balancedit.editor import Editor
from balancedit.errors import BalanceditError
from balancedit.serving.engine import protocol
from balancedit.serving.engine.batcher import Batcher, Limits, Step
from balancedit.serving.engine.jobs import (
    Job,
    JobItem,
    answer_early,
    call_in,
    deliver,
    failed,
    piece_for,
    placed,
    turn_of,
)
from balancedit.serving.engine.protocol import (
    Answered,
    Ask,
    DeadlinePassed,
    Draining,
    EngineState,
    Stopped,
)
from balancedit.serving.engine.runner import Question, Runner

T = TypeVar("T")

logger = logging.getLogger(__name__)
_OPENED_AT_ONCE = 2  # questions whose pictures are being decoded


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
        self._batcher: Batcher[Job] = Batcher(clock, limits)
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="balancedit-engine", daemon=True)
        self._opening = asyncio.Semaphore(_OPENED_AT_ONCE)
        self._ended = False
        self._failed = False  # whether the thread ended by an error
        self._last_error: str | None = None
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
        job = Job(asked.tenant, question)
        if on_piece is not None:
            question.give = partial(call_in, job.loop, piece_for, question, on_piece)
        with self._changed:
            self._check_alive()
            item = self._batcher.add_question(job, deadline=deadline)
        question.ended = partial(answer_early, item, question)
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
        job = Job(tenant, work)
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
                if self._drop(item):
                    raise
                result = await job.future  # it has begun, and is done to its end
            return result
        finally:
            self._drop(item)

    def version(self, tenant: str) -> int:
        """See `Engine.version`."""
        held = self._runner.held().get(tenant)
        return held.version if held else 0

    @property
    def state(self) -> EngineState:
        """See `Engine.state`."""
        with self._changed:
            batcher, held = self._batcher, self._runner.held()
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
            self._awaiting_end.append(partial(call_in, loop, ended.set))
        await ended.wait()

    def stop(self, wait: float = 0.0) -> None:
        """Take nothing on any more, refuse what waits, and end the rows under way at their next
        token; then wait so many seconds at most for the thread to end."""
        with self._changed:
            self._batcher.drain()
            refused = self._batcher.everything()
            for item in (*refused, *self._batcher.running):
                item.payload.give_up()
            self._changed.notify_all()
        deliver([(item, Draining()) for item in refused])
        if wait and self._thread.is_alive():
            self._thread.join(wait)

    def _check_alive(self) -> None:
        if self._failed:
            raise Stopped

    def _make_ready(self, item: JobItem, question: Question) -> None:
        assert question.row is not None
        with self._changed:
            self._batcher.make_ready(item, self._runner.bucket(question.asked, question.row))
            self._changed.notify_all()

    def _drop(self, item: JobItem) -> bool:
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
            deliver([(item, Stopped()) for item in left])
            for tell in told:
                tell()

    def _next(self) -> Step[Job] | None:
        """What to do next, once there is something; None once all is done that will ever be."""
        with self._changed:
            while True:
                step = self._batcher.next()
                if step.expired:
                    deliver([(item, DeadlinePassed()) for item in step.expired])
                if step.kind != "wait":
                    return step
                if self._batcher.draining and self._batcher.is_empty:
                    return None
                self._changed.wait(step.seconds)

    def _do(self, step: Step[Job]) -> None:
        begun = self._clock()
        outcomes = self._outcomes([item.payload for item in step.items])
        with self._changed:
            self._batcher.done()
        deliver(list(zip(step.items, outcomes, strict=True)))
        self._tell(step, outcomes, begun)

    def _outcomes(self, jobs: Sequence[Job]) -> list[Any]:
        """What comes of the jobs of one step; errors as values."""
        first, *_ = jobs
        try:
            if not isinstance(first.doing, Question):
                return [self._runner.work(first.tenant, first.doing)]
            questions = [job.doing for job in jobs if isinstance(job.doing, Question)]
            made = self._runner.answer(questions)
            return [
                Draining() if question.is_cut else one  # whoever waits yet was not the one to go
                for question, one in zip(questions, made, strict=True)
            ]
        except BalanceditError as error:
            return [error] * len(jobs)
        except Exception as error:
            self._note(error)
            if not isinstance(first.doing, Question):
                return [error]
            return [failed(error) for _ in jobs]

    def _note(self, error: BaseException) -> None:
        """Keep and log an error that nobody foresaw."""
        logger.error("the model's thread met an error", exc_info=error)
        with self._changed:
            self._last_error = placed(error)

    def _tell(self, step: Step[Job], outcomes: Sequence[Any], begun: float) -> None:
        """Tell who watches of a turn."""
        if self._watch is None:
            return
        version = self.version(step.items[0].payload.tenant)
        turn = turn_of(step.items, outcomes, version, begun, self._clock() - begun)
        try:
            self._watch(turn)
        except Exception as error:
            self._note(error)
