"""Rephrased questions for the positive sample: the backbone's own words, or rules when those fail.

A small backbone may answer with nothing, the same question again, another question altogether, or
in another language; a positive sample made from that would measure the wrong distance. So what it
says is checked, and what fails is replaced: by a plain rewording where the question is in English,
which is the only language that there are rules for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from balancedit.inputs.answers import wording
from balancedit.inputs.language import QUESTION_MARKS, is_english, script, written_otherwise
from balancedit.types import PositiveSource

#: (question, n) -> up to n rewordings in a model's own words, raw.
Rephraser = Callable[[str, int], list[str]]

#: Words any question about a picture may bring in without asking about something else.
_GENERIC = frozenset(
    re.findall(
        r"\w+",
        """picture image photo photograph thing object item subject shown show shows showing see
        seen here kind type name called tell please describe identify could would that this there
        these those what which where when whose does have with from about into your being been they
        their main display displayed depicted depict depicts represent represents visible look
        looking view know give answer question exactly""",
    )
)
_STARTS = frozenset(
    re.findall(
        r"\w+",
        """what which who whom whose where when why how is are was were do does did can could would
        will has have in on tell name identify describe please""",
    )
)


class Rewordings(NamedTuple):
    """Other wordings of a question, where they come from, and what is to be said about them."""

    texts: tuple[str, ...]
    source: PositiveSource
    warnings: tuple[str, ...] = ()


def rephrase(question: str, n: int, rephraser: Rephraser | None) -> Rewordings:
    """n wordings of a question that differ from it and from each other, in its language.

    The backbone is asked first, when there is one. Where it gives fewer than n usable ones, all
    come from rules: those of English for a question in English. For any other language there are
    none, so what the backbone gave must do; where that is nothing, the question itself written
    otherwise (without its mark, say) stands in, with a warning.
    """
    usable = accepted(question, rephraser(question, n)) if rephraser is not None else []
    if len(usable) >= n or (usable and not is_english(question)):
        return Rewordings(tuple(usable[:n]), "model")
    if is_english(question):
        return Rewordings(tuple(by_rules(question)[:n]), "rules")
    texts = tuple(written_otherwise(question)[:n])
    warning = (
        f"no rewording in the question's language was found; '{texts[0]}' stands in for one, and "
        "the radius is a guess: give rephrasings"
    )
    return Rewordings(texts, "rules", (warning,))


def accepted(question: str, candidates: Iterable[str]) -> list[str]:
    """The candidates that are questions in the question's language, on one line, about the same
    thing, and new."""
    fits = _fits_english if is_english(question) else _fits_other
    seen = {wording(question)}
    kept = []
    for candidate in candidates:
        text = candidate.strip().strip('"').strip()
        words = wording(text)
        if not words or words in seen or "\n" in text or len(text) > 3 * len(question) + 60:
            continue
        if not fits(question, text):
            continue
        seen.add(words)
        kept.append(text)
    return kept


def _fits_english(question: str, candidate: str) -> bool:
    """Whether a candidate is a question about the same thing, by its English words."""
    is_question = candidate.endswith("?") or wording(candidate).split()[0] in _STARTS
    return is_question and _same_subject(question, candidate)


def _fits_other(question: str, candidate: str) -> bool:
    """Whether a candidate is a question in the same script, not English, with something of the
    question's words in it. What a question looks like in a language that writes no mark is not
    known: there it must end as the question does."""
    if script(candidate) != script(question) or is_english(candidate):
        return False
    asked, said = _pairs(question), _pairs(candidate)
    if asked and len(asked & said) * 5 < len(asked):
        return False
    if candidate[-1] in QUESTION_MARKS:
        return True
    return question[-1] not in QUESTION_MARKS and wording(candidate)[-2:] == wording(question)[-2:]


def _pairs(text: str) -> set[str]:
    """All pairs of neighbouring letters: words of a text whose language may not part them."""
    letters = wording(text).replace(" ", "")
    return {letters[i : i + 2] for i in range(len(letters) - 1)}


def by_rules(question: str) -> list[str]:
    """Plain rewordings of any English question, most natural first; always at least six."""
    core = question.strip()
    bare = core.rstrip("?!. ").strip() or core
    lowered = bare if _is_name(bare) else bare[:1].lower() + bare[1:]
    swapped = _swap(core)
    options = [
        *([swapped] if swapped else []),
        f"Can you tell me {lowered}?",
        f"Looking at the picture, {lowered}?",
        f"Please answer: {lowered}?",
        f"I would like to know: {lowered}?",
        f"{bare}, going by what is shown?",
        f"In the image, {lowered}?",
        f"Tell me, {lowered}?",
    ]
    return _distinct(core, options)


def _distinct(question: str, options: Iterable[str]) -> list[str]:
    """Options that differ from the question and from each other, in order."""
    seen = {wording(question)}
    kept = []
    for option in options:
        if wording(option) not in seen:
            seen.add(wording(option))
            kept.append(option)
    return kept


_SWAPS = (
    (r"^what is this\b", "what is shown here"),
    (r"^what's\b", "what is"),
    (r"\bpicture\b", "image"),
    (r"\bimage\b", "picture"),
    (r"\bphoto(graph)?\b", "picture"),
    (r"^what (color|colour)\b", r"which \1"),
    (r"^what (kind|type|sort|brand|breed|species|category|group)\b", r"which \1"),
    (r"^which\b", "what"),
    (r"\bshown here\b", "in the picture"),
)


def _swap(question: str) -> str | None:
    for pattern, replacement in _SWAPS:
        new, count = re.subn(pattern, replacement, question, count=1, flags=re.IGNORECASE)
        if count:
            return new[:1].upper() + new[1:] if question[:1].isupper() else new
    return None


def _is_name(text: str) -> bool:
    """True when the first word is one whose capital must stay (an acronym)."""
    first = text.split()[0] if text.split() else ""
    return len(first) > 1 and first.isupper()


def _content(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {w[:5] for w in words if len(w) > 3 and w not in _GENERIC}


def _same_subject(question: str, candidate: str) -> bool:
    asked, content = _content(question), _content(candidate)
    if asked and len(asked & content) * 2 < len(asked):
        return False
    return len(content - asked) <= (2 if asked else 0)
