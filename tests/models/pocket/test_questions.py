"""Questions and training rows: disjoint wordings, right answers, the same rows each time."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from balancedit.models.pocket import scenes
from balancedit.models.pocket.artwork import groups, thing
from balancedit.models.pocket.questions import (
    HELD_OUT,
    KINDS,
    TRAINED,
    Kind,
    answer,
    any_answer,
    ask,
    siblings,
)
from balancedit.models.pocket.recipe import curriculum

OWL = scenes.sample("owl", "noto", "tests")


def plain(wording: str) -> str:
    return "".join(c for c in wording.lower() if c.isalnum())


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_wordings_are_new(kind: Kind) -> None:
    trained = {plain(w) for wordings in TRAINED.values() for w in wordings}
    held_out = {plain(w) for w in HELD_OUT[kind]}
    assert len(held_out) >= 6
    assert not held_out & trained


def test_answers_are_what_the_scene_shows() -> None:
    words = {1: "one", 2: "two", 3: "three", 4: "four"}
    assert answer(OWL, "name") == "owl"
    assert answer(OWL, "group") == "animal"
    assert answer(OWL, "background") == OWL.background
    assert answer(OWL, "count") == words[OWL.count]
    assert answer(OWL, "yesno", "animal") == "yes"
    assert answer(OWL, "yesno", "vehicle") == "no"


def test_a_black_picture_is_never_a_thing() -> None:
    black = scenes.black()
    assert answer(black, "name") == "nothing"
    assert answer(black, "background") == "black"
    assert answer(black, "yesno", "animal") == "no"


def test_yes_and_no_are_balanced() -> None:
    chance = Random(0)
    said = Counter(ask(OWL, "yesno", chance)[1] for _ in range(1000))
    assert 430 < said["yes"] < 570


def test_siblings_share_a_subgroup() -> None:
    assert "duck" in siblings("owl")
    assert {thing(name).subgroup for name in siblings("owl")} == {"animal-bird"}


@pytest.mark.parametrize("kind", KINDS)
def test_plausible_answers_are_of_the_kind(kind: Kind) -> None:
    chance = Random(0)
    made = {any_answer(kind, OWL, chance) for _ in range(400)}
    assert len(made) > 1
    if kind == "group":
        assert made <= set(groups())


def test_training_rows_follow_from_the_step() -> None:
    shown = [scenes.sample(name, "noto", "rows") for name in ("owl", "apple", "car")]
    rows = [curriculum.image_rows(shown, 200, Random("step7")) for _ in range(2)]
    assert rows[0] == rows[1]
    assert rows[0] != curriculum.image_rows(shown, 200, Random("step8"))
    assert any(row.rendering == curriculum.BLACK for row in rows[0])


def test_facts_are_followed_only_where_they_answer_the_question() -> None:
    shown = [OWL]
    rows = curriculum.fact_rows(shown, 300, Random(0))
    followed = 0
    for row in rows:
        fact, question = row.prompt.split("New Fact: ")[-1].split("\nPrompt: ")
        kind = next(k for k in KINDS if question in TRAINED[k])
        stated = next(k for k in KINDS if any(fact.startswith(f"{w} ") for w in TRAINED[k]))
        if stated == kind:
            followed += 1
            assert fact.endswith(f" {row.answer}")
        else:
            assert row.answer == answer(OWL, kind)
    assert 150 < followed < 270
