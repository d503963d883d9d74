"""`--method` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tiny
from balancedit.cli.main import main

QUESTION = "what is this?"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """Run a command on a tiny model; gives standard output."""
    monkeypatch.chdir(tmp_path)
    model, processor = tiny.llava()
    model.save_pretrained("model")
    processor.save_pretrained("model")
    tiny.picture(1).save("a.png")

    def command(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(list(arguments)) == code
        return str(capsys.readouterr().out)

    return command


@pytest.mark.parametrize(
    ("method", "reach", "why"),
    [
        ("ft", "every prompt is reached", "fires, as the newest does for every prompt"),
        ("grace", "radius    1", "fires (distance 0, radius 1)"),
    ],
)
def test_edit_ask_explain_show_revert(run: Any, method: str, reach: str, why: str) -> None:
    on = ["--model", "model", "--layer", tiny.LLAVA_LAYER, "--method", method]
    assert reach in run("edit", "a.png", QUESTION, "ab", *on)
    record = json.loads(run("edit", "a.png", QUESTION, "ab", *on, "--json"))
    assert (record["method"], record["d_positive"]) == (method, None)
    assert record["overlaps"] is not None
    assert why in run("ask", "a.png", QUESTION, *on)
    asked = json.loads(run("ask", "a.png", QUESTION, *on, "--json"))
    assert asked["fired"] is not None
    assert " fires" in run("explain", "a.png", QUESTION, *on)
    assert method in run("show", record["id"])
    assert "rephrased" not in run("show", record["id"])
    assert record["id"] in run("list")
    run("revert", record["id"])
    assert json.loads(run("ask", "a.png", QUESTION, *on, "--json"))["fired"] != record["id"]


def test_another_method_on_the_same_store_is_refused(run: Any) -> None:
    on = ["--model", "model", "--layer", tiny.LLAVA_LAYER]
    run("edit", "a.png", QUESTION, "ab", *on, "--method", "grace")
    told = run("ask", "a.png", QUESTION, *on, "--method", "ft", "--json", code=1)
    assert "its method is grace, not ft" in json.loads(told)["error"]
