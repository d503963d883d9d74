"""GRACE: its rules on hand-made keys, where values go, and what undo does to radii."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from balancedit.codebook.codebook import Match
from balancedit.methods.grace import (
    PRESETS,
    DeferralCodebook,
    PromptValue,
    Ruling,
    rule,
)
from contract import MIXED, QUESTION, A, B, inputs_of, logits_of


def at(x: float) -> torch.Tensor:
    """A key on a line, so that distances are differences."""
    return torch.tensor([x, 0.0])


def book(*edits: tuple[str, float, str], epsilon: float = 1.0) -> DeferralCodebook:
    made = DeferralCodebook(epsilon)
    for edit_id, x, label in edits:
        made.admit(edit_id, at(x), label)
    return made


# -- the rules -----------------------------------------------------------------------------------


@pytest.mark.parametrize("same", [True, False])
def test_the_first_edit_and_far_ones_make_entries_of_the_starting_size(same: bool) -> None:
    assert rule(None, False, 1.0) == Ruling(own=1.0, near=None)
    assert rule(Match("a", 1.6, 0.5), same, 1.0) == Ruling(own=1.0, near=0.5)


def test_the_reach_of_a_new_entry_counts() -> None:
    assert rule(Match("a", 1.5, 0.5), True, 1.0) == Ruling(own=None, near=1.5), "just touching"


def test_another_answer_splits_the_way_between() -> None:
    assert rule(Match("a", 0.8, 1.0), False, 1.0) == Ruling(own=0.4, near=0.4 - 1e-5)


def test_the_same_answer_widens_but_never_narrows() -> None:
    assert rule(Match("a", 1.8, 1.0), True, 1.0) == Ruling(own=None, near=1.8)
    assert rule(Match("a", 0.3, 1.0), True, 1.0) == Ruling(own=None, near=1.0)


def test_edits_in_turn() -> None:
    made = book(("a", 0, "hp"), ("b", 5, "dell"))
    assert made.radii == {"a": 1.0, "b": 1.0}
    made.admit("c", at(1.5), "hp")  # joins a
    assert made.radii == {"a": 1.5, "b": 1.0}
    made.admit("d", at(3.0), "hp")  # nearest to b, 2 away: both would reach, the answers differ
    assert made.radii == pytest.approx({"a": 1.5, "b": 1.0 - 1e-5, "d": 1.0})
    assert [m.id for m in made.ranked(at(1.4))] == ["a", "d", "b"]


def test_labels_are_equal_only_when_the_texts_are() -> None:
    assert len(book(("a", 0, "ab"), ("b", 0.5, "ba")).radii) == 2, "same letters, same mean"
    assert len(book(("a", 0, "ab"), ("b", 0.5, "ab")).radii) == 1


def test_the_same_key_with_another_answer_leaves_the_older_dead() -> None:
    made = book(("a", 0, "ab"), ("b", 0, "ba"))
    assert made.radii == pytest.approx({"a": -1e-5, "b": 0.0})
    found = made.nearest(at(0)[None])[0]
    assert found is not None
    assert (found.id, found.inside) == ("b", True)


def test_the_border_is_inside() -> None:
    inside, outside = book(("a", 0, "x")).nearest(torch.stack([at(1.0), at(1.0001)]))
    assert inside is not None
    assert outside is not None
    assert (inside.inside, outside.inside) == (True, False)


def test_the_order_of_edits_matters() -> None:
    edits = [("a", 0.0, "x"), ("b", 1.5, "x"), ("c", 2.0, "y")]
    forward = book(*edits).radii  # b joins a, and c splits with a
    backward = book(*reversed(edits)).radii
    assert forward == pytest.approx({"a": 1.0 - 1e-5, "c": 1.0})
    assert backward == pytest.approx({"c": 0.25 - 1e-5, "b": 0.25, "a": 1.0})


# -- where a value goes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "places"),
    [("last", [[0, 0, 0, 1], [0, 0, 1, 0]]), ("prompt", [[0, 1, 1, 1], [1, 1, 1, 0]])],
)
def test_a_value_is_put_on_the_prompts_tokens(where: Any, places: list) -> None:
    """Left padding in the first row; an answer behind the prompt in the second."""
    value = PromptValue(where)
    prompt = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 0]]).bool()
    h = torch.randn(2, 4, 3)
    assert torch.equal(value.pool(h, prompt), torch.stack([h[0, 3], h[1, 2]]))
    layer, own = torch.nn.Linear(3, 5), torch.randn(2, 4, 5)
    held = [{"value": torch.arange(5.0)}, {"value": -torch.arange(5.0)}]
    value.check(layer, held[0])
    with pytest.raises(ValueError, match="value"):
        value.check(layer, {"value": torch.zeros(4)})
    both = torch.tensor([0, 1])
    put = value.over(layer, held, both, both)(h, own)
    replaced = torch.tensor(places).bool()
    for row, mine in enumerate(held):
        at = replaced[row]
        assert torch.equal(put[row, at], mine["value"].expand(int(at.sum()), 5))
    assert torch.equal(put[~replaced], own[~replaced])
    alone = value.over(layer, held[1:], torch.tensor([0]), torch.tensor([1]))
    assert torch.equal(alone(h[1:], own[1:]), put[1:]), "by row"
    longer = torch.cat([own, own[:, :2]], 1)
    assert torch.equal(value.over(layer, held, both, both)(h, longer)[:, :4], put)
    assert torch.equal(value.over(layer, held, both, both)(h, longer)[:, 4:], own[:, :2])


def test_decode_steps_are_untouched() -> None:
    value = PromptValue("prompt")
    value.pool(torch.randn(1, 4, 3), torch.ones(1, 4).bool())
    own = torch.randn(1, 1, 5)
    zero, held = torch.tensor([0]), [{"value": torch.ones(5)}]
    assert value.over(torch.nn.Linear(3, 5), held, zero, zero)(torch.randn(1, 1, 3), own) is own


# -- in a model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["last", "prompt"])
def test_an_edit_answers_its_own_prompt_and_nothing_else(make: Any, where: str) -> None:
    editor = make("grace", replace=where)
    base = logits_of(editor, *MIXED)
    first, second = editor.edit(A, QUESTION, "ab"), editor.edit(B, QUESTION, "xyz")
    answers = editor.ask(*MIXED)
    assert [a.fired for a in answers] == [first.id, second.id, None, None]
    assert [a.text[0] for a in answers[:2]] == ["a", "x"]
    with editor:
        edited = logits_of(editor, *MIXED)
    assert torch.equal(edited[2:], base[2:]), "outside every radius: bit for bit"
    touched = (edited != base).any(2)[:2]
    if where == "last":
        assert touched[:, -1].all()
        assert not touched[:, :-1].any(), "causal: no token before the last one changes"
    else:
        real = inputs_of(editor, *MIXED)["attention_mask"][:2].bool()
        assert touched[real].all(), "all prompt tokens"


def test_the_record_and_the_explanation(make: Any) -> None:
    editor = make("grace")
    edit = editor.edit(A, QUESTION, "ab")
    assert (edit.method, edit.radius, edit.steps) == ("grace", 0.4, 100)
    explanation = editor.explain(A, QUESTION)
    assert explanation.neighbours[0].edit.id == edit.id
    assert explanation.neighbours[0].inside
    assert "inside its radius 0.4" in explanation.reason


def test_undo_gives_the_others_the_radii_they_would_have_had(make: Any, tmp_path: Path) -> None:
    editor = make("grace", epsilon=4.0, edits=tmp_path / "edits")  # both pictures in one radius
    first = editor.edit(A, QUESTION, "ab")
    with editor:
        alone = logits_of(editor, *MIXED)
    second = editor.edit(B, QUESTION, "xyz")
    assert second.radius is not None
    assert second.radius < 4.0, "split"
    assert editor.ask(A, QUESTION).radius == pytest.approx(second.radius - 1e-5)
    assert editor.ask(B, QUESTION).fired == second.id
    editor.revert(second.id)
    assert editor.ask(A, QUESTION).radius == 4.0
    with editor:
        assert torch.equal(logits_of(editor, *MIXED), alone)
    reopened = make("grace", epsilon=4.0, edits=tmp_path / "edits")
    assert reopened.ask(B, QUESTION).fired == first.id
    with reopened:
        assert torch.equal(logits_of(reopened, *MIXED), alone)


def test_an_edit_that_joined_comes_into_its_own_when_the_other_goes(make: Any) -> None:
    editor = make("grace", epsilon=4.0)
    first = editor.edit(A, QUESTION, "ab")
    second = editor.edit(B, QUESTION, "ab")
    assert second.overlaps == first.id
    assert [e.id for e in editor.edits()] == [first.id, second.id]
    assert [a.fired for a in editor.ask([A, B], QUESTION)] == [first.id, first.id]
    editor.revert(first.id)
    answer = editor.ask(B, QUESTION)
    assert (answer.fired, answer.radius, answer.text[0]) == (second.id, 4.0, "a")


def test_training_starts_from_a_fixed_seed(make: Any) -> None:
    logits = []
    for seed in (0, 0, 1):
        editor = make("grace", seed=seed)
        editor.edit(A, QUESTION, "ab")
        with editor:
            logits.append(logits_of(editor, [A], [QUESTION]))
    assert torch.equal(logits[0], logits[1])
    assert not torch.equal(logits[0], logits[2])


def test_the_sources_settings() -> None:
    for config in PRESETS.values():
        assert (config.epsilon, config.steps, config.lr) == (1.0, 100, 1.0)
