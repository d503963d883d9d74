"""Which facts are the same: conflicts, facts taught again, and answers compared by one rule."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import tiny
from balancedit import Edit, Editor, Fact, FailedEdit, KnownEdit
from balancedit.store import DiskStore
from contract import A, B
from tiny.taught import OTHER, QUESTION, REWORDED, SAYS, WHO

AGAIN = "was taught before"


@pytest.fixture
def make(make_sure_editor: Any) -> Any:
    """Editors of tiny models that are sure of their answers, with the mean of a prompt as key."""
    return partial(make_sure_editor, key="mean")


@pytest.fixture
def family() -> str:
    return "llava"


def taught(editor: Editor, question: str, answer: str, *rephrasings: str, image: Any = A) -> Edit:
    return editor.edit(image, question, answer, rephrasings=rephrasings)


def as_near_as_a_rephrasing(editor: Editor, first: Edit, second: Edit) -> bool:
    with editor:
        reads = editor._method.routing.prefill_keys
        a, b = (reads([A], [edit.question]) for edit in (first, second))
    return float((a - b).norm()) <= min(first.d_positive, second.d_positive)


# -- conflicts -------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["paper", "answer-aware"])
def test_two_questions_with_long_rephrasings_do_not_conflict(make: Any, scope: str) -> None:
    """FAULTS 2.3: however far the rephrasings lie, other questions are other facts."""
    editor = make(scope=scope)
    first = taught(editor, QUESTION, "ab", OTHER)
    second = taught(editor, WHO, "xyz", OTHER)
    assert as_near_as_a_rephrasing(editor, first, second), "what made them conflict"
    assert second.retires == ()
    assert [e.state for e in editor.edits(states=("active", "retired"))] == ["active"] * 2
    assert not [w for w in second.warnings if "replaces" in w]


@pytest.mark.parametrize("again", [QUESTION, "What is THIS", REWORDED])
def test_the_same_question_conflicts(make: Any, again: str) -> None:
    editor = make(scope="paper", alpha=0.5)
    first = taught(editor, QUESTION, "ab", REWORDED)
    second = taught(editor, again, "xyz", OTHER)
    assert second.retires == (first.id,)
    editor.revert(second.id)
    assert editor.get(first.id).state == "active"


def test_another_question_with_the_same_old_answer_conflicts_and_it_is_said(make: Any) -> None:
    editor = make(scope="answer-aware")
    alike = [f"what is thi{c}?" for c in "abcdefgh"]
    asked = next(q for q in alike if editor.ask(A, q).text == SAYS[QUESTION])
    first = taught(editor, QUESTION, "ab", REWORDED)
    second = taught(editor, asked, "xyz", REWORDED)
    assert as_near_as_a_rephrasing(editor, first, second)
    assert (second.old_answer, second.retires) == (first.old_answer, (first.id,))
    (said,) = [w for w in second.warnings if w.startswith("it replaces")]
    assert f"edit {first.id} ('{QUESTION}' → 'ab')" in said


@pytest.mark.parametrize(
    ("older", "newer"),
    [("C++", "C#"), ("A+", "A-"), ("-5", "5"), ("कि", "का"), ("5!", "5"), ("é", "e"), ("没", "沒")],
)
def test_other_answers_conflict(make: Any, older: str, newer: str) -> None:
    """FAULTS 2.2, and neighbours: what an answer means is in its signs and marks."""
    editor = make(steps=1)
    first, second = (taught(editor, QUESTION, answer, REWORDED) for answer in (older, newer))
    assert second.retires == (first.id,)
    assert editor.edits() == [second]


@pytest.mark.parametrize(
    ("older", "newer"), [("hp", "HP."), ("über", "u\u0308ber"), ("가", "\u1100\u1161")]
)
def test_one_answer_written_otherwise_is_no_conflict(make: Any, older: str, newer: str) -> None:
    editor = make(steps=1)
    first = taught(editor, QUESTION, older, REWORDED)
    second = taught(editor, QUESTION, newer, REWORDED, image=B)
    assert (first.state, second.retires) == ("active", ())


# -- taught again ----------------------------------------------------------------------------


def test_the_same_fact_twice_is_one_edit(make: Any, tmp_path: Path) -> None:
    """FAULTS 2.4."""
    editor = make(edits=tmp_path / "e")
    first = taught(editor, QUESTION, "ab", REWORDED)
    steps: list[int] = []
    editor._method.learn_many = lambda requests: steps.extend([1] * len(requests)) or iter(())
    for same in (
        taught(editor, QUESTION, "ab", REWORDED),
        taught(editor, QUESTION, "ab"),
        taught(editor, f" {QUESTION} ", "AB.", image=A.copy()),
    ):
        assert isinstance(same, KnownEdit)
        assert replace(editor.get(first.id), warnings=same.warnings).to_dict() == same.to_dict()
        assert AGAIN in same.warnings[-1]
        assert same.warnings[:-1] == first.warnings
    assert not steps
    assert editor.edits() == [first]
    other: Editor = make(edits=tmp_path / "e")
    assert taught(other, QUESTION, "ab").id == first.id, "nor in another process"
    other.revert(first.id)
    new = taught(editor, QUESTION, "ab") if editor.refresh() else None
    assert new is None


@pytest.mark.parametrize(
    "asked",
    [
        {"rephrasings": ["well, what is this?"]},
        {"negative": "white"},
        {"negative": tiny.picture(7)},
        {"new": True},
    ],
    ids=["rephrasings", "negative named", "negative picture", "new"],
)
def test_asked_otherwise_it_is_learned_again_and_replaces_the_first(make: Any, asked: Any) -> None:
    editor = make(scope="answer-aware")
    first = editor.edit(A, QUESTION, "ab", rephrasings=[REWORDED])
    second = editor.edit(A, QUESTION, "ab", **{"rephrasings": [REWORDED]} | asked)
    assert second.id != first.id
    assert second.retires == (first.id,)
    assert [e.id for e in editor.edits()] == [second.id]
    third = editor.edit(A, QUESTION, "ab", **{"rephrasings": [REWORDED]} | asked)
    assert third.id == second.id


def test_what_is_not_answered_is_learned_again(make: Any) -> None:
    editor = make()
    weak = make(steps=1, lr=1e-6)
    first = taught(weak, QUESTION, "ab", REWORDED)
    assert first.answer_after == SAYS[QUESTION]
    again = taught(weak, QUESTION, "ab", REWORDED)
    assert again.retires == (first.id,)
    assert len(weak.edits()) == 1
    one = taught(editor, QUESTION, "ab", REWORDED)
    editor.revert(one.id)
    assert taught(editor, QUESTION, "ab", REWORDED).id != one.id, "undone, it is not there"


def test_another_picture_of_the_thing_is_another_fact(make: Any) -> None:
    editor = make()
    first = taught(editor, QUESTION, "ab", REWORDED)
    second = taught(editor, QUESTION, "ab", REWORDED, image=B)
    assert not isinstance(second, KnownEdit)
    assert (second.retires, first.state) == ((), "active")
    assert len(editor.edits()) == 2


def test_a_file_run_again_learns_what_is_missing(make: Any, tmp_path: Path) -> None:
    facts = [
        Fact(A, QUESTION, "ab", [REWORDED]),
        Fact(A, WHO, "xyz", ["so who?"]),
        Fact(B, QUESTION, "xyz", [REWORDED]),
    ]

    class Stop(Exception):
        pass

    def stop(outcome: Any) -> None:
        raise Stop

    editor = make(edits=tmp_path / "e")
    with pytest.raises(Stop):
        editor.edit_many(facts, progress=stop)
    held = editor.edits()
    assert 0 < len(held) < 3
    again: Editor = make(edits=tmp_path / "e")
    made = again.edit_many([*facts, Fact(A, " ", "x"), facts[0]])
    assert [isinstance(m, KnownEdit) for m in made] == [
        *(i < len(held) for i in range(3)),
        False,
        True,
    ]
    assert isinstance(made[3], FailedEdit)
    assert made[0].id == made[4].id == held[0].id
    assert [e.target for e in again.edits()] == ["ab", "xyz", "xyz"]
    with DiskStore.open(tmp_path / "e") as store:
        assert len(store.edits()) == 3


def test_a_fact_taught_another_answer_in_between_is_learned_again(make: Any) -> None:
    editor = make()
    ab, xyz = Fact(A, QUESTION, "ab", [REWORDED]), Fact(A, QUESTION, "xyz", [REWORDED])
    first, other, last, same = editor.edit_many([ab, xyz, ab, ab])
    assert (other.retires, last.retires) == ((first.id,), (other.id,))
    assert (type(last), type(same), same.id) == (Edit, KnownEdit, last.id)
    assert editor.ask(A, QUESTION).text == "ab"


@pytest.mark.parametrize("method", ["ft", "grace", "ike"])
def test_other_methods_know_their_facts_too(make: Any, method: str) -> None:
    editor = Editor.on(make()._loaded, method=method)
    first = editor.edit(A, QUESTION, "ab")
    again = editor.edit(A, QUESTION, "AB.")
    there = first.answer_after == "ab"
    assert isinstance(again, KnownEdit) == there
    assert len(editor.edits()) == 2 - there


# -- which edit is named ---------------------------------------------------------------------


def test_the_edit_that_fires_is_named_though_another_is_nearer(make: Any) -> None:
    """FAULTS 2.5."""
    editor = make(scope="answer-aware")
    fires = taught(editor, REWORDED, "ab", QUESTION, image=B)
    nearer = taught(editor, WHO, "xyz", "who, who?")
    assert (fires.old_answer, nearer.old_answer) == (SAYS[QUESTION], SAYS[WHO])
    with editor:
        keys = editor._method.routing.prefill_keys([A, B], [QUESTION, REWORDED])
    for edit, key in ((fires, keys[1]), (nearer, keys[0])):
        editor._method.entries.codebook.remove(edit.id)
        editor._method.entries.codebook.add(edit.id, key, 1e9)
    answer = editor.ask(A, QUESTION)
    assert answer.fired == answer.nearest == fires.id
    assert answer.text == "ab"
    found = editor.explain(A, QUESTION)
    assert [n.edit.id for n in found.neighbours] == [nearer.id, fires.id]
    named = {n.edit.id: n for n in found.neighbours}
    assert found.answer == answer
    assert answer.distance == pytest.approx(named[fires.id].distance, rel=1e-4)
    assert answer.radius == named[fires.id].radius
    assert f"Edit {fires.id}" in found.reason
    assert nearer.id in named
