"""What the illustrated figures share: which model and edits they are about, a sheet that pictures
and words are laid out on, in inches from the upper left corner, and how it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image
from rich.console import Console

from balancedit.bench.plot_style import INK, MUTED, NORMAL, RULE, page, save
from balancedit.cli.bench_options import askable
from balancedit.data.catalogue import find
from balancedit.data.sample import EditSample
from balancedit.models.loading import LoadedModel, load_model

GOOD, BAD = "#0072B2", "#B3360B"  # ✓ and ✗ say it as well
_RISE = 0.36  # half the height of a letter over its size
_PIXELS = 120  # of a picture's side in the files

Out = Annotated[Path, typer.Option(help="Directory that the SVG and the PNG are written into.")]
Model = Annotated[str, typer.Option(help="A bundled model, a hub name or a directory.")]
Data = Annotated[str, typer.Option(help="A data set, see `balancedit data list`, or its folder.")]
Part = Annotated[str | None, typer.Option(help="A part of it; by default its first.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda …")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16; the model's own.")]


def opened(
    model: str, data: str, part: str | None, device: str | None, dtype: str | None
) -> tuple[LoadedModel, list[EditSample], str]:
    """The model, the edits with the probes that it can be asked, and what to call the data."""
    found = find(data)
    part = part or found.parts[0]
    samples = found.load(part)
    loaded = load_model(model, device=device, dtype=dtype)
    return loaded, askable(samples, loaded), f"{found.name} {part}"


class Sheet:
    """A figure to lay things out on, below its heading. Made and saved inside `plot_style.style`.

    Nothing is moved to make room.
    """

    def __init__(self, width: float, height: float, title: str, about: Sequence[str]) -> None:
        self.figure, share = page(width, height, title, about)
        self.axes: Any = self.figure.add_axes((0, 0, 1, share))
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(height, 0)
        self.axes.axis("off")

    def text(self, x: float, y: float, words: str, size: float = NORMAL, **look: Any) -> None:
        """Words that begin at (x, y), half their height above it, unless `look` says otherwise."""
        look = {"color": INK, "va": "center_baseline", "ha": "left", "linespacing": 1.25} | look
        self.axes.text(x, y, words, fontsize=size, **look)

    def picture(self, image: Image.Image, x: float, y: float, side: float) -> None:
        """A square picture with its upper left corner at (x, y)."""
        small = image.resize((_PIXELS, _PIXELS), Image.Resampling.LANCZOS)
        box = (x, x + side, y + side, y)
        self.axes.imshow(small, extent=box, aspect="auto", interpolation="antialiased")
        self.axes.set_autoscale_on(False)
        edge = [x, x + side, x + side, x, x], [y, y, y + side, y + side, y]
        self.axes.plot(*edge, color=RULE, lw=0.8)

    def rule(self, y: float, left: float, right: float) -> None:
        """A horizontal line."""
        self.axes.plot([left, right], [y, y], color=RULE, lw=0.8)

    def verdict(self, x: float, y: float, words: str, right: bool, size: float = NORMAL) -> None:
        """An answer, marked right or wrong."""
        mark, colour = ("✓", GOOD) if right else ("✗", BAD)
        self.word(x, y, f"{mark} {words}", size, color=colour)

    def word(self, x: float, y: float, word: str, size: float = NORMAL, **look: Any) -> None:
        """A word of a row: its letters stand on one line with the row's others."""
        self.text(x, y + _RISE * size / 72, word, size, **{"va": "baseline"} | look)

    def faint(self, x: float, y: float, words: str, size: float = NORMAL, **look: Any) -> None:
        """Words of less weight."""
        self.text(x, y, words, size, **{"color": MUTED} | look)

    def save(self, out: Path, name: str) -> None:
        """Write SVG and PNG and say where they are."""
        for path in save(self.figure, out, name):
            Console().print(str(path), soft_wrap=True)
