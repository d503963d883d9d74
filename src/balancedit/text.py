"""Checks and comparisons of questions and answers."""

from __future__ import annotations

import re

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
