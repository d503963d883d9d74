"""Answers in batches: which rows go together, which edit each is routed through, how long each may
be, and what is remembered of prompts that were read before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

import tiny
from balancedit import Editor, Pictures
from balancedit.answering import generate
from balancedit.answering.generate import (
    check_prompt,
    generate_answers,
    is_remembered,
    pad_token,
    untouched,
)
from balancedit.errors import InputError, PromptError, RoutingError
from balancedit.layer.decisions import Decision
from balancedit.layer.prompts import ANSWER_TOKENS
from contract import REWORDED, A, B
from tiny.taught import ITS_NAME, OTHER, QUESTION, SAYS, STRANGE, WHO

LONG = "the quick brown fox jumps over a lazy dog, twice"  # a token a character
STRANGER = tiny.picture(STRANGE)
ROWS: list[Any] = [(A, QUESTION), (A, WHO), (STRANGER, QUESTION), (B, OTHER), (A, REWORDED[0])]


@pytest.fixture
def editor(make_sure_editor: Any) -> Editor:
    """An editor with one edit: "ab" where it said "no" of the first picture."""
    made: Editor = make_sure_editor()
    made.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    return made


def answered(editor: Editor, rows: list[Any], **how: Any) -> list[tuple[str, bool]]:
    """What is said to each row, and whether the edit fired there."""
    with editor._holding.working():
        made = generate_answers(editor._loaded, editor._method, rows, **how)
    return [(one.text, one.decision.fired is not None) for one in made]


@contextmanager
def calls(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """Inside the context: how many rows and tokens of prompt each `generate` was given."""
    seen: list[tuple[int, int]] = []
    real = editor.model.generate

    def spy(*args: Any, **given: Any) -> Any:
        seen.append(tuple(given["input_ids"].shape))
        return real(*args, **given)

    with monkeypatch.context() as patch:
        patch.setattr(editor.model, "generate", spy)
        yield seen


EXPECTED = [("ab", True), (SAYS[WHO], False), (ITS_NAME, False), (SAYS[OTHER], False), ("ab", True)]


@pytest.mark.parametrize("size", [1, 2, 3, 32])
def test_a_batch_s_rows_are_answered_in_order(editor: Editor, size: int) -> None:
    assert answered(editor, ROWS, batch_size=size) == EXPECTED
    assert answered(editor, ROWS[::-1], batch_size=size) == EXPECTED[::-1]


def test_no_batch_is_larger_than_asked(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    for size, rows in ((2, [2, 2, 1]), (3, [3, 2]), (32, [5])):
        with calls(editor, monkeypatch) as seen:
            answered(editor, ROWS, batch_size=size)
        assert [n for n, _ in seen] == rows
    assert answered(editor, []) == []


def test_rows_with_as_many_pictures_share_a_batch(
    editor: Editor, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    if family == "blip2":
        pytest.skip("it takes one picture")
    rows = [(A, QUESTION), (None, WHO), (Pictures(A, B), WHO), (A, WHO), (None, WHO)]
    with calls(editor, monkeypatch) as seen:
        together = answered(editor, rows)
    assert sorted(n for n, _ in seen) == [1, 2, 2]
    assert (together[0], together[3]) == (EXPECTED[0], EXPECTED[1])
    assert together == [answered(editor, [row])[0] for row in rows]


def test_padding_changes_nothing(editor: Editor) -> None:
    """The shortest prompt beside the longest, in either order, is answered as alone."""
    short, long = (A, WHO), (A, OTHER)
    alone = [answered(editor, [row])[0] for row in (short, long, (A, QUESTION))]
    assert answered(editor, [short, long, (A, QUESTION)]) == alone
    assert answered(editor, [(A, QUESTION), long, short]) == alone[::-1]


@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_no_answer_is_longer_than_asked(editor: Editor, tokens: int) -> None:
    with editor._holding.working():
        made = generate_answers(editor._loaded, editor._method, ROWS, max_new_tokens=tokens)
    for one, (text, fired) in zip(made, EXPECTED, strict=True):
        assert len(one.said.ids) <= tokens
        assert text.startswith(one.text.strip())
        assert (one.decision.fired is not None) == fired
        assert one.said.cut == (one.said.ids[-1] not in editor._loaded.ends)


def test_a_long_edit_makes_its_own_row_longer_and_no_other(make_sure_editor: Any) -> None:
    editor = make_sure_editor(steps=1)
    edit = editor.edit(A, QUESTION, LONG, rephrasings=REWORDED)
    taught = editor._method.answer_tokens(edit.id)
    assert taught == len(LONG) + 1 > ANSWER_TOKENS
    rows = [Decision(), Decision(edit.id), Decision()]
    plain, short = generate._PLAIN, generate._PLAIN._replace(max_new_tokens=5)
    own = [ANSWER_TOKENS, taught, ANSWER_TOKENS]
    assert [*generate._limits(editor._method, rows, [1000] * 3, plain)] == own
    assert [*generate._limits(editor._method, rows, [40] * 3, plain)] == [32, 40, 32], (
        "what is held"
    )
    assert [*generate._limits(editor._method, rows, [5] * 3, short)] == [5, 5, 5]
    assert editor.ask(A, QUESTION).fired == edit.id


@pytest.mark.parametrize("beams", [2, 3])
def test_every_beam_of_a_row_goes_its_way(editor: Editor, beams: int) -> None:
    assert answered(editor, ROWS, num_beams=beams) == EXPECTED
    assert answered(editor, ROWS[:1], num_beams=beams) == EXPECTED[:1]


def test_beams_that_read_different_prompts_are_refused() -> None:
    alike = torch.ones(2, 3, 4)
    generate._check_beams(alike, torch.float32)
    apart = alike.clone()
    apart[1, 2] += 0.1
    with pytest.raises(RoutingError, match="num_beams=1"):
        generate._check_beams(apart, torch.float32)


def test_a_row_s_decision_is_that_of_its_first_beam(editor: Editor) -> None:
    first, second = Decision("a", "a", 0.1, 0.2), Decision()
    with editor._holding.working(), editor._method.routing.tracing() as trace:
        assert [*generate._decided(trace, 2)] == [second, second], "where no prompt was seen"
        trace.rows.extend([first] * 3 + [second] * 3)
        assert [*generate._decided(trace, 2)] == [first, second]


def test_what_the_untouched_model_says_is_said_while_edits_are_held(editor: Editor) -> None:
    with editor._holding.working():
        said = untouched(editor._loaded, editor._method, ROWS)
    assert [s.text for s in said] == ["no", SAYS[WHO], ITS_NAME, SAYS[OTHER], "no"]
    assert answered(editor, ROWS) == EXPECTED


# -- remembering ---------------------------------------------------------------------------------


def test_a_batch_that_fires_nothing_is_not_generated_again(
    editor: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ROWS[1:4]
    with calls(editor, monkeypatch) as seen:
        with editor.remembering():
            for _ in range(3):
                assert answered(editor, rows) == EXPECTED[1:4]
            assert len(seen) == 1
            assert is_remembered(editor._loaded, rows)
            assert not is_remembered(editor._loaded, rows[:2]), "another batch"
            assert answered(editor, rows, max_new_tokens=8) == EXPECTED[1:4], "asked otherwise"
            assert len(seen) == 2
        assert not is_remembered(editor._loaded, rows)
        answered(editor, rows)
        assert len(seen) == 3


def test_what_is_remembered_is_decided_anew(editor: Editor) -> None:
    with editor.remembering():
        for _ in range(2):
            assert answered(editor, ROWS) == EXPECTED
        second = editor.edit(STRANGER, QUESTION, "xyz", rephrasings=REWORDED)
        for _ in range(2):
            assert answered(editor, ROWS)[2] == ("xyz", True)
        for edit in editor.edits():
            editor.revert(edit.id)
        base = [("no", False), *EXPECTED[1:4], ("no", False)]
        for _ in range(2):
            assert answered(editor, ROWS) == base
    assert second.answer_before == ITS_NAME


def test_prompts_are_remembered_by_all_that_they_show() -> None:
    plain = generate._PLAIN
    names = [
        generate._name(rows, plain)
        for rows in (
            [(A, QUESTION)],
            [(A, WHO)],
            [(B, QUESTION)],
            [(None, QUESTION)],
            [(A.convert("L"), QUESTION)],
            [(A.resize((A.height, A.width + 1)), QUESTION)],
            [(Pictures(A, B), QUESTION)],
            [(A, QUESTION), (B, QUESTION)],
        )
    ]
    assert len({*names}) == len(names)
    assert generate._name([(A.copy(), QUESTION)], plain) == names[0]
    assert generate._name([(A, QUESTION)], plain._replace(num_beams=2)) != names[0]


# -- what is refused -----------------------------------------------------------------------------


def test_a_prompt_that_the_model_does_not_hold_is_refused(editor: Editor) -> None:
    limit = editor._loaded.context_length
    assert limit == 512
    check_prompt(editor._loaded, (A, QUESTION), "ab")
    with pytest.raises(InputError, match="holds 512"):
        check_prompt(editor._loaded, (A, QUESTION), "a" * 512)
    with pytest.raises(InputError, match="holds 512, 32 of them for the answer"):
        answered(editor, [(A, "y" * 490)])
    with pytest.raises(InputError, match="holds 512, 500 of them"):
        answered(editor, ROWS[:1], max_new_tokens=500)
    with pytest.raises(InputError, match="holds 512"):
        editor.edit(A, QUESTION, "ab " * 3000, rephrasings=REWORDED)


def test_the_place_of_a_row_that_is_refused_is_said(
    editor: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = editor._loaded.prompter.inputs

    def failing(images: Any, questions: Any) -> Any:
        if OTHER in questions:
            raise PromptError("not this one", [*questions].index(OTHER))
        return real(images, questions)

    monkeypatch.setattr(editor._loaded.prompter, "inputs", failing)
    for size in (1, 2, 32):
        with pytest.raises(PromptError, match="question 4 of 5: not this one"):
            answered(editor, ROWS, batch_size=size)
    with pytest.raises(PromptError, match=r"^not this one"):
        answered(editor, [(A, OTHER)])


def test_the_pad_token_is_the_tokenizer_s_or_the_end(editor: Editor) -> None:
    loaded: Any = editor._loaded
    assert pad_token(loaded) == loaded.prompter.tokenizer.pad_token_id != loaded.eos
    without = SimpleNamespace(tokenizer=SimpleNamespace(pad_token_id=None))
    assert pad_token(cast(Any, SimpleNamespace(prompter=without, eos=7))) == 7
