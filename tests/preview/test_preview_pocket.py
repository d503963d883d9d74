"""Previews on the default model: what they say is what then happens."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image

from balancedit import Editor
from balancedit.inputs.conversation import Conversation
from balancedit.serving.engine.editors import Editors
from balancedit.serving.engine.protocol import Ask
from balancedit.serving.engine.runner import Question
from balancedit.serving.querylog import QueryLog
from balancedit.serving.querylog.noting import Noting

DEMO = Path(str(files("balancedit") / "assets" / "demo"))
QUESTIONS = ("What is this?", "What would you call this?", "Which colour is the background?")


@pytest.fixture
def editor(pocket: Editor) -> Iterator[Editor]:
    """The default model, with two edits that the test leaves behind taken back."""
    held = {e.id for e in pocket.edits()}
    yield pocket
    for edit in reversed(pocket.edits()):
        if edit.id not in held:
            pocket.revert(edit.id)


@pytest.mark.slow
def test_what_a_preview_says_is_what_happens(editor: Editor, tmp_path: Path) -> None:
    pictures = [Image.open(path).convert("RGB") for path in sorted(DEMO.glob("*.png"))]
    asked = [(picture, question) for picture in pictures for question in QUESTIONS]
    owl = next(p for p in sorted(DEMO.glob("*.png")) if p.stem == "owl")
    editor.edit(DEMO / "swan.png", QUESTIONS[0], "goose", rephrasings=QUESTIONS[1:2])
    editor.edit(owl, QUESTIONS[0], "cockatoo", rephrasings=QUESTIONS[1:2])
    with QueryLog.open(tmp_path / "queries.sqlite3") as log:
        engine = Editors(lambda _: editor, Noting(log))
        before = []
        for picture, question in asked:
            one = Question(Ask(Conversation.about(picture, question)))
            one.row = engine.opened(one.asked)
            (answered,) = engine.answer([one])
            before.append(answered.answer)
        fact = (owl, QUESTIONS[0], "parrot")
        how = {"rephrasings": QUESTIONS[1:2], "most": len(asked)}
        logged = editor.preview(*fact, **how, over=log)
    listed = editor.preview(*fact, **how, over=asked)
    kept = listed.commit()
    after = [editor.ask(*row) for row in asked]
    changed = {n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a.fired != b.fired}
    assert len(changed) > 2, "what is checked"
    assert {c.number for c in logged.changed} == {c.number for c in listed.changed} == changed
    assert logged.undecided == listed.undecided == 0
    for change in listed.changed:
        assert change.before == before[change.number].text
        assert change.after == after[change.number].text
        assert change.fired_after == after[change.number].fired
    for change in logged.changed:
        assert change.before == before[change.number].text
        assert change.after == after[change.number].text, "of a small copy, too"
    assert kept.radius == listed.radius
