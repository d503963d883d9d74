"""`balancedit data build-okedit`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from balancedit.cli import output
from balancedit.cli.options import OutputOptions, with_options
from balancedit.errors import InputError

if TYPE_CHECKING:
    from balancedit.data.building.models import Painter
    from balancedit.data.building.plan import Estimate

_MODELS, _COST = "Models", "Cost"


@with_options
def build_okedit(
    out: OutputOptions,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="OK-VQA's directory, or a .jsonl file with image, question and answer a line.",
        ),
    ],
    directory: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where it goes, and where it goes on.")
    ],
    llm: Annotated[
        str, typer.Option(metavar="NAME", help="The language model.", rich_help_panel=_MODELS)
    ] = "gpt-4o",
    llm_base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Its OpenAI-compatible endpoint.", rich_help_panel=_MODELS
        ),
    ] = None,
    image_model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="A diffusers pipeline (hub name or directory), or the endpoint's image model.",
            rich_help_panel=_MODELS,
        ),
    ] = "stabilityai/sdxl-turbo",
    image_base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="An OpenAI-compatible endpoint of images, in place of a pipeline here.",
            rich_help_panel=_MODELS,
        ),
    ] = None,
    key_name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The environment's variable with the endpoints' key.",
            rich_help_panel=_MODELS,
        ),
    ] = "OPENAI_API_KEY",
    n: Annotated[int | None, typer.Option("--n", metavar="N", help="The first N facts.")] = None,
    rephrases: Annotated[int, typer.Option(metavar="N", help="Rephrasings a fact.")] = 10,
    images: Annotated[int, typer.Option(metavar="N", help="Other pictures a fact.")] = 10,
    attempts: Annotated[
        int, typer.Option(metavar="N", help="Replies tried a step before a fact is set aside.")
    ] = 3,
    tries: Annotated[
        int, typer.Option(metavar="N", help="Times that a call which fails is made.")
    ] = 6,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long an answer may take.")
    ] = 120.0,
    concurrency: Annotated[int, typer.Option(metavar="N", help="Facts worked on at once.")] = 4,
    seed: Annotated[int, typer.Option(metavar="N", help="Decides every call's own seed.")] = 0,
    licence: Annotated[
        str, typer.Option(metavar="TEXT", help="The source's licence, for the manifest.")
    ] = "not stated",
    price_in: Annotated[
        float,
        typer.Option(metavar="X", help="Price of a million tokens in.", rich_help_panel=_COST),
    ] = 0.0,
    price_out: Annotated[
        float,
        typer.Option(metavar="X", help="Price of a million tokens out.", rich_help_panel=_COST),
    ] = 0.0,
    price_image: Annotated[
        float, typer.Option(metavar="X", help="Price of a picture.", rich_help_panel=_COST)
    ] = 0.0,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out records that cannot be used.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what there is to ask, and ask nothing.")
    ] = False,
) -> dict[str, Any] | None:
    """Build a data set of counterfactual edits; one that was stopped goes on where it was."""
    from balancedit.data.building import facts as reading
    from balancedit.data.building.builder import Builder
    from balancedit.data.building.ledger import DIRECTORY
    from balancedit.data.building.models import Endpoint, EndpointWriter, Patience
    from balancedit.data.building.plan import Plan
    from balancedit.data.problems import LeftOut, stop

    for name, value in (("--rephrases", rephrases), ("--attempts", attempts), ("--tries", tries)):
        if value < 1:
            raise InputError(f"{name} must be 1 or more, not {value}")
    if images < 1 or concurrency < 1:
        raise InputError("--images and --concurrency must be 1 or more")
    left_out = LeftOut()
    facts, sha256 = reading.read(source, left_out if skip_bad else stop)
    if left_out.problems:
        output.note("warning", left_out.message())
    facts = facts[:n]
    reading.check_pictures(facts)
    plan = Plan(rephrases, images, seed, attempts, concurrency)
    about = {"sha256": sha256, "licence": licence}
    models = (llm, image_model)
    if dry_run and not (directory / DIRECTORY).exists():  # estimating makes no build
        with TemporaryDirectory() as nowhere:
            estimate = Builder(facts, Path(nowhere), plan, about, models).estimate()
    else:
        builder = Builder(facts, directory, plan, about, models)
        estimate = builder.estimate()
    cost = estimate.cost(price_in, price_out, price_image)
    if not out.json:
        _show(estimate, cost)
    if dry_run:
        return {**vars(estimate), "cost": cost} if out.json else None

    patience = Patience(tries=tries, timeout=timeout)
    writer = EndpointWriter(llm, Endpoint(llm_base_url, key_name, patience))
    painter = _painter(image_model, image_base_url, key_name, patience)
    with output.progress("building") as progress:
        progress.total(len(facts))
        outcome = builder.run(writer, painter, progress.advance)
    if out.json:
        return {
            "directory": str(directory),
            "complete": len(outcome.complete),
            "set_aside": outcome.set_aside,
        }
    console = output.console()
    console.print(f"{len(outcome.complete)} of {len(facts)} facts are complete, in {directory}.")
    for name, reason in outcome.set_aside.items():
        console.print(output.printable(f"set aside {name}: {reason}"), soft_wrap=True)
    console.print(f"Then: balancedit data check {directory}", style="dim", soft_wrap=True)
    return None


def _painter(name: str, base_url: str | None, key_name: str, patience: Any) -> Painter:
    from balancedit.data.building.models import DiffusersPainter, Endpoint, EndpointPainter

    if base_url is not None:
        return EndpointPainter(name, Endpoint(base_url, key_name, patience))
    with output.working(f"loading {name} …"):
        return DiffusersPainter(name)


def _show(estimate: Estimate, cost: float) -> None:
    console = output.console()
    console.print(
        f"To ask: {estimate.texts} texts (about {estimate.tokens_in:,} tokens in, "
        f"{estimate.tokens_out:,} out) and {estimate.images} pictures, for {estimate.facts} facts.",
        soft_wrap=True,
    )
    if cost:
        console.print(f"At these prices: about {cost:,.2f}, more where replies are rejected.")
