"""A fact as a method learns it: its picture decoded, its texts checked, its samples made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from balancedit.answering.generate import check_learnable, untouched
from balancedit.errors import BalanceditError, InputError
from balancedit.inputs.pairing import Row
from balancedit.inputs.pictures import open_pictures
from balancedit.inputs.text import check_answer, check_question
from balancedit.methods import EditRequest, Method
from balancedit.models.loading import LoadedModel
from balancedit.scope.samples import negative_sample, positive_samples
from balancedit.types import Fact, FailedEdit, PositiveSource


@dataclass(frozen=True)
class PreparedFact:
    """A fact to learn. number: its place among those given; new: the model knows nothing of it;
    negative: name of the negative picture;
    seconds: how long preparing it took, most of it the model's own rephrasing where none is given.
    """

    number: int
    new: bool
    request: EditRequest
    positives_source: PositiveSource
    negative: str
    seconds: float

    @property
    def query(self) -> Row:
        """What the fact is about: its picture and question."""
        return self.request.image, self.request.question

    def failed(self, error: BalanceditError) -> FailedEdit:
        """What is said of it where it could not be learned."""
        return FailedEdit(self.number, self.request.question, error)


def prepared(loaded: LoadedModel, method: Method, number: int, fact: Fact) -> PreparedFact:
    """Check and decode one fact, and make what its scope is measured with. Called while attached.
    Raises `InputError` or `ImageError`."""
    started = time.perf_counter()
    if fact.image is None:
        raise InputError("an edit needs an image; give the picture the question is about")
    picture, question = open_pictures(fact.image), check_question(fact.question)
    answer = check_answer(fact.answer)
    anchor, anchor_name = negative_sample(fact.negative, method.negative, picture)
    check_learnable(loaded, picture, question, answer)
    with method.routing.bypass():
        positives, source = positive_samples(
            question, fact.rephrasings, method.positives, loaded.rephraser
        )
    return PreparedFact(
        number,
        fact.new,
        EditRequest(picture, question, answer, positives, anchor),
        source,
        anchor_name,
        time.perf_counter() - started,
    )


def with_untouched(
    loaded: LoadedModel, method: Method, facts: Sequence[PreparedFact]
) -> list[PreparedFact]:
    """The facts, but for new ones, with what the untouched model says to their questions. Called
    while attached."""
    if all(fact.new for fact in facts):
        return list(facts)
    said = untouched(loaded, method, [fact.query for fact in facts])  # of all, as they are asked
    return [
        fact if fact.new else replace(fact, request=replace(fact.request, untouched=text))
        for fact, text in zip(facts, said, strict=True)
    ]
