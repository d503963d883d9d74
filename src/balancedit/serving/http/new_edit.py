"""What an edit is asked for with: a fact, or a preview that is to be committed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from balancedit.serving.http.errors import ApiError
from balancedit.serving.http.facts import FactBody, arguments
from balancedit.serving.http.keys import Caller
from balancedit.serving.http.services import Services
from balancedit.store.terms import Terms
from balancedit.types import Edit, Fact

if TYPE_CHECKING:
    from balancedit.editor import Editor


class PreviewBody(BaseModel):
    """A preview that is to be committed, as it was or with another radius."""

    model_config = ConfigDict(strict=True, extra="forbid")
    preview_id: str = Field(max_length=100)
    radius: Annotated[float, Field(allow_inf_nan=False, ge=0)] | None = None


def _meant(body: Any) -> str:
    return "preview" if isinstance(body, dict) and "preview_id" in body else "fact"


NewEdit = Annotated[
    Annotated[FactBody, Tag("fact")] | Annotated[PreviewBody, Tag("preview")],
    Discriminator(_meant),
]


async def teaching(
    wanted: FactBody | PreviewBody, here: Services, caller: Caller, *, known: bool
) -> tuple[Callable[[Editor, Terms], Edit], str]:
    """What makes the edit, on the inference thread, and what the audit tells of it. known: it may
    be that the request was carried out before. Raises `ApiError`."""
    if isinstance(wanted, FactBody):
        fact = await wanted.fact(here.pictures, here.settings.max_pictures)
        return _taught(fact), f"“{fact.question}” → “{fact.answer}”"
    found = here.previews.find(wanted.preview_id, caller.tenant)
    radius = wanted.radius

    def commit(editor: Editor, terms: Terms) -> Edit:
        if found is not None:
            return editor.commit(found, radius, terms=terms)
        terms.check_request(editor.store.done)
        raise _no_preview()

    if found is None:
        if not known:
            raise _no_preview()
        return commit, ""
    return commit, f"“{found.edit.question}” → “{found.edit.target}”, from a preview"


def _taught(fact: Fact) -> Callable[[Editor, Terms], Edit]:
    def teach(editor: Editor, terms: Terms) -> Edit:
        return editor.edit(
            **arguments(fact),
            terms=terms,
        )

    return teach


def _no_preview() -> ApiError:
    return ApiError(
        404,
        "there is no such preview, or it has expired; preview the fact again",
        code="preview_not_found",
        param="preview_id",
    )
