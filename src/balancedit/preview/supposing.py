"""Answers of the model as if an edit were held that is not, or as if one were not that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from balancedit.answering.generate import GeneratedAnswer, generate_answers
from balancedit.inputs.pairing import Row, batches
from balancedit.layer.decisions import Decision
from balancedit.methods import Method
from balancedit.models.loading import LoadedModel
from balancedit.types import BATCH_SIZE, Edit


@dataclass(frozen=True)
class _Supposed:
    """A method as answering asks it (`answering.protocol.Answers`), with one edit more."""

    method: Method
    edit: Edit

    @property
    def name(self) -> str:
        return self.method.name

    @property
    def routing(self) -> Any:
        return self.method.routing

    def answer_tokens(self, edit_id: str) -> int:
        if edit_id == self.edit.id:
            return self.method.routing.answer_tokens([self.edit.target])
        return self.method.answer_tokens(edit_id)

    def binding(self) -> dict[str, str]:
        return self.method.binding()

    def worded(self, rows: Sequence[Row]) -> Sequence[Row]:
        return self.method.worded(rows)


class Supposing:
    """Asks the model under decisions that are given, while one edit's tensors are at hand."""

    def __init__(self, loaded: LoadedModel, method: Method, edit: Edit) -> None:
        self._loaded, self._asked = loaded, _Supposed(method, edit)

    def answers(self, rows: Sequence[Row], fired: Sequence[str | None]) -> list[GeneratedAnswer]:
        """What is answered to rows where these edits fire, one a row."""
        made: dict[int, GeneratedAnswer] = {}
        for batch in batches([image for image, _ in rows], BATCH_SIZE):
            decisions = [Decision(fired[i]) for i in batch]
            with self._asked.routing.deciding(decisions):
                some = generate_answers(self._loaded, self._asked, [rows[i] for i in batch])
            made.update(zip(batch, some, strict=True))
        return [made[i] for i in range(len(rows))]


@contextmanager
def supposing(
    loaded: LoadedModel, method: Method, edit: Edit, tensors: Mapping[str, torch.Tensor]
) -> Iterator[Supposing]:
    """Inside the context an edit's tensors are beside the layer, and nothing else of it. Called
    while attached."""
    method.routing.layer.add(edit.id, tensors)
    try:
        yield Supposing(loaded, method, edit)
    finally:
        method.routing.layer.remove(edit.id)
