"""What every editor promises, whatever the model: identity, equality, isolation, undo."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import rounding
from balancedit.errors import RoutingError
from closeness import assert_alike, assert_near, assert_same_text
from contract import (
    MIXED,
    QUESTION,
    REWORDED,
    A,
    B,
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
    two_edits,
)

pytestmark = pytest.mark.kernels


def test_edit_then_revert_gives_the_base_model_back(make_editor: Any, key: str) -> None:
    editor = make_editor(key=key)
    with given_back(editor) as base:
        edit = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
        assert_changes_only_inside(editor, base)
        editor.revert(edit.id)
    assert "generate" not in vars(editor.model)


def test_weights_of_the_model_take_gradients_as_before(make_editor: Any) -> None:
    editor = make_editor()
    first = next(editor.model.parameters())
    first.requires_grad_(False)
    before = [p.requires_grad for p in editor.model.parameters()]
    editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    assert [p.requires_grad for p in editor.model.parameters()] == before
    assert all(p.grad is None for p in editor.model.parameters())


def test_save_then_load_gives_the_same_logits(make_editor: Any, key: str, tmp_path: Path) -> None:
    editor = make_editor(key=key)
    two_edits(editor)
    assert_saved_edits_give_the_same(editor, partial(make_editor, key=key), tmp_path / "edits")


def test_a_store_is_used_on_another_machine(
    make_editor: Any, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = make_editor(key=key, edits=tmp_path)
    edits = two_edits(editor)
    here = editor.ask(*MIXED, max_new_tokens=6)
    monkeypatch.setattr(torch.nn.functional, "linear", rounding.by_rows)
    other = make_editor(key=key, edits=tmp_path)
    assert other.edits() == editor.edits()
    for a, b, image, question in zip(
        other.ask(*MIXED, max_new_tokens=6), here, *MIXED, strict=True
    ):
        assert (a.fired, a.nearest, a.radius) == (b.fired, b.nearest, b.radius)
        assert_alike(a.distance, b.distance, 1e-3)
        assert_same_text(a.text, b.text, other, image, question, tokens=6)
    again = other.edit(A, QUESTION, "cd", rephrasings=REWORDED)
    assert again.retires == edits[:1], "the same fact, though its key is not the same to the bit"
    other.revert(again.id)


def test_a_batch_equals_its_singles(make_editor: Any, key: str) -> None:
    editor = make_editor(key=key)
    assert_a_batch_equals_its_singles(editor, two_edits(editor))


@pytest.mark.parametrize("beams", [1, 3])
def test_cached_decoding_equals_uncached(make_editor: Any, key: str, beams: int) -> None:
    editor = make_editor(key=key)
    assert_cached_decoding_equals_uncached(editor, two_edits(editor), beams)


def test_beam_search_keeps_each_row_its_edit(make_editor: Any, key: str) -> None:
    editor = make_editor(key=key)
    two_edits(editor)
    assert_beam_search_keeps_each_row_its_edit(editor)


def test_left_padding_equals_right_padding(make_editor: Any, key: str) -> None:
    editor = make_editor(key=key)
    assert_padding_may_stand_on_either_side(editor, two_edits(editor))


@pytest.mark.parametrize("how", ["prompt_lengths", "labels"])
def test_the_target_never_routes(make_editor: Any, key: str, how: str) -> None:
    editor = make_editor(key=key)
    two_edits(editor)
    assert_the_target_never_routes(editor, how)


def test_labels_without_a_prompt_are_refused(make_editor: Any) -> None:
    editor = make_editor()
    two_edits(editor)
    inputs = inputs_of(editor, [A], [QUESTION])
    with editor, pytest.raises(RoutingError, match="labels cover a whole row"):
        editor.model(**inputs, labels=inputs["input_ids"])


def test_outside_every_radius_the_logits_are_the_base_models(make_editor: Any, key: str) -> None:
    editor = make_editor(key=key)
    base = logits_of(editor, *MIXED)
    two_edits(editor)
    with editor, editor._method.routing.tracing() as trace:
        edited = logits_of(editor, *MIXED)
    untouched = [i for i, d in enumerate(trace.rows) if d.fired is None]
    fired = [i for i, d in enumerate(trace.rows) if d.fired is not None]
    assert untouched
    assert fired
    assert torch.equal(edited[untouched], base[untouched])
    for i in fired:
        assert not torch.equal(edited[i], base[i])


def test_two_edits_keep_their_own_answers_and_transformations(make_editor: Any, key: str) -> None:
    editor = make_editor(key=key)
    first, second = two_edits(editor)
    assert [a.text for a in editor.ask([A, B], QUESTION)] == ["ab", "xyz"]
    with editor:
        kept = logits_of(editor, [A], [QUESTION])
    editor.revert(second)
    with editor:
        assert torch.equal(logits_of(editor, [A], [QUESTION]), kept)
    assert editor.ask(A, QUESTION).fired == first
    assert editor.ask(B, QUESTION).fired is None


def test_an_overlapping_edit_starts_from_the_other_and_outlives_it(make_editor: Any) -> None:
    editor = make_editor(
        key="last", alpha=0.0, scope="paper"
    )  # wide: the other picture lies inside
    first = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    assert editor.ask(B, QUESTION).fired == first.id
    second = editor.edit(B, QUESTION, "xyz", rephrasings=REWORDED)
    assert second.overlaps == first.id
    assert second.retires == ()
    with editor:
        kept = logits_of(editor, [B], [QUESTION])
    editor.revert(first.id)
    with editor:
        assert torch.equal(logits_of(editor, [B], [QUESTION]), kept)


def test_a_conflict_retires_and_revert_restores(make_editor: Any, key: str) -> None:
    editor = make_editor(key=key)
    old = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    with editor:
        before = logits_of(editor, *MIXED)
    new = editor.edit(A, QUESTION, "xyz", rephrasings=REWORDED)
    assert new.retires == (old.id,)
    assert editor.get(old.id).state == "retired"
    assert editor.get(old.id).retired_by == new.id
    assert [e.id for e in editor.edits()] == [new.id]
    assert editor.ask(A, QUESTION).text == "xyz"
    editor.revert(new.id)
    assert editor.get(old.id).state == "active"
    with editor:
        assert torch.equal(logits_of(editor, *MIXED), before)


def test_raw_generate_inside_the_context_equals_ask(make_editor: Any) -> None:
    editor = make_editor()
    two_edits(editor)
    inputs = inputs_of(editor, *MIXED)
    with editor as entered:
        assert entered is editor
        out = editor.model.generate(**inputs, do_sample=False, max_new_tokens=6)
    start = inputs["input_ids"].shape[1] if out.shape[1] > 6 else 0
    texts = editor._loaded.prompter.decode(out[:, start:])
    answers = editor.ask(*MIXED, max_new_tokens=6)
    for text, answer, image, question in zip(texts, answers, *MIXED, strict=True):
        # There the picture that comes twice is encoded once.
        assert_same_text(text, answer.text, editor, image, question, tokens=6)


def test_a_decode_loop_of_ones_own_equals_generate(make_editor: Any) -> None:
    editor = make_editor()
    two_edits(editor)
    inputs = inputs_of(editor, [A], [QUESTION])
    expected = editor.ask(A, QUESTION, max_new_tokens=6).text
    assert expected == "ab", "the edit's own answer"
    with torch.no_grad(), editor:
        out = editor.model(**inputs, use_cache=True)
        cache = getattr(out, "past_key_values", None) or out.language_model_outputs.past_key_values
        new = [int(out.logits[0, -1].argmax())]
        mask = inputs["attention_mask"]
        language = editor.model if hasattr(editor.model, "lm_head") else editor.model.language_model
        while new[-1] != 2 and len(new) < 6:
            mask = torch.cat([mask, torch.ones((1, 1), dtype=mask.dtype)], 1)
            out = language(
                input_ids=torch.tensor([[new[-1]]]), attention_mask=mask, past_key_values=cache
            )
            new.append(int(out.logits[0, -1].argmax()))
    said = editor._loaded.prompter.decode(torch.tensor([new]))[0]
    assert_same_text(said, expected, editor, A, QUESTION, tokens=6)


def test_prompts_in_pieces_are_refused(make_editor: Any, family: str) -> None:
    editor = make_editor()
    two_edits(editor)
    language = editor.model if family == "llava" else editor.model.language_model
    ids = torch.tensor([[10, 11, 12, 13]])
    with torch.no_grad():
        outside = language(input_ids=ids, use_cache=True).past_key_values
        mask = torch.ones((1, 5), dtype=torch.long)
        with editor, pytest.raises(RoutingError, match="filled elsewhere"):
            language(input_ids=ids[:, :1], attention_mask=mask, past_key_values=outside)
        with editor:
            inside = language(input_ids=ids, use_cache=True).past_key_values
            longer = torch.ones((1, 7), dtype=torch.long)
            with pytest.raises(RoutingError, match="in pieces"):
                language(input_ids=ids[:, :3], attention_mask=longer, past_key_values=inside)
        with editor, pytest.raises(RoutingError, match="in pieces"):
            language.generate(ids, prefill_chunk_size=2, max_new_tokens=2)
    assert editor.ask(A, QUESTION).text == "ab", "a refused call leaves nothing behind"


def test_gradient_checkpointing_takes_the_same_route(make_editor: Any, family: str) -> None:
    if family == "blip2":
        pytest.skip("BLIP-2's Q-Former does not support gradient checkpointing in train mode")
    editor = make_editor()
    two_edits(editor)
    inputs = inputs_of(editor, *MIXED)
    embedding = editor.model.get_input_embeddings().weight
    grads = []
    for checkpointing in (False, True):
        if checkpointing:
            editor.model.gradient_checkpointing_enable()
        editor.model.train()
        editor.model.zero_grad()
        with editor, editor._method.routing.tracing() as trace:
            loss = editor.model(**inputs, use_cache=False).logits.float().pow(2).mean()
            loss.backward()
        assert len({d.fired for d in trace.rows}) == 3, "either edit fires, and a row takes neither"
        grads.append(embedding.grad.clone())
    assert_near(grads[1], grads[0])


def test_half_precision_edits_are_learned_and_undone(make_editor: Any) -> None:
    editor = make_editor(dtype=None)
    editor.model.to(torch.bfloat16)
    base = logits_of(editor, *MIXED)
    edit = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    assert edit.answer_after == "ab"
    editor.revert(edit.id)
    with editor:
        assert torch.equal(logits_of(editor, *MIXED), base)


def test_a_failed_commit_leaves_nothing_in_force(make_editor: Any, monkeypatch: Any) -> None:
    editor = make_editor()
    first = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(editor._store, "commit", full)
    with pytest.raises(OSError, match="no space"):
        editor.edit(A, QUESTION, "xyz", rephrasings=REWORDED)
    answer = editor.ask(A, QUESTION)
    assert (answer.text, answer.fired) == ("ab", first.id)
