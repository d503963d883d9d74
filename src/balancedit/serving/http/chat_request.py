"""What a chat completion is asked with: OpenAI's shapes, as far as an edited model can follow them.

Parameters that would change what is answered and cannot be followed are refused by name; those that
are only preferences are named in the reply's header ``Balancedit-Ignored``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from balancedit.serving.http.errors import ApiError

IGNORED_HEADER = "Balancedit-Ignored"
_STRICT = ConfigDict(strict=True)
_MOST_STOPS = 4


def _address(given: object) -> object:
    """Some clients give an address as it is, where others put it into an object."""
    return {"url": given} if isinstance(given, str) else given


class Address(BaseModel):
    """Where a picture is."""

    model_config = _STRICT
    url: str
    detail: str | None = None


class TextPart(BaseModel):
    """A text."""

    model_config = _STRICT
    type: Literal["text"]
    text: str


class PicturePart(BaseModel):
    """A picture, as a data URL or at an address that the server may fetch from."""

    model_config = _STRICT
    type: Literal["image_url"]
    image_url: Annotated[Address, BeforeValidator(_address)]


Part = Annotated[TextPart | PicturePart, Field(discriminator="type")]


class Message(BaseModel):
    """A turn."""

    model_config = _STRICT
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None
    tool_calls: list[dict[str, Any]] | None = None


class StreamOptions(BaseModel):
    """How an answer is streamed."""

    model_config = _STRICT
    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """A conversation to be answered."""

    model_config = ConfigDict(strict=True, extra="allow")
    model: str = Field(max_length=500)
    messages: list[Message] = Field(min_length=1, max_length=1_000)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: str | list[str] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(text for text in given if text)

    def longest(self, most: int) -> int | None:
        """Tokens of the answer at most, never above `most`; None where nothing was asked for."""
        asked = [n for n in (self.max_completion_tokens, self.max_tokens) if n is not None]
        return min(*asked, most) if asked else None


def _in(*harmless: object) -> Callable[[Any], bool]:
    # By `repr`, since 0 == False: each value stands for itself alone.
    return lambda value: repr(value) in map(repr, (None, *harmless))


def _text_alone(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and value.get("type") == "text")


#: What cannot be done, and the values with which it asks for nothing.
_REFUSED: dict[str, Callable[[Any], bool]] = {
    "n": _in(1),
    "tools": _in([]),
    "tool_choice": _in("none", "auto"),
    "functions": _in([]),
    "function_call": _in("none", "auto"),
    "logprobs": _in(False),
    "top_logprobs": _in(0),
    "response_format": _text_alone,
    "modalities": _in(["text"]),
    "audio": _in(),
    "web_search_options": _in(),
}
#: Preferences with values that change nothing here: decoding is greedy.
_HARMLESS: dict[str, Callable[[Any], bool]] = {
    "temperature": _in(0, 0.0),
    "top_p": _in(1, 1.0),
    "presence_penalty": _in(0, 0.0),
    "frequency_penalty": _in(0, 0.0),
    "logit_bias": _in({}),
}
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_MOST_NAMED = 20


def check_offered(request: ChatRequest) -> list[str]:
    """Names of the parameters that are ignored. Raises `ApiError` for what cannot be done."""
    extra = request.model_extra or {}
    for name, harmless in _REFUSED.items():
        if not harmless(extra.get(name)):
            raise unsupported(name)
    for number, message in enumerate(request.messages):
        if message.tool_calls:
            raise unsupported(f"messages.{number}.tool_calls")
    if len(request.stops) > _MOST_STOPS:
        raise ApiError(
            400,
            f"stop: at most {_MOST_STOPS} texts can end an answer",
            code="invalid",
            param="stop",
        )
    return [
        name
        for name, value in extra.items()
        if name not in _REFUSED and not _HARMLESS.get(name, _in())(value) and _NAME.fullmatch(name)
    ][:_MOST_NAMED]


def unsupported(param: str) -> ApiError:
    """It cannot be done here."""
    return ApiError(
        400,
        f"{param}: this server cannot do that; leave it out",
        code="unsupported_parameter",
        param=param,
    )
