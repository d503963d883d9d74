"""A preview: an edit that is not in force, and what it would change."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from balancedit import shapes
from balancedit.errors import InputError
from balancedit.preview.outlook import Outlook
from balancedit.preview.records import Bounds, Change
from balancedit.preview.rehearsal import Rehearsal
from balancedit.types import Edit


@dataclass(frozen=True)
class Preview:
    """An edit that was learned and is neither in force nor stored, and which of the questions asked
    before it would decide otherwise (`changed`, nearest first).

    edit: its record; a `KnownEdit` where its fact was in force already, which changes nothing.
    radius: that it would be given; bounds: between which another may be chosen (`at`). version: of
    the edits that it was held against. considered: how many questions were looked at; undecided:
    of how many nobody knows what fires, since what the untouched model says to them is not known.
    """

    edit: Edit
    radius: float
    bounds: Bounds
    version: int
    considered: int
    undecided: int = 0
    changed: tuple[Change, ...] = ()
    outlook: Outlook | None = field(default=None, repr=False, compare=False)
    rehearsal: Rehearsal | None = field(default=None, repr=False, compare=False)
    keep: Callable[[Preview], Edit] | None = field(default=None, repr=False, compare=False)

    def at(self, radius: float) -> Preview:
        """The same with another radius, decided at once and without the model; answers that were
        not generated are None then. A radius too small for the edit to reach its own question is
        raised to `bounds.min`. Raises `InputError` for one beyond `bounds.max`, or that is no
        distance."""
        if not 0 <= radius <= self.bounds.max or math.isnan(radius):
            raise InputError(
                f"the radius {radius:.4g} lies outside what was looked at; give one from 0 to "
                f"{self.bounds.max:.4g}"
            )
        radius = max(radius, self.bounds.min)
        if self.outlook is None:
            return self
        changed, undecided = self.outlook.changes(radius)
        edit = replace(self.edit, radius=radius)
        return replace(self, edit=edit, radius=radius, changed=changed, undecided=undecided)

    def commit(self) -> Edit:
        """Keep the edit, with this radius; see `Previewing.commit`."""
        if self.keep is None:
            raise InputError("this preview belongs to no editor any more; preview the fact again")
        return self.keep(self)

    def to_dict(self) -> dict[str, Any]:
        """The preview as plain JSON types."""
        return shapes.preview(self)
