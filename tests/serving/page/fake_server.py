"""A server with the real page and the API's endpoints, canned but stateful, for the page's tests.

What it answers: "owl" to whatever is asked, unless an edit's question lies within its radius. Three
kinds of distance: 0 for the same picture and question, 2 for the same picture, 6 for another. It is
no model of the real server's rules, only of its shapes.

    python tests/serving/page/fake_server.py   # to look at the page; the key is "admin-key"
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, Body, FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from PIL import Image

from balancedit.serving.http import page
from balancedit.serving.http.errors import ApiError
from balancedit.serving.http.keys import SCOPES

KEYS = {"ask-key": "ask", "edit-key": "edit", "admin-key": "admin"}
LEARNED, MOST = 4.0, 10.0
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
Json = dict[str, Any]
Sent = Annotated[Json, Body()]


@dataclass
class Fake:
    """The server's state; tests change it as they please."""

    answer: str = "owl"
    pieces: int = 3  # characters in each piece of a stream
    pause: float = 0.0  # seconds between pieces
    held: dict[str, threading.Event] = field(default_factory=dict)  # "POST /v1/edits" → until when
    failing: dict[str, list[tuple[int, str]]] = field(default_factory=dict)  # (status, message)s
    breaking: int | None = None  # pieces after which a stream breaks off with an error
    logged: list[Json] = field(default_factory=list)
    edits: dict[str, Json] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    previews: dict[str, Json] = field(default_factory=dict)
    audit: list[Json] = field(default_factory=list)
    sessions: dict[str, str] = field(default_factory=dict)  # cookie → key
    requests: list[Json] = field(default_factory=list)
    chats: list[Json] = field(default_factory=list)  # bodies
    tenants: list[str] = field(default_factory=lambda: ["default"])
    tenants_asked: list[str | None] = field(default_factory=list)
    version: int = 0
    undecided: int = 0
    most: int = 50  # changes in a preview
    keyed: dict[str, Json] = field(default_factory=dict)  # Idempotency-Key → reply

    def note(self, action: str, edit: str | None, key: str, detail: Any = None) -> None:
        self.audit.insert(
            0,
            {
                "id": f"a{len(self.audit)}",
                "time": at(len(self.audit)),
                "tenant": "default",
                "key": key,
                "action": action,
                "edit": edit,
                "version": self.version,
                "detail": detail,
            },
        )


def at(minutes: int) -> str:
    return (NOW + timedelta(minutes=minutes)).isoformat()


def drawing(name: str, side: int = 96) -> bytes:
    """A picture of the package's, small."""
    source = resources.files("balancedit") / "assets" / "demo" / f"{name}.png"
    picture = Image.open(io.BytesIO(source.read_bytes())).convert("RGB")
    picture.thumbnail((side, side))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def some_log() -> list[Json]:
    """Questions as they may have been asked before."""
    rows = [
        ("owl", "What is this?", "owl", 0.4),
        ("owl-twemoji", "What do you see?", "owl", 1.7),
        ("owl-openmoji", "Which animal is it?", "owl", 2.9),
        ("owl-fluent", "Can you tell me what this is?", "owl", 3.8),
        ("owl", "Who is looking at us?", "owl", 5.2),
        ("swan", "What is this?", "swan", 5.6),
        ("parrot", "What is this?", "parrot", 6.1),
        ("elephant", "Which animal is it?", "elephant", 8.2),
    ]
    return [
        {"id": f"q{i}", "picture": picture, "question": q, "before": b, "distance": d}
        for i, (picture, q, b, d) in enumerate(rows)
    ]


def made_edit(fake: Fake, fact: Json) -> Json:
    """The record of an edit, in the shape of `Edit.to_dict`."""
    number = len(fake.edits) + len(fake.previews)
    name = hashlib.sha256(f"{fact['question']}{number}".encode()).hexdigest()[:12]
    return {
        "id": name,
        "question": fact["question"],
        "target": fact["answer"],
        "answer_before": fake.answer,
        "answer_after": fact["answer"],
        "radius": LEARNED,
        "d_positive": 1.3,
        "d_negative": 8.1,
        "positives": fact.get("rephrasings") or ["Which thing is this?", "Name what you see."],
        "positives_source": "given" if fact.get("rephrasings") else "model",
        "negative": "black",
        "created": at(number),
        "seconds": 0.62,
        "steps": 18,
        "method": "balancedit",
        "old_answer": fake.answer,
        "overlaps": None,
        "retires": [],
        "state": "active",
        "retired_by": None,
        "warnings": [],
        "thumbnail": f"/v1/edits/{name}/thumbnail" if fact.get("image") else None,
        "_picture": fact.get("image"),
    }


def shown(edit: Json) -> Json:
    return {name: value for name, value in edit.items() if not name.startswith("_")}


def decide(fake: Fake, picture: str | None, question: str) -> tuple[str, Json]:
    """The answer and the decision behind it."""
    nearest, least = None, None
    for edit in fake.edits.values():
        if edit["state"] != "active":
            continue
        same = edit["_picture"] == picture
        far = 0.0 if same and edit["question"] == question else 2.0 if same else 6.0
        if least is None or far <= least:
            nearest, least = edit, far
    fired = nearest is not None and least is not None and least <= nearest["radius"]
    text = nearest["target"] if fired and nearest else fake.answer
    return text, {
        "fired": nearest["id"] if fired and nearest else None,
        "nearest": nearest["id"] if nearest else None,
        "distance": least,
        "radius": nearest["radius"] if nearest else None,
        "version": fake.version,
        "cut": False,
    }


def looked_through(fake: Fake, edit: Json, radius: float) -> Json:
    """Which logged questions an edit of that radius changes."""
    rows = [
        {
            "number": i,
            "query_id": one["id"],
            "question": one["question"],
            "thumbnail": f"/v1/queries/{one['id']}/thumbnail",
            "before": one["before"],
            "after": edit["target"] if one["distance"] <= LEARNED else None,
            "distance": one["distance"],
            "inside": True,
            "margin": (radius - one["distance"]) / radius,
            "sure": True,
            "exact": True,
            "fired_before": None,
            "fired_after": edit["id"],
        }
        for i, one in enumerate(fake.logged)
        if one["distance"] <= radius and one["before"] == edit["old_answer"]
    ]
    return {
        "preview_id": next((n for n, p in fake.previews.items() if p["edit"] is edit), ""),
        "edit": shown(edit),
        "known": False,
        "radius": {"learned": LEARNED, "chosen": radius, "min": 0.1, "max": MOST},
        "version": fake.version,
        "considered": len(fake.logged),
        "undecided": fake.undecided,
        "changes": len(rows),
        "changed": rows[: fake.most],
        "expires": at(60),
    }


def scopes_of(fake: Fake, request: Request, scope: str) -> str:
    """The caller's key, who must have the scope, and for writes by cookie show the CSRF value."""
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
    key = bearer or fake.sessions.get(request.cookies.get("balancedit_session", ""), "")
    if key not in KEYS:
        raise ApiError(401, "no key was given", code="missing_key")
    csrf = f"csrf-{key}"
    forged = request.headers.get("X-Balancedit-CSRF") != csrf
    if not bearer and request.method != "GET" and forged:
        raise ApiError(403, "the header X-Balancedit-CSRF is missing", code="csrf")
    if SCOPES.index(scope) > SCOPES.index(KEYS[key]):
        raise ApiError(403, f"this key is not for '{scope}'; use another key", code="missing_scope")
    fake.tenants_asked.append(request.headers.get("Balancedit-Tenant"))
    return key


def begun(fake: Fake, key: str) -> Json:
    """A session as it is told to the page."""
    return {
        "csrf": f"csrf-{key}",
        "scope": KEYS[key],
        "tenant": fake.tenants[0],
        "tenants": fake.tenants,
        "model": "pocket",
        "ends": at(720),
    }


router = APIRouter()


def the(request: Request) -> Fake:
    found: Fake = request.app.state.fake
    return found


@router.post("/v1/session")
async def sign_in(request: Request, response: Response, body: Sent) -> Json:
    if body.get("key") not in KEYS:
        raise ApiError(401, "this key is not known here", code="invalid_key")
    cookie = f"cookie-{len(the(request).sessions)}"
    the(request).sessions[cookie] = body["key"]
    response.set_cookie("balancedit_session", cookie, httponly=True, samesite="strict")
    return begun(the(request), body["key"])


@router.get("/v1/session")
async def who(request: Request) -> Json:
    return begun(the(request), scopes_of(the(request), request, "ask"))


@router.delete("/v1/session", status_code=204)
async def sign_out(request: Request, response: Response) -> None:
    the(request).sessions.pop(request.cookies.get("balancedit_session", ""), None)
    response.delete_cookie("balancedit_session")


@router.post("/v1/chat/completions")
async def chat(request: Request, body: Sent) -> StreamingResponse:
    fake = the(request)
    scopes_of(fake, request, "ask")
    fake.chats.append(body)
    parts = [p for m in body["messages"] if m["role"] == "user" for p in m["content"]]
    pictures = [p["image_url"]["url"] for p in parts if p["type"] == "image_url"]
    question = next(p["text"] for p in reversed(parts) if p["type"] == "text")
    text, decision = decide(fake, pictures[0] if pictures else None, question)
    if body["model"].endswith("@base"):
        text, decision = fake.answer, {}
    return StreamingResponse(stream(fake, text, decision), media_type="text/event-stream")


async def stream(fake: Fake, text: str, decision: Json) -> AsyncIterator[str]:
    def event(data: Json) -> str:
        return f"data: {json.dumps(data)}\n\n"

    pieces = [text[i : i + fake.pieces] for i in range(0, len(text), fake.pieces)]
    for i, piece in enumerate(pieces):
        if i == fake.breaking:
            error = {"message": "deadline", "type": "server_error", "code": "deadline"}
            yield event({"error": error})
            return
        yield event({"choices": [{"index": 0, "delta": {"content": piece}}]})
        await asyncio.sleep(fake.pause)
    done = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    yield event(done | ({"balancedit": decision} if decision else {}))
    yield "data: [DONE]\n\n"


@router.post("/v1/explain")
async def explain(request: Request, body: Sent) -> Json:
    fake = the(request)
    scopes_of(fake, request, "ask")
    text, decision = decide(fake, body["image"], body["question"])
    near = [
        {
            "id": e["id"],
            "question": e["question"],
            "target": e["target"],
            "distance": 0.0 if e["_picture"] == body["image"] else 6.0,
            "radius": e["radius"],
            "inside": e["_picture"] == body["image"],
        }
        for e in fake.edits.values()
        if e["state"] == "active"
    ]
    reason = (
        f"edit {decision['fired']} fired: the question lies inside its radius"
        if decision["fired"]
        else "no edit fired: none lies near enough"
    )
    return {
        "explanation": {
            "question": body["question"],
            "text": text,
            "base_answer": fake.answer,
            "reason": reason,
            "neighbours": near,
        }
        | decision,
        "version": fake.version,
    }


@router.post("/v1/edits/preview")
async def preview(request: Request, body: Sent) -> Json:
    fake = the(request)
    key = scopes_of(fake, request, "edit")
    edit = made_edit(fake, body)
    fake.previews[f"p{len(fake.previews)}"] = {"edit": edit}
    fake.note("preview", None, key, {"question": body["question"]})
    return looked_through(fake, edit, LEARNED)


@router.post("/v1/edits/preview/{name}/radius")
async def radius(name: str, request: Request, body: Sent) -> Json:
    fake = the(request)
    scopes_of(fake, request, "edit")
    if name not in fake.previews:
        raise ApiError(404, "the preview has expired; preview again", code="preview_not_found")
    return looked_through(fake, fake.previews[name]["edit"], body["radius"])


@router.post("/v1/edits", status_code=201)
async def commit(request: Request, body: Sent) -> Json:
    fake = the(request)
    key = scopes_of(fake, request, "edit")
    once = request.headers.get("Idempotency-Key", "")
    if once in fake.keyed:
        return fake.keyed[once]
    expected = request.headers.get("If-Match")
    if expected is not None and expected != f'"{fake.version}"':
        raise ApiError(412, "the edits have changed", code="edit_conflict")
    if "preview_id" in body:
        if body["preview_id"] not in fake.previews:
            raise ApiError(404, "the preview has expired; preview again", code="preview_not_found")
        edit = dict(fake.previews[body["preview_id"]]["edit"])
        edit["radius"] = body.get("radius") or LEARNED
    else:
        edit = made_edit(fake, body)
    return fake.keyed.setdefault(once, put(fake, edit, key))


def put(fake: Fake, edit: Json, key: str = "admin-key") -> Json:
    """Put an edit in force; one of the same picture and question is retired."""
    for other in fake.edits.values():
        same = (other["_picture"], other["question"]) == (edit["_picture"], edit["question"])
        if same and other["state"] == "active":
            other["state"], other["retired_by"] = "retired", edit["id"]
            edit["retires"] = [*edit["retires"], other["id"]]
    fake.edits[edit["id"]] = edit
    fake.version += 1
    fake.note("edit", edit["id"], key)
    return {"edit": shown(edit), "version": fake.version}


@router.get("/v1/edits")
async def listed(
    request: Request, limit: int = 20, after: str | None = None, state: str = "active"
) -> Json:
    fake = the(request)
    scopes_of(fake, request, "ask")
    wanted = [e for e in reversed(fake.edits.values()) if state == "all" or e["state"] == "active"]
    names = [e["id"] for e in wanted]
    rest = wanted[names.index(after) + 1 :] if after in names else wanted
    page_ = [shown(e) for e in rest[:limit]]
    return {"data": page_, "has_more": len(rest) > limit, "version": fake.version}


@router.get("/v1/edits/{name}")
async def one(name: str, request: Request) -> Json:
    fake = the(request)
    scopes_of(fake, request, "ask")
    if name not in fake.edits:
        raise ApiError(404, f"no edit '{name}' is held", code="edit_not_found")
    return {"edit": shown(fake.edits[name]), "version": fake.version}


@router.get("/v1/edits/{name}/thumbnail")
async def picture_of_edit(name: str, request: Request) -> Response:
    scopes_of(the(request), request, "ask")
    return Response(the(request).pictures.get(name) or drawing("owl"), media_type="image/png")


@router.get("/v1/queries/{name}/thumbnail")
async def picture_of_query(name: str, request: Request) -> Response:
    fake = the(request)
    scopes_of(fake, request, "edit")
    (row,) = [q for q in fake.logged if q["id"] == name]
    return Response(drawing(row["picture"]), media_type="image/png")


@router.post("/v1/edits/{name}/revert")
async def revert(name: str, request: Request) -> Json:
    fake = the(request)
    key = scopes_of(fake, request, "edit")
    if name not in fake.edits or fake.edits[name]["state"] != "active":
        raise ApiError(404, f"edit '{name}' is not in force", code="edit_not_found")
    edit = fake.edits[name]
    edit["state"] = "reverted"
    back = [fake.edits[other] for other in edit["retires"]]
    for other in back:
        other["state"], other["retired_by"] = "active", None
    fake.version += 1
    fake.note("revert", name, key)
    changed = [shown(e) for e in (edit, *back)]
    return {"edit": shown(edit), "changed": changed, "version": fake.version}


@router.get("/v1/audit")
async def audited(request: Request, limit: int = 50, after: str | None = None) -> Json:
    fake = the(request)
    scopes_of(fake, request, "admin")
    names = [row["id"] for row in fake.audit]
    rest = fake.audit[names.index(after) + 1 :] if after in names else fake.audit
    return {"data": rest[:limit], "has_more": len(rest) > limit}


def make_app(fake: Fake) -> FastAPI:
    """The application around one state."""
    app = FastAPI()
    app.state.fake = fake
    app.include_router(router)
    app.include_router(page.router)

    @app.exception_handler(ApiError)
    async def failed(_: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body, error.status_code, error.headers)

    @app.middleware("http")
    async def around(request: Request, go_on: Any) -> Response:
        what = f"{request.method} {request.url.path}"
        headers = {n: v for n, v in request.headers.items() if n in ("if-match", "idempotency-key")}
        fake.requests.append({"what": what, **headers})
        if what in fake.held:
            await asyncio.to_thread(fake.held[what].wait, 30)
        if waiting := fake.failing.get(what):
            status, message = waiting.pop(0)
            error = ApiError(status, message, headers={"Retry-After": "3"})
            return JSONResponse(error.body, status, error.headers)
        reply: Response = await go_on(request)
        return reply

    return app


@contextmanager
def running(fake: Fake, port: int = 0) -> Iterator[str]:
    """The address of the server while it runs, in a thread."""
    config = uvicorn.Config(make_app(fake), port=port, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}/"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
        socket.close()


if __name__ == "__main__":
    with running(Fake(logged=some_log(), pause=0.2), port=8001) as address_:
        print(f"{address_}#key=admin-key")
        threading.Event().wait()
