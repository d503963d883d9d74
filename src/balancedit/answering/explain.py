"""Why a question gets the answer it gets, and how the routing decision is put into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from balancedit.answering.ask import How
from balancedit.answering.generate import generate_answers, remembering
from balancedit.answering.protocol import Answers
from balancedit.codebook.codebook import Match
from balancedit.inputs.conversation import Asked, question_of
from balancedit.inputs.pairing import Row
from balancedit.inputs.pictures import Picture
from balancedit.models.loading import LoadedModel
from balancedit.store import EditStore
from balancedit.types import Answer, Edit, Explanation, Neighbour


class Explains(Answers, Protocol):
    """The edits in force, as a question is placed among them."""

    def neighbours(self, image: Picture | None, question: Asked, most: int) -> Sequence[Match]:
        """The `most` nearest edits as seen from a query, nearest first."""


def explain_answer(
    loaded: LoadedModel, method: Explains, store: EditStore, row: Row, nearest: int, how: How
) -> Explanation:
    """Ask a question about an image with the edits in force and without, and find its `nearest`
    edits. Called while attached."""
    with remembering(loaded, method):
        answer = generate_answers(loaded, method, [row], **how)[0].answer
        with method.routing.bypass():
            base = generate_answers(loaded, method, [row], **how)[0].text
        matches = method.neighbours(*row, nearest)
    edits = store.records([m.id for m in matches] + ([answer.nearest] if answer.nearest else []))
    neighbours = tuple(Neighbour(edits[m.id], m.distance, m.radius, m.inside) for m in matches)
    return Explanation(question_of(row[1]), answer, base, neighbours, reason(answer, base, edits))


def reason(answer: Answer, base: str, edits: Mapping[str, Edit]) -> str:
    """The routing decision in a sentence."""
    if answer.nearest is None:
        return "No edit is held, so the untouched model answers."
    edit = edits[answer.nearest]
    fact = f"{edit.id} ('{edit.question}' → '{edit.target}')"
    if answer.radius is None or answer.distance is None:
        which = "newest" if answer.distance is None else "nearest"
        return (
            f"Edit {fact}, the {which}, fires: {edit.method} has no radius and acts on every "
            f"prompt; the untouched model would say '{base}'."
        )
    if answer.fired is None and answer.distance <= answer.radius:
        return (
            f"No edit fires: the nearest, {fact}, lies at distance {answer.distance:.4g}, inside "
            f"its radius {answer.radius:.4g}, but the untouched model says '{base}' here, not the "
            f"fact's old answer '{edit.old_answer}'."
        )
    if answer.fired is None:
        return (
            f"No edit fires: the nearest, {fact}, lies at distance {answer.distance:.4g}, outside "
            f"its radius {answer.radius:.4g}."
        )
    return (
        f"Edit {fact} fires: it lies at distance {answer.distance:.4g}, inside its radius "
        f"{answer.radius:.4g}; the untouched model would say '{base}'."
    )
