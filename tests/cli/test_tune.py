"""`balancedit bench tune`: the same budget for every method, a log that goes on, a choice that
follows from it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tiny
from balancedit.bench import tuning
from balancedit.data.catalogue import DATA_SETS, DataSet
from balancedit.data.sample import EditSample
from balancedit.files.journal import Journal, read_header, read_rows
from balancedit.methods.spaces import SPACES, Space

SAMPLES = [tiny.sample(n, target) for n, target in enumerate(("ab", "cd", "ef"))]
FAST = {
    "ft": Space({"steps": (1, 2, 3), "lr": (0.05, 0.2)}),
    "grace": Space({"steps": (2, 3), "epsilon": (1.0, 4.0)}, (1.0, 0.85, 0.7)),
}


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def args(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A tuning of two methods on a tiny model; the part that results are reported on is sealed."""

    def load(part: str) -> list[EditSample]:
        assert part == "edit-train"
        return SAMPLES

    def digest(part: str) -> str:
        assert part == "edit-train"
        return "0"

    parts = ("edit-eval", "edit-train")
    monkeypatch.setitem(DATA_SETS, "tiny", DataSet("tiny", "", parts, load, load, digest))
    for method, space in FAST.items():
        monkeypatch.setitem(SPACES, method, space)
    on = ["--model", str(tiny_model), "--data", "tiny"]
    return ["bench", "tune", "--method", "ft,grace", *on, "--settings", "3", "--edits", "2"]


def results(directory: str) -> list[tuple[Any, ...]]:
    """What the log names its results by. What a random model says is no subject of comparison
    between processes: a batch of another shape may round otherwise."""
    rows = read_rows(Path(directory))
    return sorted((row["method"], row["held"], row["sample"]) for row in rows)


def test_every_method_has_the_same_budget_and_the_log_holds_all_of_it(run, args: list[str]) -> None:
    made = run(*args, "--out", "out", "--json").json
    names = list(read_header(Path("out"))["methods"])
    assert [n for n in names if "+" not in n and "@" not in n] == ["ft", "grace"]
    assert names.index("ft") == 0  # the recommended preset is the first candidate
    rows = Counter((r["method"], r["sample"]) for r in read_rows(Path("out")))
    assert rows == Counter((n, s.id) for n in ("base", *names) for s in SAMPLES[:2])
    for method in ("ft", "grace"):
        found = made["methods"][method]
        assert found["tried"] == 3
        assert {line["contender"].split("+")[0].split("@")[0] for line in found["ranked"]} == {
            method
        }
        assert {line["edits"] for line in found["ranked"]} == {2}
    assert made["budget"] == {"settings": 3, "edits": 2}
    assert made["part"] == "edit-train"
    assert len(made["code"]) == 1


def test_the_choice_follows_from_the_log(run, args: list[str]) -> None:
    run(*args, "--out", "out")
    made = json.loads(Path("out", tuning.CHOICE).read_text())
    budget = (made["budget"]["settings"], made["edits"])
    assert tuning.choice(Path("out"), *budget) == made
    lines = run("bench", "report", "--out", "out", "--json").json["lines"]
    hm = {line["method"]: 100 * line["figures"]["HM"]["mean"] for line in lines}
    for found in made["methods"].values():
        scores = [line["HM"] for line in found["ranked"]]
        assert scores == sorted(scores, reverse=True)
        assert scores == pytest.approx([hm[line["contender"]] for line in found["ranked"]])
        assert (found["choice"], found["score"]) == (found["ranked"][0]["contender"], scores[0])
        assert found["settings"] == read_header(Path("out"))["methods"][found["choice"]]


@pytest.mark.parametrize("survive", [1, 9])
def test_a_killed_tuning_goes_on_and_scores_nothing_twice(
    run, args: list[str], monkeypatch: pytest.MonkeyPatch, survive: int
) -> None:
    append, left = Journal.append, survive

    def dying(self: Journal, row: dict[str, Any]) -> None:
        nonlocal left
        append(self, row)
        left -= 1
        if left == 0:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", dying)
        with pytest.raises(Killed):
            run(*args, "--out", "out")
    assert not Path("out", tuning.CHOICE).exists()
    lines = Path("out", "rows.jsonl").read_text().splitlines()
    assert len(lines) == survive
    run(*args, "--out", "out")
    after = Path("out", "rows.jsonl").read_text().splitlines()
    assert after[:survive] == lines
    assert [json.loads(line)["run"] for line in after] == [0] * survive + [1] * (14 - survive)
    names = list(read_header(Path("out"))["methods"])
    wanted = [(n, int(n != "base"), s.id) for n in ("base", *names) for s in SAMPLES[:2]]
    assert results("out") == sorted(wanted)
    made = json.loads(Path("out", tuning.CHOICE).read_text())
    assert tuning.choice(Path("out"), 3, made["edits"]) == made
    assert {found["tried"] for found in made["methods"].values()} == {3}


def test_a_larger_budget_goes_on_and_a_smaller_one_can_be_read_again(run, args: list[str]) -> None:
    small = run(*args, "--out", "out", "--json").json
    first = Path("out", "rows.jsonl").read_text()
    large = run(*args, "--settings", "4", "--edits", "3", "--out", "out", "--json").json
    assert Path("out", "rows.jsonl").read_text().startswith(first)
    assert {f["tried"] for f in large["methods"].values()} == {4}
    assert tuning.choice(Path("out"), 3, small["edits"]) == small
    alone = run(
        *args, "--method", "ft", "--edits", "3", "--settings", "5", "--out", "out", "--json"
    )
    assert list(alone.json["methods"]) == ["ft", "grace"]  # grace with all it tried
    assert "another run" in run(*args, "--seed", "1", "--out", "out").error


def test_equal_scores_leave_the_recommended_preset(tmp_path: Path) -> None:
    def scores(**figures: float) -> dict[str, float]:
        return {"Acc": 1.0, "T-Gen": 1.0, "I-Gen": 0.5, "Loc": 0.5} | figures

    tried = {
        "ft": scores(),
        "ft+steps=1": scores(),
        "ft+steps=2": scores(Acc=0.5),
        "ft+steps=3": scores(Loc=0.0),
        "ft+steps=4": scores(Loc=0.0, **{"I-Gen": 0.9}),
    }
    identity = tuning.subject_of({"model": "pocket"}, 0)
    journal = Journal(tmp_path, identity, {"code": "a"}, {name: {} for name in reversed(tried)})
    for method, found in tried.items():
        row = {"method": method, "held": 1, "sample": "a", "category": "", "kind": ""}
        journal.append(row | {"scores": found})
    ranked = tuning.choice(tmp_path, 9, ["a"])["methods"]["ft"]["ranked"]
    assert [line["contender"] for line in ranked] == [
        "ft+steps=1",  # as good as ft, and here the earlier
        "ft",
        "ft+steps=2",
        "ft+steps=4",
        "ft+steps=3",
    ]
    assert tuning.choice(tmp_path, 9, ["a", "b"])["methods"] == {}  # not all were tried


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--part", "edit-eval"], "which results are reported on; give --part edit-train"),
        (["--part", "edit-evil"], "has no part 'edit-evil'"),
        (["--method", "grave"], "nearest: grace"),
        (["--method", ","], "no methods"),
        (["--settings", "0"], "--settings is 0"),
        (["--edits", "0"], "--edits must be from 1"),
        (["--edits", "4"], "not 4"),
        (["--batch-size", "0"], "--batch-size"),
    ],
)
def test_wrong_arguments(run, args: list[str], given: list[str], said: str) -> None:
    assert said in run(*args, *given, "--out", "out").error
    assert not Path("out").exists()


def test_data_that_are_all_for_reporting(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(part: str) -> list[EditSample]:
        raise AssertionError

    made = DataSet("tiny", "", ("eval",), load, load, lambda part: "0")
    monkeypatch.setitem(DATA_SETS, "tiny", made)
    asked = ["bench", "tune", "--method", "ft", "--data", "tiny", "--out", "out"]
    assert "no part to choose settings on" in run(*asked).error
    assert "no part for training" in run(*asked, "--part", "eval").error
