"""`/v1/edits`: teach, list, look at and take back edits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request, Response

from balancedit.errors import RepeatedRequestError
from balancedit.serving.http.conditions import (
    REPLAYED_HEADER,
    IdempotencyKey,
    IfMatch,
    mark,
    terms_of,
)
from balancedit.serving.http.edit_replies import EditPage, OneEdit, Reverted, edit_shown
from balancedit.serving.http.errors import ApiError
from balancedit.serving.http.new_edit import NewEdit, teaching
from balancedit.serving.http.services import Here, MayAsk, MayEdit, note
from balancedit.serving.http.works import done
from balancedit.types import STATES, Edit, EditState, KnownEdit

if TYPE_CHECKING:
    from balancedit.editor import Editor

router = APIRouter(prefix="/v1/edits", tags=["edits"])

EditId = Annotated[
    str, Path(min_length=1, max_length=64, description="Its id, or the beginning of it.")
]
Limit = Annotated[int, Query(ge=1, le=200)]
_STATES: dict[str, tuple[EditState, ...]] = {"active": ("active",), "all": STATES}
#: How pictures that are shown begin; the store may be a stranger's.
_KINDS = {
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
}
_KEPT = "private, max-age=86400, immutable"
#: What decides whose picture an address is.
_VARIES = "Authorization, Cookie, Balancedit-Tenant"


@dataclass(frozen=True)
class Made:
    """What became of a request for an edit. kind: "new"; "known", where it was in force already;
    "replayed", where this very request was carried out before."""

    edit: Edit
    pictured: bool
    version: int
    kind: Literal["new", "known", "replayed"]


# -- changing -------------------------------------------------------------------------------------


@router.post(
    "",
    status_code=201,
    response_model=OneEdit,
    responses={200: {"model": OneEdit, "description": "It was in force already."}},
)
async def commit_edit(
    wanted: Annotated[NewEdit, Body()],
    here: Here,
    caller: MayEdit,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Teach a fact, or commit a preview; in force, and stored, when this answers."""
    teach, detail = await teaching(wanted, here, caller, known=idempotency_key is not None)
    asked = wanted.model_dump()
    terms = await terms_of(request, caller, if_match, idempotency_key, asked, detail)

    def work(editor: Editor) -> Made:
        try:
            edit = teach(editor, terms)
        except RepeatedRequestError as error:
            edit = editor.get(error.edit_id)
            pictured = bool(editor.store.pictured([edit.id]))
            return Made(edit, pictured, error.version, "replayed")
        if terms.expect is None:  # else this edit alone came behind that version
            editor.refresh()
        kind: Literal["new", "known"] = "known" if isinstance(edit, KnownEdit) else "new"
        return Made(edit, bool(editor.store.pictured([edit.id])), editor.version, kind)

    made = await done(request, here, caller, work, facts=1)
    if made.kind == "known":
        response.status_code = 200
    _mark(response, made)
    note(request, edit=made.edit.id, version=made.version, outcome=made.kind)
    return {"edit": edit_shown(made.edit, pictured=made.pictured), "version": made.version}


@router.post("/{edit_id}/revert", response_model=Reverted)
async def revert_edit(
    edit_id: EditId,
    here: Here,
    caller: MayEdit,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Take an edit back; what it had replaced comes into force again. Its record stays."""
    terms = await terms_of(request, caller, if_match, idempotency_key, None)

    def work(editor: Editor) -> tuple[list[Edit], set[str], int, bool]:
        replayed = False
        try:
            changed = editor.undo(edit_id, terms=terms)
            version = editor.version
        except RepeatedRequestError as error:
            edit = editor.get(error.edit_id)
            back = editor.store.records(edit.retires).values()
            changed = [edit, *(e for e in back if e.state == "active")]
            version, replayed = error.version, True
        return changed, editor.store.pictured(e.id for e in changed), version, replayed

    changed, pictured, version, replayed = await done(request, here, caller, work)
    mark(response, version)
    if replayed:
        response.headers[REPLAYED_HEADER] = "true"
    note(request, edit=changed[0].id, version=version)
    shown = [edit_shown(e, pictured=e.id in pictured) for e in changed]
    return {"edit": shown[0], "changed": shown, "version": version}


# -- looking --------------------------------------------------------------------------------------


@router.get("", response_model=EditPage)
async def list_edits(
    here: Here,
    caller: MayAsk,
    request: Request,
    response: Response,
    limit: Limit = 50,
    after: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
    state: Literal["active", "all"] = "active",
) -> Any:
    """The edits, newest first, a page at a time."""

    def work(editor: Editor) -> tuple[list[Edit], set[str], int]:
        editor.refresh()
        version = editor.version  # before the records: a change in between is not hidden by it
        edits = editor.store.page(limit + 1, after, _STATES[state])
        return edits, editor.store.pictured(e.id for e in edits), version

    edits, pictured, version = await done(request, here, caller, work)
    mark(response, version)
    shown = [edit_shown(e, pictured=e.id in pictured) for e in edits[:limit]]
    return {"data": shown, "has_more": len(edits) > limit, "version": version}


@router.get("/{edit_id}", response_model=OneEdit)
async def one_edit(
    edit_id: EditId, here: Here, caller: MayAsk, request: Request, response: Response
) -> Any:
    """One edit, whatever its state."""

    def work(editor: Editor) -> Made:
        editor.refresh()
        version, edit = editor.version, editor.get(edit_id)
        return Made(edit, bool(editor.store.pictured([edit.id])), version, "known")

    found = await done(request, here, caller, work)
    mark(response, found.version)
    return {"edit": edit_shown(found.edit, pictured=found.pictured), "version": found.version}


@router.get(
    "/{edit_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {kind: {} for kind in _KINDS}}},
)
async def edit_thumbnail(edit_id: EditId, here: Here, caller: MayAsk, request: Request) -> Response:
    """A small copy of the picture that an edit is about."""
    picture = await done(request, here, caller, lambda editor: editor.store.thumbnail(edit_id))
    kind = next((kind for kind, begin in _KINDS.items() if begin.match(picture or b"")), None)
    if kind is None:
        raise ApiError(404, "this edit has no picture", code="no_picture")
    return Response(picture, media_type=kind, headers={"Cache-Control": _KEPT, "Vary": _VARIES})


def _mark(response: Response, made: Made) -> None:
    mark(response, made.version)
    response.headers["Location"] = f"/v1/edits/{made.edit.id}"
    if made.kind == "replayed":
        response.headers[REPLAYED_HEADER] = "true"
