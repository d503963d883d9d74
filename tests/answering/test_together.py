"""Rows of one batch with wishes of their own."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import tiny
from balancedit.answering.generate import GeneratedAnswer
from balancedit.answering.together import Wish
from balancedit.errors import InputError, PromptError
from contract import QUESTION, REWORDED, A
from tiny.taught import OTHER, SAYS, STRANGE, WHO

NEW = "xyz"
ROWS = [(A, QUESTION), (tiny.picture(STRANGE), QUESTION), (A, OTHER), (A, WHO)]


def texts(outcomes: Any) -> list[str]:
    assert all(isinstance(one, GeneratedAnswer) for one in outcomes), outcomes
    return [one.text for one in outcomes]


@pytest.fixture
def editor(make_sure_editor: Any) -> Any:
    made = make_sure_editor(scope="answer-aware")
    made.edit(A, QUESTION, NEW, rephrasings=REWORDED)
    return made


def test_rows_are_answered_as_asked_by_themselves(editor: Any) -> None:
    asked = editor.ask([i for i, _ in ROWS], [q for _, q in ROWS])
    made = editor.ask_together([Wish(row) for row in ROWS])
    assert [(a.text, a.fired) for a in asked] == [(m.text, m.answer.fired) for m in made]
    assert [a.text for a in asked] == [NEW, "so", SAYS[OTHER], SAYS[WHO]]


def test_base_is_the_untouched_model_whatever_is_held(editor: Any) -> None:
    base = editor.ask_together([Wish(row) for row in ROWS], base=True)
    assert texts(base) == [SAYS[QUESTION], "so", SAYS[OTHER], SAYS[WHO]]
    assert not any(one.answer.fired or one.answer.nearest for one in base)
    assert texts(editor.ask_together([Wish(ROWS[0])])) == [NEW]


def test_tokens_are_each_row_s_own(editor: Any) -> None:
    made = editor.ask_together([Wish(row) for row in ROWS])
    alone = [editor.ask_together([Wish(row)])[0] for row in ROWS]
    assert [m.prompt_tokens for m in made] == [a.prompt_tokens for a in alone]
    assert made[2].prompt_tokens - made[0].prompt_tokens == len(OTHER) - len(QUESTION)
    assert [len(m.said.ids) for m in made] == [len(m.text) + 1 for m in made], "a token a byte"


def test_each_row_has_its_own_length(editor: Any) -> None:
    most = (1, None, 2, 60)
    made = editor.ask_together([Wish(r, n) for r, n in zip(ROWS, most, strict=True)])
    assert texts(made) == [NEW[:1], "so", SAYS[OTHER][:2], SAYS[WHO]]
    assert [m.said.cut for m in made] == [True, False, True, False]


def test_pieces_make_up_the_answer_of_those_who_read_along(editor: Any) -> None:
    read: dict[int, list[str]] = {0: [], 2: []}
    wishes = [Wish(row, give=read[i].append if i in read else None) for i, row in enumerate(ROWS)]
    made = editor.ask_together(wishes)
    assert {i: "".join(pieces) for i, pieces in read.items()} == {0: NEW, 2: SAYS[OTHER]}
    assert len(read[2]) > 1
    assert texts(made)[1] == "so"


def test_a_row_is_told_of_when_it_ends_and_others_go_on(editor: Any) -> None:
    told: list[tuple[int, Any, str]] = []  # row, answer, what row 2 had said by then
    read: list[str] = []

    def ended(row: int, answer: Any) -> None:
        told.append((row, answer, "".join(read)))

    wishes = [
        Wish(
            row,
            1 if i == 3 else None,
            give=read.append if i == 2 else None,
            ended=partial(ended, i),
        )
        for i, row in enumerate(ROWS)
    ]
    made = editor.ask_together(wishes)
    assert [(row, by) for row, _, by in told] == [(1, "not"), (0, "not"), (2, "not i")]
    early, whole = [one for _, one, _ in told], [made[row] for row, _, _ in told]
    assert [one.answer for one in early] == [one.answer for one in whole]
    assert [one.said for one in early] == [one.said for one in whole]
    assert [one.prompt_tokens for one in early] == [one.prompt_tokens for one in whole]
    assert made[3].said.cut, "which is told of at the end alone"


@pytest.mark.parametrize("leaves", range(len(ROWS)))
def test_a_row_that_goes_ends_at_the_next_token_and_takes_no_other_with_it(
    editor: Any, leaves: int
) -> None:
    steps = [0] * len(ROWS)

    def gone(row: int) -> bool:
        steps[row] += 1
        return row == leaves

    made = editor.ask_together([Wish(r, gone=partial(gone, i)) for i, r in enumerate(ROWS)])
    whole = [NEW, "so", SAYS[OTHER], SAYS[WHO]]
    assert texts(made) == [text[:1] if i == leaves else text for i, text in enumerate(whole)]
    longest = max(len(text) + 1 for i, text in enumerate(whole) if i != leaves)
    assert steps == [longest] * len(ROWS), "the batch ends with the longest row that stays"


def test_the_model_stops_where_all_rows_have_gone(editor: Any) -> None:
    steps = 0

    def gone() -> bool:
        nonlocal steps
        steps += 1
        return True

    editor.ask_together([Wish(ROWS[2], 60, gone=gone)])
    assert steps == 1


@pytest.mark.parametrize("wrong", [0, 3])
def test_a_row_that_is_refused_takes_no_other_with_it(editor: Any, wrong: int) -> None:
    rows = list(ROWS)
    rows[wrong] = (A, "x" * (editor._loaded.context_length + 1))
    made = editor.ask_together([Wish(row) for row in rows])
    assert isinstance(made[wrong], PromptError)
    assert "shorten the question" in str(made[wrong])
    whole = [NEW, "so", SAYS[OTHER], SAYS[WHO]]
    assert texts([m for i, m in enumerate(made) if i != wrong]) == [
        text for i, text in enumerate(whole) if i != wrong
    ]


def test_a_length_that_fits_no_company_is_answered_alone(editor: Any) -> None:
    limit = editor._loaded.context_length
    (short,) = editor.ask_together([Wish((A, QUESTION))])
    much = limit - short.prompt_tokens
    whole = editor.ask_together([Wish((A, QUESTION), much), Wish((A, OTHER), 8)])
    assert texts(whole) == [NEW, SAYS[OTHER]]
    too_much = editor.ask_together([Wish((A, QUESTION), much + 1), Wish((A, OTHER), 8)])
    assert isinstance(too_much[0], InputError)
    assert too_much[1].text == SAYS[OTHER]
