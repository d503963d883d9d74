"""`balancedit data fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from balancedit.cli import output
from balancedit.cli.options import OutputOptions, with_options
from balancedit.errors import InputError, nearest_names


@with_options
def fetch(
    out: OutputOptions,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A published data set, see `balancedit data list`."),
    ],
    directory: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where it goes; data/NAME by default."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what there is to fetch, and fetch nothing.")
    ] = False,
) -> dict[str, Any] | None:
    """Fetch a published data set, or say what to download by hand and where it goes."""
    from balancedit.data.sources import SOURCES

    if name not in SOURCES:
        raise InputError(f"there is nothing to fetch called '{name}'{nearest_names(name, SOURCES)}")
    source, directory = SOURCES[name], directory or Path("data") / name
    steps = [step.format(directory=directory) for step in source.steps]
    about: dict[str, Any] = {
        "name": name,
        "home": source.home,
        "licence": source.licence,
        "directory": str(directory),
        "downloads": [{"url": d.url, "megabytes": d.megabytes} for d in source.downloads],
        "by_hand": steps,
    }
    console = output.console()
    if not out.json:
        console.print(f"{name}, from {source.home}", style="bold", soft_wrap=True)
        console.print(f"licence: {source.licence}", soft_wrap=True)
        for item in source.downloads:
            console.print(f"download: {item.url} ({item.megabytes} MB)", soft_wrap=True)
        for number, step in enumerate(steps, 1):
            console.print(f"by hand, {number}: {step}", soft_wrap=True)
    if not dry_run:
        about |= _fetch(name, directory)
        if not out.json:
            for file, sha256 in about["hashes"].items():
                console.print(f"{file} sha256 {sha256}", style="dim", soft_wrap=True)
            for file, known in about["by_hand_files"].items():
                version = "the known version" if known else "another version than the one we know"
                console.print(f"{file}: {version}", soft_wrap=True)
            if about["same_tree"] is None:
                console.print(f"Then: balancedit data check {name}={directory}", soft_wrap=True)
            else:
                same = "every file is" if about["same_tree"] else "its files are not all"
                console.print(f"{directory}: {same} as at the commit that we know", soft_wrap=True)
    return about if out.json else None


def _fetch(name: str, directory: Path) -> dict[str, Any]:
    from balancedit.data.fetch import fetch, same_tree, verify
    from balancedit.data.sources import SOURCES

    source, shown = SOURCES[name], 0
    with output.progress(f"fetching {name}") as progress:
        progress.total(sum(item.megabytes for item in source.downloads))

        def arrived(size: int) -> None:
            nonlocal shown
            for _ in range(size >> 20, shown, -1):
                progress.advance(f"fetching {name}, MB")
            shown = max(shown, size >> 20)

        hashes = fetch(source, directory, arrived)
    return {
        "hashes": hashes,
        "by_hand_files": verify(source, directory),
        "same_tree": same_tree(source, directory),
    }
