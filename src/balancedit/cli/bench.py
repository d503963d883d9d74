"""`balancedit bench …`: editing methods compared on a data set."""

from __future__ import annotations

from typing import Annotated, Any

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
from balancedit.cli.options import LengthOption, OutputOptions, with_options
from balancedit.cli.plot import plot
from balancedit.cli.report import report, show
from balancedit.cli.rescore import rescore
from balancedit.cli.train_mend import train_mend
from balancedit.cli.tune import tune
from balancedit.errors import InputError, nearest_names
from balancedit.types import BATCH_SIZE

app = typer.Typer(help="Compare editing methods on a data set, and tabulate the results.")


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
    ] = BATCH_SIZE,
    max_new_tokens: LengthOption = None,
    layer: LayerOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    results: ResultsOption = RESULTS,
) -> dict[str, Any] | None:
    """Run editing methods over a data set; a run that was killed goes on where it was."""
    from balancedit.bench import contenders
    from balancedit.bench.protocols import PROTOCOLS, Generate, named
    from balancedit.data.catalogue import find
    from balancedit.data.problems import LeftOut

    # Everything that can be wrong with the arguments, before the model loads.
    chosen = contenders.parse_all(methods, preset)
    sizes = _sizes(sequential, n)
    if batch_size < 1:
        raise InputError(f"--batch-size is {batch_size}; at least 1 is needed")
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol '{protocol}'{nearest_names(protocol, PROTOCOLS)}")
    way = PROTOCOLS[protocol]
    about: dict[str, Any] = {}
    if max_new_tokens is not None:
        if protocol != Generate.name:
            raise InputError(f"--max-new-tokens is of the protocol '{Generate.name}'; leave it out")
        way, about = Generate(max_new_tokens), {"max_new_tokens": max_new_tokens}
    dataset = find(data, left_out := LeftOut()) if skip_bad else find(data)
    part = part or dataset.parts[0]
    samples = first(dataset.load(part), n, f"{dataset.name} {part}")
    if skip_bad and left_out.problems:
        output.note("warning", left_out.message())

    from balancedit.bench.launching import launch
    from balancedit.bench.provenance import subject
    from balancedit.bench.report import read
    from balancedit.bench.runner import Settings

    with output.working(f"loading {model} …"):
        loaded = session.load_alone(model, layer, device, dtype, debug=out.debug)
    samples = askable(samples, loaded)
    identity = subject(loaded, dataset, part) | named(way, samples) | about
    with output.progress("recording") as progress:
        launch(
            loaded,
            samples,
            way,
            Settings(chosen, sizes, batch_size),
            results,
            identity,
            progress.total,
            progress.advance,
        )
    return show(out, [results], read(results))


def _sizes(text: str, n: int) -> tuple[int, ...]:
    """Numbers of edits held at once. Raises `InputError` for what is no such number."""
    try:
        sizes = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError as error:
        raise InputError(f"--sequential takes numbers with commas between, not '{text}'") from error
    if min(sizes) < 1 or max(sizes) > n:
        raise InputError(f"--sequential {text} asks for edits outside 1 to {n} (--n)")
    return sizes


app.command("report")(report)
app.command("plot")(plot)
app.command("rescore")(rescore)
app.command("train-mend")(train_mend)
app.command("tune")(tune)
