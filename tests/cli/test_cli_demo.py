"""The demo, on a tiny random model: what it reports is what it measured, and it leaves nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from balancedit.cli.demo import pictures, script
from balancedit.cli.demo.play import Outcome
from balancedit.types import Answer


def test_the_story_reports_what_it_measured(run, on_tiny) -> None:
    ran = run("demo", *on_tiny, "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    answers = found["answers"]
    assert len(answers) == len(script.PROBES)
    assert answers[0]["fired"] == found["edit"]["id"]
    assert answers[0]["as_hoped"] == (answers[0]["answer_after"] == script.NEW_NAME)
    for a in answers:
        reached = a["role"] in ("edited", "rephrased", "drawn")
        hoped = script.NEW_NAME if reached else a["answer_before"]
        assert a["as_hoped"] == (a["answer_after"] == hoped)
        assert (a["fired"] is not None) == (a["distance"] <= a["radius"])
    assert found["undone"]["logits_equal"] is True
    assert found["undone"]["same_answer"] is True
    assert found["undone"]["logits_moved_by"] > 0
    assert found["checks"] == len(script.PROBES) + 2
    assert found["as_hoped"] == sum(a["as_hoped"] for a in answers) + 2
    assert len(found["explanations"]) == 2
    with Image.open(found["picture"]) as drawn:
        assert drawn.size[0] == 1600
    assert [p.name for p in Path().iterdir()] == ["balancedit-demo.png"]


def test_the_story_in_words(run, on_tiny) -> None:
    ran = run("demo", *on_tiny, "--out", "story.png", "--edits", "kept")
    assert ran.code == 0, ran.err
    assert Path("story.png").exists()
    assert all(f"\n{act}  " in ran.out for act in range(1, 8))
    assert "story.png" in ran.out
    assert "bit for bit" in ran.out
    assert "✗" in ran.out, "a random model is not right about an owl"
    assert "marked ✗ above" in ran.out
    (edit,) = run("list", "--all", "--edits", "kept", "--json").json["edits"]
    assert edit["state"] == "reverted"


def test_nothing_is_as_hoped_unless_it_is() -> None:
    for probe in script.PROBES:
        same = Outcome(probe, Answer("owl"), Answer("owl"))
        new = Outcome(probe, Answer("owl"), Answer(script.NEW_NAME, "id", "id", 0.1, 1.0))
        assert same.as_hoped != new.as_hoped
        assert new.as_hoped == probe.reached


def test_every_picture_ships_with_its_attribution() -> None:
    said = (pictures.folder() / "ATTRIBUTION.md").read_text()
    for name in pictures.PICTURES:
        assert f"{name}.png" in said
    assert {p.picture for p in script.PROBES} <= {*pictures.PICTURES, script.BLACK}
    assert sum(p.stat().st_size for p in pictures.folder().iterdir()) < 250_000


def test_the_pictures_are_what_the_artwork_renders(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    pictures.make(tmp_path)
    for name in pictures.PICTURES:
        with (
            Image.open(tmp_path / f"{name}.png") as made,
            Image.open(pictures.folder() / f"{name}.png") as shipped,
        ):
            apart = np.abs(np.asarray(made, int) - np.asarray(shipped, int))
            assert apart.mean() < 0.5, name  # of 255: edges round otherwise on other processors
