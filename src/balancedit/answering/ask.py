"""What a caller may say about how questions are answered, and answers that are given while they
come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypedDict

import torch

from balancedit.answering.generate import generate_answers, pad_token
from balancedit.answering.protocol import Answers
from balancedit.answering.stream import AnswerStream, Asking
from balancedit.errors import InputError, PromptError
from balancedit.inputs.pairing import Row, batches
from balancedit.models.loading import LoadedModel
from balancedit.types import Answer


class How(TypedDict, total=False):
    """What `Editor.ask` takes beside its questions, for type checkers."""

    max_new_tokens: int | None
    num_beams: int
    batch_size: int


def check_how(how: How) -> How:
    """The same. Raises `InputError` for numbers that nothing can be asked with."""
    for name, value in how.items():
        if value is not None and (not isinstance(value, int) or value < 1):
            raise InputError(f"{name} is {value!r}; give a whole number from 1 on")
    return how


class Working(Protocol):
    """What keeps edits in force; see `holding.Holding`."""

    @property
    def is_attached_here(self) -> bool:
        """Whether the model is attached in this very thread."""

    def working(self) -> AbstractContextManager[None]:
        """One call, with the edits in force."""


def stream_answers(
    loaded: LoadedModel, method: Answers, rows: Sequence[Row], holding: Working, how: How
) -> AnswerStream:
    """Answer rows of (image or None, question) and give the text while it comes; the model is at
    work on them, in a thread of its own, until the last. Raises `InputError` where it cannot."""
    if how["num_beams"] != 1:
        raise InputError("a beam search has no answer before its end; stream with one beam")
    if holding.is_attached_here:
        raise InputError(
            "ask(stream=True) works in a thread of its own, which waits for `with editor:` to "
            "end; leave that context first, or stream through editor.model.generate"
        )

    def ask(batch: Sequence[int], **more: Any) -> list[Answer]:
        some = [rows[i] for i in batch]
        try:
            made = generate_answers(loaded, method, some, **how, **more)
        except PromptError as error:
            raise error.among(batch[error.row], len(rows)) from error
        return [one.answer for one in made]

    together = list(batches([image for image, _ in rows], how["batch_size"]))
    decode, ends = decoding(loaded), stream_ends(loaded)
    return AnswerStream(Asking(together, ask, holding.working, decode, ends))


def decoding(loaded: LoadedModel) -> Callable[[list[int]], str]:
    """What makes an answer's token ids so far its text."""
    return lambda ids: loaded.prompter.decode(torch.tensor([ids]))[0]


def stream_ends(loaded: LoadedModel) -> frozenset[int]:
    """Tokens behind which a row says nothing more: those that end an answer, and the one that it is
    filled up with once it is as long as it may be."""
    return loaded.ends | {pad_token(loaded)}
