"""Previews and the query log over HTTP, with a fake editor."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from balancedit.errors import InputError
from balancedit.layer.decisions import Said
from balancedit.preview.preview import Preview
from balancedit.preview.records import Bounds, Change
from balancedit.serving.http.held_previews import HeldPreviews
from balancedit.serving.querylog import Noted, QueryLog
from balancedit.types import Edit
from serving.fakes import FakeEngine
from serving.http.conftest import bearer, data_url

PATH = "/v1/edits/preview"
EDIT = Edit(
    *("e1", "What is this?", "parrot", "owl", "parrot", 1.0, 0.2, 2.0, ("What's it?",), "rules"),
    *("black", "0" * 64, "2026-01-01T00:00:00+00:00", 0.5, 10, float("nan")),
)


class Outlook:
    """Decides three questions by their distances."""

    def changes(self, radius: float) -> tuple[tuple[Change, ...], int]:
        return tuple(
            Change(
                n, str(n), f"q{n}", "owl", None, d, True, radius - d, True, False, None, "e1", True
            )
            for n, d in enumerate((0.1, 0.5, 1.5))
            if d <= radius
        ), 1


@dataclass
class Store:
    read_only: bool = False
    noted: list[Any] = field(default_factory=list)

    def note(self, action: str, terms: Any, edit_id: str | None = None) -> None:
        self.noted.append((action, terms.audit.detail, edit_id))


@dataclass
class FakeEditor:
    store: Store = field(default_factory=Store)
    given: list[Any] = field(default_factory=list)

    def preview(self, image: Any, question: str, answer: str, **how: Any) -> Preview:
        self.given.append((image, question, answer, how))
        if answer == "wrong":
            raise InputError("that is no answer")
        rehearsal: Any = object()
        outlook: Any = Outlook()
        changed, undecided = outlook.changes(1.0)
        bounds = Bounds(1.0, 0.01, 2.0)
        return Preview(EDIT, 1.0, bounds, 4, 9, undecided, changed, outlook, rehearsal)


@pytest.fixture
def editor() -> FakeEditor:
    return FakeEditor()


@pytest.fixture
def server(make_server: Any, editor: FakeEditor) -> Any:
    return make_server(FakeEngine(editor=editor))


def post(server: Any, body: dict[str, Any], path: str = PATH, who: str = "editor") -> Any:
    return server.client.post(path, json=body, headers=bearer(who))


def fact(**more: Any) -> dict[str, Any]:
    return {"image": data_url(), "question": "What is this?", "answer": "parrot"} | more


def test_a_preview_has_the_shape_that_was_agreed(server: Any, editor: FakeEditor) -> None:
    reply = post(server, fact(rephrasings=["What's it?"], negative="grey", new=True, limit=1))
    assert reply.status_code == 200
    said = reply.json()
    assert said["edit"]["id"] == "e1"
    assert said["edit"]["loss"] is None
    assert said["edit"]["thumbnail"] is None
    assert not said["known"]
    assert said["radius"] == {"learned": 1.0, "chosen": 1.0, "min": 0.01, "max": 2.0}
    assert (said["version"], said["considered"], said["undecided"], said["changes"]) == (4, 9, 1, 2)
    assert said["changed"] == [
        {
            "query_id": "0",
            "question": "q0",
            "thumbnail": "/v1/queries/0/thumbnail",
            "before": "owl",
            "after": None,
            "distance": 0.1,
            "inside": True,
            "margin": 0.9,
            "sure": True,
            "exact": False,
            "fired_before": None,
            "fired_after": "e1",
        }
    ]
    assert said["expires"] > "2026"
    assert reply.headers["Balancedit-Version"] == "4"
    ((image, question, answer, how),) = editor.given
    assert (image.size, question, answer) == ((8, 8), "What is this?", "parrot")
    assert how == {
        "rephrasings": ("What's it?",),
        "negative": "grey",
        "new": True,
        "over": (),
        "most": 1,
    }
    assert editor.store.noted == [("preview", "“What is this?” → “parrot”", None)]


def test_another_radius_is_decided_without_the_engine(server: Any, editor: FakeEditor) -> None:
    first = post(server, fact()).json()
    server.engine.run = None
    path = f"{PATH}/{first['preview_id']}/radius"
    wider = post(server, {"radius": 2.0}, path).json()
    assert [c["question"] for c in wider["changed"]] == ["q0", "q1", "q2"]
    assert (wider["preview_id"], wider["radius"]["chosen"]) == (first["preview_id"], 2.0)
    assert wider["edit"]["radius"] == 2.0
    assert [c["question"] for c in post(server, {"radius": 0.0}, path).json()["changed"]] == []
    assert post(server, {"radius": 3.0}, path).status_code == 400
    for wrong in ({"radius": -1}, {"radius": "1"}, {}, {"radius": 1.0, "more": 1}):
        assert post(server, wrong, path).status_code == 400
    assert server.services.previews.find(first["preview_id"], "default").radius == 1.0


def test_previews_are_a_tenants_own(server: Any) -> None:
    held = post(server, fact()).json()["preview_id"]
    path = f"{PATH}/{held}/radius"
    assert post(server, {"radius": 1.0}, path, "acme").status_code == 404
    assert post(server, {"radius": 1.0}, f"{PATH}/pv_no/radius").status_code == 404
    assert server.services.previews.find(held, "acme") is None
    assert post(server, {"radius": 1.0}, path, "asker").status_code == 403
    assert post(server, fact(), who="asker").status_code == 403


def test_a_fact_that_cannot_be_previewed_is_said(server: Any, editor: FakeEditor) -> None:
    assert post(server, fact(answer="wrong")).json()["error"]["message"] == "that is no answer"
    for wrong in (fact(limit=0), fact(limit=201), fact(image=None), fact(unknown=1)):
        assert post(server, wrong).status_code == 400
    assert len(server.services.previews) == 0
    editor.store.read_only = True
    assert post(server, fact()).status_code == 200
    assert editor.store.noted == []


def test_previews_expire_and_are_not_many() -> None:
    now = [0.0]
    held = HeldPreviews(lifetime=10, clock=lambda: now[0])
    preview = Preview(EDIT, 1.0, Bounds(1, 0, 2), 1, 0)
    first = held.add("a", preview, 5)
    others = [held.add("a", replace(preview, version=n), 5) for n in range(8)]
    assert held.find(first.id, "a") is None, "the oldest of a tenant gives way"
    assert held.find(others[0].id, "a") is others[0].preview
    for n in range(40):
        held.add(f"t{n}", preview, 5)
    assert len(held) == 32
    now[0] = 9.9
    last = held.add("a", preview, 5)
    now[0] = 10.0
    assert (len(held), held.find(last.id, "a")) == (1, preview)
    held.forget("a")
    assert len(held) == 0


# -- the query log ---------------------------------------------------------------------------


@pytest.fixture
def logging_server(server: Any, tmp_path: Path) -> Any:
    with QueryLog.open(tmp_path / "queries.sqlite3") as log:
        for n, tenant in enumerate(("default", "acme", "default")):
            picture = None if n == 2 else tiny.picture(n, side=200)
            key = np.zeros(4, dtype=np.float16)
            said = Said("owl", (1, 2))
            log.note(Noted(tenant, f"<b>q{n}</b>", True, picture, "w", key, said, None, "owl"))
        log.flush()
        object.__setattr__(server.services, "queries", log)
        yield server


def get(server: Any, path: str, who: str = "editor") -> Any:
    return server.client.get(path, headers=bearer(who))


def test_questions_are_listed_a_page_at_a_time(logging_server: Any) -> None:
    page = get(logging_server, "/v1/queries?limit=1").json()
    assert page["enabled"]
    assert page["has_more"]
    (newest,) = page["data"]
    assert (newest["id"], newest["question"], newest["thumbnail"]) == ("3", "<b>q2</b>", None)
    assert (newest["before"], newest["fired"], newest["tenant"]) == ("owl", None, "default")
    page = get(logging_server, f"/v1/queries?after={newest['id']}").json()
    assert [one["id"] for one in page["data"]] == ["1"]
    assert not page["has_more"]
    for wrong in ("limit=0", "limit=201", "after=x", "after=-1", f"after={'9' * 19}"):
        assert get(logging_server, f"/v1/queries?{wrong}").status_code == 400
    assert get(logging_server, "/v1/queries", "asker").status_code == 403


def test_small_copies_are_a_tenants_own(logging_server: Any) -> None:
    reply = get(logging_server, "/v1/queries/1/thumbnail")
    assert reply.status_code == 200
    assert reply.headers["Content-Type"] in ("image/webp", "image/png")
    assert "Authorization" in reply.headers["Vary"]
    assert reply.headers["Cache-Control"].startswith("private")
    for other in ("2", "3", "99"):
        assert get(logging_server, f"/v1/queries/{other}/thumbnail").status_code == 404
    assert get(logging_server, "/v1/queries/2/thumbnail", "acme").status_code == 200
    assert get(logging_server, "/v1/queries/1/thumbnail", "asker").status_code == 403


def test_a_tenant_is_forgotten_with_its_previews(logging_server: Any) -> None:
    held = post(logging_server, fact()).json()["preview_id"]
    gone = logging_server.client.delete("/v1/queries", headers=bearer("editor"))
    assert gone.status_code == 403
    gone = logging_server.client.delete("/v1/queries", headers=bearer("admin"))
    assert gone.json() == {"forgotten": 2}
    assert get(logging_server, "/v1/queries").json()["data"] == []
    assert len(get(logging_server, "/v1/queries", "acme").json()["data"]) == 1
    assert logging_server.services.previews.find(held, "default") is None


def test_without_a_log_nothing_is_listed(server: Any) -> None:
    page = get(server, "/v1/queries").json()
    assert page == {"data": [], "has_more": False, "enabled": False}
    assert get(server, "/v1/queries/1/thumbnail").status_code == 404


def test_the_log_is_what_a_preview_is_made_over(logging_server: Any, editor: FakeEditor) -> None:
    post(logging_server, fact(), who="acme")
    over = editor.given[-1][3]["over"]
    assert len(over.remembered("w").keys) == 1
