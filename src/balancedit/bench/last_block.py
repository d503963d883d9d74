"""Rows that are asked again and again under other weights of one layer.

Where the layer belongs to the last block's MLP, a row is run through the model once, and from then
on only its few scored tokens go the short way (`learning/answer_path.py`); elsewhere the whole
model runs every time.

Letters: A = tokens of one row's answer, D, O = the layer's input and output widths, V = vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import torch
from PIL import Image

from balancedit.inputs.pairing import batches
from balancedit.layer.edited import EditedLayer
from balancedit.learning.answer_rows import Residual
from balancedit.learning.loop import answer_logits, last_logits, with_answers
from balancedit.models.loading import LoadedModel
from balancedit.types import BATCH_SIZE


class Scored(NamedTuple):
    """A prompt and the token ids, with the end token, that are scored as its answer."""

    image: Image.Image | None
    question: str
    answer: Sequence[int]


class Group(NamedTuple):
    """Encoded rows that are asked under one weight (O, D) of the edited layer; None: its own."""

    rows: Sequence[Any]
    weight: torch.Tensor | None


class Replay(Protocol):
    """A way of asking rows under a weight of the edited layer."""

    def encode(self, rows: Sequence[Scored]) -> list[Any]:
        """What `logits` needs of each row."""

    def logits(self, groups: Sequence[Group]) -> list[torch.Tensor]:
        """(A, V) float32 of each row of all groups, in their order, at the positions that predict
        its answer, with gradients to the groups' weights."""


def replay_for(loaded: LoadedModel, layer: EditedLayer, rows: Sequence[Scored]) -> Replay:
    """The short way where it gives what the whole model gives for `rows`, else the whole model."""
    alike = [row for row in rows if (row.image is None) == (rows[0].image is None)]
    if loaded.answers.fits(_inputs(loaded, alike), [row.answer for row in alike]):
        return FromLastBlock(loaded, layer)
    return WholeModel(loaded, layer)


class WholeModel:
    """Every row through all of the model."""

    def __init__(self, loaded: LoadedModel, layer: EditedLayer) -> None:
        self._loaded, self._layer = loaded, layer

    def encode(self, rows: Sequence[Scored]) -> list[Scored]:
        """The rows themselves."""
        return list(rows)

    def logits(self, groups: Sequence[Group]) -> list[torch.Tensor]:
        """See `Replay`."""
        logits = []
        for rows, weight in groups:
            for row in rows:
                inputs = _inputs(self._loaded, [row])
                with _under(self._layer, weight):
                    logits += answer_logits(self._loaded.model, inputs, [row.answer])
        return logits


class FromLastBlock:
    """Rows from the last block on."""

    def __init__(self, loaded: LoadedModel, layer: EditedLayer) -> None:
        self._loaded, self._layer = loaded, layer

    @torch.no_grad()
    def encode(self, rows: Sequence[Scored]) -> list[Residual]:
        """One pass of the whole model for each batch of rows."""
        residuals: dict[int, Residual] = {}
        for batch in batches([row.image for row in rows], BATCH_SIZE):
            asked = [rows[i] for i in batch]
            inputs = _inputs(self._loaded, asked)
            with self._loaded.answers.recorded([row.answer for row in asked]) as recorded:
                model = self._loaded.model
                model(**inputs, **last_logits(model, 1), use_cache=False)
            residuals.update(zip(batch, recorded.residuals, strict=True))
        return [residuals[i] for i in range(len(rows))]

    def logits(self, groups: Sequence[Group]) -> list[torch.Tensor]:
        """See `Replay`. The output head, by far the largest part, runs once for all groups."""
        outputs = []
        for rows, weight in groups:
            with _under(self._layer, weight):
                outputs.append(self._loaded.answers.batch(rows).outputs())
        return self._loaded.answers.head(outputs)


def _under(layer: EditedLayer, weight: torch.Tensor | None) -> AbstractContextManager[None]:
    """Inside the context the layer has this weight."""
    return nullcontext() if weight is None else layer.training({"weight": weight})


def _inputs(loaded: LoadedModel, rows: Sequence[Scored]) -> dict[str, torch.Tensor]:
    """Prompts and answers together, on the model's device."""
    prompts = loaded.prompter.inputs([r.image for r in rows], [r.question for r in rows])
    return with_answers(loaded.model, loaded.to_device(prompts), [r.answer for r in rows])
