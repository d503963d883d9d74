"""Who may come in: keys, scopes, tenants, sessions, rates."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from balancedit.serving.http.keys import HeldKeys
from balancedit.serving.http.limits import TokenBuckets
from balancedit.serving.http.services import MayAdmin, MayEdit, Services
from balancedit.serving.http.sessions import COOKIE, Sessions
from serving.fakes import FakeEngine
from serving.http.conftest import SECRETS, MakeServer, Server, asking, bearer, key


def code(reply: object) -> str:
    return reply.json()["error"]["code"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "header",
    [
        "Bearer bk_wrong",
        "Bearer ",
        "Bearer",
        "",
        f"Basic {SECRETS['admin']}",
        f"Bearer {SECRETS['admin'][:-1]}",
        "Bearer \xff",
    ],
)
def test_a_wrong_key_is_refused(server: Server, header: str) -> None:
    shown = {"Authorization": header.encode("latin-1")}
    reply = server.client.get("/v1/models", headers=shown)  # type: ignore[arg-type]
    assert (reply.status_code, code(reply)) == (401, "invalid_key")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert "bk_wrong" not in reply.text


def test_without_a_key_nothing_below_v1_answers(server: Server) -> None:
    for path in ("/v1/models", "/v1/chat/completions", "/v1/nothing", "/v1/"):
        reply = server.client.post(path, json={})
        assert (reply.status_code, code(reply)) == (401, "missing_key")
    assert server.client.get("/health/live").status_code == 200


def test_no_body_is_read_without_a_key(server: Server) -> None:
    read = []

    def body():  # type: ignore[no-untyped-def]
        for _ in range(3):
            read.append(1)
            yield b"x"

    app, read_before = server.client.app, []

    async def counting(scope, receive, send):  # type: ignore[no-untyped-def]
        async def seen():  # type: ignore[no-untyped-def]
            read_before.append(1)
            return await receive()

        await app(scope, seen, send)

    client = TestClient(counting)
    assert client.post("/v1/chat/completions", content=body()).status_code == 401
    assert not read_before


@pytest.fixture
def guarded(server: Server) -> Server:
    """With an endpoint for each of the higher scopes."""

    async def edits(caller: MayEdit) -> dict[str, str]:
        return {"tenant": caller.tenant, "key": caller.key_id}

    async def admins(caller: MayAdmin) -> dict[str, str]:
        return {"tenant": caller.tenant, "key": caller.key_id}

    app = server.client.app
    app.get("/v1/for-editors")(edits)  # type: ignore[attr-defined]
    app.post("/v1/for-editors")(edits)  # type: ignore[attr-defined]
    app.get("/v1/for-admins")(admins)  # type: ignore[attr-defined]
    return server


@pytest.mark.parametrize(
    ("who", "path", "status"),
    [
        ("asker", "/v1/models", 200),
        ("asker", "/v1/for-editors", 403),
        ("asker", "/v1/for-admins", 403),
        ("editor", "/v1/models", 200),
        ("editor", "/v1/for-editors", 200),
        ("editor", "/v1/for-admins", 403),
        ("admin", "/v1/models", 200),
        ("admin", "/v1/for-editors", 200),
        ("admin", "/v1/for-admins", 200),
        ("asker", "/metrics", 403),
        ("admin", "/metrics", 200),
    ],
)
def test_a_scope_may_do_what_those_below_it_may(
    guarded: Server, who: str, path: str, status: int
) -> None:
    reply = guarded.client.get(path, headers=bearer(who))
    assert reply.status_code == status
    if status == 403:
        assert code(reply) == "missing_scope"


@pytest.mark.parametrize(
    ("who", "header", "expected"),
    [
        ("editor", None, "default"),
        ("editor", "default", "default"),
        ("editor", "acme", 403),
        ("editor", "nobody", 403),
        ("acme", None, "acme"),
        ("acme", "default", 403),
        ("admin", None, "default"),
        ("admin", "acme", "acme"),
        ("admin", "nobody", 404),
        ("admin", "*", 404),
        ("acme", "*", 403),
        ("editor", "", 403),
    ],
)
def test_a_key_is_for_its_tenant(
    guarded: Server, who: str, header: str | None, expected: str | int
) -> None:
    more = {} if header is None else {"Balancedit-Tenant": header}
    reply = guarded.client.get("/v1/for-editors", headers=bearer(who) | more)
    if isinstance(expected, int):
        assert reply.status_code == expected
        assert code(reply) == {403: "wrong_tenant", 404: "unknown_tenant"}[expected]
    else:
        assert reply.json()["tenant"] == expected


# -- sessions ---------------------------------------------------------------------------------


def login(server: Server, who: str) -> dict[str, str]:
    reply = server.client.post("/v1/session", json={"key": SECRETS[who]})
    assert reply.status_code == 200
    said: dict[str, str] = reply.json()
    return said


def test_a_session_stands_for_its_key(guarded: Server) -> None:
    said = login(guarded, "acme")
    assert said["scope"] == "edit"
    assert said["tenants"] == ["acme"]
    assert guarded.client.get("/v1/for-editors").json() == {"tenant": "acme", "key": "k-acme"}
    assert guarded.client.get("/v1/for-admins").status_code == 403
    assert guarded.client.get("/v1/session").json()["csrf"] == said["csrf"]


def test_its_cookie_is_no_scripts_and_no_other_sites(make_server: MakeServer) -> None:
    for https in (False, True):
        reply = make_server(https=https).client.post("/v1/session", json={"key": SECRETS["asker"]})
        cookie = reply.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "path=/" in cookie
        assert ("secure" in cookie) is https
        assert SECRETS["asker"].lower() not in cookie
        assert ("strict-transport-security" in reply.headers) is https


@pytest.mark.parametrize("word", [None, "", "wrong", "\xff"])
def test_a_write_by_cookie_needs_its_word(guarded: Server, word: str | None) -> None:
    login(guarded, "acme")
    headers = {} if word is None else {"X-Balancedit-CSRF": word.encode("latin-1")}
    reply = guarded.client.post("/v1/for-editors", headers=headers)  # type: ignore[arg-type]
    assert (reply.status_code, code(reply)) == (403, "csrf")


def test_the_word_is_the_sessions_own(guarded: Server) -> None:
    other = login(guarded, "editor")["csrf"]
    word = login(guarded, "acme")["csrf"]
    assert word != other
    post = guarded.client.post
    assert post("/v1/for-editors", headers={"X-Balancedit-CSRF": other}).status_code == 403
    assert post("/v1/for-editors", headers={"X-Balancedit-CSRF": word}).status_code == 200


def test_a_key_needs_no_word(guarded: Server) -> None:
    login(guarded, "acme")
    assert guarded.client.post("/v1/for-editors", headers=bearer("editor")).status_code == 200


def test_a_session_ends(guarded: Server) -> None:
    login(guarded, "acme")
    assert guarded.client.delete("/v1/session").status_code == 204
    assert guarded.client.get("/v1/for-editors").status_code == 401
    assert guarded.client.get("/v1/session").status_code == 401


def test_a_session_ends_with_its_key() -> None:
    class Losing(HeldKeys):
        lost = False

        def by_id(self, key_id):  # type: ignore[no-untyped-def]
            return None if self.lost else super().by_id(key_id)

    from balancedit.serving.http.app import create_app

    ring = Losing(key("asker"))
    client = TestClient(create_app(Services(FakeEngine(), ring)), base_url="http://localhost")
    client.post("/v1/session", json={"key": SECRETS["asker"]})
    assert client.get("/v1/models").status_code == 200
    ring.lost = True
    assert client.get("/v1/models").status_code == 401
    assert client.get("/v1/session").status_code == 401


def test_a_wrong_key_begins_no_session(server: Server) -> None:
    reply = server.client.post("/v1/session", json={"key": "bk_wrong"})
    assert reply.status_code == 401
    assert "set-cookie" not in reply.headers
    assert server.client.post("/v1/session", json={"key": 5}).status_code == 400


def test_a_form_of_another_site_begins_none(server: Server) -> None:
    """What a page elsewhere can send without asking first is no JSON by its kind."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        reply = server.client.post(
            "/v1/session",
            content=f'{{"key": "{SECRETS["asker"]}"}}',
            headers={"Content-Type": kind},
        )
        assert reply.status_code == 415
        assert "set-cookie" not in reply.headers


def test_sessions_run_out_and_are_bounded() -> None:
    now = [0.0]
    sessions = Sessions(10, clock=lambda: now[0])
    token, made = sessions.start("k")
    assert sessions.find(token) == made
    now[0] = 9.9
    assert sessions.find(token) == made
    now[0] = 10.0
    assert sessions.find(token) is None
    first, _ = sessions.start("k")
    for _ in range(1_000):
        last, _ = sessions.start("k")
    assert sessions.find(first) is None
    assert sessions.find(last) is not None


def test_a_cookie_that_is_none_is_no_session(server: Server) -> None:
    server.client.cookies.set(COOKIE, "made-up")
    assert server.client.get("/v1/models").status_code == 401


# -- rates ------------------------------------------------------------------------------------


def test_a_bucket_fills_at_its_rate() -> None:
    now = [0.0]
    buckets = TokenBuckets(rate=2, burst=3, clock=lambda: now[0])
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b") == 0
    now[0] = 0.5
    assert buckets.take("a") == 0
    assert buckets.take("a") == 0.5
    now[0] = 100
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_too_many_requests_of_one_key_are_put_off(make_server: MakeServer) -> None:
    server = make_server(rate=0.25, burst=2)
    replies = [server.chat(asking()) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert int(replies[2].headers["retry-after"]) in (3, 4)
    assert code(replies[2]) == "rate_limited"
    assert server.chat(asking(), who="editor").status_code == 200
    assert server.client.get("/health/live").status_code == 200
