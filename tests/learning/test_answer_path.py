"""The short way says what the whole model says, and trains what it trains."""

from __future__ import annotations

import pytest
import torch

import tiny
from balancedit.codebook.pooling import last_key
from balancedit.layer.edited import EditedLayer
from balancedit.layer.paths import ancestors, resolve_layer
from balancedit.layer.router import Router
from balancedit.learning.answer_path import AnswerPath, finetune_together
from balancedit.learning.loop import (
    Schedule,
    Start,
    Trained,
    finetune,
    last_logits,
    with_answer,
    with_answers,
)
from balancedit.models.loading import LoadedModel, load_model
from closeness import LEARNED, assert_alike, assert_near
from tiny.families import FAMILIES

pytestmark = pytest.mark.kernels

QUERIES = [(tiny.picture(1), "what is this?"), (tiny.picture(2), "and that one over there?")]


def edited(loaded: LoadedModel) -> EditedLayer:
    layer = resolve_layer(loaded.model, loaded.layer)
    return EditedLayer(layer, Router(ancestors(loaded.model, loaded.layer), layer, last_key, None))


def prompts(loaded: LoadedModel, queries: list = QUERIES) -> dict[str, torch.Tensor]:
    images, questions = zip(*queries, strict=True)
    return loaded.to_device(loaded.prompter.inputs(images, questions))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_architecture_has_a_short_way(family: str) -> None:
    model, processor = FAMILIES[family]()
    loaded = load_model(model, processor=processor)
    answers = [loaded.prompter.answer_ids("abc", loaded.eos), [loaded.eos]]
    assert loaded.answers.fits(with_answers(model, prompts(loaded), answers), answers)


def test_earlier_layers_and_attention_have_none(family: str) -> None:
    loaded = tiny.load(family, tiny.BEFORE_LAST[family])
    answers = [[20, 21, 2], [2]]
    assert not loaded.answers.fits(with_answers(loaded.model, prompts(loaded), answers), answers)


@pytest.mark.parametrize("projection", ["v_proj", "o_proj"])
def test_what_looks_at_other_tokens_is_noticed(projection: str) -> None:
    loaded = tiny.load("llava")
    attention = tiny.LLAVA_LAYER.replace("mlp.up_proj", f"self_attn.{projection}")
    path = AnswerPath(loaded.model, attention)
    answers = [[20, 21, 2], [2]]
    assert not path.fits(with_answers(loaded.model, prompts(loaded), answers), answers)


def test_edits_trained_together_are_those_of_the_plain_loop(family: str) -> None:
    loaded = tiny.load(family)
    layer = edited(loaded)
    answers = [loaded.prompter.answer_ids(text, loaded.eos) for text in ("xyz", "a")]
    starts = [Start({"weight": layer.base_weight * scale}, lr=0.05) for scale in (1.0, 0.9)]
    schedule = Schedule(steps=30, eps=1e-4)
    full = with_answers(loaded.model, prompts(loaded), answers)
    assert loaded.answers.fits(full, answers)
    with torch.no_grad(), loaded.answers.recorded(answers) as found:
        loaded.model(**full, **last_logits(loaded.model, 1), use_cache=False)
    together = finetune_together(loaded.answers, layer, found.residuals, answers, starts, schedule)
    for query, answer, start, made in zip(QUERIES, answers, starts, together, strict=True):
        alone = finetune(loaded.model, layer, prompts(loaded, [query]), answer, start, schedule)
        assert isinstance(made, Trained)
        assert made.steps == alone.steps == 30
        assert_alike(made.losses, alone.losses)
        assert alone.losses[-1] < alone.losses[0] / 2
        assert_near(made.tensors["weight"], alone.tensors["weight"], LEARNED)


def test_each_edit_stops_by_itself() -> None:
    loaded = tiny.load("llava")
    layer = edited(loaded)
    answers = [loaded.prompter.answer_ids(text, loaded.eos) for text in ("ab", "ab")]
    starts = [Start({"weight": layer.base_weight}, lr=lr) for lr in (0.05, 0.02)]
    full = with_answers(loaded.model, prompts(loaded), answers)
    assert loaded.answers.fits(full, answers)
    with torch.no_grad(), loaded.answers.recorded(answers) as found:
        loaded.model(**full, **last_logits(loaded.model, 1), use_cache=False)
    stopping = Schedule(steps=400, eps=1e-4, stop=3.0)
    made = finetune_together(loaded.answers, layer, found.residuals, answers, starts, stopping)
    alone = [
        finetune_together(loaded.answers, layer, [r], [a], [s], stopping)[0]
        for r, a, s in zip(found.residuals, answers, starts, strict=True)
    ]
    assert made[0].steps != made[1].steps
    assert max(m.steps for m in made) < 400
    for one, other in zip(made, alone, strict=True):
        assert one.losses[-1] < 3.0 <= one.losses[-2]
        if one.steps != other.steps:  # a loss that is 3.0 but for rounding
            assert abs(one.steps - other.steps) == 1
            assert_alike(min(one.losses[-2], other.losses[-2]), 3.0, 1e-3)
        assert_near(one.tensors["weight"], other.tensors["weight"], LEARNED)


def test_what_a_pass_brings_is_the_layers_own_input_and_output(family: str) -> None:
    loaded = tiny.load(family)
    layer, answer = edited(loaded), [30, 31, 2]
    inputs = with_answer(loaded.model, prompts(loaded, QUERIES[:1]), answer)
    with torch.no_grad(), loaded.answers.recorded([answer]) as found:
        loaded.model(**inputs, use_cache=False)
    assert found.x[0].shape[0] == 3
    assert_near(layer.layer(found.x[0]), found.y[0])
