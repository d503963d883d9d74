"""Edits over HTTP on a model: a tiny one, in the engine's own thread, with a directory a tenant."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import tiny
from balancedit.errors import StoreError
from balancedit.models.loading import LoadedModel, load_model
from balancedit.serving.engine.editors import Editors, editor_for
from balancedit.serving.engine.worker import Worker
from balancedit.serving.http.app import create_app
from balancedit.serving.http.keys import HeldKeys
from balancedit.serving.http.services import Services
from balancedit.serving.tenants import Tenants
from balancedit.store import DiskStore
from serving.http.conftest import bearer, key
from tiny import taught

HOW: dict[str, Any] = {"lr": 0.5, "steps": 60, "alpha": 0.9}


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    model, processor = taught.model("llava")
    layer, prompt = tiny.LAST["llava"], tiny.PROMPT["llava"]
    return load_model(model, processor=processor, layer=layer, prompt=prompt)


@contextmanager
def serving(loaded: LoadedModel, edits: Path) -> Iterator[TestClient]:
    tenants = Tenants(("default", "acme"), edits)
    worker = Worker(Editors(editor_for(loaded, tenants, **HOW)))
    worker.start()
    ring = HeldKeys(*map(key, ("editor", "acme", "admin")))
    services = Services(worker, ring, model="tiny", tenants=tenants.names)
    try:
        with TestClient(create_app(services), base_url="http://localhost") as client:
            yield client
    finally:
        worker.stop()


def picture(seed: int) -> str:
    out = io.BytesIO()
    tiny.picture(seed).save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def ask(client: TestClient, who: str = "editor", model: str = "tiny") -> tuple[str, str | None]:
    parts = [
        {"type": "image_url", "image_url": {"url": picture(1)}},
        {"type": "text", "text": taught.QUESTION},
    ]
    body = {"model": model, "messages": [{"role": "user", "content": parts}]}
    reply = client.post("/v1/chat/completions", json=body, headers=bearer(who))
    assert reply.status_code == 200, reply.text
    found = reply.json()
    return found["choices"][0]["message"]["content"], found["balancedit"]["fired"]


def test_an_edit_is_in_force_for_its_tenant_until_it_is_taken_back(
    loaded: LoadedModel, tmp_path: Path
) -> None:
    fact = {
        "image": picture(1),
        "question": taught.QUESTION,
        "answer": "ab",
        "rephrasings": [taught.REWORDED],
    }
    headers = bearer("editor") | {"Idempotency-Key": "one", "If-Match": '"0"'}
    with serving(loaded, tmp_path / "edits") as client:
        assert ask(client) == ("no", None)
        reply = client.post("/v1/edits", json=fact, headers=headers)
        assert reply.status_code == 201, reply.text
        made = reply.json()
        edit = made["edit"]["id"]
        assert (made["version"], made["edit"]["answer_after"]) == (1, "ab")
        assert ask(client) == ("ab", edit)
        assert ask(client, model="tiny@base") == ("no", None)
        assert ask(client, "acme") == ("no", None)
        again = client.post("/v1/edits", json=fact, headers=headers)
        assert again.json() == made
        known = client.post("/v1/edits", json=fact, headers=bearer("editor"))
        assert (known.status_code, known.json()["edit"]["id"]) == (200, edit)
        shown = client.get(made["edit"]["thumbnail"], headers=bearer("editor"))
        assert shown.headers["Content-Type"] in ("image/webp", "image/png")
        body = {"image": picture(1), "question": taught.QUESTION}
        why = client.post("/v1/explain", json=body, headers=bearer("editor")).json()
        assert (why["explanation"]["fired"], why["explanation"]["base_answer"]) == (edit, "no")
        assert why["version"] == 1
        theirs = fact | {"answer": "xyz"}
        other = client.post("/v1/edits", json=theirs, headers=bearer("acme")).json()
        assert (other["version"], other["edit"]["answer_after"]) == (1, "xyz")
        assert (ask(client), ask(client, "acme")[0]) == (("ab", edit), "xyz")
    assert (tmp_path / "edits" / "tenants" / "acme" / "store.sqlite3").exists()
    with serving(loaded, tmp_path / "edits") as client:  # another server goes on
        assert ask(client) == ("ab", edit)
        late = client.post("/v1/edits", json=theirs, headers=headers | {"Idempotency-Key": "two"})
        assert (late.status_code, late.json()["error"]["code"]) == (412, "edit_conflict")
        undone = client.post(f"/v1/edits/{edit}/revert", headers=bearer("editor")).json()
        assert (undone["version"], undone["edit"]["state"]) == (2, "reverted")
        assert ask(client) == ("no", None)
        assert ask(client, "acme")[0] == "xyz"
        lines = client.get("/v1/audit", headers=bearer("admin")).json()["data"]
        assert [(line["action"], line["edit"], line["version"]) for line in lines] == [
            ("revert", edit, 2),
            ("known", edit, 1),
            ("edit", edit, 1),
        ]


def test_what_another_process_commits_is_served_and_counted(
    loaded: LoadedModel, tmp_path: Path
) -> None:
    with serving(loaded, tmp_path) as client:
        fact = {"image": picture(1), "question": taught.QUESTION, "answer": "ab"}
        fact_headers = bearer("editor")
        edit = client.post("/v1/edits", json=fact, headers=fact_headers).json()["edit"]["id"]
        with DiskStore.open(tmp_path) as store:  # the command line
            store.revert(edit)
        reply = client.get("/v1/edits?state=all", headers=bearer("editor")).json()
        assert (reply["version"], [e["state"] for e in reply["data"]]) == (2, ["reverted"])
        assert ask(client) == ("no", None)


def test_a_tenant_that_there_is_not_has_no_place(loaded: LoadedModel, tmp_path: Path) -> None:
    opening = editor_for(loaded, Tenants(("default", "acme"), tmp_path))
    with pytest.raises(Exception, match="no such tenant"):
        opening("other")
    (tmp_path / "tenants").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="a link, not a directory"):
        opening("acme")
