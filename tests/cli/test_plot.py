"""`balancedit bench plot`: the files it names are there, and what it cannot draw it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from balancedit.files.journal import Journal


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results of one edit."""
    identity = {"model": "pocket", "data": "okedit-pocket", "protocol": "generate"}
    row = {"method": "ft", "held": 1, "sample": "a", "category": "animal", "kind": "name"}
    scores = {"Acc": 1.0, "T-Gen": 0.8, "I-Gen": 0.5, "Loc": 0.0, "black": 1.0}
    Journal(tmp_path / "r", identity, {}).append(row | {"scores": scores, "outputs": []})
    return tmp_path / "r"


def test_all_figures_that_the_results_allow(run, results: Path) -> None:
    ran = run("bench", "plot", "--out", results)
    assert ran.code == 0
    files = [Path(line) for line in ran.out.splitlines()]
    assert [f.name for f in files] == ["methods.svg", "methods.png", "kinds.svg", "kinds.png"]
    assert all(f.parent == results / "figures" and f.stat().st_size for f in files)
    assert "left out: figure 'held' needs" in ran.err


def test_one_figure_elsewhere_as_json(run, results: Path, tmp_path: Path) -> None:
    made = run(
        "bench", "plot", "--out", results, "--figure", "kinds", "--to", tmp_path / "f", "--json"
    ).json
    assert made["files"] == [str(tmp_path / "f" / f"kinds.{form}") for form in ("svg", "png")]
    assert made["left_out"] == {}
    assert not (results / "figures").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--figure", "metods"], "nearest: methods"),
        (["--figure", "held"], "--sequential 1,10"),
        (["--figure", "sweep", "--option", "lr"], "balancedit+lr="),
    ],
)
def test_figures_that_cannot_be_drawn(run, results: Path, args: list[str], said: str) -> None:
    ran = run("bench", "plot", "--out", results, *args)
    assert ran.code == 1
    assert said in ran.error


def test_no_results(run, tmp_path: Path) -> None:
    assert "bench run" in run("bench", "plot", "--out", tmp_path / "none").error
