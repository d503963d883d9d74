"""The engine on a real, tiny model: it gives what `Editor.ask` gives, at the version it says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tiny
from balancedit import Editor, Pictures
from balancedit.errors import InputError, PromptError, StoreMismatchError
from balancedit.inputs.conversation import Conversation
from balancedit.models.loading import LoadedModel, load_model
from balancedit.serving.engine.editors import Editors, editor_for
from balancedit.serving.engine.protocol import Ask
from balancedit.serving.engine.worker import Worker
from balancedit.serving.tenants import Tenants, UnknownTenantError
from contract import QUESTION, REWORDED, A
from tiny import taught
from tiny.taught import OTHER, SAYS, STRANGE, WHO

STRONG = {"lr": 0.5, "steps": 60, "alpha": 0.9}
THING = tiny.picture(STRANGE)
NEW = "xyz"
SOON = 60.0
#: What is asked, and what the untouched model says.
TALKS = [
    (Conversation.about(A, QUESTION), "no"),
    (Conversation.about(A, REWORDED[0]), "no"),
    (Conversation.about(THING, QUESTION), "so"),
    (Conversation.about(A, OTHER), SAYS[OTHER]),
    (Conversation.about(A, WHO), SAYS[WHO]),
]


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    model, processor = taught.model("llava")
    return load_model(model, processor=processor, layer=tiny.LAST["llava"])


@pytest.fixture
def editor(loaded: LoadedModel) -> Iterator[Editor]:
    made = Editor.on(loaded, **STRONG)
    yield made
    made.close()


def with_engine(open_editor: Callable[[str], Editor], story: Any, **more: Any) -> None:
    """Run a story with an engine on real editors."""

    async def told() -> None:
        engine = Worker(Editors(open_editor), **more)
        engine.start()
        try:
            await asyncio.wait_for(story(engine), SOON)
            await engine.drain()
        finally:
            engine.stop(SOON)

    asyncio.run(told())


def teach(editor: Editor) -> str:
    return editor.edit(A, QUESTION, NEW, rephrasings=REWORDED).id


async def outcome(task: Awaitable[Any]) -> Any:
    (made,) = await asyncio.gather(task, return_exceptions=True)
    return made


def test_it_answers_as_the_editor_does(editor: Editor) -> None:
    edit_id = teach(editor)
    straight = editor.ask([talk for talk, _ in TALKS])

    async def story(engine: Worker) -> None:
        pieces: list[list[str]] = [[] for _ in TALKS]
        made = await asyncio.gather(
            *(
                engine.ask(Ask(talk), on_piece=read.append)
                for (talk, _), read in zip(TALKS, pieces, strict=True)
            )
        )
        assert [m.answer.text for m in made] == [one.text for one in straight]
        assert [m.answer.fired for m in made] == [one.fired for one in straight]
        assert {m.answer.fired for m in made} == {edit_id, None}
        assert ["".join(read) for read in pieces] == [one.text for one in straight]
        assert {m.version for m in made} == {editor.version}
        assert all(m.completion_tokens == len(m.answer.text) + 1 for m in made)
        short = await engine.ask(Ask(TALKS[3][0], max_new_tokens=2))
        assert (short.answer.text, short.answer.cut) == (SAYS[OTHER][:2], True)
        base = await asyncio.gather(*(engine.ask(Ask(talk, base=True)) for talk, _ in TALKS))
        assert [m.answer.text for m in base] == [untouched for _, untouched in TALKS]
        assert {m.prompt_tokens for m in base} == {m.prompt_tokens for m in made}

    with_engine(lambda _: editor, story)


def test_conversations_and_several_pictures_are_answered_as_the_editor_does(
    editor: Editor,
) -> None:
    talks = [
        Conversation.about(A, QUESTION).then("no", WHO),
        Conversation.about(Pictures(A, THING), QUESTION),
        Conversation.about(None, WHO),
    ]
    straight = [editor.ask(talk, max_new_tokens=8) for talk in talks]

    async def story(engine: Worker) -> None:
        made = await asyncio.gather(*(engine.ask(Ask(t, max_new_tokens=8)) for t in talks))
        assert [m.answer.text for m in made] == [one.text for one in straight]

    with_engine(lambda _: editor, story)


def test_each_answer_is_what_its_version_gives(editor: Editor) -> None:
    """Questions all the time, while an edit is made and taken back."""
    talk = Conversation.about(A, QUESTION)

    async def story(engine: Worker) -> None:
        made, done = [], asyncio.Event()

        async def client() -> None:
            while not done.is_set():
                made.append(await engine.ask(Ask(talk)))

        async def change() -> None:
            for _ in range(2):
                edit = await engine.run("default", teach, facts=1)
                made.append(await engine.ask(Ask(talk)))
                await engine.run("default", lambda e, edit=edit: e.revert(edit))
                made.append(await engine.ask(Ask(talk)))
            done.set()

        await asyncio.gather(change(), *(client() for _ in range(3)))
        expected = {0: "no", 1: NEW, 2: "no", 3: NEW, 4: "no"}
        seen = {(m.version, m.answer.text) for m in made}
        assert {*expected.items()} - {(0, "no")} <= seen <= {*expected.items()}
        assert engine.version("default") == 4

    with_engine(lambda _: editor, story)


def test_tenants_have_edits_of_their_own(loaded: LoadedModel) -> None:
    opened = editor_for(loaded, Tenants(("default", "other")), **STRONG)

    async def story(engine: Worker) -> None:
        talk = Conversation.about(A, QUESTION)
        await engine.run("other", teach, facts=1)
        default, other = await asyncio.gather(
            engine.ask(Ask(talk)), engine.ask(Ask(talk, tenant="other"))
        )
        assert (default.answer.text, default.version) == ("no", 0)
        assert (other.answer.text, other.version) == (NEW, 1)
        assert engine.state.held == {"default": 0, "other": 1}
        stranger = await outcome(engine.ask(Ask(talk, tenant="nobody")))
        assert isinstance(stranger, UnknownTenantError)
        assert engine.state.last_error is None

    with_engine(opened, story)


def test_what_others_commit_to_the_store_is_in_the_next_batch(
    loaded: LoadedModel, tmp_path: Path
) -> None:
    opened = editor_for(loaded, Tenants(edits=tmp_path / "edits"), **STRONG)

    async def story(engine: Worker) -> None:
        talk = Conversation.about(A, QUESTION)
        before = await engine.ask(Ask(talk))
        elsewhere = Editor.on(loaded, edits=tmp_path / "edits", **STRONG)
        await asyncio.to_thread(teach, elsewhere)
        elsewhere.close()
        after = await engine.ask(Ask(talk))
        assert (before.answer.text, before.version) == ("no", 0)
        assert (after.answer.text, after.version) == (NEW, 1)

    with_engine(opened, story)


def test_a_warm_engine_knows_its_versions_and_what_it_cannot_open(
    loaded: LoadedModel, tmp_path: Path
) -> None:
    tenants = Tenants(("default", "other"), tmp_path / "edits")
    with_edit = Editor.on(loaded, edits=tenants.place("other"), **STRONG)
    teach(with_edit)
    with_edit.close()
    editors = Editors(editor_for(loaded, tenants, **STRONG))
    editors.warm_up(tenants.names)
    assert editors.held() == {"default": (0, 0), "other": (1, 1)}
    assert Worker(editors).version("other") == 1
    editors.close()
    otherwise = Editors(editor_for(loaded, tenants, **STRONG, key="last"))
    with pytest.raises(StoreMismatchError, match="key"):
        otherwise.warm_up(tenants.names)


def test_a_prompt_that_is_refused_fails_alone(editor: Editor) -> None:
    async def story(engine: Worker) -> None:
        long = "x" * (editor._loaded.context_length or 0)
        talks = [TALKS[0][0], Conversation.about(A, long), TALKS[2][0]]
        good, refused, other = await asyncio.gather(
            *(engine.ask(Ask(talk)) for talk in talks), return_exceptions=True
        )
        assert isinstance(refused, PromptError)
        assert (good.answer.text, other.answer.text) == ("no", "so")

    with_engine(lambda _: editor, story)


def test_who_leaves_frees_the_row_within_a_step(editor: Editor) -> None:
    """The model is held at its third pass until the client has gone."""
    passes, at_third, go_on = 0, threading.Event(), threading.Event()

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1
        if passes == 3:
            at_third.set()
            assert go_on.wait(SOON)

    async def story(engine: Worker) -> None:
        talk = Conversation.about(A, OTHER)  # of six tokens
        hook = editor._loaded.model.get_submodule(tiny.LAST["llava"]).register_forward_hook(count)
        task = asyncio.create_task(engine.ask(Ask(talk)))
        assert await asyncio.to_thread(at_third.wait, SOON)
        task.cancel()
        assert isinstance(await outcome(task), asyncio.CancelledError)
        go_on.set()
        assert (await engine.run("default", lambda _: passes)) == 3
        hook.remove()

    with_engine(lambda _: editor, story)


def test_a_model_that_breaks_fails_its_batch_and_no_more(editor: Editor) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("CUDA error: nobody foresaw this")

    async def story(engine: Worker) -> None:
        talk, untouched = TALKS[0]
        hook = editor._loaded.model.get_submodule(tiny.LAST["llava"]).register_forward_hook(broken)
        failed = await outcome(engine.ask(Ask(talk)))
        hook.remove()
        assert isinstance(failed.__cause__, RuntimeError)
        assert (await engine.ask(Ask(talk))).answer.text == untouched

    with_engine(lambda _: editor, story)


def test_buckets_part_what_should_not_share_a_batch() -> None:
    def opened(_: str) -> Editor:
        raise InputError("no editor is needed to tell")

    editors = Editors(opened)

    def bucket(question: str = "what?", image: Any = A, **more: Any) -> Any:
        ask = Ask(Conversation.about(image, question), **more)
        return editors.bucket(ask, editors.opened(ask))

    usual = bucket()
    assert bucket("and what is that over there, on the left?", THING) == usual
    assert bucket(max_new_tokens=3) == usual
    others = [
        bucket(tenant="other"),
        bucket(base=True),
        bucket(image=None),
        bucket(image=Pictures(A, THING)),
        bucket("long " * 40),
        bucket("longer still " * 40),
    ]
    assert len({usual, *others}) == 1 + len(others)
