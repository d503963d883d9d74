"""The adapter's arithmetic and file, and a killed training run that goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from balancedit.errors import ModelLoadError
from balancedit.models.pocket import adapter, scenes
from balancedit.models.pocket.artwork import STYLES
from balancedit.models.pocket.configuration import PocketConfig
from balancedit.models.pocket.efficientnet import PocketVisionTower
from balancedit.models.pocket.modeling import PocketProjector
from balancedit.models.pocket.recipe import align, lora

TEXT = LlamaConfig(
    vocab_size=49152,
    hidden_size=8,
    intermediate_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=2,
)


def projector() -> PocketProjector:
    """A small projector with random weights."""
    torch.manual_seed(3)
    made = PocketProjector(PocketConfig(text_config=TEXT, projector_size=6, summary_words=5))
    made.words.normal_()
    return made


def trainer(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> lora.Trainer:
    """A trainer of a language model with one small layer, always the same at the start."""
    monkeypatch.setattr(lora, "IMAGE_ROWS", 6)
    monkeypatch.setattr(lora, "SAVE_EVERY", 2)
    own = projector()
    torch.manual_seed(4)
    language_model = LlamaForCausalLM(TEXT)
    shown = [scenes.sample("owl", style, "training") for style in STYLES]
    features = torch.rand(len(shown), 9, PocketVisionTower.feature_size())
    return lora.Trainer(
        language_model,
        tokenizer,
        own,
        features,
        features[0],
        shown,
        ["Hi? Hello.", "Who? Me, a robot."],
    )


def weights(of: lora.Trainer) -> list[torch.Tensor]:
    low_rank = of.low_rank()
    return [m.detach().clone() for name in sorted(low_rank) for m in low_rank[name]]


def test_a_run_in_two_parts_equals_one_run(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stop_after_two(step: int, loss: float) -> None:
        if step == 3:  # step 3 is done but not saved when the run is killed
            raise KeyboardInterrupt

    def ignore(step: int, loss: float) -> None:
        pass

    whole = trainer(tokenizer, monkeypatch)
    losses = whole.run(4, tmp_path / "whole.safetensors", ignore)
    killed = trainer(tokenizer, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        killed.run(4, tmp_path / "parts.safetensors", stop_after_two)
    resumed = trainer(tokenizer, monkeypatch)
    assert resumed.run(4, tmp_path / "parts.safetensors", ignore) == pytest.approx(losses, abs=1e-5)
    for one, other in zip(weights(whole), weights(resumed), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_training_moves_the_low_rank_matrices(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = trainer(tokenizer, monkeypatch)
    before = weights(own)
    own.run(2, tmp_path / "run.safetensors", lambda step, loss: None)
    assert not any(torch.equal(a, b) for a, b in zip(before, weights(own), strict=True))


def test_alignment_teaches_the_projector_what_to_say(tokenizer: Any) -> None:
    torch.manual_seed(0)
    shown = [scenes.sample(name, "noto", "align") for name in ("owl", "apple", "car")] * 100
    prototypes = torch.randn(4, 9, PocketVisionTower.feature_size())
    features = prototypes[torch.arange(300) % 3] + 0.1 * torch.randn(300, 1, 1)
    own = projector()
    align.measure_features(own, features, sample=200)
    log = align.align(
        own,
        features,
        shown,
        (prototypes[3], scenes.black()),
        tokenizer,
        torch.randn(49152, TEXT.hidden_size),
        lambda loss: None,
    )
    assert len(log) == align.EPOCHS
    assert log[-1]["slots_right"] > log[0]["slots_right"]
    assert log[-1]["loss"] < log[0]["loss"]


def test_an_adapter_survives_its_file(tmp_path: Path) -> None:
    pairs = {"layers.0.mlp.up_proj": (torch.randn(16, 8), torch.randn(8, 16))}
    own = projector()
    adapter.save(tmp_path / "a.safetensors", own, pairs)
    state, low_rank = adapter.load(tmp_path / "a.safetensors")
    assert set(state) == set(own.state_dict())
    assert torch.equal(state["std"], own.std)  # the statistics keep full precision
    for one, other in zip(
        pairs["layers.0.mlp.up_proj"], low_rank["layers.0.mlp.up_proj"], strict=True
    ):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=2e-3)


def test_merging_adds_the_low_rank_product() -> None:
    model = nn.Sequential(nn.Linear(8, 5, bias=False))
    before = model[0].weight.detach().clone()
    a, b, x = torch.randn(16, 8), torch.randn(5, 16), torch.randn(3, 8)
    adapter.merge(model, {"0": (a, b)})
    torch.testing.assert_close(model(x), x @ before.T + adapter.SCALE * (x @ a.T) @ b.T)


def test_a_damaged_adapter_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelLoadError, match=r"bad\.safetensors"):
        adapter.load(tmp_path / "bad.safetensors")


def test_merging_gives_the_same_bits_in_whatever_order_a_machine_adds_up() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(8, 576, generator=generator), torch.randn(1536, 8, generator=generator)
    base = torch.randn(1536, 576, generator=generator)
    merged = []
    for order in (range(8), (5, 2, 7, 0, 3, 6, 1, 4)):
        model = torch.nn.Sequential(torch.nn.Linear(576, 1536, bias=False))
        model[0].weight.data.copy_(base)
        adapter.merge(model, {"0": (a[list(order)], b[:, list(order)])})
        merged.append(model[0].weight)
    assert torch.equal(*merged)
