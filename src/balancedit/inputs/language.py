"""What language a question is in, as far as it matters here: whether rules of English apply to it,
and whether another wording is in its script."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from balancedit.inputs.answers import wording

#: Words of English questions that are no common words of other languages in Latin letters ("is" is
#: Dutch too, "are" Romanian, "do" Polish, "was" and "name" German, "image" French).
_ENGLISH = frozenset(
    re.findall(
        r"\S+",
        """what what's which who who's whom whose where where's when why how does did this these
        those that that's the there they their them it it's its with from you your could would
        should have many much thing something colour picture shown""",
    )
)
_QUOTED = re.compile(r"[\"“„«「].*?[\"”“»」]|(?<!\w)['‘].*?['’](?!\w)")
#: Question marks: Latin, full-width, Arabic, Armenian, Ethiopic, Greek.
QUESTION_MARKS = "?？؟՞፧;;"
_MARK_OF = {"ARABIC": "؟", "ARMENIAN": "՞", "ETHIOPIC": "፧", "GREEK": ";"} | dict.fromkeys(
    ("CJK", "KANA"), "？"
)


def is_english(text: str) -> bool:
    """Whether a question is in English: most of its letters are of plain Latin, and outside
    quotation marks it has a word that tells English from other languages. A question that has none
    ("Animal?") is taken for another language's."""
    bare = _QUOTED.sub(" ", text.lower().replace("’", "'"))
    letters = [c for c in bare if c.isalpha()]
    plain = sum(c.isascii() for c in letters)
    return 2 * plain > len(letters) and not _ENGLISH.isdisjoint(re.findall(r"[\w']+", bare))


def script(text: str) -> str:
    """The script of most of a text's letters, by Unicode's name for it; "KANA" for Japanese, which
    mixes three; empty where there is no letter."""
    letters = [c for c in wording(text) if c.isalpha()]
    names = [re.split("[ -]", unicodedata.name(c, ""))[0] for c in letters]
    if any(name in ("HIRAGANA", "KATAKANA") for name in names):
        return "KANA"
    return Counter(names).most_common(1)[0][0] if names else ""


def question_mark(text: str) -> str:
    """The question mark that belongs to a text's script."""
    return _MARK_OF.get(script(text), "?")


def written_otherwise(question: str) -> list[str]:
    """The same question written otherwise: at least six texts, whatever its language."""
    bare = question.rstrip(QUESTION_MARKS + "!. ") or question
    mark = question_mark(question)
    options = (
        bare,
        f"{bare}{mark}",
        f"{bare} {mark}",
        f"{bare}{mark}{mark}",
        f"“{question}”",
        f"- {question}",
        f"{bare} …",
        f"{question} {question}",
    )
    return [text for text in dict.fromkeys(options) if text != question]
