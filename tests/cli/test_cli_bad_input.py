"""Bad input: one line that names the remedy, exit code 1, and nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tiny
from balancedit.models import loading
from balancedit.models.bundled import BUNDLED

QUESTION = "what is this?"


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    tiny.picture(1).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])


BAD = {
    "missing file": (["nofile.png", QUESTION], "nofile.png"),
    "not a picture": (["text.png", QUESTION], "not a picture"),
    "empty file": (["empty.png", QUESTION], "empty"),
    "truncated file": (["cut.png", QUESTION], "cut.png"),
    "directory": (["folder", QUESTION], "directory"),
    "unknown demo picture": (["demo:owlet", QUESTION], "nearest: owl"),
    "empty question": (["a.png", ""], "question is empty"),
    "question of spaces": (["a.png", "  \n"], "question is empty"),
    "question of 100,000 characters": (["a.png", "why? " * 20_000], "99,999 characters"),
    "unknown device": (["a.png", QUESTION, "--device", "gpu"], "cuda"),
    "unknown model": (["a.png", QUESTION, "--model", "pocktet"], "nearest: pocket"),
    "unknown method": (["a.png", QUESTION, "--method", "balance"], "nearest: balancedit"),
    "unknown preset": (["a.png", QUESTION, "--preset", "papers"], "nearest: paper"),
}


@pytest.mark.parametrize("command", ["ask", "edit", "explain"])
@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(run, command: str, case: str) -> None:
    args, said = BAD[case]
    answer = ["new answer"] if command == "edit" else []
    before = sorted(Path().rglob("*"))
    ran = run(command, *args[:2], *answer, *args[2:])
    assert ran.code == 1
    assert said in ran.error
    assert len(ran.error) < 500
    assert ran.out == ""
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["a.png", QUESTION, ""], "answer is empty"),
        (["a.png", QUESTION, "   "], "answer is empty"),
        (["a.png", QUESTION, "x" * 100_000], "100,000 characters"),
        (["a.png", QUESTION, "x", "--rephrase", " "], "question is empty"),
        (["a.png", QUESTION, "x", "--negative", "blakc"], "blakc"),
        (["none", QUESTION, "x"], "none"),
    ],
)
def test_bad_edits(run, args: list[str], said: str) -> None:
    ran = run("edit", *args)
    assert ran.code == 1
    assert said in ran.error
    assert not Path("edits").exists()


def test_unknown_layer_names_the_nearest(run, on_tiny) -> None:
    wrong = [*on_tiny[:3], "model.language_model.layers.2.mlp.up"]
    for command, answer in (("ask", []), ("edit", ["x"])):
        ran = run(command, "a.png", QUESTION, *answer, *wrong)
        assert ran.code == 1
        assert f"nearest: {tiny.LLAVA_LAYER}" in ran.error
    assert not Path("edits").exists()


def test_a_model_without_a_known_layer_says_which_are_likely(run, tiny_model, monkeypatch) -> None:
    monkeypatch.setattr(loading, "ARCHITECTURES", {})
    ran = run("ask", "a.png", QUESTION, "--model", tiny_model)
    assert ran.code == 1
    assert tiny.LLAVA_LAYER in ran.error


def test_unknown_dtype(run, on_tiny) -> None:
    ran = run("ask", "a.png", QUESTION, *on_tiny, "--dtype", "flaot32")
    assert ran.code == 1
    assert "float32" in ran.error


@pytest.mark.parametrize("args", [["list"], ["list", "--all"], ["show", "ab"], ["revert", "ab"]])
def test_no_store(run, args: list[str]) -> None:
    ran = run(*args)
    assert ran.code == 1
    assert "no edit store in 'edits'" in ran.error
    assert "--edits" in ran.error
    assert not Path("edits").exists()


def test_a_file_where_the_store_should_be(run, on_tiny) -> None:
    for args in (["list"], ["ask", "a.png", QUESTION, *on_tiny]):
        ran = run(*args, "--edits", "a.png")
        assert ran.code == 1
        assert "a.png" in ran.error


@pytest.mark.parametrize("command", ["show", "revert"])
def test_unknown_id(run, on_tiny, command: str) -> None:
    kept = run("edit", "a.png", QUESTION, "ab", *on_tiny, "--json").json
    ran = run(command, "zzzz")
    assert ran.code == 1
    assert "no edit with id 'zzzz'" in ran.error
    assert kept["id"] in ran.error


def test_a_store_of_another_model(run, on_tiny, tmp_path: Path) -> None:
    assert run("edit", "a.png", QUESTION, "ab", *on_tiny).code == 0
    model, processor = tiny.llava(seed=1)
    model.save_pretrained(tmp_path / "other")
    processor.save_pretrained(tmp_path / "other")
    for command, answer in (("ask", []), ("edit", ["x"]), ("explain", [])):
        other = ["--model", "other", "--layer", tiny.LLAVA_LAYER]
        ran = run(command, "a.png", QUESTION, *answer, *other)
        assert ran.code == 1
        assert "made for something else" in ran.error
        assert "other" in ran.error
    assert len(run("list", "--json").json["edits"]) == 1


def test_a_store_of_another_layer(run, on_tiny) -> None:
    assert run("edit", "a.png", QUESTION, "ab", *on_tiny).code == 0
    elsewhere = tiny.LLAVA_LAYER.replace(".2.", ".1.")
    ran = run("ask", "a.png", QUESTION, *on_tiny[:3], elsewhere)
    assert ran.code == 1
    assert elsewhere in ran.error
    assert tiny.LLAVA_LAYER in ran.error


@pytest.mark.parametrize("out", ["nowhere/a.png", "folder"])
def test_the_demo_refuses_a_bad_path_before_it_starts(run, out: str) -> None:
    ran = run("demo", "--out", out)
    assert ran.code == 1
    assert "--out" in ran.error


def test_errors_keep_their_kind_in_json(run, monkeypatch: Any) -> None:
    assert run("ask", "nofile.png", QUESTION, "--json").json["kind"] == "ImageError"
    assert "pocket" in BUNDLED
    ran = run("ask", "a.png", QUESTION, "--model", "pockt", "--json")
    assert ran.json["kind"] == "ModelLoadError"
