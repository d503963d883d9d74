"""Replies as language models write them, and what becomes of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from balancedit.data.building.facts import Fact
from balancedit.data.building.steps import (
    COUNTERFACTUAL,
    KIND,
    KINDS,
    LOCALITY_ANSWER,
    LOCALITY_OBJECT,
    OBJECT,
    REPHRASES,
    TEXT_STEPS,
    Rejected,
    short_answer,
)
from balancedit.data.sample import FileImage

FACT = Fact("1", FileImage(Path(), "a.png"), "What brand is it?", "HP", "brands")
DONE = {COUNTERFACTUAL: "lenovo", OBJECT: "a laptop", LOCALITY_ANSWER: "dell"}
STEPS = {step.name: step for step in TEXT_STEPS}


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("[lenovo]", "lenovo"),
        ("The counterfactual answer: [lenovo].", "lenovo"),
        ("C: [dell]", "dell"),
        ("C: dell", "dell"),
        ("[C: dell]", "dell"),
        ("  dell.\nbecause it is similar", "dell"),
        ('"dell"', "dell"),
        ("The object should be: a red bus", "a red bus"),
        ("The image should show a red bus.", "a red bus"),
        ("The objects in the image should be a red bus", "a red bus"),
    ],
)
def test_short_answers(reply: str, answer: str) -> None:
    assert short_answer(reply) == answer


@pytest.mark.parametrize("reply", ["", "[]", "  \n", "?!", " ".join(["word"] * 20)])
def test_what_is_no_short_answer(reply: str) -> None:
    with pytest.raises(Rejected):
        short_answer(reply)


@pytest.mark.parametrize("reply", ["[hp]", "[HP.]", "[ Hp ]"])
def test_a_counterfactual_differs_from_the_answer(reply: str) -> None:
    with pytest.raises(Rejected, match="is the true answer"):
        STEPS[COUNTERFACTUAL].read(reply, FACT, {}, 10)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("[Question: What brand is it?, answer: HP]", "repeats the question"),
        ("[Which brand?]", "repeats the question"),
        ("[lenovo is what brand is it]", "repeats the question"),
        ("[an hp laptop]", "holds the true answer"),
    ],
)
def test_a_counterfactual_is_an_answer(reply: str, said: str) -> None:
    with pytest.raises(Rejected, match=said):
        STEPS[COUNTERFACTUAL].read(reply, FACT, {}, 10)
    assert STEPS[COUNTERFACTUAL].read("[hpe]", FACT, {}, 10) == "hpe"


def test_a_third_answer_differs_from_both() -> None:
    read = STEPS[LOCALITY_ANSWER].read
    assert read("C: [dell]", FACT, DONE, 10) == "dell"
    with pytest.raises(Rejected, match="is the counterfactual"):
        read("C: [Lenovo]", FACT, DONE, 10)
    with pytest.raises(Rejected, match="is the true answer"):
        read("C: [hp]", FACT, DONE, 10)


def test_rephrasings_are_questions_that_differ() -> None:
    read = STEPS[REPHRASES].read
    assert read("Sure:\n1. Which brand?\n2) Whose make is it?", FACT, {}, 2) == [
        "Which brand?",
        "Whose make is it?",
    ]
    for reply in (
        "Which brand?\nwhich BRAND?",
        "Which brand?\nIt is an HP.",
        "Which brand?\nWhat brand is it?",
        "",
    ):
        with pytest.raises(Rejected, match="of 2 rephrasings"):
            read(reply, FACT, {}, 2)


def test_the_kind() -> None:
    read = STEPS[KIND].read
    assert read("[Image-Text based], because", FACT, DONE, 10) == KINDS[0]
    assert read("it is text-based", FACT, DONE, 10) == KINDS[1]
    with pytest.raises(Rejected, match="neither"):
        read("both", FACT, DONE, 10)


def test_prompts_are_the_papers() -> None:
    assert STEPS[REPHRASES].prompt(FACT, {}, 10) == (
        "Please rephrase the following question in 10 different ways: What brand is it?"
    )
    assert (
        STEPS[OBJECT]
        .prompt(FACT, {}, 10)
        .startswith(
            "Given (question: What brand is it?, answer: HP), what object should be in the image?"
        )
    )
    assert "answer: dell)" in STEPS[LOCALITY_OBJECT].prompt(FACT, DONE, 10)
    assert "A: [HP], B: [lenovo]" in STEPS[LOCALITY_ANSWER].prompt(FACT, DONE, 10)


def test_worked_examples_pass_their_own_checks() -> None:
    about = {
        "question": "What animal is on the sofa?",
        "answer": "cat",
        "image": FileImage(Path(), "a.png"),
    }
    fact = Fact(id="1", category="animals", **about)
    done: dict = {}
    for step in TEXT_STEPS:
        if example := step.example():
            asked, reply = example
            done[step.name] = step.read(reply, fact, done, 10)
            assert asked == step.prompt(fact, done, 10)
    assert done[LOCALITY_ANSWER] == "rabbit"
    assert STEPS[REPHRASES].example() is None
