"""`balancedit bench`: wrong arguments are said before a model loads, and results are tabulated."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

import tiny
from balancedit.data.catalogue import DATA_SETS, DataSet
from balancedit.data.sample import EditSample
from balancedit.files.journal import Journal, read_header, read_rows


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--methods", "grave"], "nearest: grace"),
        (["--methods", "ft:papr"], "nearest: paper"),
        (["--preset", "paper/blip3"], "nearest: paper/blip2-opt"),
        (["--methods", "ft+lrr=1"], "nearest: lr"),
        (["--methods", "ft+lr=x"], "wrong kind"),
        (["--methods", "ft+lr"], "+OPTION=VALUE"),
        (["--methods", ","], "no methods"),
        (["--batch-size", "0"], "--batch-size"),
        (["--data", "okedit-pokcet"], "nearest: okedit-pocket"),
        (["--part", "edit-evil"], "nearest: edit-eval"),
        (["--protocol", "generat"], "nearest: generate"),
        (["--sequential", "1,x"], "not '1,x'"),
        (["--n", "5", "--sequential", "10"], "--n"),
        (["--n", "0"], "--n"),
        (["--protocol", "teacher-forced", "--max-new-tokens", "9"], "protocol 'generate'"),
    ],
)
def test_wrong_arguments(run, tmp_path: Path, args: list[str], said: str) -> None:
    ran = run("bench", "run", *args, "--out", str(tmp_path / "out"))
    assert ran.code == 1
    assert said in ran.err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def results(tmp_path: Path) -> str:
    """Results of one edit."""
    identity = {"model": "pocket", "data": "okedit-pocket", "protocol": "generate"}
    row = {"method": "ft", "held": 1, "sample": "a", "category": "animal", "kind": "name"}
    scores = {"Acc": 1.0, "T-Gen": 0.8, "I-Gen": 0.5, "Loc": 0.0}
    Journal(tmp_path, identity, {}).append(row | {"scores": scores, "outputs": []})
    return str(tmp_path)


def test_a_report_for_people_and_for_programs(run, results: str) -> None:
    shown = run("bench", "report", "--out", results).out
    assert "protocol: generate" in shown
    assert "80.0" in shown
    made = run("bench", "report", "--out", results, "--json").json
    assert made["lines"][0]["figures"]["I-Gen"]["mean"] == 0.5
    assert made["lines"][0]["figures"]["HM"]["mean"] == 0
    rows = csv.DictReader(
        io.StringIO(run("bench", "report", "--out", results, "--form", "csv").out)
    )
    assert {r["measure"] for r in rows} == {"Acc", "T-Gen", "I-Gen", "Loc", "HM"}
    made = run("bench", "report", "--out", results, "--measures", "HM,Acc", "--json").json
    assert set(made["lines"][0]["figures"]) == {"HM", "Acc"}


def test_reports_that_cannot_be_made(run, results: str, tmp_path: Path) -> None:
    assert "nearest: kind" in run("bench", "report", "--out", results, "--by", "knd").err
    assert "nearest: Acc" in run("bench", "report", "--out", results, "--measures", "Ac").err
    assert "nearest: md" in run("bench", "report", "--out", results, "--form", "mdd").err
    assert "bench run" in run("bench", "report", "--out", str(tmp_path / "none")).err


def test_several_directories_in_one_report_and_what_their_names_stand_for(
    run, tmp_path: Path
) -> None:
    identity = {"model": "pocket", "data": "okedit-pocket", "protocol": "generate"}
    row = {"method": "ft", "held": 1, "sample": "a", "category": "animal", "kind": "name"}
    for name, lr, found in (("one", 0.1, 1.0), ("other", 0.2, 0.5)):
        scores = {"Acc": found, "T-Gen": found, "I-Gen": found, "Loc": found}
        about = {"code": f"code of {name}"}
        journal = Journal(tmp_path / name, identity, about, {"ft": {"lr": lr}})
        journal.append(row | {"scores": scores, "outputs": []})
    asked = ["bench", "report", "--out", "one", "--out", "other"]
    shown = run(*asked, "--settings", "--form", "md")
    assert "| one | ft | 1 | 1 | 0 | 100.0" in shown.out
    assert "| other | ft | 1 | 1 | 0 | 50.0" in shown.out
    assert "ft in other: lr 0.2 (1 results by code code of other" in shown.out
    assert "warning: 'ft' stands for different settings: in one lr 0.1; in other" in shown.err
    made = run(*asked, "--settings", "--json").json
    assert [line["in"] for line in made["lines"]] == ["one", "other"]
    assert [x["runs"][0]["code"] for x in made["settings"]] == ["code of one", "code of other"]
    assert len(made["warnings"]) == 1
    rows = csv.DictReader(io.StringIO(run(*asked, "--form", "csv").out))
    assert {(r["in"], r["mean"]) for r in rows if r["measure"] == "HM"} == {
        ("one", "1.0"),
        ("other", "0.5"),
    }
    assert run("bench", "report", "--out", "one").err == ""


def test_the_first_edits_of_the_data_can_be_left_out(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(part: str) -> list[EditSample]:
        return [tiny.sample(n, "ab") for n in range(3)]

    made = DataSet("tiny", "", ("all",), load, load, lambda part: "0")
    monkeypatch.setitem(DATA_SETS, "tiny", made)
    identity = {"model": "m", "data": "tiny", "part": "all", "digest": "0", "protocol": "generate"}
    journal = Journal(tmp_path, identity, {})
    for number in (2, 0, 1):  # as several processes may write them
        row = {"method": "ft", "held": 1, "sample": f"s{number}", "category": "", "kind": "name"}
        scores = {"Acc": float(number == 0), "T-Gen": 1.0, "I-Gen": 1.0, "Loc": 1.0}
        journal.append(row | {"scores": scores, "outputs": []})
    asked = ["bench", "report", "--out", str(tmp_path), "--json"]
    for skipped, acc in ((0, 1 / 3), (1, 0.0)):
        (line,) = run(*asked, "--skip", skipped).json["lines"]
        assert line["edits"] == 3 - skipped
        assert line["figures"]["Acc"]["mean"] == pytest.approx(acc)
    assert "--skip is -1" in run("bench", "report", "--out", str(tmp_path), "--skip", "-1").err
    assert "tiny all has 3 edits" in run(*asked[:-1], "--skip", "4").err
    monkeypatch.setitem(
        DATA_SETS, "tiny", DataSet("tiny", "", ("all",), load, load, lambda part: "1")
    )
    assert "about other data" in run(*asked[:-1], "--skip", "1").err


def test_probes_without_a_picture_are_left_out_where_a_model_takes_none(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(part: str) -> list[EditSample]:
        return [tiny.sample(n, "ab") for n in range(2)]

    made = DataSet("tiny", "", ("all",), load, load, lambda part: "0")
    monkeypatch.setitem(DATA_SETS, "tiny", made)
    for family in ("blip2", "llava"):
        model, processor = getattr(tiny, family)()
        model.save_pretrained(family)
        processor.save_pretrained(family)
        asked = ["--data", "tiny", "--n", "2", "--methods", "ft+steps=1", "--dtype", "bfloat16"]
        ran = run("bench", "run", "--model", f"./{family}", *asked, "--out", f"{family}-out")
        assert ran.code == 0, ran.err
        without = family == "blip2"
        assert ("left out: 2 probes without a picture" in ran.err) == without
        for row in read_rows(Path(f"{family}-out")):
            assert ("no-image" in row["scores"]) != without
        assert read_header(Path(f"{family}-out"))["about"]["dtype"] == "bfloat16"


def test_the_demo_has_no_story_for_other_methods(run) -> None:
    ran = run("demo", "--method", "ft")
    assert ran.code == 1
    assert "balancedit edit --method ft" in ran.err
