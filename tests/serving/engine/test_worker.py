"""The engine's thread and the event loop's side of it, with a stand-in for the model."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from balancedit.errors import ImageError, InputError, PromptError, StoreError
from balancedit.inputs.conversation import Conversation
from balancedit.serving.engine.batcher import Limits
from balancedit.serving.engine.protocol import (
    Answered,
    Ask,
    DeadlinePassed,
    Draining,
    Failed,
    Overloaded,
    Stopped,
    Turn,
)
from balancedit.serving.engine.runner import Held, Question
from balancedit.serving.engine.worker import Worker
from balancedit.types import Answer

LIMITS = Limits(queue=8, works=4, batch=4, wait=0.002)
SOON = 10.0  # seconds that nothing here takes


class Model:
    """Answers a question with its text in capitals, a letter a step; counts its works."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.steps: dict[str, int] = {}
        self.opened_in: set[str] = set()
        self.version = 0
        self.entered = threading.Event()  # a batch has begun
        self.go = threading.Event()  # and may go on
        self.go.set()
        self.early = threading.Event()  # questions that wait for it may be answered
        self.early.set()

    def opened(self, asked: Ask) -> Any:
        self.opened_in.add(threading.current_thread().name)
        if asked.turns.question == "blurred":
            raise ImageError("that is no picture")
        return None, asked.turns.question

    def bucket(self, asked: Ask, row: Any) -> Any:
        return asked.tenant, asked.base

    def answer(self, questions: Any) -> list[Any]:
        self.batches.append([q.row[1] for q in questions])
        self.entered.set()
        assert self.go.wait(SOON)
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> Any:
        assert question.row is not None
        text = str(question.row[1])
        if text == "too long":
            return PromptError("shorten the question")
        if text == "bug":
            raise ZeroDivisionError("nobody foresaw this\nat all")
        if text == "exit":
            raise SystemExit
        if text == "no store":
            raise StoreError("the store is gone")
        if text.startswith("wait"):
            assert self.early.wait(SOON)
        made = ""
        for letter in text.upper():
            if question.gone:
                break
            made += letter
            if question.give:
                question.give(letter)
        self.steps[text] = len(made)
        answered = Answered(Answer(made), self.version, len(text), len(made))
        if text == "early" and question.ended:
            question.ended(answered)
        return answered

    def work(self, tenant: str, work: Any) -> Any:
        self.version += 1
        return work(self)

    def held(self) -> dict[str, Held]:
        return {"default": Held(self.version, 3)}


def question(text: str, **more: Any) -> Ask:
    return Ask(Conversation.about(None, text), **more)


def with_engine(
    story: Callable[[Worker, Model], Awaitable[None]], limits: Limits = LIMITS, **more: Any
) -> None:
    """Run a story with an engine that is stopped in the end."""

    async def told() -> None:
        model = Model()
        engine = Worker(model, limits=limits, **more)
        engine.start()
        try:
            await asyncio.wait_for(story(engine, model), SOON)
        finally:
            model.go.set()
            engine.stop(SOON)
        assert not engine._thread.is_alive()

    asyncio.run(told())


async def held_up(engine: Worker, model: Model, text: str = "first") -> asyncio.Task[Answered]:
    """A question that the model is at, and stays at until `model.go` is set."""
    model.go.clear()
    model.entered.clear()
    task = asyncio.create_task(engine.ask(question(text)))
    await asyncio.to_thread(model.entered.wait, SOON)
    return task


async def until(done: Callable[[], bool]) -> None:
    """Let others run until something is so."""
    while not done():
        await asyncio.sleep(0)


async def waiting(engine: Worker, questions: int, works: int = 0) -> None:
    """Until so many wait, all of them opened; the model must be held up meanwhile."""
    await until(
        lambda: (
            (engine.state.queued, engine.state.works) == (questions, works)
            and all(item.bucket is not None for item in engine._batcher._questions)
        )
    )


async def outcome(task: Awaitable[Any]) -> Any:
    """What comes of it, an error as a value."""
    (made,) = await asyncio.gather(task, return_exceptions=True)
    return made


def test_everybody_is_answered_in_batches_that_hold_no_more_than_they_may() -> None:
    async def story(engine: Worker, model: Model) -> None:
        first = await held_up(engine, model)
        texts = [f"question {i}" for i in range(8)]
        tasks = [asyncio.create_task(engine.ask(question(text))) for text in texts]
        await waiting(engine, 8)
        model.go.set()
        answers = await asyncio.gather(first, *tasks)
        assert [one.answer.text for one in answers] == ["FIRST", *map(str.upper, texts)]
        assert model.batches == [["first"], texts[:4], texts[4:]]

    with_engine(story)


def test_tenants_do_not_share_a_batch() -> None:
    async def story(engine: Worker, model: Model) -> None:
        first = await held_up(engine, model)
        asks = [("a", False), ("b", False), ("a", True), ("a", False)]
        tasks = [
            asyncio.create_task(engine.ask(question(f"{i}", tenant=tenant, base=base)))
            for i, (tenant, base) in enumerate(asks)
        ]
        await waiting(engine, 4)
        model.go.set()
        await asyncio.gather(first, *tasks)
        assert model.batches == [["first"], ["0", "3"], ["1"], ["2"]]

    with_engine(story)


def test_pieces_come_in_order_and_before_the_answer() -> None:
    async def story(engine: Worker, model: Model) -> None:
        pieces: list[str] = []
        threads: set[int] = set()

        def on_piece(piece: str) -> None:
            pieces.append(piece)
            threads.add(threading.get_ident())

        made = await engine.ask(question("what is it?"), on_piece=on_piece)
        assert "".join(pieces) == made.answer.text == "WHAT IS IT?"
        assert len(pieces) > 1
        assert threads == {threading.get_ident()}, "in the event loop's thread"

    with_engine(story)


def test_a_row_that_is_whole_is_answered_before_its_batch_ends() -> None:
    async def story(engine: Worker, model: Model) -> None:
        first = await held_up(engine, model)
        pieces: list[str] = []
        early = asyncio.create_task(engine.ask(question("early"), on_piece=pieces.append))
        long = asyncio.create_task(engine.ask(question("waits for go")))
        await waiting(engine, 2)
        model.early.clear()
        model.go.set()
        assert (await early).answer.text == "EARLY" == "".join(pieces)
        assert not long.done()
        assert engine.state.running == 2, "the batch goes on"
        model.early.set()
        assert (await long).answer.text == "WAITS FOR GO"
        await first
        assert turns[-1].failed == 0

    turns: list[Turn] = []
    with_engine(story, watch=turns.append)


def test_who_leaves_while_waiting_is_never_asked_for() -> None:
    async def story(engine: Worker, model: Model) -> None:
        first = await held_up(engine, model)
        leaving, staying = (
            asyncio.create_task(engine.ask(question(text))) for text in ("leaving", "staying")
        )
        await waiting(engine, 2)
        leaving.cancel()
        assert isinstance(await outcome(leaving), asyncio.CancelledError)
        assert engine.state.queued == 1
        model.go.set()
        assert (await staying).answer.text == "STAYING"
        await first
        assert model.batches == [["first"], ["staying"]]

    with_engine(story)


def test_who_leaves_while_being_answered_frees_the_row() -> None:
    async def story(engine: Worker, model: Model) -> None:
        leaving = await held_up(engine, model, "a very long answer")
        assert engine.state.running == 1
        leaving.cancel()
        assert isinstance(await outcome(leaving), asyncio.CancelledError)
        model.go.set()
        assert (await engine.ask(question("next"))).answer.text == "NEXT"
        assert model.steps == {"a very long answer": 0, "next": 4}

    with_engine(story)


@pytest.mark.parametrize("running", [False, True])
def test_a_deadline_ends_a_question_wherever_it_is(running: bool) -> None:
    async def story(engine: Worker, model: Model) -> None:
        model.go.clear()
        first = None if running else await held_up(engine, model)
        late = engine.ask(question("late"), deadline=time.monotonic() + 0.05)
        assert isinstance(await outcome(late), DeadlinePassed)
        assert engine.state.queued == 0
        model.go.set()
        if first:
            await first
        assert (await engine.ask(question("next"))).answer.text == "NEXT"
        assert model.steps.get("late", 0) == 0

    with_engine(story)


def test_too_many_are_refused_and_nobody_else_is() -> None:
    async def story(engine: Worker, model: Model) -> None:
        first = await held_up(engine, model)
        asked = [asyncio.create_task(engine.ask(question(f"{i}"))) for i in range(32)]
        await until(lambda: sum(task.done() for task in asked) == 32 - LIMITS.queue)
        model.go.set()
        made = await asyncio.gather(*asked, return_exceptions=True)
        refused = [one for one in made if isinstance(one, Overloaded)]
        assert len(refused) == 32 - LIMITS.queue
        assert all(one.retry_after >= 1 for one in refused)
        assert sum(isinstance(one, Answered) for one in made) == LIMITS.queue
        assert (await first).answer.text == "FIRST"
        assert engine.state.queued == engine.state.running == 0

    with_engine(story)


def test_a_question_that_cannot_be_answered_fails_alone() -> None:
    async def story(engine: Worker, model: Model) -> None:
        first = await held_up(engine, model)
        texts = ("good", "too long", "blurred", "fine")
        tasks = [asyncio.create_task(engine.ask(question(text))) for text in texts]
        await waiting(engine, 3)
        model.go.set()
        good, long, blurred, fine = await asyncio.gather(*tasks, return_exceptions=True)
        assert (good.answer.text, fine.answer.text) == ("GOOD", "FINE")
        assert isinstance(long, PromptError)
        assert isinstance(blurred, ImageError)
        await first
        assert model.batches[1] == ["good", "too long", "fine"]

    with_engine(story)


def test_pictures_are_opened_neither_in_the_loop_nor_in_the_model_s_thread() -> None:
    async def story(engine: Worker, model: Model) -> None:
        await engine.ask(question("what?"))
        assert model.opened_in.isdisjoint({threading.current_thread().name, "balancedit-engine"})

    with_engine(story)


def test_a_length_that_is_none_is_refused() -> None:
    async def story(engine: Worker, model: Model) -> None:
        assert isinstance(
            await outcome(engine.ask(question("what?", max_new_tokens=0))), InputError
        )
        assert engine.state.queued == 0

    with_engine(story)


def test_what_nobody_foresaw_fails_its_batch_and_the_engine_goes_on() -> None:
    async def story(engine: Worker, model: Model) -> None:
        first = await held_up(engine, model)
        tasks = [asyncio.create_task(engine.ask(question(text))) for text in ("well", "bug")]
        await waiting(engine, 2)
        model.go.set()
        made = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in made] == [Failed, Failed]
        assert isinstance(made[0].__cause__, ZeroDivisionError)
        assert made[0] is not made[1]
        assert (await first).answer.text == "FIRST"
        assert (await engine.ask(question("next"))).answer.text == "NEXT"
        assert engine.state.alive
        error = engine.state.last_error or ""
        assert re.fullmatch(r"ZeroDivisionError at test_worker.py:\d+", error)

    with_engine(story)


def test_an_error_of_ours_that_is_about_all_is_said_to_all() -> None:
    async def story(engine: Worker, model: Model) -> None:
        assert isinstance(await outcome(engine.ask(question("no store"))), StoreError)
        assert engine.state.last_error is None

    with_engine(story)


def test_a_thread_that_ended_is_said_to_have() -> None:
    async def story(engine: Worker, model: Model) -> None:
        first = await held_up(engine, model, "exit")
        behind = asyncio.create_task(engine.ask(question("waiting")))
        await waiting(engine, 1)
        model.go.set()
        assert isinstance(await outcome(first), Stopped)
        assert isinstance(await outcome(behind), Stopped)
        assert not engine.state.alive
        assert (engine.state.last_error or "").startswith("SystemExit at")
        assert isinstance(await outcome(engine.ask(question("more"))), Stopped)
        assert isinstance(await outcome(engine.run("default", id)), Stopped)
        await engine.drain()

    with_engine(story)


def test_work_is_done_between_batches_and_gives_what_it_gives() -> None:
    async def story(engine: Worker, model: Model) -> None:
        first = await held_up(engine, model)
        order: list[str] = []

        def edit(editor: Any) -> int:
            order.append(f"after {len(model.batches)} batches")
            return editor.version

        works = [asyncio.create_task(engine.run("default", edit, facts=2)) for _ in range(4)]
        asked = asyncio.create_task(engine.ask(question("between")))
        await waiting(engine, 1, works=4)
        model.go.set()
        assert await asyncio.gather(*works) == [1, 2, 3, 4]
        assert order == ["after 1 batches"] * 2 + ["after 2 batches"] * 2
        assert (await first).version == 0
        assert (await asked).version == 2
        assert engine.version("default") == 4
        assert engine.state.versions == {"default": 4}
        assert engine.state.held == {"default": 3}
        assert engine.version("nobody") == 0

    with_engine(story)


def test_what_a_work_raises_is_raised_to_who_asked_for_it() -> None:
    async def story(engine: Worker, model: Model) -> None:
        def refuse(editor: Any) -> None:
            raise InputError("no")

        def crash(editor: Any) -> None:
            raise KeyError("gone")

        assert isinstance(await outcome(engine.run("default", refuse)), InputError)
        assert engine.state.last_error is None
        assert isinstance(await outcome(engine.run("default", crash)), KeyError)
        assert (engine.state.last_error or "").startswith("KeyError at")
        assert await engine.run("default", lambda editor: 7) == 7

    with_engine(story)


def test_work_that_waits_may_be_given_up_and_work_that_has_begun_is_done() -> None:
    async def story(engine: Worker, model: Model) -> None:
        first = await held_up(engine, model)
        done: list[str] = []
        behind = asyncio.create_task(engine.run("default", lambda _: done.append("never")))
        late = engine.run(
            "default", lambda _: done.append("late"), deadline=time.monotonic() + 0.05
        )
        assert isinstance(await outcome(late), DeadlinePassed)
        behind.cancel()
        assert isinstance(await outcome(behind), asyncio.CancelledError)
        assert engine.state.works == 0
        model.go.set()
        await first
        begun, go = threading.Event(), threading.Event()

        def slow(editor: Any) -> str:
            begun.set()
            assert go.wait(SOON)
            done.append("slow")
            return "whole"

        task = asyncio.create_task(engine.run("default", slow, deadline=time.monotonic() + 1.0))
        await asyncio.to_thread(begun.wait, SOON)
        await asyncio.sleep(1.05)  # beyond its deadline
        go.set()
        assert await task == "whole"
        assert done == ["slow"]

    with_engine(story)


def test_draining_ends_what_was_taken_on_and_then_the_thread() -> None:
    async def story(engine: Worker, model: Model) -> None:
        first = await held_up(engine, model)
        behind = asyncio.create_task(engine.ask(question("waiting")))
        work = asyncio.create_task(engine.run("default", lambda _: "done", facts=1))
        await waiting(engine, 1, works=1)
        drained = asyncio.create_task(engine.drain())
        await until(lambda: engine.state.draining)
        assert isinstance(await outcome(engine.ask(question("more"))), Draining)
        assert isinstance(await outcome(engine.run("default", id)), Draining)
        assert not drained.done()
        model.go.set()
        await drained
        assert (await first).answer.text == "FIRST"
        assert (await behind).answer.text == "WAITING"
        assert await work == "done"
        engine._thread.join(SOON)
        assert not engine._thread.is_alive()
        assert engine.state.alive, "it ended as it should"
        await engine.drain()

    with_engine(story)


def test_stopping_refuses_what_waits_and_cuts_what_runs() -> None:
    async def story(engine: Worker, model: Model) -> None:
        first = await held_up(engine, model)
        behind = asyncio.create_task(engine.ask(question("waiting")))
        await waiting(engine, 1)
        engine.stop()
        assert isinstance(await outcome(behind), Draining)
        model.go.set()
        assert isinstance(await outcome(first), Draining), "not half an answer"
        await engine.drain()
        assert model.steps == {"first": 0}

    with_engine(story)


def test_every_turn_is_told_to_who_watches() -> None:
    turns: list[Turn] = []

    def watch(turn: Turn) -> None:
        turns.append(turn)
        raise RuntimeError("whoever watches must not stop the engine")

    async def story(engine: Worker, model: Model) -> None:
        await engine.run("default", lambda _: None, facts=2)
        await outcome(engine.ask(question("too long", base=True)))
        await engine.drain()
        work, answers = turns
        assert (work.kind, work.size, work.failed, work.version) == ("work", 2, 0, 1)
        assert (answers.kind, answers.size, answers.failed) == ("answers", 1, 1)
        assert answers.base
        assert min(t for turn in turns for t in (turn.seconds, turn.waited)) >= 0
        assert (engine.state.last_error or "").startswith("RuntimeError at")

    with_engine(story, watch=watch)
