from __future__ import annotations

import pytest

from balancedit.inputs.answers import wording
from balancedit.inputs.language import is_english
from balancedit.inputs.text import listed
from balancedit.scope.rephrasing import accepted, by_rules, rephrase
from languages import LANGUAGES, Language

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
    forms = {wording(m) for m in made}
    assert len(made) >= 6
    assert len(forms) == len(made)
    assert wording(question) not in forms


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
        (),
    )
    made = rephrase("What is this?", 2, lambda q, n: ["What do you see here?", "No."])
    assert (made.source, len(made.texts), made.warnings) == ("rules", 2, ())
    assert rephrase("What is this?", 1, None).source == "rules"


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_another_language_is_reworded_by_the_model_or_not_at_all(language: Language) -> None:
    asked, reworded = language.question, language.reworded
    bare = asked.rstrip("?？؟ ")
    assert not is_english(asked)
    said = [asked, "What is this?", "This is a cat.", reworded, "What do you see here?"]
    assert rephrase(asked, 1, lambda q, n: said) == ((reworded,), "model", ())
    assert rephrase(asked, 3, lambda q, n: said).texts == (reworded,), "fewer than wanted must do"
    for rephraser in (None, lambda q, n: ["Can you tell me what this is?", asked, ""]):
        texts, source, (warning,) = rephrase(asked, 6, rephraser)
        assert source == "rules"
        assert len({*texts, asked}) == 7
        assert all(wording(asked) in wording(text) for text in texts)
        assert not any("a" <= c <= "z" for text in texts for c in text.replace(bare, ""))
        assert "no rewording in the question's language" in warning
        assert "give rephrasings" in warning


@pytest.mark.parametrize(
    ("question", "candidate"),
    [
        ("这是什么？", "これは何ですか？"),  # another language in part of the script
        ("这是什么？", "这是一只猫头鹰。"),  # an answer
        ("这是什么？", "你好吗？"),  # nothing of the question in it
        ("这是什么", "这是一只猫头鹰"),
        ("นี่คืออะไร", "นี่คือนกฮูก"),
        ("Was ist das?", "What is that?"),
        ("Что это?", "Chto eto?"),
        ("What is this?", "Was ist das hier?"),
        ("What is this?", "这是什么？"),
    ],
)
def test_what_is_no_wording_of_the_question_is_dropped(question: str, candidate: str) -> None:
    assert accepted(question, [candidate]) == []


@pytest.mark.parametrize(
    "question",
    [
        *QUESTIONS[:5],
        "Describe the picture.",
        "What is a café?",
        "WHO’S THAT",
        "What does “你好” mean?",
    ],
)
def test_english(question: str) -> None:
    assert is_english(question)


@pytest.mark.parametrize(
    "question",
    [
        "Wat is dit?",
        "Ce culoare are pisica?",
        "Was ist der Name?",
        "Quelle image est-ce ?",
        "Tell hundene i bildet",
        "¿Qué significa 'what is this'?",
        "Che cosa vuol dire “the”?",
        "什么是 the？",
        "?",
        "",
    ],
)
def test_not_english(question: str) -> None:
    assert not is_english(question)


def test_lists_are_read_as_language_models_write_them() -> None:
    assert listed('1. First?\n2) "Second?"\n\n- Third?\n• Fourth?\n3: Fifth?') == [
        "First?",
        "Second?",
        "Third?",
        "Fourth?",
        "Fifth?",
    ]
