"""Whether a sentence gives an answer, and whether two texts give the same one.

A text *affirms* a listed answer where it names it, or a synonym, in whole words and in the singular
or plural, and says so of nothing else: the rule is written out in docs/benchmark.md, and
tests/bench/sentences.jsonl holds sentences judged by hand. This module knows nothing about models.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from balancedit.bench.metrics import exact_match
from balancedit.data.vocabulary import Vocabulary
from balancedit.inputs.answers import same_answer as same_text

Listed = Mapping[str, tuple[str, ...]]  # answer -> synonyms

YES_NO = frozenset({"yes", "no"})
_YES = frozenset({"yes", "yeah", "yep", "yup", "correct", "indeed", "certainly", "absolutely"})
_NO = frozenset({"no", "nope", "nah"})

#: Words after which, up to the end of the clause, nothing is affirmed.
_NEGATORS = frozenset(
    {"not", "no", "never", "neither", "nor", "without", "cannot", "hardly"}
    | {"unlike", "than", "besides", "except", "whether", "if"}
)
#: Sequences that do the same, and those that hold a negator and do not.
_NEGATING = ("instead of", "anything but", "far from", "similar to")
_HARMLESS = (
    *("not only", "not just", "no doubt", "without doubt", "without a doubt", "no question"),
    *("nothing but", "if anything"),
)
#: Said in place of an answer, these are no "no".
_UNSURE = re.compile(
    r"\b(?:not (?:\w+ )?(?:sure|certain|clear|possible)|don't know|do not know|"
    r"(?:can't|cannot|can not|couldn't|could not) (?:\w+ )?(?:tell|say|see|determine|answer))\b"
)
#: Words that make of a name before them something else: an apple pie is no apple.
_HEADS = frozenset(
    {"tree", "trees", "plant", "peel", "crate", "box", "stand", "section", "aisle", "season"}
    | {"pie", "cake", "soup", "sauce", "jam", "salad", "puree", "juice", "flavor", "flavour"}
    | {"flavored", "flavoured", "colored", "coloured", "shaped", "scented", "free", "based"}
)
MOST = 400  # tokens that are looked at: no answer to a question of the data is longer
_ENDS = frozenset(".;!?")
_TOKEN = re.compile(r"\w+(?:'\w+)*|[.,;!?:()]")


@dataclass(frozen=True)
class _Mention:
    """Tokens from `start` to before `end` name `answer`; None: a phrase that gives none."""

    start: int
    end: int
    answer: str | None


def gives(text: str, answer: str, sort: str, vocabulary: Vocabulary | None) -> bool:
    """Whether a text gives an answer: it is the answer (`exact_match`), or it affirms it and no
    other listed answer to the sort of question. Without a vocabulary the answer alone is listed."""
    if exact_match(text, answer):
        return True
    return affirmed(text, *_listed(answer, sort, vocabulary)) == {answer}


def same_answer(before: str, after: str, vocabulary: Vocabulary | None) -> bool:
    """Whether two texts affirm the same listed answers, whatever they are asked; where neither
    affirms any, whether they are the same words."""
    if vocabulary is None or same_text(before, after):
        return same_text(before, after)
    found = [
        {
            (sort, answer)
            for sort, listed in vocabulary.answers.items()
            for answer in affirmed(text, listed, vocabulary.ignored.get(sort, ()))
        }
        for text in (before, after)
    ]
    return bool(found[0]) and found[0] == found[1]


def _listed(answer: str, sort: str, vocabulary: Vocabulary | None) -> tuple[Listed, Iterable[str]]:
    if vocabulary is not None and answer in vocabulary.answers.get(sort, {}):
        return vocabulary.answers[sort], vocabulary.ignored.get(sort, ())
    return ({"yes": (), "no": ()} if answer in YES_NO else {answer: ()}), ()


def affirmed(text: str, listed: Listed, ignored: Iterable[str] = ()) -> set[str]:
    """The listed answers that a text affirms."""
    clean = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    tokens = _TOKEN.findall(clean.replace("-", " ").replace("\n", ". "))[:MOST]
    if listed.keys() == YES_NO:
        return _yes_or_no(tokens, clean)
    mentions = _mentions(tokens, listed, ignored)
    starts = {m.start for m in mentions}
    standing = [m for m in mentions if not _modifies(m, tokens, starts)]
    said = [m for m in standing if m.answer and not _denied(m, tokens)]
    return {m.answer for m in said if m.answer and not _overruled(m, said, tokens)}


def _yes_or_no(tokens: list[str], text: str) -> set[str]:
    """The word a sentence begins with; else "no" where the text denies something."""
    starts = [
        word
        for before, word in zip([".", *tokens], tokens, strict=False)
        if before in _ENDS or before in {",", "well", "so", "and", "or"}
    ]
    begun = {"yes" for word in starts if word in _YES} | {"no" for word in starts if word in _NO}
    if begun or _UNSURE.search(text) or "?" in tokens:
        return begun
    denied = any(t == "not" or t.endswith("n't") for t in tokens)
    return {"no"} if denied else set()


def _mentions(tokens: list[str], listed: Listed, ignored: Iterable[str]) -> list[_Mention]:
    """Every naming, the longest where several begin at one place, none inside another."""
    names: dict[tuple[str, ...], str | None] = {_words(phrase): None for phrase in ignored}
    for answer, synonyms in listed.items():
        names |= {_words(name): answer for name in (*synonyms, answer)}
    longest = max(map(len, names), default=0)
    found, at = [], 0
    while at < len(tokens):
        for length in range(min(longest, len(tokens) - at), 0, -1):
            words = tokens[at : at + length]
            keys = [(*words[:-1], last) for last in _singulars(words[-1])]
            key = next((k for k in keys if k in names), None)
            if key is not None:
                found.append(_Mention(at, at + length, names[key]))
                at += length
                break
        else:
            at += 1
    return found


def _words(name: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(name.casefold().replace("-", " ")))


def _singulars(word: str) -> list[str]:
    """A word, and what it may be the plural of."""
    found = [word]
    if word.endswith("s") and len(word) > 3:
        found.append(word[:-1])
        if word.endswith("ies"):
            found.append(word[:-3] + "y")
        if word.endswith("es"):
            found.append(word[:-2])
        if word.endswith("ves"):
            found += [word[:-3] + "f", word[:-3] + "fe"]
    return found


def _modifies(mention: _Mention, tokens: list[str], starts: set[int]) -> bool:
    """Whether it stands before the word it describes: the orange of an orange carrot, the apple of
    an apple pie."""
    end = mention.end
    return end in starts or (end < len(tokens) and tokens[end] in _HEADS)


def _denied(mention: _Mention, tokens: list[str]) -> bool:
    """Whether a negator stands before it in its clause, or it is asked about."""
    begin = mention.start
    while begin > 0 and not _is_boundary(tokens, begin - 1):
        begin -= 1
    clause = tokens[begin : mention.start]
    spoken = f" {' '.join(clause)} "
    for phrase in _HARMLESS:
        spoken = spoken.replace(f" {phrase} ", " ")
    words = spoken.split()
    asked = next((t for t in tokens[mention.end :] if t in _ENDS), ".") == "?"
    return (
        asked
        or any(word in _NEGATORS or word.endswith("n't") for word in words)
        or any(f" {phrase} " in spoken for phrase in _NEGATING)
    )


def _is_boundary(tokens: list[str], at: int) -> bool:
    """Whether a clause ends with this token."""
    token = tokens[at]
    if token == "but":
        return at == 0 or tokens[at - 1] not in {"nothing", "anything"}
    return token in _ENDS or token in {",", ":", "(", ")"}


def _overruled(mention: _Mention, said: list[_Mention], tokens: list[str]) -> bool:
    """Whether a later part of its sentence takes it back: it looks like a lime but is a lemon."""
    for other in said:
        if other.answer != mention.answer and other.start > mention.end:
            between = tokens[mention.end : other.start]
            if not _ENDS & {*between} and ("but" in between or "or rather" in " ".join(between)):
                return True
    return False
