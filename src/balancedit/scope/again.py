"""The same fact taught again: which facts are the same, and whether an edit teaches one already.

A file of facts that is run again, after an interruption, should learn what is missing and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property

from balancedit.errors import InputError
from balancedit.inputs.answers import answer_form, question_form
from balancedit.inputs.images import ANCHORS
from balancedit.inputs.pairing import Row
from balancedit.inputs.pictures import Picture, open_pictures, picture_hash
from balancedit.inputs.text import check_answer, check_question
from balancedit.types import Edit, Fact, KnownEdit


@dataclass(frozen=True)
class CheckedFact:
    """A fact as it was given, checked and decoded. number: its place among those given."""

    number: int
    given: Fact
    picture: Picture
    question: str
    answer: str

    @cached_property
    def name(self) -> tuple[str, str, str]:
        """What tells facts apart: picture, question and answer."""
        return picture_hash(self.picture), question_form(self.question), answer_form(self.answer)

    @property
    def query(self) -> Row:
        """What the fact is about: its picture and question."""
        return self.picture, self.question


def checked(number: int, fact: Fact) -> CheckedFact:
    """Check and decode one fact. Raises `InputError` or `ImageError`."""
    if fact.image is None:
        raise InputError("an edit needs an image; give the picture the question is about")
    picture, question = open_pictures(fact.image), check_question(fact.question)
    return CheckedFact(number, fact, picture, question, check_answer(fact.answer))


def asked_alike(edit: Edit, fact: Fact, *, rephrased: bool, bounded: bool) -> bool:
    """Whether an edit was made as a fact about it now asks: with those rephrasings and that
    negative picture, where it gives any (one that has no name is taken for the same), and as new
    where it is. rephrased, bounded: whether the method wants rephrasings, and a negative."""
    if rephrased and fact.rephrasings:
        given = [fact.rephrasings] if isinstance(fact.rephrasings, str) else fact.rephrasings
        asked = {question_form(str(text)) for text in given} - {question_form(edit.question)}
        if edit.positives_source != "given" or asked != {*map(question_form, edit.positives)}:
            return False
    if bounded and fact.negative is not None:
        named = isinstance(fact.negative, str) and fact.negative in ANCHORS
        if edit.negative != (fact.negative if named else "given"):
            return False
    return not fact.new or edit.old_answer is None


def no_fact_twice(facts: Iterable[CheckedFact]) -> Iterator[list[CheckedFact]]:
    """The facts in their order, parted wherever one comes again that was there since the last
    part: whether it is learned again depends on what became of it."""
    part: list[CheckedFact] = []
    for fact in facts:
        if any(fact.name == other.name for other in part):
            yield part
            part = []
        part.append(fact)
    yield part


def known(edit: Edit) -> KnownEdit:
    """An edit whose fact was taught again, with that said."""
    said = "this was taught before and is answered so; nothing was learned (revert the edit first)"
    held = {field.name: getattr(edit, field.name) for field in fields(Edit)}
    return KnownEdit(**held | {"warnings": (*edit.warnings, said)})
