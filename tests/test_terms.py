"""Edits on terms: for a version, once, and by somebody; what does not hold is not learned, and what
others outran is not in force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tiny
from balancedit import Editor
from balancedit.errors import EditConflictError, RepeatedRequestError, RequestReusedError
from balancedit.models.loading import load_model
from balancedit.store import AuditEntry, Request, Terms
from balancedit.types import KnownEdit
from contract import REWORDED, A
from tiny import taught
from tiny.taught import QUESTION, SAYS, WHO

SETTINGS: dict[str, Any] = {"lr": 0.5, "steps": 60, "alpha": 0.9}
WHOSE = AuditEntry("k1", "default", "by hand")
ASKED = Request("k1", "r1", "0" * 64)


def editor(edits: Path) -> Editor:
    model, processor = taught.model("llava")
    return Editor.on(
        load_model(model, processor=processor, layer=tiny.LAST["llava"]), edits=edits, **SETTINGS
    )


@pytest.fixture
def made(tmp_path: Path) -> Editor:
    """An editor that holds one edit, on terms."""
    made = editor(tmp_path / "edits")
    made.edit(A, QUESTION, "ab", rephrasings=REWORDED, terms=Terms(0, WHOSE, ASKED))
    return made


@pytest.fixture
def no_learning(made: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning is an error."""

    def learn(requests: list[Any]) -> list[Any]:
        assert not requests, "it was learned"
        return []

    monkeypatch.setattr(made._method, "learn_many", learn)


def lines(made: Editor) -> list[tuple[str, str | None, int]]:
    return [(line.action, line.edit, line.version) for line in made.store.audit(9)]


def test_an_edit_counts_and_is_audited(made: Editor, tmp_path: Path) -> None:
    (edit,) = made.edits()
    assert (made.version, made.store.version) == (1, 1)
    assert lines(made) == [("edit", edit.id, 1)]
    undone = made.undo(edit.id, terms=Terms(1, WHOSE))
    assert [e.id for e in undone] == [edit.id]
    assert made.version == 2
    assert lines(made)[0] == ("revert", edit.id, 2)
    assert made.ask(A, QUESTION).text == SAYS[QUESTION]


@pytest.mark.usefixtures("no_learning")
@pytest.mark.parametrize(
    ("terms", "error"),
    [
        (Terms(expect=0), EditConflictError),
        (Terms(expect=2), EditConflictError),
        (Terms(request=ASKED), RepeatedRequestError),
        (Terms(expect=0, request=ASKED), RepeatedRequestError),
        (Terms(request=Request("k1", "r1", "f" * 64)), RequestReusedError),
    ],
)
def test_what_does_not_hold_is_not_learned(
    made: Editor, terms: Terms, error: type[Exception]
) -> None:
    with pytest.raises(error):
        made.edit(A, WHO, "xyz", terms=terms)
    assert (made.version, len(made.edits())) == (1, 1)
    assert made.ask(A, QUESTION).text == "ab"


@pytest.mark.usefixtures("no_learning")
def test_what_is_known_is_noted_once(made: Editor) -> None:
    (edit,) = made.edits()
    again = Request("k1", "r2", "0" * 64)
    known = made.edit(A, QUESTION, "ab", terms=Terms(1, WHOSE, again))
    assert isinstance(known, KnownEdit)
    assert lines(made) == [("known", edit.id, 1), ("edit", edit.id, 1)]
    with pytest.raises(RepeatedRequestError):
        made.edit(A, QUESTION, "ab", terms=Terms(1, WHOSE, again))
    made.edit(A, QUESTION, "ab")  # by nobody, and so not noted
    assert len(lines(made)) == 2


def test_others_changes_count_when_they_are_taken_over(made: Editor, tmp_path: Path) -> None:
    other = editor(tmp_path / "edits")
    assert other.version == 1
    made.revert(made.edits()[0].id)
    assert (made.version, other.version, other.store.version) == (2, 1, 2)
    other.refresh()
    assert other.version == 2


def outrun(other: Editor, made: Editor) -> None:
    """Let `made` take its edit back just before the next commit of `other`."""
    commit = other.store.commit

    def late(*args: Any) -> Any:
        other.store.commit = commit  # type: ignore[method-assign]
        made.revert(made.edits()[0].id)
        return commit(*args)

    other.store.commit = late  # type: ignore[method-assign]


def test_an_edit_that_others_outran_is_not_in_force(made: Editor, tmp_path: Path) -> None:
    other = editor(tmp_path / "edits")
    outrun(other, made)
    with pytest.raises(EditConflictError, match="version 2, not at 1"):
        other.edit(A, QUESTION, "xyz", rephrasings=REWORDED, terms=Terms(1, WHOSE))
    for one in (made, other):
        assert one.edits() == []
        assert one.ask(A, QUESTION).text == SAYS[QUESTION]
        assert one.version == 2
    assert [action for action, _, _ in lines(made)] == ["edit"]
    edit = other.edit(A, QUESTION, "xyz", rephrasings=REWORDED, terms=Terms(2, WHOSE))
    assert (other.version, made.ask(A, QUESTION).fired, made.version) == (3, edit.id, 3)


def test_without_terms_an_edit_comes_behind_what_others_did(made: Editor, tmp_path: Path) -> None:
    other = editor(tmp_path / "edits")
    outrun(other, made)
    edit = other.edit(A, WHO, "xyz", rephrasings=["who is it?"])
    assert (other.store.version, other.version) == (3, 1), "the other's is not taken over yet"
    other.refresh()
    assert other.version == 3
    assert [e.id for e in other.edits()] == [edit.id]
