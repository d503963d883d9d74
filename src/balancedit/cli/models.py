"""`balancedit models`: the models that come with the package, and those it knows how to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from balancedit.cli import output
from balancedit.cli.options import OutputOptions, with_options

_OTHERS = (
    "Give a hub name or directory with --model. Any other image-text-to-text model of transformers "
    "works too: name the linear layer to edit with --layer (a wrong path is answered with the "
    "likely ones)."
)


app = typer.Typer()


@app.callback(invoke_without_command=True)
@with_options
def models(ctx: typer.Context, out: OutputOptions) -> dict[str, Any] | None:
    """List the bundled models, and the architectures whose edited layer is known."""
    if ctx.invoked_subcommand is not None:
        return None
    from balancedit.models.architectures import ARCHITECTURES
    from balancedit.models.bundled import BUNDLED

    if out.json:
        return {
            "models": [
                {"name": m.name, "layer": m.layer, "description": m.about} for m in BUNDLED.values()
            ],
            "architectures": [
                {
                    "model_type": a.model_type,
                    "name": a.name,
                    "example": a.example,
                    "language_model": a.language_model,
                    "blocks": a.blocks,
                    "layer": a.pattern,
                    "prompt": a.prompt,
                    "most_images": a.most_images,
                }
                for a in ARCHITECTURES.values()
            ],
            "others": _OTHERS,
        }
    console = output.console()
    for m in BUNDLED.values():
        console.print(m.name, style="bold")
        console.print(f"  {m.about}", soft_wrap=True)
        console.print(f"  edited layer: {m.layer}", soft_wrap=True)
    console.print("architectures that need no --layer, and the layer edited", style="bold")
    widest = max(len(a.name) for a in ARCHITECTURES.values())
    for a in ARCHITECTURES.values():
        console.print(f"  {a.name:{widest}}  {a.pattern}", soft_wrap=True, highlight=False)
    console.print(_OTHERS, style="dim")
    return None


@app.command("build-minigpt4")
@with_options
def build_minigpt4(
    out: OutputOptions,
    blip2: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="BLIP-2, hub name or directory: vision tower and Q-Former."
        ),
    ],
    vicuna: Annotated[
        str, typer.Option(metavar="NAME", help="The language model, hub name or directory.")
    ],
    projection: Annotated[
        Path, typer.Option(metavar="FILE", help="The published projection, a .pth file.")
    ],
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the model is written; new.")
    ],
    dtype: Annotated[
        str, typer.Option(metavar="NAME", help="float32, bfloat16 or float16.")
    ] = "float16",
) -> dict[str, Any] | None:
    """Build MiniGPT-4 from its published parts, once, into a folder that loads like any model."""
    from balancedit.models.loading import dtype_named
    from balancedit.models.minigpt4.build import build

    wanted = dtype_named(dtype)
    with output.working("building MiniGPT-4 …"):
        built = build(blip2, vicuna, projection, folder, wanted)
    if out.json:
        return {"model": str(built)}
    output.console().print(f"built: give it with --model {built}", soft_wrap=True)
    return None
