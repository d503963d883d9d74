"""`balancedit bench tune`: choose methods' settings on edits meant for that."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from balancedit.cli import output, session
from balancedit.cli.bench_options import (
    DeviceOption,
    DtypeOption,
    LayerOption,
    ModelOption,
    askable,
    first,
)
from balancedit.cli.options import OutputOptions, with_options
from balancedit.errors import InputError
from balancedit.inputs.text import between_commas
from balancedit.types import BATCH_SIZE


@with_options
def tune(
    out: OutputOptions,
    results: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The directory log and choice are kept in.")
    ],
    methods: Annotated[
        str, typer.Option("--method", "--methods", metavar="A,B,…", help="Methods to tune.")
    ],
    model: ModelOption = "pocket",
    data: Annotated[
        str,
        typer.Option(
            metavar="NAME|DIR", help="A data set, see `balancedit data list`, or its folder."
        ),
    ] = "okedit-pocket",
    part: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its part for training; no other will do.")
    ] = None,
    settings: Annotated[
        int, typer.Option(metavar="N", help="Settings that each method tries.")
    ] = 12,
    edits: Annotated[
        int, typer.Option(metavar="M", help="The first M edits, on which each is tried.")
    ] = 24,
    seed: Annotated[int, typer.Option(metavar="N", help="Of which settings are tried.")] = 0,
    batch_size: Annotated[
        int, typer.Option(metavar="N", help="Questions asked together; bounds the memory.")
    ] = BATCH_SIZE,
    layer: LayerOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
) -> dict[str, Any] | None:
    """Choose methods' settings on training edits, the same number for each; a tuning that was
    killed goes on where it was."""
    from balancedit.bench import tuning
    from balancedit.data.catalogue import find
    from balancedit.methods.spaces import candidates

    # Everything that can be wrong with the arguments, before the model loads.
    names = list(dict.fromkeys(between_commas(methods)))
    if not names:
        raise InputError("no methods are named; give some, such as --method grace,ft")
    for name in names:
        candidates(name, seed)
    if settings < 1:
        raise InputError(f"--settings is {settings}; at least 1 is needed")
    if batch_size < 1:
        raise InputError(f"--batch-size is {batch_size}; at least 1 is needed")
    dataset = find(data)
    part = tuning.tuning_part(dataset.parts, dataset.name, part)
    samples = first(dataset.load(part), edits, f"{dataset.name} {part}", "--edits")

    from balancedit.bench.launching import launch
    from balancedit.bench.protocols import PROTOCOLS, named
    from balancedit.bench.provenance import subject
    from balancedit.bench.runner import Settings

    with output.working(f"loading {model} …"):
        loaded = session.load_alone(model, layer, device, dtype, debug=out.debug)
    samples = askable(samples, loaded)
    chosen = tuple(c for name in names for c in tuning.contenders(name, settings, seed, loaded))
    protocol = PROTOCOLS["generate"]
    about = subject(loaded, dataset, part) | named(protocol, samples)
    with output.progress("tuning") as progress:
        launch(
            loaded,
            samples,
            protocol,
            Settings(chosen, batch_size=batch_size),
            results,
            tuning.subject_of(about, seed),
            progress.total,
            progress.advance,
        )
    return _told(out, results, tuning.write_choice(results, settings, [s.id for s in samples]))


def _told(out: OutputOptions, results: Path, choice: dict[str, Any]) -> dict[str, Any] | None:
    if out.json:
        return choice
    from rich.table import Table

    for method, tuned in choice["methods"].items():
        table = Table(title=f"{method}: {tuned['choice']}")
        for name in tuned["ranked"][0]:
            table.add_column(name, justify="left" if name == "contender" else "right")
        for line in tuned["ranked"]:
            table.add_row(*("–" if x is None else _cell(x) for x in line.values()))
        output.console().print(table)
    output.console().print(
        f"Kept in {results}: the log, and the choice in choice.json.", style="dim", soft_wrap=True
    )
    return None


def _cell(value: str | float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
