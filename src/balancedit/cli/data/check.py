"""`balancedit data check`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from balancedit.cli import output
from balancedit.cli.options import OutputOptions, with_options
from balancedit.files.names import expanded


@with_options
def check(
    out: OutputOptions,
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH", help="A data set's name or directory, FORMAT=DIRECTORY, or one file."
        ),
    ],
    limit: Annotated[
        int, typer.Option(metavar="N", help="Findings shown of each kind; --json shows all.")
    ] = 5,
) -> dict[str, Any] | None:
    """Look a data set over, and say what is wrong with which record."""
    from balancedit.data.catalogue import DATA_SETS
    from balancedit.data.check import check, check_named, table

    if path in DATA_SETS:
        form, parts = path, check_named(DATA_SETS[path])
    else:
        named, equals, directory = path.rpartition("=")
        data_format, parts = check(named if equals else None, expanded(directory))
        form = data_format.name
    if out.json:
        return {
            "format": form,
            "problems": sum(len(p.problems) for p in parts.values()),
            "parts": {name: part.to_dict() for name, part in parts.items()},
        }
    console = output.console()
    console.print(table(parts))
    for part_name, part in parts.items():
        for kind, count in part.counts.items():
            held = [p for p in part.problems if p.kind == kind][:limit]
            more = f", the first {limit}" if count > limit else ""
            console.print(f"{part_name}: {count} {kind}{more}", style="bold", soft_wrap=True)
            for problem in held:
                line = output.printable(f"{problem.where}: {problem.what}")
                console.print(f"  {line}", soft_wrap=True)
        for file, sha256 in part.contents.hashes.items():
            console.print(f"{file} sha256 {sha256}", style="dim", soft_wrap=True)
    if not any(part.problems for part in parts.values()):
        console.print("Nothing wrong was found.")
    return None
