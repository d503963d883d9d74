"""Decode steps made ahead, in the pass that decides: what the plain way gives, or the plain way."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.cache_utils import DynamicCache

from balancedit import Editor
from balancedit.layer import deciding
from balancedit.layer.ahead import StepsAhead
from closeness import assert_near
from contract import REWORDED, A, B, inputs_of, two_edits, widened
from tiny.taught import OTHER, QUESTION, SAYS, WHO

GREEDY: dict[str, Any] = {
    "do_sample": False,
    "max_new_tokens": 8,
    "return_dict_in_generate": True,
    "output_logits": True,
}


@pytest.fixture
def editor(make_sure_editor: Any) -> Editor:
    """An editor that holds one edit: "ab" in place of "no"."""
    made: Editor = make_sure_editor()
    made.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    return made


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[StepsAhead]:
    """A list that grows with all steps that are made ahead, whether they are asked for or not."""
    seen: list[StepsAhead] = []
    inner = deciding.steps_ahead

    def steps_ahead(*args: Any) -> Any:
        given, steps = inner(*args)
        assert steps is not None
        seen.append(steps)
        return given, steps

    monkeypatch.setattr(deciding, "steps_ahead", steps_ahead)
    return seen


def decoder_of(editor: Editor) -> Any:
    """The module that takes a cache: the model, or (BLIP-2) its language model."""
    return getattr(editor.model, "language_model", editor.model)


def generated(editor: Editor, images: list, questions: list[str], **how: Any) -> tuple[Any, Any]:
    """What the raw edited model generates, and the trace of its routes."""
    inputs = inputs_of(editor, images, questions)
    with editor, editor._method.routing.tracing() as trace:
        out = editor.model.generate(**inputs, **(GREEDY | how))
    return out, trace


def plainly(monkeypatch: pytest.MonkeyPatch, run: Callable[[], Any]) -> Any:
    """What a run gives where no step is made ahead."""
    with monkeypatch.context() as patch:
        patch.setattr(deciding, "extends", lambda _: False)
        return run()


def assert_as_plainly(found: tuple[Any, Any], expected: tuple[Any, Any]) -> None:
    """The same tokens and routes, and logits, keys and cache that are near."""
    (one, trace), (other, expected_trace) = found, expected
    assert one.sequences.tolist() == other.sequences.tolist()
    assert [d.fired for d in trace.rows] == [d.fired for d in expected_trace.rows]
    assert_near(trace.stacked_keys(), expected_trace.stacked_keys())
    assert len(one.logits) == len(other.logits)
    for step, expected_step in zip(one.logits, other.logits, strict=True):
        assert_near(step, expected_step)
    layers = zip(one.past_key_values.layers, other.past_key_values.layers, strict=True)
    for layer, expected_layer in layers:
        assert_near(layer.keys, expected_layer.keys)
        assert_near(layer.values, expected_layer.values)


@pytest.mark.kernels
def test_steps_made_ahead_are_the_plain_ones(
    editor: Editor, made: list[StepsAhead], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> Any:
        return generated(editor, [A], [QUESTION])

    found = run()
    assert [steps.at for steps in made] == [2], "both tokens of the answer were fed from it"
    assert_as_plainly(found, plainly(monkeypatch, run))
    assert len(made) == 1


def test_the_answer_is_read_in_one_pass(editor: Editor) -> None:
    first = editor.layer.split(".layers.")[0] + ".layers.0.self_attn.q_proj"
    layer = editor.model.get_submodule(first)
    tokens: list[int] = []
    with editor:  # which finds out once how far prompts can be read once
        handle = layer.register_forward_pre_hook(lambda _, args: tokens.append(args[0].shape[1]))
    out, _ = generated(editor, [A], [QUESTION])
    handle.remove()
    assert len(out.logits) == 3, "two tokens and the end"
    assert tokens[1:] == [3], "behind the prompt: the pass that decides, over 'no.', and no other"


def test_rows_of_a_batch_have_their_own_steps(
    make_sure_editor: Any, made: list[StepsAhead], monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = make_sure_editor()
    edits = two_edits(editor)
    made.clear()

    def run() -> Any:
        return generated(editor, [A, B], [QUESTION, QUESTION])

    found = run()
    assert tuple(d.fired for d in found[1].rows) == edits
    assert [steps.at for steps in made] == [2], "as many as the shorter answer has"
    assert_as_plainly(found, plainly(monkeypatch, run))


def test_padded_prompts_have_theirs(
    editor: Editor, made: list[StepsAhead], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> Any:
        return generated(editor, [A, A], [QUESTION, REWORDED[0]])

    run()
    assert not made, "the first such prompts show whether a pass may go on from their cache"
    found = run()
    assert all(d.fired for d in found[1].rows)
    assert [steps.at for steps in made] == [2]
    assert_as_plainly(found, plainly(monkeypatch, run))


class Forcing(LogitsProcessor):
    """Has these tokens taken, one a call, and then what the model says."""

    def __init__(self, tokens: list[int]) -> None:
        self.tokens = list(tokens)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if not self.tokens:
            return scores
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self.tokens.pop(0)] = 0
        return forced


@pytest.mark.parametrize("taken", [0, 1])
def test_another_token_is_read_plainly(
    editor: Editor, made: list[StepsAhead], monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    ids = editor._loaded.prompter.answer_ids("ab", 2)
    other = editor._loaded.prompter.answer_ids("xyz", 2)[-2]
    assert other not in ids

    def run() -> Any:
        forcing = LogitsProcessorList([Forcing([*ids[:taken], other])])
        return generated(editor, [A], [QUESTION], logits_processor=forcing)

    found = run()
    assert [steps.at for steps in made] == [taken], "and what was left is forgotten"
    assert_as_plainly(found, plainly(monkeypatch, run))


@pytest.mark.parametrize("draft", [(), (5, 6, 7), (2,)])
def test_a_wrong_draft_changes_nothing(
    editor: Editor,
    made: list[StepsAhead],
    monkeypatch: pytest.MonkeyPatch,
    draft: tuple[int, ...],
) -> None:
    monkeypatch.setattr(editor._method.routing.router._first, "drafts", lambda _: draft)
    found = generated(editor, [A], [QUESTION])
    assert [steps.at for steps in made] == [1], "the likeliest first token needs no draft"
    assert_as_plainly(found, plainly(monkeypatch, lambda: generated(editor, [A], [QUESTION])))


def test_an_answer_that_only_begins_like_the_old_one_is_untouched(
    editor: Editor, made: list[StepsAhead]
) -> None:
    (edit,) = editor.edits()
    widened(editor, edit)
    inputs = inputs_of(editor, [A], [OTHER])
    expected = editor.model.generate(**inputs, **GREEDY)
    found, trace = generated(editor, [A], [OTHER])
    assert SAYS[OTHER].startswith(SAYS[QUESTION])
    assert [d.fired for d in trace.rows] == [None]
    assert [steps.at for steps in made] == [0], "the guess was tried, and taken back"
    assert torch.equal(found.sequences, expected.sequences)
    assert all(torch.equal(a, b) for a, b in zip(found.logits, expected.logits, strict=True))
    assert editor.ask(A, QUESTION).fired == edit.id


@pytest.mark.parametrize(
    ("questions", "how"),
    [
        ([QUESTION, WHO], {}),
        ([QUESTION], {"num_beams": 2}),
        ([QUESTION], {"cache_implementation": "static"}),
        ([QUESTION], {"use_cache": False}),
        ([QUESTION], {"output_hidden_states": True}),
    ],
)
def test_what_cannot_be_made_ahead_is_made_plainly(
    editor: Editor, made: list[StepsAhead], questions: list[str], how: dict[str, Any]
) -> None:
    out, trace = generated(editor, [A] * len(questions), questions, **how)
    (edit,) = editor.edits()
    assert trace.rows[0].fired == edit.id
    if "use_cache" in how and decoder_of(editor) is not editor.model:
        pytest.skip("this model hands its language model a cache all the same")
    prompt = inputs_of(editor, [A] * len(questions), questions)["input_ids"]
    said = editor._loaded.prompter.answers(out.sequences, prompt)
    assert said == ["ab", SAYS[WHO]][: len(questions)]
    assert not any(steps.at for steps in made)


def test_inference_mode_is_served_too(editor: Editor, made: list[StepsAhead]) -> None:
    with torch.inference_mode():
        out, _ = generated(editor, [A], [QUESTION])
    assert [steps.at for steps in made] == [2]
    assert len(out.logits) == 3


# -- one step ------------------------------------------------------------------------------------


@pytest.fixture
def steps(editor: Editor, made: list[StepsAhead]) -> StepsAhead:
    """Steps that a `generate` of one token left behind."""
    generated(editor, [A], [QUESTION], max_new_tokens=1)
    (left,) = made
    assert left.at == 0
    return left


def call_of(steps: StepsAhead) -> dict[str, Any]:
    """The arguments of the call that `generate` would have made."""
    described = {name: steps._now(name, value) for name, value in steps.described.items()}
    return described | {"past_key_values": steps.cache, "use_cache": True, "logits_to_keep": 1}


@torch.no_grad()
def test_the_very_step_is_answered_once(steps: StepsAhead) -> None:
    before = steps.cache.get_seq_length()
    first = steps.asked_for(steps.call.module, call_of(steps))
    assert first.logits.shape[:2] == (1, 1)
    assert first.past_key_values is steps.cache
    assert steps.cache.get_seq_length() == before + 1
    second = steps.asked_for(steps.call.module, call_of(steps))
    assert not torch.equal(second.logits, first.logits)
    assert not steps.left
    again = {"input_ids": steps.described["input_ids"][:, -1:], "past_key_values": steps.cache}
    assert steps.asked_for(steps.call.module, again) is None
    assert steps.cache.get_seq_length() == before + 2


def _masked(steps: StepsAhead, call: dict[str, Any]) -> None:
    call["attention_mask"] = call["attention_mask"].clone()
    call["attention_mask"][:, 0] = 0


def _elsewhere(steps: StepsAhead, call: dict[str, Any]) -> None:
    call["past_key_values"] = copy.copy(steps.cache)


def _cropped(steps: StepsAhead, call: dict[str, Any]) -> None:
    steps.cache.crop(-1)


def _written(steps: StepsAhead, call: dict[str, Any]) -> None:
    steps.cache.layers[0].keys.mul_(2)  # type: ignore[union-attr]


def _regrown(steps: StepsAhead, call: dict[str, Any]) -> None:
    steps.cache.batch_select_indices(torch.tensor([0]))


def _more(steps: StepsAhead, call: dict[str, Any]) -> None:
    call["pixel_values"] = torch.zeros(1)


def _set(name: str, value: Any) -> Callable[[StepsAhead, dict[str, Any]], None]:
    return lambda steps, call: call.update({name: value})


@pytest.mark.parametrize(
    "change",
    [
        *(_masked, _elsewhere, _cropped, _written, _regrown, _more),
        _set("input_ids", torch.tensor([[7]])),
        _set("input_ids", torch.tensor([[7, 7]])),
        _set("position_ids", torch.tensor([[0]])),
        _set("output_hidden_states", True),
        _set("use_cache", False),
        _set("past_key_values", None),
        _set("unheard_of", 1),
    ],
)
@torch.no_grad()
def test_a_call_that_differs_is_not_answered(
    steps: StepsAhead, change: Callable[[StepsAhead, dict[str, Any]], None]
) -> None:
    call = call_of(steps)
    change(steps, call)
    length = steps.cache.get_seq_length()
    assert steps.asked_for(steps.call.module, call) is None
    assert steps.cache.get_seq_length() == length


def test_gradients_and_other_modules_are_not_answered(steps: StepsAhead) -> None:
    assert steps.asked_for(steps.call.module, call_of(steps)) is None
    with torch.no_grad():
        assert steps.asked_for(torch.nn.Linear(1, 1), call_of(steps)) is None
        assert isinstance(steps.cache, DynamicCache)
        assert steps.asked_for(steps.call.module, call_of(steps)) is not None


@torch.no_grad()
def test_what_the_prompt_was_described_by_must_be_said_again(steps: StepsAhead) -> None:
    for name in steps.described.keys() & steps.call.given.keys():
        call = call_of(steps)
        del call[name]
        assert steps.asked_for(steps.call.module, call) is None, name
