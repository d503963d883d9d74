"""`balancedit data review`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from balancedit.cli import output
from balancedit.cli.options import OutputOptions, with_options
from balancedit.errors import InputError
from balancedit.files.names import expanded, is_directory


@with_options
def review(
    out: OutputOptions,
    path: Annotated[
        str,
        typer.Argument(
            metavar="DIR", help="A data set's directory, FORMAT=DIRECTORY, or one file."
        ),
    ],
    page: Annotated[Path, typer.Option("--out", metavar="FILE", help="The page to write.")] = Path(
        "review.html"
    ),
    n: Annotated[
        int, typer.Option("--n", metavar="N", help="The first N edits of each part.")
    ] = 200,
) -> dict[str, Any] | None:
    """Write a page to look through the edits of a data set on disk, and to mark them."""
    from balancedit.data import marks
    from balancedit.data.check import check
    from balancedit.data.review import write

    if n < 1:
        raise InputError(f"--n must be 1 or more, not {n}")
    form, equals, name = path.rpartition("=")
    place = expanded(name)
    directory = place if is_directory(place) else place.parent
    _, parts = check(form if equals else None, place)
    with output.working("writing the page …"):
        shown = write(page, directory, parts, n)
    total = sum(len(part.contents.samples) for part in parts.values())
    if out.json:
        return {"page": str(page), "shown": shown, "edits": total}
    console = output.console()
    console.print(f"{page} shows {shown} of {total} edits; open it in a browser.", soft_wrap=True)
    console.print(
        f"Put the marks it exports into {directory / marks.FILE}: edits marked drop are left out.",
        style="dim",
        soft_wrap=True,
    )
    return None
