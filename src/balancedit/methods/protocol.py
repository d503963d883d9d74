"""What an editing method must offer so that `Editor` can drive it.

There is no base class to inherit from: a method is any object with these members. The editor owns
the model, the prompts, generation, the records and the store; a method owns how a fact is learned,
how what was learned is held, and how it is applied while attached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch

from balancedit.codebook.codebook import Match
from balancedit.errors import EditFailedError
from balancedit.inputs.pairing import Asked, Row
from balancedit.inputs.pictures import Picture
from balancedit.layer.decisions import AnswerIds, Said
from balancedit.methods.routed import RoutedLayer
from balancedit.models.loading import LoadedModel
from balancedit.store.protocol import HeldEdits
from balancedit.types import Edit


@dataclass(frozen=True)
class EditRequest:
    """One fact to learn, checked and decoded.

    `positives` are rephrasings of `question`, at least one, and `negative` is the picture of the
    negative sample; empty and None for a method that wants none. `untouched` is what the untouched
    model says to the question; None for a method that does not ask, and for a fact that is new.
    """

    image: Picture
    question: str
    target: str
    positives: tuple[str, ...]
    negative: Picture | None
    untouched: Said | None = None


@dataclass(frozen=True)
class LearnedEdit:
    """What learning produced; nothing of it is in force until `Method.add`.

    key: (D,) float32, D = width of the key layer's input. old_answer: what the untouched model must
    say where the edit fires; None: it does not matter. old_tokens: its token ids, in each of its
    forms. tensors: what applying the edit needs, by name, on the CPU, ready for safetensors. Radius
    and distances are None where the method has none.
    """

    key: torch.Tensor
    tensors: Mapping[str, torch.Tensor]
    steps: int
    loss: float
    radius: float | None = None
    d_positive: float | None = None
    d_negative: float | None = None
    old_answer: str | None = None
    old_tokens: tuple[AnswerIds, ...] = ()
    overlaps: str | None = None
    retires: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default_factory=tuple)


class Method(Protocol):
    """One editing method, bound to one loaded model.

    `sequential`: what an edit does depends on those made before it, so they must be held in the
    order they were made in. `reads_late`: edits can be taken over with their tensors still where
    they are kept (`add_many`).
    """

    @property
    def name(self) -> str:
        """What it is called in `METHODS`."""

    @property
    def sequential(self) -> bool:
        """See above."""

    @property
    def reads_late(self) -> bool:
        """See above."""

    @property
    def routing(self) -> RoutedLayer:
        """The layer that its edits change, and how prompts are routed there."""

    @property
    def positives(self) -> int:
        """Rephrased questions it wants with every request; 0: none, not even the caller's."""

    @property
    def negative(self) -> str | None:
        """Picture of the negative sample where the caller gives none, one of `images.ANCHORS`; None
        for a method that wants no such picture, not even the caller's."""

    @property
    def asks_untouched(self) -> bool:
        """Whether a request must say what the untouched model answers to its question."""

    def binding(self) -> dict[str, str]:
        """What a store of these edits is bound to beside the prompt: key, distance …, and under
        ``layer`` and ``key_layer`` dotted paths of layers, whose weights then count too."""

    def learn_many(
        self, requests: Sequence[EditRequest]
    ) -> Iterator[list[LearnedEdit | EditFailedError]]:
        """Learn facts, while attached, in as few batches as their order allows; what comes of them
        is what would come of one after another. Changes nothing held. Each batch goes on where the
        one before it ended, and must be in force (`add`) before the next is asked for; a fact that
        cannot be learned is its error, and the others of its batch stand."""

    def add(self, edit: Edit, key: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put a learned edit in force; key and tensors as in `LearnedEdit`."""

    def add_many(self, held: HeldEdits) -> None:
        """Put many stored edits in force, where `reads_late`; tensors are read when they are first
        wanted, and an edit whose tensors then cannot be read is taken out of force."""

    def remove(self, edit_id: str) -> None:
        """Take an edit out of force."""

    def settle(self) -> None:
        """Called when all `add` and `remove` of one change are done and before the model answers,
        attached or not: work out what depends on all edits held. May train, and so raise
        `EditFailedError`."""

    def active(self) -> Sequence[str]:
        """Ids in force, oldest first."""

    def neighbours(self, image: Picture | None, question: Asked, most: int) -> Sequence[Match]:
        """The `most` nearest edits as seen from a query, nearest first; none where the method has
        no distance. Called while attached."""

    def answer_tokens(self, edit_id: str) -> int:
        """Tokens, end token included, that an answer may need where this edit fires: its own
        answer's, and those of others that act with it."""

    def worded(self, rows: Sequence[Row]) -> Sequence[Row]:
        """What the model is asked instead of (image, question), in the same order. Called while
        attached, inside `tracing`; all rows show as many pictures."""


@runtime_checkable
class Prepares(Protocol):
    """What has something to load or to find out before it is first used (`Editor.warm_up`)."""

    def prepare(self) -> object:
        """Do it now. Called while attached."""


class MethodConfig(Protocol):
    """A method's settings: a frozen dataclass of its own, which checks itself when it is made."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class OfferedMethod(NamedTuple):
    """A method as `METHODS` names it. make: binds it to a loaded model, with settings of its own;
    presets: named settings, "recommended" and "paper" among them."""

    make: Callable[[LoadedModel, Any], Method]
    presets: Mapping[str, MethodConfig]


def one_by_one(
    learn: Callable[[EditRequest], LearnedEdit], requests: Sequence[EditRequest]
) -> Iterator[list[LearnedEdit | EditFailedError]]:
    """`Method.learn_many` of a method that learns one fact at a time."""
    for request in requests:
        try:
            yield [learn(request)]
        except EditFailedError as error:
            yield [error]
