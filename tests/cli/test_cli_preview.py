"""`balancedit preview` on a tiny random model: over a folder and a log, for people and as JSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from balancedit import Editor
from balancedit.layer.decisions import Said
from balancedit.serving.querylog import Noted, QueryLog

QUESTION = "what is this?"
FACT = (QUESTION, "ab", "--rephrase", "what's it?")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of pictures; the first is the one that is edited."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in (1, 2, 3):
        tiny.picture(seed).save(folder / f"{seed}.png")
    return folder


def test_a_folder_is_asked_and_nothing_is_kept(run: Any, on_tiny: Any, pictures: Path) -> None:
    own = pictures / "1.png"
    ran = run("preview", own, *FACT, "--over", pictures, *on_tiny, "--json")
    assert ran.code == 0, ran.err
    said = ran.json
    assert said["considered"] == 3
    assert said["edit"]["target"] == said["edit"]["answer_after"] == "ab"
    first = said["changed"][0]
    assert (first["number"], first["after"], first["inside"]) == (0, "ab", True)
    assert first["fired_after"] == said["edit"]["id"]
    assert said["radius"]["chosen"] == said["radius"]["learned"]
    assert sorted(os.listdir()) == ["pictures"]


def test_what_it_says_to_people(run: Any, on_tiny: Any, pictures: Path) -> None:
    own = pictures / "1.png"
    ran = run("preview", own, *FACT, "--over", pictures, *on_tiny, "--radius", "0")
    assert ran.code == 0, ran.err
    assert "not kept: a preview" in ran.out
    assert "Of 3 questions 1 would be answered otherwise." in ran.out
    assert "(measured: " in ran.out
    assert "→ ab" in ran.out


def test_a_log_is_decided_by_its_keys(run: Any, on_tiny: Any, pictures: Path) -> None:
    editor = Editor.load(on_tiny[1], layer=on_tiny[3])
    with editor._holding.working():
        keys = editor._method.routing.prefill_keys([tiny.picture(1)] * 2, [QUESTION] * 2)
    way = editor.key_way
    with QueryLog.open("queries.sqlite3") as log:
        for tenant, key in zip(("default", "acme"), keys, strict=True):
            known = key.cpu().numpy().astype(np.float16)
            said = Said("q", (300,))
            log.note(Noted(tenant, QUESTION, True, None, way, known, said, None, "q"))
    both = run(
        "preview", pictures / "1.png", *FACT, "--over", "queries.sqlite3", *on_tiny, "--json"
    )
    assert both.code == 0, both.err
    assert both.json["considered"] == 2
    one = run(
        *("preview", pictures / "1.png", *FACT, "--over", "queries.sqlite3", "--tenant", "acme"),
        *(*on_tiny, "--json"),
    )
    assert one.json["considered"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--over", "nowhere"], "no such file"),
        (["--over", "1.png"], "no query log"),
        (["--over", "empty"], "holds no pictures"),
        (["--radius", "1e9"], "lies outside what was looked at"),
        (["--method", "ft"], "use method='balancedit'"),
    ],
)
def test_bad_input(run: Any, on_tiny: Any, pictures: Path, arguments: list[str], said: str) -> None:
    Path("empty").mkdir()
    Path("1.png").write_bytes((pictures / "1.png").read_bytes() * 20)
    over = [] if "--over" in arguments else ["--over", pictures]
    ran = run("preview", pictures / "1.png", *FACT, *over, *on_tiny, *arguments)
    assert ran.code == 1
    assert said in ran.error
