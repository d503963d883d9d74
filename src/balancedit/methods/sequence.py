"""Edits that build on one another: each makes the edited layer's weight anew from what the edit
before it left, and every prompt goes through the newest.

Taking one back from the middle means making the later ones again. Each edit therefore keeps what
that needs: its picture, its settings, and a digest of the edits that it was made on. A weight that
was made on just the edits now before it stands as it is; any other is made again, in the same way,
when the model is next asked.

How an edit makes a weight is the method's own. Letters: O, D = the layer's output and input widths;
H, W = a picture's height and width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from balancedit.codebook.codebook import Match
from balancedit.errors import EditFailedError
from balancedit.inputs.images import MAX_PIXELS
from balancedit.inputs.pairing import Asked, Row
from balancedit.inputs.pictures import Picture, Pictures, each
from balancedit.layer.decisions import Decision
from balancedit.layer.edited import check_shapes
from balancedit.layer.weights import weight_shape
from balancedit.methods.protocol import EditRequest, LearnedEdit, one_by_one
from balancedit.methods.routed import RoutedLayer
from balancedit.store.protocol import HeldEdits
from balancedit.types import Edit

Settings = Mapping[str, torch.Tensor]  # what a method's edit was made with, by name
_OWN = ("weight", "pixels", "made_on")  # tensors every edit has, up to a full stop in their names


@dataclass
class _Step:
    """One edit of the sequence. weight: (O, D) on the CPU, what the layer's weight became; made_on:
    digest of the edits that it was made on."""

    edit: Edit
    image: Picture
    settings: Settings
    weight: torch.Tensor
    made_on: bytes


class WeightMaker(Protocol):
    """How one method's edits make weights."""

    @property
    def name(self) -> str:
        """The method's."""

    @property
    def config(self) -> Any:
        """Its settings."""

    def binding(self) -> dict[str, str]:
        """What its weights depend on beside the model, the layer and each edit's settings."""

    def settings(self) -> Settings:
        """What a new edit is made with and must be made again with, on the CPU."""

    def edited(
        self, request: EditRequest, start: torch.Tensor, settings: Settings
    ) -> tuple[torch.Tensor, int, float]:
        """The weight (O, D) that one edit makes of `start` (O, D), on the CPU; the optimiser's
        steps, and the loss after them. The same arguments give the same weight. Raises
        `EditFailedError`."""


class WeightSequence:
    """A method whose edits build on one another: the sequence of them and the weight it led to,
    bound to one model; see `Method`.

    The module's own parameter is never touched: the edited weight stands beside it, as a hook.
    """

    sequential = True
    reads_late = False
    positives = 0  # no radius to measure
    negative = None
    asks_untouched = False

    def __init__(self, routing: RoutedLayer, maker: WeightMaker) -> None:
        self.routing, self.maker = routing, maker
        self.name, self.config = maker.name, maker.config
        self._steps: list[_Step] = []
        self._applied: tuple[str, torch.Tensor] | None = None  # whose weight the layer holds

    def binding(self) -> dict[str, str]:
        """What a store of these edits is bound to beside the model."""
        return {"layer": self.routing.loaded.layer} | self.maker.binding()

    # -- learning ----------------------------------------------------------------------------

    def learn(self, request: EditRequest) -> LearnedEdit:
        """Make the current weight anew for one fact. Nothing held changes. Raises
        `EditFailedError` when the loss is not a number.

        The tensors are ``weight`` (O, D) float32, and for making it again ``pixels`` (H, W, 3)
        uint8 (of several pictures also ``pixels.1`` …), ``made_on`` (32,) uint8 and the method's
        settings. The key is all zeros (D,):
        nothing is looked up by it.
        """
        self.settle()
        settings = self.maker.settings()
        weight, steps, loss = self.maker.edited(request, self._start(len(self._steps)), settings)
        made_on = self._lineages()[-1]
        return LearnedEdit(
            key=torch.zeros(weight.shape[1]),
            tensors={
                "weight": weight,
                "made_on": torch.tensor(list(made_on), dtype=torch.uint8),
                **_pixels(request.image),
                **settings,
            },
            steps=steps,
            loss=loss,
            overlaps=self._steps[-1].edit.id if self._steps else None,
        )

    def learn_many(
        self, requests: Sequence[EditRequest]
    ) -> Iterator[list[LearnedEdit | EditFailedError]]:
        """See `Method`; each starts from what the one before it left."""
        return one_by_one(self.learn, requests)

    def _start(self, n: int) -> torch.Tensor:
        """(O, D) the weight that the n-th edit, from 0, is made on."""
        return self._steps[n - 1].weight if n else self.routing.layer.base_weight

    # -- holding -----------------------------------------------------------------------------

    def add(self, edit: Edit, key: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put an edit at the end of the sequence; tensors as `learn` makes them. Raises
        `ValueError` for others."""
        _check(tensors, weight_shape(self.routing.layer.layer), self.maker.settings())
        self._steps.append(
            _Step(
                edit,
                _picture(tensors),
                {name: t for name, t in tensors.items() if name.split(".")[0] not in _OWN},
                tensors["weight"],
                bytes(tensors["made_on"].tolist()),
            )
        )

    def remove(self, edit_id: str) -> None:
        """Take an edit out of the sequence; `settle` then makes again those that came after it."""
        self._steps = [s for s in self._steps if s.edit.id != edit_id]

    def add_many(self, held: HeldEdits) -> None:
        """Not offered: a weight is wanted as soon as it is held."""
        raise NotImplementedError(f"{self.name} takes stored edits one at a time")

    def settle(self) -> None:
        """Bring the layer's weight up to date with the edits held. Only edits that were made on
        others than those now before them are made again. Raises `EditFailedError`."""
        lineages = self._lineages()
        standing = [i for i, s in enumerate(self._steps) if s.made_on == lineages[i]]
        for i in range(standing[-1] + 1 if standing else 0, len(self._steps)):
            step = self._steps[i]
            request = EditRequest(step.image, step.edit.question, step.edit.target, (), None)
            step.weight, _, _ = self.maker.edited(request, self._start(i), step.settings)
            step.made_on = lineages[i]
        self._apply_newest()

    def _lineages(self) -> list[bytes]:
        """For each edit held, and for the next one, a digest (32 bytes) of the edits before it, in
        their order: with the original weight these determine the edited one."""
        digests = [bytes(32)]
        for step in self._steps:
            digests.append(hashlib.sha256(digests[-1] + step.edit.id.encode()).digest())
        return digests

    def _apply_newest(self) -> None:
        """Put the newest edit's weight beside the layer, in place of the one that is there."""
        newest = self._steps[-1] if self._steps else None
        if self._applied is not None:
            edit_id, weight = self._applied
            if newest is not None and newest.weight is weight:
                return
            self.routing.layer.remove(edit_id)
        self._applied = (newest.edit.id, newest.weight) if newest else None
        if newest is not None:
            self.routing.layer.add(newest.edit.id, {"weight": newest.weight})
        self.routing.decide_by(self._decide if newest else None)

    def active(self) -> Sequence[str]:
        """Ids in force, oldest first."""
        return [s.edit.id for s in self._steps]

    def neighbours(self, image: Picture | None, question: Asked, most: int) -> list[Match]:
        """None: no edit is nearer to a prompt than another."""
        return []

    def answer_tokens(self, edit_id: str) -> int:
        """Those of the longest answer held: the newest weight gives all of them."""
        return self.routing.answer_tokens(step.edit.target for step in self._steps)

    def worded(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows as they are: the layer is what changes."""
        return rows

    def _decide(self, keys: torch.Tensor) -> list[Decision]:
        """Every prompt goes through the weight that the newest edit left."""
        assert self._applied is not None
        newest = self._applied[0]
        return [Decision(fired=newest, nearest=newest)] * len(keys)


def _check(tensors: Mapping[str, torch.Tensor], weight: tuple[int, int], made: Settings) -> None:
    """Raise `ValueError` unless stored tensors are what an edit has: a weight of this shape (O, D),
    settings like those that one is `made` with now, pictures, and what it was made on."""
    pictures = {n: t for n, t in tensors.items() if n.partition(".")[0] == "pixels"}
    names = ["pixels", *(f"pixels.{i}" for i in range(1, len(pictures)))]
    others = {n: t for n, t in tensors.items() if n not in pictures}
    shapes = {"weight": weight, "made_on": (32,)} | {n: tuple(t.shape) for n, t in made.items()}
    check_shapes(shapes, others)
    types = {"weight": torch.float32, "made_on": torch.uint8} | {
        n: t.dtype for n, t in made.items()
    }
    for name, kind in types.items():
        if tensors[name].dtype != kind:
            raise ValueError(f"an edit's '{name}' is of {tensors[name].dtype}, it should be {kind}")
    if sorted(pictures) != sorted(names):
        raise ValueError(f"an edit's pictures are {sorted(pictures)}, they should be {names}")
    for name, pixels in pictures.items():
        if pixels.dtype != torch.uint8 or pixels.dim() != 3 or pixels.shape[2] != 3:
            raise ValueError(
                f"an edit's '{name}' is {tuple(pixels.shape)} of {pixels.dtype}, it should be "
                "(H, W, 3) of torch.uint8"
            )
        if not 0 < pixels.numel() <= 3 * MAX_PIXELS:
            raise ValueError(f"an edit's '{name}' has no pixels, or more than {MAX_PIXELS:,}")


def _pixels(picture: Picture) -> dict[str, torch.Tensor]:
    """Each picture as (H, W, 3) uint8, named ``pixels``, ``pixels.1`` …"""
    return {
        f"pixels.{i}" if i else "pixels": torch.from_numpy(np.array(image.convert("RGB")))
        for i, image in enumerate(each(picture))
    }


def _picture(tensors: Mapping[str, torch.Tensor]) -> Picture:
    """What `_pixels` took apart."""
    n = sum(name.split(".")[0] == "pixels" for name in tensors)
    names = ["pixels", *(f"pixels.{i}" for i in range(1, n))]
    images = [Image.fromarray(tensors[name].numpy()) for name in names]
    return images[0] if n == 1 else Pictures(*images)
