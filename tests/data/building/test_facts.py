"""What a build starts from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from published import write_picture

from balancedit.data.building import facts
from balancedit.data.problems import LeftOut, stop
from balancedit.data.sample import FileImage
from balancedit.errors import DataError, ImageError


def test_okvqa(okvqa: Path) -> None:
    found, hashed = facts.read(okvqa, stop)
    assert len(found) == 20
    assert found[0] == facts.Fact(
        "1000",
        FileImage(okvqa, "val2014/COCO_val2014_000000000100.jpg"),
        "What brand is computer 0?",
        "hp",
        "Brands, Companies and Products",
    )
    facts.check_pictures(found)
    alone, again = facts.read(okvqa / "mscoco_val2014_annotations.json", stop)
    assert (alone, again) == (found, hashed)
    (okvqa / "images").mkdir()
    (okvqa / "val2014").rename(okvqa / "images" / "val2014")
    facts.check_pictures(facts.read(okvqa, stop)[0])


def test_json_lines(tmp_path: Path) -> None:
    line = {"image": "a.png", "question": "What?", "answer": "cat"}
    path = tmp_path / "mine.jsonl"
    odd = line | {"id": "../a b", "category": "animal"}
    path.write_text("\n".join(map(json.dumps, [line, odd, line | {"answer": ""}])))
    with pytest.raises(DataError, match="line 3: has an empty 'answer'"):
        facts.read(path, stop)
    left_out = LeftOut()
    first, second = facts.read(path, left_out)[0]
    assert (first.id, first.category) == ("1", "unknown")
    assert second.category == "animal"
    assert "/" not in second.id
    assert len(left_out.problems) == 1
    with pytest.raises(ImageError, match=r"a\.png"):
        facts.check_pictures([first])
    write_picture(first.image)
    facts.check_pictures([first])


def test_what_holds_no_facts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither a \.jsonl file nor OK-VQA's"):
        facts.read(tmp_path, stop)
    with pytest.raises(DataError, match="no file or directory"):
        facts.read(tmp_path / "nothing", stop)
    path = tmp_path / "a.jsonl"
    path.write_text("")
    with pytest.raises(DataError, match="holds no fact"):
        facts.read(path, stop)
    line = json.dumps({"id": "x", "image": "a.png", "question": "What?", "answer": "cat"})
    path.write_text(f"{line}\n{line}")
    with pytest.raises(DataError, match="the id 'x' more than once"):
        facts.read(path, stop)
