"""The shapes of edits and explanations in replies; numbers that JSON cannot hold are null."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from pydantic import BaseModel, create_model

from balancedit.types import Edit

_MAY_LACK = {"loss": float | None, "seconds": float | None}
_HINTS = get_type_hints(Edit) | _MAY_LACK
_FIELDS: dict[str, Any] = {field.name: (_HINTS[field.name], ...) for field in fields(Edit)}
_FIELDS["thumbnail"] = (str | None, ...)
#: An edit's whole record as `Edit.to_dict` has it, and where its picture is.
EditShown: type[BaseModel] = create_model("EditShown", **_FIELDS)


class OneEdit(BaseModel):
    """An edit. version: of the edits, as they stand with it."""

    edit: EditShown  # type: ignore[valid-type]
    version: int


class Reverted(OneEdit):
    """An edit that was taken back. changed: all records that are others now, its own first."""

    changed: list[EditShown]  # type: ignore[valid-type]


class EditPage(BaseModel):
    """Edits, newest first. has_more: whether there are older ones, behind ``after=`` the last id.
    version: that the edits were at least at."""

    data: list[EditShown]  # type: ignore[valid-type]
    has_more: bool
    version: int


class Near(BaseModel):
    """An edit seen from a question."""

    id: str
    question: str
    target: str
    distance: float | None
    radius: float | None
    inside: bool


class Why(BaseModel):
    """An answer, and why it is given, as `Explanation.to_dict` has it."""

    question: str
    text: str
    fired: str | None
    nearest: str | None
    distance: float | None
    radius: float | None
    cut: bool
    base_answer: str
    reason: str
    neighbours: list[Near]


class Explained(BaseModel):
    """An explanation. version: of the edits that it speaks of."""

    explanation: Why
    version: int


def edit_shown(edit: Edit, *, pictured: bool) -> dict[str, Any]:
    """An edit's record. pictured: whether it has a picture to show."""
    where = f"/v1/edits/{edit.id}/thumbnail" if pictured else None
    shown: dict[str, Any] = finite(edit.to_dict() | {"thumbnail": where})
    return shown


def finite(value: Any) -> Any:
    """Plain JSON types, with null for numbers that are not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return value
