"""Requests to a server that answers as it is told to: what is sent, tried again, refused, said."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from balancedit.errors import (
    BalanceditError,
    EditFailedError,
    EditNotFoundError,
    ImageError,
    InputError,
    ServerError,
)
from balancedit.serving.client.client import Client
from balancedit.serving.client.connection import Connection
from serving.client.scripted import Said, Scripted, scripted

GOOD = Said(body={"data": [{"id": "pocket"}]})


def refusal(
    status: int, code: str | None = None, message: str = "so it is", **headers: str
) -> Said:
    body = {"error": {"message": message, "type": "x", "param": None, "code": code}}
    return Said(status, body, headers)


def connection(script: Scripted, waits: list[float] | None = None, **more: Any) -> Connection:
    return Connection(script.address, "bk_secret", sleep=(waits or []).append, **more)


def test_the_key_and_the_tenant_are_sent() -> None:
    with scripted(GOOD) as script:
        made = Connection(f"{script.address}/v1/", "bk_secret", "acme")
        assert Client(made).model() == "pocket"
    (asked,) = script.asked
    assert (asked.method, asked.path) == ("GET", "/v1/models")
    assert asked.headers["authorization"] == "Bearer bk_secret"
    assert asked.headers["balancedit-tenant"] == "acme"
    assert "content-type" not in asked.headers


@pytest.mark.parametrize(
    "trouble", [refusal(429), refusal(502), refusal(503), refusal(504), Said(body=None)]
)
def test_reading_is_tried_again(trouble: Said) -> None:
    waits: list[float] = []
    with scripted(trouble, trouble, GOOD) as script:
        made = Connection(script.address, sleep=waits.append)
        assert made.get("/v1/models").body == GOOD.body
    assert len(script.asked) == 3
    assert waits == [0.2, 0.4]


def test_what_has_a_name_of_its_own_is_sent_again_under_it() -> None:
    waits: list[float] = []
    with scripted(refusal(503, **{"Retry-After": "2"}), GOOD) as script:
        made = Connection(script.address, sleep=waits.append)
        assert made.post("/v1/edits", {"a": 1}, "name").status == 200
    assert waits == [2.0]
    assert [(a.body, a.headers["idempotency-key"]) for a in script.asked] == [
        ({"a": 1}, "name")
    ] * 2


@pytest.mark.parametrize("trouble", [refusal(429), refusal(503), Said(body=None)])
def test_what_has_none_is_not(trouble: Said) -> None:
    with scripted(trouble, GOOD) as script, pytest.raises(ServerError):
        connection(script).post("/v1/explain", {})
    assert len(script.asked) == 1


def test_what_is_wrong_is_not_tried_again_nor_what_takes_too_long() -> None:
    with scripted(refusal(400, "invalid_value"), GOOD) as script:
        with pytest.raises(InputError, match="so it is"):
            connection(script).get("/v1/edits")
        assert len(script.asked) == 1
    with scripted(refusal(429, **{"Retry-After": "60"}), GOOD) as script:
        with pytest.raises(ServerError) as caught:
            connection(script).get("/v1/edits")
        assert (len(script.asked), caught.value.retry_after) == (1, 60.0)


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (refusal(401, "missing_key"), ServerError, "so it is; give the key as --key or BALANCEDIT"),
        (refusal(403, "wrong_tenant"), ServerError, "does not let this key do that: so it is"),
        (refusal(404, "edit_not_found"), EditNotFoundError, "^so it is$"),
        (refusal(404, "not_found"), ServerError, r"refuses \(404\): so it is"),
        (refusal(400, "invalid_image"), ImageError, "^so it is$"),
        (refusal(412, "edit_conflict"), ServerError, "^so it is$"),
        (refusal(413), ServerError, "does not take so much at once"),
        (refusal(422, "edit_failed"), EditFailedError, "^so it is$"),
        (refusal(429, "overloaded"), ServerError, "has too much to do: so it is"),
        (refusal(500), ServerError, "failed: so it is"),
        (refusal(503, "draining"), ServerError, "cannot do it now: so it is"),
        (refusal(504), ServerError, "did not come to it in time: so it is"),
        (
            Said(502, b"<html>bad gateway</html>"),
            ServerError,
            r"cannot be reached behind .*\(502\)",
        ),
        (Said(404, b"<html>no</html>"), ServerError, r"\(404\) is not what a balancedit server"),
        (Said(200, b"<html>welcome</html>"), ServerError, r"\(200\) is not what a balancedit"),
        (Said(200, b"[" * 100_000), ServerError, "is not what a balancedit server answers"),
        (Said(200, {"data": "?"}), ServerError, "is not what a balancedit server answers"),
        (Said(503, {"error": "?"}), ServerError, r"\(503\)"),
    ],
    ids=range(18),
)
def test_refusals_are_said_in_our_words(
    said: Said, kind: type[BalanceditError], words: str
) -> None:
    with scripted(said) as script, pytest.raises(kind, match=words) as caught:
        Client(connection(script)).model()
    assert "bk_secret" not in str(caught.value)


def test_a_key_goes_to_no_other_server() -> None:
    with scripted(GOOD) as other:
        away = Said(307, {}, {"Location": f"{other.address}/v1/models"})
        own = pytest.raises(ServerError, match=r"sends on to .*; give the server's own address")
        with scripted(away) as script, own:
            connection(script).get("/v1/models")
    assert not other.asked


def test_a_server_that_is_away_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    made = Connection(address, sleep=lambda _: None)
    with pytest.raises(ServerError, match=r"no server answers at .* \(nothing listens there\)"):
        made.get("/v1/models")
    with pytest.raises(ServerError, match=r"no server answers at .*"):
        Connection("http://no-such-host.invalid", sleep=lambda _: None).get("/v1/models")


def test_a_server_that_keeps_silent_is_said() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        made = Connection(address, seconds=0.05, sleep=lambda _: None)
        with pytest.raises(ServerError, match=r"has not answered within 0\.05 s"):
            made.post("/v1/explain", {})


def test_no_proxy_stands_before_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with scripted(GOOD) as script:
        assert connection(script).get("/v1/models").status == 200


@pytest.mark.parametrize(
    "address",
    ["", "localhost:8000", "ftp://a", "http://", "http://a:b", "http://a b", "http://a/?k=1", "/x"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="is no server's address; give one such as http"):
        Connection(address)


def test_what_cannot_be_sent_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="holds no key; give it as --key"):
        Connection("http://bk_secret@localhost:8000")
    for bad in ("bk_se cret", "bk_secret\r\nX: y", "bk_sécret"):
        with pytest.raises(InputError, match="the key holds spaces or other") as caught:
            Connection("http://localhost", bad)
        assert "cret" not in str(caught.value)
