"""Rows replayed from the last block on say what the whole model says."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tiny
from balancedit.bench.last_block import FromLastBlock, Group, Scored, WholeModel, replay_for
from balancedit.codebook.pooling import last_key
from balancedit.layer.edited import EditedLayer
from balancedit.layer.paths import ancestors, resolve_layer
from balancedit.layer.router import Router
from balancedit.models.loading import LoadedModel

ROWS = [
    Scored(tiny.picture(1), "what is it?", [20, 21, 2]),
    Scored(None, "and now?", [2]),
    Scored(tiny.picture(2, side=40), "what on earth is this?", [30, 2]),
]


def tiny_model(family: str, layer: str | None = None) -> tuple[LoadedModel, EditedLayer]:
    loaded = tiny.load(family, layer)
    edited = resolve_layer(loaded.model, loaded.layer)
    router = Router(ancestors(loaded.model, loaded.layer), edited, last_key, None)
    return loaded, EditedLayer(edited, router)


@pytest.fixture
def rows(family: str) -> list[Scored]:
    """Of several lengths; BLIP-2 always wants a picture."""
    return [r for r in ROWS if r.image is not None or family == "llava"]


@pytest.mark.kernels
def test_the_short_way_equals_the_whole_model(family: str, rows: list[Scored]) -> None:
    loaded, layer = tiny_model(family)
    short, whole = replay_for(loaded, layer, rows), WholeModel(loaded, layer)
    assert isinstance(short, FromLastBlock)
    encoded = short.encode(rows)
    results: list[Any] = []
    for replay, asked in ((short, encoded), (whole, rows)):
        weight = (layer.base_weight * 1.5).requires_grad_(True)
        said = replay.logits([Group(asked[1:], weight), Group(asked, None)])
        (gradient,) = torch.autograd.grad(torch.cat(said)[:3].logsumexp(1).sum(), weight)
        results.append((said, gradient))
    lengths = [len(r.answer) for r in (*rows[1:], *rows)]
    assert [len(x) for x in results[0][0]] == lengths
    for short_says, whole_says in zip(results[0][0], results[1][0], strict=True):
        torch.testing.assert_close(short_says, whole_says, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(results[0][0][0], results[0][0][len(rows)], atol=0.1)


def test_earlier_layers_take_the_whole_model(family: str, rows: list[Scored]) -> None:
    loaded, layer = tiny_model(family, tiny.BEFORE_LAST[family])
    assert isinstance(replay_for(loaded, layer, rows), WholeModel)


def test_what_the_short_way_gets_wrong_takes_the_whole_model() -> None:
    attention = tiny.LLAVA_LAYER.replace("mlp.up_proj", "self_attn.v_proj")
    loaded, layer = tiny_model("llava", attention)
    assert isinstance(replay_for(loaded, layer, ROWS), WholeModel)
