"""What the commands of `balancedit bench` share: their options, and the edits they are about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from balancedit.cli import output
from balancedit.errors import InputError, ResultsError

if TYPE_CHECKING:
    from balancedit.data.catalogue import DataSet
    from balancedit.data.sample import EditSample
    from balancedit.models.loading import LoadedModel

RESULTS = Path("results/bench")
ResultsOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="The directory the results are kept in.")
]
ModelOption = Annotated[
    str, typer.Option("--model", metavar="NAME", help="A bundled model, a hub name or a directory.")
]
LayerOption = Annotated[
    str | None, typer.Option("--layer", metavar="PATH", help="Dotted path of the layer to edit.")
]
DeviceOption = Annotated[str | None, typer.Option("--device", metavar="NAME", help="cpu, cuda …")]

DtypeOption = Annotated[
    str | None,
    typer.Option("--dtype", metavar="NAME", help="float32, bfloat16 or float16; the model's own."),
]


def askable(samples: list[EditSample], loaded: LoadedModel) -> list[EditSample]:
    """The edits with the probes that a model can be asked; those left out are said."""
    if not loaded.prompter.needs_image:
        return samples
    kept = [
        replace(s, locality=tuple(p for p in s.locality if p.image is not None)) for s in samples
    ]
    gone = sum(len(s.locality) for s in samples) - sum(len(s.locality) for s in kept)
    if gone:
        output.note("left out", f"{gone} probes without a picture; '{loaded.name}' takes none")
    return kept


def first(samples: list[EditSample], n: int, what: str, option: str = "--n") -> list[EditSample]:
    """The first n edits of a data set, which `what` names. Raises `InputError` for another n, given
    by `option`, than there are."""
    if not 1 <= n <= len(samples):
        raise InputError(
            f"{what} has {len(samples)} edits; {option} must be from 1 to that, not {n}"
        )
    return samples[:n]


def run_of(directory: Path, *names: str) -> dict[str, str]:
    """What results say of the run they are from, as texts. Raises `ResultsError` where they do not
    say one of these."""
    from balancedit.files.journal import read_header

    run = read_header(directory)["identity"]
    for name in names:
        if not isinstance(run.get(name), str):
            raise ResultsError(
                f"the results in '{directory}' do not say their {name}; make them again with "
                "`balancedit bench run`"
            )
    return {name: run[name] for name in names}


def of_results(directory: Path, data: str | None = None) -> tuple[DataSet, str]:
    """The data set that results are about, and its part. data: where it lies by now. Raises
    `ResultsError` where it has changed since."""
    from balancedit.data.catalogue import find

    run = run_of(directory, "data", "part", "digest")
    dataset = find(data or run["data"])
    if dataset.digest(run["part"]) != run["digest"]:
        raise ResultsError(
            f"'{directory}' is about other data than {dataset.name} {run['part']} as it is now; "
            "name the right data with --data, or run the benchmark again"
        )
    return dataset, run["part"]
