"""`balancedit bench report`: results tabulated, and what their names stand for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from balancedit.cli import output
from balancedit.cli.bench_options import RESULTS, of_results
from balancedit.cli.options import OutputOptions, with_options
from balancedit.errors import InputError, nearest_names
from balancedit.inputs.text import between_commas

if TYPE_CHECKING:
    from balancedit.bench.report import Report

GROUPS = ("category", "kind")


@with_options
def report(
    out: OutputOptions,
    by: Annotated[
        str | None, typer.Option(metavar="category|kind", help="Group the edits by this too.")
    ] = None,
    form: Annotated[
        str | None, typer.Option(metavar="md|csv|tex", help="Print the table in this form.")
    ] = None,
    measures: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Only these, such as Acc,HM.")
    ] = None,
    skip: Annotated[
        int, typer.Option(metavar="N", help="Leave out the first N edits of the data.")
    ] = 0,
    settings: Annotated[
        bool,
        typer.Option("--settings", help="Say each method's settings, code and machine as well."),
    ] = False,
    results: Annotated[
        list[Path] | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="The directory the results are kept in; repeat it for several.",
            show_default=str(RESULTS),
        ),
    ] = None,
) -> dict[str, Any] | None:
    """Tabulate results: means over edits with bootstrap 95 % intervals."""
    from balancedit.bench.report import FORMS, as_json, read_several
    from balancedit.bench.told_apart import origins, warnings

    directories = list(dict.fromkeys(results or [RESULTS]))
    if by is not None and by not in GROUPS:
        raise InputError(f"results cannot be grouped by '{by}'{nearest_names(by, GROUPS)}")
    if form is not None and form not in FORMS:
        raise InputError(f"unknown form '{form}'{nearest_names(form, FORMS)}")
    if skip < 0:
        raise InputError(f"--skip is {skip}; give 0 or more")
    only = None if measures is None else between_commas(measures)
    merged = read_several(
        {directory: _first_edits(directory, skip) for directory in directories}, by, only
    )
    messages = warnings(directories)
    known = [x for d in directories for x in origins(d)] if settings else []
    if out.json:
        return as_json(merged) | {"warnings": messages} | {"settings": [vars(x) for x in known]}
    for warning in messages:
        output.note("warning", warning)
    if form is None:
        show(out, directories, merged)
    else:
        print(FORMS[form](merged), end="")
    for origin in known:
        print(origin.as_line())
    return None


def show(out: OutputOptions, directories: list[Path], report: Report) -> dict[str, Any] | None:
    """The report on the terminal, or as JSON."""
    from balancedit.bench.report import as_json, as_table

    if out.json:
        return as_json(report)
    output.console().print(as_table(report))
    kept = ", ".join(str(directory) for directory in directories)
    output.console().print(f"Kept in {kept}.", style="dim", soft_wrap=True)
    return None


def _first_edits(directory: Path, n: int) -> frozenset[str]:
    """The ids of the first n edits of the data that results are about. Raises `InputError` where
    there are fewer and `ResultsError` where the data are not at hand."""
    if n == 0:
        return frozenset()
    dataset, part = of_results(directory)
    samples = dataset.load(part)
    if n > len(samples):
        raise InputError(f"--skip is {n}; {dataset.name} {part} has {len(samples)} edits")
    return frozenset(sample.id for sample in samples[:n])
