"""The projector that tells concepts in words: which classifier is believed, and what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from balancedit.models.pocket import adapter, concepts
from balancedit.models.pocket.concept_projector import (
    CLASSES,
    COLOURS,
    COUNTS,
    SLOTS,
    ConceptProjector,
)
from balancedit.models.pocket.concepts import LEARNED
from balancedit.models.pocket.efficientnet import HEAD_CHANNELS, PocketVisionTower
from balancedit.models.pocket.recipe import heads, train_concepts
from balancedit.models.pocket.recipe.gather import Label

WIDTH, FEATURES = 8, PocketVisionTower.feature_size()


@pytest.fixture(scope="module")
def embedding() -> torch.Tensor:
    return torch.randn(49152, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def projector(tokenizer: Any, embedding: torch.Tensor) -> ConceptProjector:
    """A projector with a classifier that names class i where feature i is large."""
    torch.manual_seed(1)
    made = ConceptProjector(3, 6, WIDTH).eval()
    classifier = torch.zeros(CLASSES, HEAD_CHANNELS)
    classifier[:, :CLASSES] = 40 * torch.eye(CLASSES)
    made.complete((classifier, torch.zeros(CLASSES)), tokenizer, embedding)
    return made


def number(domain: str, key: str) -> int:
    return concepts.numbers()[domain, key]


def one(concept: int) -> torch.Tensor:
    """A picture that is surely of one concept, (1, C)."""
    return torch.nn.functional.one_hot(torch.tensor([concept]), len(concepts.concepts())).float()


def sure(words: tuple[str, ...], word: str) -> torch.Tensor:
    made = torch.zeros(1, len(words) + 1)
    made[0, words.index(word) if word else -1] = 1
    return made


def test_what_is_sure_is_told_in_its_own_words(
    projector: ConceptProjector, tokenizer: Any, embedding: torch.Tensor
) -> None:
    seen = one(number("grocery", "Granny-Smith"))
    told = projector.told(seen, sure(COLOURS, "green"), sure(COUNTS, ""))[0]
    assert told.shape == (SLOTS, WIDTH)
    words = [("Granny Smith", 4), ("apple", 2), ("fruit", 2), ("green", 1), ("", 1)]
    ids = [i for text, slots in words for i in concepts.pieces(tokenizer, text, slots)]
    torch.testing.assert_close(told, embedding[ids], atol=1e-5, rtol=1e-5)


def test_concepts_of_one_name_are_told_together(projector: ConceptProjector) -> None:
    drawn, class_ = number("drawing", "banana"), number("imagenet", "954")
    assert concepts.concepts()[class_].name == "banana"
    torn = 0.3 * one(drawn) + 0.3 * one(class_) + 0.4 * one(number("drawing", "owl"))
    told = projector.names.mixed(projector.names(torn))
    alone = projector.names.mixed(projector.names(one(drawn)))
    owl = projector.names.mixed(projector.names(one(number("drawing", "owl"))))
    torch.testing.assert_close(told, 0.6 * alone + 0.4 * owl, atol=1e-6, rtol=1e-5)


def test_a_shared_kind_is_sure_where_products_are_not(projector: ConceptProjector) -> None:
    apples = ("Granny-Smith", "Golden-Delicious", "Pink-Lady")
    torn = sum(one(number("grocery", key)) / 3 for key in apples)
    kinds = projector.kinds(torn)[0]
    assert kinds.max() == pytest.approx(1.0)
    assert projector.names(torn)[0].max() == pytest.approx(1 / 3)


def pictures(classes: list[int]) -> torch.Tensor:
    """(P, 9, F) of pictures that ImageNet's classifier is sure about."""
    features = torch.zeros(len(classes), 9, FEATURES)
    for row, class_ in enumerate(classes):
        features[row, :, class_] = 1.0
    return features


def test_looks_that_no_learned_domain_has_are_left_to_imagenet(
    projector: ConceptProjector,
) -> None:
    church, lemon = 497, 951
    projector.evidence.fill_(0.03)
    projector.evidence[lemon] = 100.0
    shown = pictures([church, lemon])
    every, colours, counts = projector.seen(shown, (shown - projector.mean) / projector.std)
    torch.testing.assert_close(every.sum(1), torch.ones(2))
    learned = every[:, : concepts.learned()].sum(1)
    assert learned[0] < 0.05
    assert learned[1] > 0.95
    assert int(every[0].argmax()) == number("imagenet", str(church))
    assert colours.shape == (2, len(COLOURS) + 1)
    assert counts.shape == (2, len(COUNTS) + 1)


def test_each_domain_shares_out_one(projector: ConceptProjector) -> None:
    within = projector.within(torch.randn(3, concepts.learned())).exp()
    torch.testing.assert_close(within @ projector.domain, torch.ones(3, len(LEARNED)))


def test_an_adapter_holds_what_is_learned_alone(
    projector: ConceptProjector, tmp_path: Path
) -> None:
    adapter.save(tmp_path / "a.safetensors", projector, {})
    state, _ = adapter.load(tmp_path / "a.safetensors")
    given = ("classifier", "offset", "domain", "names", "kinds", "groups", "colours", "counts")
    assert not [name for name in state if name.split(".")[0] in given]
    assert set(state) == set(projector.learned())
    torch.testing.assert_close(state["evidence"], projector.evidence)


def test_cells_taken_over_are_the_same_tokens(projector: ConceptProjector) -> None:
    torch.manual_seed(2)
    projector.mean.normal_()
    projector.std.uniform_(0.5, 2)
    before = {
        "mean": torch.randn(FEATURES),
        "std": torch.rand(FEATURES) + 0.5,
        "linear_1.weight": torch.randn(6, FEATURES) / FEATURES**0.5,
        "linear_1.bias": torch.randn(6),
        "linear_2.weight": torch.randn(WIDTH, 6),
        "linear_2.bias": torch.randn(WIDTH),
        "position": torch.randn(9, WIDTH),
    }
    train_concepts.take_cells(projector, before)
    features = torch.rand(2, 9, FEATURES)
    hidden = torch.nn.functional.linear(
        (features - before["mean"]) / before["std"],
        before["linear_1.weight"],
        before["linear_1.bias"],
    )
    wanted = torch.nn.functional.linear(
        torch.nn.functional.gelu(hidden), before["linear_2.weight"], before["linear_2.bias"]
    )
    made = projector.cells((features - projector.mean) / projector.std)
    torch.testing.assert_close(made, wanted + before["position"], atol=1e-4, rtol=1e-4)


def test_the_classifiers_learn_what_they_are_shown(projector: ConceptProjector) -> None:
    """Four things whose features are far apart; measured on other views of them."""
    labels = [
        Label("drawing", "owl", "blue", 1),
        Label("drawing", "banana", "red", 3),
        Label("grocery", "Granny-Smith"),
        Label("clothes", "hat"),
    ]
    chance = torch.Generator().manual_seed(0)
    looks = torch.rand(len(labels), 9, FEATURES, generator=chance)

    def views(count: int) -> torch.Tensor:
        noise = torch.randn(count * len(labels), 9, 1, generator=chance)
        return looks.repeat(count, 1, 1) + 0.05 * noise

    torch.manual_seed(3)
    cells = views(150).half()
    known = heads.targets(labels * 150)
    black = torch.zeros(9, FEATURES)
    heads.measure(projector, cells, known, black)
    losses = heads.train(projector, cells, known, black, lambda loss: None, epochs=20)
    assert losses[-1] < losses[0]
    shown = views(2)
    every, colours, counts = projector.seen(shown, (shown - projector.mean) / projector.std)
    learned = every[:, : concepts.learned()].argmax(1)
    assert learned.tolist() == heads.targets(labels * 2).concept.tolist()
    assert [COLOURS[i] for i in colours[:2].argmax(1).tolist()] == ["blue", "red"]
    assert counts[:2].argmax(1).tolist() == [1, 3]
