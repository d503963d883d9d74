"""The JSON shapes of answers, edits, explanations and errors: what the command line prints with
`--json`, all in plain types. `docs/cli.md` describes them. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from balancedit.preview.preview import Preview
    from balancedit.serving.client.records import Previewed
    from balancedit.store.protocol import Binding, DamagedEdit
    from balancedit.types import Answer, Edit, Explanation, FailedEdit, Neighbour

Shape = dict[str, Any]


def answer(answered: Answer) -> Shape:
    """An answer and its routing decision: text, fired, nearest, distance, radius."""
    return asdict(answered)


def asked(question: str, answered: Answer) -> Shape:
    """A question with its answer, and the routing decision behind it."""
    return {"question": question} | _as_answered(answer(answered))


def edit(record: Edit) -> Shape:
    """The whole record of an edit."""
    return asdict(record) | {
        "old_tokens": [list(ids) for ids in record.old_tokens],
        "positives": list(record.positives),
        "retires": list(record.retires),
        "warnings": list(record.warnings),
    }


def edits(records: Iterable[Edit], damaged: Iterable[DamagedEdit], version: int) -> Shape:
    """Records of a store, which of them are left out, and why, and the store's version."""
    return {
        "edits": [edit(record) for record in records],
        "damaged": [{"id": d.id, "reason": d.reason} for d in damaged],
        "version": version,
    }


def edit_in_store(record: Edit, damaged: str | None, binding: Binding) -> Shape:
    """A record, why it is left out if it is, and what its store belongs to."""
    store = {"model": binding.model, **binding.details}
    return edit(record) | {"damaged": damaged, "store": store}


def failed_edit(failure: FailedEdit) -> Shape:
    """A fact that could not be taught, and why."""
    return {"number": failure.number, "question": failure.question, "error": str(failure.error)}


def taught(edits: Iterable[Edit], known: Iterable[Edit], failed: Iterable[FailedEdit]) -> Shape:
    """What came of many facts: edits, ids of those that were there already, failures."""
    return {
        "edits": [edit(e) for e in edits],
        "known": [e.id for e in known],
        "failed": [failed_edit(f) for f in failed],
    }


def reverted(record: Edit, restored: Sequence[Edit], active: int) -> Shape:
    """An edit that was undone, what came back, and how many are in force."""
    return {
        "id": record.id,
        "state": record.state,
        "restored": [e.id for e in restored],
        "active": active,
        "edit": edit(record),
    }


def explanation(why: Explanation) -> Shape:
    """An answer with its reason and the nearest edits, as `Explanation.to_dict` gives it."""
    return {
        "question": why.question,
        **answer(why.answer),
        "base_answer": why.base_text,
        "reason": why.reason,
        "neighbours": [_neighbour(n) for n in why.neighbours],
    }


def explained(why: Explanation) -> Shape:
    """The same with the names of `asked`."""
    return explained_as(explanation(why))


def explained_as(shape: Shape) -> Shape:
    """The shape of `explanation` with the names of `asked`."""
    shape = dict(shape)
    return {"question": shape.pop("question")} | _as_answered(shape)


def preview(made: Preview | Previewed) -> Shape:
    """An edit that was not made, and what it would change."""
    return {
        "edit": made.edit.to_dict(),
        "radius": {"chosen": made.radius, **made.bounds.to_dict()},
        "version": made.version,
        "considered": made.considered,
        "undecided": made.undecided,
        "changed": [change.to_dict() for change in made.changed],
    }


def error(message: str, kind: str) -> Shape:
    """What went wrong, and the name of the error's class."""
    return {"error": message, "kind": kind}


def _as_answered(shape: Shape) -> Shape:
    return {"answer": shape.pop("text")} | shape


def _neighbour(near: Neighbour) -> Shape:
    return {
        "id": near.edit.id,
        "question": near.edit.question,
        "target": near.edit.target,
        "distance": near.distance,
        "radius": near.radius,
        "inside": near.inside,
    }
