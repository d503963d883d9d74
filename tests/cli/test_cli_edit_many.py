"""Teaching the facts of a file, on a tiny random model."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

import tiny
from balancedit.cli.edit_many import read_facts
from balancedit.errors import InputError
from balancedit.inputs.images import open_image

FACTS = [
    {"image": "a.png", "question": "what is this?", "answer": "ab", "rephrasings": ["what's it?"]},
    {"image": "b.png", "question": "what is this?", "answer": "xyz", "rephrasings": ["it's what?"]},
]


def written(path: Path, *facts: Any) -> Path:
    path.write_text("".join(json.dumps(fact) + "\n\n" for fact in facts))
    return path


def test_the_facts_of_a_file_are_taught_and_a_bad_one_is_named(
    run: Any, on_tiny: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "facts"
    folder.mkdir()
    for name, seed in (("a.png", 1), ("b.png", 2)):
        tiny.picture(seed).save(folder / name)
    file = written(folder / "facts.jsonl", FACTS[0], FACTS[0] | {"image": "gone.png"}, FACTS[1])
    ran = run("edit-many", file, *on_tiny, "--json")
    assert ran.code == 1
    assert "warning: fact 2 was not learned: there is no file" in ran.err
    assert [e["answer_after"] for e in ran.json["edits"]] == ["ab", "xyz"]
    assert [f["number"] for f in ran.json["failed"]] == [1]
    asked = run("ask", folder / "b.png", "what is this?", *on_tiny, "--json").json
    assert (asked["answer"], asked["fired"]) == ("xyz", ran.json["edits"][1]["id"])


def test_without_a_bad_fact_the_exit_code_is_0(
    run: Any, on_tiny: list[str], tmp_path: Path
) -> None:
    tiny.picture(1).save(tmp_path / "a.png")
    ran = run("edit-many", written(tmp_path / "f.jsonl", FACTS[0]), *on_tiny)
    assert ran.code == 0
    assert "1 edits kept in edits." in ran.out
    assert "→ ab" in ran.out


def test_a_file_run_again_says_what_was_there_already(
    run: Any, on_tiny: list[str], tmp_path: Path
) -> None:
    for name, seed in (("a.png", 1), ("b.png", 2)):
        tiny.picture(seed).save(tmp_path / name)
    first = run("edit-many", written(tmp_path / "f.jsonl", FACTS[0]), *on_tiny, "--json").json
    assert first["known"] == []
    file = written(tmp_path / "f.jsonl", *FACTS)
    ran = run("edit-many", file, *on_tiny)
    assert (ran.code, "1 edits kept in edits, 1 were there already." in ran.out) == (0, True)
    again = run("edit-many", file, *on_tiny, "--json").json
    assert again["known"] == [e["id"] for e in again["edits"]]
    assert again["known"][0] == first["edits"][0]["id"]
    alone = run("edit", "a.png", FACTS[0]["question"], "ab", *on_tiny)
    assert f"edit {again['known'][0]} was there already" in alone.out
    assert "warning: this was taught before" in alone.err
    assert len(run("list", "--json").json["edits"]) == 2


def test_a_replacement_is_said_whatever_else_is(
    run: Any, on_tiny: list[str], tmp_path: Path
) -> None:
    tiny.picture(1).save(tmp_path / "a.png")
    facts = [FACTS[0], FACTS[0] | {"answer": "cd"}]
    ran = run("edit-many", written(tmp_path / "f.jsonl", *facts), *on_tiny)
    first = run("list", "--all", "--json").json["edits"][0]
    assert first["state"] == "retired"
    assert f"replaces {first['id']}" in ran.out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2 of .* is no JSON"),
        ("[]", "no JSON object"),
        ('{"image": "a.png", "image": "b.png"}', "the field 'image' twice"),
        ('{"image": "a.png", "question": "q", "answer": NaN}', "holds NaN"),
        ('{"image": "a.png", "question": "q"}', "no text 'answer'"),
        ('{"image": "a.png", "question": "q", "answer": "a", "rephrase": []}', "nearest: rephras"),
        ('{"image": "a.png", "question": "q", "answer": "a", "rephrasings": "b"}', "no list"),
        ('{"image": "a.png", "question": "q", "answer": "a", "negative": 1}', "no text; name"),
    ],
)
def test_a_line_that_is_no_fact_is_named(tmp_path: Path, line: str, said: str) -> None:
    file = written(tmp_path / "f.jsonl", FACTS[0])
    file.write_text(file.read_text().strip() + "\n" + line + "\n")
    with pytest.raises(InputError, match=said):
        read_facts(file)


def test_a_file_as_other_programs_write_it(tmp_path: Path) -> None:
    fact = FACTS[0] | {"question": "what\u2028is this?", "answer": "a\x85b"}
    text = "\r\n".join(json.dumps(f, ensure_ascii=False) for f in (fact, FACTS[1]))
    (tmp_path / "f.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n\r\n")
    first, second = read_facts(tmp_path / "f.jsonl")
    assert (first.question, first.answer) == ("what\u2028is this?", "a\x85b")
    assert second.answer == "xyz"
    (tmp_path / "f.jsonl").write_bytes(text.encode("utf-16"))
    with pytest.raises(InputError, match="UTF-16"):
        read_facts(tmp_path / "f.jsonl")


def test_a_picture_may_stand_in_the_file(tmp_path: Path) -> None:
    tiny.picture(1).save(tmp_path / "a.png")
    held = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    url = f"data:image/png;base64,{held}"
    (fact,) = read_facts(written(tmp_path / "f.jsonl", FACTS[0] | {"image": url, "negative": url}))
    for shown in (fact.image, fact.negative):
        assert open_image(shown).tobytes() == tiny.picture(1).tobytes()


def test_a_file_without_facts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text("\n")
    with pytest.raises(InputError, match="no fact"):
        read_facts(tmp_path / "f.jsonl")
    with pytest.raises(InputError, match="no file"):
        read_facts(tmp_path / "g.jsonl")


def test_demo_pictures_and_anchors_are_no_files_beside_the_facts(tmp_path: Path) -> None:
    fact = FACTS[0] | {"image": "demo:owl", "negative": "white"}
    (read,) = read_facts(written(tmp_path / "f.jsonl", fact))
    assert Path(str(read.image)).exists()
    assert read.negative == "white"
