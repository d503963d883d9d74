"""A data set as pictures: its statistics, and a sheet of samples as the paper's Fig. 6 has them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from balancedit.data.sample import EditSample, ImageRef
from balancedit.errors import DataError

_INK, _MUTED, _BAR, _OLD, _NEW = "#1f2937", "#6b7280", "#0f766e", "#b91c1c", "#15803d"
_MOST = 20  # bars in a chart


def draw_statistics(described: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Bars of the categories, kinds of answer and localities of each part, beside each other.

    described: part -> `statistics.describe`'s result. Raises `DataError` when `path` cannot be
    written.
    """
    with _figure(path, (6 * len(described), 9)) as figure:
        grid = figure.subplots(3, len(described), squeeze=False, height_ratios=(3, 1.2, 1))
        for column, (part, found) in enumerate(described.items()):
            head = f"{part}: {found['samples']} edits, {found['things']} things"
            _bars(grid[0][column], found["categories"], f"{head}\ncategories")
            _bars(grid[1][column], found["kinds"], "kinds of answer")
            _bars(grid[2][column], found["locality"], "locality probes")


def draw_sheet(samples: Sequence[EditSample], path: Path, n: int = 6, seed: int = 0) -> None:
    """`n` samples, a row each: the picture, another one of the same thing and a similar one of
    another thing, with the question, the old answer and the new one.

    Raises `DataError` when `path` cannot be written, `ImageError` for a picture that cannot be
    opened.
    """
    chosen = Random(seed).sample(list(samples), min(n, len(samples)))
    with _figure(path, (11, 2.7 * len(chosen))) as figure:
        grid = figure.subplots(len(chosen), 4, squeeze=False, width_ratios=(1.5, 1, 1, 1))
        for axes, sample in zip(grid, chosen, strict=True):
            _text(axes[0], sample)
            other = sample.image_rephrases[0] if sample.image_rephrases else None
            near = next((p for p in sample.locality if p.kind == "similar" and p.image), None)
            _picture(axes[1], sample.image, "edited")
            _picture(axes[2], other, "shall change too")
            kept = f"shall stay: {near.answer}" if near and near.answer else "shall stay"
            _picture(axes[3], near.image if near else None, kept)


@contextmanager
def _figure(path: Path, size: tuple[float, float]) -> Iterator[Any]:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"text.parse_math": False, "font.size": 9, "text.color": _INK}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        try:
            figure.savefig(path, dpi=120)
        except (OSError, ValueError) as error:
            raise DataError(
                f"'{path}' cannot be written ({error}); give a .png, .svg or .pdf in a folder that "
                "is there"
            ) from error


def _bars(axes: Any, counts: Mapping[str, int], title: str) -> None:
    shown = dict(list(counts.items())[:_MOST])
    if rest := sum(counts.values()) - sum(shown.values()):
        shown[f"{len(counts) - _MOST} others"] = rest
    bars = axes.barh(list(shown), list(shown.values()), color=_BAR)
    axes.bar_label(bars, padding=2, color=_MUTED)
    axes.invert_yaxis()
    axes.set_title(title, loc="left")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.xaxis.set_visible(False)


def _text(axes: Any, sample: EditSample) -> None:
    axes.axis("off")
    lines = [
        (0.85, _INK, textwrap.fill(sample.question, 34)),
        (0.42, _OLD, f"was: {sample.original_answer or '–'}"),
        (0.28, _NEW, f"becomes: {sample.target}"),
        (0.10, _MUTED, textwrap.shorten(f"{sample.category} · {sample.kind}", 40)),
    ]
    for height, colour, text in lines:
        axes.text(0, height, text, color=colour, va="top", transform=axes.transAxes)


def _picture(axes: Any, image: ImageRef | None, title: str) -> None:
    axes.axis("off")
    if image is not None:
        shown = image.open()
        shown.thumbnail((320, 320), Image.Resampling.LANCZOS)
        axes.imshow(shown)
        axes.set_title(textwrap.shorten(title, 30), color=_MUTED)
