"""Which answers are the same answer, and which questions the same question."""

from __future__ import annotations

import itertools

import pytest

from balancedit.inputs.answers import (
    answer_form,
    question_form,
    same_answer,
    same_question,
    wording,
)
from languages import LANGUAGES, Language

#: Answers that are all different from one another: what tells them apart is a sign, a symbol, a
#: digit, a mark or a joiner.
DIFFERENT = (
    *("C++", "C#", "C", "C--", "c*"),
    *("A+", "A-", "A", "A±"),
    *("-5", "5", "+5", "5!", "5?", "5%", "$5", "€5", "5°", "5'", "5''", "−0.5", ".5", "٥", "５0"),
    *("10²", "102", "10₂", "½", "1/2", "x²", "x2"),
    *("<", ">", "=", "≠", "≤", "?", "!", ".", "..", "…", "-", "—", "*", '"'),
    *("AT&T", "AT T", "T-shirt", "T shirt", "U.S.A.", "USA", "3.5", "35", "1,5", "15"),
    *("👍", "👎", "👍🏽", "👩‍💻", "👩💻", "♂", "♀"),
    *("İstanbul", "istanbul", "ıstanbul"),
    *("naïve", "naive", "resume", "résumé", "resumé"),
)
#: Ways to write one answer.
SAME = (
    ("hp", "HP", "HP.", " hp ", "Hp...", '"HP."', "“hp”.", "‘hp’", "ＨＰ", "h\u00adp", "\ufeffhp"),
    ("-5", "\u22125", "\u20105", "－5", "-5."),
    ("don't know", "don’t know", "Don't  know", "don't\u00a0know", "don't\nknow."),
    ("office", "oﬃce", "OFFICE"),
    ("❤", "❤\ufe0f"),
    ("ὈΔΥΣΣΕΎΣ", "Ὀδυσσεύς", "ὀδυσσεύσ"),
    ("ÅNGSTRÖM", "\u212bngström", "A\u030angstro\u0308m"),
)


@pytest.mark.parametrize("ways", SAME, ids=lambda ways: str(ways[0]))
def test_one_answer_may_be_written_in_many_ways(ways: tuple[str, ...]) -> None:
    assert len({answer_form(way) for way in ways}) == 1


def test_what_carries_meaning_tells_answers_apart() -> None:
    for a, b in itertools.combinations(DIFFERENT, 2):
        assert not same_answer(a, b), (a, b)
        assert not same_answer(f"about {a} x.", f"about {b} x."), (a, b)


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_in_any_language(language: Language) -> None:
    assert len({answer_form(way) for way in language.same}) == 1
    apart = [answer_form(other) for other in (language.same[0], *language.others)]
    assert len(set(apart)) == len(apart)
    assert not same_question(language.question, language.reworded)
    assert same_question(language.question, language.question.rstrip("?？؟ "))
    assert same_question(language.question, f" {language.question} ")


def test_no_answer_is_nothing_and_forming_again_changes_nothing() -> None:
    everything = [
        *DIFFERENT,
        *itertools.chain(*SAME),
        *[x for la in LANGUAGES for x in la[1] + la[2]],
    ]
    for text in (*everything, '"."', "'' .", "« »", "«».", "?!", "¿?"):
        for form in (answer_form, question_form):
            once = form(text)
            assert once, text
            assert form(once) == once, text


def test_questions_are_the_same_whatever_marks_they_stand_between() -> None:
    for other in (
        "What is this?",
        "what is this",
        "WHAT IS THIS??",
        '"What is this?"',
        "What is this!",
    ):
        assert same_question("What is this?", other)
    assert same_question("¿Qué es esto?", "Qué es esto")
    assert same_question("Τι είναι;", "Τι είναι\u037e")
    for a, b in (("Is this C++?", "Is this C#?"), ("Is it -5?", "Is it 5?"), ("यह कि?", "यह का?")):
        assert not same_question(a, b)


def test_a_wording_keeps_the_marks_of_its_words() -> None:
    assert wording("यह क्या है?") == "यह क्या है"
    assert wording("What's THIS, then?") == "what s this then"
    assert wording("می‌خواهم!") == "می‌خواهم"
    assert wording("…") == ""
