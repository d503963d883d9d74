"""`balancedit bench rescore`: kept outputs scored again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from balancedit.cli import output
from balancedit.cli.bench_options import RESULTS, ResultsOption, of_results, run_of
from balancedit.cli.options import OutputOptions, with_options
from balancedit.errors import ResultsError


@with_options
def rescore(
    out: OutputOptions,
    results: ResultsOption = RESULTS,
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME|DIR", help="The data set, where it lies elsewhere by now."),
    ] = None,
) -> dict[str, Any] | None:
    """Score results again from their outputs, after a change of the measures."""
    from balancedit.bench.protocols import PROTOCOLS
    from balancedit.bench.rescoring import rescore
    from balancedit.files.journal import read_rows

    protocol = run_of(results, "protocol")["protocol"]
    if protocol not in PROTOCOLS:
        raise ResultsError(f"'{results}' is of a protocol '{protocol}', which is not known here")
    dataset, part = of_results(results, data)
    with output.progress("scoring") as progress:
        progress.total(sum(1 for _ in read_rows(results)))
        changed = rescore(results, dataset.load(part), PROTOCOLS[protocol], progress.advance)
    if out.json:
        return {"changed": changed}
    print(f"{changed} results came out otherwise.")
    return None
