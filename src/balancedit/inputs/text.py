"""Checks of questions and answers, and lists of them as people and models write them."""

from __future__ import annotations

import re

from balancedit.errors import InputError

MAX_QUESTION = 10_000  # characters; far beyond any question, far below what stalls a tokenizer
MAX_ANSWER = 10_000  # what a model holds of it, its context says (`generate.check_prompt`)


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
    check_part(stripped, f"the {what}")
    return stripped


def check_part(text: str, what: str) -> None:
    """Raise `InputError` for characters that are no text."""
    if "\x00" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise InputError(f"{what} holds characters that are no text (a NUL or half a pair)")


def is_data_url(source: object) -> bool:
    """Whether a picture is given as a text that holds it, ``data:image/png;base64,…``."""
    return isinstance(source, str) and source[:5].lower() == "data:"


def between_commas(text: str) -> list[str]:
    """The parts of ``A,B,…``, outer spaces dropped; empty ones are left out."""
    return [part.strip() for part in text.split(",") if part.strip()]


def listed(text: str) -> list[str]:
    """The items of a list as language models write one, numbers and bullets dropped."""
    lines = (re.sub(r"^\s*(?:\d+[.):]|[-*•])\s*", "", line) for line in text.splitlines())
    return [line.strip().strip('"').strip() for line in lines if line.strip()]
