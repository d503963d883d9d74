"""Servers with a fake engine, reached without a network, and the keys to them."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from balancedit.serving.http.app import create_app
from balancedit.serving.http.keys import HeldKeys, Key, Scope, hashed
from balancedit.serving.http.services import Services
from balancedit.serving.http.settings import ServeSettings
from serving.fakes import FakeEngine

SECRETS = {
    "asker": "bk_asker-0000000000000000000000000000000000000",
    "editor": "bk_editor-000000000000000000000000000000000000",
    "admin": "bk_admin-0000000000000000000000000000000000000",
    "acme": "bk_acme-00000000000000000000000000000000000000",
}
_SCOPES: dict[str, Scope] = {"asker": "ask", "editor": "edit", "admin": "admin", "acme": "edit"}


def key(name: str) -> Key:
    tenant = {"acme": "acme", "admin": "*"}.get(name, "default")
    return Key(f"k-{name}", name, hashed(SECRETS[name]), _SCOPES[name], tenant, "2026-01-01")


def bearer(name: str) -> dict[str, str]:
    """The header that shows a key."""
    return {"Authorization": f"Bearer {SECRETS[name]}"}


def data_url(width: int = 8, height: int = 8, colour: str = "red") -> str:
    """A picture of one colour, as clients send it."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def asking(text: str = "What is this?", *pictures: str, **more: Any) -> dict[str, Any]:
    """A chat completion's body."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    parts += [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
    message = {"role": "user", "content": parts if pictures else text}
    return {"model": "pocket", "messages": [message], **more}


@dataclass
class Server:
    """A server, its engine, and a client that shows the asker's key."""

    client: TestClient
    engine: FakeEngine
    services: Services

    def chat(self, body: dict[str, Any], who: str = "asker", **headers: str) -> Any:
        """Ask; header names have _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post("/v1/chat/completions", json=body, headers=bearer(who) | named)


MakeServer = Callable[..., Server]


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    """Servers with settings of the test's own. Errors nobody foresaw are replies, as in earnest."""
    with ExitStack() as open_clients:

        def make(engine: FakeEngine | None = None, **settings: Any) -> Server:
            engine = engine or FakeEngine()
            services = Services(
                engine,
                HeldKeys(*map(key, SECRETS)),
                ServeSettings(**settings),
                tenants=("default", "acme"),
            )
            client = TestClient(create_app(services), base_url="http://localhost")
            open_clients.enter_context(client)
            return Server(client, engine, services)

        yield make


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    """A server as it comes."""
    return make_server()
