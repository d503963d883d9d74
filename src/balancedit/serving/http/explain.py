"""`/v1/explain`: why a question gets the answer it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from balancedit.serving.http.conditions import mark
from balancedit.serving.http.edit_replies import Explained, finite
from balancedit.serving.http.facts import ShownBody
from balancedit.serving.http.services import Here, MayAsk, note
from balancedit.serving.http.works import done

if TYPE_CHECKING:
    from balancedit.editor import Editor

router = APIRouter(prefix="/v1/explain", tags=["edits"])


class ExplainBody(ShownBody):
    """A question, and how many of the nearest edits are told."""

    nearest: int = Field(5, ge=1, le=100)


@router.post("", response_model=Explained)
async def explain(
    wanted: ExplainBody, here: Here, caller: MayAsk, request: Request, response: Response
) -> Any:
    """Why a question gets the answer it gets: the nearest edits, their radii, which one fires."""
    shown = await wanted.shown(here.pictures, here.settings.max_pictures)

    def work(editor: Editor) -> tuple[dict[str, Any], int]:
        why = editor.explain(shown, wanted.question, nearest=wanted.nearest)
        return why.to_dict(), editor.version

    why, version = await done(request, here, caller, work)
    mark(response, version)
    note(request, version=version, fired=why["fired"])
    return {"explanation": finite(why), "version": version}
