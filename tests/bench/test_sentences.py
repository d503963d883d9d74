"""The rule for answers in sentences against sentences judged by hand, and what it must never do."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from balancedit.bench.sentences import affirmed, gives, same_answer
from balancedit.data.photo_facts import VOCABULARY
from balancedit.models.pocket.grocery_questions import SORTS

with (Path(__file__).parent / "sentences.tsv").open(newline="") as file:
    JUDGED = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_the_rule_agrees_with_judgement_by_hand() -> None:
    assert len(JUDGED) >= 200
    assert {row["sort"] for row in JUDGED} == {*SORTS}
    said = Counter(row["gives"] for row in JUDGED)
    assert said.keys() == {"yes", "no"}
    assert min(said.values()) > len(JUDGED) / 3
    wrong = [
        row
        for row in JUDGED
        if gives(row["sentence"], row["answer"], row["sort"], VOCABULARY) != (row["gives"] == "yes")
    ]
    assert len(wrong) <= 0.02 * len(JUDGED), wrong


@pytest.mark.parametrize("sort", SORTS)
def test_every_listed_answer_is_given_by_its_own_words_alone(sort: str) -> None:
    for answer in VOCABULARY.answers[sort]:
        sentence = f"{answer}, I would say." if sort == "yesno" else f"This is {answer}."
        given = [a for a in VOCABULARY.answers[sort] if gives(sentence, a, sort, VOCABULARY)]
        assert given == [answer]


def test_without_a_vocabulary_the_answer_alone_is_listed() -> None:
    assert gives("This is a lenovo laptop.", "Lenovo", "name", None)
    assert not gives("This is not a lenovo.", "lenovo", "name", None)
    assert not gives("This is an hp.", "lenovo", "name", None)
    assert gives("No, it is not.", "no", "yesno", None)
    assert gives("42", "forty-two", "count", None) is False


def test_the_answer_itself_is_always_given() -> None:
    assert gives("not an apple", "not an apple", "name", None)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("This is an apple.", "It's an apple.", True),
        ("This is an apple.", "This is a pear.", False),
        ("This is an apple.", "This is not an apple.", False),
        ("It is a red apple.", "It is an apple.", False),  # the color is gone
        ("I do not know.", "i do not know", True),
        ("I do not know.", "Who can say.", False),
        ("It is a ship.", "It is a boat.", False),
        ("Yes, it is a fruit.", "Yes, a fruit.", True),
        ("Yes, it is a fruit.", "No, it is a fruit.", False),
    ],
)
def test_the_same_answer(before: str, after: str, same: bool) -> None:
    assert same_answer(before, after, VOCABULARY) is same
    assert same_answer(after, before, VOCABULARY) is same


def test_the_same_answer_without_a_vocabulary_is_the_same_words() -> None:
    assert same_answer("An apple.", "an apple", None)
    assert not same_answer("An apple.", "It is an apple.", None)


def test_hostile_texts_affirm_nothing_and_end() -> None:
    listed = VOCABULARY.answers["kind"]
    for text in ("", "?!,.", "\x00", "not " * 5000, "(" * 5000, "\u2019s", "é" * 999):
        assert affirmed(text, listed) == set()
    assert affirmed("apple " * 5000, listed) == {"apple"}
