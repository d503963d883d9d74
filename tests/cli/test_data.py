"""`balancedit data`: what there is, what it consists of, and docs/data.md showing the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import documented
import pytest

from balancedit.data.pocket import DIGESTS

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


def test_wrong_usage(run) -> None:
    assert run("data", "stats").code == 2
    ran = run("data", "stast")
    assert ran.code == 2
    assert "stats" in ran.error


def test_help(run) -> None:
    ran = run("data")
    assert ran.code == 0
    assert all(name in ran.out for name in ("list", "stats"))
    assert run("data", "--help").out == ran.out


@pytest.mark.parametrize(
    ("args", "unwanted"),
    [
        (["data", "--help"], ("torch", "transformers", "numpy", "PIL")),
        (["data", "list"], ("torch", "transformers", "numpy", "PIL")),
        (["data", "stats", "okedit-pocket", "--json"], ("torch", "transformers")),
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


def test_the_page_shows_what_the_commands_print(run, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(documented.WIDTH))

    def command(arguments: list[str]) -> str:
        ran = run(*arguments)
        return ran.out + ran.err

    page = PAGE.read_text()
    assert documented.rerun(page, command) == page
