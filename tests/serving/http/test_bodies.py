"""Bodies within bounds: length, time, nesting, number, kind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from balancedit.serving.http.bodies import check_json
from balancedit.serving.http.errors import ApiError
from serving.http.conftest import MakeServer, Server, asking, bearer

JSON = {"Content-Type": "application/json"}


def post(server: Server, body: bytes | Iterator[bytes], **headers: str) -> Any:
    return server.client.post(
        "/v1/chat/completions", content=body, headers=bearer("asker") | JSON | headers
    )


def code(reply: Any) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["code"]


def test_a_body_that_says_it_is_too_long_is_not_read(make_server: MakeServer) -> None:
    server = make_server(max_body=1_000)
    assert code(post(server, b"x" * 1_001)) == (413, "body_too_large")


def test_a_body_that_does_not_say_so_is_read_as_far_as_allowed(make_server: MakeServer) -> None:
    server = make_server(max_body=1_000)
    assert code(post(server, iter([b"x" * 600] * 3))) == (413, "body_too_large")
    good = json.dumps(asking()).encode()
    assert post(server, iter([good[:10], good[10:]])).status_code == 200


def test_a_body_that_comes_too_slowly_is_given_up(make_server: MakeServer) -> None:
    app = make_server(body_seconds=0.02).client.app
    sent: list[dict[str, Any]] = []

    async def slowly() -> None:
        first = [{"type": "http.request", "body": b"{", "more_body": True}]

        async def receive() -> dict[str, Any]:
            if first:
                return first.pop()
            await asyncio.Event().wait()  # nothing comes any more
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "query_string": b"",
            "root_path": "",
            "headers": [
                (name.lower().encode(), value.encode())
                for name, value in (bearer("asker") | JSON).items()
            ],
        }
        await app(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(slowly())
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"]["code"] == "body_timeout"


def test_more_requests_than_allowed_at_once_are_put_off(make_server: MakeServer) -> None:
    from balancedit.serving.http import bodies
    from balancedit.serving.http.settings import ServeSettings

    async def crowd() -> list[str | None]:
        gate = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await gate.wait()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        bounded = bodies.BoundedBodies(app, ServeSettings(max_requests=2))

        async def one() -> str | None:
            try:
                scope = {"type": "http", "method": "POST", "headers": []}
                await bounded(scope, receive, None)  # type: ignore[arg-type]
            except ApiError as error:
                return error.code
            return None

        tasks = [asyncio.ensure_future(one()) for _ in range(3)]
        await asyncio.sleep(0)
        gate.set()
        found = await asyncio.gather(*tasks)
        return [*found, await one()]

    assert asyncio.run(crowd()) == [None, None, "overloaded", None]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[" * 100_000, "json_too_large"),
        (b"[" * 33, "json_too_deep"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "json_too_deep"),
        (json.dumps({f"k{i}": i for i in range(10_000)}).encode(), "json_too_large"),
        (json.dumps([[i] for i in range(4_000)]).encode(), "json_too_large"),
        (b'{"a": "\xff"}', "invalid_json"),
        (json.dumps({"a": 1}).encode("utf-16"), "invalid_json"),
        (json.dumps({"a": 1}).encode("utf-16-le"), "invalid_json"),
        (b'{"a": "\\ud83d"}', "invalid_json"),
        (b'{"a": "\\uDE00\\ud83d"}', "invalid_json"),
    ],
)
def test_json_out_of_bounds_is_refused(body: bytes, expected: str) -> None:
    with pytest.raises(ApiError) as raised:
        check_json(body, 32, 5_000)
    assert (raised.value.status_code, raised.value.code) == (400, expected)


@pytest.mark.parametrize(
    "body",
    [
        json.dumps([1] * 5_000).encode(),
        json.dumps({f"k{i}": 1 for i in range(4_999)}).encode(),
        json.dumps({"a": "[" * 100_000 + "," * 100_000}).encode(),
        json.dumps({"a": '\\"[[,' * 10_000}).encode(),
        b"[" * 32 + b"]" * 32,
        b'{"a": "\\ud83d\\ude00"}',
        b'{"a": "\\\\ud83d"}',
        b'{"a": "unterminated [[[[',
        b"",
    ],
)
def test_json_within_bounds_is_let_through(body: bytes) -> None:
    check_json(body, 32, 5_000)


@pytest.mark.parametrize("unit", [b"\\", b'"', b'\\"', b"a\\", b'"\\', b"{", b":", b"]", b"[]"])
def test_the_check_takes_time_by_length_alone(unit: bytes) -> None:
    """Two megabytes of what is hardest for patterns: it comes to its end."""
    with suppress(ApiError):
        check_json(unit * (2_000_000 // len(unit)), 32, 5_000)


@pytest.mark.parametrize(
    "body",
    [b"{", b"{]", b"nonsense", b'{"model": NaN, "messages": ', b"1" * 5_000, b"\xef\xbb\xbf{"],
)
def test_what_is_no_json_is_said_to_be_none(server: Server, body: bytes) -> None:
    assert post(server, body).status_code == 400


def test_other_kinds_of_bodies_are_refused(server: Server) -> None:
    good = json.dumps(asking()).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml", ""):
        assert code(post(server, good, **{"Content-Type": kind})) == (415, "unsupported_media_type")
    assert (
        post(server, good, **{"Content-Type": "Application/JSON; charset=utf-8"}).status_code == 200
    )
