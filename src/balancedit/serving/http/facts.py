"""Facts as callers send them: what an edit, a preview and an explanation are asked with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Any

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from balancedit.inputs.images import ANCHORS
from balancedit.inputs.pictures import Pictures
from balancedit.inputs.text import MAX_ANSWER, MAX_QUESTION
from balancedit.serving.http.errors import ApiError
from balancedit.serving.http.pictures import PictureReader
from balancedit.types import Fact

_MOST_REPHRASINGS = 32

Question = Annotated[str, Field(min_length=1, max_length=MAX_QUESTION)]


class ShownBody(BaseModel):
    """A question about a picture, or several in their order: data URLs, or addresses that the
    server may fetch from."""

    model_config = ConfigDict(strict=True, extra="forbid")
    image: str | None = None
    images: Annotated[list[str], Field(min_length=1)] | None = None
    question: Question

    async def shown(self, reader: PictureReader, most: int) -> Image.Image | Pictures | None:
        """The pictures, opened; None where there is none. most: how many there may be. Raises
        `ApiError`."""
        if self.image is not None and self.images is not None:
            raise _wrong("give the picture as 'image', or several as 'images', not both", "images")
        if self.image is not None:
            return await reader.read(self.image, "image")
        addresses = self.images or []
        if len(addresses) > most:
            said = f"{len(addresses)} pictures are shown, and {most} is the most"
            raise _wrong(said, "images", "too_many_images")
        read = [await reader.read(one, f"images.{at}") for at, one in enumerate(addresses)]
        return read[0] if len(read) == 1 else Pictures(*read) if read else None


class FactBody(ShownBody):
    """One fact: what the model is to answer to a question from now on.

    rephrasings: other wordings of the question; without them the model makes its own. negative:
    what the edit must not reach, a picture or one of the names "black", "white", "grey", "noise".
    new: the model knows nothing of the fact, so that what it says now does not matter.
    """

    answer: Annotated[str, Field(min_length=1, max_length=MAX_ANSWER)]
    rephrasings: Annotated[list[Question], Field(max_length=_MOST_REPHRASINGS)] | None = None
    negative: str | None = None
    new: bool | None = None

    async def fact(self, reader: PictureReader, most: int) -> Fact:
        """The fact, its pictures opened; most: pictures it may show. Raises `ApiError`."""
        shown = await self.shown(reader, most)
        if shown is None:
            raise _wrong("an edit needs a picture; send the one that the question is about")
        negative: str | Image.Image | None = self.negative
        if self.negative is not None and self.negative not in ANCHORS:
            negative = await reader.read(self.negative, "negative")
        rephrasings: Sequence[str] = tuple(self.rephrasings or ())
        return Fact(shown, self.question, self.answer, rephrasings, negative, bool(self.new))


def _wrong(said: str, param: str = "image", code: str = "invalid_value") -> ApiError:
    return ApiError(400, f"{param}: {said}", code=code, param=param)


def arguments(fact: Fact) -> dict[str, Any]:
    """A fact as `Editor.edit` and `Editor.preview` take it."""
    return {f.name: getattr(fact, f.name) for f in fields(fact)}
