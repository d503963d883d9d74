"""The records that pass between the parts: what is asked for, what is held, what is answered.

They are frozen, hold no tensors, and convert to plain JSON with `to_dict`, so that the store, the
command line and a notebook all show the same thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from balancedit import shapes

if TYPE_CHECKING:
    from balancedit.errors import BalanceditError
    from balancedit.inputs.pictures import Shown

#: Prompts that go through the model together, where nothing else is asked for.
BATCH_SIZE = 32

EditState = Literal["active", "retired", "reverted"]
STATES: tuple[EditState, ...] = get_args(EditState)
#: Where an edit's rephrasings came from; "none" for a method that wants none.
PositiveSource = Literal["given", "model", "rules", "none"]


@dataclass(frozen=True)
class Answer:
    """One answer of an edited model, and the routing decision behind it.

    `nearest` is the entry that fired or, where none did, the one whose key lies nearest to the
    query; `distance` and `radius` are that entry's as applied (in the units of the editor's
    distance); all three are None while no edit is held. `fired` is the id of the edit whose
    transformation produced the text, None where the untouched model did. A method without a scope
    (FT) names its newest edit as both, and gives neither distance nor radius. `cut`: the answer had
    not come to its end when it was as long as it may be.
    """

    text: str
    fired: str | None = None
    nearest: str | None = None
    distance: float | None = None
    radius: float | None = None
    cut: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain JSON types."""
        return shapes.answer(self)


@dataclass(frozen=True)
class Edit:
    """One edit as held: the fact, its scope, and how it was learned.

    `state` is "active"; "retired" while a conflicting later edit, `retired_by`, stands in its
    place; or "reverted". Distances and the radius are in the units of the editor's distance, None
    where the method has none.
    """

    id: str
    question: str
    target: str
    answer_before: str  # what the editor answered just before the edit, free generation
    answer_after: str | None  # what it answered just after; None only while being learned
    radius: float | None  # at the time of the edit; GRACE's later edits may change it
    d_positive: float | None  # mean distance from the key to the positive samples' keys
    d_negative: float | None  # distance from the key to the negative sample's key
    positives: tuple[str, ...]  # the rephrased questions the radius was measured with
    positives_source: PositiveSource
    negative: str  # one of `images.ANCHORS`, "given", or "none" for a method that wants none
    image_sha256: str  # of the decoded RGB pixels, see `pictures.picture_hash`
    created: str  # UTC, ISO 8601
    seconds: float  # learning time, rephrasing included
    steps: int  # optimiser steps taken
    loss: float  # final training loss, nats per answer token
    method: str = "balancedit"
    old_answer: str | None = None  # the untouched model's; the edit fires where it is given
    overlaps: str | None = None  # the edit this one builds on: fine-tuned from, or (GRACE) joined
    retires: tuple[str, ...] = ()  # edits this one replaced (same fact, other answer)
    state: EditState = "active"
    retired_by: str | None = None
    warnings: tuple[str, ...] = field(default_factory=tuple)
    old_tokens: tuple[tuple[int, ...], ...] = ()  # the old answer's token ids, in each of its forms

    def to_dict(self) -> dict[str, Any]:
        """The edit as plain JSON types."""
        return shapes.edit(self)


@dataclass(frozen=True)
class KnownEdit(Edit):
    """An edit that was in force already, and answered so, when its fact was taught again: nothing
    was learned. Its last warning says so; the store's record does not have it."""


@dataclass(frozen=True)
class Fact:
    """One fact to teach, as `Editor.edit` takes it: an image, a question, the new answer, and what
    the edit's scope is made with (other wordings of the question, a negative picture, whether the
    fact is new to the model, so that what it says now does not matter)."""

    image: Shown
    question: str
    answer: str
    rephrasings: Sequence[str] = ()
    negative: Shown | None = None
    new: bool = False


@dataclass(frozen=True)
class FailedEdit:
    """A fact that could not be taught, and why; nothing of it was kept. number: its place among
    those given, from 0."""

    number: int
    question: str
    error: BalanceditError

    def to_dict(self) -> dict[str, Any]:
        """The failure as plain JSON types."""
        return shapes.failed_edit(self)


@dataclass(frozen=True)
class Neighbour:
    """An edit seen from a query: how far, how wide, and whether the query lies inside."""

    edit: Edit
    distance: float
    radius: float
    inside: bool


@dataclass(frozen=True)
class Explanation:
    """Why a query gets the answer it gets.

    `neighbours` are the nearest edits, nearest first; `base_text` is the untouched model's answer.
    """

    question: str
    answer: Answer
    base_text: str
    neighbours: tuple[Neighbour, ...]
    reason: str  # the decision in a sentence

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain JSON types."""
        return shapes.explanation(self)
