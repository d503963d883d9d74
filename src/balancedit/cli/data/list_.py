"""`balancedit data list`."""

from __future__ import annotations

from typing import Any

from balancedit.cli import output
from balancedit.cli.options import OutputOptions, with_options


@with_options
def list_(out: OutputOptions) -> dict[str, Any] | None:
    """List the data sets that come with the package, and those that can be had elsewhere."""
    from balancedit.data.catalogue import DATA_SETS
    from balancedit.data.sources import SOURCES

    if out.json:
        return {
            "data": [
                {"name": d.name, "about": d.about, "parts": list(d.parts)}
                for d in DATA_SETS.values()
            ],
            "elsewhere": [
                {"name": s.name, "home": s.home, "licence": s.licence} for s in SOURCES.values()
            ],
        }
    console = output.console()
    for d in DATA_SETS.values():
        console.print(d.name, style="bold")
        console.print(f"  {d.about}", soft_wrap=True)
        console.print(f"  parts: {', '.join(d.parts)}", soft_wrap=True)
    for s in SOURCES.values():
        console.print(s.name, style="bold")
        console.print(f"  from {s.home}", soft_wrap=True)
        console.print(f"  licence: {s.licence}", soft_wrap=True)
    console.print(
        "Fetch one with `balancedit data fetch NAME`; name one on disk by its directory, or as "
        "FORMAT=DIRECTORY.",
        style="dim",
        soft_wrap=True,
    )
    return None
