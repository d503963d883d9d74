"""Checks and comparisons of questions and answers."""

from __future__ import annotations

import re
import unicodedata

from balancedit.errors import InputError

MAX_QUESTION = 10_000  # characters; far beyond any question, far below what stalls a tokenizer
MAX_ANSWER = 1_000


def check_question(question: object) -> str:
    """A question as asked, outer spaces dropped. Raises `InputError`."""
    return _checked(question, "question", "ask something about the picture", MAX_QUESTION)


def check_answer(answer: object) -> str:
    """A new answer, outer spaces dropped. Raises `InputError`."""
    return _checked(answer, "answer", "give the text the model should answer", MAX_ANSWER)


def _checked(text: object, what: str, remedy: str, limit: int) -> str:
    if not isinstance(text, str):
        raise InputError(f"the {what} is a {type(text).__name__}, not a text; {remedy}")
    stripped = text.strip()
    if not stripped:
        raise InputError(f"the {what} is empty; {remedy}")
    if len(stripped) > limit:
        raise InputError(f"the {what} has {len(stripped):,} characters; {limit:,} is the most")
    if "\x00" in stripped or any("\ud800" <= c <= "\udfff" for c in stripped):
        raise InputError(f"the {what} holds characters that are no text (a NUL or half a pair)")
    return stripped


def plain(text: str) -> str:
    """Lower-case words separated by single spaces: what two wordings are compared by."""
    return " ".join(re.findall(r"\w+", text.lower()))


def same_text(a: str, b: str) -> bool:
    """True when two answers are the same words; where they have none, the same characters."""
    return plain(a) == plain(b) if plain(a) or plain(b) else a.strip() == b.strip()


def between_commas(text: str) -> list[str]:
    """The parts of ``A,B,…``, outer spaces dropped; empty ones are left out."""
    return [part.strip() for part in text.split(",") if part.strip()]


def listed(text: str) -> list[str]:
    """The items of a list as language models write one, numbers and bullets dropped."""
    lines = (re.sub(r"^\s*(?:\d+[.):]|[-*•])\s*", "", line) for line in text.splitlines())
    return [line.strip().strip('"').strip() for line in lines if line.strip()]


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


def _is_punctuation(character: str) -> bool:
    if character == ".":  # the full stops that are left are decimal points
        return False
    category = unicodedata.category(character)
    return (category[0] == "P" and character not in _MEANT) or character in _MARKS
