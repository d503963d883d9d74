"""Logged questions as an edit is held against them, and what is noted of one that was answered.

Letters: N = questions, D = width of a key.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch

from balancedit.answering.generate import GeneratedAnswer
from balancedit.inputs.conversation import question_of
from balancedit.inputs.pairing import Row
from balancedit.layer.decisions import Said
from balancedit.preview.remembered import Looked, opened
from balancedit.serving.querylog import rows
from balancedit.serving.querylog.records import LoggedQuery, Noted


class LoggedQuestions:
    """The logged questions of one tenant, or all; `preview.remembered.Remembered`. What was asked
    is known by its key alone: of the picture there is only a small copy (`exact`)."""

    exact = False

    def __init__(
        self,
        using: Callable[[str], AbstractContextManager[sqlite3.Connection]],
        way: str,
        tenant: str | None,
    ) -> None:
        self._using, self._tenant = using, tenant
        with using("read its keys") as db:
            self._kept = rows.keys(db, way, tenant)
        self._keys = torch.from_numpy(self._kept.keys)
        self._texts: dict[int, str] = {}

    @property
    def keys(self) -> torch.Tensor:
        """(N, D) float16."""
        return self._keys

    def said(self, number: int) -> Said | None:
        """See `Remembered`; the text is known once it was looked at."""
        tokens = self._kept.tokens[number]
        if tokens is None:
            return None
        ids = tuple(np.frombuffer(tokens, dtype="<i4").tolist())
        return Said(self._texts.get(number, ""), ids, self._kept.cut[number])

    def look(self, numbers: Sequence[int]) -> list[Looked]:
        """See `Remembered`."""
        ids = [int(self._kept.numbers[number]) for number in numbers]
        with self._using("read questions") as db:
            found = rows.queries(db, ids, self._tenant)
        for number, own in zip(numbers, ids, strict=True):
            if own in found and found[own].before is not None:
                self._texts[number] = str(found[own].before)
        return [_looked(found.get(own), own) for own in ids]

    def row(self, number: int) -> Row | None:
        """See `Remembered`: with the small copy for its picture."""
        own = int(self._kept.numbers[number])
        with self._using("read a picture") as db:
            found = rows.to_ask_again(db, own, self._tenant)
        if found is None:
            return None
        question, small = found
        if small is None:
            return None, question
        picture = opened(small) if rows.is_picture(small) else None
        return None if picture is None else (picture, question)


def _looked(query: LoggedQuery | None, own: int) -> Looked:
    if query is None:  # deleted since its key was read
        return Looked("", str(own))
    return Looked(query.question, query.id, query.has_thumbnail, query.fired, query.answer)


def noted(
    tenant: str, row: Row, made: GeneratedAnswer, way: str, decode: Callable[[Sequence[int]], str]
) -> Noted | None:
    """What is noted of a question that was answered; None where it has no key that half precision
    can hold. decode: gives the text of an answer's token ids."""
    if made.key is None:
        return None
    key = made.key.detach().cpu().to(torch.float16)
    if not bool(torch.isfinite(key).all()):
        return None
    picture, asked = row
    decision, said = made.decision, made.said
    untouched: Said | None = said
    if decision.fired is not None:
        ids = decision.given  # what the untouched model was found to say there, if it was asked
        untouched = Said(decode(ids), ids) if ids else None
    return Noted(
        tenant=tenant,
        question=question_of(asked),
        alone=isinstance(asked, str),
        picture=picture,
        way=way,
        key=key.numpy(),
        untouched=untouched,
        fired=decision.fired,
        answer=None if said.cut else said.text,
    )
