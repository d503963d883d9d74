"""Questions asked before, that an edit is held against.

Letters: N = questions, D = width of a key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from balancedit.answering.generate import GeneratedAnswer
from balancedit.errors import ImageError, InputError
from balancedit.inputs.images import open_image
from balancedit.inputs.pairing import Row, checked
from balancedit.inputs.pictures import Picture
from balancedit.layer.decisions import Said
from balancedit.types import BATCH_SIZE

#: What a folder's pictures end in.
_PICTURES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))


@dataclass(frozen=True)
class Looked:
    """One of them as a person is shown it. id: its id where it is kept, if it has one; fired,
    answer: what was answered when it was asked, and by which edit; None where that is not kept."""

    question: str
    id: str | None = None
    has_thumbnail: bool = False
    fired: str | None = None
    answer: str | None = None


class Remembered(Protocol):
    """N questions asked before. exact: whether `row` gives the very picture that was shown."""

    @property
    def exact(self) -> bool:
        """See above."""

    @property
    def keys(self) -> torch.Tensor:
        """(N, D) float32 or float16, on the CPU."""

    def said(self, number: int) -> Said | None:
        """What the untouched model says to one, as far as it is known."""

    def look(self, numbers: Sequence[int]) -> list[Looked]:
        """Some of them, in this order."""

    def row(self, number: int) -> Row | None:
        """One of them to be asked again; None where its picture is not there any more."""


@runtime_checkable
class Remembers(Protocol):
    """What questions may be taken from, such as a query log."""

    def remembered(self, way: str) -> Remembered:
        """Those whose keys were made in this way (`Previewing.key_way`)."""


#: Asks the untouched model about many rows, for their keys and answers.
AskUntouched = Callable[[Sequence[Row]], Sequence[GeneratedAnswer]]


class AskedNow:
    """Questions that are asked in order to be remembered. open_: gives the row of each number, so
    that not all pictures need be open at once."""

    exact = True

    def __init__(
        self, questions: Sequence[str], open_: Callable[[int], Row], ask: AskUntouched
    ) -> None:
        self._questions, self._open = questions, open_
        keys, self._said = [], []
        for start in range(0, len(questions), BATCH_SIZE):
            numbers = range(start, min(start + BATCH_SIZE, len(questions)))
            for answered in ask([open_(number) for number in numbers]):
                assert answered.key is not None
                keys.append(answered.key.cpu())
                self._said.append(answered.said)
        self._keys = torch.stack(keys) if keys else torch.empty(0, 0)

    @property
    def keys(self) -> torch.Tensor:
        """See `Remembered`."""
        return self._keys

    def said(self, number: int) -> Said | None:
        """See `Remembered`."""
        return self._said[number]

    def look(self, numbers: Sequence[int]) -> list[Looked]:
        """See `Remembered`."""
        return [Looked(self._questions[number]) for number in numbers]

    def row(self, number: int) -> Row | None:
        """See `Remembered`."""
        return self._open(number)


def remembered(over: Any, question: str, way: str, ask: AskUntouched) -> Remembered:
    """The questions that `over` stands for: what remembers them, a folder of pictures, each asked
    `question`, or a list of (image, question). Raises `InputError`, `ImageError`."""
    if isinstance(over, Remembers):
        return over.remembered(way)
    if isinstance(over, (str, Path)):
        paths = pictures_in(Path(over))
        return AskedNow([question] * len(paths), lambda i: (open_image(paths[i]), question), ask)
    try:
        pairs = [(image, asked) for image, asked in over]
    except (TypeError, ValueError) as error:
        raise InputError(
            "a preview is made over a query log, a folder of pictures, or a list of "
            "(image, question)"
        ) from error
    texts = [asked for _, asked in pairs]
    return AskedNow(texts, lambda number: _row(*pairs[number], number, len(pairs)), ask)


def _row(image: Any, question: Any, number: int, of: int) -> Row:
    try:
        return checked(image, question)
    except InputError as error:
        raise type(error)(f"question {number + 1} of {of}: {error}") from error


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, by name. Raises `InputError` where there is none."""
    folder = folder.expanduser()
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() in _PICTURES)
    except OSError as error:
        said = error.strerror or str(error)
        raise InputError(f"'{folder}' cannot be looked into ({said}); name a folder") from error
    if not found:
        raise InputError(f"'{folder}' holds no pictures; name a folder that does")
    return found


def opened(image: bytes) -> Picture | None:
    """A small copy as it is kept; None where it is damaged."""
    try:
        return open_image(image)
    except ImageError:
        return None
