"""Rephrased questions for the positive sample: the backbone's own words, or rules when those fail.

A small backbone may answer with nothing, the same question again, or another question altogether;
a positive sample made from that would measure the wrong distance. So what it says is checked, and
what fails is replaced by a plain rewording.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from balancedit.inputs.text import plain
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


def rephrase(
    question: str, n: int, rephraser: Rephraser | None
) -> tuple[tuple[str, ...], PositiveSource]:
    """n rewordings of a question that differ from it and from each other.

    The backbone is asked first, when there is one; where it gives fewer than n usable ones, all
    come from the rules, and the second value says which it was.
    """
    if rephraser is not None:
        usable = accepted(question, rephraser(question, n))
        if len(usable) >= n:
            return tuple(usable[:n]), "model"
    return tuple(by_rules(question)[:n]), "rules"


def accepted(question: str, candidates: Iterable[str]) -> list[str]:
    """The candidates that are questions, on one line, about the same thing, and new."""
    seen = {plain(question)}
    kept = []
    for candidate in candidates:
        text = candidate.strip().strip('"').strip()
        words = plain(text)
        if not words or words in seen or "\n" in text or len(text) > 3 * len(question) + 60:
            continue
        if not (text.endswith("?") or words.split()[0] in _STARTS):
            continue
        if not _same_subject(question, text):
            continue
        seen.add(words)
        kept.append(text)
    return kept


def by_rules(question: str) -> list[str]:
    """Plain rewordings of any question, most natural first; always at least six."""
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
    seen = {plain(question)}
    kept = []
    for option in options:
        if plain(option) not in seen:
            seen.add(plain(option))
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
