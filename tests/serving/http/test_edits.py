"""Edits over HTTP: taught, listed, looked at, taken back; on what versions, once, and by whom."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from balancedit.inputs.pictures import Pictures
from balancedit.store import AuditEntry, DiskStore, EditStore, MemoryStore, Terms
from balancedit.types import Edit
from serving.editors import FakeEditor, grown, thumbnail
from serving.fakes import FakeEngine
from serving.http.conftest import MakeServer, Server, bearer, data_url
from store_cases import BINDING, make_edit


@dataclass
class Tenanted(FakeEngine):
    """An engine with an editor a tenant."""

    editors: dict[str, FakeEditor] = field(default_factory=dict)
    runs: list[tuple[str, int, float | None]] = field(default_factory=list)

    async def run(self, tenant: str, work: Any, **how: Any) -> Any:
        self.runs.append((tenant, how.get("facts", 0), how.get("deadline")))
        return work(self.editors[tenant])


@dataclass
class Edits:
    """A server with edits, seen by one caller."""

    server: Server
    editors: dict[str, FakeEditor]
    who: str = "editor"

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        shown = bearer(self.who) | named
        return self.server.client.request(method, path, json=body, headers=shown)

    def teach(self, question: str = "What?", answer: str = "owl", **headers: str) -> Any:
        return self.send("POST", "/v1/edits", fact(question, answer), **headers)

    def taught(self, question: str = "What?", answer: str = "owl") -> dict[str, Any]:
        reply = self.teach(question, answer)
        assert reply.status_code == 201
        edit: dict[str, Any] = reply.json()["edit"]
        return edit

    def revert(self, edit_id: str, **headers: str) -> Any:
        return self.send("POST", f"/v1/edits/{edit_id}/revert", **headers)

    def by(self, who: str) -> Edits:
        return Edits(self.server, self.editors, who)

    @property
    def store(self) -> EditStore:
        return self.editors["default"].store

    @property
    def engine(self) -> Tenanted:
        assert isinstance(self.server.engine, Tenanted)
        return self.server.engine


def fact(question: str = "What?", answer: str = "owl", **more: Any) -> dict[str, Any]:
    return {"image": data_url(), "question": question, "answer": answer, **more}


@pytest.fixture(params=["memory", "disk"])
def edits(request: Any, make_server: MakeServer, tmp_path: Path) -> Iterator[Edits]:
    if request.param == "memory":
        stores: list[Any] = [MemoryStore(BINDING), MemoryStore(BINDING)]
    else:
        stores = [DiskStore.open(tmp_path / n, BINDING, create=True) for n in "ab"]
    editors = dict(zip(("default", "acme"), map(FakeEditor, stores), strict=True))
    yield Edits(make_server(Tenanted(editors=editors)), editors)
    for store in stores:
        store.close()


def code(reply: Any) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["code"]


# -- teaching -------------------------------------------------------------------------------------


def test_an_edit_is_made_and_shown(edits: Edits) -> None:
    reply = edits.teach("Wessen Eule? „nö“ 鶏", "Hedwig’s")
    assert reply.status_code == 201
    edit, version = reply.json()["edit"], reply.json()["version"]
    kept = edits.store.edits()[edit["id"]]
    assert edit == kept.to_dict() | {"thumbnail": f"/v1/edits/{kept.id}/thumbnail"}
    assert version == edits.store.version == 1
    assert reply.headers["Location"] == f"/v1/edits/{kept.id}"
    assert (reply.headers["ETag"], reply.headers["Balancedit-Version"]) == ('"1"', "1")
    (line,) = edits.store.audit(5)
    assert (line.key, line.tenant, line.action, line.edit, line.version) == (
        "k-editor",
        "default",
        "edit",
        kept.id,
        1,
    )
    assert "Hedwig" in line.detail
    assert [(tenant, facts) for tenant, facts, _ in edits.engine.runs] == [("default", 1)]


def test_all_of_a_fact_reaches_the_editor(edits: Edits) -> None:
    body = fact(rephrasings=["Which?", "Who?"], negative="white", new=True, image=None) | {
        "images": [data_url(5, 4), data_url(3, 2)]
    }
    assert edits.send("POST", "/v1/edits", body).status_code == 201
    (given,) = edits.editors["default"].facts
    assert isinstance(given["image"], Pictures)
    assert (given["rephrasings"], given["negative"], given["new"]) == (
        ("Which?", "Who?"),
        "white",
        True,
    )
    assert edits.send("POST", "/v1/edits", fact("B?", negative=data_url(7, 7))).status_code == 201
    given = edits.editors["default"].facts[-1]
    assert isinstance(given["negative"], Image.Image)
    assert (given["negative"].size, given["image"].size) == ((7, 7), (8, 8))
    assert (given["rephrasings"], given["new"]) == ((), False)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"question": ""}, "question"),
        ({"question": 7}, "question"),
        ({"answer": None}, "answer"),
        ({"answer": "x" * 10_001}, "answer"),
        ({"image": None}, "image"),
        ({"image": "/etc/passwd"}, "image"),
        ({"image": "file:///etc/passwd"}, "image"),
        ({"image": "http://127.0.0.1/owl.png"}, "image"),
        ({"image": "data:image/png;base64,AAAA"}, "image"),
        ({"negative": "/etc/passwd"}, "negative"),
        ({"negative": "owl.png"}, "negative"),
        ({"negative": "demo:owl"}, "negative"),
        ({"images": [data_url()]}, "images"),
        ({"image": None, "images": [data_url()] * 5}, "images"),
        ({"image": None, "images": []}, "images"),
        ({"image": None, "images": [data_url(), "x.png"]}, "images.1"),
        ({"rephrasings": "Which?"}, "rephrasings"),
        ({"rephrasings": ["x"] * 33}, "rephrasings"),
        ({"new": 1}, "new"),
        ({"id": "00000001"}, "id"),
        ({"radius": 1.0}, "radius"),
    ],
)
def test_a_fact_that_cannot_be_is_refused_by_name(
    edits: Edits, change: dict[str, Any], param: str
) -> None:
    reply = edits.send("POST", "/v1/edits", fact() | change)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert "passwd" not in json.dumps(reply.json()).replace("/etc/passwd", "")
    assert edits.store.version == 0
    assert not edits.engine.runs, "the model was not bothered"


def test_what_is_no_object_is_refused(edits: Edits) -> None:
    for body in (None, [], "x", 3, {}):
        assert edits.send("POST", "/v1/edits", body).status_code == 400


def test_what_cannot_be_learned_keeps_nothing(edits: Edits) -> None:
    assert code(edits.teach(answer="impossible")) == (400, "invalid_value")
    assert (edits.store.version, edits.store.audit(5)) == (0, [])


def test_what_is_known_is_not_made_again(edits: Edits) -> None:
    edit = edits.taught()
    reply = edits.teach()
    assert (reply.status_code, reply.json()["edit"]["id"]) == (200, edit["id"])
    assert reply.json()["version"] == edits.store.version == 1
    assert [line.action for line in edits.store.audit(5)] == ["known", "edit"]


# -- versions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ['"1"', "1", 'W/"1"', ' "1" ', "*"])
def test_a_version_that_fits_is_taken(edits: Edits, tag: str) -> None:
    edits.taught()
    assert edits.teach("B?", If_Match=tag).status_code == 201


def test_another_version_is_a_conflict(edits: Edits) -> None:
    edit = edits.taught()
    reply = edits.teach("B?", If_Match='"0"')
    assert code(reply) == (412, "edit_conflict")
    assert "version 1, not at 0" in reply.json()["error"]["message"]
    assert len(edits.editors["default"].facts) == 1, "it was not learned in vain"
    assert code(edits.revert(edit["id"], If_Match='"0"')) == (412, "edit_conflict")
    assert edits.store.version == 1
    assert edits.revert(edit["id"], If_Match='"1"').json()["version"] == 2


def test_a_change_while_an_edit_is_learned_is_a_conflict(edits: Edits) -> None:
    editor = edits.editors["default"]
    editor.meanwhile = lambda: grown(editor.store, 0xAAAA)
    assert code(edits.teach(If_Match='"0"')) == (412, "edit_conflict")
    assert list(editor.store.edits()) == ["0000aaaa"]
    editor.meanwhile = lambda: grown(editor.store, 0xBBBB)
    reply = edits.teach()  # without a version it comes behind the other
    assert (reply.status_code, reply.json()["version"]) == (201, 3)


@pytest.mark.parametrize("tag", ["", '"x"', '"1", "2"', "-1", '"1', "9" * 20, '"1.0"'])
def test_what_is_no_version_is_refused(edits: Edits, tag: str) -> None:
    reply = edits.teach(If_Match=tag)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "If-Match")
    assert edits.store.version == 0


# -- once -----------------------------------------------------------------------------------------


def test_a_request_that_is_sent_again_makes_no_second_edit(edits: Edits) -> None:
    first = edits.teach(Idempotency_Key="c0ffee")
    edits.taught("B?")
    again = edits.teach(Idempotency_Key="c0ffee", If_Match='"0"')
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Location"] == first.headers["Location"]
    assert edits.store.version == 2
    edits.revert(first.json()["edit"]["id"])
    again = edits.teach(Idempotency_Key="c0ffee")
    assert (again.json()["edit"]["state"], again.json()["version"]) == ("reverted", 1)
    assert edits.store.version == 3


def test_the_order_of_names_makes_no_other_request(edits: Edits) -> None:
    body = fact()
    edits.send("POST", "/v1/edits", body, Idempotency_Key="k")
    turned = dict(reversed(body.items()))
    assert edits.send("POST", "/v1/edits", turned, Idempotency_Key="k").status_code == 201
    assert edits.store.version == 1


@pytest.mark.parametrize(
    "other",
    [
        {"question": "B?"},
        {"answer": "hawk"},
        {"image": data_url(9)},
        {"new": True},
        {"rephrasings": ["C?"]},
    ],
)
def test_the_same_key_with_another_body_is_refused(edits: Edits, other: dict[str, Any]) -> None:
    edits.teach(Idempotency_Key="c0ffee")
    reply = edits.send("POST", "/v1/edits", fact() | other, Idempotency_Key="c0ffee")
    assert code(reply) == (422, "idempotency_key_reused")
    assert edits.store.version == 1


def test_the_key_of_a_request_is_its_callers_own(edits: Edits) -> None:
    first = edits.teach(Idempotency_Key="c0ffee").json()
    for who in ("admin", "acme"):
        other = edits.by(who).teach("B?", Idempotency_Key="c0ffee")
        assert other.status_code == 201
        assert other.json()["edit"]["id"] != first["edit"]["id"]


def test_what_is_known_is_a_request_too(edits: Edits) -> None:
    edit = edits.taught()
    assert edits.teach(Idempotency_Key="k").status_code == 200
    edits.revert(edit["id"])
    reply = edits.teach(Idempotency_Key="k")
    assert (reply.json()["edit"]["id"], edits.store.version) == (edit["id"], 2)


def test_a_revert_that_is_sent_again_gives_what_it_gave(edits: Edits) -> None:
    first = edits.taught()
    second = edits.taught(answer="hawk")
    assert second["retires"] == [first["id"]]
    undone = edits.revert(second["id"], Idempotency_Key="r")
    again = edits.revert(second["id"], Idempotency_Key="r")
    assert (again.status_code, again.json()) == (200, undone.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert edits.store.version == 3
    reply = edits.revert(first["id"], Idempotency_Key="r")
    assert code(reply) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("name", ["", "with space", "x" * 201])
def test_what_is_no_name_is_refused(edits: Edits, name: str) -> None:
    reply = edits.teach(Idempotency_Key=name)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "Idempotency-Key")


# -- taking back ----------------------------------------------------------------------------------


def test_what_is_taken_back_brings_back_what_it_replaced(edits: Edits) -> None:
    first = edits.taught()
    second = edits.taught(answer="hawk")
    reply = edits.revert(second["id"])
    assert reply.status_code == 200
    found = reply.json()
    assert (found["edit"]["id"], found["edit"]["state"]) == (second["id"], "reverted")
    assert [(e["id"], e["state"]) for e in found["changed"]] == [
        (second["id"], "reverted"),
        (first["id"], "active"),
    ]
    assert (found["version"], reply.headers["ETag"]) == (3, '"3"')
    line = edits.store.audit(1)[0]
    assert (line.action, line.edit, line.key) == ("revert", second["id"], "k-editor")
    assert code(edits.revert(second["id"])) == (404, "edit_not_found")
    assert code(edits.revert("ffffffff")) == (404, "edit_not_found")
    assert edits.store.version == 3


# -- looking --------------------------------------------------------------------------------------


def test_edits_are_listed_newest_first_page_by_page(edits: Edits) -> None:
    made = [edits.taught(f"{n}?")["id"] for n in range(5)]
    edits.revert(made[1])
    page = edits.send("GET", "/v1/edits?limit=2").json()
    assert [e["id"] for e in page["data"]] == [made[4], made[3]]
    assert (page["has_more"], page["version"]) == (True, 6)
    page = edits.send("GET", f"/v1/edits?limit=2&after={made[3]}").json()
    assert [e["id"] for e in page["data"]] == [made[2], made[0]]
    assert page["has_more"] is False
    every = edits.send("GET", "/v1/edits?state=all").json()["data"]
    assert [e["id"] for e in every] == made[::-1]
    assert [e["state"] for e in every] == ["active"] * 3 + ["reverted", "active"]
    for query in ("limit=0", "limit=201", "limit=x", "state=retired", "after="):
        assert edits.send("GET", f"/v1/edits?{query}").status_code == 400
    assert code(edits.send("GET", "/v1/edits?after=ffffffff")) == (404, "edit_not_found")


def test_one_edit_is_found_by_the_beginning_of_its_id(edits: Edits) -> None:
    edit = edits.taught()
    for name in (edit["id"], edit["id"][:-1]):
        reply = edits.send("GET", f"/v1/edits/{name}")
        assert reply.json() == {"edit": edit, "version": 1}
        assert reply.headers["ETag"] == '"1"'
    for name in ("ffffffff", "..", "%2e%2e%2fstore", "é"):
        assert edits.send("GET", f"/v1/edits/{name}").status_code == 404


def test_numbers_that_json_cannot_hold_are_null(edits: Edits) -> None:
    grown(edits.store, 1)
    odd = make_edit(2, question="B?", loss=float("nan"), radius=float("inf"))
    edits.store.commit(odd, *_contents(2))
    first, second = edits.send("GET", "/v1/edits").json()["data"]
    assert (first["loss"], first["radius"]) == (None, None)
    assert second["thumbnail"] is None


def _contents(number: int) -> tuple[Any, Any, bytes]:
    from store_cases import make_key, make_tensors

    return make_key(number), make_tensors(number), thumbnail()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_thumbnail_is_shown(edits: Edits, kind: str) -> None:
    edits.editors["default"].picture = thumbnail(kind)
    edit = edits.taught()
    reply = edits.send("GET", edit["thumbnail"])
    assert (reply.status_code, reply.content) == (200, thumbnail(kind))
    assert reply.headers["Content-Type"] == f"image/{kind.lower()}"
    assert "private" in reply.headers["Cache-Control"]
    assert "Authorization" in reply.headers["Vary"]


@pytest.mark.parametrize("picture", [b"<svg onload='x()'>", b"<html>", b"GIF89a", b"", b"RIFF"])
def test_a_strangers_picture_of_another_kind_is_not_shown(edits: Edits, picture: bytes) -> None:
    edits.editors["default"].picture = picture
    edit = edits.taught()
    assert code(edits.send("GET", f"/v1/edits/{edit['id']}/thumbnail")) == (404, "no_picture")


def test_why_an_answer_is_given(edits: Edits) -> None:
    first, second = edits.taught(), edits.taught("B?")
    body = {"image": data_url(), "question": "What?", "nearest": 1}
    reply = edits.by("asker").send("POST", "/v1/explain", body)
    assert reply.status_code == 200
    why = reply.json()["explanation"]
    assert (why["fired"], why["base_answer"], why["radius"]) == (first["id"], "a bird", None)
    assert [n["id"] for n in why["neighbours"]] == [first["id"]] != [second["id"]]
    assert (reply.json()["version"], reply.headers["ETag"]) == (2, '"2"')
    body = {"question": "What?"}  # without a picture, and the usual number
    reply = edits.send("POST", "/v1/explain", body)
    assert len(reply.json()["explanation"]["neighbours"]) == 2
    for wrong in ({"nearest": 0}, {"nearest": 101}, {"image": "x.png"}, {"answer": "owl"}):
        assert edits.send("POST", "/v1/explain", body | wrong).status_code == 400


# -- who may --------------------------------------------------------------------------------------


def test_scopes(edits: Edits) -> None:
    edit = edits.taught()
    asker = edits.by("asker")
    for path in ("/v1/edits", f"/v1/edits/{edit['id']}", edit["thumbnail"]):
        assert asker.send("GET", path).status_code == 200
    assert code(asker.teach("B?")) == (403, "missing_scope")
    assert code(asker.revert(edit["id"])) == (403, "missing_scope")
    for who in ("asker", "editor"):
        assert code(edits.by(who).send("GET", "/v1/audit")) == (403, "missing_scope")
    client = edits.server.client
    for method, path in (
        ("POST", "/v1/edits"),
        ("GET", "/v1/edits"),
        ("GET", f"/v1/edits/{edit['id']}"),
        ("GET", edit["thumbnail"]),
        ("POST", f"/v1/edits/{edit['id']}/revert"),
        ("POST", "/v1/explain"),
        ("GET", "/v1/audit"),
    ):
        assert client.request(method, path).status_code == 401
    assert edits.store.version == 1


def test_no_tenant_sees_anothers_edits(edits: Edits) -> None:
    mine = edits.taught("Mine?")
    acme = edits.by("acme")
    theirs = acme.taught("Theirs?")
    assert [e["id"] for e in acme.send("GET", "/v1/edits?state=all").json()["data"]] == [
        theirs["id"]
    ]
    for method, path in (
        ("GET", f"/v1/edits/{mine['id']}"),
        ("GET", mine["thumbnail"]),
        ("POST", f"/v1/edits/{mine['id']}/revert"),
        ("GET", f"/v1/edits?after={mine['id']}"),
    ):
        reply = acme.send(method, path)
        assert code(reply) == (404, "edit_not_found")
        assert "Mine" not in reply.text
    assert code(acme.send("GET", "/v1/edits", Balancedit_Tenant="default")) == (403, "wrong_tenant")
    assert code(acme.send("GET", "/v1/edits", Balancedit_Tenant="none")) == (403, "wrong_tenant")
    assert edits.store.version == 1
    admin = edits.by("admin")
    assert admin.send("GET", "/v1/edits").json()["data"] == [mine]
    assert admin.send("GET", "/v1/edits", Balancedit_Tenant="acme").json()["data"] == [theirs]
    reply = admin.send("GET", "/v1/edits", Balancedit_Tenant="../acme")
    assert code(reply) == (404, "unknown_tenant")
    lines = [
        admin.send("GET", "/v1/audit", Balancedit_Tenant=name).json()["data"]
        for name in ("default", "acme")
    ]
    assert [[line["edit"] for line in each] for each in lines] == [[mine["id"]], [theirs["id"]]]


# -- previews -------------------------------------------------------------------------------------


@dataclass
class Preview:
    edit: Edit


@pytest.fixture
def waiting(edits: Edits) -> str:
    """The id of a preview of the default tenant's."""
    made: Any = Preview(make_edit(0xCAFE, question="Previewed?"))
    return edits.server.services.previews.add("default", made, 50).id


def test_a_preview_is_committed_with_its_radius_or_another(edits: Edits, waiting: str) -> None:
    body = {"preview_id": waiting, "radius": 1}
    reply = edits.send("POST", "/v1/edits", body, If_Match='"0"')
    assert (reply.status_code, reply.json()["edit"]["radius"]) == (201, 1.0)
    assert reply.json()["edit"]["id"] == "0000cafe"
    assert "from a preview" in edits.store.audit(1)[0].detail


@pytest.mark.parametrize("change", [{"radius": -1}, {"radius": "1"}, {"question": "x"}])
def test_what_is_no_commit_of_a_preview_is_refused(
    edits: Edits, waiting: str, change: dict[str, Any]
) -> None:
    reply = edits.send("POST", "/v1/edits", {"preview_id": waiting, **change})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, next(iter(change)))
    assert edits.send("POST", "/v1/edits", {"preview_id": 7}).status_code == 400
    assert edits.store.version == 0


def test_a_preview_of_another_tenant_is_none(edits: Edits, waiting: str) -> None:
    for preview in (waiting, "pv_other"):
        reply = edits.by("acme").send("POST", "/v1/edits", {"preview_id": preview})
        assert code(reply) == (404, "preview_not_found")


def test_a_commit_of_a_preview_is_sent_again_after_it_has_gone(edits: Edits, waiting: str) -> None:
    body = {"preview_id": waiting}
    first = edits.send("POST", "/v1/edits", body, Idempotency_Key="k")
    assert first.status_code == 201
    edits.server.services.previews.forget("default")
    again = edits.send("POST", "/v1/edits", body, Idempotency_Key="k")
    assert (again.status_code, again.json()) == (201, first.json())
    reply = edits.send("POST", "/v1/edits", body, Idempotency_Key="other")
    assert code(reply) == (404, "preview_not_found")
    assert code(edits.send("POST", "/v1/edits", body)) == (404, "preview_not_found")


# -- the audit ------------------------------------------------------------------------------------


def test_the_audit_is_listed_newest_first_page_by_page(edits: Edits) -> None:
    edit = edits.taught("<script>alert(1)</script>?")
    edits.by("admin").revert(edit["id"])
    edits.store.note("preview", Terms(audit=AuditEntry("k-editor", "default", "…")))
    admin = edits.by("admin")
    page = admin.send("GET", "/v1/audit?limit=2").json()
    assert [(a["id"], a["action"], a["edit"], a["key"], a["version"]) for a in page["data"]] == [
        (3, "preview", None, "k-editor", 2),
        (2, "revert", edit["id"], "k-admin", 2),
    ]
    assert page["has_more"] is True
    page = admin.send("GET", "/v1/audit?after=2").json()
    (line,) = page["data"]
    assert (line["id"], line["tenant"], page["has_more"]) == (1, "default", False)
    assert "<script>" in line["detail"], "as it was asked; a page shows it as text"
    for query in ("limit=0", "limit=201", "after=0", "after=x", f"after={2**70}"):
        assert admin.send("GET", f"/v1/audit?{query}").status_code == 400


def test_a_long_fact_is_cut_in_the_audit(edits: Edits) -> None:
    edits.taught("x" * 9000 + "?")
    (line,) = edits.store.audit(1)
    assert len(line.detail) == 400
    assert line.detail.endswith("…")
    assert "base64" not in line.detail
