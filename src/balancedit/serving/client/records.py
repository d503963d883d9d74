"""A server's JSON as the records that the library itself gives. What is not known here, from a
newer server, is left out; what is missing or of another kind raises `TypeError`, `ValueError` or
`KeyError`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, NamedTuple

from balancedit import shapes
from balancedit.preview.records import Bounds, Change
from balancedit.types import Answer, Edit, KnownEdit

_LISTS = ("positives", "retires", "warnings")


class SeenEdit(NamedTuple):
    """As much of an edit as an explanation tells."""

    id: str
    question: str
    target: str


class SeenNeighbour(NamedTuple):
    """An edit seen from a question; see `types.Neighbour`. No radius: GRACE's later ones."""

    edit: SeenEdit
    distance: float | None
    radius: float | None
    inside: bool


def edit(shape: Mapping[str, Any], kind: type[Edit] = Edit) -> Edit:
    """An edit's record. kind: `KnownEdit` where it was there already."""
    known = {f.name for f in fields(Edit)}
    lacking = [f.name for f in fields(Edit) if _is_needed(f) and f.name not in shape]
    if lacking:
        raise KeyError(lacking[0])
    values = {name: value for name, value in shape.items() if name in known}
    values |= {name: tuple(map(str, values.get(name, ()))) for name in _LISTS}
    values["old_tokens"] = tuple(tuple(ids) for ids in values.get("old_tokens", ()))
    for name in ("seconds", "loss"):  # null where JSON cannot hold them
        values[name] = float("nan") if values[name] is None else values[name]
    return kind(**values)


def known_edit(shape: Mapping[str, Any]) -> Edit:
    """The record of an edit that was there already."""
    return edit(shape, KnownEdit)


def answer(text: str, routing: Mapping[str, Any]) -> Answer:
    """An answer with its routing decision."""
    names = ("fired", "nearest", "distance", "radius", "cut")
    return Answer(text, **{name: routing[name] for name in names})


def neighbour(shape: Mapping[str, Any]) -> SeenNeighbour:
    """An edit as an explanation tells of it."""
    seen = SeenEdit(*(str(shape[name]) for name in SeenEdit._fields))
    return SeenNeighbour(seen, shape["distance"], shape["radius"], bool(shape["inside"]))


@dataclass(frozen=True)
class Previewed:
    """An edit that is not in force, and what it would change; see `preview.Preview`. changes: how
    many questions it would, of which `changed` has the nearest."""

    edit: Edit
    radius: float
    bounds: Bounds
    version: int
    considered: int
    undecided: int
    changes: int
    changed: tuple[Change, ...]

    def to_dict(self) -> dict[str, Any]:
        """It as plain JSON types, as `Preview.to_dict` gives it."""
        return shapes.preview(self)


def preview(shape: Mapping[str, Any]) -> Previewed:
    """A preview as a server shows it."""
    radius = shape["radius"]
    bounds = Bounds(*(float(radius[name]) for name in ("learned", "min", "max")))
    return Previewed(
        edit(shape["edit"], KnownEdit if shape["known"] else Edit),
        float(radius["chosen"]),
        bounds,
        int(shape["version"]),
        int(shape["considered"]),
        int(shape["undecided"]),
        int(shape["changes"]),
        tuple(_change(number, one) for number, one in enumerate(shape["changed"])),
    )


def _change(number: int, shape: Mapping[str, Any]) -> Change:
    """A question that would be answered otherwise. number: its place among those shown."""
    names = [f.name for f in fields(Change) if f.name not in ("number", "has_thumbnail")]
    values = {name: shape[name] for name in names}
    for name in ("distance", "margin"):
        values[name] = float("nan") if values[name] is None else float(values[name])
    return Change(number=number, has_thumbnail=shape["thumbnail"] is not None, **values)


def _is_needed(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING
