"""Looking a data set over: every kind of finding, with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from published import mmedit_records, write_mmedit, write_picture, write_pictures

from balancedit.data.catalogue import find
from balancedit.data.check import check
from balancedit.data.sample import FileImage
from balancedit.errors import DataError


def test_every_finding_has_its_place(tmp_path: Path) -> None:
    records = mmedit_records(6)
    records[1]["alt"] = ""
    records[2]["pred"] = 3
    records[3]["alt"] = " yes"
    records[4] |= {k: records[0][k] for k in ("src", "image")}
    del records[5]["loc"]
    write_mmedit(tmp_path, records)
    leak = mmedit_records(1)[0] | {"src": "what is THING 0 in the picture"}
    write_mmedit(tmp_path, [leak], "vqa_train.json")
    write_pictures(s for s in find(str(tmp_path / "")).read("vqa-train"))
    shown = FileImage(tmp_path, records[3]["image"])
    write_picture(shown)
    form, parts = check(None, tmp_path)
    assert form.name == "mmedit"
    found = parts["vqa-eval"]
    assert len(found.contents.samples) == 3
    by_kind = {}
    for problem in found.problems:
        by_kind.setdefault(problem.kind, []).append(problem)
    places = {
        kind: [p.where.removeprefix("vqa_eval.json ") for p in held]
        for kind, held in by_kind.items()
    }
    assert places["empty-target"] == ["index 1"]
    assert places["wrong-type"] == ["index 2"]
    assert places["stray-space"] == ["index 3"]
    assert places["missing-field"] == ["index 5"]
    assert places["duplicate"] == ["index 4"]
    assert places["leak"] == ["index 0", "index 4"]
    missing = [p.what.split()[1].rstrip(",") for p in by_kind["missing-image"]]
    assert missing == [
        f"{p}"
        for r in (records[3], records[4])
        for p in (r["image"], r["image_rephrase"], r["m_loc"])
        if p not in (shown.name, records[0]["image"])
    ]
    assert "with the target 'yes'" in by_kind["duplicate"][0].what
    assert found.counts["missing-image"] == len(missing) == 4
    assert parts["vqa-train"].problems == []
    json.dumps(found.to_dict())


def test_one_file_alone(tmp_path: Path) -> None:
    path = write_mmedit(tmp_path, mmedit_records(1))
    write_mmedit(tmp_path, mmedit_records(1), "vqa_train.json")
    _, parts = check(None, path)
    assert list(parts) == ["vqa-eval"]
    assert "leak" not in parts["vqa-eval"].counts
    other = tmp_path / "notes.txt"
    other.touch()
    with pytest.raises(DataError, match=r"notes\.txt' is no file of the format mmedit"):
        check(None, other)
    with pytest.raises(DataError, match="no file or directory"):
        check(None, tmp_path / "vqa_evil.json")


def test_nothing_wrong(tmp_path: Path) -> None:
    write_mmedit(tmp_path, mmedit_records(3))
    write_pictures(find(str(tmp_path)).read("vqa-eval"))
    _, parts = check("mmedit", tmp_path)
    assert parts["vqa-eval"].problems == []
