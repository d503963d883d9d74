"""What every editor promises, whatever the model: identity, equality, isolation, undo.

Bit for bit where the batch has the same shape, else within float32 tolerance and always with the
same route and answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from balancedit import Editor
from balancedit.errors import RoutingError

QUESTION = "what is this?"
REWORDED = ["what's it?"]
OTHER = "who painted the long wall over there, and when was that?"
A, B, FAR = tiny.picture(1), tiny.picture(2), tiny.picture(3, side=40)


def inputs_of(editor: Editor, images: list, questions: list[str]) -> dict[str, torch.Tensor]:
    return editor._loaded.prompter.inputs(images, questions)


def logits_of(editor: Editor, images: list, questions: list[str]) -> torch.Tensor:
    """Logits of a batch as the raw model gives them right now."""
    with torch.no_grad():
        return editor.model(**inputs_of(editor, images, questions)).logits


def two_edits(editor: Editor) -> tuple[str, str]:
    """One edit of each picture, with answers the tiny model can learn."""
    first = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    second = editor.edit(B, QUESTION, "xyz", rephrasings=REWORDED)
    assert (first.answer_after, second.answer_after) == ("ab", "xyz")
    return first.id, second.id


MIXED = ([A, B, FAR, A], [QUESTION, QUESTION, OTHER, REWORDED[0]])


@contextmanager
def given_back(editor: Editor) -> Iterator[torch.Tensor]:
    """After the context, in which all edits made are taken back, the model is what it was: logits,
    modules, weights, and no hook of ours. Gives the logits of `MIXED` beforehand."""
    modules = {n: id(m) for n, m in editor.model.named_modules()}
    state = {n: v.clone() for n, v in editor.model.state_dict().items()}
    base = logits_of(editor, *MIXED)
    yield base
    with editor:
        assert torch.equal(logits_of(editor, *MIXED), base)
    assert {n: id(m) for n, m in editor.model.named_modules()} == modules
    assert all(torch.equal(v, state[n]) for n, v in editor.model.state_dict().items())
    hooks = [
        h
        for m in editor.model.modules()
        for h in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())
        if "balancedit" in getattr(h, "__module__", "")
    ]
    assert not hooks


def assert_changes_only_inside(editor: Editor, base: torch.Tensor) -> None:
    """The edits held change the logits of `MIXED`, and only inside the editor's context."""
    with editor:
        assert not torch.equal(logits_of(editor, *MIXED), base)
    assert torch.equal(logits_of(editor, *MIXED), base), "outside the context: the base model"


def assert_saved_edits_give_the_same(editor: Editor, make: Any, directory: Path) -> None:
    """The edits held give the same logits, and records, to an editor that `make` opens on a copy
    of them in `directory`."""
    with editor:
        expected = logits_of(editor, *MIXED)
    editor.save(directory)
    loaded = make(edits=directory)
    with loaded:
        assert torch.equal(logits_of(loaded, *MIXED), expected)
    assert loaded.list() == editor.list()


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


def test_a_batch_equals_its_singles(make_editor: Any, key: str) -> None:
    editor = make_editor(key=key)
    first, second = two_edits(editor)
    together = editor.ask(*MIXED, max_new_tokens=6)
    alone = [editor.ask(i, q, max_new_tokens=6) for i, q in zip(*MIXED, strict=True)]
    assert [a.fired for a in together[:3]] == [first, second, None], "all three kinds of row"
    for a, b in zip(together, alone, strict=True):
        assert (a.text, a.fired, a.nearest) == (b.text, b.fired, b.nearest)
        assert a.distance == pytest.approx(b.distance, abs=1e-4)
        assert a.radius == b.radius


@pytest.mark.parametrize("beams", [1, 3])
def test_cached_decoding_equals_uncached(make_editor: Any, key: str, beams: int) -> None:
    editor = make_editor(key=key)
    first, second = two_edits(editor)
    inputs = inputs_of(editor, *MIXED)
    runs = []
    for use_cache in (True, False):
        with editor, editor._method.tracing() as trace:
            out = editor.model.generate(
                **inputs, num_beams=beams, do_sample=False, max_new_tokens=6, use_cache=use_cache
            )
        runs.append((out.tolist(), [d.fired for d in trace.rows]))
    assert runs[0] == runs[1]
    assert set(runs[0][1]) == {first, second, None}
    assert len(runs[0][1]) == 4 * beams, "one decision a row, none for decode steps"


def test_beam_search_keeps_each_row_its_edit(make_editor: Any, key: str) -> None:
    editor = make_editor(key=key)
    two_edits(editor)
    together = editor.ask(*MIXED, num_beams=3, max_new_tokens=6)
    for answer, image, question in zip(together, *MIXED, strict=True):
        single = editor.ask(image, question, num_beams=3, max_new_tokens=6)
        assert (answer.text, answer.fired) == (single.text, single.fired)
    assert [a.text for a in together[:2]] == ["ab", "xyz"]


def _right_padded(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same prompts with their padding moved to the right, wherever it was."""
    moved = dict(inputs)
    for name in ("input_ids", "attention_mask"):
        rows = []
        for row, mask in zip(inputs[name], inputs["attention_mask"], strict=True):
            rows.append(torch.cat([row[mask == 1], row[mask == 0]]))
        moved[name] = torch.stack(rows)
    return moved


def test_left_padding_equals_right_padding(make_editor: Any, key: str) -> None:
    editor = make_editor(key=key)
    first, second = two_edits(editor)
    left = inputs_of(editor, *MIXED)
    right = _right_padded(left)
    assert not torch.equal(left["attention_mask"], right["attention_mask"])
    routes, ends = [], []
    for inputs in (left, right):
        mask = inputs["attention_mask"]
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        extra = {"position_ids": positions} if "position_ids" in _parameters(editor) else {}
        with torch.no_grad(), editor, editor._method.tracing() as trace:
            logits = editor.model(**inputs, **extra).logits
        last = (mask * torch.arange(mask.shape[1])).argmax(1)
        ends.append(logits[torch.arange(len(mask)), last])
        routes.append([d.fired for d in trace.rows])
    assert routes[0] == routes[1]
    assert routes[0][:3] == [first, second, None]
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-3, atol=1e-3)


def _parameters(editor: Editor) -> set[str]:
    import inspect

    return set(inspect.signature(editor.model.forward).parameters)


@pytest.mark.parametrize("how", ["prompt_lengths", "labels"])
def test_the_target_never_routes(make_editor: Any, key: str, how: str) -> None:
    editor = make_editor(key=key)
    two_edits(editor)
    prompt = inputs_of(editor, *MIXED)
    lengths = prompt["attention_mask"].sum(1).tolist()
    seen = []
    for target in ("ab", "zzzzzz", "?? who painted"):
        ids = editor._loaded.prompter.answer_ids(target, 2)
        tail = torch.tensor([ids] * 4)
        inputs = dict(prompt)
        inputs["input_ids"] = torch.cat([prompt["input_ids"], tail], 1)
        inputs["attention_mask"] = torch.cat([prompt["attention_mask"], torch.ones_like(tail)], 1)
        with torch.no_grad(), editor, editor._method.tracing() as trace:
            if how == "labels":
                labels = inputs["input_ids"].clone()
                labels[:, : prompt["input_ids"].shape[1]] = -100
                editor.model(**inputs, labels=labels)
            else:
                editor.forward(inputs, prompt_lengths=lengths)
        seen.append((trace.rows, trace.stacked_keys()))
    with torch.no_grad(), editor, editor._method.tracing() as trace:
        editor.model(**prompt)
    for rows, keys in seen:
        assert [r.fired for r in rows] == [r.fired for r in trace.rows]
        torch.testing.assert_close(keys, trace.stacked_keys(), rtol=1e-4, atol=1e-4)


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
    with editor, editor._method.tracing() as trace:
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
    editor = make_editor(key="last", alpha=0.0)  # wide: the other picture lies inside
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
    assert [e.id for e in editor.list()] == [new.id]
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
    assert texts == [a.text for a in editor.ask(*MIXED, max_new_tokens=6)]


def test_a_decode_loop_of_ones_own_equals_generate(make_editor: Any) -> None:
    editor = make_editor()
    two_edits(editor)
    inputs = inputs_of(editor, [A], [QUESTION])
    expected = editor.ask(A, QUESTION, max_new_tokens=6).text
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
    assert editor._loaded.prompter.decode(torch.tensor([new]))[0] == expected


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
        with editor:
            loss = editor.model(**inputs, use_cache=False).logits.float().pow(2).mean()
            loss.backward()
        grads.append(embedding.grad.clone())
    torch.testing.assert_close(grads[0], grads[1])


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
