"""The life of an edit through the command line, on a tiny random model."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

import tiny

QUESTION = "what is this?"
REWORDED = ["--rephrase", "what's it?"]


@pytest.fixture
def learned(run: Any, on_tiny: list[str], picture: Path) -> dict[str, Any]:
    """The JSON of one edit, kept in ./edits."""
    ran = run("edit", picture, QUESTION, "ab", *REWORDED, *on_tiny, "--json")
    assert ran.code == 0, ran.err
    found: dict[str, Any] = ran.json
    return found


def test_asking_without_edits_makes_no_store(run, on_tiny, picture) -> None:
    ran = run("ask", picture, QUESTION, *on_tiny, "--json")
    assert ran.code == 0
    assert ran.err == ""
    answer = ran.json
    assert answer["question"] == QUESTION
    assert [answer[k] for k in ("fired", "nearest", "distance", "radius")] == [None] * 4
    assert sorted(os.listdir()) == ["a.png"]


def test_asking_with_a_store_that_is_not_there_warns(run, on_tiny, picture) -> None:
    ran = run("ask", picture, QUESTION, *on_tiny, "--edits", "typo")
    assert ran.code == 0
    assert "warning: no edit store in 'typo'" in ran.err
    assert not Path("typo").exists()


def test_asking_without_a_picture(run, on_tiny) -> None:
    assert run("ask", "none", QUESTION, *on_tiny).code == 0
    assert run("explain", "none", QUESTION, *on_tiny, "--json").json["fired"] is None


def test_edit_gives_what_the_documentation_says(run, learned) -> None:
    keys = {"id", "answer_before", "answer_after", "radius", "seconds", "warnings"}
    assert keys <= learned.keys()
    assert learned["answer_after"] == "ab"
    unsure = "radius alone decides"  # the tiny model says something else to every wording
    assert [w for w in learned["warnings"] if unsure not in w] == []
    assert learned["positives"] == REWORDED[1:]
    assert Path("edits/store.sqlite3").exists()


def test_ask_after_an_edit(run, on_tiny, picture, learned) -> None:
    ran = run("ask", picture, QUESTION, *on_tiny, "--json")
    answer = ran.json
    assert (answer["answer"], answer["fired"], answer["nearest"]) == (
        "ab",
        learned["id"],
        learned["id"],
    )
    assert answer["distance"] == pytest.approx(0, abs=1e-3)
    assert answer["radius"] == pytest.approx(learned["radius"])
    words = run("ask", picture, QUESTION, *on_tiny)
    assert words.out.splitlines()[0] == "ab"
    assert f"edit {learned['id']} fires" in words.out
    assert words.err == ""


def test_explain(run, on_tiny, picture, learned) -> None:
    found = run("explain", picture, QUESTION, *on_tiny, "--json").json
    assert (found["answer"], found["fired"]) == ("ab", learned["id"])
    assert found["base_answer"] == learned["answer_before"]
    (near,) = found["neighbours"]
    assert near["id"] == learned["id"]
    assert near["inside"] is True
    words = run("explain", picture, QUESTION, *on_tiny)
    assert learned["id"] in words.out
    assert "●" in words.out


def test_list_and_show_need_no_model(run, learned, monkeypatch) -> None:
    monkeypatch.setattr("balancedit.editor.Editor.load", None)
    found = run("list", "--json").json
    assert [e["id"] for e in found["edits"]] == [learned["id"]]
    assert found["damaged"] == []
    table = run("list")
    assert learned["id"] in table.out
    assert "1 active" in table.out
    shown = run("show", learned["id"][:4], "--json").json
    assert {k: shown[k] for k in learned} == learned
    assert shown["store"]["layer"].endswith("up_proj")
    words = run("show", learned["id"]).out
    assert all(str(learned[k]) in words for k in ("id", "question", "target", "image_sha256"))


def test_revert_gives_the_base_model_back(run, on_tiny, picture, learned) -> None:
    ran = run("revert", learned["id"][:5], "--json")
    assert ran.json["id"] == learned["id"]
    assert ran.json["state"] == "reverted"
    assert ran.json["active"] == 0
    answer = run("ask", picture, QUESTION, *on_tiny, "--json").json
    assert (answer["answer"], answer["fired"]) == (learned["answer_before"], None)
    assert run("list", "--json").json["edits"] == []
    (kept,) = run("list", "--all", "--json").json["edits"]
    assert kept["state"] == "reverted"
    again = run("revert", learned["id"])
    assert again.code == 1
    assert "already reverted" in again.error


def test_a_conflict_retires_and_revert_restores(run, on_tiny, picture, learned) -> None:
    second = run("edit", picture, QUESTION, "xyz", *REWORDED, *on_tiny, "--json").json
    assert second["retires"] == [learned["id"]]
    assert "retired" in run("list", "--all").out
    ran = run("revert", second["id"], "--json")
    assert ran.json["restored"] == [learned["id"]]
    assert run("ask", picture, QUESTION, *on_tiny, "--json").json["answer"] == "ab"


def test_edit_for_people(run, on_tiny, picture) -> None:
    ran = run("edit", picture, QUESTION, "ab", *on_tiny, "--edits", "kept here")
    assert ran.code == 0
    assert "→ ab" in ran.out
    assert "balancedit revert" in ran.out
    assert "--edits 'kept here'" in ran.out


def test_negative_may_be_a_picture_or_a_colour(run, on_tiny, picture) -> None:
    given = ["--negative", "demo:parrot", "--json"]
    assert run("edit", picture, QUESTION, "ab", *on_tiny, *given).json["negative"] == "given"
    given = ["--negative", "white", "--json", "--edits", "other"]
    assert run("edit", picture, QUESTION, "ab", *on_tiny, *given).json["negative"] == "white"


def test_an_answer_the_model_gives_anyway_is_a_warning(run, on_tiny, picture, learned) -> None:
    other = ["--rephrase", "it's what?"]  # asked as before, it would not be learned again
    ran = run("edit", picture, QUESTION, "ab", *other, *on_tiny)
    assert ran.code == 0
    assert "warning: the model already answered" in ran.err
    assert f"replaces  {learned['id']}" in ran.out


def test_a_damaged_edit_is_named_and_left_out(run, on_tiny, picture, learned) -> None:
    (tensors,) = Path("edits").rglob(f"*{learned['id']}*.safetensors")
    tensors.write_bytes(b"\0" * 200)
    ran = run("ask", picture, QUESTION, *on_tiny, "--json")
    assert ran.code == 0
    assert ran.json["fired"] is None
    assert f"warning: edit {learned['id']} is left out" in ran.err
    listed = run("list", "--json")
    assert [d["id"] for d in listed.json["damaged"]] == [learned["id"]]
    assert "damaged" in run("list").out
    assert run("show", learned["id"], "--json").json["damaged"]
    assert run("revert", learned["id"]).code == 0


def test_damage_found_late_is_named_too(run, on_tiny, picture, learned, monkeypatch) -> None:
    from balancedit.store.directory import store as disk

    monkeypatch.setattr(disk, "CHECKED_EDITS", 0)  # as in a large store
    (tensors,) = Path("edits").rglob(f"*{learned['id']}*.safetensors")
    whole = tensors.read_bytes()
    tensors.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for command in ("ask", "explain"):
        ran = run(command, picture, QUESTION, *on_tiny, "--json")
        assert ran.code == 0
        assert ran.json["fired"] is None
        assert ran.err.count(f"warning: edit {learned['id']} is left out") == 1


def test_what_a_model_says_cannot_steer_the_terminal(run, learned) -> None:
    from balancedit.cli.output import printable

    assert printable("a\x1b[31m\nb\x07") == "a�[31m b�"
    assert "\x1b" not in run("list").out


def test_json_holds_no_nan() -> None:
    from balancedit.cli.output import as_json

    text = as_json({"a": float("nan"), "b": [1.5, float("inf")], "c": ("x", None)})
    assert json.loads(text) == {"a": None, "b": [1.5, None], "c": ["x", None]}


def test_a_narrow_terminal_cuts_questions_never_ids() -> None:
    from rich.console import Console

    from balancedit.cli.list_ import edit_table
    from balancedit.types import Edit

    values: dict[str, Any] = dict.fromkeys(Edit.__dataclass_fields__, "long words " * 9)
    values |= {"id": "0123abcd", "radius": 1.5, "state": "retired", "created": "2026-01-01T00:00"}
    console = Console(width=72)
    with console.capture() as captured:
        console.print(edit_table([Edit(**values)], set()))
    lines = captured.get().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("0123abcd  retired  long words")
    assert "…" in lines[1]
    assert "1.5" in lines[1]


def test_several_pictures_in_one_prompt(run, on_tiny, picture, tmp_path) -> None:
    other = tmp_path / "b.png"
    tiny.picture(2, side=30).save(other)
    both = [picture, QUESTION, "--image", other]
    learned = run("edit", picture, QUESTION, "ab", "--image", other, *REWORDED, *on_tiny, "--json")
    assert learned.json["answer_after"] == "ab"
    assert run("ask", *both, *on_tiny, "--json").json["fired"] == learned.json["id"]
    assert run("ask", *both, "--image", other, *on_tiny, "--json").json["distance"] > 0
    assert run("explain", *both, *on_tiny, "--json").json["neighbours"][0]["distance"] < 1e-5
    gone = run("ask", *both, "--image", tmp_path / "gone.png", *on_tiny)
    assert (gone.code, "gone.png" in gone.error) == (1, True)
    nothing = run("ask", "none", QUESTION, "--image", other, *on_tiny)
    assert "'none' asks without a picture" in nothing.error
    one = run("edit", *both[:2], "cd", *both[2:], "--negative", other, *on_tiny)
    assert "the edit shows 2 pictures, its negative 1" in one.error


def test_a_picture_in_the_arguments_and_an_answer_cut_short(run, on_tiny, picture) -> None:
    url = "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
    whole = run("ask", picture, "what is this?", *on_tiny, "--json").json
    assert whole["cut"], "random weights know no end"
    assert run("ask", url, "what is this?", *on_tiny, "--json").json == whole
    ran = run("ask", url, "what is this?", *on_tiny, "--max-new-tokens", "2")
    assert "(cut: the model goes on; --max-new-tokens gives more)" in ran.out
    explained = run("explain", url, "what is this?", *on_tiny, "--max-new-tokens", "2", "--json")
    assert len(explained.json["base_answer"]) <= 2
    assert run("ask", url, "what is this?", *on_tiny, "--max-new-tokens", "0").code == 2
