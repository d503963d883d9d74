"""`balancedit bench rescore`: kept outputs scored again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from balancedit.cli import output
from balancedit.cli.bench_options import RESULTS, ResultsOption
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
    from balancedit.bench.journal import read_header, read_rows
    from balancedit.bench.protocols import PROTOCOLS
    from balancedit.bench.rescoring import rescore
    from balancedit.data.table import find

    run = read_header(results)["identity"]
    found = find(data or run["data"])
    if found.digest(run["part"]) != run["digest"]:
        raise ResultsError(
            f"'{results}' is about other data than {found.name} {run['part']} as it is now; name "
            "the right data with --data, or run the benchmark again"
        )
    with output.progress("scoring") as progress:
        progress.total(sum(1 for _ in read_rows(results)))
        changed = rescore(
            results, found.load(run["part"]), PROTOCOLS[run["protocol"]], progress.advance
        )
    if out.json:
        return {"changed": changed}
    print(f"{changed} results came out otherwise.")
    return None
