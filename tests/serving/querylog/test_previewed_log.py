"""Questions that an engine answered, logged, and an edit held against them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import tiny
from balancedit import Conversation, Editor
from balancedit.errors import EditConflictError
from balancedit.preview.supposing import Supposing
from balancedit.serving.engine.editors import Editors
from balancedit.serving.engine.protocol import Ask
from balancedit.serving.engine.runner import Question
from balancedit.serving.querylog import QueryLog
from balancedit.serving.querylog.noting import Noting
from contract import A, B
from tiny.taught import QUESTION, REWORDED, SAYS, STRANGE, WHO

PICTURES = [A, B, tiny.picture(STRANGE), *(tiny.picture(seed) for seed in range(11, 17))]
ASKED = [(image, question) for image in PICTURES for question in (QUESTION, REWORDED, WHO)]


@pytest.fixture
def make(make_sure_editor: Any) -> Any:
    return partial(make_sure_editor, key="mean", alpha=0.3)


@pytest.fixture
def family() -> str:
    return "llava"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[QueryLog]:
    with QueryLog.open(tmp_path / "queries.sqlite3") as opened:
        yield opened


def asked_of(engine: Editors, turns: Conversation, **how: Any) -> Any:
    question = Question(Ask(turns, **how))
    question.row = engine.opened(question.asked)
    return engine.answer([question])[0]


def serve(editor: Editor, log: QueryLog) -> Editors:
    return Editors(lambda _: editor, Noting(log))


def ask_all(engine: Editors) -> list[tuple[str, str | None]]:
    made = [asked_of(engine, Conversation.about(*row)).answer for row in ASKED]
    return [(answer.text, answer.fired) for answer in made]


def test_what_the_engine_answers_is_logged(make: Any, log: QueryLog) -> None:
    editor = make()
    engine = serve(editor, log)
    asked_of(engine, Conversation.about(A, WHO))
    edit = editor.edit(A, QUESTION, "ab", rephrasings=[REWORDED])
    asked_of(engine, Conversation.about(A, QUESTION), base=True)
    asked_of(engine, Conversation.about(A, QUESTION))
    asked_of(engine, Conversation.about(A, QUESTION).then("ab", WHO))
    log.flush()
    talk, fired, first = log.queries()[0]
    assert (first.question, first.before, first.fired) == (WHO, SAYS[WHO], None)
    assert (fired.question, fired.fired, fired.answer) == (QUESTION, edit.id, "ab")
    assert fired.before == SAYS[QUESTION], "as it was found out when the edit fired"
    assert talk.question == WHO
    kept = log.remembered(editor.key_way)
    assert [kept.row(number) is not None for number in range(3)] == [True, True, False]
    assert kept.said(1).ids == edit.old_tokens[0]


def test_keys_of_another_layer_are_not_compared(make: Any, log: QueryLog) -> None:
    editor = make()
    asked_of(serve(editor, log), Conversation.about(A, QUESTION))
    other = make(key="last")
    assert editor.key_way != other.key_way
    assert len(log.remembered(editor.key_way).keys) == 1
    assert len(log.remembered(other.key_way).keys) == 0


def test_a_preview_of_the_log_is_what_then_happens(make: Any, log: QueryLog) -> None:
    editor = make()
    first = editor.edit(B, QUESTION, "ab", rephrasings=[REWORDED])
    engine = serve(editor, log)
    before = ask_all(engine)
    preview = editor.preview(
        B, QUESTION, "xyz", rephrasings=[REWORDED], over=log.of("default"), most=100
    )
    assert preview.edit.retires == (first.id,)
    assert preview.considered == len(ASKED)
    assert (preview.undecided, log.state.dropped) == (0, 0)
    kept = preview.commit()
    after = ask_all(engine)
    assert kept.id == preview.edit.id
    differing = {n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a[1] != b[1]}
    assert differing == {c.number for c in preview.changed}
    assert differing
    for change in preview.changed:
        assert (change.before, change.fired_before) == before[change.number]
        assert change.fired_after == after[change.number][1]
        assert not change.exact, "of the pictures there are small copies"
        assert change.after is not None, "of so small a copy it may be another than of the picture"


def rows_answered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions that the model is asked in previews from now on, as they come."""
    asked: list[str] = []
    answers = Supposing.answers

    def noting(self: Supposing, rows: Any, fired: Any) -> Any:
        asked.extend(question for _, question in rows)
        return answers(self, rows, fired)

    monkeypatch.setattr(Supposing, "answers", noting)
    return asked


def test_logged_questions_are_decided_without_the_model(
    make: Any, log: QueryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = make()
    ask_all(serve(editor, log))
    asked = rows_answered(monkeypatch)
    preview = editor.preview(A, QUESTION, "xyz", rephrasings=[REWORDED], over=log, most=0)
    assert preview.changed
    assert {c.after for c in preview.changed} == {None}
    assert {c.before for c in preview.changed} == {SAYS[QUESTION]}
    assert asked == [QUESTION], "the edit's own, to see what it answers"


def test_one_question_asked_again_is_answered_once(
    make: Any, log: QueryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = make()
    engine = serve(editor, log)
    for _ in range(3):
        asked_of(engine, Conversation.about(A, QUESTION))
    asked = rows_answered(monkeypatch)
    preview = editor.preview(A, QUESTION, "xyz", rephrasings=[REWORDED], over=log)
    assert [c.after for c in preview.changed] == ["xyz"] * 3
    assert asked == [QUESTION] * 2, "the edit's own, and the logged one"


def test_a_log_that_moved_on_does_not_matter_and_edits_do(make: Any, log: QueryLog) -> None:
    editor = make()
    engine = serve(editor, log)
    ask_all(engine)
    preview = editor.preview(A, QUESTION, "xyz", rephrasings=[REWORDED], over=log)
    asked_of(engine, Conversation.about(A, QUESTION))
    log.forget("default")
    editor.edit(A, QUESTION, "ab", rephrasings=[REWORDED])
    with pytest.raises(EditConflictError):
        preview.commit()


def test_a_log_that_fails_breaks_no_answer(
    make: Any, log: QueryLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(QueryLog, "note", lambda *_: 1 / 0)
    engine = serve(make(), log)
    for _ in range(2):
        assert asked_of(engine, Conversation.about(A, WHO)).answer.text == SAYS[WHO]
    assert sum("could not be noted" in r.message for r in caplog.records) == 1
