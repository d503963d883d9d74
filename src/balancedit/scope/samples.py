"""The positive and negative samples of an edit: what it must reach, and what it must not (paper,
Section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

from balancedit.errors import InputError
from balancedit.inputs.answers import same_question
from balancedit.inputs.images import ANCHORS
from balancedit.inputs.pictures import Picture, Shown, anchors, each, open_pictures
from balancedit.inputs.text import check_question
from balancedit.scope.rephrasing import Rephraser, Rewordings, rephrase


def positive_samples(
    question: str, rephrasings: Sequence[str], wanted: int, rephraser: Rephraser | None
) -> Rewordings:
    """Rephrasings of a question, as many as are wanted, and where they come from: the caller, or
    the model by its rephraser. Called while no edit can fire. Raises `InputError` for rephrasings
    that are none."""
    if isinstance(rephrasings, str):
        rephrasings = [rephrasings]
    if not wanted:
        return Rewordings((), "none")
    if rephrasings:
        texts = [check_question(g) for g in rephrasings]
        new = [t for t in dict.fromkeys(texts) if not same_question(t, question)]
        if not new:
            raise InputError(
                "every rephrasing given is the question itself; word it differently, or give none "
                "and the model makes its own"
            )
        return Rewordings(tuple(new), "given")
    return rephrase(question, wanted, rephraser)


def negative_sample(
    chosen: Shown | None, usual: str | None, picture: Picture
) -> tuple[Picture | None, str]:
    """What an edit must not reach, and its name; none where none is usual. chosen: one of
    `images.ANCHORS` or a picture; None takes the usual one. picture: what the edit is about. Raises
    `InputError` where one shows more pictures than the other."""
    if usual is None:
        return None, "none"
    choice = chosen if chosen is not None else usual
    if isinstance(choice, str) and choice in ANCHORS:
        return anchors(choice, picture), choice
    negative = open_pictures(choice)
    if len(each(negative)) != len(each(picture)):
        raise InputError(
            f"the edit shows {len(each(picture))} pictures, its negative {len(each(negative))}; "
            "give as many, or one of the names " + ", ".join(ANCHORS)
        )
    return negative, "given"
