"""The record that every data set is read into: one edit, and the probes of what it must and must
not reach.

Pictures are references that open when they are looked at, so that a data set of thousands of edits
is a list in memory. Everything converts to plain JSON, and a digest of that names a data set beside
every figure. This module knows nothing about models or about any one data set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from PIL import Image

from balancedit.data.vocabulary import Vocabulary
from balancedit.inputs.images import open_image

LocalityKind = Literal["similar", "same-image", "unrelated", "no-image", "black"]
LOCALITY_KINDS: tuple[LocalityKind, ...] = get_args(LocalityKind)
#: What a question asks for: a word or phrase, or whatever a person would say, such as a sentence.
Style = Literal["short", "plain"]


class ImageRef(Protocol):
    """A picture that is not opened yet."""

    def open(self) -> Image.Image:
        """The picture, RGB. Raises a `BalanceditError` where it cannot be had."""
        ...

    def describe(self) -> dict[str, Any]:
        """What tells this picture from others, as plain JSON; the same on every machine."""
        ...


@dataclass(frozen=True)
class FileImage:
    """A picture file of a data set: `name`, with slashes, under the folder `root`."""

    root: Path
    name: str

    def open(self) -> Image.Image:
        """The picture, upright and RGB. Raises `ImageError`, naming the file."""
        return open_image(self.root / self.name)

    def describe(self) -> dict[str, Any]:
        """The name alone: where the data set lies says nothing about it."""
        return {"file": self.name}


@dataclass(frozen=True)
class BlackImage:
    """A black picture, `side` pixels wide and high."""

    side: int

    def open(self) -> Image.Image:
        """The picture, RGB."""
        return Image.new("RGB", (self.side, self.side))

    def describe(self) -> dict[str, Any]:
        """The side, which decides every pixel."""
        return {"black": self.side}


@dataclass(frozen=True)
class LocalityProbe:
    """A query whose answer the edit must leave as it was.

    kind:
      - "similar": another picture, of a similar thing, with the edit's own question: the paper's
        Loc. Where a published data set has an image locality of its own making (MMEDIT, VLKEB: any
        other picture and its question), it is of this kind, for that is what its Loc counts;
      - "same-image": the edit's own picture with a question the new fact says nothing about;
      - "unrelated": a picture and a question that have nothing to do with the edit (text locality,
        a question alone, is of this kind too, its `image` None);
      - "no-image", "black": the edit's own question without a picture, or with a black one.

    answer: the true answer, None where there is none or nobody knows it. Locality compares with
    what the model said before, not with this; it tells probes that share the edit's old answer.
    shows: the thing in the picture, None where it shows none. A sequential run leaves out the
    probes that show a thing which one of its edits `shows`: those may rightly have changed.
    within: wider facts that the answer follows, such as what is said of all apples; an edit that
    `reaches` one of them may rightly change it too.
    """

    kind: LocalityKind
    image: ImageRef | None
    question: str
    answer: str | None
    shows: str | None = None
    within: tuple[str, ...] = ()


@dataclass(frozen=True)
class PortabilityProbe:
    """A query whose answer follows from the new fact without being it."""

    image: ImageRef | None
    question: str
    answer: str


@dataclass(frozen=True)
class EditSample:
    """One edit: asked `question` about `image`, the model shall answer `target`.

    rephrases: the question in other words, about the same picture (T-Gen). image_rephrases: other
    pictures of the same thing, with the same question (I-Gen). Both shall be answered with the
    target.

    reaches: wider facts than the thing shown that the edit is about, in the words of the probes'
    `within`. style: of all its questions. vocabulary: everything that may be answered, where the
    data say; answers in the plain style are judged by it.
    """

    id: str
    image: ImageRef
    question: str
    target: str
    original_answer: str  # the one that the edit replaces; "" where nobody says
    rephrases: tuple[str, ...]
    image_rephrases: tuple[ImageRef, ...]
    locality: tuple[LocalityProbe, ...]
    portability: tuple[PortabilityProbe, ...]
    category: str  # what sort of thing is shown, or what the question is about
    kind: str  # what sort of answer is edited, such as "name" or "count"
    shows: str  # the thing in the picture, named as the probes name theirs
    reaches: tuple[str, ...] = ()
    style: Style = "short"
    vocabulary: Vocabulary | None = None

    def shares_answer(self, probe: LocalityProbe) -> bool:
        """True if the probe's true answer is the one that this edit replaces."""
        return probe.answer == self.original_answer


def images(sample: EditSample) -> Iterator[ImageRef]:
    """Every picture of a sample, with repeats: the edited one first."""
    asked = [probe.image for probe in sample.locality]
    follow = [probe.image for probe in sample.portability]
    for image in (sample.image, *sample.image_rephrases, *asked, *follow):
        if image is not None:
            yield image


#: Fields that came after digests were first kept: where they have these values they are left out of
#: a record's description, so that older digests hold.
_LATER: dict[str, Any] = {"within": (), "reaches": (), "style": "short", "vocabulary": None}


def digest(records: Sequence[EditSample | LocalityProbe], source: str) -> str:
    """SHA-256, in hexadecimal, over a canonical JSON description of the records, in their order.

    source: names what the pictures come from, such as the hash or version of an archive: a
    description says which picture, not what its pixels are.
    """
    described = {"source": source, "records": [_described(record) for record in records]}
    text = json.dumps(described, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _described(record: EditSample | LocalityProbe | PortabilityProbe) -> dict[str, Any]:
    """A record's fields as plain JSON types."""
    held = vars(record).items()
    return {n: _plain(v) for n, v in held if n not in _LATER or v != _LATER[n]}


def _plain(value: Any) -> Any:
    """A record's value as plain JSON types."""
    if isinstance(value, (LocalityProbe, PortabilityProbe)):
        return _described(value)
    if hasattr(value, "describe"):
        return value.describe()
    if isinstance(value, dict):
        return {name: _plain(held) for name, held in value.items()}
    if isinstance(value, tuple):
        return [_plain(held) for held in value]
    return value
