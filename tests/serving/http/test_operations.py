"""Health, figures, the log, headers, and the shape of whatever goes wrong."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from balancedit.errors import StoreError
from balancedit.serving.engine.protocol import EngineState, Turn
from balancedit.serving.http import logs
from balancedit.serving.http.metrics import MOST_EDITS, Metrics
from serving.fakes import FakeEngine
from serving.http.conftest import SECRETS, MakeServer, Server, asking, bearer, data_url


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the server logs."""
    loggers = [logging.getLogger(name) for name in ("balancedit", "uvicorn")]
    former = [(one, one.handlers[:], one.level, one.propagate) for one in loggers]
    stream = io.StringIO()
    logs.start(stream)
    yield stream
    for one, handlers, level, propagate in former:
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


# -- health and figures -----------------------------------------------------------------------


def test_health_is_open_to_all(server: Server) -> None:
    assert server.client.get("/health/live").json() == {"status": "ok"}
    ready = server.client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ok", "model": "pocket", "version": 3, "queued": 0}


@pytest.mark.parametrize(
    ("state", "status"),
    [(EngineState(draining=True, queued=4), "draining"), (EngineState(alive=False), "stopped")],
)
def test_a_server_that_cannot_answer_is_not_ready(
    make_server: MakeServer, state: EngineState, status: str
) -> None:
    reply = make_server(FakeEngine(state=state)).client.get("/health/ready")
    assert reply.status_code == 503
    assert reply.json()["status"] == status
    assert reply.json()["queued"] == state.queued


def test_the_engine_is_drained_at_the_end(make_server: MakeServer) -> None:
    server = make_server()
    assert not server.engine.drained
    server.client.__exit__()
    assert server.engine.drained
    server.client.__enter__()  # for the fixture to leave


def test_figures_show_what_was_done(make_server: MakeServer) -> None:
    state = EngineState(queued=2, running=5, held={"default": 7}, versions={"default": 9})
    server = make_server(FakeEngine(state=state))
    server.chat(asking())
    server.chat(asking(n=2))
    turn = Turn("answers", "default", 4, 0.3, 0.01, 9, fired=("e1", "e1", "e2"))
    server.services.metrics.turn(turn)
    server.services.metrics.turn(replace(turn, kind="work", size=2, failed=1, fired=()))
    reply = server.client.get("/metrics", headers=bearer("admin"))
    assert reply.headers["content-type"].startswith("text/plain")
    shown = reply.text
    for line in (
        'balancedit_requests_total{endpoint="chat",status="200"} 1.0',
        'balancedit_requests_total{endpoint="chat",status="400"} 1.0',
        'balancedit_request_seconds_count{endpoint="chat"} 2.0',
        'balancedit_batch_size_bucket{kind="answers",le="4.0"} 1.0',
        'balancedit_batch_size_bucket{kind="answers",le="2.0"} 0.0',
        'balancedit_fired_total{edit="e1"} 2.0',
        'balancedit_fired_total{edit="e2"} 1.0',
        "balancedit_untouched_total 1.0",
        'balancedit_failed_total{kind="work"} 1.0',
        "balancedit_queued 2.0",
        "balancedit_running 5.0",
        'balancedit_edits_held{tenant="default"} 7.0',
        'balancedit_edits_version{tenant="default"} 9.0',
    ):
        assert line in shown, line


def test_the_stores_lead_is_shown() -> None:
    metrics = Metrics()
    engine = FakeEngine(state=EngineState(versions={"default": 5}))
    metrics.watch(engine, lambda: {"default": 8, "acme": 2})
    shown = metrics.text().decode()
    assert 'balancedit_edits_version_lag{tenant="default"} 3.0' in shown
    assert 'balancedit_edits_version_lag{tenant="acme"} 2.0' in shown


def test_edits_are_named_as_long_as_there_are_few() -> None:
    metrics = Metrics()
    for number in range(MOST_EDITS + 50):
        fired = (f"e{number}", "e0")
        metrics.turn(Turn("answers", "default", 2, 0.1, 0.0, 1, fired=fired))
    shown = metrics.text().decode()
    named = [line for line in shown.splitlines() if line.startswith("balancedit_fired_total")]
    assert len(named) == MOST_EDITS + 1
    assert 'balancedit_fired_total{edit="other"} 50.0' in named
    assert f'balancedit_fired_total{{edit="e0"}} {MOST_EDITS + 51}.0' in named


def test_paths_that_there_are_none_of_make_no_figures_of_their_own(server: Server) -> None:
    for number in range(5):
        server.client.get(f"/nothing/{number}")
    shown = server.services.metrics.text().decode()
    assert 'balancedit_requests_total{endpoint="none",status="404"} 5.0' in shown
    assert "/nothing" not in shown


# -- the log ----------------------------------------------------------------------------------


def test_a_request_is_a_line(server: Server, log: io.StringIO) -> None:
    reply = server.chat(asking(), X_Request_Id="mine-1")
    (line,) = lines(log)
    assert reply.headers["x-request-id"] == line["id"] == "mine-1"
    assert line["event"] == "request"
    assert (line["method"], line["path"]) == ("POST", "/v1/chat/completions")
    assert (line["status"], line["key"], line["tenant"]) == (200, "k-asker", "default")
    assert (line["fired"], line["version"], line["completion_tokens"]) == ("edit-1", 3, 2)
    assert line["seconds"] >= 0


def test_a_stream_is_a_line_too(server: Server, log: io.StringIO) -> None:
    server.chat(asking(stream=True))
    (line,) = lines(log)
    assert (line["stream"], line["fired"], line["status"]) == (True, "edit-1", 200)


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, '"quoted"', "new\\nline"])
def test_other_ids_of_requests_are_not_repeated(server: Server, given: str) -> None:
    reply = server.chat(asking(), X_Request_Id=given)
    assert reply.headers["x-request-id"] != given
    assert len(reply.headers["x-request-id"]) == 16


def test_health_is_not_logged(server: Server, log: io.StringIO) -> None:
    server.client.get("/health/live")
    server.client.get("/health/ready")
    server.client.get("/metrics", headers=bearer("admin"))
    assert not log.getvalue()


SECRET = "the-patient-is-Jane-Doe"


def test_nothing_that_was_asked_shown_or_answered_is_in_the_log(
    make_server: MakeServer, log: io.StringIO
) -> None:
    url = data_url()
    replies: list[Any] = [SECRET, RuntimeError(SECRET), ValueError(f"{url} {SECRET}")]
    for reply in replies:
        server = make_server(FakeEngine(reply=reply))
        for body in (
            asking(SECRET, url),
            asking(SECRET, url, stream=True),
            asking(SECRET, url, temperature=0.5, user=SECRET),
            asking(SECRET, f"file:///{SECRET}"),
            asking(SECRET, f"https://{SECRET}.example/{SECRET}"),
            {"model": SECRET, "messages": [{"role": SECRET, "content": SECRET}]},
        ):
            server.chat(body)
            server.chat(body, who="admin", X_Request_Id="plain")
        server.client.get(f"/v1/models/{SECRET}?q={SECRET}", headers=bearer("asker"))
        server.client.get(f"/{SECRET}", headers={"Authorization": f"Bearer bk_{SECRET}"})
        server.client.post("/v1/session", json={"key": SECRETS["asker"]})
        server.client.post("/v1/session", json={"key": SECRET})
    text = log.getvalue()
    assert SECRET not in text
    assert "base64" not in text
    assert not any(secret in text for secret in SECRETS.values())
    assert "csrf" not in text
    failures = [line for line in lines(log) if line["event"] == "failure"]
    assert failures
    assert failures[0]["error"] == ["RuntimeError"]
    assert any("fakes.py" in place for place in failures[0]["places"])


def test_what_is_wrong_with_the_servers_own_files_is_said(
    make_server: MakeServer, log: io.StringIO
) -> None:
    server = make_server(FakeEngine(reply=StoreError("'/srv/edits' is full")))
    assert "/srv" not in server.chat(asking()).text
    assert "/srv" not in server.chat(asking(stream=True)).text
    failures = [line for line in lines(log) if line["event"] == "failure"]
    assert [line["message"] for line in failures] == ["'/srv/edits' is full"] * 2


def test_records_of_other_libraries_lose_what_their_errors_say(log: io.StringIO) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("uvicorn.error").error("it broke", exc_info=True)
    (line,) = lines(log)
    assert (line["event"], line["error"]) == ("it broke", ["ValueError"])
    assert SECRET not in log.getvalue()


# -- headers and errors -----------------------------------------------------------------------


def test_browsers_are_kept_strict(server: Server) -> None:
    for path in ("/health/live", "/nothing", "/v1/models", "/openapi.json"):
        headers = server.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
    assert server.chat(asking()).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/health/live", 405),
        ("GET", "/docs", 404),
        ("GET", "/v1/models/../../etc/passwd", 404),
        ("GET", "/v1/models/..%2f..%2fetc%2fpasswd", 404),
    ],
)
def test_what_there_is_none_of_has_openais_shape(
    server: Server, method: str, path: str, status: int
) -> None:
    reply = server.client.request(method, path, headers=bearer("admin"))
    assert reply.status_code == status
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    if status == 405:
        assert reply.headers["allow"]


def test_an_error_repeats_nothing_of_the_body(server: Server) -> None:
    for body in (
        {"model": 5, "messages": SECRET},
        {"model": "pocket", "messages": [{"role": SECRET, "content": "x"}]},
        {"model": "pocket", "messages": [{"role": "user", "content": [{"type": SECRET}]}]},
        {"model": SECRET, "messages": [{"role": "user", "content": "x"}]},
        asking(n=SECRET),
        asking(stop={"a": SECRET}),
    ):
        reply = server.chat(body)
        assert 400 <= reply.status_code < 500
        assert SECRET not in reply.text
