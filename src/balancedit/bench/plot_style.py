"""How figures look, and how they are kept: colours and marks that a colour-blind reader and a grey
print can tell apart, one heading for all, and files that are the same bytes for the same input.

Colours: Okabe and Ito, "Color Universal Design" (2008). Sizes are in inches, type in points. This
module knows nothing about what the figures show, and never touches pyplot's global state.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from balancedit.errors import ResultsError
from balancedit.files.durable import write_durably

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, RULE = "#1f2937", "#6b7280", "#d1d5db"
SMALL, NORMAL, LARGE = 7.5, 9.0, 11.0
FORMS = ("svg", "png")
_DPI = 150
_POINTS = 72  # an inch
WIDTH = 7.2  # a page's text width
_CHARACTER = 0.52  # mean width of a character over its size, in this font
_LEADING = 1.35  # height of a line over its size

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#B8A800")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "++++", "oo")

_SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": NORMAL,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.7,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "balancedit",  # else ids differ from run to run
}


@dataclass(frozen=True)
class Mark:
    """What tells one series from the others, with colour and without."""

    colour: str
    marker: str
    dash: str | tuple[int, tuple[int, ...]]
    hatch: str


def marks(n: int) -> list[Mark]:
    """`n` marks; the lists have different lengths, so that a pair that recurs has another dash."""
    return [
        Mark(
            _COLOURS[i % len(_COLOURS)],
            _MARKERS[i % len(_MARKERS)],
            _DASHES[i % len(_DASHES)],
            _HATCHES[i % len(_HATCHES)],
        )
        for i in range(n)
    ]


@contextmanager
def style() -> Iterator[None]:
    """Inside the context figures are made, and saved, with the settings of this module."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)  # type: ignore[arg-type]
        yield


def page(width: float, height: float, title: str, about: Sequence[str]) -> tuple[Figure, float]:
    """A figure whose top names what it shows and, below, how it was measured.

    height: without the heading, which is added to it. about: what the figures depend on, set on as
    many lines as it needs. Returns the figure and the share of its height that is left below the
    heading.
    """
    from matplotlib.figure import Figure

    lines = _filled(about, width - 0.3, SMALL)
    heading = 0.2 + (LARGE + SMALL * len(lines)) * _LEADING / _POINTS
    total = height + heading
    figure = Figure(figsize=(width, total), dpi=_DPI, facecolor="white")
    y = 1 - 0.12 / total
    figure.text(0.15 / width, y, title, fontsize=LARGE, weight="bold", va="top")
    for line in lines:
        y -= (LARGE if line is lines[0] else SMALL) * _LEADING / _POINTS / total
        figure.text(0.15 / width, y, line, fontsize=SMALL, color=MUTED, va="top")
    return figure, height / total


def folded(name: str, width: float, size: float = NORMAL) -> str:
    """A name on as many lines as it takes to be no wider than `width`, broken where its parts join
    if it has any."""
    limit = max(4, int(width * _POINTS / (size * _CHARACTER)))
    lines = [""]
    for part in re.findall(r"[:+@]?[^:+@._\- /]*[._\- /]*", name):
        if lines[-1] and len(lines[-1] + part.rstrip()) > limit:
            lines.append("")
        lines[-1] += part
    return "\n".join(piece for line in lines for piece in textwrap.wrap(line, limit))


def save(figure: Figure, directory: Path, name: str) -> list[Path]:
    """Write the figure as SVG and PNG, both or (where drawing fails) none; returns the paths.

    Called inside `style`. Raises `ResultsError` where the directory cannot be written.
    """
    contents = {directory / f"{name}.{form}": _rendered(figure, form) for form in FORMS}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            write_durably(path, content)
    except OSError as error:
        raise ResultsError(
            f"cannot write figures into '{directory}': {error}; choose another directory"
        ) from error
    return list(contents)


def _rendered(figure: Figure, form: str) -> bytes:
    """The file's bytes, without the date and versions that would make each different."""
    buffer = io.BytesIO()
    anonymous = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
    figure.savefig(buffer, format=form, dpi=_DPI, metadata=anonymous)
    return buffer.getvalue()


def _filled(parts: Sequence[str], width: float, size: float) -> list[str]:
    """The parts, with dots between, on lines no wider than `width`."""
    limit = int(width * _POINTS / (size * _CHARACTER))
    lines = [parts[0]]
    for part in parts[1:]:
        joined = f"{lines[-1]} · {part}"
        if len(joined) <= limit:
            lines[-1] = joined
        else:
            lines.append(part)
    return [piece for line in lines for piece in textwrap.wrap(line, limit)]
