"""The demo's picture: every question with its answers before and after, and, on one axis, how far
each lies from the edit and how far the edit reaches.

Positions are in pixels from the upper left corner of a page 1600 wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from balancedit.cli import output
from balancedit.types import Edit

if TYPE_CHECKING:
    from balancedit.cli.demo.play import Outcome

_WIDTH, _DPI = 1600, 100
_TOP, _ROW, _HEADING, _BOTTOM = 128, 76, 62, 96
_LEFT, _THUMB = 40, 64
_QUESTION, _ANSWER, _CHART, _CHART_END, _MARK = 124, 640, 940, 1500, 1546
_INK, _MUTED, _RULE = "#1f2937", "#6b7280", "#e5e7eb"
_FIRED, _ZONE, _GOOD, _BAD = "#0f766e", "#d5f3ec", "#15803d", "#b91c1c"
_SMALL, _NORMAL, _LARGE = 15, 17, 23  # points; 100 dots an inch make them 21, 24 and 32 pixels


def draw(
    outcomes: Sequence[Outcome], edit: Edit, images: Mapping[str, Image.Image], path: Path
) -> None:
    """Draw the picture and save it as PNG. Raises `OSError` when `path` cannot be written."""
    import matplotlib as mpl

    with mpl.rc_context({"font.family": "DejaVu Sans", "text.parse_math": False}):
        _Page(outcomes, edit, images).save(path)


class _Page:
    def __init__(
        self, outcomes: Sequence[Outcome], edit: Edit, images: Mapping[str, Image.Image]
    ) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        reached = [o for o in outcomes if o.probe.reached]
        kept = [o for o in outcomes if not o.probe.reached]
        self.images = images
        self.radius = edit.radius
        self.reach = 1.06 * max([1.25, *(_ratio(o) for o in outcomes)])  # in radii
        self.height = _TOP + 2 * _HEADING + _ROW * len(outcomes) + _BOTTOM
        self.figure = Figure(figsize=(_WIDTH / _DPI, self.height / _DPI), dpi=_DPI)
        self.canvas = FigureCanvasAgg(self.figure)
        self.page: Any = self.figure.add_axes((0, 0, 1, 1))
        self.page.set_xlim(0, _WIDTH)
        self.page.set_ylim(self.height, 0)
        self.page.axis("off")

        self._title(edit)
        first = _TOP + _HEADING
        self._zone(_TOP + _HEADING - 8, self.height - _BOTTOM)
        heading = f"Must now be “{edit.target}”"
        y = self._group(_TOP, heading, "same question, other words, other drawings", reached)
        heading = "Must stay as it was"
        y = self._group(y, heading, "other questions, other things, a black picture", kept)
        self._axis(first, y)

    def save(self, path: Path) -> None:
        self.figure.savefig(path, format="png", dpi=_DPI, facecolor="white")

    def text(self, x: float, y: float, text: str, size: float = _NORMAL, **style: Any) -> None:
        style = {"color": _INK, "va": "center", "ha": "left"} | style
        self.page.text(x, y, text, fontsize=size, **style)

    def _title(self, edit: Edit) -> None:
        where = "answers what lies within its radius"
        if edit.old_answer is not None:
            old = _short(edit.old_answer)
            where = f"answers within its radius, where the untouched model would say “{old}”"
        self.text(
            _LEFT,
            42,
            f"One edit: asked “{_short(edit.question, 24)}” about the first picture, "
            f"answer “{edit.target}” instead of “{_short(edit.answer_before)}”",
            _LARGE * 0.92,
            weight="bold",
        )
        self.text(
            _LEFT,
            92,
            f"The edit {where}; the untouched model answers the rest.",
            _NORMAL,
            color=_MUTED,
        )

    def _x(self, radii: float) -> float:
        """Where on the axis a distance, in radii, lies."""
        return _CHART + (_CHART_END - _CHART) * min(radii / self.reach, 1.0)

    def _zone(self, top: float, bottom: float) -> None:
        from matplotlib.patches import Rectangle

        width = self._x(1.0) - _CHART
        self.page.add_patch(Rectangle((_CHART, top), width, bottom - top, color=_ZONE, lw=0))
        self.page.plot([self._x(1.0)] * 2, [top, bottom], color=_FIRED, lw=2)

    def _group(self, y: float, heading: str, what: str, outcomes: Sequence[Outcome]) -> float:
        done = sum(o.as_hoped for o in outcomes)
        middle = y + _HEADING / 2 + 4
        self.text(_LEFT, middle, heading, _NORMAL, weight="bold")
        self.text(self._after_last(16), middle, what, _SMALL, color=_MUTED)
        self.text(_MARK, middle, f"{done} of {len(outcomes)}", _SMALL, ha="center", color=_MUTED)
        y += _HEADING
        for outcome in outcomes:
            self._row(y, outcome)
            y += _ROW
        return y

    def _row(self, y: float, outcome: Outcome) -> None:
        middle = y + _ROW / 2
        self.page.plot([_LEFT, _MARK + 24], [y, y], color=_RULE, lw=1)
        thumb = self.images[outcome.probe.picture].resize(
            (_THUMB, _THUMB), Image.Resampling.LANCZOS
        )
        box = (_LEFT, _LEFT + _THUMB, middle + _THUMB / 2, middle - _THUMB / 2)
        self.page.imshow(thumb, extent=box, aspect="auto", interpolation="antialiased", zorder=3)
        left, right, low, high = box
        edge = [left, right, right, left, left], [high, high, low, low, high]
        self.page.plot(*edge, color=_RULE, lw=1, zorder=4)
        self.text(_QUESTION, middle, outcome.probe.question, _SMALL)
        self._answers(middle, outcome)
        fired = outcome.during.fired is not None
        x = self._x(_ratio(outcome))
        self.page.plot([_CHART, x], [middle] * 2, color=_FIRED if fired else _MUTED, lw=2.5)
        self.page.plot([x], [middle], "o", ms=13, color=_FIRED if fired else _MUTED, zorder=4)
        good = outcome.as_hoped
        mark = "✓" if good else "✗"
        self.text(_MARK, middle, mark, _LARGE, ha="center", color=_GOOD if good else _BAD)

    def _answers(self, y: float, outcome: Outcome) -> None:
        before, after = _short(outcome.before.text), _short(outcome.during.text)
        if before == after:
            self.text(_ANSWER, y, after, color=_MUTED)
            return
        self.text(_ANSWER, y, f"{before} →", color=_MUTED)
        colour = _FIRED if outcome.as_hoped else _BAD
        self.text(self._after_last(8), y, after, weight="bold", color=colour)

    def _after_last(self, gap: float) -> float:
        """Where to go on writing behind the text drawn last."""
        drawn = self.page.texts[-1].get_window_extent(self.canvas.get_renderer())
        return float(drawn.x1) + gap

    def _axis(self, top: float, bottom: float) -> None:
        y = bottom + 28
        label = f"radius {self.radius:.3g}"
        self.text(self._x(1.0), y, label, _SMALL, ha="center", color=_FIRED, weight="bold")
        self.text(_CHART, y, "0", _SMALL, ha="center", color=_MUTED)
        self.text(_CHART, y + 34, "distance from the edit →", _SMALL, color=_MUTED)
        self.page.plot([_CHART] * 2, [top - 8, bottom], color=_MUTED, lw=1.5)
        dot = self.height - 34
        legend = ((_LEFT, _FIRED, "the edit answers"), (320, _MUTED, "the untouched model answers"))
        for x, colour, words in legend:
            self.page.plot([x + 12], [dot], "o", ms=12, color=colour)
            self.text(x + 36, dot, words, _SMALL, color=_MUTED)


def _ratio(outcome: Outcome) -> float:
    """Distance to the nearest edit in units of its radius."""
    distance, radius = outcome.during.distance, outcome.during.radius
    return distance / radius if distance is not None and radius else 0.0


def _short(text: str, limit: int = 13) -> str:
    text = output.printable(text) or "(nothing)"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
