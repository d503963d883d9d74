"""The form in which answers are compared when visual question answering is scored: forgiving, and
no rule of whether two answers are the same one (`inputs/answers.py`)."""

from __future__ import annotations

import re
import unicodedata

from balancedit.inputs.answers import answer_form

#: Number words and the digits they stand for; "none" counts as nothing, as the VQA scoring has it.
_NUMBERS = {
    "none": "0",
    "zero": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
}
_ARTICLES = frozenset({"a", "an", "the"})
_MEANT = frozenset("%&#*$")  # punctuation that belongs to an answer: "50 %", "AT&T", "C#"
_MARKS = frozenset("=+<>`^|~_")  # counted among the symbols, but used as punctuation


def vqa_answer(text: str) -> str:
    """An answer in the form in which VQA answers are compared (Antol et al. 2015).

    Lower case; articles dropped; number words up to ten as digits; apostrophes, full stops (not
    decimal points) and the commas inside numbers dropped; all other punctuation is a space. Empty
    where nothing else is left.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub(r"['\u2018\u2019]|(?<!\d)\.|\.(?!\d)|(?<=\d),(?=\d{3})", "", text)
    words = "".join(" " if _is_punctuation(c) else c for c in text).split()
    return " ".join(_NUMBERS.get(word, word) for word in words if word not in _ARTICLES)


#: A plus or a minus before a number, or directly behind a word: "-5", "A+", "C++".
_SIGNED = re.compile(r"(?<!\w)[-+](?=[\d.])|(?<=\w)[-+]+(?!\w)")


def signs(text: str) -> list[str]:
    """The signs of an answer, which VQA's form takes for punctuation."""
    return _SIGNED.findall(answer_form(text))


def _is_punctuation(character: str) -> bool:
    if character == ".":  # the full stops that are left are decimal points
        return False
    category = unicodedata.category(character)
    return (category[0] == "P" and character not in _MEANT) or character in _MARKS
