"""`balancedit bench …`: editing methods compared on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from balancedit.cli import output, session
from balancedit.cli.bench_options import (
    RESULTS,
    DeviceOption,
    DtypeOption,
    LayerOption,
    ModelOption,
    ResultsOption,
    askable,
    first,
)
from balancedit.cli.options import OutputOptions, with_options
from balancedit.cli.plot import plot
from balancedit.cli.rescore import rescore
from balancedit.cli.train_mend import train_mend
from balancedit.cli.tune import tune
from balancedit.errors import InputError, nearest_names
from balancedit.text import between_commas

if TYPE_CHECKING:
    from balancedit.bench.report import Report

app = typer.Typer(help="Compare editing methods on a data set, and tabulate the results.")
GROUPS = ("category", "kind")


@app.callback(invoke_without_command=True)
def _start(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


@app.command("run")
@with_options
def run(
    out: OutputOptions,
    model: ModelOption = "pocket",
    data: Annotated[
        str,
        typer.Option(
            metavar="NAME|DIR", help="A data set, see `balancedit data list`, or its folder."
        ),
    ] = "okedit-pocket",
    part: Annotated[
        str | None, typer.Option(metavar="NAME", help="A part of it; by default its first.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out records that cannot be used.")
    ] = False,
    methods: Annotated[
        str,
        typer.Option(
            metavar="A,B,…", help="METHOD[:PRESET][+OPTION=VALUE…][@LAYER], commas between."
        ),
    ] = "ft,ike,mend,grace,balancedit",
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="Of the methods that name none themselves.")
    ] = "recommended",
    protocol: Annotated[
        str, typer.Option(metavar="NAME", help="How answers are got and judged.")
    ] = "generate",
    n: Annotated[
        int, typer.Option("--n", metavar="N", help="The first N edits of the data.")
    ] = 100,
    sequential: Annotated[
        str,
        typer.Option(
            metavar="1,10,…", help="Numbers of edits held at once; 1 holds each edit alone."
        ),
    ] = "1",
    batch_size: Annotated[
        int, typer.Option(metavar="N", help="Questions asked together; bounds the memory.")
    ] = 32,
    layer: LayerOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    results: ResultsOption = RESULTS,
) -> dict[str, Any] | None:
    """Run editing methods over a data set; a run that was killed goes on where it was."""
    from balancedit.bench import contenders
    from balancedit.bench.protocols import PROTOCOLS
    from balancedit.data.problems import LeftOut
    from balancedit.data.table import find

    # Everything that can be wrong with the arguments, before the model loads.
    chosen = contenders.parse_all(methods, preset)
    sizes = _sizes(sequential, n)
    if batch_size < 1:
        raise InputError(f"--batch-size is {batch_size}; at least 1 is needed")
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol '{protocol}'{nearest_names(protocol, PROTOCOLS)}")
    found = find(data, left_out := LeftOut()) if skip_bad else find(data)
    part = part or found.parts[0]
    samples = first(found.load(part), n, f"{found.name} {part}")
    if skip_bad and left_out.problems:
        output.note("warning", left_out.message())

    from balancedit.bench.launching import launch
    from balancedit.bench.provenance import subject
    from balancedit.bench.report import read
    from balancedit.bench.runner import Settings

    with output.working(f"loading {model} …"):
        loaded = session.load_alone(model, layer, device, dtype, debug=out.debug)
    samples = askable(samples, loaded)
    identity = subject(loaded, found, part) | {"protocol": protocol}
    with output.progress("recording") as progress:
        launch(
            loaded,
            samples,
            PROTOCOLS[protocol],
            Settings(chosen, sizes, batch_size),
            results,
            identity,
            progress.total,
            progress.advance,
        )
    return _show(out, results, read(results))


@app.command("report")
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
    results: ResultsOption = RESULTS,
) -> dict[str, Any] | None:
    """Tabulate results: means over edits with bootstrap 95 % intervals."""
    from balancedit.bench.report import FORMS, read

    only = None if measures is None else between_commas(measures)
    made = read(results, _group(by), only)
    if form is None:
        return _show(out, results, made)
    if form not in FORMS:
        raise InputError(f"unknown form '{form}'{nearest_names(form, FORMS)}")
    print(FORMS[form](made), end="")
    return None


def _show(out: OutputOptions, results: Path, made: Report) -> dict[str, Any] | None:
    from balancedit.bench.report import as_json, as_table

    if out.json:
        return as_json(made)
    output.console().print(as_table(made))
    output.console().print(f"Kept in {results}.", style="dim", soft_wrap=True)
    return None


def _group(by: str | None) -> str | None:
    if by is not None and by not in GROUPS:
        raise InputError(f"results cannot be grouped by '{by}'{nearest_names(by, GROUPS)}")
    return by


def _sizes(text: str, n: int) -> tuple[int, ...]:
    """Numbers of edits held at once. Raises `InputError` for what is no such number."""
    try:
        sizes = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError as error:
        raise InputError(f"--sequential takes numbers with commas between, not '{text}'") from error
    if min(sizes) < 1 or max(sizes) > n:
        raise InputError(f"--sequential {text} asks for edits outside 1 to {n} (--n)")
    return sizes


app.command("plot")(plot)
app.command("rescore")(rescore)
app.command("train-mend")(train_mend)
app.command("tune")(tune)
