"""`balancedit list`: the edits of a store, without loading a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from balancedit import shapes
from balancedit.cli import output
from balancedit.cli.options import DEFAULT_EDITS, EditsOption, OutputOptions, with_options

if TYPE_CHECKING:
    from rich.table import Table

    from balancedit.types import Edit

_STYLES = {"active": None, "retired": "dim", "reverted": "dim strike"}


@with_options
def list_(
    out: OutputOptions,
    every: Annotated[bool, typer.Option("--all", help="Retired and reverted edits too.")] = False,
    edits: EditsOption = DEFAULT_EDITS,
) -> dict[str, Any] | None:
    """List the edits that are held."""
    from balancedit.cli import session

    with session.open_store(edits) as store:
        held = list(store.edits().values())
        chosen = [e for e in held if every or e.state == "active"]
        damaged = store.damaged([e.id for e in chosen])
        model, layer = store.binding.model, store.binding.details.get("layer", "")
        version = store.version
    if out.json:
        return shapes.edits(chosen, damaged, version)
    console = output.console()
    if chosen:
        console.print(edit_table(chosen, {d.id for d in damaged}))
    active = sum(e.state == "active" for e in held)
    others = len(held) - active
    hidden = f", {others} retired or reverted" if others else ""
    hint = " (--all shows them)" if others and not every else ""
    console.print(
        f"{active} active{hidden}{hint} · {edits} · {model} · {layer} · version {version}",
        style="dim",
        soft_wrap=True,
    )
    for d in damaged:
        output.note("warning", f"edit {d.id} is left out: {d.reason}")
    return None


def edit_table(edits: Sequence[Edit], damaged: set[str]) -> Table:
    """One line an edit, oldest first."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("id", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("question")
    table.add_column("before → after")
    table.add_column("radius", justify="right", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    for e in edits:
        table.add_row(
            e.id,
            "damaged" if e.id in damaged else e.state,
            output.cell(e.question),
            output.cell(e.answer_before, e.target),
            output.number(e.radius),
            output.age(e.created),
            style="red" if e.id in damaged else _STYLES[e.state],
        )
    return table
