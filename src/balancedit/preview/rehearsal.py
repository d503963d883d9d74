"""A fact that is learned as `teaching` learns it, and neither put in force nor stored."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch

from balancedit.answering.generate import generate_answers, remembering
from balancedit.errors import EditFailedError, InputError
from balancedit.methods import EditRequest, LearnedEdit, Method
from balancedit.methods.balancedit.foresight import Foresight, Placed
from balancedit.models.loading import LoadedModel
from balancedit.preview.supposing import supposing
from balancedit.scope.again import checked, known
from balancedit.teaching import (
    PreparedFact,
    Teacher,
    prepared,
    record_of,
    with_outcome,
    with_untouched,
)
from balancedit.types import Edit, Fact


@runtime_checkable
class Foresees(Protocol):
    """What a method has beside `Method` whose edits can be previewed: a radius, and decisions that
    follow from keys and from what the untouched model says."""

    def foresee(self, edit: Edit, key: torch.Tensor) -> Foresight:
        """What would be decided if an edit that was learned were held too; key: (D,)."""

    def relations(
        self, request: EditRequest, learned: LearnedEdit
    ) -> tuple[str | None, tuple[str, ...]]:
        """Which held edit one that was learned would start from now, and which it would replace."""

    def finest(self, key: torch.Tensor) -> float:
        """The smallest radius that an edit with this key (D,) can have."""


@dataclass(frozen=True)
class Rehearsal:
    """An edit that was learned and is not in force. own: where its own question lies among the
    entries; held: the ids in force when it was learned."""

    fact: PreparedFact
    learned: LearnedEdit
    edit: Edit
    foresight: Foresight
    own: Placed
    held: tuple[str, ...]

    @property
    def tensors(self) -> Mapping[str, torch.Tensor]:
        """What it does to the layer."""
        return self.learned.tensors


def foreseeing(method: Method) -> Any:
    """The method, where its edits can be previewed. Raises `InputError`."""
    if not isinstance(method, Foresees):
        raise InputError(
            f"a preview says what lies inside an edit's radius, and which edits of '{method.name}' "
            "act on a question does not follow from that; use method='balancedit'"
        )
    return method


def rehearsed(
    loaded: LoadedModel, method: Method, teacher: Teacher, fact: Fact
) -> Rehearsal | Edit:
    """Learn one fact; an edit that teaches it already is given instead. Called while attached.
    Raises as `Editor.edit` does."""
    foresees = foreseeing(method)
    one = checked(0, fact)
    there = teacher.in_force([one])
    if there:
        return known(there[one.number])
    with remembering(loaded, method):
        ready = prepared(loaded, method, one)
        if method.asks_untouched:
            (ready,) = with_untouched(loaded, method, [ready])
        started = time.perf_counter()
        (learned,) = next(iter(method.learn_many([ready.request])))
        if isinstance(learned, EditFailedError):
            raise learned
        (before,) = generate_answers(loaded, method, [ready.query])
        seconds = time.perf_counter() - started
        edit = record_of(method.name, ready, learned, before.text, seconds)
        foresight = foresees.foresee(edit, learned.key)
        (own,) = foresight.placed(learned.key[None])
        assert learned.radius is not None
        fires = foresight.then(own, learned.radius, ready.request.untouched)
        with supposing(loaded, method, edit, learned.tensors) as supposed:
            # where it is not known what fires, the edit does: its old answer is what is said there
            (after,) = supposed.answers([ready.query], [fires.fired if fires.known else edit.id])
    held = tuple(method.active())
    return Rehearsal(ready, learned, with_outcome(edit, after.said), foresight, own, held)
