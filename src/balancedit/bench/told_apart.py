"""Which results a name in a table stands for: settings, code and machine, by directory and run, and
what a reader of several must be told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from balancedit.files.journal import RESULT, RUN, RUNS, read_header, read_results

UNKNOWN = "not recorded"


@dataclass(frozen=True)
class Origin:
    """What the results of one method in one directory come from. runs: of each run that wrote some,
    its code, its machine and how many, in the order they came; results of before runs were recorded
    are under one that says so."""

    method: str
    directory: str
    settings: dict[str, Any] | None  # None: the method has none, as the unedited model
    runs: tuple[dict[str, Any], ...]

    def as_line(self) -> str:
        """One line for people."""
        settings = ", ".join(f"{k} {v}" for k, v in (self.settings or {}).items()) or "no settings"
        runs = "; ".join(
            f"{run['results']} results by code {run['code']} on {run['machine']}"
            for run in self.runs
        )
        return f"{self.method} in {self.directory}: {settings} ({runs})"


def origins(directory: Path) -> list[Origin]:
    """What every method of a results directory comes from, in the order they were run. Raises
    `ResultsError`."""
    header = read_header(directory)
    counts: dict[str, dict[int | None, int]] = {}
    for row in read_results(directory, scored=False):
        by_run = counts.setdefault(row["method"], {})
        by_run[row.get(RUN)] = by_run.get(row.get(RUN), 0) + 1
    listed = header.get(RUNS, [])
    return [
        Origin(
            method,
            str(directory),
            header.get("methods", {}).get(method),
            tuple(
                _run(header.get("about", {}) if number is None else listed[number], number, results)
                for number, results in by_run.items()
            ),
        )
        for method, by_run in counts.items()
    ]


def _run(about: dict[str, Any], number: int | None, results: int) -> dict[str, Any]:
    """Older directories tell the machine of their first run alone, and no code."""
    known = ("device", "processor", "threads", "torch", "started")
    machine = ", ".join(f"{name} {about[name]}" for name in known if name in about)
    return {
        "run": number,
        "code": str(about.get("code", UNKNOWN)),
        "machine": machine or UNKNOWN,
        "results": results,
    }


def warnings(directories: Sequence[Path]) -> list[str]:
    """What must be said beside a table of these directories: one name for different settings,
    results of several codes under one name, the same results twice, other models or data. Raises
    `ResultsError`."""
    by_directory = {directory: origins(directory) for directory in directories}
    messages = []
    for directory, here in by_directory.items():
        for origin in here:
            codes = list(dict.fromkeys(run["code"] for run in origin.runs))
            if len(codes) > 1:
                messages.append(f"'{origin.method}' in {directory} is of code {', '.join(codes)}")
    for one, other in combinations(directories, 2):
        messages += _other_runs(one, other)
        there = {origin.method: origin for origin in by_directory[other]}
        for origin in by_directory[one]:
            if origin.method in there:
                messages += _other_settings(origin, there[origin.method])
        messages += _repeated(one, other)
    return messages


def _other_runs(one: Path, other: Path) -> list[str]:
    first, second = (read_header(directory)["identity"] for directory in (one, other))
    names = [k for k in {**first, **second} if first.get(k) != second.get(k)]
    return [f"{one} and {other} differ in {', '.join(names)}"] if names else []


def _other_settings(one: Origin, other: Origin) -> list[str]:
    first, second = one.settings or {}, other.settings or {}
    names = [k for k in {**first, **second} if not _same(first.get(k), second.get(k))]
    if not names:
        return []

    def shown(settings: dict[str, Any]) -> str:
        return ", ".join(f"{name} {settings.get(name, UNKNOWN)}" for name in names)

    return [
        f"'{one.method}' stands for different settings: in {one.directory} {shown(first)}; in "
        f"{other.directory} {shown(second)}"
    ]


def _same(one: Any, other: Any) -> bool:
    """Whether two settings are one value; a store's binding writes numbers as text."""
    return one == other or (None not in (one, other) and str(one) == str(other))


def _repeated(one: Path, other: Path) -> list[str]:
    """Lines that are in both, times included, and so were measured once."""
    lines = [_lines(directory) for directory in (one, other)]
    twice = len(lines[0] & lines[1])
    if not twice:
        return []
    return [f"{one} and {other} share lines of results, measured once: {twice}"]


def _lines(directory: Path) -> set[str]:
    """A directory's results that say how long they took, without the place of their run."""
    return {
        json.dumps({k: v for k, v in row.items() if k != RUN}, sort_keys=True)
        for row in read_results(directory, scored=False)
        if all(name in row for name in RESULT) and any(k.endswith("_seconds") for k in row)
    }
