"""What the benchmark's figures consist of: groups of bars, panels, curves with their intervals.

Everything is in percent. Colours and marks come from `plot_style`; what is drawn, from
`plots`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from balancedit.bench.metrics import Interval
from balancedit.bench.plot_style import INK, MUTED, SMALL, WIDTH, Mark, folded, marks, page
from balancedit.bench.report import Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAR = 0.125  # inches
_WHISKERS: dict[str, Any] = {"fmt": "none", "ecolor": INK, "elinewidth": 0.8, "capsize": 1.5}


@dataclass(frozen=True)
class Point:
    """One method's figures at one position of the horizontal axis."""

    x: float
    line: Line


def bars(lines: Sequence[Line], measures: dict[str, str], title: str, about: list[str]) -> Figure:
    """A group of bars a line, a bar a measure (its name in the results -> on the page), and every
    mean in figures at the right. They lie, so that long names fit beside them."""
    labels = [folded(line.method, 1.7) for line in lines]
    inches = max(_BAR * (len(measures) + 1.4), *(0.16 * (s.count("\n") + 2) for s in labels))
    figure, share = page(WIDTH, 0.9 + inches * len(lines), title, about)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, share))
    ax = figure.add_subplot()
    height = _BAR / inches  # groups are 1 apart
    for i, (measure, mark) in enumerate(zip(measures, marks(len(measures)), strict=True)):
        look: dict[str, Any] = {"color": mark.colour, "hatch": mark.hatch, "edgecolor": "white"}
        for row, line in enumerate(lines):
            y = row + (i - (len(measures) - 1) / 2) * height
            interval = _percent(line.figures.get(measure))
            if interval is not None:
                (drawn,) = ax.barh(y, interval.mean, height=height, linewidth=0.4, **look)
                drawn.set_gid(f"bar:{line.method}:{measure}")
                ax.errorbar(interval.mean, y, xerr=_whiskers(interval), **_WHISKERS)
            label = "–" if interval is None else f"{interval.mean:.1f}"
            ax.text(102, y, label, fontsize=SMALL - 1, va="center", color=MUTED)
        ax.barh(0, math.nan, label=measures[measure], **look)  # for the legend alone
    ax.set_yticks(range(len(lines)), labels)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(lines) - 0.45, -0.55)
    ax.set_xlim(0, 109)
    ax.set_xticks(range(0, 101, 20))
    ax.set_xlabel("percent")
    ax.grid(axis="x")
    legend(figure, ax, len(measures))
    return figure


def panels(
    names: Sequence[str], height: float, title: str, about: list[str]
) -> tuple[Figure, list[Axes]]:
    """Panels in two columns with percent on their common vertical axis; one fills the width."""
    figure, share = page(WIDTH, height, title, about)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, share))
    columns = min(2, len(names))
    grid = figure.subplots(math.ceil(len(names) / columns), columns, sharey=True, squeeze=False)
    axes: list[Axes] = list(grid.flat)
    for spare in axes[len(names) :]:
        spare.remove()
    axes = axes[: len(names)]
    for ax, name in zip(axes, names, strict=True):
        ax.set_title(folded(name, WIDTH / columns - 0.7))
        ax.set_ylim(-3, 103)
        ax.set_yticks(range(0, 101, 20))
        ax.grid()
    for ax in axes[::columns]:
        ax.set_ylabel("percent")
    return figure, axes


def curve(ax: Axes, points: Sequence[Point], measure: str, mark: Mark, gid: str, name: str) -> None:
    """One measure over the points, with its intervals; `name` stands in the legend."""
    drawn = [(p.x, _percent(p.line.figures.get(measure))) for p in points]
    found = [(x, interval) for x, interval in drawn if interval is not None]
    (line,) = ax.plot(
        [x for x, _ in found],
        [interval.mean for _, interval in found],
        color=mark.colour,
        marker=mark.marker,
        linestyle=mark.dash,
        markersize=5,
        markeredgecolor="white",
        markeredgewidth=0.4,
        linewidth=1.4,
        label=name,
        zorder=3,
    )
    line.set_gid(gid)
    style = _WHISKERS | {"ecolor": mark.colour, "alpha": 0.55}
    for x, interval in found:
        ax.errorbar(x, interval.mean, yerr=_whiskers(interval), **style)


def positions(
    ax: Axes, values: Sequence[float], kind: Literal["linear", "log"]
) -> Callable[[float, int, int], float]:
    """Set the horizontal axis for `values`, ascending, a tick at each whose label has room.

    Returns where to draw a value of the i-th of n series: a little aside, so that intervals stand
    beside, not over one another.
    """
    scale: Callable[[float], float] = math.log10 if kind == "log" else float
    back: Callable[[float], float] = (lambda x: 10**x) if kind == "log" else float
    span = scale(values[-1]) - scale(values[0]) or 1.0
    shown: list[float] = []
    for value in values:
        if not shown or scale(value) - scale(shown[-1]) > 0.08 * span:
            shown.append(value)
    ax.set_xscale(kind)
    ax.set_xticks(shown, [f"{value:g}" for value in shown])
    ax.minorticks_off()
    return lambda value, i, n: back(scale(value) + 0.012 * span * (i - (n - 1) / 2))


def legend(figure: Figure, ax: Axes, columns: int) -> None:
    """What the marks of `ax`, and of panels like it, stand for, below the figure."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, fontsize=SMALL, handlelength=3
    )


def _percent(interval: Interval | None) -> Interval | None:
    """In percent; None where no edit has a value."""
    if interval is None or math.isnan(interval.mean):
        return None
    return Interval(100 * interval.mean, 100 * interval.low, 100 * interval.high, interval.n)


def _whiskers(interval: Interval) -> list[list[float]]:
    """How far the interval reaches below and above the mean, as `errorbar` wants it."""
    return [[max(0.0, interval.mean - interval.low)], [max(0.0, interval.high - interval.mean)]]
