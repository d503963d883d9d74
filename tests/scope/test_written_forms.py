"""One equality everywhere: an old answer counts in the forms in which the model was not heard to
give it (FAULTS 2.1)."""

from __future__ import annotations

from typing import Any

import pytest

import tiny
from balancedit import Editor
from balancedit.inputs.answers import same_answer, written_otherwise
from balancedit.layer.decisions import AnswerIds
from balancedit.layer.old_answers import read_once
from balancedit.scope.firing import OldAnswer, in_other_forms
from contract import A, widened
from tiny import taught
from tiny.taught import QUESTION, REWORDED, STRANGE

END = 2


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("hp", ["HP", "Hp", "hp.", "HP.", "Hp."]),
        ("HP.", ["hp", "HP", "Hp", "hp.", "Hp."]),
        ("golden retriever", ["Golden retriever", "Golden Retriever", "GOLDEN RETRIEVER."]),
        ("猫", ["猫。"]),
        ("猫.", ["猫"]),
        ("C++", ["c++", "C++."]),
        ("-5", ["-5."]),
        ("кот", ["Кот", "КОТ."]),
    ],
)
def test_the_other_forms_of_an_answer(text: str, others: list[str]) -> None:
    found = written_otherwise(text)
    assert {*others} <= {*found}
    assert text not in found
    assert len(found) == len({*found}) <= 12


@pytest.mark.parametrize(
    "text", ["straße", "İstanbul", "ﬁ", "ß", "a", ".", "...", "“hp”", "ǆ", "x²"]
)
def test_no_form_is_another_answer(text: str) -> None:
    assert all(same_answer(form, text) for form in written_otherwise(text))
    assert "STRASSE" not in written_otherwise(text)


def spelt(text: str) -> AnswerIds | None:
    """A token a character; capitals of z are not in the vocabulary."""
    return None if "Z" in text else (*map(ord, text), END)


def test_forms_end_as_the_model_s_own_did() -> None:
    heard = ((ord("h"), ord("p"), 99), (7, 99))
    found = in_other_forms(OldAnswer("hp", heard, ("why",)), spelt)
    assert found.tokens[:2] == heard
    assert (ord("H"), ord("P"), ord("."), 99) in found.tokens
    assert all(ids[-1] == 99 for ids in found.tokens)
    assert (found.text, found.warnings) == ("hp", ("why",))


def test_forms_beyond_the_vocabulary_do_not_count() -> None:
    (heard,) = [spelt("zoo")]
    found = in_other_forms(OldAnswer("zoo", (heard,)), spelt).tokens
    assert [*found] == [heard, spelt("zoo.")]


@pytest.mark.parametrize(
    "old",
    [
        OldAnswer(None),
        OldAnswer("hp", ((5, 6, END),)),  # spelt otherwise than an answer is
        OldAnswer("hp", ((ord("h"), ord("p")),)),  # cut before its end
        OldAnswer("a" * 40, (spelt("a" * 40) or (),)),  # long
    ],
)
def test_what_is_left_at_what_was_heard(old: OldAnswer) -> None:
    assert in_other_forms(old, spelt) == old


def test_answers_that_begin_alike_are_read_once() -> None:
    hp, stop, more, other = (1, END), (1, 3, END), (1, 3, 4, END), (5, 6, END)
    pairs = [(0, hp), (0, stop), (0, other), (1, hp), (0, more)]
    read, at = read_once(pairs)
    assert sorted(read) == [(0, more), (0, other), (1, hp)]
    for (row, answer), place in zip(pairs, at, strict=True):
        assert read[place][0] == row
        assert read[place][1][: len(answer) - 1] == answer[:-1]
    assert read_once([]) == ([], [])


@pytest.fixture(scope="module")
def editor() -> Any:
    """An editor of a model that says "no" of most pictures and "No." of a strange one, holding one
    edit that reaches everything of which it says "no"."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(taught, "ITS_NAME", "No.")
        weights = taught._taught.__wrapped__("llava")
    model, processor = tiny.llava()
    model.load_state_dict(weights)
    made = Editor.load(
        model, processor=processor, layer=tiny.LAST["llava"], lr=0.5, steps=60, alpha=0.9
    )
    edit = made.edit(A, QUESTION, "ab", rephrasings=[REWORDED])
    assert edit.old_answer == "no"
    widened(made, edit)
    return made


def test_a_form_that_was_not_heard_fires_on_another_picture(editor: Editor) -> None:
    (edit,) = editor.edits()
    stranger = tiny.picture(STRANGE)
    assert editor.explain(stranger, QUESTION).base_text == "No."
    for asked in ([stranger], [stranger, A, stranger]):  # alone: steps are made ahead
        answers = editor.ask(asked, QUESTION)
        assert [a.fired for a in answers] == [edit.id] * len(asked)
    assert editor.ask(stranger, taught.WHO).fired is None


def test_the_model_s_forms_are_kept_with_the_edit(editor: Editor) -> None:
    (edit,) = editor.edits()
    prompter = editor._loaded.prompter
    texts = prompter.decode(edit.old_tokens)
    assert {"no", "No", "NO", "no.", "No.", "NO."} == {*texts}
    assert all(ids[-1] == editor._loaded.eos for ids in edit.old_tokens)
