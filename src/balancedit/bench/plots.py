"""The benchmark's figures, drawn from a results directory: which there are, what each needs, and
writing them.

Percent on every axis; means over edits with bootstrap 95 % intervals, as in the tables. A figure
names the protocol, the model, the data and the number of edits. In the SVG each bar and line has an
id made of what it shows, such as ``bar:grace:T-Gen``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from balancedit.bench.plot_parts import Point, bars, curve, legend, panels, positions
from balancedit.bench.plot_style import SMALL, folded, marks, save, style
from balancedit.bench.report import HARMONIC, MEASURES, Line, Report, read
from balancedit.errors import InputError, ResultsError, nearest_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OPTION = "alpha"
_MAIN = ("HM", *HARMONIC)
#: What each kind of locality asks about, in the order of the bars.
KINDS = {
    "Loc": "similar thing (Loc)",
    "same-answer": "similar thing, same old answer",
    "same-image": "same picture, other question",
    "unrelated": "unrelated",
    "no-image": "no picture",
    "black": "black picture",
}
_INTERVALS = "means over edits with bootstrap 95 % intervals"
_ALONE = "one edit held at a time"


@dataclass(frozen=True)
class Shown:
    """What of the results is drawn. option: the numeric option of the methods that "sweep" follows.
    methods: only these; measures: the panels of "held" and the lines of "sweep"; empty: all, and
    HM and its parts."""

    option: str = OPTION
    methods: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()

    @property
    def panels(self) -> tuple[str, ...]:
        """The measures shown."""
        return self.measures or _MAIN


class FigureUnavailable(ResultsError):
    """Results that do not hold what a figure shows."""


@dataclass(frozen=True)
class Written:
    """What `plot` made: the files, and for each figure left out, why."""

    paths: tuple[Path, ...]
    left_out: dict[str, str]


def plot(
    directory: Path, to: Path, figures: Sequence[str] | None = None, shown: Shown | None = None
) -> Written:
    """Draw figures of a results directory into the directory `to`, as SVG and PNG.

    figures: their names (`FIGURES`); None: all that the results allow. Raises `InputError` for an
    unknown figure, method or measure and `ResultsError` where there are no results, where a figure
    asked for needs others, where they allow none at all, and where `to` cannot be written.
    """
    for name in figures or ():
        if name not in FIGURES:
            raise InputError(f"there is no figure '{name}'{nearest_names(name, FIGURES)}")
    shown = shown or Shown()
    report = _only(read(directory), shown)
    left_out: dict[str, str] = {}
    with style():
        drawn: dict[str, Figure] = {}
        for name in FIGURES if figures is None else figures:
            try:
                drawn[name] = FIGURES[name](report, shown)
            except FigureUnavailable as error:
                if figures is not None:
                    raise FigureUnavailable(f"{error}; '{directory}' holds none") from error
                left_out[name] = str(error)
        if not drawn:
            raise FigureUnavailable(
                f"'{directory}' holds nothing to draw: {'; '.join(left_out.values())}"
            )
        paths = [path for name, figure in drawn.items() for path in save(figure, to, name)]
    return Written(tuple(paths), left_out)


# -- the figures ---------------------------------------------------------------------------------


def methods(report: Report, shown: Shown) -> Figure:
    """Acc, T-Gen, I-Gen, Loc and HM of each method, and of the unedited model, as bars."""
    lines = _alone(report)
    if not lines:
        raise FigureUnavailable("figure 'methods' needs edits held one at a time (--sequential 1)")
    base = [line for line in report.lines if line.held == 0]
    about = [*_about(report), _edits(lines), _ALONE, _INTERVALS]
    title = "What edits reach, and what they leave alone"
    return bars(base + lines, {name: name for name in MEASURES}, title, about)


def kinds(report: Report, shown: Shown) -> Figure:
    """The share of answers kept, by kind of locality probe, of each method as bars."""
    lines = _alone(report)
    measures = {m: name for m, name in KINDS.items() if any(m in line.figures for line in lines)}
    if set(measures) <= {"Loc"}:
        raise FigureUnavailable(
            "figure 'kinds' needs edits held one at a time (--sequential 1) whose data have "
            f"locality probes of the kinds {', '.join(k for k in KINDS if k != 'Loc')}"
        )
    about = [*_about(report), _edits(lines), _ALONE, _INTERVALS]
    return bars(lines, measures, "Answers that stay as they were, by kind of question", about)


def held(report: Report, shown: Shown) -> Figure:
    """HM and its parts, or other measures, against the number of edits held at once, a line a
    method."""
    lines = [line for line in report.lines if line.held]
    sizes = sorted({line.held for line in lines})
    if len(sizes) < 2:
        raise FigureUnavailable(
            "figure 'held' needs at least two numbers of edits held (--sequential 1,10,…)"
        )
    names = list(dict.fromkeys(line.method for line in lines))
    scored = [f"{size} held: {_edits([x for x in lines if x.held == size])}" for size in sizes]
    about = [*_about(report), *scored, _INTERVALS]
    height = 0.4 + 1.9 * math.ceil(len(shown.panels) / 2) + 0.1 * len(names)
    figure, axes = panels(shown.panels, height, "Edits held together", about)
    for ax, measure in zip(axes, shown.panels, strict=True):
        place = positions(ax, sizes, "log")
        for i, (name, mark) in enumerate(zip(names, marks(len(names)), strict=True)):
            own = [line for line in lines if line.method == name]
            points = [Point(place(line.held, i, len(names)), line) for line in own]
            curve(ax, points, measure, mark, f"line:{name}:{measure}", folded(name, 3.2, SMALL))
    for ax in axes[-2:]:
        ax.set_xlabel("edits held")
    legend(figure, axes[0], 2)
    return figure


def sweep(report: Report, shown: Shown) -> Figure:
    """T-Gen, I-Gen, Loc and HM against a numeric option, a panel for each method that was run with
    several values of it (paper, Fig. 5)."""
    series: dict[str, dict[float, Line]] = {}
    for line in _alone(report):
        value = _option(report, line.method, shown.option)
        if value is not None:
            series.setdefault(_without(line.method, shown.option), {})[value] = line
    series = {name: by_value for name, by_value in series.items() if len(by_value) > 1}
    if not series:
        raise FigureUnavailable(
            f"figure 'sweep' needs a method run one edit at a time with several numbers for "
            f"{shown.option} (--methods balancedit+{shown.option}=…,balancedit+{shown.option}=…)"
        )
    every = [line for by_value in series.values() for line in by_value.values()]
    about = [*_about(report), _edits(every), _ALONE, _INTERVALS]
    height = 0.6 + 2.6 * math.ceil(len(series) / 2)
    title = f"{shown.option} against what edits reach and leave alone"
    figure, axes = panels(list(series), height, title, about)
    for ax, (name, by_value) in zip(axes, series.items(), strict=True):
        values = sorted(by_value)
        decades = values[0] > 0 and values[-1] / values[0] > 20  # step sizes, say
        place = positions(ax, values, "log" if decades else "linear")
        every_mark = zip(shown.panels, marks(len(shown.panels)), strict=True)
        for i, (measure, mark) in enumerate(every_mark):
            points = [Point(place(x, i, len(shown.panels)), by_value[x]) for x in values]
            curve(ax, points, measure, mark, f"line:{name}:{measure}", measure)
        ax.set_xlabel(shown.option)
    legend(figure, axes[0], len(shown.panels))
    return figure


FIGURES: dict[str, Callable[[Report, Shown], Figure]] = {
    "methods": methods,
    "held": held,
    "sweep": sweep,
    "kinds": kinds,
}


# -- what results say ----------------------------------------------------------------------------


def _only(report: Report, shown: Shown) -> Report:
    """The report without the methods that are not shown. Raises `InputError` for names that it does
    not know."""
    ran = list(dict.fromkeys(line.method for line in report.lines))
    for what, names, known in (
        ("method", shown.methods, ran),
        ("measure", shown.measures, report.measures),
    ):
        for name in names:
            if name not in known:
                raise InputError(f"the results have no {what} '{name}'{nearest_names(name, known)}")
    if not shown.methods:
        return report
    return replace(report, lines=tuple(x for x in report.lines if x.method in shown.methods))


def _alone(report: Report) -> list[Line]:
    return [line for line in report.lines if line.held == 1]


def _about(report: Report) -> list[str]:
    """What the figures of a run depend on. Raises `ResultsError` where the run does not say."""
    run = report.identity
    missing = [name for name in ("protocol", "model", "data") if name not in run]
    if missing:
        raise ResultsError(
            f"the results do not say their {missing[0]}, which a figure must name; make them again "
            "with `balancedit bench run`"
        )
    data = " ".join(str(run[name]) for name in ("data", "part") if run.get(name))
    judged = [f"judged {run['judged']}"] if "judged" in run else []
    return [f"protocol: {run['protocol']}", *judged, f"model: {run['model']}", f"data: {data}"]


def _edits(lines: Sequence[Line]) -> str:
    """``n = 100 edits``; from fewest to most where the methods have different numbers."""
    least, most = min(x.edits for x in lines), max(x.edits for x in lines)
    label = f"n = {most} edits" if least == most else f"n = {least} to {most} edits"
    failed = [f"{line.method} {line.failed}" for line in lines if line.failed]
    return f"{label} (failed: {', '.join(failed)})" if failed else label


def _option(report: Report, method: str, option: str) -> float | None:
    """The number a method was run with: from its name, or from the settings that the run recorded;
    None where it has no such option or its value is no number."""
    named = re.search(_pattern(option), method)
    value = named[1] if named else report.settings.get(method, {}).get(option)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _without(method: str, option: str) -> str:
    """A method's name without one option: what methods share that differ in it alone."""
    return re.sub(_pattern(option), "", method)


def _pattern(option: str) -> str:
    return rf"\+{re.escape(option)}=([^+@]*)"
