"""`/v1/edits/preview`: what an edit would change, before it is in force."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from balancedit.serving.http.conditions import mark
from balancedit.serving.http.edit_replies import EditShown, edit_shown, finite
from balancedit.serving.http.errors import ApiError
from balancedit.serving.http.facts import FactBody, arguments
from balancedit.serving.http.held_previews import HeldPreview
from balancedit.serving.http.services import Here, MayEdit, note
from balancedit.serving.http.works import done
from balancedit.store.terms import AuditEntry, Terms

if TYPE_CHECKING:
    from balancedit.editor import Editor
    from balancedit.preview.preview import Preview

router = APIRouter(prefix="/v1/edits/preview", tags=["edits"])

MOST = 200  # changes in a reply
_DETAIL = 400  # characters of what the audit tells


class PreviewFact(FactBody):
    """A fact, and how many changes are shown and answered."""

    limit: int = Field(50, ge=1, le=MOST)


class RadiusBody(BaseModel):
    """Another radius."""

    model_config = ConfigDict(strict=True, extra="forbid")
    radius: Annotated[float, Field(allow_inf_nan=False, ge=0)]


class Radius(BaseModel):
    """The radius that was measured, the one that is looked at, and between which it may be."""

    learned: float
    chosen: float
    min: float
    max: float


class Changed(BaseModel):
    """A logged question that would be answered by another edit, or by none.

    before, after: null where that was not generated, or there is nothing to generate it from.
    margin: how far from the radius, as a share of it; sure: whether that is more than keys are
    rounded by; exact: whether the answers are about the picture, not its small copy.
    """

    query_id: str | None
    question: str
    thumbnail: str | None
    before: str | None
    after: str | None
    distance: float | None
    inside: bool
    margin: float | None
    sure: bool
    exact: bool
    fired_before: str | None
    fired_after: str | None


class Previewed(BaseModel):
    """An edit that is not in force, and what it would change.

    version: of the edits that it was held against. considered: logged questions looked at;
    undecided: of how many it is not known; changes: how many would change, of which `changed` has
    the nearest. known: whether the fact is in force already. expires: when the preview is gone.
    """

    preview_id: str
    edit: EditShown  # type: ignore[valid-type]
    known: bool
    radius: Radius
    version: int
    considered: int
    undecided: int
    changes: int
    changed: list[Changed]
    expires: str


@router.post("", response_model=Previewed)
async def preview_edit(
    wanted: PreviewFact, here: Here, caller: MayEdit, request: Request, response: Response
) -> Any:
    """Learn a fact without putting it in force, and say which logged questions it would change; to
    be committed by its id (``POST /v1/edits``)."""
    fact = await wanted.fact(here.pictures, here.settings.max_pictures)
    said = f"“{fact.question}” → “{fact.answer}”"[:_DETAIL]

    def work(editor: Editor) -> Preview:
        made = editor.preview(
            **arguments(fact),
            over=here.queries.of(caller.tenant) if here.queries is not None else (),
            most=wanted.limit,
        )
        if not editor.store.read_only:
            terms = Terms(audit=AuditEntry(caller.key_id, caller.tenant, said))
            editor.store.note("preview", terms)
        return made

    made = await done(request, here, caller, work, facts=1)
    held = here.previews.add(caller.tenant, made, wanted.limit)
    mark(response, made.version)
    note(request, version=made.version, considered=made.considered, changed=len(made.changed))
    return shown(held, made)


@router.post("/{preview_id}/radius", response_model=Previewed)
async def preview_at(
    preview_id: Annotated[str, Path(min_length=1, max_length=100)],
    wanted: RadiusBody,
    here: Here,
    caller: MayEdit,
    response: Response,
) -> Any:
    """The same preview with another radius: decided anew, without the model."""
    held = here.previews.held(preview_id, caller.tenant)
    if held is None:
        raise ApiError(
            404,
            "there is no such preview, or it has expired; preview the fact again",
            code="preview_not_found",
            param="preview_id",
        )
    made = await asyncio.to_thread(held.preview.at, wanted.radius)
    mark(response, made.version)
    return shown(held, made)


def shown(held: HeldPreview, made: Preview) -> dict[str, Any]:
    """A preview as a reply. made: the one held, perhaps with another radius."""
    whole = made.to_dict()
    return {
        "preview_id": held.id,
        "edit": edit_shown(made.edit, pictured=False),
        "known": made.rehearsal is None,
        "radius": whole["radius"],
        "version": made.version,
        "considered": made.considered,
        "undecided": made.undecided,
        "changes": len(made.changed),
        "changed": [_change(one) for one in whole["changed"][: held.most]],
        "expires": held.expires,
    }


def _change(change: dict[str, Any]) -> dict[str, Any]:
    where = f"/v1/queries/{change['query_id']}/thumbnail" if change["has_thumbnail"] else None
    kept: dict[str, Any] = finite(
        {name: change[name] for name in Changed.model_fields if name != "thumbnail"}
    )
    return kept | {"thumbnail": where}
