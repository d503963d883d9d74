"""The shapes of a chat completion's reply, whole and in pieces."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from balancedit.serving.engine.protocol import Answered

DONE = b"data: [DONE]\n\n"


class Routing(BaseModel):
    """Which edit answered, and why; version: of the edits in force at that moment."""

    fired: str | None
    nearest: str | None
    distance: float | None
    radius: float | None
    version: int
    cut: bool


class Usage(BaseModel):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Said(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """The only one."""

    index: Literal[0] = 0
    message: Said
    logprobs: None = None
    finish_reason: Literal["stop", "length"]


class Completion(BaseModel):
    """A whole reply."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    balancedit: Routing


def routing(answered: Answered) -> Routing:
    """Which edit answered."""
    fields = answered.answer.to_dict()
    return Routing(version=answered.version, **{name: fields[name] for name in _ROUTED})


_ROUTED = ("fired", "nearest", "distance", "radius", "cut")


def usage(answered: Answered) -> Usage:
    """How many tokens it took."""
    asked, given = answered.prompt_tokens, answered.completion_tokens
    return Usage(prompt_tokens=asked, completion_tokens=given, total_tokens=asked + given)


@dataclass(frozen=True)
class Reply:
    """One reply. model: as it was asked for; include_usage: whether a stream's pieces have it."""

    model: str
    include_usage: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, answered: Answered, text: str, stopped: bool) -> Completion:
        """The reply in one; text: as far as it is given, stopped: by a text that ends it."""
        return Completion(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=[Choice(message=Said(content=text), finish_reason=_reason(answered, stopped))],
            usage=usage(answered),
            balancedit=routing(answered),
        )

    def first(self) -> bytes:
        """A stream's beginning, which says who speaks."""
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, text: str) -> bytes:
        """A piece of the answer."""
        return self._chunk({"content": text})

    def last(self, answered: Answered, stopped: bool) -> list[bytes]:
        """A stream's end: why it ended and which edit answered, and the usage if it is wanted."""
        routed = {"balancedit": routing(answered).model_dump()}
        end = [self._chunk({}, _reason(answered, stopped), routed)]
        if self.include_usage:
            counted = {"usage": usage(answered).model_dump()}
            end.append(self._event({"choices": []} | routed | counted))
        return [*end, DONE]

    def _chunk(
        self, delta: dict[str, str], reason: str | None = None, more: dict[str, Any] | None = None
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        unused = {"usage": None} if self.include_usage else {}
        return self._event({"choices": [choice]} | unused | (more or {}))

    def _event(self, fields: dict[str, Any]) -> bytes:
        base = {"id": self.id, "object": "chat.completion.chunk", "created": self.created}
        return event(base | {"model": self.model} | fields)


def event(data: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def _reason(answered: Answered, stopped: bool) -> Literal["stop", "length"]:
    return "length" if answered.answer.cut and not stopped else "stop"
