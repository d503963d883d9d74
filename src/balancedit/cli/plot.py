"""`balancedit bench plot`: the figures of a benchmark's results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from balancedit.cli import output
from balancedit.cli.bench_options import RESULTS, ResultsOption
from balancedit.cli.options import OutputOptions, with_options
from balancedit.inputs.text import between_commas


@with_options
def plot(
    out: OutputOptions,
    results: ResultsOption = RESULTS,
    figure: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="methods, held, sweep or kinds; by default all that the results allow.",
        ),
    ] = None,
    option: Annotated[
        str, typer.Option(metavar="NAME", help="The methods' option that `sweep` follows.")
    ] = "alpha",
    methods: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Only these of the run's methods.")
    ] = None,
    measures: Annotated[
        str | None,
        typer.Option(metavar="A,B,…", help="What `held` and `sweep` show, such as HM,same-image."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to write them.", show_default="DIR/figures"),
    ] = None,
) -> dict[str, Any] | None:
    """Draw results as SVG and PNG, with bootstrap 95 % intervals."""
    from balancedit.bench import plots

    names = None if figure is None else [figure]
    shown = plots.Shown(
        option, tuple(between_commas(methods or "")), tuple(between_commas(measures or ""))
    )
    with output.working("drawing …"):
        written = plots.plot(results, to or results / "figures", names, shown)
    if out.json:
        return {"files": [str(path) for path in written.paths], "left_out": written.left_out}
    for path in written.paths:
        print(path)
    for reason in written.left_out.values():
        output.note("left out", reason)
    return None
