"""FT: a sequence of edits on one weight, undone to the bit wherever it is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from balancedit.methods.ft import FT, PRESETS
from contract import MIXED, OTHER, QUESTION, A, B, logits_of

C = tiny.picture(4)


def mixed_logits(editor: Any) -> torch.Tensor:
    with editor:
        return logits_of(editor, *MIXED)


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> Any:
    """From the call on, tuning a weight is an error."""

    def refuse(*_: Any) -> None:
        raise AssertionError("a weight was tuned")

    return lambda: monkeypatch.setattr(FT, "_tuned", refuse)


def test_an_edit_is_learned_and_reaches_every_prompt(make: Any) -> None:
    editor = make("ft")
    assert editor.ask(A, QUESTION).fired is None
    edit = editor.edit(A, QUESTION, "ab")
    assert (edit.answer_after, edit.method, edit.radius) == ("ab", "ft", None)
    for answer in editor.ask(*MIXED):
        assert (answer.fired, answer.nearest) == (edit.id, edit.id)
        assert (answer.distance, answer.radius) == (None, None)
    explanation = editor.explain(B, OTHER)
    assert explanation.neighbours == ()
    assert "acts on every prompt" in explanation.reason
    assert explanation.base_text in explanation.reason


def test_edits_continue_from_the_weight_before(make: Any) -> None:
    editor = make("ft")
    first, second = editor.edit(A, QUESTION, "ab"), editor.edit(B, QUESTION, "xyz")
    assert (first.overlaps, second.overlaps) == (None, first.id)
    assert second.answer_after == "xyz"
    alone = make("ft")
    alone.edit(B, QUESTION, "xyz")
    assert not torch.equal(mixed_logits(editor), mixed_logits(alone))


def test_undoing_the_newest_restores_the_weight_before(make: Any, no_training: Any) -> None:
    editor = make("ft")
    editor.edit(A, QUESTION, "ab")
    before = mixed_logits(editor)
    second = editor.edit(B, QUESTION, "xyz")
    assert not torch.equal(mixed_logits(editor), before)
    no_training()
    editor.revert(second.id)
    assert torch.equal(mixed_logits(editor), before)


def test_undoing_in_the_middle_is_as_if_it_had_never_been(make: Any, tmp_path: Path) -> None:
    editor, without = make("ft", edits=tmp_path / "edits"), make("ft")
    editor.edit(A, QUESTION, "ab")
    middle = editor.edit(B, QUESTION, "xyz")
    editor.edit(C, OTHER, "cd")
    with_all = mixed_logits(editor)
    editor.revert(middle.id)
    without.edit(A, QUESTION, "ab")
    without.edit(C, OTHER, "cd")
    expected = mixed_logits(without)
    assert not torch.equal(expected, with_all)
    assert torch.equal(mixed_logits(editor), expected)
    assert torch.equal(mixed_logits(make("ft", edits=tmp_path / "edits")), expected), "re-opened"
    other_settings = make("ft", edits=tmp_path / "edits", lr=1e-3, steps=2)
    assert torch.equal(mixed_logits(other_settings), expected), "each edit keeps its own settings"
    editor.save(tmp_path / "copy")
    assert torch.equal(mixed_logits(make("ft", edits=tmp_path / "copy")), expected), "copied"


def test_undoing_the_first_makes_the_rest_from_the_original_weight(make: Any) -> None:
    editor, without = make("ft"), make("ft")
    first = editor.edit(A, QUESTION, "ab")
    editor.edit(B, QUESTION, "xyz")
    without.edit(B, QUESTION, "xyz")
    with editor:  # while attached, too
        editor.revert(first.id)
        assert torch.equal(logits_of(editor, *MIXED), mixed_logits(without))


def test_an_edit_made_after_a_cut_stands_by_itself(
    make: Any, tmp_path: Path, no_training: Any
) -> None:
    editor = make("ft", edits=tmp_path / "edits")
    first = editor.edit(A, QUESTION, "ab")
    editor.edit(B, QUESTION, "xyz")
    editor.revert(first.id)
    editor.edit(C, OTHER, "cd")
    expected = mixed_logits(editor)
    no_training()
    reopened = make("ft", edits=tmp_path / "edits")
    assert torch.equal(mixed_logits(reopened), expected)


def test_edits_of_two_processes_that_did_not_know_each_other(make: Any, tmp_path: Path) -> None:
    one, two = make("ft", edits=tmp_path / "edits"), make("ft", edits=tmp_path / "edits")
    one.edit(A, QUESTION, "ab")
    two.refresh = lambda: None  # it has not looked
    two.edit(B, QUESTION, "xyz")
    del two.refresh
    in_turn = make("ft")
    in_turn.edit(A, QUESTION, "ab")
    in_turn.edit(B, QUESTION, "xyz")
    for editor in (one, two):
        editor.refresh()
        assert torch.equal(mixed_logits(editor), mixed_logits(in_turn))


def test_the_models_parameters_are_never_touched(make: Any) -> None:
    editor = make("ft")
    before = {n: p.clone() for n, p in editor.model.named_parameters()}
    editor.edit(A, QUESTION, "ab")
    with editor:
        now = dict(editor.model.named_parameters())
        assert all(torch.equal(now[n], p) for n, p in before.items())
        assert all(p.grad is None and p.requires_grad for p in now.values())


def test_the_sources_settings() -> None:
    assert (PRESETS["paper"].steps, PRESETS["paper"].lr) == (25, 1e-2)
    assert PRESETS["recommended"].lr is None
