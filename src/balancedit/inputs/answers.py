"""Whether two answers are the same answer, and two questions the same question: one rule for
conflicts, warnings, old answers and what was taught before.

What is dropped is listed here, and nothing else is; what an answer may mean in some script stays:

- case, letter by letter ("HP" is "hp"); ß and ss, İ, I and ı stay different letters;
- white space around the text; inside it, every run of it counts as one space;
- full stops behind the last word, in any script ("HP." is "hp"); nothing else that ends a text, so
  "5!" is not "5";
- quotation marks around the whole;
- how a character is written: composed or decomposed (Unicode's NFC), as a full-width, half-width or
  joining form, as a ligature; a minus sign or a hyphen; a curly or a straight apostrophe;
- characters that are not seen and mean nothing by themselves: byte-order marks, soft hyphens,
  zero-width spaces, marks and controls of direction, and whether an emoji is coloured. (Joiners and
  non-joiners do mean something, and stay.)

Signs, symbols, digits of every script, accents, vowel signs and points stay: "C++" is not "C#", nor
"-5" "5", nor "कि" "का". Where nothing would be left, nothing is dropped.

A score is not this: it forgives articles and number words (`inputs/vqa.py`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

#: Unicode's names of the ways in which a character is only another one written otherwise.
_WRITTEN = ("<wide>", "<narrow>", "<isolated>", "<initial>", "<medial>", "<final>", "<noBreak>")
_LIGATURES = range(0xFB00, 0xFB18)  # Latin and Armenian: "ﬁ"
_SAME_MARK = {
    "\N{HYPHEN}": "-",
    "\N{NON-BREAKING HYPHEN}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{MODIFIER LETTER APOSTROPHE}": "'",
}
_UNSEEN = dict.fromkeys(
    (
        *(0x00AD, 0x200B, 0x2060, 0xFEFF),  # soft hyphen, zero-width spaces, byte-order mark
        *(0x061C, 0x200E, 0x200F),  # marks of direction
        *range(0x202A, 0x202F),  # embeddings and overrides
        *range(0x2066, 0x206A),  # isolates
        *(0xFE0E, 0xFE0F),  # as text, as emoji
    )
)
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
_STOPS = "".join(
    (
        ".\N{IDEOGRAPHIC FULL STOP}\N{DEVANAGARI DANDA}\N{DEVANAGARI DOUBLE DANDA}",
        "\N{ARABIC FULL STOP}\N{ARMENIAN FULL STOP}\N{ETHIOPIC FULL STOP}",
        "\N{KHMER SIGN KHAN}\N{MYANMAR SIGN SECTION}",
    )
)
#: The full stop of a script, where it is another than ".", by how Unicode's names of letters begin.
_STOP_OF = {
    **dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA"), "\N{IDEOGRAPHIC FULL STOP}"),
    **dict.fromkeys(("DEVANAGARI", "BENGALI"), "\N{DEVANAGARI DANDA}"),
}
#: What a question may stand between, beside full stops. (The Greek question mark is NFC's ";".)
_ASKING = "?!;\N{ARABIC QUESTION MARK}\N{ARMENIAN QUESTION MARK}\N{ETHIOPIC QUESTION MARK}"
_BEFORE = "\N{INVERTED QUESTION MARK}\N{INVERTED EXCLAMATION MARK} "
_QUOTED = ('""', "''", "“”", "„“", "„”", "‘'", "‚‘", "«»", "»«", "‹›", "「」", "『』", "《》")


def same_answer(a: str, b: str) -> bool:
    """True where two answers are the same answer, by the rule above."""
    return answer_form(a) == answer_form(b)


def answer_form(text: str) -> str:
    """What an answer is compared by; forming it again changes nothing."""
    folded = _folded(text)
    return _unwrapped(folded, _STOPS) or folded


def written_otherwise(text: str) -> list[str]:
    """Other ways to write an answer, each the same answer by the rule: in capitals, in small
    letters, as a sentence or a name begins; with a full stop and without."""
    bare = text.strip().rstrip(_STOPS) or text
    script = unicodedata.name(bare[-1:] or ".", "").partition(" ")[0]
    stop = next((c for c in reversed(text) if c in _STOPS), _STOP_OF.get(script, "."))
    names = " ".join(word[:1].upper() + word[1:] for word in bare.lower().split(" "))
    first, rest = bare[:1].upper(), bare[1:]
    cases = (bare, bare.lower(), bare.upper(), first + rest, first + rest.lower(), names)
    forms = dict.fromkeys(form + end for end in ("", stop) for form in cases)
    return [form for form in forms if form != text and same_answer(form, text)]


def same_question(a: str, b: str) -> bool:
    """True where two questions are the same one: the same rule, and question and exclamation marks
    around them do not count."""
    return question_form(a) == question_form(b)


def ask_the_same(some: Sequence[str], others: Sequence[str]) -> bool:
    """Whether one's question is the other's, or one of its rephrasings; each: a question, then its
    rephrasings."""
    return any(same_question(some[0], other) for other in others) or any(
        same_question(others[0], one) for one in some
    )


def question_form(text: str) -> str:
    """What a question is compared by."""
    folded = _folded(text)
    return _unwrapped(folded.lstrip(_BEFORE), _STOPS + _ASKING) or folded


def _folded(text: str) -> str:
    """A text as it is written in one case, in one way."""
    seen = "".join(_as_written(c) for c in text.translate(_UNSEEN))
    one_case = "".join(_small(c) for c in unicodedata.normalize("NFC", seen))
    return " ".join(unicodedata.normalize("NFC", one_case).split())


def _as_written(character: str) -> str:
    """The character or characters that one stands for."""
    if character.isascii():
        return character
    if character in _SAME_MARK:
        return _SAME_MARK[character]
    how, *codes = unicodedata.decomposition(character).split() or [""]
    if how in _WRITTEN or ord(character) in _LIGATURES:
        return "".join(chr(int(code, 16)) for code in codes)
    return character


def _small(character: str) -> str:
    """A letter in lower case; never another letter's, so ß stays apart from ss."""
    folded = character.casefold()
    return folded if len(folded) == 1 else character.lower()


def _unwrapped(text: str, ends: str) -> str:
    """A text without what ends it and without quotation marks around it, however nested."""
    while True:
        bare = text.rstrip(ends + " ")
        pair = bare[:1] + bare[-1:]
        if len(bare) > 1 and pair in _QUOTED and not {*pair} & {*bare[1:-1]}:
            bare = bare[1:-1].strip()
        if bare == text:
            return text
        text = bare


def wording(text: str) -> str:
    """The words of a text with single spaces between them: what two wordings of a question are
    compared by. Marks and joiners are part of a word; all punctuation and symbols are dropped."""
    parts = "".join(c if _is_of_a_word(c) else " " for c in _folded(text))
    return " ".join(parts.split())


def _is_of_a_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN" or character in _JOINERS
