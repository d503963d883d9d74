"""The architecture: the same answers however rows are batched, padded, cached or searched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pocket_rows import IMAGE, N, row
from torch import Tensor

from balancedit.models.pocket.modeling import PocketForConditionalGeneration
from closeness import as_good, assert_near


def batch(rows: list[list[int]], side: str = "left") -> dict[str, Tensor]:
    """input_ids and attention_mask of rows padded on one side."""
    length = max(map(len, rows))
    ids, mask = torch.full((len(rows), length), 2), torch.zeros(len(rows), length, dtype=torch.long)
    for number, content in enumerate(rows):
        at = slice(length - len(content), None) if side == "left" else slice(0, len(content))
        ids[number, at] = torch.tensor(content)
        mask[number, at] = 1
    return {"input_ids": ids, "attention_mask": mask}


def last_logits(model: Any, rows: list[list[int]], pixels: Tensor | None, side: str) -> Tensor:
    """(B, V) at each row's last real token."""
    inputs = batch(rows, side)
    positions = (inputs["attention_mask"].cumsum(1) - 1).clamp_min(0)
    logits = model(**inputs, position_ids=positions, pixel_values=pixels).logits
    ends = inputs["attention_mask"].shape[1] - 1 - inputs["attention_mask"].flip(1).argmax(1)
    return logits[torch.arange(len(rows)), ends]


MIXED = [row(1), row(0), row(2)]  # one picture, none, two


@torch.no_grad()
def test_shapes(tiny: PocketForConditionalGeneration, pictures: Tensor) -> None:
    features = tiny.get_image_features(pictures)
    assert features.shape == (3, N, 32)
    inputs = batch([row(1)])
    assert tiny(**inputs, pixel_values=pictures[:1]).logits.shape == (1, len(row(1)), 64)
    assert tiny(**inputs, pixel_values=pictures[:1], logits_to_keep=1).logits.shape == (1, 1, 64)


@torch.no_grad()
def test_the_picture_matters(tiny: PocketForConditionalGeneration, pictures: Tensor) -> None:
    one, other = (last_logits(tiny, [row(1)], pictures[k : k + 1], "left") for k in (0, 1))
    assert (one - other).abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_with_and_without_pictures_equal_single_rows(
    tiny: PocketForConditionalGeneration, pictures: Tensor, side: str
) -> None:
    together = last_logits(tiny, MIXED, pictures, side)
    alone = [
        last_logits(tiny, [MIXED[0]], pictures[:1], side),
        last_logits(tiny, [MIXED[1]], None, side),
        last_logits(tiny, [MIXED[2]], pictures[1:], side),
    ]
    assert_near(together, torch.cat(alone))


@torch.no_grad()
def test_left_padding_equals_right_padding(
    tiny: PocketForConditionalGeneration, pictures: Tensor
) -> None:
    left, right = (last_logits(tiny, MIXED, pictures, side) for side in ("left", "right"))
    assert_near(right, left)


@torch.no_grad()
def test_order_of_pictures_in_a_row_matters(
    tiny: PocketForConditionalGeneration, pictures: Tensor
) -> None:
    one = last_logits(tiny, [row(2)], pictures[[0, 1]], "left")
    other = last_logits(tiny, [row(2)], pictures[[1, 0]], "left")
    assert (one - other).abs().max() > 1e-3


@torch.no_grad()
def test_cached_equals_uncached(tiny: PocketForConditionalGeneration, pictures: Tensor) -> None:
    inputs = batch([row(1), [1, 5, *row(1)[1:]]])
    prefix = {k: v[:, :-2] for k, v in inputs.items()}
    whole = tiny(**inputs, pixel_values=pictures[:1].expand(2, -1, -1, -1)).logits[:, -1]
    start = tiny(**prefix, pixel_values=pictures[:1].expand(2, -1, -1, -1), use_cache=True)
    rest = tiny(
        input_ids=inputs["input_ids"][:, -2:],
        attention_mask=inputs["attention_mask"],
        past_key_values=start.past_key_values,
        use_cache=True,
    ).logits[:, -1]
    assert_near(rest, whole)


@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 3])
def test_generation_of_a_mixed_batch_equals_single_rows(
    tiny: PocketForConditionalGeneration, pictures: Tensor, beams: int
) -> None:
    settings: dict[str, Any] = {
        "max_new_tokens": 5,
        "min_new_tokens": 5,
        "num_beams": beams,
        "do_sample": False,
        "return_dict_in_generate": True,
        "output_logits": True,
        "output_scores": True,
    }
    made = tiny.generate(**batch(MIXED), pixel_values=pictures, **settings)
    plain = last_logits(tiny, MIXED, pictures, "left").repeat_interleave(beams, dim=0)
    assert_near(made.logits[0], plain)
    for number, pixels in enumerate((pictures[:1], None, pictures[1:])):
        single = tiny.generate(**batch([MIXED[number]]), pixel_values=pixels, **settings)
        same = torch.equal(made.sequences[number, -5:], single.sequences[0, -5:])
        assert same or as_good(number, 0, made, single)


@torch.no_grad()
def test_generation_without_cache_is_the_same(
    tiny: PocketForConditionalGeneration, pictures: Tensor
) -> None:
    made = [
        tiny.generate(
            **batch(MIXED),
            pixel_values=pictures,
            max_new_tokens=5,
            use_cache=cache,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
        for cache in (True, False)
    ]
    for number, (one, other) in enumerate(zip(*(m.sequences for m in made), strict=True)):
        assert torch.equal(one, other) or as_good(number, number, *made)


@pytest.mark.parametrize("content", [row(0), row(2), [*row(1)[:-4], IMAGE]])
def test_pictures_and_placeholders_must_match(
    tiny: PocketForConditionalGeneration, pictures: Tensor, content: list[int]
) -> None:
    with pytest.raises(ValueError, match="placeholders"):
        tiny(**batch([content]), pixel_values=pictures[:1])


def test_placeholders_without_a_picture_are_refused(tiny: PocketForConditionalGeneration) -> None:
    with pytest.raises(ValueError, match="placeholders"):
        tiny(**batch([row(1)]))


def test_saved_and_loaded_it_is_the_same(
    tiny: PocketForConditionalGeneration, pictures: Tensor, tmp_path: Path
) -> None:
    tiny.save_pretrained(tmp_path)
    again = PocketForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert again.lm_head.weight is again.get_input_embeddings().weight
    with torch.no_grad():
        before = last_logits(tiny, MIXED, pictures, "left")
        assert torch.equal(before, last_logits(again, MIXED, pictures, "left"))


def test_gradient_checkpointing_gives_the_same_gradient(
    tiny: PocketForConditionalGeneration, pictures: Tensor
) -> None:
    inputs = batch([row(1)])
    found = []
    for checkpointing in (False, True):
        tiny.zero_grad()
        if checkpointing:
            tiny.gradient_checkpointing_enable()
        tiny.train()
        tiny(**inputs, pixel_values=pictures[:1], labels=inputs["input_ids"] % 64).loss.backward()
        found.append(tiny.model.language_model.layers[0].mlp.up_proj.weight.grad.clone())
        tiny.gradient_checkpointing_disable()
        tiny.eval()
    tiny.zero_grad()
    assert found[0].abs().max() > 0
    assert_near(found[1], found[0])
