from __future__ import annotations

import pytest

from balancedit.inputs.text import listed, plain
from balancedit.scope.rephrasing import accepted, by_rules, rephrase

QUESTIONS = [
    "What is this?",
    "What brand is this computer?",
    "Which animal is shown here?",
    "NASA built what?",
    "how many wheels",
    "Describe the picture.",
    "Was ist das?",
    "?",
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_rules_give_at_least_six_different_rewordings_of_anything(question: str) -> None:
    made = by_rules(question)
    forms = {plain(m) for m in made}
    assert len(made) >= 6
    assert len(forms) == len(made)
    assert plain(question) not in forms


def test_rules_keep_acronyms() -> None:
    assert all("NASA" in m for m in by_rules("NASA built what?"))


@pytest.mark.parametrize(
    "candidate",
    [
        "",
        "What brand is this computer",  # the question itself
        "WHAT BRAND IS THIS COMPUTER??",
        "It is a computer of the brand HP.",  # an answer
        "What is the capital of France?",  # another question
        "What brand is this computer, and which company in California sells expensive printers?",
        "Which brand\nis this computer?",
        "Which brand is this computer? " * 20,
    ],
)
def test_unusable_candidates_are_dropped(candidate: str) -> None:
    assert accepted("What brand is this computer?", [candidate]) == []


def test_usable_candidates_are_kept_once_and_in_order() -> None:
    given = [
        "Which brand made this computer?",
        '"Name the brand of the computer."',
        "WHICH BRAND made this computer?",
    ]
    assert accepted("What brand is this computer?", given) == [
        "Which brand made this computer?",
        "Name the brand of the computer.",
    ]


def test_a_question_without_content_words_takes_no_new_subject() -> None:
    assert accepted("What is this?", ["What is a capital city?"]) == []
    assert accepted("What is this?", ["What does the picture show?"])


def test_the_model_is_asked_first_and_rules_stand_in() -> None:
    assert rephrase("What is this?", 1, lambda q, n: ["What do you see here?"]) == (
        ("What do you see here?",),
        "model",
    )
    made, source = rephrase("What is this?", 2, lambda q, n: ["What do you see here?", "No."])
    assert source == "rules"
    assert len(made) == 2
    assert rephrase("What is this?", 1, None)[1] == "rules"


def test_lists_are_read_as_language_models_write_them() -> None:
    assert listed('1. First?\n2) "Second?"\n\n- Third?\n• Fourth?\n3: Fifth?') == [
        "First?",
        "Second?",
        "Third?",
        "Fourth?",
        "Fifth?",
    ]
