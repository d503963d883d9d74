"""`balancedit models`: the models that come with the package, and what else can be edited."""

from __future__ import annotations

from typing import Any

from balancedit.cli import output
from balancedit.cli.options import OutputOptions, with_options

_OTHERS = (
    "Any other Hugging Face image-text-to-text model works too: give its hub name or directory "
    "with --model, and the linear layer to edit with --layer (a wrong path is answered with the "
    "likely ones)."
)


@with_options
def models(out: OutputOptions) -> dict[str, Any] | None:
    """List the bundled models."""
    from balancedit.models.table import BUNDLED

    if out.json:
        return {
            "models": [
                {"name": m.name, "layer": m.layer, "description": m.about} for m in BUNDLED.values()
            ],
            "others": _OTHERS,
        }
    console = output.console()
    for m in BUNDLED.values():
        console.print(m.name, style="bold")
        console.print(f"  {m.about}", soft_wrap=True)
        console.print(f"  edited layer: {m.layer}", soft_wrap=True)
    console.print(_OTHERS, style="dim")
    return None
