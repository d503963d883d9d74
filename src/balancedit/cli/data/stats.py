"""`balancedit data stats`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from balancedit.cli import output
from balancedit.cli.options import OutputOptions, with_options


@with_options
def stats(
    out: OutputOptions,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A data set, see `balancedit data list`, or the directory of one on disk.",
        ),
    ],
    part: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One part of it; all that hold edits by default."),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out records that cannot be used.")
    ] = False,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the counts as a picture.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw a sheet of samples of the first part.")
    ] = None,
) -> dict[str, Any] | None:
    """Say what a data set consists of, and its hash."""
    from balancedit.data import statistics
    from balancedit.data.catalogue import find
    from balancedit.data.problems import LeftOut

    left_out = LeftOut()
    dataset = find(name, left_out) if skip_bad else find(name)
    parts = dataset.parts if part is None else (part,)
    described = {p: statistics.describe(dataset.read(p)) for p in parts}
    digests = {p: dataset.digest(p) for p in parts}
    if left_out.problems:
        output.note("warning", left_out.message())
    if figure or sheet:
        from balancedit.data import plots

        if figure:
            plots.draw_statistics(described, figure)
        if sheet:
            plots.draw_sheet(dataset.load(parts[0]), sheet)
    if out.json:
        return {
            "name": dataset.name,
            "left_out": len(left_out.problems),
            "parts": {p: {"digest": digests[p], **described[p]} for p in parts},
        }
    console = output.console()
    console.print(statistics.table(described))
    for p in parts:
        console.print(f"{dataset.name} {p} sha256 {digests[p]}", style="dim", soft_wrap=True)
    for path in (figure, sheet):
        if path:
            console.print(f"Drawn: {path}", soft_wrap=True)
    return None
