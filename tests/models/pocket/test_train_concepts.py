"""The recipe of the model that sees photographs: its pictures, its rows, and a killed run."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.progress import Progress
from transformers import LlamaConfig, LlamaForCausalLM

from balancedit.models.pocket import concepts, scenes
from balancedit.models.pocket.concept_projector import ConceptProjector
from balancedit.models.pocket.efficientnet import PocketVisionTower
from balancedit.models.pocket.recipe import gather, photographs, taught_rows, teach
from balancedit.models.pocket.recipe.dialogues import DOMAINS, Seen
from balancedit.models.pocket.recipe.gather import Item, Label
from balancedit.models.pocket.recipe.photographs import Photograph
from balancedit.models.pocket.recipe.taught_rows import Pictures, Rows

TEXT = LlamaConfig(
    vocab_size=49152,
    hidden_size=8,
    intermediate_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=2,
)
FEATURES = PocketVisionTower.feature_size()


def concept(domain: str, key: str) -> concepts.Concept:
    return concepts.concepts()[concepts.numbers()[domain, key]]


SHOWN = (
    Seen(concept("drawing", "owl"), "blue", 2),
    Seen(concept("grocery", "Granny-Smith")),
    Seen(concept("clothes", "hat")),
)


@pytest.fixture
def pictures() -> Pictures:
    features = torch.rand(len(SHOWN), 9, FEATURES, generator=torch.Generator().manual_seed(0))
    return Pictures(features.half(), SHOWN, torch.zeros(9, FEATURES))


# -- pictures ------------------------------------------------------------------------------------


@pytest.fixture
def photograph(tmp_path: Path) -> Photograph:
    """A photograph of nothing but one colour."""
    Image.new("RGB", (300, 260), (200, 60, 30)).save(tmp_path / "one.png")
    return Photograph(tmp_path / "one.png", "hat")


def test_a_drawing_is_pasted_on_a_photograph(photograph: Photograph) -> None:
    scene = scenes.sample("owl", "noto", "train-bg0")
    made = np.asarray(gather.pasted(scene, photograph, "bg0"), dtype=int)
    behind = np.asarray(photographs.view(photograph, "bg0"), dtype=int)
    plain = np.asarray(scene.render(), dtype=int)
    outside = np.abs(plain - plain[0, 0]).sum(-1) == 0
    assert 0.05 < outside.mean() < 0.95
    assert np.abs(made - behind)[outside].max() <= 4
    assert np.abs(made - behind)[~outside].mean() > 10


def test_features_are_computed_once(tmp_path: Path) -> None:
    items: list[Item] = [
        (Label("clothes", "hat"), lambda: Image.new("RGB", (224, 224), "red")),
        (Label("drawing", "owl", "blue", 2), lambda: Image.new("RGB", (224, 224), "blue")),
    ]
    tower = PocketVisionTower(3).eval()
    with Progress(disable=True) as progress:
        gather.ensure(tmp_path, tower, {"some": lambda: iter(items)}, progress)
        first = (tmp_path / "some.safetensors").read_bytes()

        def never() -> Any:
            raise AssertionError("it was there")

        gather.ensure(tmp_path, tower, {"some": never}, progress)
    assert (tmp_path / "some.safetensors").read_bytes() == first
    cells, labels = gather.load(tmp_path, ["some"])
    assert cells.shape == (2, 9, FEATURES)
    assert labels == [label for label, _ in items]


def test_every_training_picture_is_named(photograph: Photograph) -> None:
    made = gather.shards(["noto"], [], [photograph])
    assert list(made) == ["drawn-noto", "pasted-noto", "groceries", "clothes"]
    label, _ = next(made["drawn-noto"]())
    assert (label.domain, label.count in range(1, 5)) == ("drawing", True)
    assert next(made["pasted-noto"]())[0].background == gather.PHOTO
    worn = list(made["clothes"]())
    assert {label for label, _ in worn} == {Label("clothes", "hat")}
    assert len(worn) == 1 + gather.CLOTHES_VIEWS
    assert worn[0][1]().size == worn[1][1]().size == (224, 224)


# -- rows ----------------------------------------------------------------------------------------


def test_rows_come_of_every_domain(pictures: Pictures) -> None:
    rows = Rows(pictures).some(400, Random("rows"))
    share = {d: sum(r.seen.concept.domain == d for r in rows) / len(rows) for d in DOMAINS}
    assert share == pytest.approx(DOMAINS, abs=0.08)
    for row in rows:
        if row.seen.concept.domain == "nothing":
            assert row.picture == -1
        elif row.seen.concept in {s.concept for s in SHOWN}:
            assert pictures.seen[row.picture] == row.seen
        else:  # a class that no picture shows stands beside a photograph of another's
            assert pictures.seen[row.picture].concept.domain in ("grocery", "clothes")


# -- a killed run --------------------------------------------------------------------------------


def teacher(tokenizer: Any, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> teach.Teacher:
    """A teacher of a language model with one small layer, always the same at the start."""
    monkeypatch.setattr(teach, "ROWS", 6)
    monkeypatch.setattr(teach, "PART", 3)
    monkeypatch.setattr(teach, "FACT_ROWS", 2)
    monkeypatch.setattr(teach, "TEXT_ROWS", 1)
    monkeypatch.setattr(teach, "SAVE_EVERY", 2)
    torch.manual_seed(4)
    language_model: Any = LlamaForCausalLM(TEXT)
    projector = ConceptProjector(3, 6, TEXT.hidden_size)
    words = language_model.get_input_embeddings().weight.detach()
    projector.complete((torch.zeros(1000, 1280), torch.zeros(1000)), tokenizer, words)
    texts = ["Hi? Hello.", "Who? Me, a robot."]
    return teach.Teacher(language_model, tokenizer, projector, pictures, texts)


def weights(of: teach.Teacher) -> list[torch.Tensor]:
    low_rank = of.low_rank()
    return [m.detach().clone() for name in sorted(low_rank) for m in low_rank[name]]


def test_a_run_in_two_parts_equals_one_run(
    tokenizer: Any, pictures: Pictures, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stop_after_two(step: int, loss: float) -> None:
        if step == 3:  # step 3 is done but not saved when the run is killed
            raise KeyboardInterrupt

    def ignore(step: int, loss: float) -> None:
        pass

    whole = teacher(tokenizer, pictures, monkeypatch)
    before = weights(whole)
    losses = whole.run(4, tmp_path / "whole.safetensors", ignore)
    assert not any(torch.equal(a, b) for a, b in zip(before, weights(whole), strict=True))
    killed = teacher(tokenizer, pictures, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        killed.run(4, tmp_path / "parts.safetensors", stop_after_two)
    resumed = teacher(tokenizer, pictures, monkeypatch)
    assert resumed.run(4, tmp_path / "parts.safetensors", ignore) == pytest.approx(losses, abs=1e-3)
    for one, other in zip(weights(whole), weights(resumed), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_a_run_may_begin_with_another_models_factors(
    tokenizer: Any, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = teacher(tokenizer, pictures, monkeypatch)
    start = {
        n: (torch.full_like(a, 0.5), torch.full_like(b, 2)) for n, (a, b) in one.low_rank().items()
    }
    one._begin_with(start)
    assert all((a == 0.5).all() and (b == 2).all() for a, b in one.low_rank().values())


def test_what_the_classifiers_might_say_adds_up(
    tokenizer: Any, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = teacher(tokenizer, pictures, monkeypatch)
    rows = taught_rows.Rows(pictures).some(40, Random("posterior"))
    every, colours, counts = one._posterior(rows, Random("said"))
    for made in (every, colours, counts):
        torch.testing.assert_close(made.sum(1), torch.ones(len(rows)))
    names = one._projector.names(every).argmax(1).tolist()
    numbers = [concepts.numbers()[r.seen.concept.domain, r.seen.concept.key] for r in rows]
    told = [int(one._projector.names.of[n]) for n in numbers]
    assert sum(a == b for a, b in zip(names, told, strict=True)) >= 38
