"""Outputs that were kept, scored again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from balancedit.bench.protocols import PROTOCOLS
from balancedit.bench.rescoring import rescore
from balancedit.bench.runner import changed_by_others
from balancedit.errors import ResultsError
from balancedit.files.journal import ROWS, Journal, read_rows
from tiny import sample

SAMPLES = [sample(1, "ab"), sample(2, "cd")]
OLD = ["zz", "zz", "zz", "zz", "no"]  # Acc, T-Gen, I-Gen, similar, no-image
GENERATE = PROTOCOLS["generate"]


def journal(directory: Path, *rows: dict[str, Any]) -> Path:
    made = Journal(directory, {"data": "two"}, {})
    for row in rows:
        made.append({"category": "things", "kind": "name"} | row)
    return directory


def base(number: int) -> dict[str, Any]:
    scores = {"Acc": 0.0, "T-Gen": 0.0, "I-Gen": 0.0, "Loc": 1.0, "same-answer": 1.0}
    outputs = {"scores": scores | {"no-image": 1.0}, "outputs": OLD}
    return {"method": "base", "held": 0, "sample": f"s{number}"} | outputs


def edited(number: int, held: int, scores: dict[str, float]) -> dict[str, Any]:
    outputs = ["ab", "ab", "zz", "zz", "ab"]
    return {
        "method": "ft",
        "held": held,
        "sample": f"s{number}",
        "scores": scores,
        "outputs": outputs,
    }


def test_what_the_measures_say_now(tmp_path: Path) -> None:
    failed = {"method": "ft", "held": 1, "sample": "s2", "failed": "no"}
    journal(tmp_path, base(1), base(2), edited(1, 1, {"Acc": 0.0}), failed)
    assert rescore(tmp_path, SAMPLES, GENERATE) == 1
    rows = list(read_rows(tmp_path))
    assert rows[2]["scores"] == {
        "Acc": 1,
        "T-Gen": 1,
        "I-Gen": 0,
        "Loc": 1,
        "same-answer": 1,
        "no-image": 0,
    }
    assert rows[3]["failed"] == "no"
    assert rescore(tmp_path, SAMPLES, GENERATE) == 0


def test_held_together_other_edits_things_are_left_out(tmp_path: Path) -> None:
    """The first sample's similar probe shows what the second edit is about."""
    journal(tmp_path, base(1), base(2), edited(1, 2, {}))
    rescore(tmp_path, SAMPLES, GENERATE)
    assert set(list(read_rows(tmp_path))[2]["scores"]) == {"Acc", "T-Gen", "I-Gen", "no-image"}


def test_a_things_own_probes_are_left_out_where_another_edit_is_about_it() -> None:
    again = replace(SAMPLES[0], id="again", target="ef")
    assert changed_by_others(SAMPLES, SAMPLES[0]) == {"thing 2"}
    assert changed_by_others([*SAMPLES, again], SAMPLES[0]) == {"thing 1", "thing 2"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (edited(7, 1, {}), "'s7', which the data lack"),
        (edited(1, 1, {}) | {"outputs": ["ab"]}, "not of the probes"),
    ],
)
def test_other_data_change_nothing(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    journal(tmp_path, base(1), edited(1, 1, {"Acc": 0.5}), row | {"held": 3})
    kept = (tmp_path / ROWS).read_bytes()
    with pytest.raises(ResultsError, match=said):
        rescore(tmp_path, SAMPLES, GENERATE)
    assert (tmp_path / ROWS).read_bytes() == kept
