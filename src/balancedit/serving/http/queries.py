"""`/v1/queries`: the query log, as far as it is the caller's tenant's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel

from balancedit.serving.http.errors import ApiError
from balancedit.serving.http.services import Here, MayAdmin, MayEdit

if TYPE_CHECKING:
    from balancedit.serving.querylog import LoggedQuery, QueryLog

router = APIRouter(prefix="/v1/queries", tags=["edits"])

_KEPT = "private, max-age=3600"
_VARIES = "Authorization, Cookie, Balancedit-Tenant"
_KINDS = {b"RIFF": "image/webp", b"\x89PNG": "image/png"}
QueryId = Annotated[str, Path(min_length=1, max_length=18, pattern=r"^\d+$")]


class Logged(BaseModel):
    """A question that was asked. before: what the untouched model says, null where that is not
    known; fired, answer: what was answered, and by which edit."""

    id: str
    time: str
    tenant: str
    question: str
    thumbnail: str | None
    before: str | None
    fired: str | None
    answer: str | None


class LogPage(BaseModel):
    """Questions, newest first. enabled: whether questions are logged at all. has_more: whether
    there are older ones, behind ``after=`` the last id."""

    data: list[Logged]
    has_more: bool
    enabled: bool


class Forgotten(BaseModel):
    """How many questions were deleted."""

    forgotten: int


@router.get("", response_model=LogPage)
async def list_queries(
    here: Here,
    caller: MayEdit,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(max_length=18, pattern=r"^\d+$")] = None,
) -> Any:
    """What the caller's tenant was asked lately, a page at a time."""
    log: QueryLog | None = here.queries
    if log is None:
        return {"data": [], "has_more": False, "enabled": False}
    found, more = await asyncio.to_thread(log.queries, limit, after, caller.tenant)
    return {"data": [_shown(one) for one in found], "has_more": more, "enabled": True}


@router.get(
    "/{query_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {kind: {} for kind in _KINDS.values()}}},
)
async def query_thumbnail(query_id: QueryId, here: Here, caller: MayEdit) -> Response:
    """A small copy of what was shown with a question."""
    log: QueryLog | None = here.queries
    found = None
    if log is not None:
        found = await asyncio.to_thread(log.thumbnail, query_id, caller.tenant)
    kind = next((kind for begin, kind in _KINDS.items() if (found or b"").startswith(begin)), None)
    if kind is None:
        raise ApiError(404, "this question has no picture, or is gone", code="no_picture")
    return Response(found, media_type=kind, headers={"Cache-Control": _KEPT, "Vary": _VARIES})


@router.delete("", response_model=Forgotten)
async def forget_queries(here: Here, caller: MayAdmin) -> Any:
    """Delete all logged questions of the caller's tenant, and its previews, which show some."""
    log: QueryLog | None = here.queries
    gone = await asyncio.to_thread(log.forget, caller.tenant) if log is not None else 0
    here.previews.forget(caller.tenant)
    return {"forgotten": gone}


def _shown(query: LoggedQuery) -> dict[str, Any]:
    kept = query.to_dict()
    where = f"/v1/queries/{query.id}/thumbnail" if kept.pop("has_thumbnail") else None
    return kept | {"thumbnail": where}
