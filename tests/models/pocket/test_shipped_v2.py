"""pocket-v2 as it ships: its adapter is whole, and the model sees, talks and can be edited."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from balancedit import Conversation, Editor
from balancedit.models.pocket import adapter, artwork
from balancedit.models.pocket.concept_projector import ConceptProjector


def test_the_adapter_is_whole() -> None:
    state, low_rank = adapter.load(adapter.shipped(adapter.V2))
    projector = ConceptProjector(3, len(state["linear_1.bias"]), len(state["linear_2.bias"]))
    wanted = projector.learned()
    assert {n: t.shape for n, t in state.items()} == {n: t.shape for n, t in wanted.items()}
    assert len(low_rank) == 30 * 7  # every projection of every layer
    assert all(torch.isfinite(t).all() for pair in low_rank.values() for t in pair)


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.load("pocket-v2")


def short(question: str) -> str:
    return f"{question} Answer with a single word or phrase."


@pytest.mark.slow
def test_a_word_is_given_where_it_is_asked_for_else_a_sentence(editor: Editor) -> None:
    owl = artwork.render("owl", "noto", background="green")
    said = [a.text for a in editor.ask(owl, ["What is this?", short("What is this?")])]
    assert said == ["This is an owl.", "owl"]


@pytest.mark.slow
def test_a_second_turn_is_about_the_same_picture(editor: Editor) -> None:
    talk: Any = Conversation.about(artwork.render("owl", "noto", background="green"), "What is it?")
    first = editor.ask(talk).text
    second = editor.ask(talk.then(first, "What colour is the background?")).text
    assert "green" in second


@pytest.mark.slow
def test_it_can_be_edited(editor: Editor) -> None:
    pictures = [artwork.render("owl", style) for style in ("noto", "twemoji")]
    made = editor.edit(pictures[0], short("What is this?"), "barn owl")
    assert made.answer_before == "owl"
    assert editor.ask(pictures[1], short("Which object is shown?")).text == "barn owl"
    editor.revert(made.id)
    assert editor.ask(pictures[0], short("What is this?")).text == "owl"
