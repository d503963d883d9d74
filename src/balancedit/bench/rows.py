"""What a result line says beside scores and outputs."""

from __future__ import annotations

from typing import Any

from balancedit.data.sample import EditSample
from balancedit.types import Edit


def about_edit(edit: Edit) -> dict[str, Any]:
    """What a result line says of the edit itself; seconds include the answer before it."""
    return {
        "edit_seconds": edit.seconds,
        "radius": edit.radius,
        "loss": edit.loss,
        "warnings": list(edit.warnings),
    }


def head(name: str, size: int, sample: EditSample) -> dict[str, Any]:
    """Which result a line is: of a method with so many edits held, on a sample."""
    return {
        "method": name,
        "held": size,
        "sample": sample.id,
        "category": sample.category,
        "kind": sample.kind,
    }
