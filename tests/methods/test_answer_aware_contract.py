"""The contract under the answer-aware scope, on models that are sure of their answers: every row
lies inside a radius and waits for the old answer, which alone says whether an edit reaches it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from balancedit import Editor
from contract import (
    QUESTION,
    REWORDED,
    A,
    assert_a_batch_equals_its_singles,
    assert_beam_search_keeps_each_row_its_edit,
    assert_cached_decoding_equals_uncached,
    assert_changes_only_inside,
    assert_padding_may_stand_on_either_side,
    assert_saved_edits_give_the_same,
    assert_the_target_never_routes,
    given_back,
    inputs_of,
    logits_of,
    widened,
)
from tiny import taught

#: Two rows to edit, whose old answers differ, one that the untouched model answers otherwise still,
#: the first in other words.
THING = tiny.picture(taught.STRANGE)
ROWS = ([A, THING, A, A], [QUESTION, QUESTION, taught.WHO, REWORDED[0]])
OLD = [taught.SAYS[QUESTION], taught.ITS_NAME, taught.SAYS[taught.WHO], taught.SAYS[QUESTION]]


@pytest.fixture
def make(family: str) -> Any:
    """Editors, with wide radii, of fresh copies of a model that is sure of its answers."""

    def make(**options: Any) -> Editor:
        model, processor = taught.model(family)
        where: Any = {"layer": tiny.LAST[family], "prompt": tiny.PROMPT[family]}
        settings = {"alpha": 0.05, "lr": 0.5, "steps": 200, "scope": "answer-aware"} | options
        return Editor.load(model, processor=processor, **where, **settings)

    return make


def two_edits(editor: Editor) -> tuple[str, str]:
    """An edit of each thing, whose radius then reaches everywhere."""
    first = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED, negative=THING)
    second = editor.edit(THING, QUESTION, "xyz", rephrasings=REWORDED, negative=A)
    for edit in (first, second):
        widened(editor, edit)
    assert (first.answer_after, second.answer_after) == ("ab", "xyz")
    return first.id, second.id


def assert_all_wait(editor: Editor, edits: tuple[str, str]) -> None:
    """Of every row an edit claims that it fires where the old answer is given."""
    with (
        torch.no_grad(),
        editor,
        editor._method.routing.bypass(),
        editor._method.routing.tracing() as trace,
    ):
        editor.model(**inputs_of(editor, *ROWS))
    claimed = [
        {claim.decision.fired for claim in row.claims}
        for row in editor._method.entries.decide(trace.stacked_keys())
    ]
    assert all(claimed), "a row for which nothing waits shows nothing"
    assert set().union(*claimed) == set(edits)


def test_the_old_answer_alone_keeps_a_row_out(make: Any) -> None:
    """In one batch, all inside a radius: an edit fires where the untouched model gives the old
    answer, and leaves the row as it is, bit for bit, where it does not."""
    editor = make()
    base = logits_of(editor, *ROWS)
    assert [a.text for a in editor.ask(*ROWS)] == OLD
    edits = two_edits(editor)
    assert [editor.get(e).old_answer for e in edits] == OLD[:2]
    assert_all_wait(editor, edits)
    answers = editor.ask(*ROWS)
    assert all(a.distance <= a.radius for a in answers)
    assert [a.fired for a in answers] == [*edits, None, edits[0]]
    assert [a.text for a in answers[:3]] == ["ab", "xyz", OLD[2]]
    assert answers[3].text != OLD[3]
    with editor:
        changed = logits_of(editor, *ROWS)
    same = [torch.equal(changed[row], base[row]) for row in range(4)]
    assert same == [False, False, True, False]


def test_the_contract_holds(make: Any, tmp_path: Path) -> None:
    editor = make()
    with given_back(editor, ROWS) as base:
        edits = two_edits(editor)
        assert_all_wait(editor, edits)
        assert_changes_only_inside(editor, base, ROWS)
        assert_a_batch_equals_its_singles(editor, edits, ROWS)
        assert_padding_may_stand_on_either_side(editor, edits, ROWS)
        for beams in (1, 3):
            assert_cached_decoding_equals_uncached(editor, edits, beams, ROWS)
        assert_beam_search_keeps_each_row_its_edit(editor, ROWS)
        for how in ("prompt_lengths", "labels"):
            assert_the_target_never_routes(editor, how, ROWS)
        assert_saved_edits_give_the_same(editor, partial(make), tmp_path / "edits", ROWS)
        for edit in edits:
            editor.revert(edit)
