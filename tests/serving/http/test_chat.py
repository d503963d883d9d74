"""Chat completions: what is asked, what comes back, whole and as a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from balancedit.errors import InputError, StoreError
from balancedit.inputs.conversation import Dialogue
from balancedit.serving.engine.protocol import DeadlinePassed, Draining, Failed, Overloaded
from serving.fakes import FakeEngine
from serving.http.conftest import MakeServer, Server, asking, data_url


def events(reply: Any) -> list[Any]:
    """A stream's data, the last one "[DONE]"."""
    lines = [line for line in reply.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    found = [line.removeprefix("data: ") for line in lines]
    assert found[-1] == "[DONE]"
    return [*map(json.loads, found[:-1]), found[-1]]


def test_a_question_about_a_picture_is_answered(server: Server) -> None:
    reply = server.chat(asking("What is this?", data_url(9, 5)))
    assert reply.status_code == 200
    said = reply.json()
    assert said["object"] == "chat.completion"
    assert said["model"] == "pocket"
    assert said["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "an owl", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert said["usage"] == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    assert said["balancedit"] == {
        "fired": "edit-1",
        "nearest": "edit-1",
        "distance": 0.25,
        "radius": 0.5,
        "version": 3,
        "cut": False,
    }
    assert reply.headers["balancedit-version"] == "3"
    assert "balancedit-ignored" not in reply.headers
    assert server.engine.questions == ["What is this?"]
    assert server.engine.sizes == [(9, 5)]


def test_a_picture_below_its_question_is_the_same_prompt_as_above_it(server: Server) -> None:
    body = asking("What is this?", data_url())
    server.chat(body)
    body["messages"][0]["content"].reverse()
    server.chat(body)
    assert server.engine.questions == ["What is this?"] * 2


def test_turns_keep_their_order_and_the_pictures_their_places(server: Server) -> None:
    def picture(width: int) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": data_url(width, 4)}}

    def text(said: str) -> dict[str, Any]:
        return {"type": "text", "text": said}

    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [text("Before:"), picture(3), text("After:"), picture(5)]},
        {"role": "assistant", "content": "They differ."},
        {"role": "user", "content": [text("And this?"), picture(7)]},
    ]
    reply = server.chat({"model": "pocket", "messages": messages})
    assert reply.status_code == 200, reply.text
    assert server.engine.sizes == [(3, 4), (5, 4), (7, 4)]
    assert server.engine.questions[0] == Dialogue(
        (
            ("system", ("Be brief.",)),
            ("user", ("Before:", None, "After:", None)),
            ("assistant", ("They differ.",)),
            ("user", (None, "And this?")),
        )
    )


def test_a_stream_has_the_answer_in_pieces_and_which_edit_gave_it(server: Server) -> None:
    server.engine.reply = "an owl at night"
    reply = server.chat(asking(stream=True, stream_options={"include_usage": True}))
    assert reply.headers["content-type"].startswith("text/event-stream")
    *chunks, done = events(reply)
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    first, *middle, end, usage = chunks
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [c["choices"][0]["delta"]["content"] for c in middle] == ["an", " owl", " at", " night"]
    assert end["choices"][0]["finish_reason"] == "stop"
    assert end["balancedit"]["fired"] == "edit-1"
    assert end["usage"] is None
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 11
    assert usage["balancedit"] == end["balancedit"]


def test_without_the_wish_for_it_a_stream_has_no_usage(server: Server) -> None:
    *chunks, _ = events(server.chat(asking(stream=True)))
    assert all("usage" not in chunk for chunk in chunks)
    assert "balancedit" in chunks[-1]


def test_an_error_before_the_first_piece_is_a_status(make_server: MakeServer) -> None:
    server = make_server(FakeEngine(reply=Overloaded(2.2)))
    for stream in (False, True):
        reply = server.chat(asking(stream=stream))
        assert reply.status_code == 429
        assert reply.headers["retry-after"] == "3"
        assert reply.json()["error"]["code"] == "overloaded"


def test_an_error_in_the_middle_is_told_within_the_stream(make_server: MakeServer) -> None:
    server = make_server(FakeEngine(reply=DeadlinePassed(), breaks_after=1))
    reply = server.chat(asking(stream=True))
    assert reply.status_code == 200
    *_, piece, error, done = events(reply)
    assert piece["choices"][0]["delta"] == {"content": "one"}
    assert error["error"]["code"] == "deadline"
    assert done == "[DONE]"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (DeadlinePassed(), 504, "deadline"),
        (Draining(), 503, "draining"),
        (Failed(), 500, "internal_error"),
        (InputError("the prompt is too long"), 400, "invalid_value"),
        (StoreError("'/srv/edits' cannot be read"), 503, "store_unavailable"),
        (RuntimeError("secret"), 500, "internal_error"),
    ],
)
def test_failures_have_statuses_and_openais_shape(
    make_server: MakeServer, error: Exception, status: int, code: str
) -> None:
    reply = make_server(FakeEngine(reply=error)).chat(asking())
    assert reply.status_code == status
    assert set(reply.json()) == {"error"}
    said = reply.json()["error"]
    assert set(said) == {"message", "type", "param", "code"}
    assert said["code"] == code
    assert "secret" not in reply.text
    assert "/srv" not in reply.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "required"),
        ("functions", [{"name": "f"}]),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("response_format", {"type": "json_object"}),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "x"}),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(server: Server, name: str, value: Any) -> None:
    reply = server.chat(asking(**{name: value}))
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == name
    assert not server.engine.asked


def test_values_that_ask_for_nothing_are_fine(server: Server) -> None:
    nothing: dict[str, Any] = {
        "n": 1,
        "tools": [],
        "tool_choice": "none",
        "logprobs": False,
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "temperature": 0,
        "top_p": 1.0,
        "stop": None,
        "seed": None,
    }
    reply = server.chat(asking(**nothing))
    assert reply.status_code == 200
    assert "balancedit-ignored" not in reply.headers


def test_what_is_ignored_is_named(server: Server) -> None:
    reply = server.chat(asking(temperature=0.7, seed=1, user="u", **{"bad name\n": 1}))
    assert reply.headers["balancedit-ignored"] == "temperature,seed,user"
    stream = server.chat(asking(temperature=0.7, stream=True))
    assert stream.headers["balancedit-ignored"] == "temperature"


@pytest.mark.parametrize("stream", [False, True])
def test_stop_texts_end_the_answer(make_server: MakeServer, stream: bool) -> None:
    server = make_server(FakeEngine(reply="one two. three"))
    reply = server.chat(asking(stop=[". t", "zzz"], stream=stream))
    if stream:
        *chunks, _ = events(reply)
        deltas = [c["choices"][0]["delta"].get("content", "") for c in chunks]
        assert "".join(deltas) == "one two"
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    else:
        assert reply.json()["choices"][0]["message"]["content"] == "one two"


def test_answers_are_no_longer_than_asked_for_nor_than_allowed(make_server: MakeServer) -> None:
    server = make_server(max_tokens=50)
    for given in ({}, {"max_tokens": 5}, {"max_completion_tokens": 7, "max_tokens": 9}):
        server.chat(asking(**given))
    server.chat(asking(max_tokens=1000))
    assert [ask.max_new_tokens for ask in server.engine.asked] == [None, 5, 7, 50]


def test_a_cut_answer_says_so(make_server: MakeServer) -> None:
    from balancedit.serving.engine.protocol import Answered
    from balancedit.types import Answer

    class Cutting(FakeEngine):
        async def ask(self, asked: Any, **how: Any) -> Answered:
            return Answered(Answer("one two", cut=True), 1, 5, 2)

    said = make_server(Cutting()).chat(asking()).json()
    assert said["choices"][0]["finish_reason"] == "length"
    assert said["balancedit"]["cut"]


def test_names_choose_the_untouched_model_and_the_tenant(server: Server) -> None:
    for name in ("pocket", "pocket@base", "pocket@acme", "pocket@default"):
        reply = server.chat(asking() | {"model": name}, who="admin")
        assert reply.json()["model"] == name
    asked = [(ask.tenant, ask.base) for ask in server.engine.asked]
    assert asked == [("default", False), ("default", True), ("acme", False), ("default", False)]
    server.chat(asking() | {"model": "pocket@base"}, who="admin", Balancedit_Tenant="acme")
    assert (server.engine.asked[-1].tenant, server.engine.asked[-1].base) == ("acme", True)


def test_models_are_listed_as_far_as_the_key_goes(server: Server) -> None:
    def listed(who: str) -> list[str]:
        from serving.http.conftest import bearer

        found = server.client.get("/v1/models", headers=bearer(who)).json()
        assert found["object"] == "list"
        return [model["id"] for model in found["data"]]

    assert listed("asker") == ["pocket", "pocket@base", "pocket@default"]
    assert listed("acme") == ["pocket", "pocket@base", "pocket@acme"]
    assert listed("admin") == ["pocket", "pocket@base", "pocket@default", "pocket@acme"]


@pytest.mark.parametrize("name", ["gpt-4o", "pocket@", "pocket@acme", "pocket@nobody", "@base", ""])
def test_other_names_are_not_found(server: Server, name: str) -> None:
    reply = server.chat(asking() | {"model": name})
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "pocket"}, "messages"),
        ({"model": "pocket", "messages": []}, "messages"),
        (asking(max_tokens=0), "max_tokens"),
        (asking(max_tokens="five"), "max_tokens"),
        (asking(stream="yes"), "stream"),
        ({"model": "pocket", "messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        (
            {"model": "pocket", "messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages.0.content.0.text",
        ),
        ({"model": "pocket", "messages": [{"role": "user", "content": "  "}]}, "messages"),
        ({"model": "pocket", "messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        (asking(stop=list("abcde")), "stop"),
    ],
)
def test_wrong_bodies_name_the_parameter(server: Server, body: Any, param: str) -> None:
    reply = server.chat(body)
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["param"] == param


def test_the_callers_deadline_counts(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from balancedit.serving.http import deadlines

    monkeypatch.setattr(deadlines.time, "monotonic", lambda: 1000.0)
    server.chat(asking())
    server.chat(asking(), Balancedit_Deadline="2.5")
    assert server.engine.deadlines == [1060.0, 1002.5]


@pytest.mark.parametrize("said", ["0", "-1", "nan", "inf", "soon", "1e9"])
def test_a_deadline_that_is_none_is_refused(server: Server, said: str) -> None:
    reply = server.chat(asking(), Balancedit_Deadline=said)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "Balancedit-Deadline"
