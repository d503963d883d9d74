"""From a request's messages to what the engine is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from balancedit.errors import InputError
from balancedit.inputs.conversation import Conversation, Part, Role, Turn
from balancedit.inputs.pictures import Pictures
from balancedit.serving.http.chat_request import Message, PicturePart
from balancedit.serving.http.errors import ApiError

if TYPE_CHECKING:
    from balancedit.serving.http.pictures import PictureReader

_ROLES: dict[str, Role] = {"developer": "system"}


async def conversation_of(
    messages: Sequence[Message], reader: PictureReader, most: int
) -> Conversation:
    """The conversation, its pictures opened; most: pictures it may show. Raises `ApiError`.

    Clients put a picture below the question as often as above it. Models, and edits, know it above;
    so where a turn's pictures all come last, they are put first.
    """
    shown = sum(isinstance(part, PicturePart) for one in messages for part in _parts(one))
    if shown > most:
        raise ApiError(
            400,
            f"messages: {shown} pictures are shown, and {most} is the most; leave some out",
            code="too_many_images",
            param="messages",
        )
    turns = []
    try:
        for number, message in enumerate(messages):
            parts = await _read(message, f"messages.{number}.content", reader)
            turns.append(Turn(_ROLES.get(message.role, message.role), _pictures_first(parts)))  # type: ignore[arg-type]
        return Conversation(*turns)
    except InputError as error:
        raise ApiError(400, str(error), code="invalid_value", param="messages") from error


def _parts(message: Message) -> Sequence[object]:
    return message.content if isinstance(message.content, list) else ()


async def _read(message: Message, place: str, reader: PictureReader) -> list[str | Image.Image]:
    if not isinstance(message.content, list):
        return [message.content or ""]
    read: list[str | Image.Image] = []
    for number, part in enumerate(message.content):
        if isinstance(part, PicturePart):
            param = f"{place}.{number}.image_url.url"
            read.append(await reader.read(part.image_url.url, param))
        else:
            read.append(part.text)
    return read


def _pictures_first(parts: list[str | Image.Image]) -> tuple[Part, ...]:
    """A turn's parts; texts with all pictures behind them change places with those."""
    kinds = [isinstance(part, str) for part in parts]
    if kinds == sorted(kinds, reverse=True):  # texts, then pictures
        parts = sorted(parts, key=lambda part: isinstance(part, str))
    return tuple(part if isinstance(part, str) else Pictures(part) for part in parts)
