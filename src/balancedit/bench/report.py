"""Tables of benchmark results: means over edits with bootstrap 95 % intervals.

An edit that failed is counted and scores 0 on Acc, T-Gen and I-Gen, since the fact was not learned;
it has no locality, since nothing was changed.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from balancedit.bench.metrics import Interval, bootstrap, bootstrap_harmonic
from balancedit.bench.protocols import REACH
from balancedit.errors import InputError, nearest_names
from balancedit.files.journal import read_header, read_results

if TYPE_CHECKING:
    from rich.table import Table

HARMONIC = ("T-Gen", "I-Gen", "Loc")  # HM is of these (paper, Section 4.1)
MEASURES = ("Acc", *HARMONIC, "HM")
ALL = "all"

Row = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One method's figures at one number of edits held, as fractions."""

    method: str
    held: int  # edits held at once; 0 for the unedited model
    group: str  # "all", or the category or kind of answer these edits are of
    edits: int
    failed: int
    figures: dict[str, Interval]  # by what is measured: MEASURES, then the kinds of locality
    source: str = ""  # the results directory, in a report of several


@dataclass(frozen=True)
class Report:
    """All lines of one run, and what the run was."""

    identity: dict[str, Any]
    settings: dict[str, dict[str, Any]]  # by method
    lines: tuple[Line, ...]

    @property
    def measures(self) -> tuple[str, ...]:
        """What some line measures, in the order of the columns."""
        measured = {m for line in self.lines for m in line.figures}
        return (*(m for m in MEASURES if m in measured), *sorted(measured - set(MEASURES)))


def read(
    directory: Path,
    by: str | None = None,
    only: Sequence[str] | None = None,
    without: Collection[str] = (),
) -> Report:
    """The report of a results directory. by: a field to group edits by, "category" or "kind".
    only: the measures to report; None: all. without: ids of samples to leave out.

    Raises `ResultsError` where there are no results and `InputError` for an unknown measure.
    """
    header = read_header(directory)
    lines: list[Line] = []
    grouped: dict[tuple[str, int, str], list[Row]] = {}
    for row in read_results(directory):
        if row["sample"] in without:
            continue
        groups = (ALL,) if by is None else (ALL, str(row.get(by, "unknown")))
        for group in groups:
            grouped.setdefault((row["method"], row["held"], group), []).append(row)
    for (method, held, group), rows in grouped.items():
        lines.append(_line(method, held, group, rows))
    methods = list(dict.fromkeys(method for method, _, _ in grouped))  # as they were run
    lines.sort(key=lambda x: (x.group != ALL, x.group, x.held, methods.index(x.method)))
    return _measuring(Report(header["identity"], header.get("methods", {}), tuple(lines)), only)


def read_several(
    directories: Mapping[Path, Collection[str]],
    by: str | None = None,
    only: Sequence[str] | None = None,
) -> Report:
    """The lines of several results directories in one report, each with its directory's name; of a
    single one, its own report. directories: the ids of samples to leave out of each. What the
    directories do not share is not in the report's identity. Raises as `read` does.
    """
    reports = {str(d): read(d, by, without=left_out) for d, left_out in directories.items()}
    (first, *others), several = reports.values(), len(reports) > 1
    shared = {
        name: value
        for name, value in first.identity.items()
        if all(other.identity.get(name) == value for other in others)
    }
    lines = [
        replace(line, source=name if several else "")
        for name, report in reports.items()
        for line in report.lines
    ]
    settings = {} if several else first.settings  # a name may stand for several
    return _measuring(Report(shared, settings, tuple(lines)), only)


def _measuring(report: Report, only: Sequence[str] | None) -> Report:
    """The report of these measures alone; None: of all. Raises `InputError`."""
    if only is None:
        return report
    for name in only:
        if name not in report.measures:
            raise InputError(f"unknown measure '{name}'{nearest_names(name, report.measures)}")
    kept = (
        replace(x, figures={m: x.figures[m] for m in only if m in x.figures}) for x in report.lines
    )
    return replace(report, lines=tuple(kept))


def _line(method: str, held: int, group: str, rows: Sequence[Row]) -> Line:
    names = {name for row in rows for name in row.get("scores", {})} | set(REACH)
    columns = {name: [_score(row, name) for row in rows] for name in names}
    figures = {name: bootstrap(column) for name, column in columns.items()}
    if all(name in columns for name in HARMONIC):
        figures["HM"] = bootstrap_harmonic([columns[name] for name in HARMONIC])
    return Line(method, held, group, len(rows), sum("failed" in r for r in rows), figures)


def _score(row: Row, name: str) -> float:
    if "failed" in row:
        return 0.0 if name in REACH else math.nan
    return float(row["scores"].get(name, math.nan))


# -- forms ---------------------------------------------------------------------------------------


def as_markdown(report: Report) -> str:
    """A Markdown table; percent, the interval in brackets."""
    head, body = _cells(report, "{mean:.1f} [{low:.1f}, {high:.1f}]", "–")
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def as_latex(report: Report) -> str:
    """A LaTeX tabular for the booktabs package; percent, the interval small beside the mean."""
    head, body = _cells(report, "{mean:.1f} {{\\scriptsize [{low:.1f}, {high:.1f}]}}", "--")
    rows = [" & ".join(_escaped(cells)) + r" \\" for cells in body]
    begin = r"\begin{tabular}{" + "l" + "r" * (len(head) - 1) + "}"
    parts = [begin, r"\toprule", " & ".join(_escaped(head)) + r" \\", r"\midrule", *rows]
    return "\n".join([*parts, r"\bottomrule", r"\end{tabular}"]) + "\n"


def as_csv(report: Report) -> str:
    """Comma-separated values: a line for each figure, as fractions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    several = any(line.source for line in report.lines)
    head = ("method", "held", "group", "edits", "failed", "measure", "mean", "low", "high", "n")
    writer.writerow(("in", *head) if several else head)
    for line in report.lines:
        cells = (line.method, line.held, line.group, line.edits, line.failed)
        about: tuple[str | int, ...] = (line.source, *cells) if several else cells
        for name in report.measures:
            if name in line.figures:
                x = line.figures[name]
                writer.writerow((*about, name, x.mean, x.low, x.high, x.n))
    return text.getvalue()


def as_table(report: Report) -> Table:
    """A table for the terminal: percent, without the intervals."""
    from rich.table import Table

    head, body = _cells(report, "{mean:.1f}", "–")
    run = {name: report.identity.get(name, "several") for name in ("model", "data", "protocol")}
    judged = f", judged {report.identity['judged']}" if "judged" in report.identity else ""
    protocol = f"protocol: {run['protocol']}{judged}"
    table = Table(title=f"{run['model']}, {run['data']}, {protocol}, percent")
    for name in head:
        table.add_column(name, justify="left" if name in ("in", "of", "method") else "right")
    for cells in body:
        table.add_row(*cells)
    return table


#: Forms by name, and the ending of their files.
FORMS: dict[str, Callable[[Report], str]] = {"md": as_markdown, "tex": as_latex, "csv": as_csv}


def as_json(report: Report) -> dict[str, Any]:
    """Plain JSON types; a figure that no edit has is null."""
    return {
        "run": report.identity,
        "lines": [
            {
                **({"in": line.source} if line.source else {}),
                "method": line.method,
                "held": line.held,
                "group": line.group,
                "edits": line.edits,
                "failed": line.failed,
                "figures": {name: vars(x) for name, x in line.figures.items()},
            }
            for line in report.lines
        ],
    }


def _cells(report: Report, form: str, missing: str) -> tuple[list[str], list[list[str]]]:
    head = ["method", "held", "edits", "failed", *report.measures]
    grouped = any(line.group != ALL for line in report.lines)
    if grouped:
        head.insert(0, "of")
    several = any(line.source for line in report.lines)
    if several:
        head.insert(0, "in")
    body = []
    for line in report.lines:
        cells = [line.method, str(line.held), str(line.edits), str(line.failed)]
        cells += [_figure(line.figures.get(m), form, missing) for m in report.measures]
        cells = [line.group, *cells] if grouped else cells
        body.append([line.source, *cells] if several else cells)
    return head, body


def _figure(interval: Interval | None, form: str, missing: str) -> str:
    if interval is None or math.isnan(interval.mean):
        return missing
    return form.format(mean=100 * interval.mean, low=100 * interval.low, high=100 * interval.high)


def _escaped(cells: Sequence[str]) -> list[str]:
    return [cell.replace("_", r"\_").replace("&", r"\&").replace("%", r"\%") for cell in cells]
