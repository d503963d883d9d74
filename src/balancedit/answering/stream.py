"""Answers as they are being generated, in pieces of text.

The model runs in a thread of its own and hands its tokens over as they come; whoever reads the
pieces decides, by closing the stream, when it stops. Letters: B = rows asked together, T = tokens
of the longest prompt.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from balancedit.types import Answer


@dataclass(frozen=True)
class Asking:
    """How a stream's rows are asked. batches: places of the rows that go together. ask: (a batch,
    what a model's `generate` takes beside the prompts) -> its answers, in the batch's order.
    working: what all of it is done in. decode: an answer's token ids so far -> its text; ends:
    tokens that end an answer."""

    batches: Sequence[Sequence[int]]
    ask: Callable[..., list[Answer]]
    working: Callable[[], AbstractContextManager[Any]]
    decode: Callable[[list[int]], str]
    ends: Collection[int]


class AnswerStream(Iterator[tuple[int, str]]):
    """The answers to B questions while they come: pairs of a row and the text that it goes on with.

    Reading it to the end gives every answer whole (`answers`); `close`, or leaving its context,
    stops the model at the next token. What is not read waits; the model does not wait for it.
    """

    def __init__(self, asking: Asking) -> None:
        self._made: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stopped = _Stopped()
        self._done = False
        self._answers: list[Answer] | None = None
        self._thread = threading.Thread(
            target=self._run, args=(asking,), name="balancedit-stream", daemon=True
        )
        self._thread.start()

    def __next__(self) -> tuple[int, str]:
        """The next piece. Raises what asking raised."""
        if self._done:
            raise StopIteration
        found = self._made.get()
        if isinstance(found, tuple):
            return found
        self._done = True
        if isinstance(found, BaseException):
            raise found
        self._answers = found
        raise StopIteration

    @property
    def answers(self) -> list[Answer] | None:
        """The whole answers with the decisions behind them, once the last piece was read; None
        before, and for a stream that was closed."""
        return self._answers

    def close(self) -> None:
        """Stop the model at the next token, and wait until it has."""
        self._done = True
        self._stopped.told.set()
        self._thread.join()

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def _run(self, asking: Asking) -> None:
        stopping = StoppingCriteriaList([self._stopped])
        found: dict[int, Answer] = {}
        try:
            with asking.working():
                for batch in asking.batches:
                    if self._stopped.told.is_set():
                        break
                    give = [partial(self._give, row) for row in batch]
                    streamer = Pieces(give, asking.decode, asking.ends)
                    answers = asking.ask(batch, streamer=streamer, stopping_criteria=stopping)
                    found.update(zip(batch, answers, strict=True))
            self._made.put([found[row] for row in sorted(found)])
        except BaseException as error:
            self._made.put(error)

    def _give(self, row: int, piece: str) -> None:
        self._made.put((row, piece))


class TextStream(Iterator[str]):
    """The answer to one question while it comes, in pieces of text; see `AnswerStream`."""

    def __init__(self, rows: AnswerStream) -> None:
        self._rows = rows

    def __next__(self) -> str:
        """The next piece. Raises what asking raised."""
        return next(self._rows)[1]

    @property
    def answer(self) -> Answer | None:
        """The whole answer, once the last piece was read; None before, and where it was closed."""
        answers = self._rows.answers
        return answers[0] if answers else None

    def close(self) -> None:
        """Stop the model at the next token, and wait until it has."""
        self._rows.close()

    def __enter__(self) -> TextStream:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


class _Stopped(StoppingCriteria):
    """Stops generation at the next token once it is told to."""

    def __init__(self) -> None:
        self.told = threading.Event()

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> Any:
        """(B,) bool, whether each row is done."""
        return torch.full((len(input_ids),), self.told.is_set(), device=input_ids.device)


class Pieces(BaseStreamer):
    """Turns the tokens of B rows, as `generate` puts them, into the text that each of them adds.

    give: what is given each row's pieces, None for a row of which none are wanted. decode, ends: as
    in `Asking`. A piece is held back while its end may still change: a token can be part of a
    character, and space at the end of an answer is no part of it.
    """

    def __init__(
        self,
        give: Sequence[Callable[[str], None] | None],
        decode: Callable[[list[int]], str],
        ends: Collection[int],
    ) -> None:
        self._give, self._decode, self._ends = give, decode, ends
        self._ids: list[list[int]] = [[] for _ in give]
        self._given = [""] * len(give)
        self._ended = {row for row, wanted in enumerate(give) if wanted is None}

    def put(self, value: torch.Tensor) -> None:
        """The prompts' ids (B, T) at first, then a new token of each row, (B,)."""
        if value.dim() > 1:
            return
        for row, token in enumerate(value.tolist()):
            if row not in self._ended:
                self._ids[row].append(token)
                if token in self._ends:
                    self._ended.add(row)
                self._pass_on(row, whole=row in self._ended)

    def end(self) -> None:
        """All tokens were put."""
        for row in range(len(self._ids)):
            self._pass_on(row, whole=True)

    def _pass_on(self, row: int, *, whole: bool) -> None:
        give = self._give[row]
        if give is None:
            return
        text, given = self._decode(self._ids[row]), self._given[row]
        if not whole and text.endswith("\N{REPLACEMENT CHARACTER}"):
            return
        if text.startswith(given) and len(text) > len(given):
            self._given[row] = text
            give(text[len(given) :])
