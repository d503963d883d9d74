"""Tables of results: means by hand, failures counted, and forms that other programs read."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from balancedit.bench.report import as_csv, as_json, as_latex, as_markdown, read
from balancedit.errors import ResultsError
from balancedit.files.journal import Journal


def row(method: str, sample: str, kind: str = "name", **scores: float) -> dict[str, Any]:
    head = {"method": method, "held": 1, "sample": sample, "category": "animal", "kind": kind}
    return head | {"scores": {"Acc": 1.0, "T-Gen": 1.0, "I-Gen": 1.0, "Loc": 1.0} | scores}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    journal = Journal(tmp_path, {"model": "pocket", "protocol": "generate"}, {})
    journal.append(row("base", "a", Acc=0.0) | {"held": 0})
    journal.append(row("grace", "a", **{"T-Gen": 0.5, "same-image": 1.0}))
    journal.append(row("grace", "b", kind="count", Loc=0.5))
    failed = row("grace", "c")
    del failed["scores"]
    journal.append(failed | {"failed": "the loss became nan"})
    return tmp_path


def test_means_are_over_edits_and_failures_reach_nothing(directory: Path) -> None:
    base, grace = read(directory).lines
    assert (base.method, base.held, base.failed) == ("base", 0, 0)
    assert (grace.edits, grace.failed) == (3, 1)
    mean = {name: x.mean for name, x in grace.figures.items()}
    assert mean["Acc"] == pytest.approx(2 / 3)
    assert mean["T-Gen"] == pytest.approx(0.5)
    assert mean["Loc"] == pytest.approx(0.75)
    assert mean["same-image"] == 1
    assert mean["HM"] == pytest.approx(3 / (1 / 0.5 + 1 / (2 / 3) + 1 / 0.75))
    assert grace.figures["Loc"].n == 2


def test_lines_by_kind_stand_after_those_of_all(directory: Path) -> None:
    groups = [(x.group, x.method, x.edits) for x in read(directory, by="kind").lines]
    assert groups == [
        ("all", "base", 1),
        ("all", "grace", 3),
        ("count", "grace", 1),
        ("name", "base", 1),
        ("name", "grace", 2),
    ]


def test_markdown_names_what_is_missing(directory: Path) -> None:
    head, _, base, _ = as_markdown(read(directory)).splitlines()
    assert head.startswith("| method | held | edits | failed | Acc | T-Gen | I-Gen | Loc | HM |")
    assert head.endswith("| HM | same-image |")
    assert base.startswith("| base | 0 | 1 | 0 | 0.0 [0.0, 0.0] | 100.0")
    assert base.endswith("| – |")


def test_csv_reads_back(directory: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(read(directory)))))
    found = {(r["method"], r["measure"]): float(r["mean"]) for r in rows}
    assert found["grace", "T-Gen"] == 0.5
    assert ("base", "same-image") not in found


def test_latex_escapes_and_closes(directory: Path) -> None:
    text = as_latex(read(directory))
    assert text.startswith("\\begin{tabular}{l")
    assert text.rstrip().endswith("\\end{tabular}")
    assert text.count(" \\\\") == 3


def test_json_holds_the_run(directory: Path) -> None:
    made = as_json(read(directory))
    assert made["run"]["protocol"] == "generate"
    assert made["lines"][1]["figures"]["Acc"]["n"] == 3


def test_no_results_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError):
        read(tmp_path)
