"""`balancedit data`: what there is, what it consists of, and docs/data.md showing the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import documented
import pytest
from PIL import Image

from balancedit.data.pocket import DIGESTS

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from published import (
    mmedit_records,
    okedit_files,
    okedit_folders,
    vlkeb_records,
    write_mmedit,
    write_okedit,
    write_pictures,
)

from balancedit.data import jsonl
from balancedit.data.catalogue import find

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def test_list(run) -> None:
    assert "okedit-pocket" in run("data", "list").out
    (first, *_) = run("data", "list", "--json").json["data"]
    assert first["name"] == "okedit-pocket"
    assert first["parts"] == ["edit-eval", "edit-train"]


def test_stats(run) -> None:
    found = run("data", "stats", "okedit-pocket", "--json").json
    assert list(found["parts"]) == ["edit-eval", "edit-train"]
    for part, described in found["parts"].items():
        assert described["digest"] == DIGESTS[part]
        assert described["samples"] == sum(described["kinds"].values())
    one = run("data", "stats", "okedit-pocket", "--part", "edit-train", "--json").json
    assert one["parts"] == {"edit-train": found["parts"]["edit-train"]}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["okedit-pokcet"], "nearest: okedit-pocket"),
        (["okedit-pocket", "--part", "edit-evil"], "nearest: edit-eval"),
        (["okedit-pocket", "--part", "never-edited"], "give edit-eval or edit-train"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(run, args: list[str], said: str) -> None:
    ran = run("data", "stats", *args)
    assert (ran.code, ran.out) == (1, "")
    assert said in ran.error


def test_a_data_set_with_a_name_is_checked(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("BALANCEDIT_CACHE", str(tmp_path))
    found = run("data", "check", "okedit-photos", "--json").json
    assert found["format"] == "okedit-photos"
    parts = found["parts"].values()
    assert [part["usable"] for part in parts] == [149, 104, 149, 104]
    assert {kind for part in parts for kind in part["counts"]} <= {"missing-image"}


def test_wrong_usage(run) -> None:
    assert run("data", "stats").code == 2
    ran = run("data", "stast")
    assert ran.code == 2
    assert "stats" in ran.error


def test_help(run) -> None:
    ran = run("data")
    assert ran.code == 0
    assert all(f" {name} " in ran.out for name in ("list", "fetch", "check", "stats", "review"))
    assert run("data", "--help").out == ran.out


@pytest.mark.parametrize(
    ("args", "unwanted"),
    [
        (["data", "--help"], ("torch", "transformers", "numpy", "PIL")),
        (["data", "list"], ("torch", "transformers", "numpy", "PIL")),
        (["data", "stats", "okedit-pocket", "--json"], ("torch", "transformers")),
        (["data", "build-okedit", "--help"], ("torch", "numpy", "openai", "tenacity")),
        (["data", "fetch", "mmedit", "--dry-run"], ("torch", "transformers", "numpy", "httpx2")),
    ],
)
def test_nothing_heavy_is_imported(args: list[str], unwanted: tuple[str, ...]) -> None:
    code = (
        "import sys; from balancedit.cli.main import main; "
        f"code = main({args!r}); "
        f"print([m for m in {unwanted!r} if m in sys.modules], code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "[] 0"


def test_check(run, tmp_path: Path) -> None:
    records = mmedit_records(3)
    records[1]["alt"] = ""
    path = write_mmedit(tmp_path / "data", records)
    ran = run("data", "check", path.parent)
    assert ran.code == 0
    assert "vqa-eval: 1 empty-target\n  vqa_eval.json index 1: has an empty target" in ran.out
    assert "vqa-eval: 6 missing-image, the first 5" in ran.out
    found = run("data", "check", f"mmedit={path.parent}", "--json").json
    assert (found["format"], found["problems"]) == ("mmedit", 7)
    assert found["parts"]["vqa-eval"]["usable"] == 2
    assert len(found["parts"]["vqa-eval"]["problems"]) == 7
    ran = run("data", "check", tmp_path / "nowhere")
    assert (ran.code, ran.out) == (1, "")


def test_stats_of_files_with_bad_records(run, tmp_path: Path) -> None:
    records = mmedit_records(3)
    records[1]["alt"] = ""
    path = write_mmedit(tmp_path / "data", records)
    ran = run("data", "stats", path.parent)
    assert ran.code == 1
    assert "index 1" in ran.error
    assert "--skip-bad" in ran.error
    ran = run("data", "stats", path.parent, "--skip-bad", "--json", "--figure", "a.png")
    assert "warning: left out 1 records" in ran.err
    assert ran.json["left_out"] == 1
    assert ran.json["parts"]["vqa-eval"]["samples"] == 2
    assert Path("a.png").stat().st_size > 1000
    ran = run("data", "stats", path.parent, "--skip-bad", "--sheet", "b.png")
    assert "error: the pictures of mmedit are not there" in ran.err


def test_fetch_says_what_to_do_by_hand(run) -> None:
    found = run("data", "fetch", "vlkeb", "--dry-run", "--out", "here", "--json").json
    assert "here/VLKEB_images" in " ".join(found["by_hand"])
    assert not Path("here").exists()
    ran = run("data", "fetch", "vlkeb", "--out", "here")
    assert "kaggle datasets download" in ran.out
    assert "balancedit data check vlkeb=here" in ran.out
    assert "nearest: vlkeb" in run("data", "fetch", "vlkb").error


def test_building_says_first_what_it_will_ask(run, tmp_path: Path) -> None:
    line = {"image": "a.png", "question": "What is it?", "answer": "cat"}
    (tmp_path / "facts.jsonl").write_text("\n".join(json.dumps(line | {"id": i}) for i in "ab"))
    command = ["data", "build-okedit", "facts.jsonl", "--out", "out", "--dry-run"]
    assert "there is no file" in run(*command).error
    Image.new("RGB", (8, 8)).save("a.png")
    prices = ["--price-in", "2", "--price-out", "8", "--price-image", "0.5"]
    found = run(*command, *prices, "--json").json
    assert (found["facts"], found["texts"], found["images"]) == (2, 12, 22)
    assert found["cost"] == pytest.approx(
        (2 * found["tokens_in"] + 8 * found["tokens_out"]) / 1e6 + 11
    )
    assert "To ask: 12 texts" in run(*command).out
    assert not Path("out").exists()
    assert run(*command, "--images", "0").code == 1
    assert run("data", "build-okedit", "facts.jsonl").code == 2


def test_review(run, tmp_path: Path) -> None:
    data = small("jsonl", tmp_path / "data")
    ran = run("data", "review", data, "--out", "page.html", "--n", "1", "--json")
    assert ran.json == {"page": "page.html", "shown": 1, "edits": 2}
    assert Path("page.html").stat().st_size > 5000
    assert "marks.json" in run("data", "review", data).out
    assert run("data", "review", data, "--n", "0").code == 1


def small(form: str, directory: Path) -> str:
    """A data set of two edits in a format, with pictures; how to name it."""
    if form == "mmedit":
        write_mmedit(directory, mmedit_records(2))
    elif form == "vlkeb":
        write_mmedit(directory, vlkeb_records(2), "eval.json")
    else:
        write_okedit(directory, *okedit_files(2))
        okedit_folders(directory, (1000, 1001))
    name = f"okedit={directory}" if form == "jsonl" else f"{form}={directory}"
    found = find(name)
    samples = found.read(found.parts[0])
    write_pictures(samples)
    if form != "jsonl":
        return name
    lines = (json.dumps(jsonl.line(sample)) for sample in samples)
    (directory / "mine.jsonl").write_text("\n".join(lines))
    return f"jsonl={directory}"


@pytest.mark.parametrize("form", ["mmedit", "vlkeb", "okedit", "jsonl"])
def test_the_benchmark_runs_on_each_format(run, on_tiny, tmp_path: Path, form: str) -> None:
    data = small(form, tmp_path / "data")
    common = ["--data", data, "--methods", "ft", "--n", "1", "--out", "results"]
    ran = run("bench", "run", *on_tiny, *common, "--json")
    assert ran.code == 0, ran.err
    header = json.loads(Path("results/run.json").read_text())["identity"]
    assert (header["data"], header["digest"]) == (form, find(data).digest(find(data).parts[0]))
    (base, edited) = map(json.loads, Path("results/rows.jsonl").read_text().splitlines())
    assert base["scores"]["Loc"] == 1
    assert len(edited["outputs"]) == (5 if form in ("mmedit", "vlkeb") else 22)


def test_the_benchmark_leaves_bad_records_out_when_told_to(run, on_tiny, tmp_path: Path) -> None:
    records = mmedit_records(2)
    path = write_mmedit(tmp_path / "data", records)
    write_pictures(find(str(path.parent)).read("vqa-eval"))
    write_mmedit(tmp_path / "data", [records[0] | {"alt": ""}, records[1]])
    common = ["--data", path.parent, "--methods", "ft", "--n", "1", "--out", "results"]
    assert "index 0: has an empty target" in run("bench", "run", *on_tiny, *common).error
    ran = run("bench", "run", *on_tiny, *common, "--skip-bad", "--json")
    assert (ran.code, "warning: left out 1 records" in ran.err) == (0, True)
    rows = map(json.loads, Path("results/rows.jsonl").read_text().splitlines())
    assert {row["sample"] for row in rows} == {"vqa-eval/1"}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["mmedit", "vlkeb", "okedit", "jsonl"])
def test_the_benchmark_runs_on_each_format_with_pocket(
    run, shared_pocket, tmp_path: Path, form: str
) -> None:
    data = small(form, tmp_path / "data")
    ran = run("bench", "run", "--data", data, "--methods", "ft", "--n", "2", "--json")
    assert ran.code == 0, ran.err
    assert len(Path("results/bench/rows.jsonl").read_text().splitlines()) == 4


def test_the_page_shows_what_the_commands_print(run, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(documented.WIDTH))

    def command(arguments: list[str]) -> str:
        ran = run(*arguments)
        return ran.out + ran.err

    page = PAGE.read_text()
    assert documented.rerun(page, command) == page
