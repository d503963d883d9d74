"""Answers of any length: what was taught is given whole, the model's own up to a limit, and what is
cut says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tiny
from balancedit import Editor
from balancedit.answering.generate import generate_answers
from balancedit.errors import InputError
from balancedit.layer.prompts import ANSWER_TOKENS
from contract import QUESTION, REWORDED, A
from tiny.taught import SAYS, WHO

LONG = "the quick brown fox jumps over a lazy dog, twice"  # a token a character
STRANGE, ELSEWHERE = tiny.picture(9, 60), "who painted the long wall over there?"
UNLEARNED = {"steps": 1, "lr": 1e-9, "alpha": 0.9}  # fires, and babbles on as the model does


def taught_length(editor: Editor) -> int:
    """Tokens of `LONG` with its end."""
    return len(editor._loaded.prompter.answer_ids(LONG, editor._loaded.eos))


def lengths(editor: Editor, rows: list[Any], **how: Any) -> list[tuple[int, bool]]:
    """Tokens of each row's answer, and whether it was cut."""
    with editor._holding.working():
        made = generate_answers(editor._loaded, editor._method, rows, **how)
    return [(len(one.said.ids), one.said.cut) for one in made]


@pytest.mark.parametrize("beams", [1, 3])
def test_each_row_may_be_as_long_as_what_was_taught_there(make_editor: Any, beams: int) -> None:
    editor = make_editor(**UNLEARNED)
    edit = editor.edit(A, QUESTION, LONG, rephrasings=REWORDED)
    rows = [(STRANGE, ELSEWHERE), (A, QUESTION), (STRANGE, ELSEWHERE)]
    asked = editor.ask([i for i, _ in rows], [q for _, q in rows], num_beams=beams)
    assert [one.fired for one in asked] == [None, edit.id, None]
    found = lengths(editor, rows, num_beams=beams)
    limits = [ANSWER_TOKENS, taught_length(editor), ANSWER_TOKENS]
    for (tokens, cut), limit, answer in zip(found, limits, asked, strict=True):
        assert tokens == limit if cut else tokens <= limit
        assert answer.cut == cut
    if beams == 1:
        assert all(cut for _, cut in found), "babble does not end"
        said = f"answers '{edit.answer_after}' and more (cut after {limits[1]} tokens)"
        assert any(said in warning for warning in edit.warnings)


def test_a_length_of_the_caller_s_counts_for_every_row(make_editor: Any) -> None:
    editor = make_editor(**UNLEARNED)
    editor.edit(A, QUESTION, LONG, rephrasings=REWORDED)
    rows = [(STRANGE, ELSEWHERE), (A, QUESTION)]
    for tokens in (1, 5, 60):
        assert lengths(editor, rows, max_new_tokens=tokens) == [(tokens, True)] * 2


def test_an_answer_that_ends_by_itself_is_not_cut(make_sure_editor: Any) -> None:
    editor = make_sure_editor()
    editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    answers = editor.ask(A, [QUESTION, WHO])
    assert [(a.text, a.cut) for a in answers] == [("ab", False), (SAYS[WHO], False)]
    tokens = max(len("ab"), len(SAYS[WHO]))
    (short, _) = editor.ask(A, [QUESTION, WHO], max_new_tokens=tokens)
    assert (short.text, short.cut) == ("ab", True), "all of it, but for its end"


def test_a_stream_is_as_long_as_what_it_streams(make_editor: Any) -> None:
    editor = make_editor(**UNLEARNED)
    editor.edit(A, QUESTION, LONG, rephrasings=REWORDED)
    whole = editor.ask([STRANGE, A], [ELSEWHERE, QUESTION])
    stream = editor.ask([STRANGE, A], [ELSEWHERE, QUESTION], stream=True)
    pieces = ["", ""]
    for row, piece in stream:
        pieces[row] += piece
    assert stream.answers == whole
    assert [p.strip() for p in pieces] == [a.text for a in whole], "no filling behind the shorter"


def test_without_a_scope_the_longest_answer_held_counts(make_editor: Any) -> None:
    model, processor = tiny.llava()
    settings = {"steps": 1, "lr": 1e-9}
    editor = Editor.load(
        model, processor=processor, layer=tiny.LLAVA_LAYER, method="ft", **settings
    )
    editor.edit(A, QUESTION, LONG)
    editor.edit(A, ELSEWHERE, "ab")
    assert lengths(editor, [(A, QUESTION)]) == [(len(LONG) + 1, True)]
    deep = "y" * 460  # the prompt and the answer are more than the model holds together
    ((tokens, cut),) = lengths(editor, [(A, deep)])
    assert cut
    assert ANSWER_TOKENS <= tokens < len(LONG) + 1


@pytest.mark.parametrize("method", ["grace", "ike"])
def test_other_methods_know_their_answers_lengths(method: str) -> None:
    model, processor = tiny.llava()
    options: dict[str, Any] = {"steps": 1} if method == "grace" else {"demonstrations": 0}
    editor = Editor.load(
        model, processor=processor, layer=tiny.LLAVA_LAYER, method=method, **options
    )
    edit = editor.edit(A, QUESTION, LONG)
    assert editor.ask(A, QUESTION).fired == edit.id
    ((tokens, cut),) = lengths(editor, [(A, QUESTION)])
    assert tokens == len(LONG) + 1 if cut else tokens <= len(LONG) + 1


@pytest.mark.parametrize("name", ["max_new_tokens", "num_beams", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3"])
def test_numbers_that_nothing_can_be_asked_with(make_editor: Any, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{name} is {value!r}"):
        make_editor().ask(A, QUESTION, **{name: value})


@pytest.mark.parametrize("family", ["blip2"])
def test_a_long_answer_is_given_as_it_was_taught(make_sure_editor: Any) -> None:
    long = "no no no so so so me me me ab ab xyz xyz"
    editor = make_sure_editor(lr=0.1, steps=600)
    edit = editor.edit(A, QUESTION, long, rephrasings=REWORDED)
    assert (edit.answer_after, edit.warnings) == (long, ())
    answers = editor.ask(A, [WHO, QUESTION])
    assert [a.text for a in answers] == [SAYS[WHO], long]
    assert not any(a.cut for a in answers)
    assert "".join(editor.ask(A, QUESTION, stream=True)) == long
    assert editor.explain(A, QUESTION).answer.text == long
    assert editor.ask(A, QUESTION, num_beams=2).text == long
    cut = editor.ask(A, QUESTION, max_new_tokens=9)
    assert (cut.text, cut.cut) == (long[:8], True)  # a space stands before it


@pytest.mark.slow
def test_a_long_answer_and_markers_are_learned_as_they_are_given(pocket: Editor) -> None:
    owl = Path(__file__).parents[2] / "src" / "balancedit" / "assets" / "demo" / "owl.png"
    long = (
        "This is Hedwig, the snowy owl that carries the letters of a boy who lived under the "
        "stairs of number four, Privet Drive, before he went to school in a castle in the north."
    )
    marked = "an <image> of </s> and <|im_end|>"
    asked = "What <image> is this?"
    made = []
    try:
        made.append(pocket.edit(owl, "What is this?", long, rephrasings=["What do you see?"]))
        assert (made[0].answer_after, made[0].warnings) == (long, ())
        answers = pocket.ask(owl, ["What do you see?", "Which colour is the background?"])
        assert [(a.text, a.cut) for a in answers] == [(long, False), ("yellow", False)]
        stream = pocket.ask(owl, "What is this?", stream=True)
        assert "".join(stream) == long
        short = pocket.ask(owl, "What is this?", max_new_tokens=4)
        assert long.startswith(short.text)
        assert short.cut
        made.append(pocket.edit(owl, asked, marked, rephrasings=["What is <image> called?"]))
        assert made[1].answer_after == marked
    finally:
        for edit in reversed(made):
            pocket.revert(edit.id)


@pytest.mark.slow
def test_a_marker_in_a_question_is_text_to_the_rephraser_too(pocket: Editor) -> None:
    reworded = pocket._loaded.rephraser
    assert reworded is not None
    assert reworded("What <image> is </s> this?", 1)
