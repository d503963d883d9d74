"""`balancedit data …`: the data sets of edits."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from balancedit.cli import output
from balancedit.cli.options import OutputOptions, with_options

app = typer.Typer(help="The data sets of edits: which there are, and what they consist of.")

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A data set, see `balancedit data list`.")
]


@app.callback(invoke_without_command=True)
def _start(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


@app.command("list")
@with_options
def list_(out: OutputOptions) -> dict[str, Any] | None:
    """List the data sets."""
    from balancedit.data.table import DATA_SETS

    if out.json:
        return {
            "data": [
                {"name": d.name, "about": d.about, "parts": list(d.parts)}
                for d in DATA_SETS.values()
            ]
        }
    console = output.console()
    for d in DATA_SETS.values():
        console.print(d.name, style="bold")
        console.print(f"  {d.about}", soft_wrap=True)
        console.print(f"  parts: {', '.join(d.parts)}", soft_wrap=True)
    return None


@app.command("stats")
@with_options
def stats(
    out: OutputOptions,
    name: NameArgument,
    part: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One part of it; all that hold edits by default."),
    ] = None,
) -> dict[str, Any] | None:
    """Say what a data set consists of, and its hash."""
    from balancedit.data import statistics
    from balancedit.data.table import find

    found = find(name)
    parts = found.parts if part is None else (part,)
    described = {p: statistics.describe(found.load(p)) for p in parts}
    digests = {p: found.digest(p) for p in parts}
    if out.json:
        return {
            "name": found.name,
            "parts": {p: {"digest": digests[p], **described[p]} for p in parts},
        }
    console = output.console()
    console.print(statistics.table(described))
    for p in parts:
        console.print(f"{found.name} {p} sha256 {digests[p]}", style="dim", soft_wrap=True)
    return None
