"""`/v1/audit`: who changed what, and when. It is kept with the edits and only ever added to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from balancedit.serving.http.services import Here, MayAdmin
from balancedit.serving.http.works import done
from balancedit.store.terms import AuditRecord

if TYPE_CHECKING:
    from balancedit.editor import Editor

router = APIRouter(prefix="/v1/audit", tags=["edits"])


class AuditLine(BaseModel):
    """One line. key: the id of the key that asked; action: "edit", "revert", "known" for a fact
    that was in force already, or another; version: of the edits, once that was done."""

    id: int
    time: str
    tenant: str
    key: str
    action: str
    edit: str | None
    version: int
    detail: str


class AuditPage(BaseModel):
    """Lines, newest first. has_more: whether there are older ones, behind ``after=`` the last
    id."""

    data: list[AuditLine]
    has_more: bool


@router.get("", response_model=AuditPage)
async def list_audit(
    here: Here,
    caller: MayAdmin,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> Any:
    """The audit of the caller's tenant, a page at a time."""

    def work(editor: Editor) -> list[AuditRecord]:
        return editor.store.audit(limit + 1, after)

    lines = await done(request, here, caller, work)
    return {"data": [line.to_dict() for line in lines[:limit]], "has_more": len(lines) > limit}
