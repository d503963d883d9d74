"""FT and MEND: a sequence of edits on one weight, undone to the bit wherever it is cut."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from balancedit import Pictures
from balancedit.methods.ft import FT
from balancedit.methods.mend import Mend
from contract import MIXED, OTHER, QUESTION, A, B, logits_of

C = tiny.picture(4)


def logits(editor: Any) -> torch.Tensor:
    with editor:
        return logits_of(editor, *MIXED)


@pytest.fixture(params=["ft", "mend"])
def editing(request: pytest.FixtureRequest, make: Any) -> Any:
    """Makes editors of one method."""
    return partial(make, str(request.param))


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> Any:
    """From the call on, making a weight is an error."""

    def refuse(*_: Any) -> None:
        raise AssertionError("a weight was made")

    def forbid() -> None:
        for method in (FT, Mend):
            monkeypatch.setattr(method, "edited", refuse)

    return forbid


def test_an_edit_reaches_every_prompt(editing: Any) -> None:
    editor = editing()
    assert editor.ask(A, QUESTION).fired is None
    edit = editor.edit(A, QUESTION, "ab")
    assert (edit.method, edit.radius) == (editor._method.name, None)
    for answer in editor.ask(*MIXED):
        assert (answer.fired, answer.nearest) == (edit.id, edit.id)
        assert (answer.distance, answer.radius) == (None, None)
    explanation = editor.explain(B, OTHER)
    assert explanation.neighbours == ()
    assert "acts on every prompt" in explanation.reason
    assert explanation.base_text in explanation.reason


def test_edits_continue_from_the_weight_before(editing: Any) -> None:
    editor = editing()
    first, second = editor.edit(A, QUESTION, "ab"), editor.edit(B, QUESTION, "xyz")
    assert (first.overlaps, second.overlaps) == (None, first.id)
    alone = editing()
    alone.edit(B, QUESTION, "xyz")
    assert not torch.equal(logits(editor), logits(alone))


def test_undoing_the_newest_restores_the_weight_before(editing: Any, no_training: Any) -> None:
    editor = editing()
    editor.edit(A, QUESTION, "ab")
    before = logits(editor)
    second = editor.edit(B, QUESTION, "xyz")
    assert not torch.equal(logits(editor), before)
    no_training()
    editor.revert(second.id)
    assert torch.equal(logits(editor), before)


@pytest.mark.kernels
def test_undoing_in_the_middle_is_as_if_it_had_never_been(editing: Any, tmp_path: Path) -> None:
    editor, without = editing(edits=tmp_path / "edits"), editing()
    editor.edit(A, QUESTION, "ab")
    middle = editor.edit(B, QUESTION, "xyz")
    editor.edit(C, OTHER, "cd")
    with_all = logits(editor)
    editor.revert(middle.id)
    without.edit(A, QUESTION, "ab")
    without.edit(C, OTHER, "cd")
    expected = logits(without)
    assert not torch.equal(expected, with_all)
    assert torch.equal(logits(editor), expected)
    assert torch.equal(logits(editing(edits=tmp_path / "edits")), expected), "re-opened"
    editor.save(tmp_path / "copy")
    assert torch.equal(logits(editing(edits=tmp_path / "copy")), expected), "copied"


def test_undoing_the_first_makes_the_rest_from_the_original_weight(editing: Any) -> None:
    editor, without = editing(), editing()
    first = editor.edit(A, QUESTION, "ab")
    editor.edit(B, QUESTION, "xyz")
    without.edit(B, QUESTION, "xyz")
    with editor:  # while attached, too
        editor.revert(first.id)
        assert torch.equal(logits_of(editor, *MIXED), logits(without))


def test_an_edit_made_after_a_cut_stands_by_itself(
    editing: Any, tmp_path: Path, no_training: Any
) -> None:
    editor = editing(edits=tmp_path / "edits")
    first = editor.edit(A, QUESTION, "ab")
    editor.edit(B, QUESTION, "xyz")
    editor.revert(first.id)
    editor.edit(C, OTHER, "cd")
    expected = logits(editor)
    no_training()
    reopened = editing(edits=tmp_path / "edits")
    assert torch.equal(logits(reopened), expected)


def test_edits_of_two_processes_that_did_not_know_each_other(editing: Any, tmp_path: Path) -> None:
    one, two = editing(edits=tmp_path / "edits"), editing(edits=tmp_path / "edits")
    one.edit(A, QUESTION, "ab")
    two.refresh = lambda: None  # it has not looked
    two.edit(B, QUESTION, "xyz")
    del two.refresh
    in_turn = editing()
    in_turn.edit(A, QUESTION, "ab")
    in_turn.edit(B, QUESTION, "xyz")
    for editor in (one, two):
        editor.refresh()
        assert torch.equal(logits(editor), logits(in_turn))


def test_the_models_parameters_are_never_touched(editing: Any) -> None:
    editor = editing()
    before = {n: p.clone() for n, p in editor.model.named_parameters()}
    editor.edit(A, QUESTION, "ab")
    with editor:
        now = dict(editor.model.named_parameters())
        assert all(torch.equal(now[n], p) for n, p in before.items())
        assert all(p.grad is None and p.requires_grad for p in now.values())


@pytest.mark.parametrize("family", ["llava"])
def test_what_comes_after_is_made_again_from_all_its_pictures(editing: Any, tmp_path: Path) -> None:
    """Also by a process that has nothing but the store."""
    pair = Pictures(B, tiny.picture(3, side=40))
    editor = editing(edits=tmp_path / "edits")
    first, second = editor.edit(A, QUESTION, "ab"), editor.edit(pair, QUESTION, "xyz")
    editor.revert(first.id)
    alone = editing()
    alone.edit(pair, QUESTION, "xyz")
    assert torch.equal(logits(editor), logits(alone))
    again = editing(edits=tmp_path / "edits")
    assert torch.equal(logits(again), logits(alone))
    again.revert(second.id)
