"""Choosing a method's settings on edits meant for it, under a budget that is the same for all.

Each method tries so many settings of its space (`methods/spaces.py`) on so many edits, one held at
a time, through the ordinary runner, whose journal is the log. The choice is a function of that log
alone, so that anybody can make it again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from balancedit.bench.contenders import Contender, parse
from balancedit.bench.report import HARMONIC, Line, read
from balancedit.bench.runner import BASE
from balancedit.bench.told_apart import UNKNOWN
from balancedit.data.check import TRAIN
from balancedit.errors import InputError, ResultsError
from balancedit.files.compact import write_lines
from balancedit.files.journal import RUN, RUNS, read_header, read_results
from balancedit.layer.paths import enclosing_stack, resolve_layer
from balancedit.methods.spaces import LAST, Candidate, candidates
from balancedit.models.loading import LoadedModel

CHOICE = "choice.json"
TUNING = "tuning"  # in the identity of results that are a tuning
PLACES = 4  # decimals that figures are written and compared with


def subject_of(about: dict[str, Any], seed: int) -> dict[str, Any]:
    """What makes two tunings the same: `about` (model, data, protocol …), and the seed of the order
    in which spaces are gone through. The budget may grow: a larger one goes on from a smaller."""
    return about | {TUNING: {"seed": seed}}


def tuning_part(parts: Sequence[str], name: str, wanted: str | None = None) -> str:
    """The part of a data set to tune on: `wanted`, or the first for training. Raises `InputError`
    for one that is not, since figures reported on it would then have been tuned for."""
    meant = [part for part in parts if TRAIN in part]
    if wanted is not None and wanted not in parts:
        raise InputError(f"'{name}' has no part '{wanted}'; it has {', '.join(parts)}")
    if wanted is not None and wanted not in meant:
        raise InputError(
            f"settings are not chosen on '{wanted}', which results are reported on; "
            + (f"give --part {meant[0]}" if meant else f"'{name}' has no part for training")
        )
    if not meant:
        raise InputError(
            f"'{name}' has no part to choose settings on, one with '{TRAIN}' in its name"
        )
    return wanted or meant[0]


def contenders(method: str, settings: int, seed: int, loaded: LoadedModel) -> tuple[Contender, ...]:
    """So many candidates of a method on a model, the recommended preset first; fewer where its
    space has no more. The larger number continues the list of the smaller. Raises `InputError`."""
    named = (_named(method, candidate, loaded) for candidate in candidates(method, seed))
    return tuple(parse(name) for name in list(dict.fromkeys(named))[:settings])


def _named(method: str, candidate: Candidate, loaded: LoadedModel) -> str:
    options = "".join(f"+{name}={value}" for name, value in candidate.options.items())
    layer = _layer_at(loaded, candidate.depth)
    return f"{method}{options}" + ("" if layer == loaded.layer else f"@{layer}")


def _layer_at(loaded: LoadedModel, depth: float) -> str:
    """The layer like the run's own at a share of the way up to it; its own where it lies in no
    stack of blocks. Raises `LayerError` where that block has none."""
    blocks, own = enclosing_stack(loaded.model, loaded.layer)
    if depth == LAST or not blocks:
        return loaded.layer
    names = loaded.layer.split(".")
    for at in range(len(names) - 1, 0, -1):
        if names[at] == str(own):
            names[at] = str(round(own * depth))
            break
    path = ".".join(names)
    resolve_layer(loaded.model, path)
    return path


# -- the choice ----------------------------------------------------------------------------------


def choice(directory: Path, settings: int, edits: Sequence[str]) -> dict[str, Any]:
    """What the log of a tuning says, as plain JSON: for each method whose candidates were all tried
    on all these edits, the chosen one, and all of them in order.

    settings: how many candidates a method counts with, the first of those it tried. edits: ids of
    the samples that count. So methods that were tuned by different commands are compared within one
    budget. The best has the highest HM; of equals the highest mean of HM's parts, then the highest
    Acc, then the earlier candidate, so that the recommended preset stands where nothing is better.
    Raises `ResultsError` where the directory holds no tuning.
    """
    header = read_header(directory)
    identity = header["identity"]
    if TUNING not in identity:
        raise ResultsError(f"'{directory}' holds no tuning; make one with `balancedit bench tune`")
    rows = [row for row in read_results(directory) if row["sample"] in edits]
    beyond = {row["sample"] for row in read_results(directory)} - set(edits)
    report = read(directory, without=beyond)
    lines = {line.method: line for line in report.lines if line.method != BASE}
    tried: dict[str, list[str]] = {}
    for name in header.get("methods", {}):
        tried.setdefault(parse(name).method, []).append(name)
    by_method = {}
    for method, names in tried.items():
        names = names[:settings]
        if all(name in lines and lines[name].edits == len(edits) for name in names):
            ranked = sorted(names, key=lambda name: _rank(lines[name]), reverse=True)
            by_method[method] = {
                "choice": ranked[0],
                "score": _figure(lines[ranked[0]], "HM"),
                "settings": header["methods"][ranked[0]],
                "tried": len(names),
                "ranked": [_told(lines[name]) for name in ranked],
            }
    wrote = sorted({row[RUN] for row in rows if RUN in row})
    return {
        **identity,
        "budget": {"settings": settings, "edits": len(edits)},
        "edits": list(edits),
        "score": "HM of T-Gen, I-Gen and Loc, percent",
        "code": list(dict.fromkeys(str(header[RUNS][r].get("code", UNKNOWN)) for r in wrote)),
        "methods": by_method,
    }


def write_choice(directory: Path, settings: int, edits: Sequence[str]) -> dict[str, Any]:
    """Put the `choice` beside its log; what it is. Raises `ResultsError`."""
    chosen, path = choice(directory, settings, edits), directory / CHOICE
    try:
        write_lines(path, chosen)
    except OSError as error:
        raise ResultsError(f"cannot write '{path}': {error}") from error
    return chosen


def _figure(line: Line, name: str) -> float | None:
    """Percent; None where no edit has it."""
    interval = line.figures.get(name)
    if interval is None or math.isnan(interval.mean):
        return None
    return round(100 * interval.mean, PLACES)


def _rank(line: Line) -> tuple[float, float, float]:
    """What candidates are compared by, larger is better; a figure that no edit has counts as 0."""
    parts = [_figure(line, name) or 0.0 for name in HARMONIC]
    return (
        _figure(line, "HM") or 0.0,
        round(sum(parts) / len(parts), PLACES),
        _figure(line, "Acc") or 0.0,
    )


def _told(line: Line) -> dict[str, Any]:
    figures = {name: _figure(line, name) for name in ("HM", *HARMONIC, "Acc")}
    return {"contender": line.method, **figures, "edits": line.edits, "failed": line.failed}
