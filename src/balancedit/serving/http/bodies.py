"""Bodies of requests, read whole within bounds before anything looks into them.

Held here: how many there are at once, how long a body is (said beforehand or not), how long it
takes to arrive, that it is JSON in UTF-8, and how deep and wide that JSON is, so that no parser
meets what would stall it.
"""

from __future__ import annotations

import asyncio
import json
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from balancedit.serving.http.errors import ApiError
from balancedit.serving.http.settings import ServeSettings

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_NO_BRACKET = re.compile(rb"[^\[\]{}]+")
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
_CLOSE = {"Connection": "close"}  # what is left of the body is not waited for


class BoundedBodies:
    """The application behind bounded bodies."""

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app, self._settings = app, settings
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in WRITES:
            await self._app(scope, receive, send)
            return
        if self._under_way >= self._settings.max_requests:
            raise ApiError(
                429,
                "too many requests are under way; ask again in a moment",
                code="overloaded",
                headers={"Retry-After": "1"} | _CLOSE,
            )
        self._under_way += 1
        try:
            await self._bounded(scope, receive, send)
        finally:
            self._under_way -= 1

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._read(Headers(scope=scope), receive)
        if body:
            _check_kind(Headers(scope=scope).get("content-type", ""))
            check_json(body, self._settings.max_depth, self._settings.max_items)
        first: Message | None = {"type": "http.request", "body": body, "more_body": False}

        async def replay() -> Message:
            nonlocal first
            if first is None:
                return await receive()
            given, first = first, None
            return given

        await self._app(scope, replay, send)

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        most = self._settings.max_body
        said = headers.get("content-length", "")
        if said.isdecimal() and len(said) < 20 and int(said) > most:
            raise _too_long(most)
        parts: list[bytes] = []
        length = 0
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ApiError(499, "the caller is gone", code="disconnected")
                    parts.append(message.get("body", b""))
                    length += len(parts[-1])
                    if length > most:
                        raise _too_long(most)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError as error:
            raise ApiError(
                408,
                f"the body took longer than {self._settings.body_seconds:g} s; send it faster",
                code="body_timeout",
                headers=_CLOSE,
            ) from error


def check_json(body: bytes, max_depth: int, max_items: int) -> None:
    """Raise `ApiError` for what is not UTF-8, and for JSON with more than `max_items` keys and list
    items together, or nested deeper than `max_depth`. Takes time in proportion to the length alone,
    and leaves all else that may be wrong to the parser."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise _not_json("it is not UTF-8") from error
    if b"\0" in body:  # UTF-16 and its like, which the parser would take as well
        raise _not_json("it holds NUL bytes")
    outside = _STRING.sub(b"", body)
    # Of what an object or a list holds, the first follows its bracket, every other a comma.
    if sum(outside.count(sign) for sign in (b",", b"[", b"{")) > max_items:
        raise ApiError(
            400, f"the JSON has more than {max_items:,} keys and items", code="json_too_large"
        )
    depth = 0
    for sign in _NO_BRACKET.sub(b"", outside):
        depth += 1 if sign in b"[{" else -1
        if depth < 0:
            return  # no JSON; the parser says so better
        if depth > max_depth:
            raise ApiError(
                400, f"the JSON is nested deeper than {max_depth} levels", code="json_too_deep"
            )
    if _HALF_PAIR.search(body):
        _check_pairs(body)


def _check_pairs(body: bytes) -> None:
    """Raise `ApiError` where a text holds half of a surrogate pair, which no reply could repeat."""
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise _not_json("a text in it holds half a pair of surrogates") from error
    except ValueError:
        return  # no JSON; the parser says so better


def _check_kind(kind: str) -> None:
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise ApiError(
            415,
            "the body's kind is not JSON; send 'Content-Type: application/json'",
            code="unsupported_media_type",
        )


def _not_json(reason: str) -> ApiError:
    return ApiError(400, f"the body is no JSON: {reason}", code="invalid_json")


def _too_long(most: int) -> ApiError:
    return ApiError(
        413,
        f"the body is longer than {most / 1e6:g} MB; send fewer or smaller pictures",
        code="body_too_large",
        headers=_CLOSE,
    )
