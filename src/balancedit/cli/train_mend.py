"""`balancedit bench train-mend`: train the network that MEND edits with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from balancedit.errors import InputError, nearest_names

if TYPE_CHECKING:
    from balancedit.bench.mend_settings import MendTraining
    from balancedit.bench.report import Report


@with_options
def train_mend(
    out: OutputOptions,
    results: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The directory the training is kept in.")
    ],
    model: ModelOption = "pocket",
    layer: LayerOption = None,
    data: Annotated[
        str, typer.Option(metavar="NAME", help="A data set, see `balancedit data list`.")
    ] = "okedit-pocket",
    part: Annotated[
        str, typer.Option(metavar="NAME", help="The part of it to train on.")
    ] = "edit-train",
    n: Annotated[
        int | None, typer.Option("--n", metavar="N", help="Its first N edits; by default all.")
    ] = None,
    validation: Annotated[
        int, typer.Option(metavar="N", help="Of these, the last N are held out to validate on.")
    ] = 40,
    probed: Annotated[
        int,
        typer.Option(
            metavar="N", help="Held-out edits that are made and probed at the end; 0: none."
        ),
    ] = 16,
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="recommended, or paper for the source's numbers.")
    ] = "recommended",
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Adam steps at most; more go on from there.")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(metavar="N", help="Validations without a gain after which it stops."),
    ] = None,
    check: Annotated[
        int | None, typer.Option(metavar="N", help="Steps from one validation to the next.")
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option(metavar="N", help="Edits that make one step's gradient.")
    ] = None,
    locality: Annotated[
        int | None, typer.Option(metavar="N", help="Locality probes an edit, in each step.")
    ] = None,
    rank: Annotated[
        int | None, typer.Option(metavar="N", help="Rank of the network's layers.")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(metavar="X", help="Adam step size of the network.")
    ] = None,
    lr_lr: Annotated[
        float | None,
        typer.Option("--lr-lr", metavar="X", help="Adam step size of an update's step size."),
    ] = None,
    edit_lr: Annotated[
        float | None,
        typer.Option("--edit-lr", metavar="X", help="Where an update's step size starts."),
    ] = None,
    keep: Annotated[
        float | None, typer.Option(metavar="X", help="Weight of locality in the loss.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of all that is random.")] = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
) -> dict[str, Any] | None:
    """Train MEND's network; a run that was killed goes on where it was."""
    from balancedit.bench.mend_settings import NETWORK, PRESETS, UNTRAINED, split
    from balancedit.bench.mend_training import MendTrainer
    from balancedit.data.catalogue import find
    from balancedit.methods.mend_network import TrainedFor

    # Everything that can be wrong with the arguments, before the model loads.
    if preset not in PRESETS:
        raise InputError(f"unknown preset '{preset}'{nearest_names(preset, PRESETS)}")
    options: dict[str, Any] = {
        "steps": steps,
        "patience": patience,
        "check": check,
        "accumulate": accumulate,
        "locality": locality,
        "rank": rank,
        "lr": lr,
        "lr_lr": lr_lr,
        "edit_lr": edit_lr,
        "keep": keep,
        "seed": seed,
    }
    config: MendTraining = replace(
        PRESETS[preset], **{name: value for name, value in options.items() if value is not None}
    )
    dataset = find(data)
    samples = dataset.load(part)
    if n is not None:
        samples = first(samples, n, f"{dataset.name} {part}")
    training, held_out = split(samples, validation)
    if not 0 <= probed <= validation:
        raise InputError(f"--probed is {probed}; of {validation} held-out edits, give 0 to that")

    from balancedit.bench.mend_validation import compare
    from balancedit.bench.provenance import formerly, subject
    from balancedit.files.journal import Journal

    with output.working(f"loading {model} …"):
        loaded = session.load_alone(model, layer, device, dtype, debug=out.debug)
    training, held_out = askable(training, loaded), askable(held_out, loaded)
    about = subject(loaded, dataset, part)
    identity = about | {"edits": n, "validation": validation, "config": config.lasting()}
    journal = Journal(results, identity, {"device": str(loaded.device)}, formerly=formerly(loaded))
    with output.progress("training") as progress:
        trainer = MendTrainer(loaded, training, held_out, config, journal, progress.advance)
        progress.total(trainer.remaining())
        best = trainer.run()

    def trained_for(steps: int) -> TrainedFor:
        return TrainedFor(
            about["model"],
            about["fingerprint"],
            about["layer"],
            f"{dataset.name} {part}",
            about["digest"],
            steps,
            config.lasting(),
        )

    networks = {"untrained": results / UNTRAINED, "trained": results / NETWORK}
    trainer.save_untrained(networks["untrained"], trained_for(0))
    trainer.save(networks["trained"], trained_for(best))
    report: Report | None = None
    if probed:
        with output.progress("probing") as progress:
            report = compare(
                loaded,
                networks,
                held_out[:probed],
                results / "validation",
                about,
                progress.total,
                progress.advance,
            )
    return _told(out, networks["trained"], best, report)


def _told(
    out: OutputOptions, network: Path, best: int, report: Report | None
) -> dict[str, Any] | None:
    from balancedit.bench.report import as_json, as_table

    if out.json:
        probed = as_json(report) if report is not None else None
        return {"network": str(network), "best_step": best, "validation": probed}
    if report is not None:
        output.console().print(as_table(report))
    output.console().print(
        f"{network}: the network of step {best}, the best on the held-out edits.", soft_wrap=True
    )
    return None
