"""What is recorded of an edit's effect, and how a routing decision is put into words."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from balancedit.inputs.pictures import picture_hash
from balancedit.inputs.text import same_text
from balancedit.types import Answer, Edit

if TYPE_CHECKING:
    from balancedit.methods import LearnedEdit
    from balancedit.teaching import PreparedFact


def record_of(
    method: str, fact: PreparedFact, learned: LearnedEdit, before: str, seconds: float
) -> Edit:
    """The record of a learned fact. before: what the model answers while it is not in force;
    seconds: how long learning it took, beside preparing it."""
    request = fact.request
    return Edit(
        id=secrets.token_hex(4),
        question=request.question,
        target=request.target,
        answer_before=before,
        answer_after=None,
        radius=learned.radius,
        d_positive=learned.d_positive,
        d_negative=learned.d_negative,
        positives=request.positives,
        positives_source=fact.positives_source,
        negative=fact.negative,
        image_sha256=picture_hash(request.image),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(fact.seconds + seconds, 3),
        steps=learned.steps,
        loss=learned.loss,
        method=method,
        old_answer=learned.old_answer,
        old_tokens=learned.old_tokens,
        overlaps=learned.overlaps,
        retires=learned.retires,
        warnings=learned.warnings,
    )


def with_outcome(edit: Edit, after: str) -> Edit:
    """The record once `after`, the answer just after the edit, is known."""
    warnings = list(edit.warnings)
    if same_text(edit.answer_before, edit.target):
        warnings.append(f"the model already answered '{edit.answer_before}' before the edit")
    if not same_text(after, edit.target):
        warnings.append(f"after the edit the model answers '{after}', not '{edit.target}'")
    return replace(edit, answer_after=after, warnings=tuple(warnings))


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
