"""The whole contract on a tiny random model of every architecture in the table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from balancedit import Editor
from balancedit.errors import InputError
from balancedit.models.architectures import ARCHITECTURES
from closeness import READ, assert_near
from contract import (
    FAR,
    MIXED,
    OTHER,
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
    some_marked,
    two_edits,
)
from tiny.families import FAMILIES

SETTINGS = {"key": "mean", "lr": 0.5, "steps": 40, "alpha": 0.9}
STEPS = {"paligemma": 80}  # of a tiny model that is surer of other tokens than the rest


def make(family: str, dtype: torch.dtype, **options: Any) -> Editor:
    """An editor on a fresh copy of a family's model; the table knows layer and prompt."""
    model, processor = FAMILIES[family]()
    settings = SETTINGS | {"steps": STEPS.get(family, SETTINGS["steps"])} | options
    return Editor.load(model.to(dtype), processor=processor, **settings)


@dataclass(frozen=True)
class Edited:
    """An editor that holds two edits, and how to make another like it."""

    family: str
    dtype: torch.dtype
    editor: Editor
    edits: tuple[str, str]


HALF = pytest.param(torch.bfloat16, marks=pytest.mark.slow, id="bfloat16")


#: Random weights babble without end, and what they would say is compared token by token.
pytestmark = pytest.mark.usefixtures("short_untouched_answers")


@pytest.fixture(params=[pytest.param(torch.float32, id="float32"), HALF], scope="module")
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture(params=some_marked(sorted(FAMILIES)), scope="module")
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def edited(family: str, dtype: torch.dtype, short_untouched_answers: None) -> Iterator[Edited]:
    """Shared by the tests of one family; they leave it as it was."""
    editor = make(family, dtype)
    return Edited(family, dtype, editor, two_edits(editor))


def test_every_architecture_of_the_table_is_tested_here() -> None:
    assert sorted(FAMILIES) == sorted(ARCHITECTURES)


def test_the_table_names_the_layer(edited: Edited) -> None:
    known = ARCHITECTURES[edited.family]
    assert edited.editor.model.config.model_type == edited.family
    blocks = edited.editor.model.get_submodule(known.blocks)
    assert edited.editor.layer == known.layer_path(len(blocks))


def test_edit_then_revert_gives_the_base_model_back(family: str, dtype: torch.dtype) -> None:
    editor = make(family, dtype, key="last", alpha=0.0)
    with given_back(editor) as base:
        edit = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
        assert edit.answer_after == "ab", "learned, and said by free generation"
        assert_changes_only_inside(editor, base)
        editor.revert(edit.id)
    assert "generate" not in vars(editor.model)


def test_two_edits_keep_their_own_answers(edited: Edited) -> None:
    assert [a.text for a in edited.editor.ask([A, B], QUESTION)] == ["ab", "xyz"]
    assert [a.fired for a in edited.editor.ask([A, B], QUESTION)] == list(edited.edits)


def test_rows_that_fire_nothing_keep_the_base_models_logits(edited: Edited) -> None:
    base = logits_of(edited.editor, *MIXED)
    with edited.editor, edited.editor._method.routing.tracing() as trace:
        changed = logits_of(edited.editor, *MIXED)
    assert [decision.fired for decision in trace.rows[:3]] == [*edited.edits, None]
    for row, decision in enumerate(trace.rows):
        assert torch.equal(changed[row], base[row]) == (decision.fired is None)


def test_edits_are_factors_beside_the_models_weights(edited: Edited) -> None:
    layer = edited.editor._method.routing.layer
    kinds = {(name, t.dtype) for e in edited.edits for name, t in layer.tensors(e).items()}
    assert kinds == {("a", torch.float16), ("q", torch.float16)}
    assert layer.layer.weight.dtype == edited.dtype


def test_a_full_weight_is_learned_in_float32(family: str, dtype: torch.dtype) -> None:
    editor = make(family, dtype, transformation="full", stop=None, lr=0.05)
    edit = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    assert edit.answer_after == "ab"
    weight = editor._method.routing.layer.tensors(edit.id)["weight"]
    assert weight.dtype == torch.float32
    assert weight.shape == editor._method.routing.layer.layer.weight.shape


def test_save_then_load_gives_the_same_logits(edited: Edited, tmp_path: Path) -> None:
    again = partial(make, edited.family, edited.dtype)
    assert_saved_edits_give_the_same(edited.editor, again, tmp_path / "edits")


def test_a_batch_equals_its_singles(edited: Edited) -> None:
    assert_a_batch_equals_its_singles(edited.editor, edited.edits)


@pytest.mark.parametrize("beams", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_cached_decoding_equals_uncached(edited: Edited, beams: int) -> None:
    assert_cached_decoding_equals_uncached(edited.editor, edited.edits, beams)


@pytest.mark.slow
def test_beam_search_keeps_each_row_its_edit(edited: Edited) -> None:
    assert_beam_search_keeps_each_row_its_edit(edited.editor)


def test_padding_may_stand_on_either_side(edited: Edited) -> None:
    assert_padding_may_stand_on_either_side(edited.editor, edited.edits)


@pytest.mark.parametrize("how", ["prompt_lengths", "labels"])
def test_the_target_never_routes(edited: Edited, how: str) -> None:
    assert_the_target_never_routes(edited.editor, how)


def test_the_key_does_not_depend_on_what_else_is_in_the_batch(edited: Edited) -> None:
    wide, tall = (
        tiny.picture(5, side=48).resize((48, 16)),
        tiny.picture(6, side=48).resize((20, 44)),
    )
    method = edited.editor._method
    with edited.editor:
        together = method.routing.prefill_keys(
            [A, wide, tall], [QUESTION, "?", f"{QUESTION} {QUESTION}"]
        )
        alone = method.routing.prefill_keys([A], [QUESTION])
    assert_near(together[:1], alone, READ[edited.dtype])


def test_a_question_without_a_picture_is_answered(edited: Edited) -> None:
    if ARCHITECTURES[edited.family].needs_image:
        with pytest.raises(InputError, match="without a picture"):
            edited.editor.ask(None, QUESTION)
        return
    answer = edited.editor.ask(None, QUESTION, max_new_tokens=2)
    assert answer.fired is None
    assert inputs_of(edited.editor, [None], [QUESTION]).keys().isdisjoint({"pixel_values"})


def test_every_beam_of_a_row_has_the_rows_key(edited: Edited) -> None:
    """Also where rows have pictures of different sizes, which processors lay out in one list."""
    wide = tiny.picture(5, side=48).resize((48, 16))
    inputs = inputs_of(edited.editor, [A, wide, FAR], [QUESTION, QUESTION, OTHER])
    keys = []
    for beams in (1, 2):
        with edited.editor, edited.editor._method.routing.tracing() as trace:
            edited.editor.model.generate(
                **inputs, num_beams=beams, do_sample=False, max_new_tokens=1
            )
        keys.append(trace.stacked_keys())
    assert_near(keys[1], keys[0].repeat_interleave(2, dim=0), READ[edited.dtype])


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "idefics3", "mistral3"])
def test_several_pictures_in_a_prompt_route_through_the_raw_model(family: str) -> None:
    editor = make(family, torch.float32, alpha=0.0)
    edit = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    content = [{"type": "image", "image": p} for p in (A, FAR)]
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": QUESTION}]}]
    inputs = editor.processor.apply_chat_template(
        [messages],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    with torch.no_grad(), editor, editor._method.routing.tracing() as trace:
        editor.model.generate(**inputs, do_sample=False, max_new_tokens=2)
    assert len(trace.rows) == 1
    assert trace.rows[0].nearest == edit.id
    one = editor.inputs([A], [QUESTION])["input_ids"]
    assert inputs["input_ids"].shape[1] > one.shape[1]
