"""`balancedit revert`: undo an edit, without loading a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from balancedit import shapes
from balancedit.cli import output, remote
from balancedit.cli.options import (
    DEFAULT_EDITS,
    EditsOption,
    IdArgument,
    OutputOptions,
    ServerOptions,
    with_options,
)

if TYPE_CHECKING:
    from balancedit.types import Edit


@with_options
def revert(
    edit_id: IdArgument, out: OutputOptions, at: ServerOptions, edits: EditsOption = DEFAULT_EDITS
) -> dict[str, Any] | None:
    """Undo an edit; what it had replaced comes back."""
    from balancedit.cli import session

    there = remote.client(at, edits)
    if there is not None:
        edit, others = there.revert(edit_id)
        left = len(there.edits().edits)
    else:
        with session.open_store(edits) as store:
            wanted = store.resolve(edit_id)
            changed = store.revert(wanted)
            left = len(store.active())
        edit = next(e for e in changed if e.id == wanted)
        others = [e for e in changed if e.id != wanted]
    back = [e for e in others if e.state == "active"]
    if out.json:
        return shapes.reverted(edit, back, left)
    console = output.console()
    console.print(f"Reverted {_said(edit)}")
    for e in back:
        console.print(f"Back in force: {_said(e)}")
    console.print(
        "No edit is left: the model is the untouched one, bit for bit."
        if not left
        else f"{left} edit{'s' if left > 1 else ''} still in force.",
        style="dim",
    )
    return None


def _said(edit: Edit) -> str:
    return output.printable(f"{edit.id}: “{edit.question}” → “{edit.target}”")
