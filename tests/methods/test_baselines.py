"""What `tests/test_contract.py` promises of BalancEdit, for the baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from balancedit import Editor, Pictures
from balancedit.errors import InputError, StoreMismatchError
from closeness import assert_near, assert_same_text
from contract import (
    FAR,
    MIXED,
    OTHER,
    QUESTION,
    A,
    B,
    assert_a_cache_changes_nothing,
    assert_changes_only_inside,
    assert_saved_edits_give_the_same,
    given_back,
    inputs_of,
    logits_of,
    right_padded,
)


@pytest.fixture(params=["ft", "grace", "grace-prompt", "mend"])
def editing(request: pytest.FixtureRequest, make: Any) -> Any:
    """Makes editors of one baseline."""
    method, _, where = str(request.param).partition("-")
    options = {"replace": where} if where else {}
    return lambda **more: make(method, **options, **more)


def two_edits(editor: Editor) -> tuple[str, str]:
    return editor.edit(A, QUESTION, "ab").id, editor.edit(B, QUESTION, "xyz").id


def test_revert_gives_the_base_model_back_bit_for_bit(editing: Any) -> None:
    editor = editing()
    with given_back(editor) as base:
        edits = two_edits(editor)
        assert_changes_only_inside(editor, base)
        for edit in edits:
            editor.revert(edit)


@pytest.mark.kernels
def test_save_then_load_gives_the_same_logits(editing: Any, tmp_path: Path) -> None:
    editor = editing()
    two_edits(editor)
    assert_saved_edits_give_the_same(editor, editing, tmp_path / "edits")


def test_records_are_valid_json(editing: Any, tmp_path: Path) -> None:
    editor = editing(edits=tmp_path / "edits")
    edit = editor.edit(A, QUESTION, "ab", rephrasings=["what's it?"], negative="white")
    assert (edit.positives, edit.positives_source, edit.negative) == ((), "none", "none")
    assert edit.d_positive is None
    assert edit.d_negative is None
    assert editor.get(edit.id) == edit, "the store gives back what it was given"
    explanation = editor.explain(A, QUESTION)
    json.dumps([edit.to_dict(), explanation.to_dict()], allow_nan=False)
    assert explanation.answer.fired == edit.id
    assert edit.id in explanation.reason
    assert "fires" in explanation.reason


@pytest.mark.kernels
def test_a_batch_equals_its_singles(editing: Any) -> None:
    editor = editing()
    two_edits(editor)
    together = editor.ask(*MIXED, max_new_tokens=6)
    alone = [editor.ask(i, q, max_new_tokens=6) for i, q in zip(*MIXED, strict=True)]
    for a, b, image, question in zip(together, alone, *MIXED, strict=True):
        assert (a.fired, a.nearest, a.radius) == (b.fired, b.nearest, b.radius)
        assert_same_text(a.text, b.text, editor, image, question, tokens=6)


@pytest.mark.kernels
@pytest.mark.parametrize("beams", [1, 3])
def test_cached_decoding_equals_uncached(editing: Any, beams: int) -> None:
    editor = editing()
    two_edits(editor)
    assert_a_cache_changes_nothing(editor, beams)


@pytest.mark.kernels
def test_left_padding_equals_right_padding(editing: Any) -> None:
    editor = editing()
    two_edits(editor)
    left = inputs_of(editor, [A, FAR], [QUESTION, OTHER])
    ends, routes = [], []
    for inputs in (left, right_padded(left)):
        mask = inputs["attention_mask"]
        extra = {}
        if "position_ids" in editor.model.forward.__code__.co_varnames:
            extra["position_ids"] = (mask.cumsum(1) - 1).clamp_min(0)
        with torch.no_grad(), editor, editor._method.routing.tracing() as trace:
            logits = editor.model(**inputs, **extra).logits
        last = (mask * torch.arange(mask.shape[1])).argmax(1)
        ends.append(logits[torch.arange(len(mask)), last])
        routes.append([d.fired for d in trace.rows])
        with torch.no_grad():
            untouched = editor.model(**inputs, **extra).logits[torch.arange(len(mask)), last]
        assert not torch.equal(ends[-1][0], untouched[0]), "an edit reaches its own prompt"
    assert routes[0] == routes[1]
    assert_near(ends[1], ends[0])


@pytest.mark.kernels
def test_the_target_never_routes(editing: Any) -> None:
    editor = editing()
    two_edits(editor)
    prompt = inputs_of(editor, *MIXED)
    n = prompt["input_ids"].shape[1]
    seen = []
    for target in ("ab", "zzzzzz"):
        tail = torch.tensor([editor._loaded.prompter.answer_ids(target, 2)] * 4)
        inputs = dict(prompt)
        inputs["input_ids"] = torch.cat([prompt["input_ids"], tail], 1)
        inputs["attention_mask"] = torch.cat([prompt["attention_mask"], torch.ones_like(tail)], 1)
        with torch.no_grad(), editor, editor._method.routing.tracing() as trace:
            lengths = prompt["attention_mask"].sum(1).tolist()
            logits = editor.forward(inputs, prompt_lengths=lengths).logits
        seen.append(([d.fired for d in trace.rows], logits[:, n - 1]))
    base = logits_of(editor, *MIXED)[:, n - 1]
    with editor:
        expected = logits_of(editor, *MIXED)[:, n - 1]
    assert not torch.equal(expected[0], base[0]), "an edit reaches its own prompt"
    assert seen[0][0] == seen[1][0]
    for _, first in seen:
        assert_near(first, expected)


def test_half_precision_edits_are_undone(editing: Any) -> None:
    editor = editing()
    editor.model.to(torch.bfloat16)
    base = logits_of(editor, *MIXED)
    edit = editor.edit(A, QUESTION, "ab")
    with editor:
        assert not torch.equal(logits_of(editor, *MIXED), base)
    editor.revert(edit.id)
    with editor:
        assert torch.equal(logits_of(editor, *MIXED), base)


def test_a_failed_commit_leaves_nothing_in_force(editing: Any, monkeypatch: Any) -> None:
    editor = editing()
    first = editor.edit(A, QUESTION, "ab")
    with editor:
        expected = logits_of(editor, *MIXED)

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(editor._store, "commit", full)
    with pytest.raises(OSError, match="no space"):
        editor.edit(A, QUESTION, "xyz")
    assert editor.ask(A, QUESTION).fired == first.id
    with editor:
        assert torch.equal(logits_of(editor, *MIXED), expected)


def test_two_editors_of_one_store_hold_its_order(editing: Any, tmp_path: Path) -> None:
    one, two = editing(edits=tmp_path / "edits"), editing(edits=tmp_path / "edits")
    first = one.edit(A, QUESTION, "ab")
    second = two.edit(B, QUESTION, "xyz")
    one._method.remove(first.id)  # as if the other's edit had been seen only now, and out of order
    one.refresh()
    assert list(one._method.active()) == [first.id, second.id]
    fresh = editing(edits=tmp_path / "edits")
    with one, two, fresh:
        expected = logits_of(fresh, *MIXED)
        assert torch.equal(logits_of(one, *MIXED), expected)
        assert torch.equal(logits_of(two, *MIXED), expected)


def test_a_store_belongs_to_its_method(editing: Any, make: Any, tmp_path: Path) -> None:
    editor = editing(edits=tmp_path / "edits")
    other = "ft" if editor._method.name == "grace" else "grace"
    with pytest.raises(StoreMismatchError, match="method is"):
        make(other, edits=tmp_path / "edits", layer=editor.layer)


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        ("ft", {"lr": 0.0}, "lr is 0.0"),
        ("ft", {"steps": 0}, "steps is 0"),
        ("ft", {"alpha": 0.5}, "ft has no option 'alpha'"),
        ("grace", {"epsilon": -1.0}, "epsilon is -1.0"),
        ("grace", {"eps": 0.0}, "eps is 0.0"),
        ("grace", {"replace": "first"}, "unknown replace 'first'"),
        ("mend", {"rank": 4}, "mend has no option 'rank'"),
        ("graze", {}, "nearest: grace"),
    ],
)
def test_wrong_settings_are_refused(method: str, options: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Editor.load("pocket", method=method, **options)


AB, CD = Pictures(A, B), Pictures(FAR, A)


@pytest.mark.parametrize("family", ["llava"])
def test_facts_about_several_pictures(editing: Any, tmp_path: Path) -> None:
    asked = ([AB, CD], [QUESTION, QUESTION])
    editor = editing(edits=tmp_path / "edits")
    with given_back(editor, asked) as base:
        first = editor.edit(AB, QUESTION, "ab")
        with editor:
            once = logits_of(editor, *asked)
        second = editor.edit(CD, QUESTION, "xyz")
        assert_changes_only_inside(editor, base, asked)
        assert_saved_edits_give_the_same(editor, editing, tmp_path / "copy", asked)
        editor.revert(second.id)
        with editor:
            assert torch.equal(logits_of(editor, *asked), once)
        editor.revert(first.id)
