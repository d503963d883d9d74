"""What the names in a table stand for, and what a reader of several directories is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from balancedit.bench.told_apart import UNKNOWN, origins, warnings
from balancedit.files.journal import Journal

RUN = {"model": "pocket", "protocol": "generate"}


def row(method: str, sample: str, seconds: float = 1.0) -> dict[str, Any]:
    return {"method": method, "held": 1, "sample": sample, "probe_seconds": seconds}


def test_settings_code_and_machine_of_every_run(tmp_path: Path) -> None:
    old = Journal(tmp_path, RUN, {"device": "cpu"}, {"ft": {"lr": 0.1}})
    old._about = None  # as before runs were listed
    old.append(row("ft", "a"))
    for code, samples in (("one", "bc"), ("two", "d")):
        later = Journal(tmp_path, RUN, {"code": code, "device": "gpu"}, {"ft": {"lr": 0.1}})
        for sample in samples:
            later.append(row("ft", sample))
    (found,) = origins(tmp_path)
    assert found.settings == {"lr": 0.1}
    assert [(r["run"], r["code"], r["machine"], r["results"]) for r in found.runs] == [
        (None, UNKNOWN, "device cpu", 1),
        (0, "one", "device gpu", 2),
        (1, "two", "device gpu", 1),
    ]
    assert "lr 0.1 (1 results by code not recorded" in found.as_line()
    (said,) = warnings([tmp_path])
    assert said == f"'ft' in {tmp_path} is of code {UNKNOWN}, one, two"


def test_a_name_that_stands_for_two_things(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    settings = {"grace": {"epsilon": 1.0, "steps": 100}}
    Journal(one, RUN, {}, {"ft": {"lr": 0.1, "steps": 25}} | settings).append(row("ft", "a"))
    bound = {"grace": {"epsilon": "1.0", "steps": 100}}  # the same value as a store writes it
    Journal(other, RUN, {}, {"ft": {"lr": 0.2, "steps": 25}} | bound).append(row("ft", "a", 2.0))
    for directory, known in ((one, settings), (other, bound)):
        Journal(directory, RUN, {}, known).append(row("grace", "a", len(str(directory))))
    assert warnings([one, other]) == [
        f"'ft' stands for different settings: in {one} lr 0.1; in {other} lr 0.2"
    ]


def test_results_that_were_copied_and_other_models(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for directory, model in ((one, "pocket"), (other, "puppet")):
        journal = Journal(directory, RUN | {"model": model}, {"code": "a"}, {"ft": {}})
        journal.append(row("ft", "same"))
        journal.append(row("ft", "own", seconds=len(model) + (model == "pocket")))
    assert warnings([one, other]) == [
        f"{one} and {other} differ in model",
        f"{one} and {other} share lines of results, measured once: 1",
    ]
