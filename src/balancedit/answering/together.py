"""Rows of one batch with wishes of their own: a length, somebody who reads along, an end before the
end. A row that cannot be answered takes no other with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from transformers import StoppingCriteria

from balancedit.answering.ask import decoding, stream_ends
from balancedit.answering.generate import Decoding, GeneratedAnswer, generate_batch
from balancedit.answering.protocol import Answers
from balancedit.answering.stream import Pieces
from balancedit.errors import BalanceditError, PromptError
from balancedit.inputs.pairing import Row
from balancedit.models.loading import LoadedModel


@dataclass(frozen=True)
class Wish:
    """A row of a batch. max_new_tokens: as for `Editor.ask`; gone: asked after every token, whether
    nobody wants the rest; give: given the text while it comes, all of it in the end; ended: given
    the answer where it comes to an end of its own, while other rows may go on, behind the text."""

    row: Row
    max_new_tokens: int | None = None
    gone: Callable[[], bool] | None = None
    give: Callable[[str], None] | None = None
    ended: Callable[[GeneratedAnswer], None] | None = None


#: What comes of a row.
Outcome: TypeAlias = GeneratedAnswer | BalanceditError


def answer_together(loaded: LoadedModel, method: Answers, wishes: Sequence[Wish]) -> list[Outcome]:
    """Answer rows with as many pictures in one batch, while attached; what comes of each, in order.

    A row that is refused in company is asked again alone, and its error is what is said to it then;
    the others are answered without it. The answer of a row that went is as far as it had come.
    """
    found: dict[int, Outcome] = {}
    together, alone = list(range(len(wishes))), list[int]()
    while together:
        try:
            made = _batch(loaded, method, [wishes[i] for i in together])
        except BalanceditError as error:
            if len(together) == 1:
                found[together.pop()] = error
            elif isinstance(error, PromptError):
                alone.append(together.pop(error.row))
            else:
                alone += together
                together = []
        else:
            found.update(zip(together, made, strict=True))
            together = []
        if not together and alone:
            together = [alone.pop()]
    return [found[i] for i in range(len(wishes))]


def _batch(loaded: LoadedModel, method: Answers, wishes: Sequence[Wish]) -> list[GeneratedAnswer]:
    pieces = Pieces([wish.give for wish in wishes], decoding(loaded), stream_ends(loaded))
    follows: list[StoppingCriteria] = [_Gone([wish.gone for wish in wishes])]
    if any(wish.give for wish in wishes):
        follows.append(_Read(pieces))

    def ended(row: int, answer: GeneratedAnswer) -> None:
        told = wishes[row].ended
        if told is not None:
            told(answer)

    made = generate_batch(
        loaded,
        method,
        [wish.row for wish in wishes],
        Decoding(tuple(wish.max_new_tokens for wish in wishes)),
        {"stopping_criteria": follows},
        ended if any(wish.ended for wish in wishes) else None,
    )
    pieces.end()
    return made


class _Gone(StoppingCriteria):
    """Ends each row of which nobody wants the rest."""

    def __init__(self, gone: Sequence[Callable[[], bool] | None]) -> None:
        self._gone = gone

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> Any:
        """Called once a token: (B,) bool, whether each row is done."""
        done = [gone is not None and gone() for gone in self._gone]
        return torch.tensor(done, device=input_ids.device)


class _Read(StoppingCriteria):
    """Hands each row's tokens on as they come; ends none. A streamer would be given a token only
    after all criteria were asked about it, and a row's last piece would come behind its end."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> Any:
        """Called once a token: (B,) bool, none."""
        self._pieces.put(input_ids[:, -1])
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
