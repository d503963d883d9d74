"""`balancedit models`: the models that come with the package, and those it knows how to edit."""

from __future__ import annotations

from typing import Any

from balancedit.cli import output
from balancedit.cli.options import OutputOptions, with_options

_OTHERS = (
    "Give a hub name or directory with --model. Any other image-text-to-text model of transformers "
    "works too: name the linear layer to edit with --layer (a wrong path is answered with the "
    "likely ones)."
)


@with_options
def models(out: OutputOptions) -> dict[str, Any] | None:
    """List the bundled models and the architectures that need no --layer."""
    from balancedit.models.architectures import ARCHITECTURES
    from balancedit.models.table import BUNDLED

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
