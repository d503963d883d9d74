"""Clients as people have them, against a server on a port: openai's, and the bodies that Open WebUI
and LangChain send."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest

from balancedit.serving.engine.protocol import DeadlinePassed, Overloaded
from balancedit.serving.http.keys import HeldKeys
from balancedit.serving.http.services import Services
from balancedit.serving.http.settings import ServeSettings
from serving.fakes import FakeEngine
from serving.http.conftest import SECRETS, asking, bearer, data_url, key
from serving.http.listening import Listening, listening


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(reply="an owl at night")


@pytest.fixture
def there(engine: FakeEngine) -> Iterator[Listening]:
    settings = ServeSettings(drain_seconds=10)
    services = Services(engine, HeldKeys(*map(key, SECRETS)), settings, tenants=("default", "acme"))
    with listening(services) as found:
        yield found


@pytest.fixture
def client(there: Listening) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        api_key=SECRETS["asker"], base_url=f"{there.address}/v1", max_retries=0
    ) as made:
        yield made


@pytest.fixture
def later(there: Listening) -> openai.AsyncOpenAI:
    """The asynchronous client; to be used in one event loop."""
    return openai.AsyncOpenAI(
        api_key=SECRETS["asker"], base_url=f"{there.address}/v1", max_retries=0
    )


def messages(*urls: str) -> Any:
    return asking("What is this?", *urls)["messages"]


def test_openai_asks_about_a_picture(client: openai.OpenAI, engine: FakeEngine) -> None:
    said = client.chat.completions.create(model="pocket", messages=messages(data_url(5, 4)))
    assert said.choices[0].message.content == "an owl at night"
    assert said.choices[0].finish_reason == "stop"
    assert said.usage is not None
    assert said.usage.total_tokens == 11
    assert said.model_extra is not None
    assert said.model_extra["balancedit"]["fired"] == "edit-1"
    assert engine.sizes == [(5, 4)]


def test_openai_reads_headers(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="pocket@base", messages=messages(), temperature=0.3
    )
    assert raw.headers["balancedit-version"] == "3"
    assert raw.headers["balancedit-ignored"] == "temperature"


def test_openai_streams(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="pocket", messages=messages(), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "an owl at night"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 4
    routed = [c.model_extra["balancedit"] for c in chunks if "balancedit" in (c.model_extra or {})]
    assert {one["fired"] for one in routed} == {"edit-1"}


def test_openai_streams_helper(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="pocket", messages=messages()) as stream:
        assert stream.get_final_completion().choices[0].message.content == "an owl at night"


def test_openai_streams_asynchronously(later: openai.AsyncOpenAI) -> None:
    async def one() -> str:
        stream = await later.chat.completions.create(
            model="pocket", messages=messages(data_url()), stream=True
        )
        return "".join([c.choices[0].delta.content or "" async for c in stream])

    async def many() -> list[str]:
        return await asyncio.gather(*(one() for _ in range(8)))

    assert asyncio.run(many()) == ["an owl at night"] * 8


def test_openai_lists_models(client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == ["pocket", "pocket@base", "pocket@default"]
    assert client.models.retrieve("pocket@base").owned_by == "balancedit"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("pocket@acme")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Overloaded(1), openai.RateLimitError),
        (DeadlinePassed(), openai.InternalServerError),
        (ValueError("x"), openai.InternalServerError),
    ],
)
def test_openai_names_failures(
    client: openai.OpenAI, engine: FakeEngine, reply: Exception, error: type[Exception]
) -> None:
    engine.reply = reply
    with pytest.raises(error):
        client.chat.completions.create(model="pocket", messages=messages())


def test_openai_names_what_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="pocket", messages=messages(), n=3)
    assert raised.value.param == "n"
    assert raised.value.code == "unsupported_parameter"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-4o", messages=messages())
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="bk_wrong").models.list()


def test_openai_raises_in_the_middle_of_a_stream(client: openai.OpenAI, engine: FakeEngine) -> None:
    engine.reply, engine.breaks_after = DeadlinePassed(), 2
    got: list[str | None] = []
    stream = client.chat.completions.create(model="pocket", messages=messages(), stream=True)
    with pytest.raises(openai.APIError, match="longer than allowed"):
        got.extend(chunk.choices[0].delta.content for chunk in stream)
    assert got == ["", "one", " two"]


def test_openai_tries_again_when_told_to(there: Listening, engine: FakeEngine) -> None:
    replies: list[Any] = [Overloaded(0.01), "an owl"]
    engine.reply = lambda asked: replies.pop(0)
    client = openai.OpenAI(api_key=SECRETS["asker"], base_url=f"{there.address}/v1", max_retries=1)
    said = client.chat.completions.create(model="pocket", messages=messages())
    assert said.choices[0].message.content == "an owl"


# -- going away, and shutting down ------------------------------------------------------------


def test_a_stream_that_is_closed_takes_its_question_back(
    client: openai.OpenAI, engine: FakeEngine
) -> None:
    engine.gate, engine.free_pieces = asyncio.Event(), 2
    stream = client.chat.completions.create(model="pocket", messages=messages(), stream=True)
    pieces = iter(stream)
    assert [next(pieces).choices[0].delta.content for _ in range(3)] == ["", "an", " owl"]
    stream.close()
    assert engine.taken_back.wait(10)
    assert engine.cancelled == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_that_leaves_takes_its_question_back(
    there: Listening, engine: FakeEngine, stream: bool
) -> None:
    engine.gate = asyncio.Event()
    body = json.dumps(asking(stream=stream)).encode()
    place = urlsplit(there.address)
    with socket.create_connection((place.hostname, place.port), 10) as raw:
        head = "\r\n".join(
            (
                "POST /v1/chat/completions HTTP/1.1",
                "Host: localhost",
                f"Authorization: Bearer {SECRETS['asker']}",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
            )
        )
        raw.sendall(f"{head}\r\n\r\n".encode() + body)
        asked = threading.Event()
        there.call(asked.set)
        while not engine.asked:  # until it has come in
            asked.wait(0.01)
            asked.clear()
    assert engine.taken_back.wait(10)
    assert engine.cancelled == 1


def test_shutting_down_finishes_what_is_under_way(there: Listening, engine: FakeEngine) -> None:
    engine.gate, engine.free_pieces = asyncio.Event(), 1
    gate = engine.gate
    with httpx2.stream(
        "POST",
        f"{there.address}/v1/chat/completions",
        json=asking(stream=True),
        headers=bearer("asker"),
        timeout=20,
    ) as reply:
        lines = reply.iter_lines()
        first = [next(lines) for _ in range(3)]
        assert '"content":"an"' in first[2]
        there.stop()
        assert not engine.drained
        there.call(gate.set)
        rest = list(lines)
    assert rest[-2:] == ["data: [DONE]", ""] or rest[-1] == "data: [DONE]"
    there.thread.join(20)
    assert engine.drained
    assert (engine.finished, engine.cancelled) == (1, 0)
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{there.address}/health/live")


# -- other clients' bodies --------------------------------------------------------------------

#: As Open WebUI 0.6 sends them.
OPEN_WEBUI = {
    "stream": True,
    "model": "pocket",
    "messages": [
        {"role": "system", "content": "User Context:\n\n"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": data_url()}},
            ],
        },
        {"role": "assistant", "content": "an owl"},
        {"role": "user", "content": "Are you sure?"},
    ],
    "features": {"image_generation": False, "code_interpreter": False, "web_search": False},
    "variables": {"{{USER_NAME}}": "A", "{{CURRENT_DATE}}": "2026-01-01"},
    "metadata": {"chat_id": "1", "files": None},
    "stream_options": {"include_usage": True},
    "session_id": "s",
    "chat_id": "c",
    "id": "i",
    "background_tasks": {"title_generation": True, "tags_generation": True},
    "temperature": 0.8,
    "stop": None,
    "max_tokens": 128,
    "tool_ids": None,
    "tools": None,
}
#: As LangChain's ChatOpenAI sends them.
LANGCHAIN = {
    "messages": [
        {"content": "Answer in a word.", "role": "system"},
        {
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": data_url(), "detail": "auto"}},
            ],
            "role": "user",
        },
        {"content": "owl", "role": "assistant", "tool_calls": None},
        {"content": [{"type": "text", "text": "And its colour?"}], "role": "user", "name": "a"},
    ],
    "model": "pocket",
    "frequency_penalty": 0,
    "n": 1,
    "presence_penalty": 0,
    "stream": False,
    "temperature": 0.0,
    "top_p": 1,
    "max_completion_tokens": 64,
    "parallel_tool_calls": None,
    "logprobs": False,
}


@pytest.mark.parametrize("body", [OPEN_WEBUI, LANGCHAIN], ids=["open-webui", "langchain"])
def test_other_clients_bodies_are_answered(
    there: Listening, engine: FakeEngine, body: dict[str, Any]
) -> None:
    reply = httpx2.post(f"{there.address}/v1/chat/completions", json=body, headers=bearer("asker"))
    assert reply.status_code == 200, reply.text
    assert "owl" in reply.text
    (asked,) = engine.asked
    assert [turn.role for turn in asked.turns.turns] == ["system", "user", "assistant", "user"]
    assert asked.max_new_tokens in (64, 128)
    assert asked.turns.turns[1].text == "What is this?"
    assert len(asked.turns.pictures) == 1
    ignored = reply.headers.get("balancedit-ignored", "")
    assert ("temperature" in ignored) is (body is OPEN_WEBUI)
