"""`balancedit list`: the edits of a store, without loading a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from balancedit import shapes
from balancedit.cli import output, remote
from balancedit.cli.options import (
    DEFAULT_EDITS,
    EditsOption,
    OutputOptions,
    ServerOptions,
    with_options,
)

if TYPE_CHECKING:
    from rich.table import Table

    from balancedit.serving.client.client import Client
    from balancedit.types import Edit

_STYLES = {"active": None, "retired": "dim", "reverted": "dim strike"}


@with_options
def list_(
    out: OutputOptions,
    at: ServerOptions,
    every: Annotated[bool, typer.Option("--all", help="Retired and reverted edits too.")] = False,
    edits: EditsOption = DEFAULT_EDITS,
) -> dict[str, Any] | None:
    """List the edits that are held."""
    from balancedit.cli import session

    there = remote.client(at, edits)
    if there is not None:
        return _of_server(there, out, every=every)
    with session.open_store(edits) as store:
        held = list(store.edits().values())
        chosen = [e for e in held if every or e.state == "active"]
        damaged = store.damaged([e.id for e in chosen])
        model, layer = store.binding.model, store.binding.details.get("layer", "")
        version = store.version
    if out.json:
        return shapes.edits(chosen, damaged, version)
    where = f"{edits} · {model} · {layer} · version {version}"
    _print(held, chosen, {d.id for d in damaged}, where, every=every)
    for d in damaged:
        output.note("warning", f"edit {d.id} is left out: {d.reason}")
    return None


def _of_server(there: Client, out: OutputOptions, *, every: bool) -> dict[str, Any] | None:
    """The edits of a server, which does not say which of them are damaged."""
    held = there.edits(every=every or not out.json)
    chosen = [e for e in held.edits if every or e.state == "active"]
    if out.json:
        return shapes.edits(chosen, (), held.version)
    where = f"{there.address} · {there.model()} · version {held.version}"
    _print(held.edits, chosen, set(), where, every=every)
    return None


def _print(
    held: Sequence[Edit], chosen: Sequence[Edit], damaged: set[str], where: str, *, every: bool
) -> None:
    console = output.console()
    if chosen:
        console.print(edit_table(chosen, damaged))
    active = sum(e.state == "active" for e in held)
    others = len(held) - active
    hidden = f", {others} retired or reverted" if others else ""
    hint = " (--all shows them)" if others and not every else ""
    console.print(f"{active} active{hidden}{hint} · {where}", style="dim", soft_wrap=True)


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
