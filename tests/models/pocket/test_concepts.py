"""What the model can call a thing, and how it words its answers."""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import Any

import pytest

from balancedit.models.pocket import artwork, concepts, grocery_questions, phrases, questions
from balancedit.models.pocket.concepts import Concept
from balancedit.models.pocket.recipe import dialogues, photographs, wordings
from balancedit.models.pocket.recipe.dialogues import Seen

GROUPS = frozenset(
    {*artwork.groups(), "nothing", "fruit", "vegetable", "dairy", "dairy alternative"}
    | {"medical", "weapon"}
)


def of(domain: str) -> list[Concept]:
    return [c for c in concepts.concepts() if c.domain == domain]


def test_every_domain_is_whole() -> None:
    counts = {d: len(of(d)) for d in ("nothing", "drawing", "grocery", "clothes", "imagenet")}
    assert counts == {
        **{"nothing": 1, "drawing": 643, "grocery": 81, "clothes": 10, "imagenet": 1000}
    }
    assert concepts.learned() == 735
    assert len(concepts.numbers()) == len(concepts.concepts())


def test_the_thousand_classes_are_in_the_classifiers_order() -> None:
    classes = concepts.imagenet()
    assert [c.key for c in classes] == [str(n) for n in range(1000)]
    known = {0: "tench", 1: "goldfish", 291: "lion", 497: "church", 948: "Granny Smith"}
    assert {n: classes[n].name for n in known} == known


def test_every_concept_has_a_name_and_a_known_group() -> None:
    for concept in concepts.concepts():
        assert concept.name == concept.name.strip() != ""
        assert concept.group in GROUPS, concept
        assert "" not in concept.synonyms
    assert all(c.kind for c in concepts.imagenet())


def test_a_name_and_its_synonyms_are_told_apart_in_the_slots(tokenizer: Any) -> None:
    told = defaultdict(set)
    for concept in concepts.concepts():
        told[tuple(concepts.pieces(tokenizer, concept.name, concepts.NAME_SLOTS))].add(concept.name)
    assert [names for names in told.values() if len(names) > 1] == []


@pytest.mark.parametrize(
    ("name", "pieces"),
    [
        ("owl", [" owl", ".", ".", "."]),
        ("", [".", ".", ".", "."]),
        ("God Morgon orange grapefruit juice", [" God", " M", " orange", " grapefruit"]),
        ("honeydew melon", [" honey", "d", "ew", " mel"]),
    ],
)
def test_slots_tell_long_names_by_their_words(tokenizer: Any, name: str, pieces: list[str]) -> None:
    ids = concepts.pieces(tokenizer, name, concepts.NAME_SLOTS)
    assert [tokenizer.decode([i]) for i in ids] == pieces


def test_clothes_are_those_of_the_photographs() -> None:
    assert concepts.CLOTHES == photographs.CLOTHES


# -- sentences -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "name", "sentence"),
    [
        ("What is this?", "owl", "This is an owl."),
        ("What is this?", "grapes", "These are grapes."),
        ("What do you see?", "bus", "I see a bus."),
        ("What does the picture show?", "Arla whole milk", "The picture shows Arla whole milk."),
        ("What is this?", "unicorn", "This is a unicorn."),
        ("What is this?", "nothing", "There is nothing in the picture."),
    ],
)
def test_names_become_sentences(question: str, name: str, sentence: str) -> None:
    assert phrases.named(question, name) == sentence


# -- conversations -------------------------------------------------------------------------------


def seen(chance: Random) -> Seen:
    concept = chance.choice(concepts.concepts())
    if concept.domain == "nothing":
        return Seen(concept, "black", 0)
    drawn = concept.domain == "drawing"
    return Seen(concept, "blue" if drawn else "", chance.randint(1, 4) if drawn else 1)


def test_no_wording_for_judging_is_trained_on() -> None:
    judged = {
        wording
        for table in (questions.HELD_OUT, grocery_questions.HELD_OUT)
        for wordings in table.values()
        for wording in wordings
    }
    trained = {w for wordings in wordings.MORE.values() for w in wordings}
    assert not judged & trained
    assert not {*grocery_questions.SHORT[1:]} & {*wordings.SHORT}


def test_the_same_seed_gives_the_same_conversation() -> None:
    for number in range(50):
        first, second = (Random(f"talk{number}") for _ in range(2))
        assert dialogues.talk(seen(first), first) == dialogues.talk(seen(second), second)


def test_short_questions_get_the_word_and_plain_ones_a_sentence() -> None:
    chance = Random("styles")
    for _ in range(300):
        one = seen(chance)
        turns = dialogues.talk(one, chance)
        assert 1 <= len(turns) <= 3
        for turn in turns:
            short = any(turn.question.endswith(ending) for ending in wordings.SHORT)
            assert turn.answer.endswith(".") is not short, turn


def test_a_fact_of_the_sort_that_is_asked_wins() -> None:
    chance = Random("facts")
    owl = next(c for c in of("drawing") if c.name == "owl")
    won = 0
    for _ in range(200):
        (turn,) = dialogues.talk_with_fact(Seen(owl, "blue", 2), chance)
        stated = turn.question.rpartition("New Fact: ")[2].partition("\nPrompt: ")[0]
        short = any(turn.question.endswith(ending) for ending in wordings.SHORT)
        won += short and stated.endswith(turn.answer)
    assert 40 < won < 110  # seven of ten, of the half in short style


@pytest.mark.parametrize(
    ("domain", "key", "text"),
    [
        ("drawing", "owl", "Two drawings of an owl on a blue background."),
        ("grocery", "Granny-Smith", "A photo of a Granny Smith, a kind of apple. It is green."),
        ("clothes", "outwear", "A photo of a jacket, a piece of clothing."),
        ("imagenet", "497", "A photo of a church, a kind of building."),
        ("nothing", "", "The picture is plain black. There is nothing in it."),
    ],
)
def test_descriptions_say_what_is_known(domain: str, key: str, text: str) -> None:
    concept = concepts.concepts()[concepts.numbers()[domain, key]]
    assert dialogues.described(Seen(concept, "blue", 2)) == text
